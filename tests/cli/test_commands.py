"""The commands as users type them: output, exit status, one-line errors."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from labelgen.cli import main
from labelgen.dataset.reader import Dataset
from labelgen.photos.pictures import read_hdr
from labelgen.pipeline.build import build
from labelgen.simulate import write_bracket
from tests.conftest import EV, make_scene


def labelgen(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def error_line(result: Result, status: int = 2) -> str:
    """Return the one line of an error."""
    assert result.exit_code == status, result.output
    assert result.stdout == ""
    lines = result.stderr.strip().split("\n")
    assert len(lines) == 1, lines
    assert "Traceback" not in result.output
    return lines[0]


def test_scan_as_table_and_json(raw: Path, tmp_path: Path) -> None:
    table = labelgen("scan", raw)
    assert table.exit_code == 0
    assert "five: 5 x 280x200" in table.stdout
    assert "EV +0.00 +1.00 +2.00 +3.00 +4.00 (exposure.txt)" in table.stdout
    listed = json.loads(labelgen("scan", raw, "--json").stdout)
    assert [b["name"] for b in listed] == ["five", "moving", "static", "trip 1/é 2"]
    assert set(listed[0]["frames"][0]) == {"file", "ev", "time_s", "fnumber", "iso", "origin"}
    assert labelgen("scan", raw, "-o", tmp_path / "groups.json").exit_code == 0
    assert json.loads((tmp_path / "groups.json").read_text()) == listed
    assert "exists" in error_line(labelgen("scan", raw, "-o", tmp_path / "groups.json"))


def test_scan_check_names_frames_that_contradict_their_exposures(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "lies"
    write_bracket(folder, make_scene(40, (160, 200), shake=0.0), EV)
    assert "contradict" not in labelgen("scan", folder, "--check").stdout
    (folder / "exposure.txt").write_text("0\n5\n10\n")
    assert "exposures contradict the pixels" in labelgen("scan", folder, "--check").stdout
    assert "contradict" not in labelgen("scan", folder).stdout


def test_scan_lists_what_is_left_over_in_a_flat_folder(tmp_path: Path) -> None:
    raw = tmp_path / "card"
    for i, time in enumerate((1, 4, 16, 1, 4, 16, 1)):
        exif = Image.Exif()
        exif[0x0110] = "Camera"
        exif.get_ifd(0x8769).update({0x829A: 1.0 / time})
        exif[0x8769] = exif.get_ifd(0x8769)
        raw.mkdir(exist_ok=True)
        Image.new("RGB", (16, 12)).save(raw / f"P{i:03d}.jpg", exif=exif)
    (raw / "Q.jpg").touch()
    table = labelgen("scan", raw, "-o", tmp_path / "groups.json").stdout
    assert "card/P000: 3 x 16x12, Camera\n    EV +0.00 +2.00 +4.00 (EXIF)" in table
    assert "card/P006: ! single photo: fits no bracket before or after it" in table
    assert "card/Q: ! not a readable image (empty file)" in table
    last = "2 brackets, 2 with exposures for 3 frames or more, 2 single or unusable"
    assert table.strip().split("\n")[-1] == last
    listed = json.loads((tmp_path / "groups.json").read_text())
    assert [len(g["frames"]) for g in listed] == [3, 3, 1, 1]


def test_build_info_verify(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    result = labelgen("build", raw, out, "--jobs", 1, "--seed", 4, "--license", "CC0-1.0")
    assert result.exit_code == 0, result.output
    assert "4 brackets used, 0 rejected" in result.stdout
    inside = json.loads(labelgen("info", out, "--json").stdout)
    assert {"samples", "frames", "patch", "branches", "scenes", "fingerprint"} <= set(inside)
    assert inside["license"] == "CC0-1.0"
    assert f"samples: {inside['samples']}" in labelgen("info", out).stdout
    sound = labelgen("verify", out)
    assert sound.exit_code == 0
    assert "sound" in sound.stdout
    with out.open("r+b") as f:
        f.seek(out.stat().st_size // 2)
        f.write(b"damage")
    damaged = labelgen("verify", out)
    assert damaged.exit_code == 1
    assert "checksum" in damaged.stdout
    assert "exists; give --overwrite" in error_line(labelgen("build", raw, out))


def test_strict_is_1_when_a_bracket_is_rejected(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    write_bracket(folder / "good", make_scene(41, (160, 200)), EV)
    (folder / "bad").mkdir()
    (folder / "bad" / "a.jpg").write_text("no image")
    loose = labelgen("build", folder, tmp_path / "a.h5", "--jobs", 1)
    assert loose.exit_code == 0
    assert "! bad: " in loose.stdout
    assert labelgen("build", folder, tmp_path / "b.h5", "--jobs", 1, "--strict").exit_code == 1
    assert (tmp_path / "b.h5").exists()


def test_label_writes_the_pixels_that_build_uses(raw: Path, tmp_path: Path) -> None:
    for recipe, scene in (("sshdr", "static"), ("default", "moving")):
        folder = tmp_path / recipe
        result = labelgen("label", raw / scene, "-o", folder, "--recipe", recipe)
        assert result.exit_code == 0, result.output
        names = {p.name for p in folder.iterdir()}
        assert names == {"label.hdr", "label.png", "weight.png", "cues.png", "label.json"}
        radiance = read_hdr(folder / "label.hdr")
        weight = cv2.imread(str(folder / "weight.png"), cv2.IMREAD_UNCHANGED)
        assert weight.shape == (200, 280)
        assert weight.dtype == np.uint8
        build(raw, tmp_path / f"{recipe}.h5", jobs=1, recipe=recipe)
        compared = 0
        with Dataset(tmp_path / f"{recipe}.h5") as data:
            names, branch = data.column("scene"), data.column("branch")
            for row in np.flatnonzero((names == scene.encode()) & (branch < 2)):
                y, x = data.column("origin")[row]
                at = np.s_[y : y + 128, x : x + 128]
                assert np.array_equal(data.image("weight", row), weight[at])
                peak = radiance[at].max(-1, keepdims=True)
                assert (np.abs(data.image("label", row) - radiance[at]) <= peak / 200 + 1e-6).all()
                compared += 1
        assert compared
        record = json.loads((folder / "label.json").read_text())
        assert record["trusted"] == pytest.approx((weight >= 128).mean(), abs=1e-5)


def test_label_with_exposures_by_hand_and_what_it_refuses(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "a"
    by_hand = labelgen("label", raw / "static", "-o", out, "--ev", "0,2,4", "--json")
    assert json.loads(by_hand.stdout)["origin"] == ["--ev"] * 3
    assert "exists; give --overwrite" in error_line(labelgen("label", raw / "static", "-o", out))
    assert labelgen("label", raw / "static", "-o", out, "--overwrite").exit_code == 0
    assert "2 values" in error_line(
        labelgen("label", raw / "static", "-o", tmp_path / "b", "--ev", "0,2")
    )
    assert "5 needed" in error_line(
        labelgen("label", raw / "static", "-o", tmp_path / "b", "--frames", 5)
    )
    assert "holds no images itself" in error_line(
        labelgen("label", raw, "-o", tmp_path / "b", "--ev", "0,2,4")
    )
    assert not (tmp_path / "b").exists()


def test_label_never_writes_among_the_frames(raw: Path) -> None:
    before = sorted(p.name for p in (raw / "static").iterdir())
    assert "holds the frames" in error_line(labelgen("label", raw / "static", "-o", raw / "static"))
    assert sorted(p.name for p in (raw / "static").iterdir()) == before


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--reference", "-1"), "--reference is -1, expected 0 to 2, or auto"),
        (("--reference", "7"), "--reference is 7"),
        (("--frames", "1"), "--frames is 1"),
        (("--frames", "0"), "--frames is 0"),
        (("--ev", "0,2,5000"), "no exposure known"),
    ],
)
def test_label_checks_what_build_checks(
    raw: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    assert said in error_line(labelgen("label", raw / "static", "-o", tmp_path / "x", *options))
    assert not (tmp_path / "x").exists()


def test_simulate_and_demo_replace_only_what_they_made(tmp_path: Path) -> None:
    photos = tmp_path / "raw" / "photos"
    photos.mkdir(parents=True)
    (photos / "only_copy.jpg").write_text("precious")
    assert "not ours to replace" in error_line(labelgen("demo", tmp_path, "--overwrite"))
    for command in (("simulate", "-"), ("simulate", tmp_path / "raw")):
        said = error_line(labelgen(*command, tmp_path / "raw", "--overwrite"))
        assert "not ours to replace" in said
    assert (photos / "only_copy.jpg").read_text() == "precious"
    small = ("--scenes", 1, "--size", 160, 200)
    for overwrite in ((), ("--overwrite",)):
        assert labelgen("simulate", "-", tmp_path / "new", *small, *overwrite).exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("scan", "absent"), "absent: no such folder"),
        (("build", "absent", "out.h5"), "absent: no such folder"),
        (("label", "absent", "-o", "x"), "absent: no such folder"),
        (("info", "absent.h5"), "absent.h5: no such file"),
        (("verify", "absent.h5"), "absent.h5: no such file"),
        (("recipes", "absent"), "no recipe 'absent'"),
        (("simulate", ".", "x"), "no .hdr file below it"),
        (("simulate", "-", "x", "--ev", "0"), "at least two rising exposures"),
        (("simulate", "-", "x", "--ev", "0,inf"), "at least two rising exposures"),
        (("simulate", "-", "x", "--ev", "nan,1,2"), "at least two rising exposures"),
        (("simulate", "-", "x", "--full-well", "0"), "--full-well is 0.0, expected at least 10"),
        (("simulate", "-", "x", "--seed", "-1"), "--seed is -1"),
    ],
)
def test_errors_are_one_line_and_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in error_line(labelgen(*arguments))
    assert not list(tmp_path.iterdir())


def test_folders_that_are_not_there_or_cannot_be_written(raw: Path, tmp_path: Path) -> None:
    assert "no such folder" in error_line(labelgen("build", raw, tmp_path / "no" / "out.h5"))
    assert "is a folder" in error_line(labelgen("build", raw, tmp_path))


def test_recipes() -> None:
    assert {line.split()[0] for line in labelgen("recipes").stdout.splitlines()} == {
        "default",
        "sshdr",
        "selfhdr",
    }
    assert "[motion]\nthreshold = " in labelgen("recipes", "sshdr").stdout
    assert json.loads(labelgen("recipes", "selfhdr", "--json").stdout)["name"] == "selfhdr"


def test_demo(tmp_path: Path) -> None:
    result = labelgen("demo", tmp_path / "demo")
    assert result.exit_code == 0, result.output
    assert f"    trainer fit {tmp_path / 'demo' / 'out.h5'} --run" in result.stdout
    assert "\\n" not in result.stdout
    assert labelgen("verify", tmp_path / "demo" / "out.h5").exit_code == 0
    assert "exists" in error_line(labelgen("demo", tmp_path / "demo"))


def test_simulate_is_reproducible_and_its_truth_is_true(tmp_path: Path) -> None:
    for name in ("a", "b"):
        result = labelgen("simulate", "-", tmp_path / name, "--scenes", 2, "--size", 160, 200)
        assert result.exit_code == 0, result.output
    for path in sorted((tmp_path / "a").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    scene = tmp_path / "a" / "001"
    truth = read_hdr(scene / "HDRImg.hdr")
    code = cv2.imread(str(scene / "input_2.tif"), cv2.IMREAD_UNCHANGED)[..., ::-1] / 65535
    linear = code**2.2 / 4
    fair = (code < 0.9) & (code > 0.3)
    assert np.median(linear[fair] / truth[fair]) == pytest.approx(1, abs=0.01)
    again = tmp_path / "from-images"
    assert labelgen("simulate", tmp_path / "a", again, "--scenes", 1, "--no-truth").exit_code == 0
    assert not (again / "000" / "HDRImg.hdr").exists()
