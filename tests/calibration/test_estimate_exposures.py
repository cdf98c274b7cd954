"""Brackets that state no exposure: order and ratios from the pixels."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.comparagram import downsample_codes
from labelgen.calibration.estimate_exposures import estimate_exposures, typical_response
from labelgen.calibration.survey import Selection, survey
from labelgen.calibration.survey_records import Survey
from labelgen.cli import main
from labelgen.core.bracket import ESTIMATED, TO_BE_ESTIMATED
from labelgen.core.errors import Rejected
from labelgen.core.recipe import DEFAULT, SELFHDR, SSHDR, Recipe
from labelgen.core.response import GAMMA
from labelgen.discovery.scan import scan
from labelgen.pipeline.bracket_task import discount_weight
from labelgen.pipeline.build import build
from tests.helpers.cameras import Curve, film, gamma22, scene, srgb, stored

STEPS = (0.0, 1.0, 3.0, 5.0)


def typical(light: np.ndarray) -> np.ndarray:
    """The curve that is assumed."""
    curve = np.array(typical_response().curves[0])
    return np.interp(light ** (1 / GAMMA), curve, np.linspace(0, 1, len(curve)))


def codes(curve: Curve, seed: int = 0, ev: tuple[float, ...] = STEPS) -> list[np.ndarray]:
    return stored(scene(seed, ev=ev), curve)


def estimate(frames: list[np.ndarray], linear: bool = False) -> list[float]:
    names = [f"{i}.png" for i in range(len(frames))]
    return estimate_exposures(names, [downsample_codes(f) for f in frames], linear)


def write(folder: Path, frames: list[np.ndarray], names: str = "cadb") -> Path:
    """Frames under names that do not tell their order."""
    folder.mkdir(parents=True)
    for name, frame in zip(names, frames, strict=False):
        cv2.imwrite(str(folder / f"{name}.png"), frame[..., ::-1])
    return folder


@pytest.mark.parametrize("seed", [0, 3])
def test_the_assumed_curve_gives_the_exposures_in_any_order(seed: int) -> None:
    frames = codes(typical, seed)
    order = [2, 0, 3, 1]
    found = estimate([frames[i] for i in order])
    assert found == pytest.approx([STEPS[i] for i in order], abs=0.12)


@pytest.mark.parametrize("curve", [film, gamma22, srgb])
def test_other_curves_scale_the_exposures_and_keep_their_order(curve: Curve) -> None:
    """The scale is an assumption; the ratios of the steps are not."""
    steps = np.diff(estimate(codes(curve)))
    ratios = steps / np.diff(STEPS)
    assert ratios.min() > 0.5
    assert ratios.max() < 1.6
    assert np.ptp(ratios) < 0.25 * ratios.mean()


def test_linear_light_needs_no_assumption() -> None:
    assert estimate(codes(gamma22), linear=True) == pytest.approx(STEPS, abs=0.06)


def test_a_repeat_has_the_same_exposure() -> None:
    frames = codes(typical)
    found = estimate([frames[0], frames[1], frames[1], frames[2]])
    assert found[1] == found[2]
    assert found[3] - found[1] == pytest.approx(2, abs=0.12)


def test_bursts_other_scenes_and_frames_without_common_pixels_are_refused() -> None:
    first = codes(typical)
    burst = [np.clip(first[1] + k, 0, 255).astype(np.uint8) for k in range(3)]
    with pytest.raises(Rejected, match="equally bright; write one EV per line"):
        estimate(burst)
    with pytest.raises(Rejected, match="nothing in common from which they could be estimated"):
        estimate([codes(typical, seed)[1] for seed in (0, 3, 4)])
    with pytest.raises(Rejected, match=r"2\.png.*nothing in common"):
        estimate([first[0], first[1], np.full_like(first[0], 255)])


def test_a_folder_without_exposures_is_used_marked_and_trusted_less(tmp_path: Path) -> None:
    write(tmp_path / "raw" / "b", codes(typical))
    [bracket] = scan(tmp_path / "raw")
    assert bracket.problems == (TO_BE_ESTIMATED,)
    assert bracket.evs == []
    [found] = calibrate_surveys([survey(bracket, Selection(3, 1))])
    assert not found.rejected
    assert [p.name for p in found.paths] == ["a.png", "d.png", "b.png"]
    assert {f.origin for f in found.frames} == {ESTIMATED}
    assert np.diff(found.ev) == pytest.approx([2, 2], abs=0.15)
    [remark] = found.problems
    assert remark.startswith("no exposures: estimated from the pixels as 0.0 1.")
    weight = np.full((4, 4), 200, np.uint8)
    stated = Survey("b", model=found.model)
    share = discount_weight(weight, found, DEFAULT) / discount_weight(weight, stated, DEFAULT)
    assert share == pytest.approx(0.75, abs=0.01)


def test_what_is_estimated_is_said_everywhere_and_strict_refuses_it(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write(raw / "b", codes(typical))
    summary = build(raw, tmp_path / "out.h5", jobs=1)
    assert "estimated from the pixels" in "".join(summary.problems["b"])

    def run(*arguments: object) -> tuple[int, str]:
        done = CliRunner().invoke(main, [str(a) for a in arguments])
        return done.exit_code, done.output

    code, text = run("build", raw, tmp_path / "strict.h5", "--jobs", 1, "--strict")
    assert code == 2
    assert "no exposures, and --strict estimates none; write one EV per line" in text
    code, text = run("scan", raw, "--check", "--json")
    [checked] = json.loads(text[text.index("[") :])
    assert "estimated from the pixels as" in "".join(checked["problems"])
    code, text = run("label", raw / "b", "-o", tmp_path / "l")
    assert code == 0
    figures = json.loads((tmp_path / "l" / "label.json").read_text())
    assert figures["origin"] == [ESTIMATED] * 3


def test_only_brackets_of_which_nothing_is_stated_are_estimated(tmp_path: Path) -> None:
    """Not pairs, nor folders of many photos, nor where the user's list cannot be used."""
    frames = codes(typical)
    write(tmp_path / "pair", frames[:2])
    write(tmp_path / "many", (frames * 5)[:17], "abcdefghijklmnopq")
    write(tmp_path / "list", frames)
    (tmp_path / "list" / "exposure.txt").write_text("0\n2\n")
    for bracket in scan(tmp_path):
        assert survey(bracket, Selection(2, 1)).rejected.startswith("no exposure known for a.png")


def test_recipes_without_the_setting_have_its_default() -> None:
    for recipe in (DEFAULT, SSHDR, SELFHDR):
        assert recipe.camera.estimated == 0.75
        older = recipe.as_dict()
        del older["camera"]["estimated"]
        assert Recipe.from_dict(older) == recipe
