"""Smooth gain between frames, planted and found."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from labelgen.alignment.align import Aligned
from labelgen.core.arrays import Array
from labelgen.core.bracket import Stack
from labelgen.core.response import CLIPPED_CODE, decode, encode
from labelgen.labels.local_gain import find_gains, undo_gain

H, W = 288, 400
EV = (0.0, 2.0)


def light_of_scene() -> Array:
    """Smooth texture with known light (H, W, 3), between 0.01 and 0.2 in the short frame."""
    noise = cv2.GaussianBlur(np.random.default_rng(3).random((H, W, 3)), (0, 0), 4)
    noise = (noise - noise.min()) / np.ptp(noise)
    return np.asarray(0.01 + 0.19 * noise)


def planted() -> Array:
    """Gain (H, W) in stops, that rises to 0.3 in the middle."""
    y, x = np.mgrid[:H, :W]
    hill = np.exp(-(((y - H / 2) / 90) ** 2) - ((x - W / 2) / 120) ** 2)
    return np.asarray(0.3 * hill)


def bracket(stops: Array | float, full_well: float = 20_000.0, seed: int = 0) -> Stack:
    rng, codes = np.random.default_rng(seed), []
    for k, ev in enumerate(EV):
        light = light_of_scene() * 2.0**ev
        light = np.clip(rng.normal(light, np.sqrt(light / full_well)), 0, 1)
        if k == 0:
            light = light * np.exp2(np.broadcast_to(stops, (H, W)))[..., None]
        codes.append(encode(np.clip(light, 0, 1).astype(np.float32), 16))
    return Stack(tuple(codes), EV, 1)


def found(stack: Stack) -> Array | None:
    gains = find_gains(stack, (None, None), stack.size)
    assert gains[1] is None
    return gains[0]


def aligned(stack: Stack) -> Aligned:
    return Aligned(stack.codes[0], np.ones(stack.size, bool), 0.0)


WHOLE = slice(0, H), slice(0, W)


def test_a_planted_gain_is_found_and_undone() -> None:
    stack = bracket(planted())
    gain = found(stack)
    assert gain is not None
    full = cv2.resize(planted(), gain.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(gain - full).mean() < 0.01
    assert np.abs(gain - full)[3:-3, 3:-3].max() < 0.03
    undone = undo_gain(aligned(stack), gain, stack.size, WHOLE)
    left = np.log2(decode(undone.codes).mean(-1) / light_of_scene().mean(-1))
    assert np.abs(cv2.GaussianBlur(left, (0, 0), 8)).max() < 0.04


@pytest.mark.parametrize("full_well", [500.0, 20_000.0])
def test_noise_is_not_a_gain(full_well: float) -> None:
    assert found(bracket(0.0, full_well)) is None


def test_one_gain_for_all_of_the_frame_is_left_to_the_exposure() -> None:
    assert found(bracket(0.3)) is None


def test_a_large_moving_object_is_not_a_gain() -> None:
    moved = np.zeros((H, W))
    moved[80:200, 120:280] = -2.0
    gain = found(bracket(moved))
    assert gain is None or np.abs(gain).max() < 0.1


def test_clipped_pixels_stay_clipped_and_others_do_not_become_so() -> None:
    stack = bracket(planted())
    stack.codes[0][100:150, 100:200] = 65535
    undone = undo_gain(aligned(stack), found(stack), stack.size, WHOLE)
    clip = CLIPPED_CODE * 65535
    assert (undone.codes[100:150, 100:200] == 65535).all()
    assert np.array_equal(undone.codes >= clip, stack.codes[0] >= clip)


def test_a_region_is_undone_as_in_the_whole_frame() -> None:
    stack = bracket(planted())
    gain = found(stack)
    part = slice(64, 160), slice(96, 240)
    whole = undo_gain(aligned(stack), gain, stack.size, WHOLE).codes[part]
    frame = Aligned(stack.codes[0][part], np.ones((96, 144), bool), 0.0)
    codes = undo_gain(frame, gain, stack.size, part).codes
    assert np.abs(codes.astype(int) - whole).max() <= 2 + 65535 * 2e-4
