"""What the pixels say of the numbers in a list of exposures: seconds or EV, and typing errors.

Pixels give the steps between frames but for a common factor, because the response is not known yet
(`labelgen.calibration.estimate_exposures`). So readings of a list are compared by the ratios of
stated and measured steps: the right one has equal ratios.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from labelgen.calibration.bracket_exposures import ridge_rise
from labelgen.calibration.comparagram import Ridge
from labelgen.calibration.estimate_exposures import (
    downsampled_frames,
    measure_steps,
    refine_steps,
    ridge_of,
    typical_response,
)
from labelgen.calibration.survey_records import PixelEvidence
from labelgen.core.arrays import Array, median
from labelgen.core.bracket import ESTIMATED, READ_AS_EV, Bracket, Frame
from labelgen.core.response import GAMMA22, Response

MAX_SPREAD = 0.35
"""Ratios of stated and measured steps are equal if they differ by at most this factor (as log2)."""
MIN_CONTRAST = 0.4
"""A reading is preferred to another if its spread, or the factor that it needs, is smaller by at
least this (log2)."""
MAX_SCALE = 0.7
"""Measured steps are off by at most this common factor (log2), whatever the camera."""
MIN_TYPO_EV = 0.7
"""Smallest typing error (stops) that is told. Smaller errors may be the camera's."""


def decide_reading(bracket: Bracket, bayer: str = "") -> Bracket:
    """Decide by the pixels whether the list of a bracket holds EV or seconds.

    Parameters
    ----------
    bracket : Bracket
        If its frames have no `Frame.time_ev`, it is returned as it is.
    bayer : str
        Colour filters of images with a single channel.

    Returns
    -------
    Bracket
        With EVs by seconds and a remark, if the pixels contradict EV and agree with seconds.

    Raises
    ------
    Rejected
        A frame cannot be read.
    """
    times = [f.time_ev for f in bracket.frames if f.time_ev is not None]
    if len(times) < len(bracket.frames):
        return bracket
    codes, _ = downsampled_frames(bracket, bayer)
    if len({c.shape for c in codes}) > 1:
        return bracket
    steps = measured_steps(ridge_of(codes), len(codes))
    as_ev, as_times = (_spread(steps, np.diff(v)) for v in (bracket.evs, times))
    if not (as_times <= MAX_SPREAD and as_ev >= as_times + MIN_CONTRAST):
        return bracket
    name = bracket.frames[0].origin
    frames = [replace(f, ev=f.time_ev, origin=f"{name} (times)") for f in bracket.frames]
    remark = f"{name}: read as times, not as EV, which the pixels contradict"
    kept = [p for p in bracket.problems if p != f"{name}: {READ_AS_EV}"]
    return replace(bracket, frames=tuple(frames), problems=(*kept, remark))


def check_list(frames: Sequence[Frame], evidence: PixelEvidence) -> tuple[PixelEvidence, list[str]]:
    """Correct a typing error in the list of a bracket.

    Parameters
    ----------
    frames : sequence of Frame
        The frames of the evidence, shortest first.
    evidence : PixelEvidence
        Evidence of the bracket.

    Returns
    -------
    evidence : PixelEvidence
        With the exposure that the pixels of that frame show.
    remarks : list of str
        Which frame it is, what the list says, and what the pixels read; empty without an error.
    """
    if any(f.origin in ("", "EXIF", ESTIMATED) for f in frames):
        return evidence, []
    found = find_typo(evidence.ev, Ridge.of(evidence.ridges))
    if not found:
        return evidence, []
    k, read = found
    ev, stated = list(evidence.ev), frames[k].ev or 0.0
    pixels = stated + read - ev[k]
    remark = (
        f"{frames[k].path.name}: {frames[k].origin} says {stated:.2f} EV, where {pixels:.2f} would "
        "fit the others and the pixels; corrected"
    )
    ev[k] = read
    if any(b <= a for a, b in pairwise(ev)):
        return evidence, []
    return replace(evidence, ev=tuple(round(e, 4) for e in ev)), [remark]


def find_typo(ev: Sequence[float], ridge: Ridge) -> tuple[int, float] | None:
    """Find the one frame whose stated exposure does not fit those of the others.

    Parameters
    ----------
    ev : sequence of float
        Stated exposures in stops, rising.
    ridge : Ridge
        The ridges of all pairs of neighbours.

    Returns
    -------
    (int, float) or None
        The frame, and the EV that its pixels show beside the others' stated ones. None if all fit,
        if more than one does not, or if it is not clear which one.
    """
    stated, steps = np.diff(ev), measured_steps(ridge, len(ev))
    if len(stated) < 2 or not np.isfinite(steps).all() or (steps <= 0).any():
        return None
    if _spread(steps, stated) <= MAX_SPREAD:
        return None
    costs = dict[int, tuple[float, float]]()
    position = np.append(0.0, np.cumsum(steps))
    for k in range(len(ev)):
        others = [i for i in range(len(ev)) if i != k]
        ratios = [(position[j] - position[i]) / (ev[j] - ev[i]) for i, j in pairwise(others)]
        scale, spread = median(np.log2(ratios)), float(np.ptp(np.log2(ratios)))
        anchor = k - 1 if k else 1
        read = ev[anchor] + (position[k] - position[anchor]) / 2.0**scale
        costs[k] = abs(scale) + spread, float(read)
    [(first, k), (second, _), *_] = sorted((cost, k) for k, (cost, _) in costs.items())
    read = costs[k][1]
    clear = first <= MAX_SCALE and second >= first + MIN_CONTRAST
    return (k, read) if clear and abs(read - ev[k]) >= MIN_TYPO_EV else None


def measured_steps(ridge: Ridge, count: int) -> Array:
    """Steps (count - 1,) in stops, by the common response that fits best; NaN if unknown."""
    responses = (GAMMA22, Response("srgb"), typical_response())
    steps = [measure_steps(ridge, count, response) for response in responses]
    misfits = [_misfit(ridge, r, s) for r, s in zip(responses, steps, strict=True)]
    best = steps[int(np.argmin(misfits))]
    return refine_steps(ridge, best) if np.isfinite(best).all() else best


def _misfit(ridge: Ridge, response: Response, steps: Array) -> float:
    """Median distance of the codes (0..1) of a ridge from a response."""
    rise, slope = ridge_rise(ridge, response)
    distance = np.abs(rise - steps[ridge.pair]) / slope
    return median(distance[np.isfinite(distance)]) if np.isfinite(distance).any() else np.inf


def _spread(measured: Array, stated: Array) -> float:
    """Range of the ratios of two lists of steps, as log2; infinite if they cannot be compared."""
    if not np.isfinite(measured).all() or min(measured.min(), stated.min()) <= 0:
        return float(np.inf)
    return float(np.ptp(np.log2(measured / stated)))
