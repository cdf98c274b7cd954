"""Known cameras from end to end: build, label and scan --check."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from click.testing import CliRunner, Result

from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.known_responses import load_responses, named_camera_responses
from labelgen.calibration.survey import Selection, survey
from labelgen.calibration.survey_records import CameraModel, Survey
from labelgen.cli import main
from labelgen.core.errors import UserError
from labelgen.core.recipe import DEFAULT
from labelgen.core.response import GAMMA, Response
from labelgen.dataset.info import info
from labelgen.dataset.reader import Dataset
from labelgen.dataset.verify import verify
from labelgen.discovery.scan import scan
from labelgen.photos.pictures import read_hdr
from labelgen.pipeline.bracket_task import discount_weight
from labelgen.pipeline.build import build
from labelgen.pipeline.label_bracket import label
from tests.conftest import EV
from tests.helpers.cameras import film, gamma22, scene, write_stored

WRONG = (0.0, 2.0, 4.4)


def labelgen(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four still brackets of a film camera; the longest frame of the last is stated wrongly."""
    folder = tmp_path_factory.mktemp("films") / "raw"
    for k in range(4):
        simulated = scene(20 + k, pieces=0)
        write_stored(folder / str(k), simulated, film, WRONG if k == 3 else EV)
    return folder


@pytest.fixture(scope="module")
def built(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "out.h5"
    build(films, out, jobs=1)
    return out


def test_inputs_are_recoded_and_the_rule_of_the_format_holds(films: Path, tmp_path: Path) -> None:
    as_taken = replace(DEFAULT, warp=replace(DEFAULT.warp, share=0.0))
    build(films, tmp_path / "out.h5", jobs=1, recipe=as_taken)
    assert verify(tmp_path / "out.h5") == []
    ratios: list[np.ndarray] = []
    with Dataset(tmp_path / "out.h5") as data:
        assert data.image("inputs", 0).dtype == np.uint16
        branches, scenes = data.column("branch"), data.column("scene")
        for row in np.flatnonzero(branches == 0):
            y, x = data.column("origin")[row]
            at = np.s_[y : y + 128, x : x + 128]
            truth = read_hdr(films / scenes[row].decode() / "HDRImg.hdr")[at]
            trust = data.image("weight", row) >= 205
            for codes, ev in zip(data.image("inputs", row), data.column("ev")[row], strict=True):
                code = codes / 65535
                seen = trust[..., None] & (code > 0.1) & (code < 0.9)
                ratios.append((code**GAMMA / 2.0**ev)[seen] / truth[seen])
    ratio = np.concatenate(ratios)
    assert len(ratio) > 10_000
    assert abs(np.log2(np.median(ratio))) < 0.1
    low, high = np.log2(np.quantile(ratio, [0.25, 0.75]))
    assert high - low < 0.15
    # By gamma 2.2 the same codes would be much further apart.
    light = np.linspace(0.1, 0.9, 100) ** GAMMA
    assert np.ptp(np.log2(film(light) ** GAMMA / light)) > 1


def test_the_dataset_says_what_it_took_for_the_response(built: Path) -> None:
    with h5py.File(built) as f:
        stored = json.loads(f.attrs["responses"])
        scenes = json.loads(f.attrs["scenes"])
    [(camera, entry)] = stored.items()
    assert camera == "unknown camera 336x240, png, 8 bit"
    assert (entry["name"], entry["brackets"], len(entry["curves"])) == ("estimated", 4, 3)
    assert json.loads(built.with_name("out.responses.json").read_text()) == stored
    assert info(built)["responses"] == stored
    assert {s["response"] for s in scenes.values()} == {"estimated"}
    # A camera without a name is nobody's elsewhere.
    assert named_camera_responses(stored) == {}
    assert set(
        named_camera_responses({"Canon": entry, "Other": {"name": "gamma2.2 (assumed)"}})
    ) == {"Canon"}


def test_a_wrong_exposure_is_corrected_and_remarked(built: Path) -> None:
    with h5py.File(built) as f:
        scenes = json.loads(f.attrs["scenes"])
    frames = scenes["3"]["frames"]
    assert [f["stated"] for f in frames] == list(WRONG)
    assert [f["ev"] for f in frames] == pytest.approx(EV, abs=0.06)
    assert frames[1]["ev"] == WRONG[1]
    [remark] = scenes["3"]["problems"]
    assert re.fullmatch(r"input_3\.png: reads -0\.\d\d EV against exposure\.txt; corrected", remark)
    for name in "012":
        assert [f["ev"] for f in scenes[name]["frames"]] == list(EV)
        assert "problems" not in scenes[name]


@pytest.mark.parametrize("name", ["out.h5", "out.responses.json"])
def test_label_reproduces_the_pixels_of_a_dataset(
    built: Path, films: Path, tmp_path: Path, name: str
) -> None:
    made = labelgen("label", films / "3", "-o", tmp_path / "l", "--response", built.with_name(name))
    assert made.exit_code == 0, made.output
    radiance = read_hdr(tmp_path / "l" / "label.hdr")
    figures = json.loads((tmp_path / "l" / "label.json").read_text())
    compared = 0
    with Dataset(built) as data:
        scenes = json.loads(data.files[0].attrs["scenes"])
        assert figures["ev"] == [f["ev"] for f in scenes["3"]["frames"]]
        rows = (data.column("branch") < 2) & (data.column("scene") == b"3")  # not warped
        rows &= data.column("variant") == 0
        for row in np.flatnonzero(rows):
            y, x = data.column("origin")[row]
            mine = radiance[y : y + 128, x : x + 128]
            theirs = data.image("label", int(row)).astype(np.float32)
            # A Radiance file keeps 8 bits of the largest channel of a pixel.
            step = mine.max(-1, keepdims=True) / 128 + 1e-4
            if (np.abs(mine - theirs) <= step).all():
                compared += 1
    assert compared > 0


def test_declared_gamma_2_2_leaves_codes_as_they_are(films: Path, tmp_path: Path) -> None:
    out = tmp_path / "g.h5"
    build(films, out, jobs=1, response="gamma2.2", limit=1)
    assert info(out)["depth"] == 8
    assert not out.with_name("g.responses.json").exists()
    [entry] = info(out)["responses"].values()
    assert entry["name"] == "gamma2.2"


def test_bytes_do_not_depend_on_jobs_or_interruption(
    built: Path, films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelgen.pipeline import stages as module

    build(films, tmp_path / "two.h5", jobs=2)
    assert (tmp_path / "two.h5").read_bytes() == built.read_bytes()
    real, made = module.make_bracket, 0

    def interrupted(survey: object, task: object) -> object:
        nonlocal made
        made += 1
        if made == 3:
            raise KeyboardInterrupt
        return real(survey, task)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "make_bracket", interrupted)
        with pytest.raises(KeyboardInterrupt):
            build(films, tmp_path / "cut.h5", jobs=1)
    build(films, tmp_path / "cut.h5", jobs=1, resume=True)
    assert made == 3
    assert (tmp_path / "cut.h5").read_bytes() == built.read_bytes()


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("kodak", "--response kodak: expected auto, gamma2.2, srgb, linear, or a dataset"),
        ("none.json", "none.json: No such file"),
        ("bad.json", "bad.json: expected responses as 'labelgen build' writes them"),
        ("list.json", "list.json: expected responses as 'labelgen build' writes them"),
        ("curve.json", "response"),
        ("none.h5", "none.h5"),
    ],
)
@pytest.mark.parametrize("command", ["build", "label"])
def test_a_response_that_is_none_is_one_line(
    films: Path, tmp_path: Path, command: str, option: str, message: str
) -> None:
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[1]")
    (tmp_path / "curve.json").write_text('{"a": {"name": "estimated", "curves": [[0, 1]]}}')
    given = tmp_path / option if "." in option else option
    arguments = ["build", films, tmp_path / "o.h5"]
    if command == "label":
        arguments = ["label", films / "0", "-o", tmp_path / "l"]
    got = labelgen(*arguments, "--response", given)
    assert got.exit_code == 2, got.output
    assert message in got.stderr
    assert len(got.stderr.strip().split("\n")) == 1
    assert not (tmp_path / "o.h5.partial").exists()


def test_scan_check_says_what_the_pixels_say(films: Path) -> None:
    listed = json.loads(labelgen("scan", films, "--check", "--json").stdout)
    assert [b["response"] for b in listed] == ["estimated"] * 4
    for bracket in listed:
        assert bracket["misfit"] < 0.5
        frames = bracket["frames"]
        assert frames[1]["measured_ev"] == frames[1]["ev"]
        assert [f["measured_ev"] for f in frames] == pytest.approx(EV, abs=0.06)
    assert [f["ev"] for f in listed[3]["frames"]] == list(WRONG)
    assert "input_3.png: reads -0." in "".join(listed[3]["problems"])
    assert "response estimated" in labelgen("scan", films, "--check").stdout


def test_the_reference_keeps_its_exposure_whichever_it_is(films: Path) -> None:
    brackets = scan(films)
    for reference in range(3):
        found = calibrate_surveys([survey(b, Selection(3, reference)) for b in brackets])
        for s in found:
            assert s.ev[reference] == s.frames[reference].stated_ev
            steps = np.array(s.ev) - s.ev[reference]
            assert steps == pytest.approx(np.array(EV) - EV[reference], abs=0.06)


def test_too_few_pixels_correct_nothing_and_lower_trust(tmp_path: Path) -> None:
    """A still scene of one grey, off by 0.3 EV: one point of a curve is none."""
    import cv2

    (tmp_path / "b").mkdir()
    grey = np.full((160, 160, 3), 0.02, np.float32)
    for i, ev in enumerate((0.0, 1.3, 2.0)):
        code = np.rint(255 * gamma22(grey * 2.0**ev)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "b" / f"{i}.png"), code)
    (tmp_path / "b" / "exposure.txt").write_text("0\n1\n2\n")
    [found] = calibrate_surveys([survey(scan(tmp_path)[0], Selection())])
    assert not found.rejected
    assert found.model.assumed
    assert found.model.response == Response()
    assert found.ev == (0.0, 1.0, 2.0)
    weight = np.full((4, 4), 200, np.uint8)
    assert (discount_weight(weight, found, DEFAULT) == 150).all()


@pytest.mark.parametrize(("misfit", "weight"), [(None, 200), (1.5, 200), (3.0, 100), (15.0, 20)])
def test_trust_falls_where_no_response_explains_the_frames(
    misfit: float | None, weight: int
) -> None:
    found = Survey("b", model=CameraModel(assumed=False, misfit=misfit))
    assumed = replace(found, model=replace(found.model, assumed=True))
    assert (discount_weight(np.full((2, 2), 200, np.uint8), found, DEFAULT) == weight).all()
    share = discount_weight(np.full((2, 2), 200, np.uint8), assumed, DEFAULT)
    # Too few pixels tell the misfit of an assumed response.
    assert (share == round(0.75 * 200)).all()


def test_responses_by_name() -> None:
    assert load_responses("auto") is None
    assert load_responses("srgb") == {"*": Response("srgb")}
    with pytest.raises(UserError, match="--response estimated"):
        load_responses("estimated")


def test_label_alone_knows_the_response_of_its_bracket(films: Path, tmp_path: Path) -> None:
    assert label(films / "3", tmp_path / "a")["response"] == "estimated"
    assert label(films / "0", tmp_path / "b", response="srgb")["response"] == "srgb"


def test_a_bracket_with_a_response_of_its_own_is_known_by_its_name(films: Path) -> None:
    found = survey(scan(films)[0], Selection())
    assert found.evidence
    key = found.evidence.camera_key
    common, own = Response("linear"), Response("srgb")
    known = {key: common, f"{key}: trip/{found.name}": own}
    assert calibrate_surveys([found], known)[0].model.response == own
    assert calibrate_surveys([replace(found, name="other")], known)[0].model.response == common
