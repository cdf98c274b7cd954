"""The columns of a dataset file: name, type, and shape of one row.

A column is an HDF5 dataset with one row per sample; `docs/format.md` says what each one means. An
image column has one sample per chunk. The others are small and have many rows per chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from labelgen.core.arrays import Array

BRANCHES = ("static", "reference", "illumination", "truth", "pieces")
"""Ways to make a label. The column `branch` holds an index into this tuple, so it may only grow at
its end."""
TRUSTED_WEIGHT = 128
"""Weight (0 to 255) from which on a pixel counts as trusted in figures and choices."""


class Column(NamedTuple):
    """Type and shape of one row of a column."""

    dtype: str
    """NumPy dtype. "codes" stands for uint8 or uint16, by the depth of the dataset. "S" stands for
    UTF-8 text, as many bytes as the longest name has."""
    shape: tuple[str | int, ...]
    """Shape of one row. "frames" and "patch" stand for those sizes of the `SampleLayout`."""
    is_image: bool = False
    """Whether one sample is one chunk."""


COLUMNS = {
    "inputs": Column("codes", ("frames", "patch", "patch", 3), is_image=True),
    "label": Column("<f2", ("patch", "patch", 3), is_image=True),
    "weight": Column("|u1", ("patch", "patch"), is_image=True),
    "ev": Column("<f4", ("frames",)),
    "scene": Column("S", ()),
    "origin": Column("<i4", (2,)),
    "branch": Column("|u1", ()),
    "variant": Column("<u2", ()),
}
"""All columns, in the order in which an index creates them."""
IMAGES = tuple(name for name, column in COLUMNS.items() if column.is_image)
"""Names of the image columns."""
SMALL_COLUMNS = tuple(sorted(set(COLUMNS) - set(IMAGES)))
"""Names of the other columns, in the order in which they are written after the images."""

RowType: TypeAlias = "tuple[tuple[int, ...], np.dtype[Any]]"
"""Shape and dtype of one row."""


@dataclass(frozen=True)
class SampleLayout:
    """Sizes that all samples of a dataset share. They determine shape and dtype of every column.

    Examples
    --------
    >>> SampleLayout(frames=3, patch=64, depth=16).row_types()["inputs"]
    ((3, 64, 64, 3), dtype('uint16'))
    """

    frames: int
    """Frames of a sample."""
    patch: int
    """Side of a patch (px)."""
    depth: int
    """Bits of the codes of `inputs`: 8 or 16."""
    compress: str = "none"
    """Compression of the images, one of `labelgen.dataset.chunks.COMPRESSION`."""

    def row_types(self) -> dict[str, RowType]:
        """Return shape and dtype of one row of every column, in the order of `COLUMNS`."""
        sizes = {"frames": self.frames, "patch": self.patch}
        codes = "|u1" if self.depth == 8 else "<u2"
        return {
            name: (
                tuple(sizes[n] if isinstance(n, str) else n for n in column.shape),
                np.dtype(codes if column.dtype == "codes" else column.dtype),
            )
            for name, column in COLUMNS.items()
        }

    def images(self) -> dict[str, RowType]:
        """Return shape and dtype of one row of every image column."""
        types = self.row_types()
        return {name: types[name] for name in IMAGES}

    @property
    def sample_bytes(self) -> int:
        """Bytes of the images of one sample before compression."""
        return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in self.images().values())


def count_branches(branch: Array) -> dict[str, int]:
    """Count the samples of each branch.

    Parameters
    ----------
    branch : (N,) uint8
        The column `branch`.

    Returns
    -------
    dict of str to int
        Numbers of samples by the names in `BRANCHES`, in that order; branches without any are left
        out.

    Examples
    --------
    >>> count_branches(np.array([1, 0, 1], np.uint8))
    {'static': 1, 'reference': 2}
    """
    counts = np.bincount(branch, minlength=len(BRANCHES))
    return {name: int(n) for name, n in zip(BRANCHES, counts, strict=False) if n}


def is_of_type(dtype: np.dtype[Any], expected: np.dtype[Any]) -> bool:
    """Whether a column has the expected dtype. A text ("S") may have any length."""
    return dtype == expected or dtype.kind == expected.kind == "S"
