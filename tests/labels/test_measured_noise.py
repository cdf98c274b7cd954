"""Noise that is measured in brackets, against noise that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelgen.alignment.align import Aligned
from labelgen.core.arrays import Array
from labelgen.core.bracket import Stack
from labelgen.core.recipe import DEFAULT
from labelgen.core.response import SourceFormat, encode
from labelgen.labels import measured_noise, motion
from labelgen.labels.cues import align_cells, measure_stack_noise
from labelgen.labels.difference import FramePair
from labelgen.labels.label import _measure_noise
from labelgen.labels.measured_noise import LEVELS, UNTESTED, MeasuredNoise, sample_cells
from labelgen.labels.motion import moving

MODEL = 20_000.0
"""Full well (electrons) that the stacks claim."""
SIDE = 384
SIXTEEN = SourceFormat(bits=16)


def noisy_stack(full_well: float, moved: Array | None = None, darker: float = 0.5) -> Stack:
    """Two frames of a ramp, with photon noise; the second is darker where something moved."""
    rng = np.random.default_rng(0)
    light = np.tile(np.linspace(0.05, 0.8, SIDE) ** 2.2, (SIDE, 1))[..., None].repeat(3, -1)
    codes = []
    for k in range(2):
        scene = light * (np.where(moved, darker, 1)[..., None] if k and moved is not None else 1)
        seen = rng.normal(scene, np.sqrt(scene / full_well))
        codes.append(encode(np.clip(seen, 0, 1).astype(np.float32), 16))
    return Stack((codes[0], codes[1]), (0.0, 0.0), 0, SourceFormat(bits=16, noise=(MODEL, 0.0)))


def measured(stack: Stack) -> MeasuredNoise:
    cells = align_cells(stack, (None,) * 2, DEFAULT)
    noise = measure_stack_noise(stack, cells, DEFAULT)
    assert noise is not None
    return noise


def table_of(noise: MeasuredNoise) -> Array:
    table = noise.tables[1]
    assert table is not None
    return np.asarray(table)


def pair_of(stack: Stack) -> FramePair:
    valid = np.ones(stack.size, bool)
    frames = [Aligned(c, valid, 0.0) for c in stack.codes]
    return FramePair.of(stack, 1, frames[0], frames[1], DEFAULT)


def test_ratio_tells_by_how_much_noise_is_stronger_than_the_model() -> None:
    """`FLOOR` is part of both, so the ratio of ratios is compared where noise is far above it."""
    ratios = [measured(noisy_stack(MODEL / k**2)).ratio for k in (4, 8, 16)]
    assert ratios[1] / ratios[0] == pytest.approx(2, rel=0.15)
    assert ratios[2] / ratios[1] == pytest.approx(2, rel=0.15)


def test_tables_grow_with_noise_in_all_bins_that_are_known() -> None:
    weak, strong = (table_of(measured(noisy_stack(MODEL / k**2)))[0] for k in (4, 8))
    known = (weak[..., 2:-1, 0] > 0) & (strong[..., 2:-1, 0] > 0)
    assert known.sum() > 12
    assert np.allclose((strong / np.maximum(weak, 1e-6))[..., 2:-1, 0][known], 2, rtol=0.25)


def test_what_moves_in_a_bin_changes_its_noise_little() -> None:
    """The quantile of all is one of the still pixels, that of 0.3 / (1 - share)."""
    still = measured(noisy_stack(MODEL / 64)).ratio
    for share, most in ((0.1, 1.2), (0.2, 1.35), (0.4, 1.85)):
        moved = np.zeros((SIDE, SIDE), bool)
        moved[: int(share * SIDE)] = True
        other = measured(noisy_stack(MODEL / 64, moved))
        assert 1 <= other.ratio / still < most
    assert moving(pair_of(noisy_stack(MODEL / 64, moved)), other.tables[1])[moved].mean() > 0.8


def test_nothing_is_measured_where_both_frames_clip() -> None:
    table = table_of(measured(noisy_stack(MODEL)))
    assert (table[0, :, LEVELS - 1] == 0).all()
    assert (table[1, :, LEVELS - 1] == UNTESTED).all()


def test_the_same_bracket_has_the_same_noise() -> None:
    stack = noisy_stack(MODEL / 16)
    assert np.array_equal(table_of(measured(stack)), table_of(measured(stack)))


@pytest.mark.parametrize("size", [(90, 100), (400, 600), (2001, 2999), (4000, 6000), (600, 9000)])
def test_cells_are_spread_over_the_frame_and_hold_few_pixels(size: tuple[int, int]) -> None:
    cells = sample_cells(size)
    areas = [(y.stop - y.start) * (x.stop - x.start) for y, x in cells]
    assert sum(areas) <= max(1.6 * measured_noise.PIXELS, max(areas))
    count = np.zeros((2, 2))
    for y, x in cells:
        assert 0 <= y.start < y.stop <= size[0]
        assert 0 <= x.start < x.stop <= size[1]
        count[int((y.start + y.stop) > size[0]), int((x.start + x.stop) > size[1])] += 1
    if len(cells) > 8:
        assert count.min() > 0.5 * count.mean()


def test_noise_that_was_measured_is_not_motion_but_objects_are() -> None:
    moved = np.zeros((SIDE, SIDE), bool)
    moved[150:230, 200:300] = True
    stack = noisy_stack(MODEL / 225, moved)
    bare = replace(DEFAULT, motion=replace(DEFAULT.motion, measured=0.0))
    without = moving(replace(pair_of(stack), recipe=bare))
    mask = moving(pair_of(stack), measured(stack).tables[1])
    away = np.ones_like(moved)
    away[130:250, 180:320] = False
    assert without[away].mean() > 0.3
    assert mask[away].mean() < 0.05
    assert mask[moved].mean() > 0.9


def test_the_full_well_is_lowered_for_noisy_brackets_alone() -> None:
    noisy, plain = noisy_stack(MODEL / 1600), noisy_stack(MODEL)
    lowered, noise = _measure_noise(noisy, (None,) * 2, DEFAULT)
    assert noise is not None
    assert lowered.source_format.noise is not None
    assert lowered.source_format.noise[0] < MODEL / 4
    assert noise.ratio < measured(noisy).ratio
    assert _measure_noise(plain, (None,) * 2, DEFAULT)[0] is plain


def test_coarse_differences_show_what_noise_hides_from_fine_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    moved = np.zeros((SIDE, SIDE), bool)
    moved[150:230, 150:250] = True
    stack = noisy_stack(MODEL / 1600, moved, 0.6)
    tables = measured(stack).tables[1]
    both = moving(pair_of(stack), tables)
    monkeypatch.setattr(motion, "COARSE_THRESHOLD", 1e3)
    fine = moving(pair_of(stack), tables)
    assert not (fine & ~both).any()
    assert both[moved].mean() > 0.65
    assert fine[moved].mean() < both[moved].mean() - 0.1


def test_motion_looks_as_far_as_coarse_differences_do() -> None:
    """A frame of the same light but for one pixel: it moves as far as the field says."""
    grey = np.full((161, 161, 3), 20000, np.uint16)
    other = grey.copy()
    other[80, 80] = 65535
    valid = np.ones(grey.shape[:2], bool)
    bare = replace(DEFAULT.motion, speck=1, close=1, grow=1)
    recipe = replace(DEFAULT, motion=bare)
    pair = FramePair(
        Aligned(grey, valid, 0.0), Aligned(other, valid, 0.0), 0.0, 0.0, SIXTEEN, recipe
    )
    nothing = np.zeros((2, 3, LEVELS, measured_noise.GRADIENTS), np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motion, "COARSE_THRESHOLD", 0.0)
        mask = moving(pair, nothing)
    distance = np.abs(np.argwhere(mask) - 80).max()
    assert distance == motion.receptive_field(recipe) == measured_noise.COARSE_RADIUS
