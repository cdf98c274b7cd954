"""Regions of a frame: tiles and strips that cover it, and boxes around the pixels of a mask.

Frames are processed in regions so that intermediate planes stay small. A cell is a rectangle of
the grid on which labels are trusted; a tile consists of whole cells.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TypeAlias

import cv2
import numpy as np

from labelgen.core.arrays import Mask, Region, full_region

Borders: TypeAlias = tuple[list[int], list[int]]
"""Borders of the cells in y and in x, rising from 0 to the height or width."""

MAX_TILE_PIXELS = 1_600_000
"""Approximate: tiles end at borders of cells."""
STRIP_ROWS = 128
"""Rows of a strip. A few planes of it fit into the cache of a core."""
MIN_BOX_SIDE = 128
"""px. Boxes that are no longer than this are not split."""
BOX_COST_PIXELS = 160**2
"""Fixed cost of processing a box, as a number of pixels."""


def tiles(borders: Borders) -> Iterator[Region]:
    """Cover a frame with tiles of about equal size, row by row.

    >>> cells = list(range(0, 2001, 100))
    >>> [(y.stop, x.stop) for y, x in tiles((cells, cells))]
    [(1000, 1000), (1000, 2000), (2000, 1000), (2000, 2000)]
    """
    lengths, counts = [axis[-1] for axis in borders], [1, 1]
    while math.prod(lengths) > MAX_TILE_PIXELS * math.prod(counts):
        longer = lengths[1] * counts[0] >= lengths[0] * counts[1]
        counts[longer] += 1

    def intervals(axis: list[int], count: int) -> list[tuple[int, int]]:
        last = len(axis) - 1
        return list(pairwise(axis[round(k * last / count)] for k in range(count + 1)))

    for top, bottom in intervals(borders[0], counts[0]):
        for left, right in intervals(borders[1], counts[1]):
            yield slice(top, bottom), slice(left, right)


def cell_edges(length: int, count: int) -> list[slice]:
    """Cut a length into equal intervals, as slices.

    >>> cell_edges(10, 2)
    [slice(0, 5, None), slice(5, 10, None)]
    """
    borders = [round(k * length / count) for k in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(borders)]


def strips(height: int, margin: int) -> Iterator[tuple[slice, slice]]:
    """Cut `height` rows into strips; also yield each with up to `margin` rows on both sides.

    >>> list(strips(200, 10))
    [(slice(0, 128, None), slice(0, 138, None)), (slice(128, 200, None), slice(118, 200, None))]
    """
    for top in range(0, height, STRIP_ROWS):
        bottom = min(top + STRIP_ROWS, height)
        yield slice(top, bottom), slice(max(top - margin, 0), min(bottom + margin, height))


def pad_region(region: Region, size: tuple[int, int], margin: int) -> Region:
    """Grow a region by `margin` px and to multiples of 8 px, within a frame (height, width).

    >>> pad_region((slice(20, 30), slice(0, 10)), (100, 100), 5)
    (slice(8, 40, None), slice(0, 16, None))
    """
    y, x = (
        slice(max(s.start - margin, 0) // 8 * 8, min(-(-(s.stop + margin) // 8) * 8, length))
        for s, length in zip(region, size, strict=True)
    )
    return y, x


def relative_region(region: Region, outer: Region) -> Region:
    """Express a region of the frame relative to the corner of an outer region.

    >>> relative_region((slice(12, 14), slice(5, 9)), (slice(10, 20), slice(5, 9)))
    (slice(2, 4, None), slice(0, 4, None))
    """
    y, x = (slice(r.start - o.start, r.stop - o.start) for r, o in zip(region, outer, strict=True))
    return y, x


def absolute_region(region: Region, outer: Region) -> Region:
    """Express a region of an outer region relative to the frame; inverts `relative_region`."""
    y, x = (slice(r.start + o.start, r.stop + o.start) for r, o in zip(region, outer, strict=True))
    return y, x


def crop_borders(borders: Borders, region: Region) -> Borders:
    """Borders of the cells within a region, relative to its corner.

    >>> crop_borders(([0, 10, 20], [0, 30]), (slice(5, 15), slice(0, 30)))
    ([0, 5, 10], [0, 30])
    """
    ys, xs = (
        [0, *(b - s.start for b in axis if s.start < b < s.stop), s.stop - s.start]
        for axis, s in zip(borders, region, strict=True)
    )
    return ys, xs


def covering_boxes(mask: Mask, margin: int) -> list[Region]:
    """Cover the pixels of a mask with boxes: one large box, or several small ones.

    The boxes are chosen to minimise the work of processing each with `margin` px on all sides.

    Parameters
    ----------
    mask : (H, W) bool
        Pixels to cover.
    margin : int
        Pixels.

    Returns
    -------
    list of (slice, slice)
        Rows and columns. The boxes do not overlap.

    Examples
    --------
    >>> mask = np.zeros((1000, 1000), bool)
    >>> mask[10:20, 10:20] = mask[980:990, 980:990] = True
    >>> covering_boxes(mask, 16)[0]
    (slice(10, 20, None), slice(10, 20, None))
    """
    return _split(mask, full_region(mask.shape[:2]), margin)[1]


def _split(mask: Mask, region: Region, margin: int) -> tuple[int, list[Region]]:
    """Cost (pixels) of the best boxes for the part of a mask in a region, and the boxes."""
    left, top, width, height = cv2.boundingRect(mask[region].view(np.uint8))
    if not width:
        return 0, []
    y, x = box = absolute_region((slice(top, top + height), slice(left, left + width)), region)
    whole = (height + 2 * margin) * (width + 2 * margin) + BOX_COST_PIXELS, [box]
    if max(height, width) <= MIN_BOX_SIDE:
        return whole
    if height > width:
        middle = (y.start + y.stop) // 2
        halves = (slice(y.start, middle), x), (slice(middle, y.stop), x)
    else:
        middle = (x.start + x.stop) // 2
        halves = (y, slice(x.start, middle)), (y, slice(middle, x.stop))
    (cost1, boxes1), (cost2, boxes2) = (_split(mask, half, margin) for half in halves)
    return min(whole, (cost1 + cost2, boxes1 + boxes2), key=lambda option: option[0])
