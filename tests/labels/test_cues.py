"""Alignment, motion cue and exposure cue against known geometry and known motion."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from labelgen.alignment import homography
from labelgen.alignment.align import (
    Aligned,
    align_frame,
    align_region,
    downsample_stack,
    find_displacement,
)
from labelgen.core.arrays import max_channel
from labelgen.core.bracket import Stack
from labelgen.core.recipe import DEFAULT, RECIPES, SSHDR, Recipe
from labelgen.core.response import SourceFormat, encode
from labelgen.core.settings import Align, Noise
from labelgen.labels.difference import FramePair, noise_variance
from labelgen.labels.exposure import clipped, dark
from labelgen.labels.motion import moving
from labelgen.simulate import SimulatedBracket
from tests.conftest import EV, stack_of

OTHERS = (0, 2)
SIXTEEN = SourceFormat(bits=16)


def frame_of(linear: np.ndarray, seen: np.ndarray | None = None) -> Aligned:
    """A frame of some linear light that is in place."""
    seen = np.ones(linear.shape[:2], bool) if seen is None else seen
    return Aligned(encode(linear, 16), seen, 0.0)


def shifted(stack: Stack, i: int, matrix: np.ndarray) -> Stack:
    """The stack with frame i resampled by a known homography."""
    h, w = stack.size
    moved = cv2.warpPerspective(
        stack.codes[i], matrix, (w, h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return replace(stack, codes=tuple(moved if k == i else c for k, c in enumerate(stack.codes)))


@pytest.mark.parametrize("i", [0, 2])
def test_a_known_homography_is_found_to_a_fraction_of_a_pixel(
    tripod: SimulatedBracket, i: int
) -> None:
    truth = np.array([[0.999, -0.012, 6.3], [0.012, 1.001, -4.6], [1e-5, -8e-6, 1]])
    stack = shifted(stack_of(tripod), i, truth)
    found = homography.find_homography(stack, i, Align())
    assert found is not None
    h, w = stack.size
    corners = np.float32([[[30, 30], [w - 30, 30], [30, h - 30], [w - 30, h - 30]]])
    error = cv2.perspectiveTransform(corners, found) - cv2.perspectiveTransform(corners, truth)
    assert np.abs(error).max() < 0.5


def test_what_is_known_beforehand_is_not_looked_for(
    tripod: SimulatedBracket, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = np.array([[0.999, -0.012, 6.3], [0.012, 1.001, -4.6], [1e-5, -8e-6, 1]])
    stack = shifted(stack_of(tripod), 0, truth)
    known = homography.scale_homography(truth, stack.size, homography.UNIT_SIZE)
    hinted = replace(stack, homographies=(known, None, None))
    wrong = replace(stack, homographies=(np.linalg.inv(known), None, None))
    found = homography.find_homography(wrong, 0, Align())  # what is known is wrong
    assert found is not None
    assert not np.allclose(found, np.linalg.inv(truth), atol=0.1)
    monkeypatch.setattr(homography, "estimate_homography", lambda *_: pytest.fail("looked for"))
    taken = homography.find_homography(hinted, 0, Align())
    assert taken is not None
    assert np.allclose(taken, truth)


def test_homographies_hold_at_another_size() -> None:
    matrix = np.array([[1.01, -0.02, 6.3], [0.03, 0.98, -4.6], [1e-5, -8e-6, 1]])
    here = np.array([[[-0.5, -0.5], [399.5, 287.5], [100.0, 30.0]]])  # corners, and a place
    there = cv2.perspectiveTransform(here, matrix)
    halved = cv2.perspectiveTransform(
        (here + 0.5) / 2 - 0.5, homography.scale_homography(matrix, (288, 400), (144, 200))
    )
    assert np.allclose(halved, (there + 0.5) / 2 - 0.5)


def test_homographies_are_chained_from_frame_to_frame() -> None:
    rng = np.random.default_rng(0)
    to_first = [np.eye(3)] + [np.eye(3) + rng.normal(0, 0.01, (3, 3)) for _ in range(3)]
    steps = [np.linalg.inv(a) @ b for a, b in pairwise(to_first)]
    for start, end in ((3, 1), (1, 3), (2, 0), (0, 1)):
        chain = homography.chain_homographies(steps, start, end)
        assert chain is not None
        assert np.allclose(to_first[end] @ chain, to_first[start])
    assert homography.chain_homographies(steps, 2, 2) is None
    assert homography.chain_homographies([steps[0], None, steps[2]], 3, 0) is None
    assert homography.chain_homographies([steps[0], None, steps[2]], 3, 2) is not None


def test_hands_that_shook_far_are_followed_by_features(tripod: SimulatedBracket) -> None:
    """Flow alone finds nothing there, and says so."""
    turn = cv2.getRotationMatrix2D((200, 144), 14, 1.0)
    truth = np.vstack([turn, [0, 0, 1]])
    truth[:2, 2] += 40, -25
    stack = shifted(stack_of(tripod), 0, truth)
    assert homography._from_flow(stack, 0, 1.0)[1] < homography.MIN_INLIERS
    found = homography.find_homography(stack, 0, Align())
    assert found is not None
    here = np.float32([[[150, 100], [250, 100], [150, 190], [250, 190]]])
    error = cv2.perspectiveTransform(here, found) - cv2.perspectiveTransform(here, truth)
    assert np.abs(error).max() < 1.0


def test_a_piece_of_a_frame_is_that_of_the_whole(handheld: SimulatedBracket) -> None:
    stack = stack_of(handheld)
    found = find_displacement(downsample_stack(stack, 0.05), 0, stack.size, Align())
    whole, piece = (
        align_region(stack, 0, found, at)
        for at in ((slice(0, 288), slice(0, 400)), (slice(64, 200), slice(72, 400)))
    )
    assert found is not None
    assert np.array_equal(whole.codes[64:200, 72:400], piece.codes)
    assert np.array_equal(whole.valid[64:200, 72:400], piece.valid)


@pytest.mark.parametrize("refine", [0.0, 12.0])
def test_geometry_found_at_a_smaller_size_holds_at_full_size(
    tripod: SimulatedBracket, refine: float
) -> None:
    truth = np.array([[1, -0.006, 3.3], [0.006, 1, -2.6], [0, 0, 1.0]])
    stack = shifted(stack_of(tripod), 0, truth)
    frame = align_frame(stack, 0, Align(megapixels=0.1, refine=refine))  # frames have 0.115
    inside = np.s_[20:-20, 20:-20]
    fair = (tripod.truth[inside] < 0.9).all(-1)
    before, after = (
        np.abs(x[inside] - stack_of(tripod).linear(0)[inside])[fair].mean()
        for x in (stack.linear(0), frame.linear)
    )
    assert after < 0.35 * before


def test_frames_that_agree_already_are_not_resampled(tripod: SimulatedBracket) -> None:
    stack = stack_of(tripod)
    for i in OTHERS:
        frame = align_frame(stack, i, Align())
        assert frame.shift == 0
        assert np.array_equal(frame.linear, stack.linear(i))


@pytest.mark.parametrize("method", ["none", "homography", "flow"])
def test_the_reference_is_never_resampled(handheld: SimulatedBracket, method: str) -> None:
    stack = stack_of(handheld)
    frame = align_frame(stack, stack.reference, Align(method=method))
    assert np.array_equal(frame.linear, stack.linear(stack.reference))
    assert frame.valid.all()


@pytest.mark.parametrize("method", ["homography", "flow"])
def test_alignment_lowers_the_disagreement(handheld: SimulatedBracket, method: str) -> None:
    stack = stack_of(handheld)
    reference = stack.radiance(1)
    for i in OTHERS:
        frame = align_frame(stack, i, Align(method=method))
        fair = frame.valid & (stack.codes[1] < 60000).all(-1) & (frame.linear < 0.9).all(-1)
        before = np.abs(stack.radiance(i) - reference)[fair].mean()
        after = np.abs(frame.linear * 2.0 ** -stack.ev[i] - reference)[fair].mean()
        assert after < 0.5 * before


def test_nothing_to_match_leaves_the_frame_as_it_is() -> None:
    flat = tuple(np.full((160, 160, 3), c, np.uint8) for c in (20, 60, 180))
    frame = align_frame(Stack(flat, EV, 1), 0, Align())
    assert frame.shift == 0


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_noise_alone_is_not_motion(tripod: SimulatedBracket, recipe: Recipe) -> None:
    stack = stack_of(tripod)
    for i in OTHERS:
        frame = Aligned(stack.codes[i], np.ones(stack.size, bool), 0.0)
        moved = moving(FramePair.of(stack, i, align_frame(stack, 1, Align()), frame, recipe))
        assert moved.mean() < 0.002


def test_what_moves_is_seen(tripod: SimulatedBracket) -> None:
    stack = stack_of(tripod)
    inside = np.zeros(stack.size, bool)
    inside[100:140, 150:190] = True
    for i in OTHERS:
        radiance = stack.radiance(i).copy()
        radiance[inside] = 0.35 * radiance[inside] + 0.01
        changed = encode(radiance * np.float32(2.0 ** EV[i]), 16)
        frame = Aligned(changed, inside | True, 0.0)
        # Only what the longer of the two frames can show: below its clip before or after.
        visible = inside & (stack.radiance(1) * 2.0 ** max(EV[i], EV[1]) < 0.9).any(-1)
        moved = moving(FramePair.of(stack, i, align_frame(stack, 1, Align()), frame, DEFAULT))
        assert moved[visible].mean() > 0.9
        assert (
            moved[~cv2.dilate(inside.astype(np.uint8), np.ones((25, 25))).astype(bool)].mean()
            < 0.01
        )


def test_clipped_reference_agrees_with_whatever_is_above_its_clip() -> None:
    reference, short, below = (
        frame_of(np.full((64, 64, 3), light, np.float32)) for light in (1.0, 0.5, 0.1)
    )
    assert not moving(FramePair(reference, short, 2.0, 0.0, SIXTEEN, SSHDR)).any()
    assert moving(FramePair(reference, below, 2.0, 0.0, SIXTEEN, SSHDR)).all()


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=list(RECIPES))
def test_motion_is_seen_where_it_is(recipe: Recipe) -> None:
    """The mask of a mirrored bracket is the mirrored mask: nothing moves it by a pixel."""
    grey = np.full((64, 64, 3), 0.2, np.float32)
    other = grey.copy()
    other[20:41, 24:41] = 0.05
    other[5, 50] = 0.05
    masks = [
        moving(FramePair(frame_of(grey), frame_of(o), 2.0, 2.0, SIXTEEN, recipe))
        for o in (other, other[::-1, ::-1])
    ]
    assert masks[0].any()
    assert np.array_equal(masks[0], masks[1][::-1, ::-1])


def test_what_a_frame_does_not_see_counts_as_moved() -> None:
    grey = np.full((32, 32, 3), 0.2, np.float32)
    seen = np.ones((32, 32), bool)
    seen[:, :5] = False
    moved = moving(FramePair(frame_of(grey), frame_of(grey, seen), 0.0, 0.0, SIXTEEN, SSHDR))
    assert np.array_equal(moved, ~seen)


def test_variance_is_that_of_simulated_electrons() -> None:
    rng = np.random.default_rng(0)
    noise = Noise(full_well=5000.0, read=6.0)
    for level in (0.001, 0.05, 0.6):
        electrons = rng.poisson(level * 5000, 200_000) + rng.normal(0, 6, 200_000)
        measured = (electrons / 5000).var()
        assert noise_variance(np.float32(level), SIXTEEN, noise) == pytest.approx(
            measured, rel=0.03
        )


def test_quantisation_of_8_bits_adds_to_the_variance() -> None:
    x = np.linspace(0.2, 0.21, 200_001, dtype=np.float32)
    codes = encode(x, 8) / np.float32(255)
    measured = (codes**2.2 - x).var()
    silent = Noise(full_well=1e6, read=0.0)
    expected = noise_variance(np.float32(0.205), SourceFormat(bits=8), silent) - 0.205 / 1e6
    assert expected == pytest.approx(measured, rel=0.2)


def test_one_clipped_channel_clips_the_pixel_and_one_bright_channel_is_not_dark() -> None:
    codes = np.zeros((1, 3, 3), np.uint8)
    codes[0, 0] = (255, 10, 10)
    codes[0, 1] = (100, 3, 3)
    assert clipped(max_channel(codes), SSHDR.exposure).tolist() == [[True, False, False]]
    assert dark(max_channel(codes), SSHDR.exposure).tolist() == [[False, False, True]]
