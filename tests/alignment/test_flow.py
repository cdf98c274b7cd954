"""Dense optical flow against known motion."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import cv2
import numpy as np
import pytest

from labelgen.alignment.align import find_displacement, guess_displacements
from labelgen.alignment.flow import ACCURATE_DIS, COARSE_DIS, FAST_DIS, FLOWS, Dis, guess_flow
from labelgen.alignment.grey import grey_at_exposure
from labelgen.core.bracket import Stack
from labelgen.core.settings import Align
from labelgen.simulate import SimulatedBracket
from tests.conftest import EV, stack_of

PRESETS = {"accurate": ACCURATE_DIS, "fast": FAST_DIS, "coarse": COARSE_DIS}


@pytest.mark.parametrize("dis", PRESETS.values(), ids=list(PRESETS))
def test_a_shift_is_found(tripod: SimulatedBracket, dis: Dis) -> None:
    grey = grey_at_exposure(stack_of(tripod).codes[1], 0.0)
    moved = np.roll(grey, (2, -3), (0, 1))
    flow = dis(grey, moved)[40:-40, 40:-40]
    assert flow.dtype == np.float32
    assert np.median(flow[..., 0]) == pytest.approx(-3, abs=0.3)
    assert np.median(flow[..., 1]) == pytest.approx(2, abs=0.3)


@pytest.mark.parametrize(
    ("preset", "dis"),
    [
        (cv2.DISOPTICAL_FLOW_PRESET_FAST, FAST_DIS),
        (cv2.DISOPTICAL_FLOW_PRESET_MEDIUM, replace(ACCURATE_DIS, finest_scale=1)),
        (cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST, replace(COARSE_DIS, patch_stride=4)),
    ],
)
def test_settings_are_all_that_the_presets_of_opencv_differ_in(
    tripod: SimulatedBracket, preset: int, dis: Dis
) -> None:
    grey = [grey_at_exposure(c, 0.0) for c in stack_of(tripod).codes[1:]]
    expected = cv2.DISOpticalFlow_create(preset).calc(*grey, None)
    assert np.array_equal(dis(*grey), expected)


def test_guesses_are_made_at_half_the_resolution_of_large_frames() -> None:
    assert guess_flow((400, 600)) == replace(COARSE_DIS, finest_scale=0)
    assert guess_flow((800, 600)) == replace(COARSE_DIS, finest_scale=1)


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


def test_recipes_choose_among_the_flows_there_are() -> None:
    choices = {f.name: f for f in dataclasses.fields(Align)}["method"].metadata["allowed"]
    assert set(choices) == {"none", "homography", *FLOWS}
    assert FLOWS["flow"](Align(variational=3)) == replace(ACCURATE_DIS, variational_steps=3)


@pytest.mark.parametrize("name", FLOWS)
def test_every_flow_takes_images_of_any_size(name: str) -> None:
    for size in ((97, 130), (320, 40)):
        image = np.random.default_rng(1).integers(0, 256, size).astype(np.uint8)
        flow = FLOWS[name](Align())(image, image)
        assert (flow.shape, flow.dtype) == ((*size, 2), np.float32)
        assert np.isfinite(flow).all()
