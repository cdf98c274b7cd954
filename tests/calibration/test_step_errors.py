"""Where the pixels of a camera contradict stated exposures, and how far that is believed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from labelgen.calibration.bracket_exposures import Calibration, correct_exposures
from labelgen.calibration.calibrate import calibrate
from labelgen.calibration.response_curve import View
from labelgen.calibration.step_errors import (
    FEW_BRACKETS_EV,
    UNCHECKED,
    StepErrors,
    camera_errors,
    correction_errors,
    step_scatters,
)
from labelgen.core.response import GAMMA22
from labelgen.simulate.camera import make_camera
from tests.conftest import EV, make_scene
from tests.helpers.cameras import film, gamma22, scene, view

SCENES = range(6)
OUTER = (0, 2)


def photographed(kind: str) -> list[View]:
    """Brackets of a simulated camera, whose exposures are stated exactly."""
    camera = make_camera(kind)
    scenes = [make_scene(500 + k, (240, 336), shake=0.0, camera=camera) for k in SCENES]
    return [view(s, gamma22) for s in scenes]  # the frames are finished pictures


def believed(views: list[View], found: list[Calibration]) -> list[float]:
    """Corrections of outer frames that exceed twice their standard deviation."""
    errors = camera_errors(zip(views, found, strict=True))
    return [
        c.correction(f, 1)[0]
        for v, c in zip(views, found, strict=True)
        for f in OUTER
        if abs(c.correction(f, 1)[0]) > 2 * correction_errors(v, c, errors, 1)[f]
    ]


def test_a_phone_that_lifts_regions_has_local_errors() -> None:
    """The pixels of its frames contradict exact exposures; the surroundings show why."""
    views = photographed("phone")
    found = calibrate(views)
    assert max(abs(c.correction(f, 1)[0]) for c in found for f in OUTER) > 0.1
    assert camera_errors(zip(views, found, strict=True)).local > 0.05
    assert believed(views, found) == []


@pytest.mark.parametrize("kind", ["body", "converter"])
def test_cameras_with_one_curve_for_the_picture_have_none(kind: str) -> None:
    views = photographed(kind)
    found = calibrate(views)
    errors = camera_errors(zip(views, found, strict=True))
    assert errors.local == 0
    assert 0 < errors.scatter_ev < 0.05
    assert max(map(abs, believed(views, found)), default=0) < 0.05


def test_on_a_plain_curve_a_wrong_exposure_is_believed_to_be_wrong() -> None:
    views = [view(scene(k), film) for k in SCENES]
    wrong = replace(views[0], ev=(EV[0] - 0.3, EV[1], EV[2]))
    stated = [wrong, *views[1:]]
    found = calibrate(stated)
    [correction] = [d for d in believed(stated, found) if abs(d) > 0.05]
    assert correction == pytest.approx(0.3, abs=0.06)


def test_few_brackets_are_believed_less() -> None:
    views = [view(scene(k), film) for k in SCENES]
    found = calibrate(views)
    scatter = [
        camera_errors(list(zip(views, found, strict=True))[:n]).scatter_ev for n in (1, 2, 6)
    ]
    assert scatter[:2] == pytest.approx([FEW_BRACKETS_EV, FEW_BRACKETS_EV / 2], abs=1e-3)
    assert scatter[2] < 0.02


def test_channels_that_disagree_are_scatter_and_a_single_one_is_unchecked() -> None:
    still = view(scene(0), film)
    [curve] = {c.response for c in calibrate([view(scene(k), film) for k in SCENES])}
    found = correct_exposures(still, curve)
    whole = step_scatters(still, found)[0]
    assert whole.ev < 0.03
    assert not whole.unchecked
    red = still.ridge.channel == 0
    # Red reads 0.4 stops more than the others.
    shifted = replace(still.ridge, short=still.ridge.short * np.where(red, 2 ** (-0.4 / 2.2), 1))
    seen = correct_exposures(replace(still, ridge=shifted), curve)
    assert step_scatters(replace(still, ridge=shifted), seen)[0].ev > 0.1
    errors = StepErrors(0.02)
    middle = np.median(still.ridge.long[still.ridge.pair == 0])
    for some in (red, np.abs(still.ridge.long - middle) < 0.14):
        part = {name: value[some] for name, value in vars(still.ridge).items()}
        alone = replace(still, ridge=replace(still.ridge, **part))
        measured = correct_exposures(alone, curve)
        assert step_scatters(alone, measured)[0].unchecked
        assert correction_errors(alone, measured, errors, 1)[0] >= UNCHECKED * errors.scatter_ev
    assert correction_errors(still, found, errors, 1)[0] < 3 * errors.scatter_ev


def test_frames_without_common_pixels_have_no_finite_error() -> None:
    still = view(scene(0), film)
    dark = still.ridge.pair == 0
    columns = {name: value[dark] for name, value in vars(still.ridge).items()}
    half = replace(still, ridge=replace(still.ridge, **columns))
    found = correct_exposures(half, GAMMA22)
    errors = camera_errors([(half, found)])
    assert correction_errors(half, found, errors, 1)[2] == np.inf
    assert np.isfinite(correction_errors(half, found, errors, 1)[0])
