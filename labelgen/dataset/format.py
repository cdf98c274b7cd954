"""The dataset file, format version 1: flat, row-aligned HDF5 that h5py alone can read.

See docs/format.md. One sample is one chunk, and every chunk has a Fletcher-32 checksum. Above a
size limit a dataset is an index beside numbered parts. `labelgen.dataset.writer` makes such files.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_right
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.errors import UserError
from labelgen.core.validation import expect_integer, expect_object, expect_text, one_line
from labelgen.dataset.safe_hdf5 import (
    BITSHUFFLE,
    DEFLATE,
    MAX_TEXT,
    Refused,
    check_attributes,
    check_datasets,
    check_part_name,
    filter_ids,
    load_filters,
    open_hdf5,
    read_row,
)
from labelgen.dataset.schema import check_options, check_response, check_scene, check_step

VERSION = 1
IMAGES = ("inputs", "label", "weight")
"""Datasets with one sample a chunk; the others are small columns."""
COLUMNS = ("branch", "ev", "origin", "scene", "variant")
BRANCHES = ("static", "reference", "illumination", "truth", "pieces")
"""How a label was made; `branch` holds the index here. New ones are appended."""
DAMAGE = (
    KeyError,
    ValueError,
    TypeError,
    AttributeError,
    IndexError,
    OSError,
    RuntimeError,
    ArithmeticError,
    MemoryError,
)
"""What h5py, numpy and json raise on damaged files (RecursionError is a RuntimeError)."""
PIECE = 1 << 20
"""Characters of a text that are digested at once."""


@dataclass(frozen=True)
class SampleLayout:
    """Shapes and types of a dataset: frames, side of a patch, bits of the inputs, compression."""

    frames: int
    patch: int
    depth: int
    compress: str = "none"

    def images(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape of one sample and type of each image dataset."""
        codes = np.dtype(np.uint8 if self.depth == 8 else np.uint16)
        p = self.patch
        return {
            "inputs": ((self.frames, p, p, 3), codes),
            "label": ((p, p, 3), np.dtype(np.float16)),
            "weight": ((p, p), np.dtype(np.uint8)),
        }

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample before compression."""
        return sum(int(np.prod(shape)) * kind.itemsize for shape, kind in self.images().values())


def expected_columns(frames: int, patch: int, depth: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape of one row, and how its type begins as NumPy writes it, of every dataset."""
    images = SampleLayout(frames, patch, depth).images()
    return {name: (shape, kind.str) for name, (shape, kind) in images.items()} | {
        "ev": ((frames,), "<f4"),
        "origin": ((2,), "<i4"),
        "branch": ((), "|u1"),
        "variant": ((), "<u2"),
        "scene": ((), "|S"),
    }


def column_digest(values: Array) -> str:
    """SHA-256 of the values of a small column."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def attributes_digest(file: h5py.File) -> str:
    """SHA-256 of all root attributes but the digests themselves (`digest_of`)."""
    return digest_of(file.attrs)


def digest_of(attributes: Mapping[str, Any]) -> str:
    """SHA-256 of root attributes but `digests`, as JSON with sorted keys; bytes are UTF-8.

    Text is taken by pieces: of thousands of brackets it is long, and JSON of it longer.
    """
    digest, before = hashlib.sha256(b"{"), ""
    for name in sorted(attributes.keys() - {"digests"}):
        digest.update(f"{before}{json.dumps(name)}: ".encode())
        for piece in _as_json(_plain(attributes[name])):
            digest.update(piece.encode())
        before = ", "
    digest.update(b"}")
    return digest.hexdigest()


def _as_json(value: Any) -> Iterator[str]:
    if not isinstance(value, str | bytes):
        yield json.dumps(value)
        return
    utf8 = getincrementaldecoder("utf-8")()
    yield '"'
    for start in range(0, len(value), PIECE):
        piece = value[start : start + PIECE]
        yield json.dumps(utf8.decode(piece) if isinstance(piece, bytes) else piece)[1:-1]
    yield '"'


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


@dataclass(frozen=True)
class DatasetHeader:
    """Root attributes of a dataset, parsed."""

    frames: int
    reference: int
    patch: int
    recipe: dict[str, Any]
    scenes: dict[str, Any]
    responses: dict[str, Any]
    parts: list[dict[str, Any]]
    generator: str
    fingerprint: str
    license: str
    citation: str
    options: dict[str, Any]
    """Options of the build other than their defaults, for whoever builds it again."""
    derived: list[dict[str, Any]]
    """What made it of other datasets since they were built (`labelgen.share`), oldest first."""


def open_file(path: Path) -> h5py.File:
    """Open a file of a dataset for reading, after a look at what it holds.

    Raises
    ------
    UserError
        Missing, not HDF5, not by labelgen, of a later version, or made to do harm: it reaches
        outside of its folder or claims more than it holds.
    """
    file = open_hdf5(path)
    try:
        check_attributes(file)
        form, version = file.attrs.get("format"), file.attrs.get("format_version")
        if form != "labelgen":
            raise UserError(f"{path}: not a labelgen dataset (root attribute 'format' is missing)")
        if version != VERSION:
            raise UserError(
                f"{path}: format version {version}, this labelgen reads {VERSION}; update it"
            )
        check_datasets(file, (*IMAGES, *COLUMNS), path)
        load_filters(file, IMAGES, path)
    except Refused as e:
        file.close()
        raise UserError(f"{path}: {e}; refused, get it from its maker again") from e
    except DAMAGE as e:
        file.close()
        raise UserError(f"{path}: damaged ({one_line(e)}); copy or build it again") from e
    except UserError:
        file.close()
        raise
    return file


def read_dataset_header(path: Path) -> DatasetHeader:
    """The root attributes of a dataset.

    Raises
    ------
    UserError
        Not a dataset, or an attribute is missing or not of its form.
    """
    try:
        with open_file(path) as file:
            attributes = {k: _plain(v) for k, v in file.attrs.items()}
        # Of texts of variable length, as they usually are, HDF5 tells no size before.
        for name, value in attributes.items():
            if isinstance(value, str) and len(value) > MAX_TEXT:
                raise Refused(f"attribute {name!r} is larger than {MAX_TEXT >> 20} MiB")
        header = DatasetHeader(
            expect_integer(attributes["frames"], 1),
            expect_integer(attributes["reference"], 0),
            expect_integer(attributes["patch"], 1),
            expect_object(json.loads(attributes["recipe"])),
            expect_object(json.loads(attributes.get("scenes", "{}"))),
            expect_object(json.loads(attributes.get("responses", "{}"))),
            json.loads(attributes.get("parts", "[]")),
            expect_text(attributes["generator"]),
            expect_text(attributes["fingerprint"]),
            expect_text(attributes.get("license", "")),
            expect_text(attributes.get("citation", "")),
            expect_object(json.loads(attributes.get("options", "{}"))),
            [expect_object(step) for step in json.loads(attributes.get("derived", "[]"))],
        )
        _check_header(header, path)
    except Refused as e:
        raise UserError(f"{path}: {e}; refused") from e
    except DAMAGE as e:
        raise UserError(
            f"{path}: damaged root attributes ({one_line(e)}); copy or build it again"
        ) from e
    return header


def listed_parts(path: Path) -> list[dict[str, Any]]:
    """What an index says of its parts, without a look at what else it holds; [] of one file.

    Raises
    ------
    UserError, or one of `DAMAGE`
        Not a dataset, or a damaged one.
    """
    with open_file(path) as file:
        parts: list[dict[str, Any]] = json.loads(file.attrs.get("parts", "[]"))
    return parts


def _check_header(header: DatasetHeader, path: Path) -> None:
    """Refuse values that are not of their form, and parts that lead elsewhere."""
    if header.reference >= header.frames:
        raise ValueError(f"reference {header.reference} of {header.frames} frames")
    expect_text(header.recipe.get("name", ""))
    for scene in header.scenes.values():
        check_scene(scene)
    for entry in header.responses.values():
        check_response(entry)
    check_options(header.options)
    for step in header.derived:
        check_step(step)
    for part in header.parts:
        (
            expect_integer(part["rows"], 0),
            expect_integer(part["bytes"], 0),
            expect_text(part["sha256"]),
        )
        if Path(expect_text(part["file"])).name == part["file"]:  # readers refuse and report others
            check_part_name(path, part["file"])


class Dataset:
    """Read a dataset, whether one file or an index with parts, row by row.

    Parameters
    ----------
    path : Path
        The file that `labelgen build` was given.

    Raises
    ------
    UserError
        Not a dataset, or a part is missing, short, or of another dataset.

    Attributes
    ----------
    header : Header
        Its root attributes.
    files : list of h5py.File
        The file, or the parts in order.
    images : list of dict
        The HDF5 datasets of `IMAGES` of each of them, by name.

    Notes
    -----
    Open one per process; HDF5 handles do not survive a fork.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = read_dataset_header(path)
        self.files: list[h5py.File] = []
        for file in self._part_files():
            self.files.append(open_file(file))
        # Looking a dataset up by name on every read costs a third of the reading.
        try:
            self.images = [{name: f[name] for name in IMAGES} for f in self.files]
            counts = [self._rows_of(f) for f in self.files]
            depths = {images["inputs"].dtype for images in self.images}
            if len(depths) > 1:
                raise ValueError("its parts have inputs of several types")
        except DAMAGE as e:
            self.close()
            raise UserError(f"{path}: damaged ({one_line(e)}); 'labelgen verify' says more") from e
        self._first = [0, *accumulate(counts)]
        self._check_parts(counts)

    def _rows_of(self, file: h5py.File) -> int:
        """Rows of a file whose datasets all have the shapes and types of the format."""
        if odd := [n for n in (*IMAGES, *COLUMNS) if not isinstance(file.get(n), h5py.Dataset)]:
            raise ValueError(f"no dataset {odd[0]}")
        depth = 8 * file["inputs"].dtype.itemsize
        rows = len(file["label"])
        for name, (shape, kind) in expected_columns(
            self.header.frames, self.header.patch, depth
        ).items():
            found = file[name]
            if found.shape != (rows, *shape) or not found.dtype.str.startswith(kind):
                raise ValueError(
                    f"{name} is {found.shape} {found.dtype.str}, expected {(rows, *shape)}"
                )
        return rows

    def _part_files(self) -> list[Path]:
        names = [p["file"] for p in self.header.parts]
        for name in names:
            if Path(name).name != name:
                raise UserError(f"{self.path}: part '{name}' is not a file beside it; refused")
            if not (self.path.parent / name).is_file():
                raise UserError(f"{self.path.parent / name}: missing part of {self.path.name}")
        return [self.path.parent / name for name in names] or [self.path]

    def _check_parts(self, counts: list[int]) -> None:
        for part, file, rows in zip(self.header.parts, self.files, counts, strict=False):
            if rows != part["rows"]:
                raise UserError(
                    f"{file.filename}: {rows} samples, {part['rows']} expected; copy it again"
                )
            if file.attrs.get("fingerprint") != self.header.fingerprint:
                raise UserError(f"{file.filename}: part of another dataset than {self.path.name}")

    def __len__(self) -> int:
        return self._first[-1]

    @property
    def layout(self) -> SampleLayout:
        """How its samples are stored."""
        inputs = self.images[0]["inputs"]
        depth = 8 * inputs.dtype.itemsize
        return SampleLayout(self.header.frames, self.header.patch, depth, compression_of(inputs))

    def column(self, name: str) -> Array:
        """A small column of all rows: ev, scene, origin, branch or variant."""
        try:
            return np.concatenate([f[name][:] for f in self.files])
        except DAMAGE as e:
            raise UserError(
                f"{self.path}: {name} can't be read ({one_line(e)}); copy it again"
            ) from e

    def image(self, name: str, row: int) -> Array:
        """One row of inputs, label or weight."""
        part, local = self.place(row)
        return read_row(self.images[part][name], local)

    def place(self, row: int) -> tuple[int, int]:
        """Which of `files` a row lies in, and as which of its rows."""
        part = bisect_right(self._first, row) - 1
        return part, row - self._first[part]

    def rows(self, name: str) -> Iterator[Array]:
        """All rows of inputs, label or weight, in order."""
        return (self.image(name, i) for i in range(len(self)))

    def close(self) -> None:
        """Close all files."""
        for file in self.files:
            file.close()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def info(path: Path) -> dict[str, Any]:
    """What is inside a dataset.

    Parameters
    ----------
    path : Path
        Dataset file or index.

    Returns
    -------
    dict
        "samples", "frames", "reference", "patch", "depth", "branches" (samples by name),
        "scenes" (number used), "rejected" (reason by name), "responses" (by camera), "recipe",
        "compress", "parts", "bytes", "fingerprint", "generator", "license", "citation", "derived"
        (what made it of other datasets, if anything did).

    Raises
    ------
    UserError
        Not a dataset, or a part is missing.
    """
    try:
        with Dataset(path) as data:
            return _info(data, path)
    except DAMAGE as e:
        raise UserError(f"{path}: damaged ({e}); 'labelgen verify' says more") from e


def build_times_path(dataset: Path) -> Path:
    """The file beside a dataset that says how long its build took; the dataset holds no times."""
    return dataset.with_name(f"{dataset.stem}.times.json")


def _info(data: Dataset, path: Path) -> dict[str, Any]:
    header, layout = data.header, data.layout
    counts = np.bincount(data.column("branch"), minlength=len(BRANCHES))
    files = {path, *(Path(f.filename) for f in data.files)}
    return {
        "samples": len(data),
        "frames": header.frames,
        "reference": header.reference,
        "patch": header.patch,
        "depth": layout.depth,
        "branches": {n: int(c) for n, c in zip(BRANCHES, counts, strict=False) if c},
        "scenes": sum("rejected" not in s for s in header.scenes.values()),
        "rejected": {n: s["rejected"] for n, s in header.scenes.items() if "rejected" in s},
        "responses": header.responses,
        "recipe": header.recipe.get("name"),
        "compress": layout.compress,
        "parts": len(header.parts),
        "bytes": sum(f.stat().st_size for f in files),
        "fingerprint": header.fingerprint,
        "generator": header.generator,
        "license": header.license,
        "citation": header.citation,
        "derived": "; then ".join(map(_step_text, header.derived)),
    }


def _step_text(step: dict[str, Any]) -> str:
    return f"{step.get('by', '')} of {', '.join(s.get('file', '') for s in step.get('of', []))}"


def scene_runs(scenes: Array) -> Iterator[tuple[str, int, int]]:
    """Brackets of a column of names, as their rows stand together: name, first row, row after.

    Parameters
    ----------
    scenes : (N,) bytes
        Of the rows.
    """
    borders = np.flatnonzero(np.r_[True, scenes[1:] != scenes[:-1], True][: len(scenes) + 1])
    for first, end in pairwise(borders.tolist()):
        yield scene_name(scenes[first]), first, end


def scene_name(scene: bytes) -> str:
    """The name of a bracket, of a row of the column of names."""
    return bytes(scene).decode("utf-8", "replace")


def compression_of(dataset: h5py.Dataset) -> str:
    """The filter of a dataset, as `labelgen.pipeline.build.build` names it."""
    ids = filter_ids(dataset.id)
    return "bitshuffle" if BITSHUFFLE in ids else "gzip" if DEFLATE in ids else "none"
