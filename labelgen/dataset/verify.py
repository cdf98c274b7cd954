"""Verify a dataset: every byte against the digests and checksums that it records."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import h5py

from labelgen.core.errors import UserError
from labelgen.core.files import sha256
from labelgen.core.progress import Progress, Silent
from labelgen.dataset.columns import BRANCHES, IMAGES, SMALL_COLUMNS, SampleLayout
from labelgen.dataset.digests import attributes_digest, column_digest
from labelgen.dataset.header import DatasetHeader, open_file, read_dataset_header
from labelgen.dataset.safe_hdf5 import DAMAGE, read_chunk, read_row


def verify(path: Path, *, progress: Progress | None = None) -> list[str]:
    """Read all of a dataset and list its problems.

    Checked are the checksum of every chunk, shapes, types and numbers of rows, the range of the
    labels, the recorded digests of all columns and attributes, and the SHA-256 of all parts.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    progress : Progress, optional
        Reports every image that was read.

    Returns
    -------
    list of str
        One line for each problem.

    Raises
    ------
    UserError
        Not a dataset.
    """
    header, progress = read_dataset_header(path), progress or Silent()
    try:
        if header.parts:
            problems = verify_index(path, header)
            progress.start("verify", len(IMAGES) * sum(part["rows"] for part in header.parts))
            for part in header.parts:
                problems += verify_part(path.parent, part, header, progress)
            return problems
        with open_file(path) as file:
            progress.start("verify", len(IMAGES) * _count_rows(file))
            return _attribute_problems(file, path.name) + _column_problems(
                file, path.name, header, progress
            )
    except DAMAGE as e:
        return [f"{path.name}: damaged ({type(e).__name__}: {e})"]


def _count_rows(file: h5py.File) -> int:
    """Return the number of samples of a file of any form; 0 if it has no column `label`."""
    label = file.get("label")
    return int(label.shape[0]) if isinstance(label, h5py.Dataset) and label.shape else 0


def verify_index(path: Path, header: DatasetHeader) -> list[str]:
    """List the problems of an index itself, one line each, without opening its parts."""
    name = path.name
    with open_file(path) as file:
        problems = _attribute_problems(file, name) + _type_problems(file, name, header)
        rows = sum(part["rows"] for part in header.parts)
        if not problems and len(file["label"]) != rows:
            problems.append(f"{name}: shows {len(file['label'])} samples, its parts hold {rows}")
    return problems


def verify_part(
    folder: Path, part: dict[str, Any], header: DatasetHeader, progress: Progress | None = None
) -> list[str]:
    """List the problems of one part, one line each.

    Parameters
    ----------
    folder : Path
        Of the index.
    part : dict
        Entry of the part in the index: "file", "rows", "bytes", "sha256".
    header : DatasetHeader
        Of the index.
    progress : Progress, optional
        Reports every image that was read.
    """
    name = part["file"]
    if Path(name).name != name:
        return [f"{name}: not a file beside the index; refused"]
    path = folder / name
    if not path.is_file():
        return [f"{name}: missing part"]
    problems = []
    if path.stat().st_size != part["bytes"]:
        problems.append(f"{name}: {path.stat().st_size} bytes, {part['bytes']} expected")
    if sha256(path) != part["sha256"]:
        problems.append(f"{name}: SHA-256 differs from the one in the index")
    try:
        with open_file(path) as file:
            if file.attrs.get("fingerprint") != header.fingerprint:
                problems.append(f"{name}: part of another dataset")
            if "label" in file and len(file["label"]) != part["rows"]:
                problems.append(f"{name}: {len(file['label'])} samples, {part['rows']} expected")
            problems += _attribute_problems(file, name)
            problems += _column_problems(file, name, header, progress or Silent())
    except UserError as e:
        problems.append(str(e))
    except DAMAGE as e:
        problems.append(f"{name}: damaged ({type(e).__name__}: {e})")
    return problems


def _recorded_digests(file: h5py.File) -> dict[str, str]:
    try:
        digests = json.loads(file.attrs["digests"])
    except (KeyError, ValueError, TypeError):
        return {}
    return digests if isinstance(digests, dict) else {}


def _attribute_problems(file: h5py.File, name: str) -> list[str]:
    digests = _recorded_digests(file)
    if "attributes" not in digests or json.dumps(digests) != file.attrs["digests"]:
        return [f"{name}: attribute 'digests' is missing or damaged"]
    if digests["attributes"] != attributes_digest(file):
        return [f"{name}: root attributes differ from their recorded digest"]
    return []


def _column_problems(
    file: h5py.File, name: str, header: DatasetHeader, progress: Progress
) -> list[str]:
    problems = _type_problems(file, name, header)
    if problems:
        return problems
    digests = _recorded_digests(file)
    for column in SMALL_COLUMNS:
        try:
            values = file[column][:]
        except OSError:
            problems.append(f"{name}: {column}: checksum error")
            continue
        if column == "branch" and (values >= len(BRANCHES)).any():
            problems.append(f"{name}: branch beyond its names")
        if column_digest(values) != digests.get(column):
            problems.append(f"{name}: {column} differs from its recorded digest")
    for column in IMAGES:
        problems += _image_problems(
            file[column], f"{name}: {column}", digests.get(column), progress
        )
    return problems


def _type_problems(file: h5py.File, name: str, header: DatasetHeader) -> list[str]:
    missing = [column for column in (*IMAGES, *SMALL_COLUMNS) if column not in file]
    if missing:
        return [f"{name}: no dataset {', '.join(missing)}"]
    if foreign := sorted(set(file) - {*IMAGES, *SMALL_COLUMNS}):
        return [f"{name}: holds {', '.join(foreign)}, which no dataset has"]
    rows = len(file["label"])
    depth = 8 * file["inputs"].dtype.itemsize
    types = SampleLayout(header.frames, header.patch, depth).row_types()
    del types["scene"]  # text of any length: checked below
    problems = [
        f"{name}: {column} is {file[column].shape} {file[column].dtype.str}, "
        f"expected {(rows, *shape)} {dtype.str}"
        for column, (shape, dtype) in types.items()
        if file[column].shape != (rows, *shape) or file[column].dtype != dtype
    ]
    # Older datasets name fewer branches: new ones are appended to `BRANCHES`.
    names = list(file["branch"].attrs.get("names", []))
    if not names or names != list(BRANCHES[: len(names)]):
        problems.append(f"{name}: attribute 'names' of branch is not {', '.join(BRANCHES)}")
    if file["scene"].shape != (rows,) or file["scene"].dtype.kind != "S":
        problems.append(f"{name}: scene is not {rows} fixed-length strings")
    return problems


def _image_problems(
    column: h5py.Dataset, label: str, expected: str | None, progress: Progress
) -> list[str]:
    """Compare the stored chunks with the recorded digest; check checksums and range by decoding."""
    digest, problems = hashlib.sha256(), []
    for row in range(len(column)):
        progress.step(0, False)
        try:
            _, stored = read_chunk(column, row)
            digest.update(stored)
            values = read_row(column, row)
        except (OSError, RuntimeError, ValueError):
            problems.append(f"{label}: sample {row}: checksum error or missing chunk")
            continue
        if column.dtype.kind == "f" and not ((values >= 0) & (values <= 1)).all():
            problems.append(f"{label}: sample {row}: radiance outside of 0..1 or not finite")
    if digest.hexdigest() != expected:
        problems.append(f"{label} differs from its recorded digest")
    return problems
