"""Read rows of a dataset as fast as the disk delivers them."""

from __future__ import annotations

import os
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from labelgen.dataset.columns import IMAGES
from labelgen.dataset.reader import Dataset
from labelgen.dataset.safe_hdf5 import filter_ids, read_row

UNCOMPRESSED_FILTERS = (h5py.h5z.FILTER_FLETCHER32,)
COMPRESSED = -1
"""Stands for the file offset of a row that only HDF5 can read."""


class RowReader:
    """Read images of rows into existing arrays.

    HDF5 reads a row the first time and verifies its checksum, which takes three quarters of that
    time. Later reads take the same bytes straight from the file, unless they are compressed.

    Parameters
    ----------
    data : Dataset
        An open dataset.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        # File offsets of rows that were read once. 0 is the header of a file, so it means unknown.
        self._offsets = {name: np.zeros(len(data), np.int64) for name in IMAGES}
        self._plain = [
            all(_is_stored_plain(images[name]) for name in IMAGES) for images in data.images
        ]
        self._descriptors: dict[int, int] = {}

    def read(self, name: str, row: int, out: NDArray[Any]) -> None:
        """Read a row of an image into `out`, contiguous and of the type and shape of one row.

        Raises
        ------
        OSError
            The file is unreadable, or the checksum of the row is wrong.
        """
        part, local = self._data.locate(row)
        offset = int(self._offsets[name][row])
        if offset > 0:
            self._pread(part, offset, out)
            return
        dataset = self._data.images[part][name]
        out[...] = dataset[local] if offset == COMPRESSED else read_row(dataset, local)
        if self._plain[part]:
            chunk = dataset.id.get_chunk_info_by_coord((local, *(0,) * out.ndim))
            self._offsets[name][row] = chunk.byte_offset or 0  # None if the row was never written
        else:
            self._offsets[name][row] = COMPRESSED

    def _pread(self, part: int, offset: int, out: NDArray[Any]) -> None:
        if part not in self._descriptors:
            self._descriptors[part] = os.open(self._data.files[part].filename, os.O_RDONLY)
        if os.preadv(self._descriptors[part], [out.data], offset) != out.nbytes:
            raise OSError(f"{self._data.files[part].filename}: ends before its last sample")

    def close(self) -> None:
        """Close the files that this reader opened."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()


def _is_stored_plain(dataset: h5py.Dataset) -> bool:
    """Whether each chunk of a dataset is the plain bytes of one row and a checksum."""
    return (
        hasattr(os, "preadv")
        and filter_ids(dataset.id) == UNCOMPRESSED_FILTERS
        and dataset.chunks == (1, *dataset.shape[1:])
        and dataset.dtype.isnative
        and dataset.file.userblock_size == 0
    )
