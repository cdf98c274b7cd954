"""Calibration against cameras whose curves and exposures are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import BSpline

from labelgen.calibration.bracket_exposures import Calibration, correct_exposures
from labelgen.calibration.calibrate import calibrate
from labelgen.calibration.comparagram import Ridge
from labelgen.calibration.response_curve import KNOTS, View, splines
from labelgen.core.response import GAMMA, GAMMA22, Response
from tests.conftest import EV, make_scene
from tests.helpers.cameras import Curve, film, gamma22, power, scene, soft, srgb, view

SEEDS = range(6)


def off(response: Response, curve: Curve) -> tuple[float, float]:
    """RMS error of a response (of full scale) but for a common scale, and that scale less 1."""
    light = np.linspace(0, 1, 2001)
    found = response.gamma_code(np.stack([curve(light)] * 3, -1))
    want = (light ** (1 / GAMMA))[:, None].repeat(3, 1)
    scale = float((found * want).sum() / (want * want).sum())
    return float(np.sqrt(np.mean((found / scale - want) ** 2))), scale - 1


def errors(found: Calibration, stated: tuple[float, ...], true: tuple[float, ...] = EV) -> float:
    """The largest error of a corrected exposure relative to the reference (stops)."""
    ref = len(true) // 2
    measured = [stated[i] - stated[ref] + found.correction(i, ref)[0] for i in range(len(true))]
    return float(np.abs(np.array(measured) - np.array(true) + true[ref]).max())


def erring(seed: int) -> list[tuple[float, ...]]:
    rng = np.random.default_rng(seed)
    return [tuple(np.array(EV) + rng.normal(0, 0.1, 3)) for _ in SEEDS]


@pytest.fixture(scope="module")
def films() -> list[View]:
    return [view(scene(k), film) for k in SEEDS]


@pytest.fixture(scope="module")
def plain() -> list[View]:
    return [view(scene(k), gamma22) for k in SEEDS]


def restated(views: list[View], stated: list[tuple[float, ...]]) -> list[View]:
    return [replace(v, ev=ev) for v, ev in zip(views, stated, strict=True)]


@pytest.mark.parametrize("curve", [film, soft])
@pytest.mark.parametrize("seed", [3, 4])
def test_curve_and_exposures_that_are_in_error(curve: Curve, seed: int) -> None:
    """Things move in all of these brackets."""
    stated = erring(seed)
    views = [view(scene(k), curve, ev) for k, ev in zip(SEEDS, stated, strict=True)]
    found = calibrate(views)
    assert {c.response for c in found} == {found[0].response}
    assert found[0].response.name == "estimated"
    assert not found[0].assumed
    shape, scale = off(found[0].response, curve)
    assert shape < 0.02
    assert abs(scale) < 0.05
    assert off(GAMMA22, curve)[0] > 2 * shape
    assert max(errors(c, ev) for c, ev in zip(found, stated, strict=True)) < 0.06
    assert max(errors(Calibration(), ev) for ev in stated) > 0.1


def test_exact_exposures_of_a_film_camera_stay(films: list[View]) -> None:
    for found in calibrate(films):
        assert errors(found, EV) < 0.02
        assert found.misfit is not None
        assert found.misfit < 0.2


def test_gamma_2_2_is_found_and_exact_exposures_stay(plain: list[View]) -> None:
    for found in calibrate(plain):
        assert found.response == GAMMA22
        assert not found.assumed
        assert errors(found, EV) < 0.01


def test_gamma_2_2_is_found_though_exposures_err(plain: list[View]) -> None:
    stated = erring(3)
    found = calibrate(restated(plain, stated))
    assert {c.response for c in found} == {GAMMA22}
    assert max(errors(c, ev) for c, ev in zip(found, stated, strict=True)) < 0.03


def test_srgb_is_found() -> None:
    for found in calibrate([view(scene(k), srgb) for k in SEEDS]):
        assert found.response == Response("srgb")
        assert not found.assumed
        assert errors(found, EV) < 0.01


def test_a_power_is_a_curve_and_not_wrong_exposures() -> None:
    """Stated exposures tell gamma 2.4 from gamma 2.2; nothing else can."""
    curve = power(2.4)
    found = calibrate([view(scene(k), curve) for k in SEEDS])
    assert found[0].response.name == "estimated"
    assert off(found[0].response, curve)[0] < 0.005
    assert max(errors(c, EV) for c in found) < 0.01


@pytest.mark.parametrize("shift", [-0.5, 0.5])
@pytest.mark.parametrize("frame", [0, 2])
def test_a_single_frame_that_is_off_is_corrected(
    plain: list[View], films: list[View], frame: int, shift: float
) -> None:
    wrong = tuple(e + shift * (i == frame) for i, e in enumerate(EV))
    for views in (plain, films):
        found = calibrate(restated(views, [wrong, *[EV] * 5]))
        assert errors(found[0], wrong) < 0.1
        assert max(errors(c, EV) for c in found[1:]) < 0.05


def test_a_bracket_of_another_processing_has_its_own_curve() -> None:
    scenes = [make_scene(300 + k, (480, 640), shake=0.0, pieces=2) for k in range(6)]
    found = calibrate([*(view(s, film) for s in scenes[:5]), view(scenes[5], soft)])
    assert len({c.response for c in found[:5]}) == 1
    assert off(found[0].response, film)[0] < 0.02
    assert off(found[5].response, soft)[0] < 0.5 * off(found[0].response, soft)[0]


def test_cameras_are_told_apart(films: list[View], plain: list[View]) -> None:
    mixed = [replace(v, key="film") for v in films] + [replace(v, key="plain") for v in plain]
    found = calibrate(mixed[::2] + mixed[1::2])
    names = [c.response.name for c in found]
    assert names == (["estimated"] * 3 + ["gamma2.2"] * 3) * 2


def test_too_few_pixels_tell_nothing(films: list[View]) -> None:
    few = Ridge.of(films[0].ridge.rows()[:40])
    for ridge in (few, Ridge.of([])):
        [found] = calibrate([View("camera", EV, ridge)])
        assert found.response == GAMMA22
        assert found.assumed
    assert found.misfit is None
    assert found.linked == (False, False)
    assert found.correction(0, 1) == (0.0, np.inf)
    assert found.correction(1, 1) == (0.0, 0.0)


def test_the_order_of_brackets_does_not_matter(films: list[View]) -> None:
    views = restated(films, erring(3))
    one, other = calibrate(views), calibrate(views[::-1])[::-1]
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.response.curves, b.response.curves, atol=2e-5)
        np.testing.assert_allclose(a.offset, b.offset, atol=1e-3)
    again = calibrate(views)
    assert [(c.response, c.offset) for c in one] == [(c.response, c.offset) for c in again]


def test_known_responses_are_taken_by_camera(films: list[View]) -> None:
    srgb_, linear = Response("srgb"), Response("linear")
    known = {"camera": srgb_, "*": linear}
    found = calibrate([films[0], replace(films[1], key="other")], known)
    assert [c.response for c in found] == [srgb_, linear]
    assert not any(c.assumed for c in found)
    assert found[1].misfit == correct_exposures(films[1], linear).misfit


def test_ridges_survive_as_rows(films: list[View]) -> None:
    rows = films[0].ridge.rows()
    assert len(rows) > 60
    assert Ridge.of(rows).rows() == rows


def test_splines_are_those_of_scipy() -> None:
    at = np.concatenate([np.linspace(0, 1, 501), KNOTS, KNOTS[1:-1] - 1e-9])
    want = BSpline.design_matrix(at, np.pad(KNOTS, 3, "edge"), 3).toarray()
    np.testing.assert_allclose(splines(at), want, atol=1e-14)
