"""The exposures of a bracket by its pixels, for a known response.

Along a ridge, light rises by the difference of two exposures (Mann 2000, doi:10.1109/83.855426).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelgen.calibration.comparagram import Ridge
from labelgen.calibration.response_curve import SLOPE_STEP, View
from labelgen.calibration.ridge_fit import (
    ANNEALING,
    EV_ERROR,
    MIN_CODE,
    ROUNDS,
    ridge_variance,
    tukey_weights,
    weighted_mean,
)
from labelgen.core.arrays import Array, median
from labelgen.core.response import GAMMA, GAMMA22, Response

MAX_CHANGE_EV = 1e-5
"""The mean step of a pair has converged if it changes by less than this (stops) in a round."""
NOMINAL_EV = 0.15
"""Standard deviation (stops) of the errors of stated exposures."""
COMMON_ERROR = 0.2 / 255
"""Standard deviation of an error that all codes of a pair of frames share (black level, flare, the
dark end of the curve). In dark codes it is a good part of a stop."""
BINS_PER_SAMPLE = 4.0
"""Errors of neighbouring bins are alike, so this many bins count as one sample."""


@dataclass(frozen=True)
class Calibration:
    """Response and exposures of one bracket."""

    response: Response = GAMMA22
    assumed: bool = True
    """Whether the response is only assumed, because there is no evidence of it."""
    offset: tuple[float, ...] = ()
    """Corrections (F,) to the stated exposures in stops. Only their differences have a meaning."""
    covariance: Array | None = None
    """Covariance (F, F) of `offset` in stops squared."""
    linked: tuple[bool, ...] = ()
    """Whether two neighbouring frames have well-exposed pixels in common (F - 1,)."""
    misfit: float | None = None
    """Median distance of codes from the curve, in codes of 255; None without usable pixels."""

    def correction(self, frame: int, reference: int) -> tuple[float, float]:
        """Correction of the stated step from the reference to a frame, and its error, in stops.

        Frames are indices. The error is infinite unless linked neighbours connect the two.
        """
        if self.covariance is None or frame == reference:
            return 0.0, 0.0 if frame == reference else np.inf
        low, high = sorted((frame, reference))
        c = self.covariance
        variance = c[frame, frame] + c[reference, reference] - 2 * c[frame, reference]
        error = float(np.sqrt(variance)) if all(self.linked[low:high]) else np.inf
        return float(self.offset[frame] - self.offset[reference]), error


def correct_exposures(view: View, response: Response, assumed: bool = False) -> Calibration:
    """Correct the exposures of a bracket by its pixels, for a known response.

    The step between two neighbouring frames is the robust mean over their ridge. The offsets are
    the mean of their posterior. Their prior is that stated exposures have independent errors of
    `NOMINAL_EV`.

    Parameters
    ----------
    view : View
        The bracket.
    response : Response
        Response of its camera.
    assumed : bool
        Whether the response is only assumed; it is noted in the result.
    """
    ridge, count = view.separated(response.mixing).ridge, len(view.ev)
    rise, slope = ridge_rise(ridge, response)
    residual = rise - np.diff(view.ev)[ridge.pair]
    variance = ridge_variance(ridge, slope)
    normal, right = np.eye(count) / NOMINAL_EV**2, np.zeros(count)
    linked, code_error = [False] * (count - 1), np.zeros(len(residual))
    for pair in np.unique(ridge.pair):
        bins = ridge.pair == pair
        step, weight = robust_mean(residual[bins], variance[bins])
        code_error[bins] = np.abs(residual[bins] - step) / slope[bins]
        common = COMMON_ERROR * weighted_mean(slope[bins], weight)
        information = 1 / (BINS_PER_SAMPLE / weight.sum() + common**2 + EV_ERROR**2)
        difference = np.eye(count)[pair + 1] - np.eye(count)[pair]
        normal += information * np.outer(difference, difference)
        right += information * step * difference
        linked[pair] = True
    covariance = np.linalg.inv(normal)
    misfit = median(code_error) * 255 if len(code_error) else None
    offset = tuple((covariance @ right).tolist())
    return Calibration(response, assumed, offset, covariance, tuple(linked), misfit)


def robust_mean(values: Array, variance: Array) -> tuple[float, Array]:
    """Return the robust mean of values (M,) with variances (M,), and the weights (M,) of these."""
    mean, scale = 0.0, 1.0
    for k in range(ROUNDS):
        weight, scale = tukey_weights(values - mean, variance, k, scale)
        if not weight.any():  # all are far from the start
            return median(values), 1 / (variance + np.var(values))
        last, mean = mean, weighted_mean(values, weight)
        if k >= len(ANNEALING) and abs(mean - last) < MAX_CHANGE_EV:
            break
    return mean, weight


def ridge_rise(ridge: Ridge, response: Response) -> tuple[Array, Array]:
    """Return the rise of light along a ridge (M,), in stops, and the slope at its short codes.

    The slope (M,) is in stops per code (0..1), and at least 1.
    """

    def log2_light(code: Array) -> Array:
        gamma_code = response.gamma_code(np.maximum(code, MIN_CODE)[:, None].repeat(3, 1))
        of_channel = gamma_code[np.arange(len(code)), ridge.channel]
        return GAMMA * np.log2(np.maximum(of_channel, MIN_CODE))

    below, above = (log2_light(ridge.short + d) for d in (-SLOPE_STEP, SLOPE_STEP))
    slope = (above - below) / (2 * SLOPE_STEP)
    return log2_light(ridge.long) - log2_light(ridge.short), np.maximum(slope, 1)
