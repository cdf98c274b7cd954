"""Pieces of a frame to work on: tiles that cover it, boxes that hold a few of its pixels."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

import cv2
import numpy as np

from labelgen.core.arrays import Mask, Region, full_region

Borders: TypeAlias = tuple[list[int], list[int]]
"""Borders in y and in x, first 0, last the height or width."""

MAX_TILE_PIXELS = 1_600_000
"""Pixels that a tile has at most, about."""
STRIP_ROWS = 128
"""px: rows of a tile of which a few planes fit into the cache of a core."""
MIN_BOX_SIDE = 128
"""px: boxes that are no larger are not split."""
BOX_COST_PIXELS = 160**2
"""A box costs as much as so many pixels, besides its own."""


def tiles(borders: Borders) -> Iterator[Region]:
    """Pieces of about one size that cover a frame, of whole cells, whose borders are given."""
    lengths, counts = [axis[-1] for axis in borders], [1, 1]
    while math.prod(lengths) > MAX_TILE_PIXELS * math.prod(counts):
        longer = lengths[1] * counts[0] >= lengths[0] * counts[1]
        counts[longer] += 1

    def sides(of_cells: list[int], count: int) -> list[tuple[int, int]]:
        last = len(of_cells) - 1
        return list(pairwise(of_cells[round(k * last / count)] for k in range(count + 1)))

    for top, bottom in sides(borders[0], counts[0]):
        for left, right in sides(borders[1], counts[1]):
            yield slice(top, bottom), slice(left, right)


def strips(length: int, around: int) -> Iterator[tuple[slice, slice]]:
    """Strips of a piece that has so many rows, and each with the rows around it."""
    for top in range(0, length, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, length)
        yield slice(top, bottom), slice(max(top - around, 0), min(bottom + around, length))


def pad_region(piece: Region, size: tuple[int, int], by: int) -> Region:
    """A piece of a frame (height, width) and what is around it, from multiples of 8 px on."""
    y, x = (
        slice(max(s.start - by, 0) // 8 * 8, min(-(-(s.stop + by) // 8) * 8, length))
        for s, length in zip(piece, size, strict=True)
    )
    return y, x


def relative_region(piece: Region, other: Region) -> Region:
    """A piece, counted from the corner of one that it lies in."""
    y, x = (slice(p.start - o.start, p.stop - o.start) for p, o in zip(piece, other, strict=True))
    return y, x


def absolute_region(piece: Region, other: Region) -> Region:
    """The inverse of `relative_region`."""
    y, x = (slice(p.start + o.start, p.stop + o.start) for p, o in zip(piece, other, strict=True))
    return y, x


def crop_borders(borders: Borders, piece: Region) -> Borders:
    """Borders within a piece, counted from its corner."""
    ys, xs = (
        [0, *(b - s.start for b in axis if s.start < b < s.stop), s.stop - s.start]
        for axis, s in zip(borders, piece, strict=True)
    )
    return ys, xs


def covering_boxes(mask: Mask, around: int) -> list[Region]:
    """Boxes that hold all that is set in a mask: few large ones or many small ones.

    Whatever is less work, if with each box `around` px on all sides of it are worked on.

    Parameters
    ----------
    mask : (H, W) bool
        What is to be in boxes.
    around : int
        Pixels.

    Returns
    -------
    list of (slice, slice)
        Rows and columns; they don't overlap.
    """
    return _split(mask, full_region(mask.shape[:2]), around)[1]


def _split(mask: Mask, at: Region, around: int) -> tuple[int, list[Region]]:
    """What boxes that hold a part of a mask cost, in pixels, and the boxes."""
    left, top, width, height = cv2.boundingRect(mask[at].view(np.uint8))
    if not width:
        return 0, []
    y, x = box = absolute_region((slice(top, top + height), slice(left, left + width)), at)
    one = (height + 2 * around) * (width + 2 * around) + BOX_COST_PIXELS, [box]
    if max(height, width) <= MIN_BOX_SIDE:
        return one
    if height > width:
        middle = (y.start + y.stop) // 2
        halves = (slice(y.start, middle), x), (slice(middle, y.stop), x)
    else:
        middle = (x.start + x.stop) // 2
        halves = (y, slice(x.start, middle)), (y, slice(middle, x.stop))
    (first, some), (second, more) = (_split(mask, half, around) for half in halves)
    return min(one, (first + second, some + more), key=lambda found: found[0])
