"""Cameras that mix channels are told from plain ones, and the dark end of a curve is found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from labelgen.calibration.calibrate import calibrate, fit_response
from labelgen.calibration.mixing_fit import MIN_PLACES, fit_mixing, predict_codes
from labelgen.calibration.places import LEVELS, MAX_RANGE, flat_places, sample_places
from labelgen.calibration.response_curve import View
from labelgen.core.mixing import Mixing
from labelgen.core.response import GAMMA, Response
from tests.helpers.cameras import (
    estimated,
    film,
    hue_keeping,
    saturated,
    scene,
    soft,
    view_of_colours,
)

CAMERAS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "": film,
    "saturation": lambda light: saturated(light, film, 1.25),
    "hue": lambda light: hue_keeping(light, film),
}


def views_of(camera: Callable[[np.ndarray], np.ndarray], count: int = 4) -> list[View]:
    return [view_of_colours(scene(k), camera) for k in range(count)]


def chosen(views: list[View]) -> Response:
    simple = fit_response(views)
    assert simple is not None
    return fit_mixing(views, simple)


@pytest.mark.parametrize("kind", CAMERAS)
def test_kinds_of_cameras_are_told_apart(kind: str) -> None:
    mixing = chosen(views_of(CAMERAS[kind])).mixing
    assert mixing.kind == kind
    if kind == "saturation":
        assert mixing.amount == pytest.approx(1.25, abs=0.1)


@pytest.mark.parametrize("curve", [film, soft])
def test_a_curve_alone_is_never_given_a_mixing(curve: Callable[[np.ndarray], np.ndarray]) -> None:
    brackets = views_of(curve, 6)
    for views in (brackets, *([*brackets[k : k + n]] for n in (1, 2, 3) for k in range(4))):
        simple = fit_response(views)
        if simple is None:
            continue  # too few bins
        assert fit_mixing(views, simple) == simple


def test_a_single_bracket_shows_a_strong_mixing() -> None:
    for camera, kind in ((hue_keeping, "hue"), (saturated, "saturation")):
        amount = 1.0 if kind == "hue" else 1.25
        views = views_of(lambda light: camera(light, soft, amount), 1)  # noqa: B023
        assert chosen(views).mixing.kind == kind


def test_too_few_places_tell_nothing() -> None:
    views = views_of(CAMERAS["hue"], 2)
    simple = fit_response(views)
    assert simple is not None
    few = [replace(view, places=view.places[: MIN_PLACES - 1]) for view in views]
    assert fit_mixing(few, simple) is simple
    assert fit_mixing([], simple) is simple


def test_calibration_gives_all_brackets_the_mixing() -> None:
    found = calibrate(views_of(CAMERAS["saturation"]))
    assert {c.response.mixing.kind for c in found} == {"saturation"}
    assert len({c.response for c in found}) == 1


@pytest.mark.parametrize("mixing", [Mixing("saturation", 1.25), Mixing("hue", 1.0)], ids=str)
def test_codes_of_shorter_frames_are_predicted(mixing: Mixing) -> None:
    rng = np.random.default_rng(5)
    light = rng.uniform(0.1, 0.5, (500, 1)) * rng.uniform(0.8, 1.25, (500, 3))
    camera = CAMERAS[mixing.kind]
    predicted = predict_codes(camera(light), np.full(500, 1.5), estimated(film, mixing))
    assert np.abs(predicted - camera(light / 2**1.5)).max() < 0.004
    alone = predict_codes(camera(light), np.full(500, 1.5), estimated(film))
    assert np.abs(alone - camera(light / 2**1.5)).max() > 0.006


def steps(seed: int, noise: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Two frames (300, 400, 3) uint16 of squares of one colour, the second twice as bright."""
    rng = np.random.default_rng(seed)
    squares = rng.uniform(0.02, 0.45, (15, 20, 3)).repeat(20, 0).repeat(20, 1)
    noisy = (squares * f + rng.normal(0, noise, squares.shape) for f in (1, 2))
    short, long = (np.rint(65535 * np.clip(x, 0, 1) ** (1 / GAMMA)) for x in noisy)
    return short.astype(np.uint16), long.astype(np.uint16)


def test_places_are_flat_and_say_what_both_frames_made_of_one_light() -> None:
    rows = sample_places(flat_places(*steps(6)))
    assert len(rows) == 600
    assert np.abs(rows[:, 3:] ** GAMMA / rows[:, :3] ** GAMMA - 2).max() < 0.01
    edges = flat_places(*steps(6))
    assert not edges.flat.all()  # places over the border of two squares are none
    noisy = flat_places(*steps(6, 0.1))
    assert noisy.flat.mean() < 0.2 * edges.flat.mean()
    assert MAX_RANGE < 0.1


def test_places_are_the_same_every_time_and_from_all_levels() -> None:
    flat = flat_places(*steps(7))
    rows = sample_places(flat)
    assert np.array_equal(rows, sample_places(flat))
    every = (flat.long[flat.flat].max(-1) * LEVELS).astype(int)
    taken = np.bincount((rows[:, 3:].max(-1) * LEVELS).astype(int), minlength=LEVELS)
    there = np.bincount(every, minlength=LEVELS)
    most = taken.max()
    assert (taken >= np.minimum(there, most - 1)).all()


def crushed(light: np.ndarray) -> np.ndarray:
    """A curve with a toe: light below 0.0006 has code 0."""
    code = 1.03 * np.maximum(light, 0) ** (1 / GAMMA) - 0.03
    return np.clip(code, 0, 1)


def test_the_dark_end_of_a_curve_with_a_toe_is_found() -> None:
    response = chosen(views_of(crushed, 6))
    codes = np.arange(1, 5) / 255
    true = ((codes + 0.03) / 1.03) ** GAMMA
    found = response.gamma_code(codes[:, None].repeat(3, 1)) ** GAMMA
    error = np.abs(np.log2(found / true[:, None])).max(1)
    assert error[0] < 0.35  # half a code is a stop there
    assert error[1:].max() < 0.2
    assert min(curve[0] for curve in response.curves) > 0.01
