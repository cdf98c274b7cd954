"""Damaged parts are made anew, byte for byte, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from labelgen.core.errors import UserError
from labelgen.dataset.header import read_dataset_header
from labelgen.dataset.verify import verify
from labelgen.pipeline.build import build
from labelgen.pipeline.repair import repair


@pytest.fixture(scope="module")
def parts(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("parts") / "out.h5"
    build(raw, out, jobs=1, part_bytes=8 << 20, compress="gzip", license="CC0-1.0")
    return out


@pytest.fixture
def copied(parts: Path, tmp_path: Path) -> Path:
    shutil.copytree(parts.parent, tmp_path / "copy")
    return tmp_path / "copy" / parts.name


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda first, second: first.unlink(),
        lambda first, second: flip(first),
        lambda first, second: second.write_bytes(second.read_bytes()[:-100]),
        lambda first, second: shutil.copy(first, second),
        lambda first, second: (flip(first), second.unlink()),
    ],
    ids=["missing", "flipped", "short", "swapped", "two"],
)
def test_a_damaged_part_is_made_anew_as_it_was(
    copied: Path, parts: Path, raw: Path, damage: Callable[[Path, Path], object]
) -> None:
    damage(*(copied.with_name(p["file"]) for p in read_dataset_header(copied).parts[:2]))
    assert verify(copied)
    made = repair(copied, raw, jobs=1)
    assert 1 <= len(made) <= 2
    assert verify(copied) == []
    assert {p.name: p.read_bytes() for p in copied.parent.iterdir()} == {
        p.name: p.read_bytes() for p in parts.parent.iterdir()
    }


def test_nothing_wrong_is_nothing_to_do(copied: Path, tmp_path: Path) -> None:
    assert repair(copied, tmp_path / "brackets that are gone") == []


def test_other_brackets_are_refused_and_change_nothing(
    copied: Path, raw: Path, tmp_path: Path
) -> None:
    others = tmp_path / "raw"
    shutil.copytree(raw, others)
    used = next(s for s in read_dataset_header(copied).scenes.values() if "branches" in s)
    frame = others / used["frames"][0]["file"]
    frame.write_bytes(frame.read_bytes() + b"\0")
    part = copied.with_name(read_dataset_header(copied).parts[0]["file"])
    part.unlink()
    with pytest.raises(UserError, match="built from other brackets, options or versions"):
        repair(copied, others, jobs=1)
    assert not part.exists()
    assert not list(copied.parent.glob("*.partial"))


def test_what_cannot_be_mended_is_said(copied: Path, raw: Path, tmp_path: Path) -> None:
    with h5py.File(copied, "r+") as file:
        file.attrs["license"] = "mine"
    with pytest.raises(UserError, match="the index can't be mended; 'build --overwrite' it"):
        repair(copied, raw)
    single = tmp_path / "single.h5"
    build(raw, single, jobs=1, limit=1)
    with pytest.raises(UserError, match="is one file, which can't be mended"):
        repair(single, raw)
