"""Check every byte of a dataset against what it says of itself."""

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
    """Read a dataset whole and say what is wrong with it.

    Every chunk is read and its checksum tested; shapes, types, row counts, the range and
    finiteness of the labels, the recorded digests of all datasets and attributes and, for an
    index, the SHA-256 of the parts are compared.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    progress : Progress, optional
        Told of every image that was read.

    Returns
    -------
    list of str
        One line for each thing that is wrong; empty if nothing is.

    Raises
    ------
    UserError
        Not a dataset at all.
    """
    header, tell = read_dataset_header(path), progress or Silent()
    try:
        if header.parts:
            wrong = verify_index(path, header)
            tell.start("verify", len(IMAGES) * sum(part["rows"] for part in header.parts))
            return wrong + [
                w for part in header.parts for w in verify_part(path.parent, part, header, tell)
            ]
        with open_file(path) as file:
            tell.start("verify", len(IMAGES) * _rows(file))
            return _attributes(file, path.name) + _file(file, path.name, header, tell)
    except DAMAGE as e:
        return [f"{path.name}: damaged ({type(e).__name__}: {e})"]


def _rows(file: h5py.File) -> int:
    """Samples of a file, whatever it may be; 0 if that can't be said."""
    label = file.get("label")
    return int(label.shape[0]) if isinstance(label, h5py.Dataset) and label.shape else 0


def verify_index(path: Path, header: DatasetHeader) -> list[str]:
    """What is wrong with an index itself, one line each; its parts are not looked at."""
    with open_file(path) as file:
        wrong = _attributes(file, path.name) + _shapes(file, path.name, header)
        rows = sum(part["rows"] for part in header.parts)
        if not wrong and len(file["label"]) != rows:
            wrong.append(f"{path.name}: shows {len(file['label'])} samples, its parts hold {rows}")
    return wrong


def verify_part(
    folder: Path, part: dict[str, Any], header: DatasetHeader, tell: Progress | None = None
) -> list[str]:
    """What is wrong with one part, as an index describes it, one line each."""
    name = part["file"]
    if Path(name).name != name:
        return [f"{name}: not a file beside the index; refused"]
    path = folder / name
    if not path.is_file():
        return [f"{name}: missing part"]
    wrong = []
    if path.stat().st_size != part["bytes"]:
        wrong.append(f"{name}: {path.stat().st_size} bytes, {part['bytes']} expected")
    if sha256(path) != part["sha256"]:
        wrong.append(f"{name}: SHA-256 differs from the one in the index")
    try:
        with open_file(path) as file:
            if file.attrs.get("fingerprint") != header.fingerprint:
                wrong.append(f"{name}: part of another dataset")
            if "label" in file and len(file["label"]) != part["rows"]:
                wrong.append(f"{name}: {len(file['label'])} samples, {part['rows']} expected")
            wrong += _attributes(file, name) + _file(file, name, header, tell or Silent())
    except UserError as e:
        wrong.append(str(e))
    except DAMAGE as e:
        wrong.append(f"{name}: damaged ({type(e).__name__}: {e})")
    return wrong


def _digests(file: h5py.File) -> dict[str, str]:
    try:
        digests = json.loads(file.attrs["digests"])
    except (KeyError, ValueError, TypeError):
        return {}
    return digests if isinstance(digests, dict) else {}


def _attributes(file: h5py.File, name: str) -> list[str]:
    digests = _digests(file)
    if "attributes" not in digests or json.dumps(digests) != file.attrs["digests"]:
        return [f"{name}: attribute 'digests' is missing or damaged"]
    if digests["attributes"] != attributes_digest(file):
        return [f"{name}: root attributes differ from their recorded digest"]
    return []


def _file(file: h5py.File, name: str, header: DatasetHeader, tell: Progress) -> list[str]:
    wrong = _shapes(file, name, header)
    if wrong:
        return wrong
    digests = _digests(file)
    for small in SMALL_COLUMNS:
        try:
            values = file[small][:]
        except OSError:
            wrong.append(f"{name}: {small}: checksum error")
            continue
        if small == "branch" and (values >= len(BRANCHES)).any():
            wrong.append(f"{name}: branch beyond its names")
        if column_digest(values) != digests.get(small):
            wrong.append(f"{name}: {small} differs from its recorded digest")
    for image in IMAGES:
        wrong += _image(file[image], f"{name}: {image}", digests.get(image), tell)
    return wrong


def _shapes(file: h5py.File, name: str, header: DatasetHeader) -> list[str]:
    missing = [d for d in (*IMAGES, *SMALL_COLUMNS) if d not in file]
    if missing:
        return [f"{name}: no dataset {', '.join(missing)}"]
    if foreign := sorted(set(file) - {*IMAGES, *SMALL_COLUMNS}):
        return [f"{name}: holds {', '.join(foreign)}, which no dataset has"]
    rows = len(file["label"])
    depth = 8 * file["inputs"].dtype.itemsize
    types = SampleLayout(header.frames, header.patch, depth).row_types()
    del types["scene"]  # see below
    wrong = [
        f"{name}: {column} is {file[column].shape} {file[column].dtype.str}, "
        f"expected {(rows, *shape)} {dtype.str}"
        for column, (shape, dtype) in types.items()
        if file[column].shape != (rows, *shape) or file[column].dtype != dtype
    ]
    # Earlier builds knew fewer branches, which have kept their numbers.
    names = list(file["branch"].attrs.get("names", []))
    if not names or names != list(BRANCHES[: len(names)]):
        wrong.append(f"{name}: attribute 'names' of branch is not {', '.join(BRANCHES)}")
    if file["scene"].shape != (rows,) or file["scene"].dtype.kind != "S":
        wrong.append(f"{name}: scene is not {rows} fixed-length strings")
    return wrong


def _image(dataset: h5py.Dataset, where: str, expected: str | None, tell: Progress) -> list[str]:
    """Every chunk as stored against the digest, and as decoded against checksum and range."""
    digest, wrong = hashlib.sha256(), []
    for row in range(len(dataset)):
        tell.step(0, False)
        try:
            _, stored = read_chunk(dataset, row)
            digest.update(stored)
            values = read_row(dataset, row)
        except (OSError, RuntimeError, ValueError):
            wrong.append(f"{where}: sample {row}: checksum error or missing chunk")
            continue
        if dataset.dtype.kind == "f" and not ((values >= 0) & (values <= 1)).all():
            wrong.append(f"{where}: sample {row}: radiance outside of 0..1 or not finite")
    if digest.hexdigest() != expected:
        wrong.append(f"{where} differs from its recorded digest")
    return wrong
