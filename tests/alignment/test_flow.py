"""Dense optical flow against known motion."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from labelgen.alignment.align import find_displacement, guess_displacements
from labelgen.alignment.flow import ACCURATE, COARSE, FAST, FlowSettings, dense_flow, guess_settings
from labelgen.alignment.grey import grey_at_exposure
from labelgen.core.bracket import Stack
from labelgen.core.settings import Align
from labelgen.simulate import SimulatedBracket
from tests.conftest import EV, stack_of

PRESETS = {"accurate": ACCURATE, "fast": FAST, "coarse": COARSE}


@pytest.mark.parametrize("settings", PRESETS.values(), ids=list(PRESETS))
def test_a_shift_is_found(tripod: SimulatedBracket, settings: FlowSettings) -> None:
    grey = grey_at_exposure(stack_of(tripod).codes[1], 0.0)
    moved = np.roll(grey, (2, -3), (0, 1))
    flow = dense_flow(grey, moved, settings)[40:-40, 40:-40]
    assert flow.dtype == np.float32
    assert np.median(flow[..., 0]) == pytest.approx(-3, abs=0.3)
    assert np.median(flow[..., 1]) == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize(
    ("preset", "settings"),
    [
        (cv2.DISOPTICAL_FLOW_PRESET_FAST, FAST),
        (cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, replace(ACCURATE, finest_scale=1)),
        (cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, replace(COARSE, patch_stride=4)),
    ],
)
def test_settings_are_all_that_the_presets_of_opencv_differ_in(
    tripod: SimulatedBracket, preset: int, settings: FlowSettings
) -> None:
    grey = [grey_at_exposure(c, 0.0) for c in stack_of(tripod).codes[1:]]
    expected = cv2.DISOpticalFlow_create(preset).calc(*grey, None)
    assert np.array_equal(dense_flow(*grey, settings), expected)


def test_guesses_are_made_at_half_the_resolution_of_large_frames() -> None:
    assert guess_settings((400, 600)).finest_scale == 0
    assert guess_settings((800, 600)).finest_scale == 1


def test_guesses_follow_what_labels_of_flow_follow(handheld: SimulatedBracket) -> None:
    stack = stack_of(handheld)
    guessed = guess_displacements(stack, stack.size)
    assert guessed[1] is None
    for i in (0, 2):
        found = find_displacement(stack, i, stack.size, Align(method="flow"))
        assert found is not None
        assert guessed[i] is not None
        assert np.median(np.abs(guessed[i].field - found.field)) < 0.3


def test_displacements_are_in_pixels_of_the_full_frame(handheld: SimulatedBracket) -> None:
    stack = stack_of(handheld)
    small = Stack(stack.codes, EV, 1)
    one, two = (
        find_displacement(small, 0, (k * stack.size[0], k * stack.size[1]), Align(method="flow"))
        for k in (1, 2)
    )
    assert one is not None
    assert two is not None
    assert np.allclose(two.field, 2 * one.field, rtol=1e-5)
    assert two.mean_length == pytest.approx(2 * one.mean_length, rel=1e-5)
