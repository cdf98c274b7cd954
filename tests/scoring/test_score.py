"""`labelgen score` as users type it, on labels of every camera and on planted ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from labelgen.core.errors import UserError
from labelgen.photos.pictures import read_hdr, write_hdr, write_png
from labelgen.scoring.score import score
from labelgen.simulate import simulate
from tests.cli.test_commands import error_line, labelgen

SIZE = 160, 208


def oracle(scenes: Path, labels: Path) -> Path:
    """Labels that are the truth, fully trusted."""
    for scene in sorted(p for p in scenes.iterdir() if p.is_dir()):
        (labels / scene.name).mkdir(parents=True)
        shutil.copy(scene / "HDRImg.hdr", labels / scene.name / "label.hdr")
        write_png(labels / scene.name / "weight.png", np.full(SIZE, 255, np.uint8))
    return labels


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scored") / "scenes"
    simulate(None, folder, scenes=2, size=SIZE, seed=8)
    return folder


@pytest.fixture
def labels(scenes: Path, tmp_path: Path) -> Path:
    return oracle(scenes, tmp_path / "labels")


def test_the_truth_as_label_scores_perfectly(scenes: Path, labels: Path) -> None:
    result = json.loads(labelgen("score", labels, scenes, "--json").stdout)
    assert list(result["scenes"]) == ["000", "001"]
    assert result["skipped"] == {}
    assert result["fit"] is False
    for figures in (*result["scenes"].values(), result["mean"]):
        assert (figures["ghost"], figures["trusted"], figures["psnr_mu"]) == (0, 1, 120)
        assert figures["reliability"][-1] == {"share": 1, "wrong": 0, "error": 0}
    fitted = score(labels, scenes, fit=True)["mean"]
    assert fitted["ghost"] == 0
    assert fitted["psnr_mu"] > 60


def test_a_planted_ghost_is_found_in_its_scene(scenes: Path, labels: Path) -> None:
    radiance = read_hdr(labels / "001" / "label.hdr")
    radiance[40:60, 50:100] = np.where(radiance[40:60, 50:100] > 0.1, 0.01, 0.9)
    write_hdr(labels / "001" / "label.hdr", radiance)
    found = score(labels, scenes)
    assert found["scenes"]["000"]["ghost"] == 0
    expected = 20 * 50 / (SIZE[0] * SIZE[1])
    assert found["scenes"]["001"]["ghost"] == pytest.approx(expected, abs=1e-5)
    assert found["mean"]["ghost"] == pytest.approx(expected / 2, abs=1e-5)
    assert found["scenes"]["001"]["psnr_mu"] < 30


def test_labels_of_labelgen_are_scored(scenes: Path, tmp_path: Path) -> None:
    for scene in ("000", "001"):
        made = labelgen("label", scenes / scene, "-o", tmp_path / scene)
        assert made.exit_code == 0
        record = json.loads((tmp_path / scene / "label.json").read_text())
        assert record["reference_frame"] == "input_2.tif"
    mean = score(tmp_path, scenes)["mean"]
    assert mean["psnr_mu"] > 40
    assert mean["ghost"] < 0.01
    assert mean["trusted"] > 0.7
    alone = score(tmp_path / "000", scenes / "000")["scenes"]["000"]
    assert alone == score(tmp_path, scenes)["scenes"]["000"]


def test_labels_of_fewer_frames_have_the_scale_of_those(tmp_path: Path) -> None:
    """Of five frames three are used: 1.0 of the label is where the second one clips."""
    five = (0.0, 1.0, 2.0, 3.0, 4.0)
    simulate(None, tmp_path / "scenes", scenes=1, size=SIZE, ev=five, pieces=0, shake=0.0)
    made = labelgen("label", tmp_path / "scenes" / "000", "-o", tmp_path / "labels" / "000")
    assert made.exit_code == 0
    mean = score(tmp_path / "labels", tmp_path / "scenes")["mean"]
    assert mean["ghost"] == 0
    assert mean["psnr_mu"] > 40
    assert mean["psnr_mu_knowable"] > 35
    wrong = tmp_path / "labels" / "000" / "label.json"
    wrong.unlink()  # nobody knows now that two frames were left out
    assert score(tmp_path / "labels", tmp_path / "scenes")["mean"]["ghost"] > 0.5


def reference_labels(scenes: Path, labels: Path) -> Path:
    """The reference of each scene as its label, read as gamma 2.2; nothing is trusted."""
    for scene in sorted(p for p in scenes.iterdir() if p.is_dir()):
        code = cv2.imread(str(scene / "input_2.tif"), cv2.IMREAD_UNCHANGED)[..., ::-1] / 65535
        (labels / scene.name).mkdir(parents=True)
        write_hdr(labels / scene.name / "label.hdr", (code**2.2 / 4).astype(np.float32))
        write_png(labels / scene.name / "weight.png", np.zeros(SIZE, np.uint8))
    return labels


def test_what_moves_has_no_say_in_the_fit(scenes: Path, labels: Path, tmp_path: Path) -> None:
    """Most of the picture moves, and shows other colours; what is still stays right."""
    copy = tmp_path / "copy"
    shutil.copytree(scenes, copy)
    moving = np.zeros(SIZE, np.uint8)
    moving[:, :150] = 255
    write_png(copy / "000" / "truth" / "moving.png", moving)
    radiance = read_hdr(labels / "000" / "label.hdr")
    radiance[:, :150] = radiance[:, :150, ::-1] * 0.5
    write_hdr(labels / "000" / "label.hdr", radiance)
    assert score(labels, copy, fit=True)["scenes"]["000"]["psnr_mu_still"] > 60


def test_a_gain_is_fitted_only_for_cameras_that_lift_regions(
    scenes: Path, labels: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scenes, copy)
    ramp = np.exp2(np.linspace(-0.5, 0.5, SIZE[1], dtype=np.float32))[:, None]
    radiance = read_hdr(labels / "000" / "label.hdr")
    write_hdr(labels / "000" / "label.hdr", radiance * ramp)
    found = []
    for lifts in (False, True):
        noise = {"full_well": 20000, "read": 3, "local": lifts}
        (copy / "000" / "truth" / "noise.json").write_text(json.dumps(noise))
        found.append(score(labels, copy, fit=True)["scenes"]["000"]["psnr_mu_still"])
    assert found[1] > found[0] + 2


@pytest.mark.parametrize("kind", ["body", "converter", "phone"])
def test_fit_brings_knowable_to_what_the_reference_tells(kind: str, tmp_path: Path) -> None:
    """The reference fills what is not trusted; its curve is not gamma 2.2 but found with --fit."""
    simulate(None, tmp_path / "scenes", scenes=1, size=SIZE, camera=kind, pieces=0, shake=0.0)
    labels = reference_labels(tmp_path / "scenes", tmp_path / "labels")
    plain = score(labels, tmp_path / "scenes")["mean"]
    fitted = score(labels, tmp_path / "scenes", fit=True)["mean"]
    assert fitted["psnr_mu_knowable"] > plain["psnr_mu_knowable"] + 2
    assert fitted["psnr_mu_still"] > plain["psnr_mu_still"] + 1
    assert fitted["trusted"] == 0
    assert fitted["psnr_mu"] is None


def test_table_has_a_row_for_each_scene_and_bin(scenes: Path, labels: Path) -> None:
    lines = labelgen("score", labels, scenes).stdout.splitlines()
    assert lines[0].split()[:2] == ["scene", "trusted"]
    assert [line.split()[0] for line in lines[1:4]] == ["000", "001", "mean"]
    assert lines[4].split() == ["weight", "share", "wrong", "error"]
    assert lines[9].split() == ["205-255", "1.0000", "0.0000", "0.0000"]
    assert lines[5].split()[1:] == ["0.0000", "-", "-"]
    assert lines[-1] == "colours as they are"
    assert "fitted" in labelgen("score", labels, scenes, "--fit").stdout


def test_a_scene_without_label_is_named_and_the_others_scored(scenes: Path, labels: Path) -> None:
    (labels / "000" / "weight.png").unlink()
    result = labelgen("score", labels, scenes)
    assert result.exit_code == 1
    assert "! 000: weight.png: not found" in result.stdout
    assert "mean" in result.stdout
    found: dict[str, Any] = json.loads(labelgen("score", labels, scenes, "--json").stdout)
    assert list(found["scenes"]) == ["001"]
    assert found["skipped"] == {"000": "weight.png: not found"}


def damage_size(folder: Path) -> None:
    write_png(folder / "weight.png", np.zeros((10, 12), np.uint8))


def damage_kind(folder: Path) -> None:
    write_png(folder / "weight.png", np.zeros((*SIZE, 3), np.uint8))


def damage_hdr(folder: Path) -> None:
    (folder / "label.hdr").write_bytes(b"#?RADIANCE\n")


def damage_record(folder: Path) -> None:
    (folder / "label.json").write_text('{"frames": ["elsewhere.tif"]}')


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (damage_size, "weight.png: 12x10 px, its frames 208x160"),
        (damage_kind, "weight.png: expected a grey image of 8 bits"),
        (damage_hdr, "label.hdr: cannot be decoded"),
        (damage_record, "label.json: is no record of a label of these frames"),
    ],
)
def test_damaged_labels_are_named(scenes: Path, labels: Path, damage: Any, said: str) -> None:
    damage(labels / "001")
    assert said in score(labels, scenes)["skipped"]["001"]


@pytest.mark.parametrize("text", ["{}", "no json", '{"full_well": 0, "read": 3}', "[1]"])
def test_damaged_noise_is_named(scenes: Path, labels: Path, tmp_path: Path, text: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scenes, copy)
    (copy / "000" / "truth" / "noise.json").write_text(text)
    assert "noise.json: expected full_well" in score(labels, copy)["skipped"]["000"]


def test_scenes_of_others_need_no_more_than_truth(
    scenes: Path, labels: Path, tmp_path: Path
) -> None:
    """Without noise.json the defaults hold; without moving.png nothing is known to move."""
    copy = tmp_path / "copy"
    shutil.copytree(scenes, copy)
    shutil.rmtree(copy / "000" / "truth")
    figures = score(labels, copy)["scenes"]["000"]
    assert figures["trusted_moving"] is None
    assert figures["psnr_mu"] == 120


def test_what_covers_a_pixel_partly_moves_too(scenes: Path, labels: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scenes, copy)
    for cover, moves in ((8, False), (9, True), (255, True)):
        write_png(copy / "000" / "truth" / "moving.png", np.full(SIZE, cover, np.uint8))
        trusted = score(labels, copy)["scenes"]["000"]["trusted_moving"]
        assert trusted == (1 if moves else None)


def test_errors_are_one_line(scenes: Path, labels: Path, tmp_path: Path) -> None:
    assert "no such folder" in error_line(labelgen("score", tmp_path / "absent", scenes))
    assert "no such folder" in error_line(labelgen("score", labels, tmp_path / "absent"))
    bare = tmp_path / "bare"
    simulate(None, bare, scenes=1, size=SIZE, truth=False)
    assert "no scene with HDRImg.hdr" in error_line(labelgen("score", labels, bare))
    (tmp_path / "empty").mkdir()
    said = error_line(labelgen("score", tmp_path / "empty", scenes))
    assert "no label that can be scored (000: label.hdr: not found)" in said
    with pytest.raises(UserError):
        score(tmp_path / "absent", scenes)
