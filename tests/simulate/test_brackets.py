"""Brackets that `simulate` writes: layout, formats, truth and reproducible draws."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from labelgen.core.errors import UserError
from labelgen.core.response import decode
from labelgen.photos.pictures import read_hdr
from labelgen.simulate import simulate
from tests.cli.test_commands import error_line, labelgen

SIZE = 160, 208


def read(path: Path) -> np.ndarray:
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert codes is not None
    return codes[..., ::-1]


def noise(scene: Path) -> dict[str, object]:
    return dict(json.loads((scene / "truth" / "noise.json").read_text()))


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A set of each camera, of the same two scenes."""
    folder = tmp_path_factory.mktemp("sets")
    for kind in ("ideal", "body", "converter", "phone"):
        simulate(None, folder / kind, scenes=2, size=SIZE, camera=kind, seed=4)
    return {path.name: path for path in folder.iterdir()}


def test_scenes_are_the_same_for_all_cameras_and_pictures_are_not(sets: dict[str, Path]) -> None:
    for scene in ("000", "001"):
        truths = {(s / scene / "HDRImg.hdr").read_bytes() for s in sets.values()}
        moving = {(s / scene / "truth" / "moving.png").read_bytes() for s in sets.values()}
        frames = {(s / scene / "input_2.tif").read_bytes() for s in sets.values()}
        assert (len(truths), len(moving), len(frames)) == (1, 1, 4)


def test_truth_says_what_noise_there_is_and_whether_regions_are_lifted(
    sets: dict[str, Path],
) -> None:
    for kind, folder in sets.items():
        expected = {"full_well": 20000.0, "read": 3.0, "camera": kind, "local": kind == "phone"}
        assert noise(folder / "001") == expected


@pytest.mark.parametrize("kind", ["body", "converter", "phone"])
def test_rendered_frames_are_brighter_where_the_light_is(sets: dict[str, Path], kind: str) -> None:
    """Grey codes of the reference rise with the true light, and clip where it does."""
    scene = sets[kind] / "000"
    truth = read_hdr(scene / "HDRImg.hdr") * 4
    codes = read(scene / "input_2.tif") / 65535
    grey = np.ptp(truth, -1) < 0.15 * truth.mean(-1)
    light = truth.mean(-1)
    levels = [np.median(codes[grey & (light > a) & (light < 1.5 * a)]) for a in (0.05, 0.2, 0.6)]
    assert levels[0] < levels[1] < levels[2] < 1
    assert np.median(codes[truth.min(-1) > 1.5]) > 0.999


def test_formats(tmp_path: Path) -> None:
    for suffix, dtype in (("tif", np.uint16), ("png", np.uint8), ("jpg", np.uint8)):
        [scene] = simulate(None, tmp_path / suffix, scenes=1, size=SIZE, suffix=suffix)
        frames = sorted(p.name for p in scene.glob("input_*"))
        assert frames == [f"input_{i}.{suffix}" for i in (1, 2, 3)]
        assert read(scene / frames[0]).dtype == dtype
    exact = decode(read(tmp_path / "tif" / "000" / "input_2.tif"))
    rounded = decode(read(tmp_path / "png" / "000" / "input_2.png"))
    lossy = decode(read(tmp_path / "jpg" / "000" / "input_2.jpg"))
    assert np.abs(exact - rounded).max() < 0.005
    assert 0.002 < np.abs(exact - lossy).mean() < 0.03
    with Image.open(tmp_path / "jpg" / "000" / "input_1.jpg") as image:
        assert [component[1:3] for component in image.layer] == [(2, 2), (1, 1), (1, 1)]


def test_full_wells_are_drawn_within_their_range_and_nothing_else_changes(tmp_path: Path) -> None:
    scenes = simulate(None, tmp_path / "a", scenes=8, size=SIZE, full_well=(100, 1600), pieces=0)
    wells = np.array([noise(scene)["full_well"] for scene in scenes], float)
    assert ((wells >= 100) & (wells <= 1600)).all()
    assert len(set(wells)) == 8
    assert (wells < 400).sum() in range(1, 8)  # log-uniform: about half
    fixed = simulate(None, tmp_path / "b", scenes=8, size=SIZE, pieces=0)
    assert all(
        (a / "HDRImg.hdr").read_bytes() == (b / "HDRImg.hdr").read_bytes()
        for a, b in zip(scenes, fixed, strict=True)
    )


def test_devices_of_a_kind_differ(tmp_path: Path) -> None:
    frames = {}
    for name, seed in (("preset", 0), ("again", 0), ("other", 5)):
        [scene] = simulate(
            None, tmp_path / name, scenes=1, size=SIZE, camera="body", camera_seed=seed
        )
        frames[name] = read(scene / "input_2.tif").astype(float)
    assert (frames["preset"] == frames["again"]).all()
    assert np.abs(frames["preset"] - frames["other"]).mean() > 200


def test_without_truth_nothing_of_it_is_written(tmp_path: Path) -> None:
    [scene] = simulate(None, tmp_path / "raw", scenes=1, size=SIZE, truth=False, camera="phone")
    assert {p.name for p in scene.iterdir()} == {"exposure.txt", *(f"input_{i}.tif" for i in "123")}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--camera", "film"), "film"),
        (("--camera", "body", "--camera-seed", "-1"), "--camera-seed is -1"),
        (("--full-well", "900,300"), "a range such as 300,1200"),
        (("--full-well", "3,300"), "--full-well is 3.0"),
        (("--full-well", "a,b"), "neither a number nor LOW,HIGH"),
        (("--full-well", "1,2,3"), "more than LOW,HIGH"),
        (("--format", "gif"), "gif"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    result = labelgen("simulate", "-", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_the_function_refuses_what_the_command_does(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--format is gif"):
        simulate(None, tmp_path / "out", suffix="gif")
    assert "exists" in error_line(labelgen("simulate", "-", tmp_path))
