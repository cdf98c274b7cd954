"""Damage of every kind that a dataset can suffer has to be found."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from labelgen.core.errors import UserError
from labelgen.dataset.header import read_dataset_header
from labelgen.dataset.info import info
from labelgen.dataset.reader import Dataset
from labelgen.dataset.verify import verify
from labelgen.pipeline.build import build
from tests.helpers.hostile import dataset


@pytest.fixture(scope="module")
def single(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("single") / "out.h5"
    build(raw, out, jobs=1)
    return out


@pytest.fixture(scope="module")
def parts(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parts") / "out.h5"
    build(raw, out, jobs=1, part_bytes=8 << 20)
    return out


def copy(dataset: Path, folder: Path) -> Path:
    for path in dataset.parent.iterdir():
        shutil.copy(path, folder / path.name)
    return folder / dataset.name


def flip(path: Path, at: int) -> None:
    with path.open("r+b") as f:
        f.seek(at)
        byte = f.read(1)[0]
        f.seek(at)
        f.write(bytes([byte ^ 0x10]))


@pytest.mark.parametrize("name", ["inputs", "label", "weight"])
@pytest.mark.parametrize("row", [0, -1])
def test_a_flipped_byte_in_any_image(single: Path, tmp_path: Path, name: str, row: int) -> None:
    path = copy(single, tmp_path)
    with h5py.File(path) as f:
        row = row % len(f[name])
        at = f[name].id.get_chunk_info(row)
    flip(path, at.byte_offset + at.size // 2)
    wrong = verify(path)
    assert f"out.h5: {name}: sample {row}: checksum error or missing chunk" in wrong


@pytest.mark.parametrize("name", ["ev", "scene", "origin", "branch", "variant"])
def test_a_flipped_byte_in_any_column(single: Path, tmp_path: Path, name: str) -> None:
    path = copy(single, tmp_path)
    with h5py.File(path) as f:
        at = f[name].id.get_chunk_info(0).byte_offset
    flip(path, at)
    assert any(f"out.h5: {name}" in line for line in verify(path))


def change_attribute(file: h5py.File) -> None:
    file.attrs["reference"] = 0


def change_scenes(file: h5py.File) -> None:
    file.attrs["scenes"] = file.attrs["scenes"].replace("moving", "moveing")


def drop_digests(file: h5py.File) -> None:
    del file.attrs["digests"]


def drop_dataset(file: h5py.File) -> None:
    del file["weight"]


def change_value(file: h5py.File) -> None:
    file["weight"][3, 5, 5] ^= 1


def swap_rows(file: h5py.File) -> None:
    """Of two labels that differ; variants of a patch that was only warped have the same."""
    first = file["label"][0]
    other = next(i for i, label in enumerate(file["label"]) if not np.array_equal(label, first))
    file["label"][0], file["label"][other] = file["label"][other], first


def not_finite(file: h5py.File) -> None:
    file["label"][2, 0, 0, 0] = np.nan


def rename_branches(file: h5py.File) -> None:
    file["branch"].attrs["names"] = ["reference", "static", "illumination", "truth"]


def add_dataset(file: h5py.File) -> None:
    file["extra"] = np.zeros(3)


def break_recipe(file: h5py.File) -> None:
    file.attrs["recipe"] = "[1]"


def break_parts(file: h5py.File) -> None:
    file.attrs["parts"] = '{"a": 1}'


def group_for_dataset(file: h5py.File) -> None:
    del file["ev"]
    file.create_group("ev")


def retype(file: h5py.File) -> None:
    values = file["branch"][:].astype(np.int64)
    del file["branch"]
    file["branch"] = values


def shorten(file: h5py.File) -> None:
    values = file["variant"][:-1]
    del file["variant"]
    file["variant"] = values


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (change_attribute, "root attributes differ"),
        (change_scenes, "root attributes differ"),
        (drop_digests, "'digests' is missing"),
        (drop_dataset, "no dataset weight"),
        (change_value, "weight differs from its recorded digest"),
        (swap_rows, "label differs from its recorded digest"),
        (not_finite, "label: sample 2: radiance outside of 0..1 or not finite"),
        (rename_branches, "attribute 'names' of branch is not"),
        (add_dataset, "holds extra, which no dataset has"),
        (group_for_dataset, "damaged"),
        (retype, "branch is"),
        (shorten, "variant is"),
    ],
    ids=lambda d: getattr(d, "__name__", ""),
)
def test_damage_that_hdf5_does_not_notice(
    single: Path, tmp_path: Path, damage: Callable[[h5py.File], None], said: str
) -> None:
    path = copy(single, tmp_path)
    with h5py.File(path, "r+") as f:
        damage(f)
    assert any(said in line for line in verify(path)), verify(path)


@pytest.mark.parametrize("damage", [break_recipe, break_parts], ids=lambda d: d.__name__)
def test_attributes_of_another_form_are_refused_in_one_line(
    single: Path, tmp_path: Path, damage: Callable[[h5py.File], None]
) -> None:
    path = copy(single, tmp_path)
    with h5py.File(path, "r+") as f:
        damage(f)
    for command in (verify, info):
        with pytest.raises(UserError, match="damaged root attributes"):
            command(path)


def test_flipped_bits_of_hdf5_metadata_raise_only_user_errors(single: Path, tmp_path: Path) -> None:
    """The first kilobytes hold superblock, groups and headers; h5py raises many things on them."""
    path = copy(single, tmp_path)
    said = list[str]()
    for at in range(0, 3000, 61):
        flip(path, at)
        for command in (verify, info):
            try:
                outcome = command(path)
            except UserError as e:
                outcome = [str(e)]
            said += outcome if isinstance(outcome, list) else []
        flip(path, at)
    assert len(said) > 10
    assert not any("\n" in line for line in said)
    assert verify(path) == []


def test_a_truncated_file_is_no_dataset(single: Path, tmp_path: Path) -> None:
    path = copy(single, tmp_path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(UserError, match="not a whole HDF5 file"):
        verify(path)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "no such file"), (b"text", "not a whole HDF5"), (b"", "not a whole")],
)
def test_files_that_are_no_dataset(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "x.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        verify(path)


def test_hdf5_by_others_and_later_versions(single: Path, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as f:
        f["x"] = 1
    with pytest.raises(UserError, match="not a labelgen dataset"):
        verify(tmp_path / "other.h5")
    path = copy(single, tmp_path)
    with h5py.File(path, "r+") as f:
        f.attrs["format_version"] = 2
    with pytest.raises(UserError, match="format version 2, this labelgen reads 1"):
        verify(path)


def test_parts_missing_short_foreign_or_swapped(
    parts: Path, single: Path, raw: Path, tmp_path: Path
) -> None:
    names = [p["file"] for p in read_dataset_header(parts).parts]
    assert len(names) >= 2
    cases: dict[str, Callable[[Path], object]] = {
        "missing": lambda folder: (folder / names[1]).unlink(),
        "short": lambda folder: (folder / names[1]).write_bytes(
            (folder / names[1]).read_bytes()[:-4096]
        ),
        "flipped": lambda folder: flip(folder / names[1], 300_000),
        "foreign": lambda folder: shutil.copy(other, folder / names[1]),
        "swapped": lambda folder: shutil.copy(parts.parent / names[0], folder / names[1]),
    }
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "other.h5"
    build(raw, other, jobs=1, seed=3)
    for case, damage in cases.items():
        folder = tmp_path / case
        folder.mkdir()
        path = copy(parts, folder)
        assert verify(path) == []
        damage(folder)
        wrong = verify(path)
        assert any(names[1] in line for line in wrong), case
        if case in ("missing", "short", "foreign"):
            with pytest.raises(UserError, match=names[1]):
                Dataset(path)


def test_parts_outside_of_the_folder_are_refused(parts: Path, tmp_path: Path) -> None:
    path = copy(parts, tmp_path)
    with h5py.File(path, "r+") as f:
        listed = json.loads(f.attrs["parts"])
        listed[0]["file"] = "../" + listed[0]["file"]
        f.attrs["parts"] = json.dumps(listed)
    with pytest.raises(UserError, match="not a file beside it; refused"):
        Dataset(path)
    assert any("refused" in line for line in verify(path))


@pytest.mark.parametrize("parts", [1, 2])
def test_bitshuffle_is_read_by_a_process_that_has_written_none(tmp_path: Path, parts: int) -> None:
    pytest.importorskip("hdf5plugin")
    made = dataset(tmp_path, "bitshuffle", parts)
    code = (
        "import sys; from pathlib import Path; from labelgen.dataset.reader import Dataset; "
        "Dataset(Path(sys.argv[1])).image('label', 3)"
    )
    assert subprocess.run([sys.executable, "-c", code, made], check=False).returncode == 0
