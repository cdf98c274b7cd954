"""Noise of cameras: from frames with known noise to the variance that labels reckon with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from scipy.optimize import nnls

from labelgen.calibration.cameras import calibrate_surveys, estimate_noise
from labelgen.calibration.noise import PIXELS, fit_noise, nonnegative_least_squares, observe_noise
from labelgen.calibration.survey import Selection, survey
from labelgen.calibration.survey_records import (
    PixelEvidence,
    Survey,
    dataset_record,
    from_json,
    to_json,
)
from labelgen.core.arrays import PackedRows, pack_rows
from labelgen.core.recipe import DEFAULT, SSHDR
from labelgen.core.response import CURVE_SAMPLES, GAMMA, GAMMA22, Response, SourceFormat
from labelgen.core.settings import Noise
from labelgen.discovery.scan import scan
from labelgen.labels.difference import noise_variance
from labelgen.photos.stack import load_stack
from labelgen.pipeline.label_bracket import label
from labelgen.simulate import write_bracket
from tests.conftest import EV, make_scene
from tests.helpers.cameras import Curve, film, gamma22, power, soft, srgb


def steps(height: int = 512) -> np.ndarray:
    """Light (height, 640, 3) of ten steps, 0.002 to 0.8."""
    levels = np.geomspace(0.002, 0.8, 10).repeat(64)
    return np.broadcast_to(levels[:, None], (height, 640, 3))


def shot(
    light: np.ndarray,
    full_well: float,
    read: float,
    curve: Curve = gamma22,
    bits: int = 16,
    blur: float = 0.0,
) -> np.ndarray:
    """What a camera stores of light (H, W, 3), its noise smoothed over `blur` px."""
    rng = np.random.default_rng(7)
    spread = np.sqrt(light / full_well + (read / full_well) ** 2)
    noise = rng.standard_normal(light.shape) * spread
    if blur:
        noise = cv2.GaussianBlur(noise, (0, 0), blur)
    code = curve(np.clip(light + noise, 0, 1))
    return np.rint(code * (2**bits - 1)).astype(np.uint16 if bits == 16 else np.uint8)


def response(curve: Curve) -> Response:
    """An estimated response that is exactly that of a camera."""
    light = np.linspace(0, 1, 100_001) ** 4
    code = np.interp(np.linspace(0, 1, CURVE_SAMPLES), curve(light), light) ** (1 / GAMMA)
    code[0], code[-1] = 0, 1
    return Response("estimated", (tuple(code.tolist()),) * 3)


def test_the_choice_of_flat_blocks_adds_no_bias() -> None:
    light = np.full((1024, 1024, 3), 0.2)
    rows = observe_noise(shot(light, 5000, 4))
    assert len(rows) >= 3
    for mean, sigma, coarse, count in rows:
        assert mean == pytest.approx(0.2, rel=0.02)
        error = 3 / np.sqrt(count * 15)
        assert sigma == pytest.approx(np.sqrt(0.2 / 5000), rel=error)
        assert coarse == pytest.approx(np.sqrt(0.2 / 5000), rel=2 * error)


@pytest.mark.parametrize("full_well", [500, 4000, 60_000])
@pytest.mark.parametrize("bits", [8, 16])
def test_noise_of_flat_light_is_found(full_well: float, bits: int) -> None:
    found = fit_noise(observe_noise(shot(steps(), full_well, 5, bits=bits)), GAMMA22, bits)
    assert found is not None
    assert found[0] == pytest.approx(full_well, rel=0.06)
    assert found[1] == pytest.approx(5, abs=1.5)


@pytest.mark.parametrize(
    ("curve", "known"),
    [
        (srgb, Response("srgb")),
        (film, response(film)),
        (soft, response(soft)),
        (power(1.8), response(power(1.8))),
    ],
)
def test_noise_is_that_of_light_whatever_the_response(curve: Curve, known: Response) -> None:
    rows = observe_noise(shot(steps(), 4000, 5, curve))
    found = fit_noise(rows, known, 16)
    assert found is not None
    assert found[0] == pytest.approx(4000, rel=0.06)
    if curve is film:  # the test would see if the response were not made use of
        assumed = fit_noise(rows, GAMMA22, 16)
        assert assumed is None or abs(assumed[0] / 4000 - 1) > 0.1


@pytest.mark.parametrize("full_well", [3000.0, 8000.0, 20_000.0])
@pytest.mark.parametrize("seed", [1, 2])
def test_texture_is_no_noise(full_well: float, seed: int) -> None:
    made = make_scene(seed, full_well=full_well)
    found = fit_noise([row for codes in made.codes for row in observe_noise(codes)], GAMMA22, 16)
    assert found is not None
    assert found[0] == pytest.approx(full_well, rel=0.25)


def test_smooth_noise_is_what_it_is_at_half_resolution() -> None:
    found = fit_noise(observe_noise(shot(steps(), 1000, 5, blur=0.6)), GAMMA22, 16)
    assert found is not None
    assert 1000 < found[0] < 4000  # by the highest frequencies alone it would be 16,000


def test_quiet_noise_is_believed_if_it_is_white_and_the_curve_exact(tmp_path: Path) -> None:
    default = Noise()
    white = fit_noise(observe_noise(shot(steps(), 40_000, 5)), GAMMA22, 16)
    assert white is not None
    assert white[0] > 2 * default.full_well
    assert fit_noise(observe_noise(shot(steps(), 40_000, 5, blur=0.6)), GAMMA22, 16) is None
    assert fit_noise(observe_noise(shot(steps(), 40_000, 5, film)), response(film), 16) is None
    cv2.imwrite(str(tmp_path / "a.jpg"), shot(steps(), 40_000, 5, bits=8))
    assert fit_noise(observe_noise(cv2.imread(str(tmp_path / "a.jpg"))), GAMMA22, 8) is None


def test_a_noisy_jpeg_is_noisier_than_the_defaults(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), shot(steps(), 800, 5, bits=8))
    found = fit_noise(observe_noise(cv2.imread(str(tmp_path / "a.jpg"))), GAMMA22, 8)
    assert found is not None
    assert 600 < found[0] < 4000


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((5, 7, 3), np.uint8),
        np.full((300, 300, 3), 65535, np.uint16),
        np.full((300, 300, 3), 128, np.uint8),
        shot(steps(), 1e6, 1, bits=8),
        shot(np.full((512, 512, 3), 0.2), 4000, 5),
        np.random.default_rng(0).integers(0, 65535, (400, 400, 3)).astype(np.uint16),
    ],
    ids=["tiny", "clipped", "even", "below rounding", "one level", "nothing but texture"],
)
def test_too_little_evidence_is_none(codes: np.ndarray) -> None:
    assert fit_noise(observe_noise(codes), GAMMA22, 8 * codes.dtype.itemsize) is None


def test_of_large_frames_strips_are_enough() -> None:
    rows = observe_noise(shot(np.broadcast_to(steps(64)[:1, :, :], (9000, 640, 3)), 4000, 5))
    found = fit_noise(rows, GAMMA22, 16)
    assert found is not None
    assert found[0] == pytest.approx(4000, rel=0.06)
    assert sum(count for *_, count in rows) / 3 < 0.06 * PIXELS / 64


def rows_of(full_well: float) -> PackedRows:
    """Rows without error."""
    light = np.linspace(0.001, 0.8, 12)
    sigma = np.sqrt(light / full_well + (4 / full_well) ** 2)
    return pack_rows(
        (float(x), float(s), float(s), 20.0) for x, s in zip(light, sigma, strict=True)
    )


def seen(name: str, camera: str, iso: tuple[float, ...], wells: tuple[float, ...]) -> Survey:
    look = PixelEvidence("key", EV, (0, 1, 2), pack_rows([]), iso, tuple(rows_of(w) for w in wells))
    return Survey(name, camera=camera, bits=16, reference=1, evidence=look)


def test_frames_are_pooled_by_camera_and_iso() -> None:
    few = PixelEvidence("key", EV, (0, 1, 2), pack_rows([]), (400.0,) * 3, (pack_rows([]),) * 3)
    surveys = [
        seen("day", "Canon", (100, 100, 100), (20_000, 20_000, 20_000)),
        seen("mixed", "Canon", (100, 400, 400), (20_000, 5000, 5000)),
        Survey("few", camera="Canon", bits=16, reference=1, evidence=few),
        Survey("broken", rejected="why"),
    ]
    found = zip(surveys, estimate_noise(surveys), strict=True)
    wells = {s.name: noise and noise[0] for s, noise in found}
    assert wells == {
        "day": pytest.approx(20_000, rel=0.01),
        "mixed": pytest.approx(5000, rel=0.01),
        "few": pytest.approx(5000, rel=0.01),
        "broken": None,
    }


@pytest.mark.parametrize(("camera", "iso"), [("", 100.0), ("Canon", 0.0)])
def test_a_bracket_without_camera_or_iso_is_by_itself(camera: str, iso: float) -> None:
    surveys = [
        seen("a", camera, (iso,) * 3, (20_000,) * 3),
        seen("b", camera, (iso,) * 3, (5000,) * 3),
    ]
    a, b = estimate_noise(surveys)
    assert a == pytest.approx((20_000, 4), rel=0.02)
    assert b == pytest.approx((5000, 4), rel=0.02)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy") / "b"
    write_bracket(folder, make_scene(3, full_well=2500.0, pieces=0), EV)
    return folder


def test_noise_goes_from_the_survey_to_the_frames_and_the_record(noisy: Path) -> None:
    [bracket] = scan(noisy)
    looked = survey(bracket, Selection())
    assert from_json(to_json(looked)) == looked
    [found] = calibrate_surveys([looked])
    noise = found.model.noise
    assert noise is not None
    assert noise[0] == pytest.approx(2500, rel=0.25)
    record = dataset_record(found, ["a", "b", "c"])
    assert record["noise"] == {"full_well": noise[0], "read": noise[1]}
    silent = replace(found, model=replace(found.model, noise=None))
    assert "noise" not in dataset_record(silent, ["a", "b", "c"])
    stack = load_stack(found.paths, found.ev, 1, found.model.response, noise=noise)
    assert stack.source_format.noise == noise


def test_variance_is_the_cameras_own_if_the_recipe_asks_for_it() -> None:
    light = np.float32([0.0, 0.1, 0.9])
    told = SourceFormat(bits=16, noise=(2000.0, 6.0))
    by_hand = noise_variance(light, SourceFormat(bits=16), Noise(full_well=2000.0, read=6.0))
    np.testing.assert_array_equal(noise_variance(light, told, DEFAULT.noise), by_hand)
    for recipe in (SSHDR, DEFAULT):
        fixed = noise_variance(light, SourceFormat(bits=16), recipe.noise)
        assert (noise_variance(light, told, recipe.noise) == fixed).all() == (recipe is SSHDR)


def test_noise_beyond_the_defaults_is_no_motion(noisy: Path, tmp_path: Path) -> None:
    # What the frames themselves differ by would be allowed for in any case.
    recipe = replace(DEFAULT, motion=replace(DEFAULT.motion, measured=0.0))
    fixed = replace(recipe, noise=replace(DEFAULT.noise, estimate="fixed", full_well=40_000.0))
    before = label(noisy, tmp_path / "fixed", recipe=fixed)
    after = label(noisy, tmp_path / "own", recipe=replace(fixed, noise=DEFAULT.noise))
    assert after["noise"]["full_well"] == pytest.approx(2500, rel=0.25)
    assert after["static"] > before["static"] + 0.01


def test_a_line_that_may_not_fall_is_that_of_scipy() -> None:
    rng, ends = np.random.default_rng(5), set[tuple[bool, ...]]()
    for _ in range(300):
        rows = np.abs(rng.normal(size=(20, 2)))
        seen = rows @ rng.normal(size=2) + rng.normal(size=20)
        want = nnls(rows, seen)[0]
        ends.add(tuple((want > 0).tolist()))
        np.testing.assert_allclose(nonnegative_least_squares(rows, seen), want, atol=1e-12)
    assert len(ends) == 4, "either one, both and none of them 0"
