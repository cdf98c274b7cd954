"""Boxes around a few pixels of a frame."""

from __future__ import annotations

import numpy as np
import pytest

from labelgen.core.arrays import Mask
from labelgen.core.tiles import BOX_COST_PIXELS, absolute_region, covering_boxes, relative_region

SIZE, AROUND = (700, 900), 24


def blobs(seed: int, count: int) -> Mask:
    """Small rectangles here and there."""
    rng = np.random.default_rng(seed)
    mask = np.zeros(SIZE, bool)
    for y, x in zip(rng.integers(0, SIZE[0], count), rng.integers(0, SIZE[1], count), strict=True):
        mask[y : y + rng.integers(1, 60), x : x + rng.integers(1, 60)] = True
    return mask


def cost(mask: Mask) -> int:
    """Pixels that the boxes of a mask are worth."""
    return sum(
        (y.stop - y.start + 2 * AROUND) * (x.stop - x.start + 2 * AROUND) + BOX_COST_PIXELS
        for y, x in covering_boxes(mask, AROUND)
    )


@pytest.mark.parametrize("count", [0, 1, 2, 5, 40, 2000])
def test_boxes_hold_every_pixel_once(count: int) -> None:
    mask = blobs(count, count)
    covered = np.zeros(SIZE, int)
    for at in covering_boxes(mask, AROUND):
        covered[at] += 1
        assert mask[at].any()
    assert covered.max(initial=0) <= 1
    assert covered[mask].all()


@pytest.mark.parametrize("count", [1, 2, 5, 40, 2000])
def test_boxes_are_no_more_work_than_one(count: int) -> None:
    mask = blobs(count, count)
    ys, xs = np.nonzero(mask)
    one = (np.ptp(ys) + 1 + 2 * AROUND) * (np.ptp(xs) + 1 + 2 * AROUND) + BOX_COST_PIXELS
    assert cost(mask) <= one


def test_what_is_far_apart_is_not_in_one_box() -> None:
    mask = np.zeros(SIZE, bool)
    mask[10:20, 10:20] = mask[-20:-10, -20:-10] = True
    assert len(covering_boxes(mask, AROUND)) == 2
    assert cost(mask) < 0.2 * mask.size


def test_what_is_everywhere_is_in_one_box() -> None:
    assert covering_boxes(np.ones(SIZE, bool), AROUND) == [(slice(0, 700), slice(0, 900))]


def test_a_piece_of_a_piece_is_one_of_the_frame() -> None:
    frame, other = np.arange(30 * 40).reshape(30, 40), np.s_[5:25, 7:37]
    piece = np.s_[8:12, 20:31]
    assert np.array_equal(frame[other][relative_region(piece, other)], frame[piece])
    assert absolute_region(relative_region(piece, other), other) == piece
