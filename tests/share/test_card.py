"""The card of a dataset says what is in it, and how to get the same again."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from labelgen.cli import main
from labelgen.core.errors import UserError
from labelgen.core.files import sha256
from labelgen.dataset.digests import attributes_digest
from labelgen.dataset.header import read_dataset_header
from labelgen.dataset.info import info
from labelgen.dataset.reader import Dataset
from labelgen.dataset.verify import verify
from labelgen.discovery.groups_file import read_groups
from labelgen.pipeline.build import build
from labelgen.pipeline.label_bracket import label
from labelgen.share.card import card, croissant
from labelgen.share.card_metadata import CardMetadata
from labelgen.share.merge import merge
from labelgen.share.pack import pack
from labelgen.share.split import split
from labelgen.simulate import write_bracket
from tests.conftest import EV, make_scene
from tests.helpers import hostile
from tests.share.test_share import rows

SIZE = 144, 208
SHARED = CardMetadata(
    license="CC-BY-4.0", origin="taken by the authors", people="none", date="2026-01-31"
)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text('[patches]\nsize = 48\nchoice = "score"\n[illumination]\nframes = "real"\n')
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for k in range(3):
        write_bracket(folder / f"s{k}", make_scene(50 + k, SIZE, pieces=1), EV)
    write_bracket(folder / "private" / "x", make_scene(60, SIZE), EV)
    return folder


@pytest.fixture
def dataset(photos: Path, recipe: Path, tmp_path: Path) -> Path:
    path = tmp_path / "mine" / "out.h5"
    path.parent.mkdir()
    build(photos, path, recipe=str(recipe), jobs=1, compress="gzip", limit=2)
    return path


OPTIONS: list[dict[str, Any]] = [
    {},
    {"frames": 2, "seed": 3, "compress": "gzip", "license": "CC-BY 4.0 & 'more'"},
    {"reference": "auto", "part_bytes": 1 << 20, "response": "srgb", "limit": 2},
    {"labels": "truth", "augment": True, "citation": "me, 2026"},
    {"labels": "truth", "exclude": ["private/*", "s1"]},
]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: " ".join(o) or "default")
def test_the_commands_of_a_card_build_the_same_bytes(
    photos: Path,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: dict[str, Any],
) -> None:
    folder, again = tmp_path / "first", tmp_path / "again"
    folder.mkdir(), again.mkdir()
    if patterns := options.get("exclude"):
        (tmp_path / "list").write_text("\n".join(patterns))
        options = options | {"exclude": tmp_path / "list"}
    build(photos, folder / "out.h5", recipe=str(recipe), jobs=1, **options)
    card(folder / "out.h5", SHARED)
    text = (folder / "README.md").read_text()
    shutil.copy(folder / "recipe.toml", again)
    monkeypatch.chdir(again)
    if patterns:
        [line] = re.findall(r"    printf .*", text)
        assert line.strip() == "printf '%s\\n' 'private/*' s1 > exclude.txt"
        Path("exclude.txt").write_text("".join(f"{w}\n" for w in shlex.split(line)[2:-2]))
        assert "Brackets that were left out on purpose: 2, by `private/*`, `s1`." in text
    [command] = re.findall(r"    labelgen (build .*)", text)
    words = [str(photos) if w == "RAW" else w for w in shlex.split(command)]
    result = CliRunner().invoke(main, [*words, "--jobs", "1"])
    assert result.exit_code == 0, result.output
    for line in (folder / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        if name.endswith(".h5"):
            assert sha256(again / name) == digest, name


def test_a_card_says_what_is_in_the_dataset(dataset: Path) -> None:
    card(dataset, SHARED)
    text = (dataset.parent / "README.md").read_text()
    inside = info(dataset)
    assert text.startswith("# HDR deghosting samples from 2 exposure brackets\n")
    assert f"| samples | {inside['samples']} |" in text
    for branch, count in inside["branches"].items():
        assert f"{branch} {count}" in text
    for said in ("CC-BY-4.0", "taken by the authors", "no people are in it", "+0.0 +2.0 +4.0 (2)"):
        assert said in text
    with Dataset(dataset) as data:
        weights = np.concatenate([w.ravel() for w in data.rows("weight")])
    assert f"{(weights >= 205).mean():.1%} of 205 or more" in text


def test_checksums_and_croissant_say_the_same_of_all_files(dataset: Path) -> None:
    written = card(dataset, SHARED)
    folder = dataset.parent
    assert {p.name for p in written} == {"README.md", "croissant.json", "recipe.toml", "SHA256SUMS"}
    sums = dict(
        reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines()
    )
    assert set(sums) == {p.name for p in folder.iterdir()} - {"SHA256SUMS", "out.times.json"}
    for name, digest in sums.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    machine = json.loads((folder / "croissant.json").read_text())
    listed = {f["name"]: f for f in machine["distribution"]}
    assert set(listed) == set(sums) - {"croissant.json"}
    for name, entry in listed.items():
        assert entry["sha256"] == sums[name]
        assert entry["contentSize"] == f"{(folder / name).stat().st_size} B"
    assert listed["out.h5"]["encodingFormat"] == "application/x-hdf5"
    assert machine["license"] == "CC-BY-4.0"
    assert machine["rai:personalSensitiveInformation"] == "no people are in it"


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        (CardMetadata(), "> **Not ready to be shared: no license and no origin stated.**"),
        (CardMetadata(license="MIT"), "> **Not ready to be shared: no origin stated.**"),
        (CardMetadata(origin="mine"), "> **Not ready to be shared: no license stated.**"),
    ],
)
def test_a_card_without_licence_or_origin_says_so_first(
    dataset: Path, facts: CardMetadata, first: str
) -> None:
    card(dataset, facts)
    assert (dataset.parent / "README.md").read_text().splitlines()[0].startswith(first)


def test_the_command_asks_for_what_is_missing(dataset: Path) -> None:
    result = CliRunner().invoke(main, ["card", str(dataset)])
    assert result.exit_code == 0
    assert "not ready to be shared: give --license and --origin" in result.output
    again = CliRunner().invoke(main, ["card", str(dataset)])
    assert again.exit_code == 2
    assert "README.md: exists; give --overwrite" in again.output
    whole = ["card", str(dataset), "--overwrite", "--license", "MIT", "--origin", "mine"]
    assert "not ready" not in CliRunner().invoke(main, whole).output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--date", "tomorrow"], "--date is 'tomorrow', expected YYYY-MM-DD"),
        (["--date", "2026-13-45"], "expected YYYY-MM-DD"),
        (["--title", "x" * 10_001], "--title is not UTF-8 text of at most"),
    ],
)
def test_wrong_facts_are_one_line(dataset: Path, options: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["card", str(dataset), *options])
    assert result.exit_code == 2
    assert said in result.output
    assert {p.name for p in dataset.parent.iterdir()} == {"out.h5", "out.times.json"}


def test_texts_of_strangers_are_escaped(dataset: Path) -> None:
    evil = "<script>alert(1)</script> [x](javascript:y) `|` \x1b[31m\n# head"
    with h5py.File(dataset, "r+") as file:
        scenes = json.loads(file.attrs["scenes"])
        for scene in scenes.values():
            scene["camera"] = evil
        file.attrs["scenes"] = json.dumps(scenes)
        file.attrs["citation"] = evil
        digests = json.loads(file.attrs["digests"]) | {"attributes": attributes_digest(file)}
        file.attrs["digests"] = json.dumps(digests)
    card(dataset, CardMetadata(license=evil, origin=evil, title=evil))
    text = (dataset.parent / "README.md").read_text()
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("    "))
    assert "\x1b" not in text
    assert not re.search(r"(?<!\\)<script", prose)
    assert not re.search(r"(?<!\\)\[x", prose)
    assert not re.search(r"^# head", prose, re.MULTILINE)


def test_texts_are_no_templates(dataset: Path) -> None:
    """The card is rendered from a template; what looks like one in a text is shown."""
    card(dataset, CardMetadata(title="{{ 7 * 7 }}", origin="{% raw %}", license="{# x #}"))
    text = (dataset.parent / "README.md").read_text()
    assert "49" not in text.splitlines()[0]
    for shown in (r"# \{\{ 7 \* 7 \}\}", r": \{% raw %\}", r"Licence: \{\# x \#\}"):
        assert shown in text


def test_cards_of_split_and_merged_datasets_say_where_these_are_from(
    dataset: Path, photos: Path, recipe: Path, tmp_path: Path
) -> None:
    for name in ("t", "v", "m"):
        (tmp_path / name).mkdir()
    training, validation = tmp_path / "t" / "t.h5", tmp_path / "v" / "v.h5"
    split(dataset, training, validation, share=0.4)
    card(training, SHARED)
    assert "Then `labelgen split` of out.h5" in (tmp_path / "t" / "README.md").read_text()
    (tmp_path / "list").write_text("private/\n./s0/\ns1\n# a remark\nnobody\n")
    other = tmp_path / "other.h5"
    kind: dict[str, Any] = {"recipe": str(recipe), "labels": "truth", "jobs": 1}
    build(photos, other, exclude=tmp_path / "list", **kind)
    merged = tmp_path / "m" / "m.h5"
    merge([training, other], merged)
    card(merged, SHARED)
    text = (tmp_path / "m" / "README.md").read_text()
    assert "Then `labelgen merge` of t.h5" in text
    assert "Brackets that were left out on purpose: 3, by `private/`, `./s0/`, `s1`" in text
    assert "Labels are of several kinds" in text
    assert not (tmp_path / "m" / "recipe.toml").exists()
    [step] = read_dataset_header(merged).derived
    assert [s["by"] for s in step["of"][0]["derived"]] == ["split"]


@pytest.mark.parametrize("name", ["a:b.h5", "-x.h5", ".hid.h5", "x.part", "a\nb.h5", "README.md"])
def test_names_that_nobody_could_fetch_are_refused(dataset: Path, name: str) -> None:
    dataset.rename(dataset.with_name(name))
    with pytest.raises(UserError, match="can't be offered"):
        card(dataset.with_name(name), SHARED)
    assert {p.name for p in dataset.parent.iterdir()} == {name, "out.times.json"}


def test_a_part_is_no_dataset_to_offer(photos: Path, recipe: Path, tmp_path: Path) -> None:
    build(photos, tmp_path / "out.h5", recipe=str(recipe), jobs=1, part_bytes=1 << 18)
    part = next(tmp_path.glob("out-00000-*"))
    for share in (card, lambda path: pack(path, tmp_path / "p.h5")):
        with pytest.raises(UserError, match=r"can't be offered|is a part"):
            share(part)


def test_an_interrupted_card_leaves_no_checksums_that_are_wrong(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card(dataset, SHARED)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("labelgen.share.card.write_json", full)
        with pytest.raises(OSError, match="No space"):
            card(dataset, CardMetadata(title="other"), overwrite=True)
    assert not (dataset.parent / "SHA256SUMS").exists()


def test_croissant_has_no_empty_fields() -> None:
    said = croissant(CardMetadata(title="t", summary="s"), [])
    assert all(value for name, value in said.items() if name != "distribution")


@pytest.mark.parametrize("response", ["gamma2.2", "auto"])
def test_masked_pixels_do_not_reach_the_dataset(
    tmp_path: Path, recipe: Path, response: str
) -> None:
    """Whatever lies under a mask, the samples are the same."""
    masked = np.zeros((240, 320), np.uint8)
    masked[80:130, 100:180] = 255
    for name in ("plain", "changed"):
        write_bracket(tmp_path / name / "x", make_scene(70, (240, 320), pieces=1), EV)
    for path in (tmp_path / "changed" / "x").glob("*.tif"):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        image[masked > 0] = (60000, 0, 60000)
        cv2.imwrite(str(path), image)
    how: dict[str, Any] = {"recipe": str(recipe), "jobs": 1, "response": response}
    for name in ("plain", "changed"):
        build(tmp_path / name, tmp_path / f"{name}-seen.h5", **how)
        cv2.imwrite(str(tmp_path / name / "x" / "mask.png"), masked)
        build(tmp_path / name, tmp_path / f"{name}.h5", **how)
    assert rows(tmp_path / "plain-seen.h5") != rows(tmp_path / "changed-seen.h5")
    assert rows(tmp_path / "plain.h5") == rows(tmp_path / "changed.h5")
    with Dataset(tmp_path / "plain.h5") as data:
        origins = data.column("origin")
    assert len(origins) > 10
    for y, x in origins:
        assert not masked[y : y + 48, x : x + 48].any()


def test_masks_are_recorded_and_have_no_weight(tmp_path: Path, recipe: Path) -> None:
    write_bracket(tmp_path / "raw" / "x", make_scene(70, (240, 320)), EV)
    masked = np.zeros((240, 320, 3), np.uint8)
    masked[80:130, 100:180, 1] = 1  # any colour
    mask = tmp_path / "raw" / "x" / "mask.png"
    build(tmp_path / "raw", tmp_path / "seen.h5", recipe=str(recipe), jobs=1)
    cv2.imwrite(str(mask), masked)
    build(tmp_path / "raw", tmp_path / "out.h5", recipe=str(recipe), jobs=1)
    header = read_dataset_header(tmp_path / "out.h5")
    assert header.scenes["x"]["masks"] == [{"file": "mask.png", "sha256": sha256(mask)}]
    assert header.fingerprint != read_dataset_header(tmp_path / "seen.h5").fingerprint
    card(tmp_path / "out.h5", SHARED)
    assert (
        "Brackets with masks, under which nothing was taken: 1."
        in (tmp_path / "README.md").read_text()
    )
    label(tmp_path / "raw" / "x", tmp_path / "look", recipe=str(recipe))
    weight = cv2.imread(str(tmp_path / "look" / "weight.png"), cv2.IMREAD_UNCHANGED)
    assert weight[masked.any(-1)].max() == 0
    assert weight.max() == 255


@pytest.mark.parametrize(
    "name",
    [
        "mask.png",
        "MASK.PNG",
        "input_1.mask.png",
        "input_3.Mask.png",
        "input_2.tif.mask.png",
        "face.mask.png",
        "IMG_9999.mask.png",
    ],
)
def test_no_mask_is_overlooked(tmp_path: Path, recipe: Path, name: str) -> None:
    """Whatever it is called after, it holds, and it is no frame; of another size, it rejects."""
    for k in range(2):
        write_bracket(tmp_path / "raw" / f"{k}", make_scene(71 + k, SIZE), EV)
    cv2.imwrite(str(tmp_path / "mask.png"), np.zeros((10, 10), np.uint8))
    (tmp_path / "mask.png").rename(tmp_path / "raw" / "0" / name)
    scanned = CliRunner().invoke(main, ["scan", str(tmp_path / "raw")]).output
    assert f"masked by {name}" in scanned
    assert scanned.count("3 x 208x144") == 2
    summary = build(tmp_path / "raw", tmp_path / "out.h5", recipe=str(recipe), jobs=1)
    assert summary.rejected == {"0": f"{name}: 10x10 px, the frames 208x144; a mask covers them"}
    assert verify(tmp_path / "out.h5") == []


def test_masks_of_a_flat_folder_apply_to_the_frames_they_name(tmp_path: Path) -> None:
    for k in range(2):
        write_bracket(tmp_path / f"{k}", make_scene(71 + k, SIZE), EV)
        for path in sorted((tmp_path / f"{k}").glob("*.tif")):
            path.rename(tmp_path / f"b{k}_{path.name}")
        shutil.rmtree(tmp_path / f"{k}")
    for name in ("b1_input_2.mask.png", "somebody.mask.png", "mask.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros(SIZE, np.uint8))
    listed: list[dict[str, Any]] = [
        {"name": f"{k}", "frames": [{"file": f"b{k}_input_{i}.tif", "ev": i} for i in (1, 2, 3)]}
        for k in range(2)
    ]
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps(listed))
    found = read_groups(groups, tmp_path)
    both = ["mask.png", "somebody.mask.png"]
    assert [m.name for m in found[0].masks] == both
    assert [m.name for m in found[1].masks] == ["b1_input_2.mask.png", *both]
    listed[0]["masks"], listed[1]["masks"] = ["mask.png"], []
    groups.write_text(json.dumps(listed))
    assert [[m.name for m in b.masks] for b in read_groups(groups, tmp_path)] == [["mask.png"], []]
    for wrong, said in (("mask.png", "expected a list"), (["../x.png"], "is not inside")):
        listed[0]["masks"] = wrong
        groups.write_text(json.dumps(listed))
        with pytest.raises(UserError, match=said):
            read_groups(groups, tmp_path)


HUGE = 10**400
ODD: list[tuple[str, Any]] = [
    ("scenes", {"a": {"frames": [{"ev": "x"}]}}),
    ("scenes", {"a": {"frames": [{"ev": HUGE}]}}),
    ("scenes", {"a": {"frames": 3}}),
    ("scenes", {"a": {"looks": "f" * 30}}),
    ("scenes", {"a": {"looks": "-5"}}),
    ("scenes", {"a": {"label": {"static": HUGE}}}),
    ("scenes", {"a": {"branches": {"static": "many"}}}),
    ("scenes", {"a": []}),
    ("options", {"part_bytes": HUGE}),
    ("options", {"excluded": {"a": "b"}}),
    ("derived", [{"of": 5}]),
    ("derived", [{"by": "merge", "of": [{"samples": "<img src=x>\n\n# Evil"}]}]),
    ("derived", [{"by": "merge", "of": [{"options": {"excluded": 1}}]}]),
    ("responses", {"c": {"name": "srgb", "brackets": 1, "misfit": []}}),
]


@pytest.mark.parametrize(("name", "value"), ODD)
def test_malformed_attributes_are_refused_in_one_line(
    tmp_path: Path, name: str, value: Any
) -> None:
    path = hostile.dataset(tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs[name] = json.dumps(value)
    for command in (["info"], ["card"], ["split", "t.h5", "v.h5"], ["report", "-o", "r.html"]):
        words = [command[0], str(path), *command[1:]]
        result = CliRunner().invoke(main, words)
        assert result.exit_code == 2, (words, result.output)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        assert len(result.output.strip().splitlines()) == 1
        assert "damaged root attributes" in result.output


def test_texts_that_no_file_can_hold_are_replaced(tmp_path: Path) -> None:
    path = hostile.dataset(tmp_path)
    with h5py.File(path, "r+") as file:
        file.attrs["recipe"] = json.dumps({"name": "\ud800", "labels": "pseudo", "seed": 0})
        file.attrs["citation"] = "two\nlines `and` | more"
    card(path, SHARED)
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "two lines \\`and\\` \\| more" in text
