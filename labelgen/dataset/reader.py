"""The dataset file, format version 1: flat, row-aligned HDF5 that h5py alone can read.

See docs/format.md. One sample is one chunk, and every chunk has a Fletcher-32 checksum. Above a
size limit a dataset is an index beside numbered parts. `labelgen.dataset.writer` makes such files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, pairwise
from pathlib import Path

import h5py
import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.errors import UserError
from labelgen.core.validation import one_line
from labelgen.dataset.columns import COLUMNS, IMAGES, SampleLayout, expected_columns
from labelgen.dataset.header import open_file, read_dataset_header
from labelgen.dataset.safe_hdf5 import (
    BITSHUFFLE,
    DAMAGE,
    DEFLATE,
    filter_ids,
    read_row,
)


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
