"""The response of a camera and the true exposures of its frames, from its brackets together.

The log of the inverse response is a smooth curve, and along a ridge it rises by the difference
of two exposures (Debevec and Malik 1997, doi:10.1145/258734.258884; Mann 2000 for the
comparagrams). Curve and ratios can't both be free: any power of a response fits with exposures
scaled alike (Grossberg and Nayar 2003, doi:10.1109/TPAMI.2003.1240119). So the exposures that are
stated fix the scale, all frames together, and pixels correct single frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from labelgen.calibration.comparagram import Ridge
from labelgen.core.arrays import Array, median
from labelgen.core.response import CURVE_SAMPLES, GAMMA, GAMMA22, Response

Values: TypeAlias = Sequence[float] | Array
"""Exposures or offsets (F,) in stops."""

MAX_BRACKETS = 100
"""So many brackets of a camera, spread over all of them, decide about its curve."""
MIN_BINS = 60
"""A ridge with fewer bins, of all brackets of a camera, can't tell a curve."""
KNOTS = np.sort(np.append(np.linspace(0, 1, 14), 0.975))
"""Of a cubic spline over the root of the code: denser where it is dark, and one more at the
shoulder, where many curves bend."""
SPLINES = len(KNOTS) + 1
"""Coefficients of a channel; one more is 0, that of the only function not 0 at the top code."""
SMOOTHNESS, LIKENESS, SIZE = 30.0, 10.0, 0.1
"""Penalties on the bending of the splines, on differences between the channels, and on size."""
CODE_ERROR, EV_ERROR = 0.5 / 255, 0.01
"""What a mean code may be off by (quantisation, JPEG), and what no curve explains (stops)."""
PLACES_ALIKE = 20
"""Windows overlap and share their surface: so many places count as one independent one."""
TUKEY = 4.7
"""Bins count for nothing beyond so many standard deviations (Tukey's biweight)."""
ANNEALED = (8.0, 6.0, 4.0, 3.0, 2.0)
"""The first rounds believe in wider noise than there is, so that a far start finds its way."""
SETTLED_EV = 1e-5
"""A step that changes by less from round to round is found."""
ROUNDS = 25
PRIOR_EV = 0.3
"""Stated exposures are expected to be right within this (stops)."""
NOMINAL_EV = 0.15
"""Spread of the errors of stated exposures (stops)."""
HUBER_EV = 0.08
"""Stated exposures that are off by more count less for the scale of all of them (Huber)."""
POWER_EV = 0.06
"""The same where it decides whether the power of a known response is that of the exposures: of
two explanations, a camera of another gamma is likelier than stated exposures all off in step."""
MISFIT_RATIO, MISFIT_SLACK = 1.5, 0.1
"""A response of known name is taken if it fits as well as a free curve but for this (codes)."""
OUTLIER_RATIO, OUTLIER_CODES = 3.0, 0.3
"""A bracket was processed differently from the others of its camera if their curve is off by more
codes (of 255), more often than the ratio of what is usual, and its own fits better by the ratio."""
COMMON_ERROR = 0.2 / 255
"""What all codes of a pair of frames may be off by alike (black level, flare, the dark end of the
curve); in dark codes that is much of a stop."""
INDEPENDENT = 4.0
"""Neighbouring bins are off alike: the variance of an exposure is larger by this."""


@dataclass(frozen=True)
class View:
    """What calibration needs of one bracket.

    `key` names camera and processing; `ev` (F,) are the stated exposures in stops, rising;
    `ridge` is of the same frames.
    """

    key: str
    ev: tuple[float, ...]
    ridge: Ridge


@dataclass(frozen=True)
class Calibration:
    """What calibration found of one bracket.

    `assumed` means that nothing told the response. `offset` (F,) is what the pixels say beyond
    the stated exposures (stops; only differences mean anything), `covariance` (F, F) its error in
    stops squared; `linked` (F - 1,) says which neighbours have pixels in common. `misfit` is how
    far codes are off the common curve (median, of 255), None where no pixel can tell.
    """

    response: Response = GAMMA22
    assumed: bool = True
    offset: tuple[float, ...] = ()
    covariance: Array | None = None
    linked: tuple[bool, ...] = ()
    misfit: float | None = None

    def correction(self, frame: int, reference: int) -> tuple[float, float]:
        """What pixels add to the stated step from reference to frame, and its error, in stops.

        The error is infinite where no chain of neighbours links the two.
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
    """Responses by camera, and corrections of the exposures of every bracket.

    Parameters
    ----------
    views : sequence of View
        All brackets. A sequence that reads them from a disk will do: at most `MAX_BRACKETS` of
        them are held at a time.
    known : mapping of str to Response, optional
        Responses by camera that are given; "*" stands for every other camera.

    Returns
    -------
    list of Calibration
        One for each view.
    """
    known, found, groups = known or {}, dict[int, Calibration](), dict[str, list[int]]()
    for i, view in enumerate(views):
        groups.setdefault(view.key, []).append(i)
    for key, group in groups.items():
        given = known.get(key, known.get("*"))
        found |= _calibrate_camera(views, group, given)
    return [found[i] for i in range(len(views))]


def _calibrate_camera(
    views: Sequence[View], group: Sequence[int], given: Response | None
) -> dict[int, Calibration]:
    """Calibrate the brackets of one camera, by their indices in `views`.

    A bracket that the common curve does not fit gets a curve of its own.
    """
    if given is not None:
        return {i: correct_exposures(views[i], given) for i in group}
    common = fit_response(_evenly_spaced(views, group))
    if common is None:
        return {i: correct_exposures(views[i], GAMMA22, assumed=True) for i in group}
    found = {i: correct_exposures(views[i], common) for i in group}
    misfits = sorted(c.misfit for c in found.values() if c.misfit is not None)
    limit = max(OUTLIER_CODES, OUTLIER_RATIO * misfits[(len(misfits) - 1) // 2])
    outliers = [i for i, c in found.items() if (c.misfit or 0) > limit]
    own = {i: _own_curve(views[i], found[i]) for i in outliers}
    own = {i: c for i, c in own.items() if c.response != common}
    if own:  # these brackets bent the common curve: fit it again without them
        rest = [i for i in group if i not in own]
        common = fit_response(_evenly_spaced(views, rest)) or common
        found |= {i: correct_exposures(views[i], common) for i in rest}
    return found | own


def _evenly_spaced(views: Sequence[View], group: Sequence[int]) -> list[View]:
    """At most `MAX_BRACKETS` of a group, evenly spaced among those that have a ridge."""
    useful = [i for i in group if len(views[i].ridge.pair)]
    return [views[i] for i in useful[:: -(-len(useful) // MAX_BRACKETS) or 1]]


def _own_curve(view: View, common: Calibration) -> Calibration:
    """A bracket with a curve of its own, if that fits it much better than the common one."""
    response = fit_response([view])
    if response is None or common.misfit is None:
        return common
    own = correct_exposures(view, response)
    better = own.misfit is not None and own.misfit * OUTLIER_RATIO < common.misfit
    return own if better else common


def correct_exposures(view: View, response: Response, assumed: bool = False) -> Calibration:
    """What the pixels say of the exposures of a bracket, given the response.

    Each pair of neighbours has a step of its own, the weighted mean (Tukey) over its ridge. The
    offsets are the mean of their posterior, given that stated exposures are right within
    `NOMINAL_EV`, each by itself.
    """
    ridge, count = view.ridge, len(view.ev)
    rise, slope = _rise(ridge, response)
    rest = rise - np.diff(view.ev)[ridge.pair]
    variance = _variance(ridge, slope)
    normal, right = np.eye(count) / NOMINAL_EV**2, np.zeros(count)
    linked, off = [False] * (count - 1), np.zeros(len(rest))
    for pair in np.unique(ridge.pair):
        here = ridge.pair == pair
        step, weight = _robust_mean(rest[here], variance[here])
        off[here] = np.abs(rest[here] - step) / slope[here]
        common = COMMON_ERROR * _mean(slope[here], weight)
        trust = 1 / (INDEPENDENT / weight.sum() + common**2 + EV_ERROR**2)
        between = np.eye(count)[pair + 1] - np.eye(count)[pair]
        normal += trust * np.outer(between, between)
        right += trust * step * between
        linked[pair] = True
    covariance = np.linalg.inv(normal)
    misfit = median(off) * 255 if len(off) else None
    offset = tuple((covariance @ right).tolist())
    return Calibration(response, assumed, offset, covariance, tuple(linked), misfit)


def _robust_mean(rest: Array, variance: Array) -> tuple[float, Array]:
    """Where values (M,) lie that are mostly good, and the weights (M,) of the good ones."""
    step, scale = 0.0, 1.0
    for k in range(ROUNDS):
        weight, scale = _weights(rest - step, variance, k, scale)
        if not weight.any():  # all are far away: start from their middle
            return median(rest), 1 / (variance + np.var(rest))
        last, step = step, _mean(rest, weight)
        if k >= len(ANNEALED) and abs(step - last) < SETTLED_EV:
            break
    return step, weight


def fit_response(views: Sequence[View]) -> Response | None:
    """The response behind brackets of one camera.

    A free curve is fitted first; gamma 2.2 or sRGB is taken in its place if it fits as well with
    exposures that are those stated but for errors of single frames.

    Parameters
    ----------
    views : sequence of View
        Brackets of one camera and processing.

    Returns
    -------
    Response or None
        None where too few pixels can tell.
    """
    if sum(len(v.ridge.pair) for v in views) < MIN_BINS:
        return None
    free, named = free_response(views), (GAMMA22, Response("srgb"))
    fits = {r: _misfit(views, r) for r in (*named, free)}
    spans = sum(float(np.square(np.subtract(v.ev, np.mean(v.ev))).sum()) for v in views)
    tolerance = 0.01 + 3 * POWER_EV / np.sqrt(spans)
    for response in named:
        misfit, power = fits[response]
        if misfit <= MISFIT_RATIO * fits[free][0] + MISFIT_SLACK and abs(power - 1) <= tolerance:
            return response
    return free


def _misfit(views: Sequence[View], response: Response) -> tuple[float, float]:
    """Median misfit (codes) of brackets, and the power that their stated exposures ask for."""
    found = [correct_exposures(v, response) for v in views]
    misfits = [c.misfit for c in found if c.misfit is not None]
    power = _power([v.ev for v in views], [c.offset for c in found])
    return float(np.median(misfits)), power


def free_response(views: Sequence[View]) -> Response:
    """Fit a curve per channel, and offsets of the exposures with it.

    log2 light = p * 2.2 log2(code) + spline(sqrt(code)), 0 at the top code. Solved by weighted
    least squares in rounds; the offsets of a bracket are eliminated from the normal equations,
    so that a round takes time proportional to the number of brackets.

    Returns
    -------
    Response
        Rising from 0 at code 0 to 1 at the top code.
    """
    size = 1 + 3 * SPLINES
    designs = [_design(v) for v in views]
    evs = [np.array(v.ev) for v in views]
    theta, offsets = np.zeros(size), [np.zeros(len(e)) for e in evs]
    theta[0], scales = 1.0, [1.0] * len(views)
    penalty = _penalty(size)
    for k in range(ROUNDS):
        normal, right = penalty.copy(), penalty[0].copy()  # the prior: p = 1, no spline
        gauge, stays = np.zeros(size), 0.0
        blocks = []
        for n, (rises, slopes, frames, stated, ridge) in enumerate(designs):
            left = rises @ theta + frames @ offsets[n] - stated
            variance = _variance(ridge, np.maximum(slopes @ theta, 1))
            weight, scales[n] = _weights(left, variance, k, scales[n])
            inverse = np.linalg.inv(_information(frames, weight))
            weighted = (rises * weight[:, None]).T
            pull, cross = -frames.T @ (weight * stated), weighted @ frames
            normal += weighted @ rises - cross @ inverse @ cross.T
            right += rises.T @ (weight * stated) + cross @ inverse @ pull
            steps = _steps(evs[n], offsets[n])
            gauge += cross @ inverse @ steps
            stays -= float(steps @ inverse @ pull)
            blocks.append((inverse, cross, pull))
        # Offsets may not grow with the exposures: left to least squares, the curve would flatten,
        # and all exposures shrink, to make all residuals smaller.
        tied = np.block([[normal, gauge[:, None]], [gauge[None], np.zeros((1, 1))]])
        theta = np.linalg.solve(tied, np.append(right, stays))[:-1]
        offsets = [-inverse @ (pull + cross.T @ theta) for inverse, cross, pull in blocks]
    return _as_response(theta)


def _steps(ev: Array, offset: Array) -> Array:
    """Stated exposures (F,) about their mean; frames of large offset count less (Huber)."""
    rest = np.abs(offset - median(offset))
    weight = np.minimum(1, HUBER_EV / np.maximum(rest, 1e-9))
    return np.asarray(weight * (ev - _mean(ev, weight)))


def _as_response(theta: Array) -> Response:
    at = np.linspace(0, 1, CURVE_SAMPLES)
    curves = []
    for channel in range(3):
        log = _columns(at, np.full(CURVE_SAMPLES, channel), len(theta)) @ theta
        code = np.clip(2.0 ** (log / GAMMA), 0, 1)
        code[0], code[-1] = 0.0, 1.0
        curves.append(tuple(np.round(np.maximum.accumulate(code), 5).tolist()))
    return Response("estimated", tuple(curves))


def _columns(code: Array, channel: Array, size: int) -> Array:
    """Design (M, size) of log2 light at codes (M,) of channels (M,)."""
    spline = splines(np.sqrt(np.clip(code, 0, 1)))[:, :-1]
    columns = np.zeros((len(code), size))
    columns[:, 0] = GAMMA * np.log2(np.maximum(code, 1e-4))
    for c in range(3):
        at = channel == c
        columns[at, 1 + c * SPLINES : 1 + (c + 1) * SPLINES] = spline[at]
    return columns


def splines(at: Array) -> Array:
    """Cubic B-splines over `KNOTS`, by recursion (de Boor 1972, doi:10.1016/0021-9045(72)90080-9).

    Not by SciPy, which takes as long to import as a worker takes to start.

    Parameters
    ----------
    at : (M,) float64
        Positions, 0 to 1.

    Returns
    -------
    (M, SPLINES + 1) float64
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
    """Rise along the ridge and slope at its short codes by parameter; frames; stated steps."""
    ridge, size, h = view.ridge, 1 + 3 * SPLINES, 2e-3
    at = [_columns(code, ridge.channel, size) for code in (ridge.short, ridge.long)]
    slopes = [_columns(ridge.short + d, ridge.channel, size) for d in (-h, h)]
    frames, stated = _frames(ridge, len(view.ev)), np.diff(view.ev)[ridge.pair]
    return at[1] - at[0], (slopes[1] - slopes[0]) / (2 * h), frames, stated, ridge


def _penalty(size: int) -> Array:
    """What speaks for smooth and equal curves, and for a pure power where nothing is seen."""
    bend = np.diff(np.eye(SPLINES + 1), 2, axis=0)[:, :-1]
    spline = SMOOTHNESS * np.kron(np.eye(3), bend.T @ bend)
    spline += LIKENESS * np.kron(np.eye(3) - 1 / 3, np.eye(SPLINES)) + SIZE * np.eye(size - 1)
    penalty = np.zeros((size, size))
    penalty[0, 0], penalty[1:, 1:] = 1.0, spline
    return penalty


def _rise(ridge: Ridge, response: Response) -> tuple[Array, Array]:
    """How much light rises along a ridge (stops), and its slope at the short codes (stops)."""

    def log2(code: Array) -> Array:
        every = response.gamma_code(np.maximum(code, 1e-4)[:, None].repeat(3, 1))
        return GAMMA * np.log2(np.maximum(every[np.arange(len(code)), ridge.channel], 1e-4))

    slope = (log2(ridge.short + 2e-3) - log2(ridge.short - 2e-3)) / 4e-3
    return log2(ridge.long) - log2(ridge.short), np.maximum(slope, 1)


def _frames(ridge: Ridge, count: int) -> Array:
    """Design (M, F): a row takes the offset of the longer frame from that of the shorter."""
    design, rows = np.zeros((len(ridge.pair), count)), np.arange(len(ridge.pair))
    design[rows, ridge.pair], design[rows, ridge.pair + 1] = 1, -1
    return design


def _variance(ridge: Ridge, slope: Array) -> Array:
    """Variance (M,) of the rise of a bin in stops squared."""
    mean = ridge.spread**2 / np.maximum(ridge.count / PLACES_ALIKE, 1)
    return np.asarray(slope**2 * (mean + CODE_ERROR**2) + EV_ERROR**2)


def _weights(left: Array, variance: Array, k: int, scale: float) -> tuple[Array, float]:
    """Tukey weights (M,) of round k, and the scale of the residuals (M,) for the next one."""
    z = np.abs(left) / np.sqrt(variance)
    wide = max(scale, ANNEALED[k] if k < len(ANNEALED) else 1.0)
    weight = np.maximum(1 - (z / (TUKEY * wide)) ** 2, 0) ** 2 / (variance * wide**2)
    return weight, max(1.0, 1.4826 * median(z))


def _mean(values: Array, weight: Array) -> float:
    """Weighted mean of numbers (N,). Twice NumPy's speed on a few."""
    return float((values * weight).sum() / weight.sum())


def _information(frames: Array, weight: Array) -> Array:
    """Normal matrix (F, F) of the offsets of one bracket, with the prior that they are small."""
    return np.asarray(frames.T @ (weight[:, None] * frames) + np.eye(frames.shape[1]) / PRIOR_EV**2)


def _power(evs: Sequence[Values], offsets: Sequence[Values]) -> float:
    """The factor on exposures as measured that brings them nearest to those stated (Huber)."""
    power = 1.0
    for _ in range(10):
        above = below = 0.0
        for ev, offset in zip(evs, offsets, strict=True):
            stated, measured = np.asarray(ev), np.add(ev, offset)
            rest = power * measured - stated
            rest = rest - median(rest)
            weight = np.minimum(1, HUBER_EV / np.maximum(np.abs(rest), 1e-9))
            stated = stated - _mean(stated, weight)
            measured = measured - _mean(measured, weight)
            above += float((weight * measured * stated).sum())
            below += float((weight * measured * measured).sum())
        power = above / max(below, 1e-9)
    return power
