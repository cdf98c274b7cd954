"""Datasets packed, merged, split and sampled: what is in them stays as it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner

from labelgen.cli import main
from labelgen.core.bracket import Stack
from labelgen.core.errors import UserError
from labelgen.core.files import sha256
from labelgen.core.recipe import Recipe, load_recipe
from labelgen.core.settings import Patches
from labelgen.dataset.columns import IMAGES, SMALL_COLUMNS
from labelgen.dataset.header import read_dataset_header
from labelgen.dataset.info import info
from labelgen.dataset.reader import Dataset
from labelgen.dataset.scene_hash import scene_hash, similar_scenes
from labelgen.dataset.verify import verify
from labelgen.pipeline.build import build
from labelgen.share.merge import merge
from labelgen.share.pack import pack
from labelgen.share.sample import round_robin, sample
from labelgen.share.split import group_by_scene, split
from labelgen.simulate import SimulatedBracket, write_bracket
from tests.conftest import EV, make_scene

SIZE = 144, 208


def small(recipe: str = "default") -> Recipe:
    """A recipe of small patches, so that a small frame gives many."""
    return replace(load_recipe(recipe), patches=Patches(size=48, choice="score"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three scenes, one of which was taken twice: shaken, and with more noise."""
    folder = tmp_path_factory.mktemp("photos")
    for name, seed in (("a_1", 30), ("b", 31), ("c", 32)):
        write_bracket(folder / name, make_scene(seed, SIZE, pieces=1), EV)
    write_bracket(folder / "a_2", make_scene(30, SIZE, pieces=1, shake=3.0, full_well=8e3), EV)
    return folder


@pytest.fixture(scope="module")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out.h5"
    build(photos, out, recipe=small(), jobs=1, license="CC0-1.0")
    return out


def rows(path: Path) -> dict[tuple[Any, ...], bytes]:
    """Every sample by what it is, with all that is in it."""
    with Dataset(path) as data:
        columns = {name: data.column(name) for name in SMALL_COLUMNS}
        found = {}
        for i in range(len(data)):
            origin, variant = tuple(columns["origin"][i]), columns["variant"][i]
            key = (bytes(columns["scene"][i]), *map(int, origin), int(variant))
            images = b"".join(data.image(name, i).tobytes() for name in IMAGES)
            found[key] = images + columns["ev"][i].tobytes() + columns["branch"][i].tobytes()
        assert len(found) == len(data)
        return found


@pytest.mark.parametrize("compress", ["none", "gzip"])
def test_parts_become_one_file_and_the_same_parts_again(
    photos: Path, tmp_path: Path, compress: str
) -> None:
    how: dict[str, Any] = {"recipe": small(), "compress": compress, "jobs": 1}
    (tmp_path / "built").mkdir()
    build(photos, tmp_path / "one.h5", **how)
    build(photos, tmp_path / "built" / "p.h5", part_bytes=2 << 20, **how)
    pack(tmp_path / "built" / "p.h5", tmp_path / "packed.h5")
    pack(tmp_path / "packed.h5", tmp_path / "p.h5", part_bytes=2 << 20)
    parts = sorted(p.name for p in (tmp_path / "built").glob("p-*.h5"))
    assert len(parts) > 1
    assert sha256(tmp_path / "packed.h5") == sha256(tmp_path / "one.h5")
    for name in ("p.h5", *parts):
        assert sha256(tmp_path / name) == sha256(tmp_path / "built" / name), name
    assert verify(tmp_path / "packed.h5") == []
    assert info(tmp_path / "packed.h5")["compress"] == compress


def test_packing_one_file_gives_the_same_file(whole: Path, tmp_path: Path) -> None:
    pack(whole, tmp_path / "copy.h5")
    assert sha256(tmp_path / "copy.h5") == sha256(whole)


def test_merging_a_split_dataset_restores_all_samples(whole: Path, tmp_path: Path) -> None:
    training, validation = tmp_path / "train.h5", tmp_path / "val.h5"
    sides = split(whole, training, validation, share=0.3)
    assert all(sides.values())
    merge([training, validation], tmp_path / "both.h5")
    assert rows(tmp_path / "both.h5") == rows(training) | rows(validation) == rows(whole)
    for path in (training, validation, tmp_path / "both.h5"):
        assert verify(path) == []
    header = read_dataset_header(training)
    assert sorted(header.scenes) == sorted(n for scene in sides["training"] for n in scene)
    assert header.license == "CC0-1.0"
    assert [step["by"] for step in header.derived] == ["split"]
    assert info(training)["derived"] == "split of out.h5"
    assert info(tmp_path / "both.h5")["derived"] == "merge of train.h5, val.h5"
    assert info(whole)["derived"] == ""
    assert header.derived[0]["of"][0]["fingerprint"] == read_dataset_header(whole).fingerprint
    assert read_dataset_header(training).fingerprint != read_dataset_header(validation).fingerprint


@pytest.mark.parametrize("seed", range(4))
def test_a_scene_that_was_taken_twice_is_on_one_side(
    whole: Path, tmp_path: Path, seed: int
) -> None:
    sides = split(whole, tmp_path / "t.h5", tmp_path / "v.h5", share=0.3, seed=seed)
    assert any(scene == ["a_1", "a_2"] for scenes in sides.values() for scene in scenes)
    for name, path in (("training", tmp_path / "t.h5"), ("validation", tmp_path / "v.h5")):
        scenes = {key[0].decode() for key in rows(path)}
        assert scenes == {bracket for scene in sides[name] for bracket in scene}


def test_scenes_are_recognised_by_names_and_shared_photos(whole: Path) -> None:
    header = read_dataset_header(whole)
    for scene in header.scenes.values():
        del scene["looks"]
    names = ["a_1", "a_2", "b", "c"]
    assert group_by_scene(header, names) == [["a_1"], ["a_2"], ["b"], ["c"]]
    assert group_by_scene(header, names, r"^(.)_\d") == [["a_1", "a_2"], ["b"], ["c"]]
    header.scenes["c"]["frames"][2] = header.scenes["b"]["frames"][0]
    assert group_by_scene(header, names) == [["a_1"], ["a_2"], ["b", "c"]]


def test_scene_hashes_do_not_depend_on_exposure(handheld: SimulatedBracket) -> None:
    other = make_scene(12)
    codes = [scene_hash(c) for c in (*handheld.codes, *other.codes)]
    connected = {frozenset(pair) for pair in similar_scenes(codes)}
    assert all(a // 3 == b // 3 for a, b in connected)
    assert frozenset({0, 1}) in connected or frozenset({1, 2}) in connected
    assert similar_scenes([codes[0]] * 3) == [(0, 1), (0, 2)]


def test_merging_renames_brackets_of_the_same_name(photos: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    write_bracket(other / "b", make_scene(40, SIZE), EV)
    build(photos, tmp_path / "one.h5", recipe=small(), jobs=1, license="CC0-1.0", limit=3)
    build(other, tmp_path / "two.h5", recipe=small("selfhdr"), jobs=1, compress="gzip")
    merge([tmp_path / "one.h5", tmp_path / "two.h5"], tmp_path / "both.h5")
    assert verify(tmp_path / "both.h5") == []
    header = read_dataset_header(tmp_path / "both.h5")
    assert set(header.scenes) == {"one/a_1", "one/a_2", "one/b", "two/b"}
    assert header.license == "one.h5: CC0-1.0; two.h5: not stated"
    recipes = [of["recipe"]["name"] for of in header.derived[0]["of"]]
    assert recipes == ["default", "selfhdr"]
    found = {key[0].split(b"/", 1)[1]: value for key, value in rows(tmp_path / "both.h5").items()}
    apart = rows(tmp_path / "one.h5") | rows(tmp_path / "two.h5")
    assert len(found) == len({key[0] for key in apart})


def test_eight_and_sixteen_bits_merge_without_loss(tmp_path: Path) -> None:
    scene = make_scene(41, SIZE)
    coarse = replace(scene, codes=Stack(scene.codes, EV, 1).to_depth(8).codes)
    write_bracket(tmp_path / "deep" / "x", make_scene(42, SIZE), EV)
    write_bracket(tmp_path / "coarse" / "y", coarse, EV, suffix="png")
    for name in ("deep", "coarse"):
        build(tmp_path / name, tmp_path / f"{name}.h5", recipe=small(), jobs=1)
    assert info(tmp_path / "coarse.h5")["depth"] == 8
    merge([tmp_path / "coarse.h5", tmp_path / "deep.h5"], tmp_path / "both.h5")
    assert verify(tmp_path / "both.h5") == []
    with Dataset(tmp_path / "both.h5") as both, Dataset(tmp_path / "coarse.h5") as one:
        for row in range(len(one)):
            wide = both.image("inputs", row)
            assert wide.dtype == np.uint16
            assert np.array_equal(wide, one.image("inputs", row).astype(np.uint16) * 257)
            assert np.array_equal(both.image("label", row), one.image("label", row))


def test_merging_the_same_is_refused(whole: Path, photos: Path, tmp_path: Path) -> None:
    copy = shutil.copy(whole, tmp_path / "copy.h5")
    with pytest.raises(UserError, match=r"same dataset as .*same fingerprint"):
        merge([whole, copy], tmp_path / "both.h5")
    build(photos, tmp_path / "other.h5", recipe=small(), seed=1, jobs=1)
    with pytest.raises(UserError, match=r"'a_1' has a photo of 'a_1' of .*out.h5"):
        merge([whole, tmp_path / "other.h5"], tmp_path / "both.h5")
    build(photos, tmp_path / "pairs.h5", recipe=small(), frames=2, jobs=1)
    with pytest.raises(UserError, match=r"frames is 2, 3 in .*out.h5"):
        merge([whole, tmp_path / "pairs.h5"], tmp_path / "both.h5")
    assert not (tmp_path / "both.h5").exists()


@pytest.mark.parametrize("megabytes", [0.2, 0.4, 1.0])
def test_a_sample_shows_every_branch_and_is_small(
    whole: Path, tmp_path: Path, megabytes: float
) -> None:
    out = tmp_path / "sample.h5"
    count = sample(whole, out, megabytes=megabytes)
    assert out.stat().st_size <= megabytes * 1e6
    assert verify(out) == []
    taken, every = rows(out), rows(whole)
    assert len(taken) == count
    assert taken.items() <= every.items()
    if count >= len(info(whole)["branches"]):
        assert info(out)["branches"].keys() == info(whole)["branches"].keys()


def test_the_first_rows_of_a_sample_are_spread() -> None:
    branches = np.repeat(np.arange(2, dtype=np.uint8), [900, 100])
    order = list(round_robin(branches))
    assert sorted(order) == list(range(1000))
    first = np.array([row for row in order[:20] if row < 900])
    assert len(first) == 10
    assert np.diff(np.sort([0, *first, 900])).max() <= 270  # evenly would be 90


def test_a_damaged_sample_is_not_copied_as_if_it_were_sound(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "out.h5"
    shutil.copy(whole, path)
    with h5py.File(path) as file:
        at = file["label"].id.get_chunk_info(2)
    with path.open("r+b") as file:
        file.seek(at.byte_offset + 1000)
        byte = file.read(1)[0]
        file.seek(at.byte_offset + 1000)
        file.write(bytes([byte ^ 4]))
    for copied in (lambda out: pack(path, out), lambda out: sample(path, out, megabytes=50)):
        with pytest.raises(UserError, match=r"sample 2 is damaged .*verify"):
            copied(tmp_path / "copy.h5")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["out.h5"]


def test_parts_of_another_dataset_are_not_overwritten(
    whole: Path, photos: Path, tmp_path: Path
) -> None:
    """An index that was renamed is still there, and its parts are its own."""
    pack(whole, tmp_path / "out.h5", part_bytes=2 << 20)
    (tmp_path / "out.h5").rename(tmp_path / "kitchen.h5")
    assert verify(tmp_path / "kitchen.h5") == []
    tries: list[Callable[[], object]] = [
        lambda: pack(whole, tmp_path / "out.h5", part_bytes=2 << 20),
        lambda: build(photos, tmp_path / "out.h5", recipe=small(), jobs=1, part_bytes=2 << 20),
    ]
    for again in tries:
        with pytest.raises(UserError, match="a part of another dataset"):
            again()
    assert verify(tmp_path / "kitchen.h5") == []


def test_an_unfinished_build_is_kept(whole: Path, tmp_path: Path) -> None:
    work = tmp_path / "out.h5.partial"
    work.mkdir()
    for name in ("build.json", "a.shard"):
        (work / name).write_text("{}")
    with pytest.raises(UserError, match="an unfinished build"):
        pack(whole, tmp_path / "out.h5", overwrite=True)
    assert {p.name for p in work.iterdir()} == {"build.json", "a.shard"}


def test_attributes_too_large_to_read_are_not_written(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelgen.share.derive.MAX_TEXT", 500)
    with pytest.raises(UserError, match=r"what it would note .* has"):
        pack(whole, tmp_path / "out.h5")
    assert list(tmp_path.iterdir()) == []


def test_chunks_of_another_codec_are_encoded_anew(whole: Path, tmp_path: Path) -> None:
    source = tmp_path / "other.h5"
    hdf5plugin = pytest.importorskip("hdf5plugin")
    with h5py.File(whole) as old, h5py.File(source, "w", libver="earliest") as new:
        for name, data in old.items():
            chunks = data.chunks
            zstd = hdf5plugin.Bitshuffle(cname="zstd") if name in IMAGES else {}
            how = {"fletcher32": True, **zstd}
            new.create_dataset(name, data=data[:], chunks=chunks, **how)
            for key, value in data.attrs.items():
                new[name].attrs[key] = value
        for key, value in old.attrs.items():
            new.attrs[key] = value
    pack(source, tmp_path / "out.h5")
    assert verify(tmp_path / "out.h5") == []
    assert rows(tmp_path / "out.h5") == rows(whole)


def test_a_split_that_fails_leaves_neither_half(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "v.h5").write_text("notes")
    with pytest.raises(UserError):
        split(whole, tmp_path / "t.h5", tmp_path / "v.h5", share=0.3, overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {"v.h5"}


Command = Callable[[Path, Path], list[str]]


@pytest.mark.parametrize(
    "command",
    [
        lambda d, out: ["pack", str(d), str(out)],
        lambda d, out: ["merge", str(d), str(d.with_name("b.h5")), str(out)],
        lambda d, out: ["split", str(d), str(out), str(out.with_name("v.h5"))],
        lambda d, out: ["sample", str(d), str(out)],
    ],
)
def test_existing_files_are_not_overwritten_unasked(
    whole: Path, tmp_path: Path, command: Command
) -> None:
    data, out = tmp_path / "a.h5", tmp_path / "there.h5"
    shutil.copy(whole, data)
    pack(whole, tmp_path / "b.h5")
    with h5py.File(tmp_path / "b.h5", "r+") as file:
        file.attrs["fingerprint"] = "b" * 64
    shutil.copy(whole, out)
    before = sha256(out)
    result = CliRunner().invoke(main, command(data, out))
    assert result.exit_code == 2
    assert "there.h5: exists; give --overwrite" in result.output
    own = CliRunner().invoke(main, [*command(data, data), "--overwrite"])
    assert own.exit_code == 2
    assert "is one of the datasets to read" in own.output
    out.write_text("my notes")
    kept = CliRunner().invoke(main, [*command(data, out), "--overwrite"])
    assert kept.exit_code == 2
    assert "no HDF5 file, so not ours to replace" in kept.output
    assert out.read_text() == "my notes"
    assert before == sha256(whole)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["split", "A", "t.h5", "t.h5"], "give two names"),
        (["split", "A", "t.h5", "v.h5", "--share", "1.5"], "expected more than 0"),
        (["split", "A", "t.h5", "v.h5", "--same", "("], "is no regular expression"),
        (["split", "A", "t.h5", "v.h5", "--same", ""], None),
        (["split", "A", "t.h5", "v.h5", "--same", "."], None),
        (["split", "A", "t.h5", "v.h5", "--same", "$"], "all its brackets are of one scene"),
        (["merge", "A", "m.h5"], "1 dataset to merge, expected two or more"),
        (["sample", "A", "s.h5", "--megabytes", "0.001"], "give more --megabytes"),
        (["pack", "A", "no/such/p.h5"], "no such folder; make it first"),
        (["pack", "nix.h5", "p.h5"], "no such file"),
        (["pack", "A", "p.h5", "--part-size", "nan"], "is no number above 0"),
        (["sample", "A", "s.h5", "--megabytes", "nan"], "is no number above 0"),
        (["pack", "A", "."], "is a folder; give the name of a file"),
    ],
)
def test_wrong_arguments_are_one_line(
    whole: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    said: str | None,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, [str(whole) if a == "A" else a for a in arguments])
    if said is None:
        assert result.exit_code == 0, result.output
        return
    assert result.exit_code == 2
    assert said in result.output
    lines = [line for line in result.output.strip().splitlines() if "labelgen" in line]
    assert len(lines) == 1 or "Usage" in result.output
    assert list(tmp_path.iterdir()) == []
