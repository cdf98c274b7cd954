"""How far the pixels can be trusted where they contradict a stated exposure.

A curve per channel describes few cameras fully: processing mixes channels, crushes blacks and
brightens regions by what surrounds them. So the exposure step that a ridge measures has a
systematic error, which no number of pixels reduces. It is estimated from what should agree but does
not: channels, dark and bright codes, and places whose surroundings differ.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from labelgen.calibration.bracket_exposures import Calibration, ridge_rise, robust_mean
from labelgen.calibration.comparagram import Ridge
from labelgen.calibration.response_curve import View
from labelgen.calibration.ridge_fit import ROUNDS, ridge_variance, tukey_weights
from labelgen.core.arrays import Array

MIN_BINS = 3
"""Bins that a part of a ridge needs."""
CHANNELS, MIN_RANGE, UNCHECKED = 3, 0.3, 7.0
"""A step that fewer than CHANNELS channels measure, or codes (0..1) of a smaller range than
MIN_RANGE, is unchecked: little could contradict it. Its standard deviation is at least UNCHECKED
times what is typical of its camera."""
FEW_BRACKETS, FEW_BRACKETS_EV = 5, 0.15
"""A curve fitted to fewer than FEW_BRACKETS brackets follows the errors of their exposures. A step
then has at least this standard deviation (stops), divided by the number of brackets."""
LOCAL_ERROR = 2.0
"""Error of a step by local tone mapping, per stop of the step and unit of `StepErrors.local`."""
MIN_LOCAL, MIN_LOCAL_SPREAD = 0.03, 0.06
"""Limits above which local tone mapping is told from noise: of the median over the brackets of a
camera, and of the median of absolute values, for cameras that differ from picture to picture. One
curve for the whole picture stays below 0.02 and 0.04; simulated phones exceed one of the limits."""


class StepScatter(NamedTuple):
    """How far the parts of a ridge disagree about the exposure step."""

    ev: float
    """Root mean square difference (stops) of the parts from the whole; infinite without parts."""
    unchecked: bool
    """Whether little could contradict the step, see `CHANNELS`."""


@dataclass(frozen=True)
class StepErrors:
    """Systematic errors of the exposure steps that one camera's pixels measure."""

    scatter_ev: float = 0.0
    """Typical disagreement (stops) between the parts of a ridge."""
    local: float = 0.0
    """Local tone mapping: by how many stops a place brightens less or more from one frame to the
    next, per stop that its surroundings brighten more than those of other places. 0 if there is
    none."""

    def of_step(self, scatter: StepScatter, step: float) -> float:
        """Variance (stops squared) of a measured step of `step` stops."""
        typical = (UNCHECKED**2 if scatter.unchecked else 2.0) * self.scatter_ev**2
        return scatter.ev**2 + typical + (LOCAL_ERROR * self.local * step) ** 2


NO_ERRORS = StepErrors()


def correction_errors(
    view: View, calibration: Calibration, errors: StepErrors, reference: int
) -> list[float]:
    """Standard deviations (stops) of `Calibration.correction`, with systematic errors.

    Parameters
    ----------
    view, calibration : View, Calibration
        A bracket, and its calibration.
    errors : StepErrors
        Systematic errors of its camera.
    reference : int
        Index of the reference.

    Returns
    -------
    list of float
        One for each frame; infinite unless linked neighbours connect it to the reference.
    """
    steps, scatters = np.diff(view.ev), step_scatters(view, calibration)

    def error(frame: int) -> float:
        low, high = sorted((frame, reference))
        if not all(calibration.linked[low:high]):
            return float(np.inf)
        return float(np.sqrt(sum(errors.of_step(scatters[p], steps[p]) for p in range(low, high))))

    return [error(frame) for frame in range(len(view.ev))]


def step_scatters(view: View, calibration: Calibration) -> dict[int, StepScatter]:
    """How far the parts of each ridge of a bracket disagree about its exposure step.

    The parts are the darker and the brighter half of each channel.

    Returns
    -------
    dict of int to StepScatter
        By pair of frames.
    """
    scatters: dict[int, StepScatter] = {}
    ridge = view.separated(calibration.response.mixing).ridge
    rise, slope = ridge_rise(ridge, calibration.response)
    residual, variance = rise - np.diff(view.ev)[ridge.pair], ridge_variance(ridge, slope)
    for pair in np.unique(ridge.pair):
        bins = np.flatnonzero(ridge.pair == pair)
        step, weight = robust_mean(residual[bins], variance[bins])
        dark = ridge.long[bins] <= _weighted_median(ridge.long[bins], weight)
        parts, channels = list[float](), set[int]()
        for channel in range(3):
            for half in (dark, ~dark):
                part = bins[half & (ridge.channel[bins] == channel)]
                if len(part) >= MIN_BINS:
                    parts.append(robust_mean(residual[part], variance[part])[0] - step)
                    channels.add(channel)
        scatter = float(np.mean(np.square(parts))) if parts else np.inf
        narrow = bool(np.ptp(ridge.long[bins]) < MIN_RANGE)
        unchecked = len(channels) < CHANNELS or narrow
        scatters[int(pair)] = StepScatter(float(np.sqrt(scatter)), unchecked)
    return scatters


def camera_errors(views: Iterable[tuple[View, Calibration]]) -> StepErrors:
    """Estimate the systematic errors of a camera from all brackets that share its curve.

    Parameters
    ----------
    views : iterable of (View, Calibration)
        Brackets with the same response.
    """
    scatters, gains, count = list[float](), list[float](), 0
    for view, calibration in views:
        scatters += [s.ev for s in step_scatters(view, calibration).values() if s.ev < np.inf]
        gains.append(_local_gain(_sides(view.ridge, calibration)))
        count += 1
    scatter = float(np.median(scatters or [0]))
    if 0 < count < FEW_BRACKETS:
        scatter = max(scatter, FEW_BRACKETS_EV / count)
    common, spread = abs(float(np.median(gains or [0]))), float(np.median(np.abs(gains or [0])))
    local = max(common * (common > MIN_LOCAL), spread * (spread > MIN_LOCAL_SPREAD))
    return StepErrors(round(scatter, 4), round(local, 4))


def _sides(ridge: Ridge, calibration: Calibration) -> Array:
    """Rows (M, 3) of the bins of a ridge: rise and surroundings of one half less the other.

    The columns are the difference in rise (stops), that of the surroundings (stops), and the
    variance of the first.
    """
    bins = ridge.side_surround > 0
    first, second = (
        replace(
            ridge,
            short=ridge.short + sign / 2 * ridge.side_short,
            long=ridge.long + sign / 2 * ridge.side_long,
        )
        for sign in (-1, 1)
    )
    rises, slopes = zip(
        *(ridge_rise(r, calibration.response) for r in (first, second)), strict=True
    )
    variance = 4 * ridge_variance(ridge, np.mean(slopes, 0))
    return np.stack([rises[1] - rises[0], ridge.side_surround, variance], 1)[bins]


def _local_gain(sides: Array) -> float:
    """Robust slope of the first column of `_sides` over the second."""
    if not len(sides):
        return 0.0
    rise, surround, variance = sides.T
    gain, scale = 0.0, 1.0
    for k in range(ROUNDS):
        weight, scale = tukey_weights(rise - gain * surround, variance, k, scale)
        gain = float((weight * rise * surround).sum() / max((weight * surround**2).sum(), 1e-9))
    return gain


def _weighted_median(values: Array, weight: Array) -> float:
    """Weighted median of values (M,)."""
    order = np.argsort(values, kind="stable")
    total = np.cumsum(weight[order])
    return float(values[order[np.searchsorted(total, total[-1] / 2)]])
