"""Read a dataset, format version 1: flat, row-aligned HDF5 that h5py alone can read.

See docs/format.md. A dataset is one file, or an index beside numbered parts.
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
from labelgen.dataset.columns import IMAGES, SMALL_COLUMNS, SampleLayout, is_of_type
from labelgen.dataset.header import open_file, read_dataset_header
from labelgen.dataset.safe_hdf5 import BITSHUFFLE, DAMAGE, DEFLATE, filter_ids, read_row


class Dataset:
    """An open dataset, read row by row; whether it is one file or has parts makes no difference.

    Parameters
    ----------
    path : Path
        Dataset file or index.

    Raises
    ------
    UserError
        Not a dataset, or a part is missing, short, or of another dataset.

    Attributes
    ----------
    header : DatasetHeader
        Its root attributes.
    files : list of h5py.File
        The file, or its parts in order.
    images : list of dict
        For each file, its image columns as HDF5 datasets, by name.

    Notes
    -----
    Each process opens its own: HDF5 handles do not survive a fork.

    Examples
    --------
    Mean weight of each sample::

        with Dataset(Path("out.h5")) as data:
            means = [weight.mean() for weight in data.rows("weight")]
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = read_dataset_header(path)
        self.files: list[h5py.File] = []
        for file in self._part_files():
            self.files.append(open_file(file))
        try:
            # Looking a dataset up by name for every row would take a third of the reading time.
            self.images = [{name: f[name] for name in IMAGES} for f in self.files]
            counts = [self._count_rows(f) for f in self.files]
            depths = {images["inputs"].dtype for images in self.images}
            if len(depths) > 1:
                raise ValueError("its parts have inputs of several types")
        except DAMAGE as e:
            self.close()
            raise UserError(f"{path}: damaged ({one_line(e)}); 'labelgen verify' says more") from e
        self._first_rows = [0, *accumulate(counts)]
        self._check_parts(counts)

    def _count_rows(self, file: h5py.File) -> int:
        """Return the number of rows of a file, whose columns must have the types of the format."""
        for name in (*IMAGES, *SMALL_COLUMNS):
            if not isinstance(file.get(name), h5py.Dataset):
                raise ValueError(f"no dataset {name}")
        rows = len(file["label"])
        layout = SampleLayout(self.header.frames, self.header.patch, _depth(file["inputs"]))
        for name, (shape, dtype) in layout.row_types().items():
            column = file[name]
            if column.shape != (rows, *shape) or not is_of_type(column.dtype, dtype):
                raise ValueError(
                    f"{name} is {column.shape} {column.dtype.str}, expected {(rows, *shape)}"
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
        return self._first_rows[-1]

    @property
    def layout(self) -> SampleLayout:
        """Shapes, depth and compression of its samples."""
        inputs, header = self.images[0]["inputs"], self.header
        return SampleLayout(header.frames, header.patch, _depth(inputs), compression_of(inputs))

    def column(self, name: str) -> Array:
        """Return a small column of all rows.

        Parameters
        ----------
        name : str
            "ev" (N, F) float32 in stops, "scene" (N,) bytes, "origin" (N, 2) int32 (y, x in px),
            "branch" (N,) uint8 or "variant" (N,) uint16.

        Raises
        ------
        UserError
            Damaged.
        """
        try:
            return np.concatenate([f[name][:] for f in self.files])
        except DAMAGE as e:
            raise UserError(
                f"{self.path}: {name} can't be read ({one_line(e)}); copy it again"
            ) from e

    def image(self, name: str, row: int) -> Array:
        """Return one row of an image column.

        Parameters
        ----------
        name : str
            "inputs" (F, P, P, 3) uint8 or uint16 codes, "label" (P, P, 3) float16 radiance, or
            "weight" (P, P) uint8.
        row : int
            From 0.

        Raises
        ------
        OSError
            Damaged.
        """
        file, local_row = self.locate(row)
        return read_row(self.images[file][name], local_row)

    def locate(self, row: int) -> tuple[int, int]:
        """Return the index in `files` of the file that holds a row, and the row within it."""
        file = bisect_right(self._first_rows, row) - 1
        return file, row - self._first_rows[file]

    def rows(self, name: str) -> Iterator[Array]:
        """Iterate over all rows of an image column, in order."""
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
    """Group adjacent rows of the same bracket.

    Parameters
    ----------
    scenes : (N,) bytes
        The column `scene`.

    Yields
    ------
    str
        Name of the bracket.
    int
        Its first row.
    int
        The row after its last one.

    Examples
    --------
    >>> list(scene_runs(np.array([b"a", b"a", b"b"])))
    [('a', 0, 2), ('b', 2, 3)]
    """
    borders = np.flatnonzero(np.r_[True, scenes[1:] != scenes[:-1], True][: len(scenes) + 1])
    for first, end in pairwise(borders.tolist()):
        yield scene_name(scenes[first]), first, end


def scene_name(scene: bytes) -> str:
    """Return the name of a bracket, from a row of the column `scene`."""
    return bytes(scene).decode("utf-8", "replace")


def compression_of(dataset: h5py.Dataset) -> str:
    """Return the name of the compression of an HDF5 dataset, as option --compress has it."""
    ids = filter_ids(dataset.id)
    return "bitshuffle" if BITSHUFFLE in ids else "gzip" if DEFLATE in ids else "none"


def _depth(inputs: h5py.Dataset) -> int:
    return 8 * int(inputs.dtype.itemsize)
