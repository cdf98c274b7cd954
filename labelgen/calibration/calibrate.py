"""The response of a camera and the true exposures of its frames, from all of its brackets.

The logarithm of the inverse response is a smooth curve. Along a ridge it rises by the difference of
two exposures (Debevec and Malik 1997, doi:10.1145/258734.258884; Mann 2000 for the comparagrams).
Curve and exposures cannot both be free: any power of a response fits as well, with all exposures
scaled by that power (Grossberg and Nayar 2003, doi:10.1109/TPAMI.2003.1240119). So the stated
exposures of all frames together fix the scale, and pixels correct single frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from labelgen.calibration.comparagram import Ridge
from labelgen.calibration.response_curve import SLOPE_STEP, View, free_response
from labelgen.calibration.ridge_fit import (
    ANNEALING,
    EV_ERROR,
    MIN_CODE,
    ROUNDS,
    huber_weights,
    ridge_variance,
    tukey_weights,
    weighted_mean,
)
from labelgen.core.arrays import Array, median
from labelgen.core.response import GAMMA, GAMMA22, Response

Values: TypeAlias = Sequence[float] | Array
"""Exposures or offsets (F,) in stops."""

MAX_BRACKETS = 100
"""The curve of a camera is fitted to at most this many brackets, evenly spaced among all."""
MIN_BINS = 60
"""Bins that the ridges of a camera need together, or no curve is fitted."""
MAX_CHANGE_EV = 1e-5
"""The mean step of a pair has converged if it changes by less than this (stops) in a round."""
NOMINAL_EV = 0.15
"""Standard deviation (stops) of the errors of stated exposures."""
POWER_EV = 0.06
"""Standard deviation (stops) of the errors of stated exposures, where it is decided whether a named
response fits them. It is smaller than `NOMINAL_EV`: that a camera has another gamma is likelier
than that all stated exposures are off in proportion."""
MAX_MISFIT_RATIO, MAX_MISFIT_EXCESS = 1.5, 0.1
"""A named response is preferred to the free curve if its misfit is at most this ratio of the free
curve's, plus the excess (codes of 255)."""
OUTLIER_RATIO, OUTLIER_CODES = 3.0, 0.3
"""A bracket is an outlier of its camera if its misfit to the common curve exceeds OUTLIER_CODES (of
255) and OUTLIER_RATIO times the median misfit. It gets a curve of its own if that lowers the misfit
by OUTLIER_RATIO: it was processed differently."""
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


def calibrate(
    views: Sequence[View], known: Mapping[str, Response] | None = None
) -> list[Calibration]:
    """Find the response of each camera, and correct the exposures of every bracket.

    Parameters
    ----------
    views : sequence of View
        All brackets. At most `MAX_BRACKETS` of them are held in memory at a time, so the sequence
        may read them from a disk.
    known : mapping of str to Response, optional
        Known responses by camera; "*" stands for every other camera.

    Returns
    -------
    list of Calibration
        One for each view.
    """
    known, calibrations, groups = known or {}, dict[int, Calibration](), dict[str, list[int]]()
    for i, view in enumerate(views):
        groups.setdefault(view.key, []).append(i)
    for key, group in groups.items():
        response = known.get(key, known.get("*"))
        calibrations |= _calibrate_camera(views, group, response)
    return [calibrations[i] for i in range(len(views))]


def _calibrate_camera(
    views: Sequence[View], group: Sequence[int], known: Response | None
) -> dict[int, Calibration]:
    """Calibrate the brackets of one camera, by their indices in `views`.

    A bracket that the common curve does not fit gets a curve of its own.
    """
    if known is not None:
        return {i: correct_exposures(views[i], known) for i in group}
    common = fit_response(_evenly_spaced(views, group))
    if common is None:
        return {i: correct_exposures(views[i], GAMMA22, assumed=True) for i in group}
    calibrations = {i: correct_exposures(views[i], common) for i in group}
    misfits = sorted(c.misfit for c in calibrations.values() if c.misfit is not None)
    limit = max(OUTLIER_CODES, OUTLIER_RATIO * misfits[(len(misfits) - 1) // 2])
    outliers = [i for i, c in calibrations.items() if (c.misfit or 0) > limit]
    own = {i: _own_curve(views[i], calibrations[i]) for i in outliers}
    own = {i: c for i, c in own.items() if c.response != common}
    if own:  # these brackets bent the common curve: fit it again without them
        rest = [i for i in group if i not in own]
        common = fit_response(_evenly_spaced(views, rest)) or common
        calibrations |= {i: correct_exposures(views[i], common) for i in rest}
    group = [i for i in group if i not in own]
    from labelgen.calibration.mixing_fit import fit_mixing
    mixed = fit_mixing(_evenly_spaced(views, group), common) if common.curves else common
    if mixed.mixing:
        calibrations |= {i: correct_exposures(views[i], mixed) for i in group}
    return calibrations | own


def _evenly_spaced(views: Sequence[View], group: Sequence[int]) -> list[View]:
    """Return at most `MAX_BRACKETS` of a group, evenly spaced among those that have a ridge."""
    useful = [i for i in group if len(views[i].ridge.pair)]
    return [views[i] for i in useful[:: -(-len(useful) // MAX_BRACKETS) or 1]]


def _own_curve(view: View, common: Calibration) -> Calibration:
    """Calibrate a bracket by a curve of its own, if that fits much better than the common one."""
    response = fit_response([view])
    if response is None or common.misfit is None:
        return common
    own = correct_exposures(view, response)
    better = own.misfit is not None and own.misfit * OUTLIER_RATIO < common.misfit
    return own if better else common


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
    ridge, count = view.ridge, len(view.ev)
    if response.mixing:
        ridge = view.separated(response.mixing).ridge
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


def fit_response(views: Sequence[View]) -> Response | None:
    """Fit the response of the camera that took these brackets.

    A free curve is fitted first. Gamma 2.2 or sRGB is preferred if it fits as well, and if it does
    not need all stated exposures to be scaled by one factor.

    Parameters
    ----------
    views : sequence of View
        Brackets of one camera and processing.

    Returns
    -------
    Response or None
        None if the ridges have too few bins.
    """
    if sum(len(v.ridge.pair) for v in views) < MIN_BINS:
        return None
    free, named = free_response(views), (GAMMA22, Response("srgb"))
    fits = {r: _misfit(views, r) for r in (*named, free)}
    variation = sum(float(np.square(np.subtract(v.ev, np.mean(v.ev))).sum()) for v in views)
    tolerance = 0.01 + 3 * POWER_EV / np.sqrt(variation)
    limit = MAX_MISFIT_RATIO * fits[free][0] + MAX_MISFIT_EXCESS
    for response in named:
        misfit, power = fits[response]
        if misfit <= limit and abs(power - 1) <= tolerance:
            return response
    return free


def _misfit(views: Sequence[View], response: Response) -> tuple[float, float]:
    """Median misfit (codes of 255) of brackets under a response, and the result of `_fit_power`."""
    calibrations = [correct_exposures(v, response) for v in views]
    misfits = [c.misfit for c in calibrations if c.misfit is not None]
    power = _fit_power([v.ev for v in views], [c.offset for c in calibrations])
    return float(np.median(misfits)), power


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


def _fit_power(evs: Sequence[Values], offsets: Sequence[Values]) -> float:
    """Fit the factor on measured exposures that brings them nearest to the stated ones (Huber)."""
    power = 1.0
    for _ in range(10):
        numerator = denominator = 0.0
        for ev, offset in zip(evs, offsets, strict=True):
            stated, measured = np.asarray(ev), np.add(ev, offset)
            residual = power * measured - stated
            weight = huber_weights(residual - median(residual))
            stated = stated - weighted_mean(stated, weight)
            measured = measured - weighted_mean(measured, weight)
            numerator += float((weight * measured * stated).sum())
            denominator += float((weight * measured * measured).sum())
        power = numerator / max(denominator, 1e-9)
    return power
