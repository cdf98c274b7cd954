"""`labelgen label` of a folder of brackets: what a build of it would use, one folder each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from labelgen.core.errors import UserError
from labelgen.dataset.reader import Dataset
from labelgen.pipeline.build import build
from labelgen.pipeline.label_bracket import FILES
from labelgen.pipeline.label_brackets import label_all
from tests.cli.test_commands import error_line, labelgen
from tests.helpers.cameras import film, scene, write_stored

NAMES = ["five", "moving", "static", "trip 1/é 2"]


def test_every_bracket_gets_a_folder_as_if_labelled_by_itself(raw: Path, tmp_path: Path) -> None:
    result = labelgen("label", raw, "-o", tmp_path / "all", "--jobs", 1, "--json")
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert list(said["labels"]) == NAMES
    assert said["rejected"] == {}
    for name in ("static", "trip 1/é 2"):
        assert labelgen("label", raw / name, "-o", tmp_path / "one" / name).exit_code == 0
        for file in FILES:
            one = (tmp_path / "one" / name / file).read_bytes()
            assert (tmp_path / "all" / name / file).read_bytes() == one
    assert (
        json.loads((tmp_path / "one" / "static" / "label.json").read_text())
        == (said["labels"]["static"])
    )


def test_cameras_are_calibrated_from_all_brackets_as_in_a_build(tmp_path: Path) -> None:
    """The curve of a single bracket of such a camera would differ."""
    for k in range(4):
        write_stored(tmp_path / "raw" / str(k), scene(20 + k, pieces=0), film)
    build(tmp_path / "raw", tmp_path / "out.h5", jobs=1)
    label_all(tmp_path / "raw", tmp_path / "labels", jobs=1)
    compared = 0
    with Dataset(tmp_path / "out.h5") as data:
        for row in np.flatnonzero(data.column("branch") < 2)[::5]:
            name = data.column("scene")[row].decode()
            weight = cv2.imread(
                str(tmp_path / "labels" / name / "weight.png"), cv2.IMREAD_UNCHANGED
            )
            y, x = data.column("origin")[row]
            assert np.array_equal(data.image("weight", row), weight[y : y + 128, x : x + 128])
            compared += 1
    assert compared > 3
    alone = labelgen("label", tmp_path / "raw" / "0", "-o", tmp_path / "alone", "--json")
    together = json.loads((tmp_path / "labels" / "0" / "label.json").read_text())
    assert json.loads(alone.stdout)["misfit"] != together["misfit"]


def test_the_number_of_workers_changes_nothing(raw: Path, tmp_path: Path) -> None:
    for jobs in (1, 2):
        label_all(raw, tmp_path / str(jobs), jobs=jobs)
    for name in NAMES:
        for file in FILES:
            one = (tmp_path / "1" / name / file).read_bytes()
            assert (tmp_path / "2" / name / file).read_bytes() == one


def test_a_bad_bracket_rejects_only_itself(raw: Path, tmp_path: Path) -> None:
    shutil.copytree(raw / "static", tmp_path / "raw" / "good")
    (tmp_path / "raw" / "bad").mkdir()
    (tmp_path / "raw" / "bad" / "a.jpg").write_text("no image")
    result = labelgen("label", tmp_path / "raw", "-o", tmp_path / "labels", "--jobs", 1)
    assert result.exit_code == 0
    assert "! bad: " in result.stdout
    assert "1 brackets labelled, 1 rejected" in result.stdout
    assert [p.name for p in (tmp_path / "labels").iterdir()] == ["good"]
    shutil.rmtree(tmp_path / "raw" / "good")
    with pytest.raises(UserError, match=r"no bracket that can be labelled \(bad: "):
        label_all(tmp_path / "raw", tmp_path / "more", jobs=1)


def test_results_and_frames_are_not_written_over(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "labels" / "static").mkdir(parents=True)
    (tmp_path / "labels" / "static" / "weight.png").write_text("mine")
    said = error_line(labelgen("label", raw, "-o", tmp_path / "labels"))
    assert "exists; give --overwrite" in said
    assert "holds the frames" in error_line(labelgen("label", raw, "-o", raw, "--overwrite"))
    assert not (tmp_path / "labels" / "five").exists()
