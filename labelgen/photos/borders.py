"""Find borders of one colour that hold no light: frames that were aligned before, without alpha.

A program that moves frames onto each other fills what a frame did not see, with black or with any
other colour. Such a border begins at an edge of the frame, has one colour exactly, and ends in a
smooth line. All this is true of a wall in the dark or of a clipped sky as well. But these have the
light that the other frames show there, as far as their exposures go; a border has not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.polynomial import Polynomial

from labelgen.core.arrays import Array, Codes, Float, Mask

MIN_SHARE = 0.3
"""Least share of an edge along which a border runs."""
MAX_DEPTH = 0.25
"""Greatest width of a border, as a share of the frame."""
EXACT, LOSSY = (0.0, 1.5), (4 / 255, 8.0)
"""Largest difference from the colour of a border, in codes of 0..1, and px by which its end may be
off a parabola. It is smooth after any rotation, perspective or lens correction; only the blocks of
a lossy compression reach over it."""
STRAIGHT_SHARE, MIN_LENGTH = 0.95, 16
"""Share of a border that has to be so smooth, and least length of a border in px."""
FITS = 4
"""Times a parabola is fitted, each time without what lies far from the last one."""
MIDTONES, MIN_MIDTONES = (0.1, 0.9), 500
"""Codes (0..1), and number of pixels, by which the brightness of two frames is compared."""
COLUMNS = 256
"""Columns by which a region is first tested."""
SAMPLES = 200_000
"""About as many pixels of a frame are compared."""
SLACK = 4.0
"""Factor by which a code contradicts another frame: tone curves bend what exposures say."""
MIN_CODE = 0.15
"""Smallest code that is sure to be no noise."""
MIN_CONTRADICTED, MIN_JUDGED = 0.6, 0.3
"""Least share of a border that contradicts another frame, of what can be compared; and least share
of it that can be compared."""


def find_borders(frames: Sequence[Codes], lossy: bool = False) -> list[Mask | None]:
    """Find the borders of one colour that hold no light.

    Parameters
    ----------
    frames : sequence of (H, W, 3) uint8 or uint16
        F frames of a bracket.
    lossy : bool
        Whether they were compressed with loss.

    Returns
    -------
    list of (H, W) bool or None
        For each frame, True at pixels of such a border; None where there is none.
    """
    borders: list[Mask | None] = [None] * len(frames)
    if len({c.shape for c in frames}) > 1 or frames[0].ndim == 2:
        return borders
    for i, codes in enumerate(frames):
        for border in _candidates(codes, *(LOSSY if lossy else EXACT)):
            if _contradicts(frames, i, border):
                known = borders[i]
                borders[i] = border if known is None else known | border
    return borders


def _candidates(codes: Codes, tolerance: float, bend: float) -> list[Mask]:
    """Regions (H, W) of one colour along each edge that end in a smooth line."""
    found = []
    for turns in range(4):
        side = np.rot90(codes, turns)
        depth = _border_depth(side, tolerance * np.iinfo(codes.dtype).max, bend)
        if depth is not None and depth.any():
            rows = np.arange(len(side))[:, None]
            found.append(np.rot90(rows < depth, -turns))
    return found


def _border_depth(side: Codes, tolerance: float, max_bend: float) -> Array | None:
    """Width (L,) in px of a border along the first row of an image (H, L, 3); None without one."""
    length = side.shape[1]
    packed = side[0].astype(np.int64) @ (1 << 32, 1 << 16, 1)
    _, first, counts = np.unique(packed, return_index=True, return_counts=True)
    if counts.max() < MIN_SHARE * length:
        return None
    colour = side[0, first[counts.argmax()]].astype(np.int32)
    band = side[: max(2, round(MAX_DEPTH * len(side)))]
    # Most regions are seen not to be smooth from a few of their columns.
    few = _run_lengths(band[:, :: max(1, length // COLUMNS)], colour, tolerance)
    if _smooth_end(few, len(band), max_bend) is None:
        return None
    depth = _run_lengths(band, colour, tolerance)
    curve = _smooth_end(depth, len(band), max_bend)
    if curve is None:
        return None
    width: Array = np.ceil(curve(np.arange(length)) - 1e-6)
    return np.minimum(depth, np.maximum(width, 0))


def _run_lengths(band: Codes, colour: Array, tolerance: float) -> Array:
    """For each column of a band (H, L, 3), the number of its first pixels that have a colour."""
    depth, running = np.zeros(band.shape[1], int), np.arange(band.shape[1])
    for row in band:
        running = running[(np.abs(row[running] - colour) <= tolerance).all(-1)]
        if not len(running):
            break
        depth[running] += 1
    return depth


def _smooth_end(depth: Array, limit: int, max_bend: float) -> Polynomial | None:
    """Parabola on which a border of this width (L,) ends; None if it has no smooth end."""
    # In a corner, a border of the next edge is in the way.
    ends = np.flatnonzero((depth > 0) & (depth < limit))
    if len(ends) < max(MIN_SHARE * len(depth), MIN_LENGTH):
        return None
    use = np.ones(len(ends), bool)
    for _ in range(FITS):
        curve = Polynomial.fit(ends[use], depth[ends[use]], 2)
        bend = np.abs(curve(ends) - depth[ends])
        use = bend <= max_bend + 2 * np.median(bend)
    return curve if (bend <= max_bend).mean() >= STRAIGHT_SHARE else None


def _contradicts(frames: Sequence[Codes], i: int, border: Mask) -> bool:
    """Whether most of a border of frame i has not the light that other frames show there."""
    colour = _unit(frames[i][border][:1])
    judged, wrong = np.zeros((2, int(border.sum())), bool)
    for j in range(len(frames)):
        ratio = _brightness(frames[i], frames[j]) if j != i else None
        if ratio is None:
            continue
        other = _unit(frames[j][border])
        expected = other * ratio
        clipped = other >= MIDTONES[1]
        lit = (np.minimum(expected, 1) >= MIN_CODE).any(-1)
        too_dark = colour * SLACK < np.minimum(expected, 1)
        too_bright = (colour > SLACK * expected) & (colour >= MIN_CODE) & ~clipped
        judged |= lit | too_bright.any(-1)
        wrong |= ((too_dark & (expected >= MIN_CODE)) | too_bright).any(-1)
    enough = judged.mean() >= MIN_JUDGED
    return bool(enough and wrong.sum() >= MIN_CONTRADICTED * judged.sum())


def _brightness(a: Codes, b: Codes) -> float | None:
    """Median ratio of the codes of two frames; None where too few pixels tell."""
    step = max(1, round((a.shape[0] * a.shape[1] / SAMPLES) ** 0.5))
    one, other = (_unit(c[::step, ::step]) for c in (a, b))
    low, high = MIDTONES
    use = (np.minimum(one, other) > low) & (np.maximum(one, other) < high)
    return float(np.median(one[use] / other[use])) if use.sum() >= MIN_MIDTONES else None


def _unit(codes: Codes) -> Float:
    """Codes as 0..1."""
    return (codes / np.float32(np.iinfo(codes.dtype).max)).astype(np.float32)
