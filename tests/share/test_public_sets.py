"""Every card of datasets/ is whole, and its build.sh builds from brackets in that set's layout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

from labelgen.dataset.header import read_dataset_header
from labelgen.dataset.verify import verify
from labelgen.photos.pictures import write_exr, write_hdr
from labelgen.share.get import get
from labelgen.simulate import SimulatedBracket
from tests.conftest import make_scene

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DATASETS = Path(__file__).parents[2] / "datasets"
SETS = sorted(p.parent for p in DATASETS.glob("*/set.toml"))
HERE = ["siggraph17", "tel", "challenge123", "hu", "sen", "tursun", "prabhakar", "hdm-hdr"]
SIZE = (160, 192)


def named(name: str) -> dict[str, Any]:
    return tomllib.loads((DATASETS / name / "set.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def scenes() -> list[SimulatedBracket]:
    """Two brackets of three frames, two stops apart."""
    return [make_scene(seed, SIZE, pieces=1) for seed in (41, 42)]


def frame(path: Path, codes: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), codes[..., ::-1])


def listed(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def truth(path: Path, simulated: SimulatedBracket) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_hdr(path, simulated.truth)


def siggraph17(root: Path, scenes: list[SimulatedBracket]) -> None:
    for split, names in (("Training", ("001", "002")), ("Test/EXTRA", ("001",))):
        for name, scene in zip(names, scenes, strict=False):
            folder = root / split / name
            for i, codes in enumerate(scene.codes):
                frame(folder / f"262A{898 + i:04d}.tif", codes)
            listed(folder / "exposure.txt", "0.000000\r\n2.000000\r\n4.000000\r\n")
            truth(folder / "HDRImg.hdr", scene)


def tel(root: Path, scenes: list[SimulatedBracket]) -> None:
    for split, names in (
        ("Training", ("scene_0001_1", "scene_0001_2")),
        ("Test", ("scene_0007_1",)),
    ):
        for name, scene in zip(names, scenes, strict=False):
            folder = root / "Tel" / split / name
            for i, codes in enumerate(scene.codes, 1):
                frame(folder / f"input_{i}.tif", codes)
            listed(folder / "exposure.txt", "-2\n0\n2")
            truth(folder / "HDRImg.hdr", scene)


def challenge123(root: Path, scenes: list[SimulatedBracket]) -> None:
    """Each of the three moments has all exposures; here moment i is frame i, thrice exposed."""
    for name, scene in zip(("001", "002"), scenes, strict=True):
        for moment in range(3):
            folder = root / "Challenge123_Dataset" / "Training" / f"{name}_{moment + 1}"
            for i in range(3):
                codes = scene.codes[i] if i == moment else np.zeros_like(scene.codes[i])
                frame(folder / f"ldr_img_{i + 1}.tif", codes)
            listed(folder / "exposure.txt", "0\n2\n4\n")
            if moment == 1:
                truth(folder / "hdr_img.hdr", scene)


def hu(root: Path, scenes: list[SimulatedBracket]) -> None:
    for name, scene in zip(("001", "002", "086"), [*scenes, scenes[0]], strict=True):
        folder = root / "SynHDR_Dataset2" / name
        for i, codes in enumerate(scene.codes, 1):
            frame(folder / f"input_{i}_aligned.tif", (codes >> 8).astype(np.uint8))
            frame(folder / f"ref_{i}_aligned.tif", (codes >> 8).astype(np.uint8))
        for which in ("input", "ref"):
            listed(folder / f"{which}_exp.txt", "0.000000\n2.000000\n4.000000\n\n")
        truth(folder / "ref_hdr_aligned_linear.hdr", scene)
        frame(folder / "ldr_visualize.png", (scene.codes[1] >> 8).astype(np.uint8))


def sen(root: Path, scenes: list[SimulatedBracket]) -> None:
    for name, scene in zip(("BabyOnGrass", "PianoMan"), scenes, strict=True):
        for i, codes in enumerate(scene.codes, 1):
            frame(root / "Scenes" / name / f"Img{i}.tif", codes)
        listed(root / "Scenes" / name / "exposures.txt", "-2.000000\n0.000000\n2.000000\n")


def tursun(root: Path, scenes: list[SimulatedBracket]) -> None:
    del scenes
    nine = make_scene(43, SIZE, pieces=0, ev=tuple(float(ev) for ev in range(9)))
    for name in ("Cafe", "Fountain"):
        for i, codes in enumerate(nine.codes, 1):
            frame(root / "dataset" / name / f"{i}.tiff", codes)
        times = "".join(f"{2.0**ev / 500:.6f}\n" for ev in range(9))
        listed(root / "dataset" / name / "exposure.txt", times)


def prabhakar(root: Path, scenes: list[SimulatedBracket]) -> None:
    """One scene in the layout of either publication, and a test scene."""
    for scene, name in zip([*scenes, scenes[0]], ("train/001", "b/002", "val/003"), strict=True):
        folder = root / name.replace("b/", "Training_set/")
        plain = not name.startswith("b/")
        moving, still = ("dynamic", "static") if plain else ("ghosted", "reference")
        for i, codes in enumerate(scene.codes, 1):
            short = ("le", "me", "he")[i - 1]
            frame(folder / moving / (f"{short}.tif" if plain else f"input_ghosted_{i}.tif"), codes)
            frame(folder / still / (f"{short}.tif" if plain else f"EW4A{i:04d}.tif"), codes)
        listed(folder / ("input_exp.txt" if plain else "ExpoBias.txt"), "0\n2\n4\n")
        truth(folder / ("hdr_gt.hdr" if plain else "GT_HDR.hdr"), scene)


def hdm_hdr(root: Path, scenes: list[SimulatedBracket]) -> None:
    pytest.importorskip("OpenEXR")
    films = ("bistro_01", "fireplace_02", "fireplace_02_reconstruction_update_2015")
    for name, scene in zip(films, [*scenes, scenes[1]], strict=True):
        for i in range(4):
            path = root / name / f"{name}_{295 + i:06d}.exr"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_exr(path, np.roll(scene.truth, 3 * i, axis=1) * np.float32(16))


LAYOUTS: dict[str, Callable[[Path, list[SimulatedBracket]], None]] = {
    "siggraph17": siggraph17,
    "tel": tel,
    "challenge123": challenge123,
    "hu": hu,
    "sen": sen,
    "tursun": tursun,
    "prabhakar": prabhakar,
    "hdm-hdr": hdm_hdr,
}
EXPECTED = {
    "siggraph17": {
        "001": ["262A0898.tif", "262A0899.tif", "262A0900.tif"],
        "002": ["262A0898.tif", "262A0899.tif", "262A0900.tif"],
    },
    "tel": {f"scene_0001_{k}": [f"input_{i}.tif" for i in (1, 2, 3)] for k in (1, 2)},
    "challenge123": {f"00{k}-123": ["1.tif", "2.tif", "3.tif"] for k in (1, 2)},
    "hu": {f"SynHDR_Dataset2/00{k}": [f"input_{i}_aligned.tif" for i in (1, 2, 3)] for k in (1, 2)},
    "sen": {name: ["Img1.tif", "Img2.tif", "Img3.tif"] for name in ("BabyOnGrass", "PianoMan")},
    "tursun": {name: ["3.tiff", "5.tiff", "7.tiff"] for name in ("Cafe", "Fountain")},
    "prabhakar": {f"00{k}": ["1.tif", "2.tif", "3.tif"] for k in (1, 2)},
    "hdm-hdr": {
        f"{name}-00000": ["input_1.tif", "input_2.tif", "input_3.tif"]
        for name in ("bistro_01", "fireplace_02_reconstruction_update_2015")
    },
}


def build(name: str, download: Path, out: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a build.sh as its users do, labelgen and python3 being those of the tests."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return subprocess.run(
        ["sh", str(DATASETS / name / "build.sh"), str(download), str(out), *options],
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": path},
        timeout=300,
    )


def small(folder: Path) -> Path:
    """A recipe for a test: few, small patches."""
    recipe = folder / "small.toml"
    recipe.write_text(
        "[patches]\nsize = 64\nvariants = 1\nmin_trust = 0.0\n[align]\nmethod = 'none'\n"
    )
    return recipe


@pytest.mark.parametrize("name", HERE)
def test_a_set_in_its_own_layout_is_built_as_its_card_says(
    name: str, tmp_path: Path, scenes: list[SimulatedBracket]
) -> None:
    download, out = tmp_path / "a download", tmp_path / "out.h5"
    LAYOUTS[name](download, scenes)
    before = {p: p.stat().st_mtime_ns for p in download.rglob("*")}
    options = ("--recipe", str(small(tmp_path)), "--backend", "threading", "--jobs", "2")
    done = build(name, download, out, *options, "--strict")
    assert done.returncode == 0, done.stderr
    with h5py.File(out) as file:
        brackets = json.loads(file.attrs["scenes"])
        terms = named(name)["terms"]
        none = terms.startswith(("no licence", "none"))
        assert file.attrs["license"] == ("" if none else terms)
        assert file.attrs["citation"] == named(name)["citation"]
        assert set(file["scene"].asstr()) == set(EXPECTED[name])
    found = {k: [Path(f["file"]).name for f in b["frames"]] for k, b in brackets.items()}
    assert found == EXPECTED[name]
    for bracket in brackets.values():
        stated = [f["stated"] for f in bracket["frames"]]
        assert stated == pytest.approx([0, 2, 4], abs=0.01)
    assert {p: p.stat().st_mtime_ns for p in download.rglob("*")} == before


@pytest.mark.parametrize("name", ["challenge123", "prabhakar", "hdm-hdr"])
def test_brackets_that_are_made_come_with_their_truth_and_in_order(
    name: str, tmp_path: Path, scenes: list[SimulatedBracket]
) -> None:
    """Labelled by their truth, whatever the published name of that; and a second run is no harm."""
    LAYOUTS[name](tmp_path / "download", scenes)
    out = tmp_path / "truth.h5"
    options = ("--labels", "truth", "--recipe", str(small(tmp_path)), "--backend", "threading")
    done = build(name, tmp_path / "download", out, *options)
    assert done.returncode == 0, done.stderr
    again = build(name, tmp_path / "download", out, *options, "--overwrite")
    assert again.returncode == 0, again.stderr
    with h5py.File(out) as file:
        codes, label = file["inputs"][:].astype(np.float32), file["label"][:].astype(np.float32)
        top = np.iinfo(file["inputs"].dtype).max
    # The truth is in the geometry of the middle frame and in units of the clip of the shortest.
    middle = (codes[:, 1] / top) ** 2.2 / 4
    sure = (codes[:, 1] < 0.9 * top) & (codes[:, 1] > 0.3 * top)
    assert np.median(np.abs(middle - label)[sure] / label[sure]) < 0.05
    mean = codes.mean((0, 2, 3, 4))
    assert mean[0] < mean[1] < mean[2]


def test_links_lead_to_the_moments_that_were_asked_for(
    tmp_path: Path, scenes: list[SimulatedBracket], monkeypatch: pytest.MonkeyPatch
) -> None:
    challenge123(tmp_path / "download", scenes[:1] * 2)
    monkeypatch.setenv("ORDERS", "123 312")
    build("challenge123", tmp_path / "download", tmp_path / "out.h5", "--limit", "0")
    links = tmp_path / "out-brackets" / "001-312"
    leads = {p.name: f"{p.resolve().parent.name}/{p.resolve().name}" for p in links.iterdir()}
    assert leads["1.tif"] == "001_3/ldr_img_1.tif"
    assert leads["2.tif"] == "001_1/ldr_img_2.tif"
    assert leads["3.tif"] == "001_2/ldr_img_3.tif"
    assert (tmp_path / "out-brackets" / "002-123").is_dir()


def test_what_is_not_the_set_is_refused_in_one_line(
    tmp_path: Path, scenes: list[SimulatedBracket]
) -> None:
    (tmp_path / "empty").mkdir()
    for name in HERE:
        done = build(name, tmp_path / "empty", tmp_path / "out.h5")
        assert done.returncode == 2, name
        assert done.stderr.count("\n") == 1, done.stderr
        assert not (tmp_path / "out.h5").exists()
        assert build(name, tmp_path / "absent", tmp_path / "out.h5").returncode == 2
    challenge123(tmp_path / "download", scenes)
    shutil.rmtree(next((tmp_path / "download").rglob("002_3")))
    done = build("challenge123", tmp_path / "download", tmp_path / "out.h5")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "002_3/ldr_img_3.tif: not found" in done.stderr


def test_files_of_users_are_not_replaced_by_links(
    tmp_path: Path, scenes: list[SimulatedBracket]
) -> None:
    challenge123(tmp_path / "download", scenes)
    mine = tmp_path / "out-brackets" / "001-123" / "1.tif"
    listed(mine, "mine")
    done = build("challenge123", tmp_path / "download", tmp_path / "out.h5")
    assert done.returncode == 2
    assert "exists and is no link" in done.stderr
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("folder", SETS, ids=lambda p: p.name)
def test_a_set_has_all_that_a_card_must_have(folder: Path) -> None:
    about = named(folder.name)
    for field in ("name", "title", "paper", "homepage", "terms", "citation", "people", "status"):
        assert isinstance(about[field], str), field
        assert about[field], field
    assert about["name"] == folder.name
    assert about.get("doi") or about.get("arxiv")
    assert about["people"] in ("none", "identifiable", "unknown")
    for field in ("scenes", "frames"):
        assert about[field] == "unknown" or (isinstance(about[field], int) and about[field] > 0)
    assert isinstance(about["download"], list)
    card = (folder / "README.md").read_text(encoding="utf-8")
    for address in (about["homepage"], *about["download"]):
        assert address in card, address
    assert "## Checked" in card
    assert "## Sources" in card
    assert f"[{folder.name}]({folder.name}/README.md)" in (DATASETS / "README.md").read_text()
    script = folder / "build.sh"
    assert os.access(script, os.X_OK)
    assert "set -eu" in script.read_text()
    subprocess.run(["sh", "-n", str(script)], check=True)


def test_no_set_is_lost() -> None:
    assert {*HERE, "simulated"} == {p.name for p in SETS}


def processor() -> str:
    """What a processor is called, and what OpenCV uses of it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    called = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), "")
    return f"{called}: {cv2.getCPUFeaturesLine()}"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's own example, built again by its script."""
    folder = tmp_path_factory.mktemp("rebuilt")
    done = build("simulated", folder, folder / "simulated.h5", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    return folder / "simulated.h5"


def test_the_own_example_can_be_fetched_by_its_name(tmp_path: Path) -> None:
    fetched = get("simulated", tmp_path / "mine")
    assert verify(fetched) == []
    assert read_dataset_header(fetched).license == named("simulated")["terms"]
    total = sum(p.stat().st_size for p in (DATASETS / "simulated" / "data").iterdir())
    assert total < 1e6


def test_the_own_example_is_built_again(rebuilt: Path) -> None:
    """Byte for byte with the same versions on the same kind of processor; else nearly the same."""
    published = DATASETS / "simulated" / "data" / "simulated.h5"
    mine, theirs = read_dataset_header(rebuilt), read_dataset_header(published)
    if mine.generator == theirs.generator and processor() == named("simulated")["processor"]:
        assert mine.fingerprint == theirs.fingerprint
        assert rebuilt.read_bytes() == published.read_bytes()
    new, old = samples_of(rebuilt), samples_of(published)
    common = new.keys() & old.keys()
    assert len(common) >= 0.8 * max(len(new), len(old))
    near = {"inputs": 655, "weight": 8, "label": 0.004}  # a hundredth of full scale, or less
    for image, most in near.items():
        apart = np.concatenate([np.abs(new[k][image] - old[k][image]).ravel() for k in common])
        assert apart.mean() <= most / 4, image
        assert np.quantile(apart, 0.98) <= most, image


def samples_of(path: Path) -> dict[tuple[Any, ...], dict[str, np.ndarray]]:
    """Samples by bracket, place and variant."""
    with h5py.File(path) as file:
        keys = zip(file["scene"][:], file["origin"][:].tolist(), file["variant"][:], strict=True)
        names = [(bytes(scene), *origin, int(variant)) for scene, origin, variant in keys]
        images = {name: file[name][:].astype(np.float64) for name in ("inputs", "weight", "label")}
    return {key: {n: v[i] for n, v in images.items()} for i, key in enumerate(names)}
