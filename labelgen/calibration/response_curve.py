"""Fit the response of a camera to the ridges of its brackets, as a free curve.

Light is a power of the code, times a factor whose logarithm is a cubic spline. The curve and the
exposures are fitted together. Pixels alone do not determine their common scale;
`labelgen.calibration.calibrate` explains what does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from labelgen.calibration.comparagram import Ridge, ridge_of_places
from labelgen.calibration.ridge_fit import (
    MIN_CODE,
    ROUNDS,
    huber_weights,
    ridge_variance,
    tukey_weights,
    weighted_mean,
)
from labelgen.core.arrays import Array, median
from labelgen.core.mixing import NO_MIXING, Mixing
from labelgen.core.response import CURVE_SAMPLES, GAMMA, Response

KNOTS = np.sort(np.append(np.linspace(0, 1, 14), 0.975))
"""Knots of the cubic spline, as square roots of codes (0..1): they are closer in the dark. The one
at 0.975 is added for the shoulder, where many curves bend."""
SPLINES = len(KNOTS) + 1
"""Spline coefficients of a channel. The last B-spline has none: it is the only one that is not 0 at
the top code, where the light is 1 by definition."""
TOE_CODE = 0.03
"""A second power has codes raised by this (0..1). It does not fall to 0 in the dark, as the light
of cameras that crush blacks: their code 0 stands for all light below a toe."""
POWERS = 2
"""Number of powers, which are the first parameters."""
BLACK_CODE = 0.25 / 255
"""Code at which the light of code 0 is taken, which stands for codes of 0 to half a code."""
SMOOTHNESS, LIKENESS, SIZE = 30.0, 10.0, 0.1
"""Penalties on the bending of the splines, on differences between channels, and on the size of all
coefficients."""
POWER_PRIOR = 10.0
"""Penalty on the powers, for their distance from 0 and 1. The two are alike but in the dark: with
less, the exposures of a single bracket would decide between them."""
PRIOR_EV = 0.3
"""Standard deviation (stops) of the errors of stated exposures, while a curve is fitted."""
SLOPE_STEP = 2e-3
"""Step of the code (0..1) in both directions, for the slope of a curve by finite differences."""


@dataclass(frozen=True)
class View:
    """Data of one bracket from which its camera is calibrated."""

    key: str
    """Name of camera and processing; brackets that share it share a response."""
    ev: tuple[float, ...]
    """Stated exposures (F,) in stops, rising."""
    ridge: Ridge
    """Ridges of neighbouring frames, in the order of `ev`."""
    places: Array = field(default_factory=lambda: np.empty((0, 7)))
    """Places (N, 7) of neighbouring frames: number of the pair, codes (0..1) of R, G, B in the
    shorter frame and in the longer one."""

    mixing: Mixing = NO_MIXING
    """The mixing that separates the channels of `ridge`."""

    def separated(self, mixing: Mixing) -> View:
        """Return the same bracket with the ridges of the channels that a mixing separates."""
        return self if mixing == self.mixing else self.with_ridges_of_places(mixing)

    def with_ridges_of_places(self, mixing: Mixing) -> View:
        """Return the same, with ridges of the stored places even where there is no mixing."""
        return replace(self, ridge=ridge_of_places(self.places, mixing), mixing=mixing)


def free_response(views: Sequence[View]) -> Response:
    """Fit a curve per channel together with the offsets of the exposures.

    The model is log2 light = p * 2.2 log2(code) + q * 2.2 log2((code + 0.03) / 1.03) +
    spline(sqrt(code)), which is 0 at the top code.
    It is fitted by iteratively reweighted least squares. The offsets of a bracket are eliminated
    from the normal equations, so the time of a round is proportional to the number of brackets.

    Parameters
    ----------
    views : sequence of View
        Brackets of one camera and processing.

    Returns
    -------
    Response
        Rising to 1 at the top code. Code 0 stands for some light.
    """
    size = POWERS + 3 * SPLINES
    designs = [_design(v) for v in views]
    evs = [np.array(v.ev) for v in views]
    theta, offsets = np.zeros(size), [np.zeros(len(e)) for e in evs]
    theta[1], scales = 1.0, [1.0] * len(views)
    penalty = _penalty(size)
    for k in range(ROUNDS):
        normal, right = penalty.copy(), penalty[1].copy()  # the prior: p = 0, q = 1, no spline
        gauge, gauge_right = np.zeros(size), 0.0
        blocks = []
        for n, (rises, slopes, frames, stated, ridge) in enumerate(designs):
            residual = rises @ theta + frames @ offsets[n] - stated
            variance = ridge_variance(ridge, np.maximum(slopes @ theta, 1))
            weight, scales[n] = tukey_weights(residual, variance, k, scales[n])
            inverse = np.linalg.inv(_information(frames, weight))
            weighted = (rises * weight[:, None]).T
            offset_right, cross = -frames.T @ (weight * stated), weighted @ frames
            normal += weighted @ rises - cross @ inverse @ cross.T
            right += rises.T @ (weight * stated) + cross @ inverse @ offset_right
            exposures = _centred_exposures(evs[n], offsets[n])
            gauge += cross @ inverse @ exposures
            gauge_right -= float(exposures @ inverse @ offset_right)
            blocks.append((inverse, cross, offset_right))
        # A constraint: offsets may not grow with the exposures. Least squares alone would flatten
        # the curve and shrink all exposures, because that makes all residuals smaller.
        system = np.block([[normal, gauge[:, None]], [gauge[None], np.zeros((1, 1))]])
        theta = np.linalg.solve(system, np.append(right, gauge_right))[:-1]
        offsets = [-inverse @ (r + cross.T @ theta) for inverse, cross, r in blocks]
    return _as_response(theta)


def _centred_exposures(ev: Array, offset: Array) -> Array:
    """Weighted deviations (F,) of stated exposures from their mean; large offsets weigh less."""
    weight = huber_weights(offset - median(offset))
    return np.asarray(weight * (ev - weighted_mean(ev, weight)))


def _as_response(theta: Array) -> Response:
    """Sample the curves with parameters `theta`, and make them rise to 1."""
    codes = np.linspace(0, 1, CURVE_SAMPLES)
    codes[0] = BLACK_CODE
    curves = []
    for channel in range(3):
        log2_light = _columns(codes, np.full(CURVE_SAMPLES, channel), len(theta)) @ theta
        gamma_code = np.clip(2.0 ** (log2_light / GAMMA), 0, 1)
        gamma_code[-1] = 1.0
        curves.append(tuple(np.round(np.maximum.accumulate(gamma_code), 5).tolist()))
    return Response("estimated", tuple(curves))


def _columns(code: Array, channel: Array, size: int) -> Array:
    """Design matrix (M, size) of log2 light at codes (M,) of channels (M,)."""
    spline = splines(np.sqrt(np.clip(code, 0, 1)))[:, :-1]
    columns = np.zeros((len(code), size))
    columns[:, 0] = GAMMA * np.log2(np.maximum(code, MIN_CODE))
    columns[:, 1] = GAMMA * np.log2((code + TOE_CODE) / (1 + TOE_CODE))
    for c in range(3):
        rows = channel == c
        first = POWERS + c * SPLINES
        columns[rows, first : first + SPLINES] = spline[rows]
    return columns


def splines(at: Array) -> Array:
    """Cubic B-splines over `KNOTS`, by recursion (de Boor 1972, doi:10.1016/0021-9045(72)90080-9).

    SciPy has them too, but importing it takes as long as starting a worker.

    Parameters
    ----------
    at : (M,) float64
        Positions, 0 to 1.

    Returns
    -------
    (M, SPLINES + 1) float64
        Value of each spline at each position.

    Examples
    --------
    >>> splines(np.array([0.0, 0.3, 1.0])).sum(1).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    knots = np.pad(KNOTS, 3, "edge")
    piece = np.clip(np.searchsorted(KNOTS, at, "right"), 1, len(KNOTS) - 1) + 2
    basis = (np.arange(len(knots) - 1) == piece[:, None]).astype(float)
    for degree in range(1, 4):
        width = knots[degree:] - knots[:-degree]
        along = (at[:, None] - knots[:-degree]) / np.where(width > 0, width, np.inf)
        basis = along[:, :-1] * basis[:, :-1] + (1 - along[:, 1:]) * basis[:, 1:]
    return basis


def _design(view: View) -> tuple[Array, Array, Array, Array, Ridge]:
    """Linear model of the ridge of a bracket: M bins, F frames, P parameters.

    Returns
    -------
    rises : (M, P) float64
        Rise of log2 light along the ridge, by parameter.
    slopes : (M, P) float64
        Slope of log2 light over code at the short codes, by parameter.
    frames : (M, F) float64
        Design matrix of the offsets.
    stated : (M,) float64
        Stated exposure steps in stops.
    ridge : Ridge
        The ridge itself.
    """
    ridge, size = view.ridge, POWERS + 3 * SPLINES
    short, long = (_columns(code, ridge.channel, size) for code in (ridge.short, ridge.long))
    below, above = (
        _columns(ridge.short + d, ridge.channel, size) for d in (-SLOPE_STEP, SLOPE_STEP)
    )
    frames, stated = _offset_design(ridge, len(view.ev)), np.diff(view.ev)[ridge.pair]
    return long - short, (above - below) / (2 * SLOPE_STEP), frames, stated, ridge


def _penalty(size: int) -> Array:
    """Prior (size, size) on the parameters: smooth and equal curves, near a pure power."""
    bend = np.diff(np.eye(SPLINES + 1), 2, axis=0)[:, :-1]
    spline = SMOOTHNESS * np.kron(np.eye(3), bend.T @ bend)
    spline += LIKENESS * np.kron(np.eye(3) - 1 / 3, np.eye(SPLINES)) + SIZE * np.eye(3 * SPLINES)
    penalty = np.zeros((size, size))
    penalty[:POWERS, :POWERS], penalty[POWERS:, POWERS:] = POWER_PRIOR * np.eye(POWERS), spline
    return penalty


def _offset_design(ridge: Ridge, count: int) -> Array:
    """Design matrix (M, F): the offset of the shorter frame less that of the longer one."""
    design, rows = np.zeros((len(ridge.pair), count)), np.arange(len(ridge.pair))
    design[rows, ridge.pair], design[rows, ridge.pair + 1] = 1, -1
    return design


def _information(frames: Array, weight: Array) -> Array:
    """Normal matrix (F, F) of the offsets of one bracket, with the prior that they are small."""
    return np.asarray(frames.T @ (weight[:, None] * frames) + np.eye(frames.shape[1]) / PRIOR_EV**2)
