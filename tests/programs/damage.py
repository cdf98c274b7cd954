#!/usr/bin/env python3
"""Damage datasets in many ways, and count what `labelgen verify` finds.

    python tests/programs/damage.py WORK [--flips 400] [--seed 0]

Each case damages a fresh copy of a dataset, either a single file or one in parts:

- A byte of every HDF5 dataset and attribute is changed, also by HDF5 itself, which then writes a
  matching checksum.
- Parts are removed, truncated, swapped and replaced by those of another dataset.
- The index states wrong sizes and digests.
- Single bits are flipped at random. A bit of padding, which no value depends on, is harmless.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from labelgen.core.errors import UserError
from labelgen.dataset.columns import IMAGES, SMALL_COLUMNS
from labelgen.dataset.header import read_dataset_header
from labelgen.dataset.verify import verify
from labelgen.pipeline.build import build
from labelgen.simulate import simulate

Damage = Callable[[Path], Any]
PART_BYTES = 8 << 20


def is_found(path: Path) -> bool:
    """Whether `verify` reports anything."""
    try:
        return bool(verify(path))
    except UserError:
        return True


def change_value(path: Path, name: str, row: int) -> None:
    """Change one value through HDF5, which updates the checksum."""
    with h5py.File(path, "r+", locking=False) as file:
        row %= len(file[name])
        values = file[name][row : row + 1]
        values.view(np.uint8).reshape(-1)[values.nbytes // 2] ^= 1
        file[name][row : row + 1] = values


def change_stored(path: Path, name: str, row: int) -> None:
    """Change one byte of a stored chunk, bypassing HDF5."""
    with h5py.File(path, "r", locking=False) as file:
        dataset = file[name]
        row = min(row % len(dataset), (len(dataset) - 1) // dataset.chunks[0] * dataset.chunks[0])
        chunk = dataset.id.get_chunk_info_by_coord((row, *(0,) * (dataset.ndim - 1)))
    flip_bit(path, chunk.byte_offset + chunk.size // 2, 1)


def flip_bit(path: Path, offset: int, bit: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def change_attribute(path: Path, name: str) -> None:
    """Change a root attribute."""
    with h5py.File(path, "r+", locking=False) as file:
        value = file.attrs[name]
        file.attrs[name] = value + " " if isinstance(value, str) else value + 1


def drop_attribute(path: Path, name: str) -> None:
    """Remove a root attribute."""
    with h5py.File(path, "r+", locking=False) as file:
        del file.attrs[name]


def fill(path: Path, name: str, value: float) -> None:
    """Set all values of one sample."""
    with h5py.File(path, "r+", locking=False) as file:
        file[name][1] = value


def shorten(path: Path, name: str) -> None:
    """Remove the last row of one HDF5 dataset."""
    with h5py.File(path, "r+", locking=False) as file:
        values, attributes = file[name][:-1], dict(file[name].attrs)
        del file[name]
        chunks = (1, *values.shape[1:]) if name in IMAGES else None
        file.create_dataset(name, data=values, chunks=chunks, fletcher32=chunks is not None)
        file[name].attrs.update(attributes)


def falsify_index(path: Path, key: str) -> None:
    """Change what the index states about its first part."""
    with h5py.File(path, "r+", locking=False) as file:
        parts = json.loads(file.attrs["parts"])
        parts[0][key] = parts[0][key] + 1 if key != "sha256" else "0" * 64
        file.attrs["parts"] = json.dumps(parts)


def truncate(path: Path, count: int) -> None:
    """Remove bytes from the end."""
    os.truncate(path, path.stat().st_size - count)


def cases(index: Path, single: Path, other: Path) -> Iterator[tuple[str, Path, Path, Damage]]:
    """Yield the kind of damage, the dataset to copy, its file to damage, and the damage."""
    parts = [index.with_name(p["file"]) for p in read_dataset_header(index).parts]
    for dataset, file in ((single, single), (index, parts[0]), (index, parts[-1])):
        for name in (*IMAGES, *SMALL_COLUMNS):
            for row in (0, 5, -1):
                yield (
                    "value changed, checksum fits",
                    dataset,
                    file,
                    partial(change_value, name=name, row=row),
                )
                yield (
                    "stored byte changed",
                    dataset,
                    file,
                    partial(change_stored, name=name, row=row),
                )
            yield "a row less", dataset, file, partial(shorten, name=name)
        for value in (np.nan, np.inf, -1.0, 2.0):
            yield (
                "label not finite or beyond 0..1",
                dataset,
                file,
                partial(fill, name="label", value=value),
            )
        yield "weight without label", dataset, file, partial(fill, name="weight", value=255)
        for count in (1, 4096, 300_000):
            yield "cut", dataset, file, partial(truncate, count=count)
    for dataset in (single, index, parts[1]):
        whole = index if dataset in parts else dataset
        with h5py.File(dataset, "r", locking=False) as opened:
            names = list(opened.attrs)
        for name in names:
            yield "attribute changed", whole, dataset, partial(change_attribute, name=name)
            yield "attribute gone", whole, dataset, partial(drop_attribute, name=name)
    for part in parts:
        yield "part missing", index, part, Path.unlink
        yield "part foreign", index, part, lambda path: shutil.copy(other, path)
        neighbour = parts[(parts.index(part) + 1) % len(parts)]
        yield "part swapped", index, part, partial(shutil.copy, neighbour)
    for key in ("rows", "bytes", "sha256"):
        yield "index lies about a part", index, index, partial(falsify_index, key=key)


def read_content(folder: Path) -> dict[str, Any]:
    """Read all values and attributes of the files of a dataset."""
    everything: dict[str, Any] = {}
    for path in sorted(folder.glob("*.h5")):
        with h5py.File(path, "r", locking=False) as file:
            everything[path.name] = dict(file.attrs)
            for name, dataset in file.items():
                key = f"{path.name}/{name}"
                everything[key] = dataset[:].tobytes(), dataset.dtype, dict(dataset.attrs)
    return everything


def is_unchanged(folder: Path, before: dict[str, Any]) -> bool:
    """Whether all values and attributes are as before."""
    try:
        return repr(read_content(folder)) == repr(before)
    except Exception:  # whatever HDF5 raises, something changed
        return False


def main() -> None:
    """Print a table in Markdown; exit 1 if anything was missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--flips", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    work, copy = args.work, args.work / "copy"
    shutil.rmtree(work, ignore_errors=True)
    simulate(None, work / "raw", scenes=3, size=(200, 260), truth=False)
    for name in ("single", "parts", "other"):
        (work / name).mkdir()
    single, index, other = (work / name / "out.h5" for name in ("single", "parts", "other"))
    build(work / "raw", single, compress="gzip", license="CC0-1.0")
    build(work / "raw", index, part_bytes=PART_BYTES)
    build(work / "raw", other, seed=1)
    tried: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for kind, dataset, file, damage in cases(index, single, other):
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(dataset.parent, copy)
        damage(copy / file.name)
        tried[kind] += 1
        if not is_found(copy / dataset.name):
            missed[kind] += 1
            print("missed:", kind, dataset.parent.name, file.name, damage, file=sys.stderr)
    rng, harmless = random.Random(args.seed), 0
    before = {dataset: read_content(dataset.parent) for dataset in (single, index)}
    for _ in range(args.flips):
        dataset = rng.choice((single, index))
        file = rng.choice(sorted(dataset.parent.glob("*.h5")))
        # Half of the bits are near the start, in the metadata of HDF5.
        size = file.stat().st_size
        offset = rng.randrange(rng.choice((min(size, 20_000), size)))
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(dataset.parent, copy)
        flip_bit(copy / file.name, offset, rng.randrange(8))
        tried["a bit anywhere"] += 1
        if not is_found(copy / dataset.name):
            if is_unchanged(copy, before[dataset]):
                harmless += 1
            else:
                missed["a bit anywhere"] += 1
                print("missed: bit at", offset, "of", file.name, file=sys.stderr)
    print("| damage | tried | found | missed |\n|---|---|---|---|")
    for kind, count in tried.items():
        note = f" ({harmless} harmless)" if kind == "a bit anywhere" else ""
        hit = count - missed[kind] - (harmless if note else 0)
        print(f"| {kind} | {count} | {hit}{note} | {missed[kind]} |")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
