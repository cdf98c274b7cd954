"""The exposures of a bracket that states none, from its pixels.

Frames are ordered by their brightness. The ridge between two neighbours
(`labelgen.calibration.comparagram`) then gives the ratio of their exposures, if the response of the
camera is assumed: any power of a response fits the ridges as well, with all exposures scaled by it
(Grossberg and Nayar 2003, doi:10.1109/TPAMI.2003.1240119). So estimated exposures may all be off in
proportion.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cmp_to_key
from itertools import pairwise

import numpy as np

from labelgen.calibration import calibrate
from labelgen.calibration.bracket_exposures import ridge_rise, robust_mean
from labelgen.calibration.comparagram import Ridge, compare_neighbours, downsample_codes
from labelgen.calibration.places import TOP_CODE
from labelgen.calibration.response_curve import View, free_response
from labelgen.calibration.ridge_fit import ridge_variance
from labelgen.core.arrays import Array, Codes, max_channel, median
from labelgen.core.bracket import ESTIMATED, EXPOSURE_ADVICE, TO_BE_ESTIMATED, Bracket
from labelgen.core.errors import Rejected
from labelgen.core.response import CURVE_SAMPLES, GAMMA, GAMMA22, Response
from labelgen.photos.frames import read_frames

ASSUMED_CONTRAST = 0.1
"""Contrast of the S-curve that is assumed, see `typical_response`."""
MAX_ORDERS = 4
"""Orders of the frames that are tried."""
REDUCTION = 4
"""Frames are ordered on pixels reduced by this factor."""
EXPOSED = 0.03, 0.97
"""Codes (0..1) that are neither black nor clipped."""
MIN_BINS = 6
"""Bins that the ridge of two neighbours needs."""
MIN_COHERENCE = 0.5
"""Neighbours show the same scene if their `coherence` is at least this. Moving objects leave 0.55
and more, photos of different scenes reach 0.3."""
MIN_STEP_EV, MIN_SPAN_EV = 0.15, 0.5
"""Estimated steps below MIN_STEP_EV (stops) are repeats of an exposure, because flicker makes as
much; a bracket that spans less than MIN_SPAN_EV is a burst."""


def estimate_bracket(bracket: Bracket, bayer: str = "") -> Bracket:
    """Return a bracket that lacks exposures with those that its pixels show.

    Parameters
    ----------
    bracket : Bracket
        `Bracket.lacks_exposures`.
    bayer : str
        Colour filters of images with a single channel.

    Raises
    ------
    Rejected
        A photo cannot be read, sizes differ, or exposures cannot be estimated
        (`estimate_exposures`).
    """
    codes, linear = downsampled_frames(bracket, bayer)
    if len({c.shape for c in codes}) > 1:
        raise Rejected("no exposures, and the photos differ in size")
    evs = estimate_exposures([f.path.name for f in bracket.frames], codes, linear)
    frames = [
        replace(f, ev=ev, origin=ESTIMATED) for f, ev in zip(bracket.frames, evs, strict=True)
    ]
    frames.sort(key=lambda f: f.ev or 0.0)
    listed = " ".join(f"{f.ev:.1f}" for f in frames)
    remark = f"no exposures: estimated from the pixels as {listed} EV, weights are lower"
    problems = [p for p in bracket.problems if p != TO_BE_ESTIMATED]
    return replace(bracket, frames=tuple(frames), problems=(*problems, remark))


def downsampled_frames(bracket: Bracket, bayer: str = "") -> tuple[list[Codes], bool]:
    """Read the frames of a bracket one by one, and keep them at the size for ridges.

    Returns
    -------
    codes : list of (h, w, 3) uint16
        Linear light is encoded by gamma 2.2.
    linear : bool
        Whether the frames are linear light.

    Raises
    ------
    Rejected
        A frame cannot be read.
    """
    codes, linear = list[Codes](), False
    for frame in bracket.frames:
        read = read_frames([frame.path], 0, bayer)
        linear = read.linear
        own = Response("linear").recode(read.codes[0]) if linear else read.codes[0]
        codes.append(downsample_codes(own))
    return codes, linear


def estimate_exposures(
    names: Sequence[str], frames: Sequence[Codes], linear: bool = False
) -> list[float]:
    """Estimate the exposures of all frames of a bracket.

    Parameters
    ----------
    names : sequence of str
        Names of the frames, for messages.
    frames : sequence of (h, w, 3) uint16
        The frames in any order, as `labelgen.calibration.comparagram.downsample_codes` returns
        them, all of one size.
    linear : bool
        Whether they were linear light before they were encoded by gamma 2.2, so that the response
        is known.

    Returns
    -------
    list of float
        Exposures in stops, in the order of the frames; the shortest has 0. Frames that repeat an
        exposure have the same one.

    Raises
    ------
    Rejected
        The frames are equally bright, or one has nothing in common with its neighbours: all of it
        is clipped or black there, or it shows another scene.
    """
    order, response = _by_brightness(frames), GAMMA22 if linear else typical_response()
    for _ in range(MAX_ORDERS):
        ordered = [frames[i] for i in order]
        ridge = ridge_of(ordered)
        steps = measure_steps(ridge, len(frames), response)
        for k, (i, j) in enumerate(pairwise(order)):
            if not np.isfinite(steps[k]) or coherence(ridge, k) < MIN_COHERENCE:
                raise Rejected(
                    f"no exposures, and {names[i]} and {names[j]} have nothing in common from "
                    f"which they could be estimated; {EXPOSURE_ADVICE}"
                )
        if (steps > -MIN_STEP_EV).all():
            break
        # Frames that are nearly black are told apart better by their ridges.
        order = [order[k] for k in np.argsort(np.cumsum([0.0, *steps]), kind="stable")]
    else:
        raise Rejected(f"no exposures, and the pixels show no order; {EXPOSURE_ADVICE}")
    steps = refine_steps(ridge, steps)
    steps[steps < MIN_STEP_EV] = 0
    if steps.sum() < MIN_SPAN_EV:
        raise Rejected(f"no exposures, and the photos are equally bright; {EXPOSURE_ADVICE}")
    evs = np.cumsum([0.0, *steps])
    return [round(float(evs[order.index(i)]), 4) for i in range(len(frames))]


@cache
def typical_response() -> Response:
    """Return the response that is assumed: gamma 2.2 under an S-curve, as most cameras store.

    code = x - `ASSUMED_CONTRAST` sin(2 pi x), with x = light^(1 / 2.2). Contrast above gamma 2.2 is
    what the mean of measured responses shows (Grossberg and Nayar 2004,
    doi:10.1109/TPAMI.2004.1262345).
    """
    gamma_code = np.linspace(0, 1, 4096)
    code = gamma_code - ASSUMED_CONTRAST * np.sin(2 * np.pi * gamma_code)
    curve = np.interp(np.linspace(0, 1, CURVE_SAMPLES), code, gamma_code)
    return Response("estimated", (tuple(np.round(curve, 5).tolist()),) * 3)


def _by_brightness(frames: Sequence[Codes]) -> list[int]:
    """Indices of frames (h, w, 3) from dark to bright, by the pixels that both of two expose."""
    small = [max_channel(f)[::REDUCTION, ::REDUCTION] / np.float32(TOP_CODE) for f in frames]
    low, high = EXPOSED

    def compare(i: int, j: int) -> int:
        a, b = small[i], small[j]
        seen = (np.maximum(a, b) > low) & (np.minimum(a, b) < high)
        return int(np.sign(a[seen] - b[seen]).sum())

    return sorted(range(len(frames)), key=cmp_to_key(compare))


def ridge_of(frames: Sequence[Codes]) -> Ridge:
    """Ridges of frames (h, w, 3) uint16 of unknown exposures, shortest first."""
    rough = np.cumsum([0.0, *(_rough_step(a, b) for a, b in pairwise(frames))])
    return compare_neighbours(frames, rough.tolist()).ridge


def refine_steps(ridge: Ridge, steps: Array) -> Array:
    """Measure steps again by a curve that brings all frames together; the scale stays."""
    if len(ridge.pair) < calibrate.MIN_BINS:
        return steps
    evs = tuple(np.cumsum([0.0, *steps]).tolist())
    return measure_steps(ridge, len(evs), free_response([View("", evs, ridge)]))


def measure_steps(ridge: Ridge, count: int, response: Response) -> Array:
    """Measure the exposure steps between neighbouring frames under a response.

    Parameters
    ----------
    ridge : Ridge
        The ridges of all pairs of neighbours.
    count : int
        Number of frames.
    response : Response
        The response of the camera.

    Returns
    -------
    (count - 1,) float64
        Steps in stops; NaN where a ridge has fewer than `MIN_BINS` bins.
    """
    rise, slope = ridge_rise(ridge, response)
    variance, steps = ridge_variance(ridge, slope), np.full(count - 1, np.nan)
    for pair in range(count - 1):
        bins = ridge.pair == pair
        if bins.sum() >= MIN_BINS:
            start = median(rise[bins])
            steps[pair] = start + robust_mean(rise[bins] - start, variance[bins])[0]
    return steps


def coherence(ridge: Ridge, pair: int) -> float:
    """How far the codes of one frame are a function of those of the next: 1 if they are.

    It is the correlation ratio of the short codes of a ridge, with robust spreads, so that moving
    objects do not count.
    """
    bins = ridge.pair == pair
    short, count, spread = ridge.short[bins], ridge.count[bins], ridge.spread[bins]
    explained = float(
        np.average(np.square(short - np.average(short, weights=count)), weights=count)
    )
    rest = float(np.average(np.square(spread), weights=count))
    return explained / (explained + rest)


def _rough_step(short: Codes, long: Codes) -> float:
    """Step (stops) of two frames by gamma 2.2, good enough to align them."""
    x, y = (max_channel(c) / np.float32(TOP_CODE) for c in (short, long))
    low, high = EXPOSED
    exposed = (x > low) & (y > low) & (y < high)
    if not exposed.any():
        return 1.0
    return max(0.0, GAMMA * median(np.log2(y[exposed] / x[exposed])))
