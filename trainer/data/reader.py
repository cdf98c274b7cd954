"""Rows of a dataset, as fast as the disk gives them."""

from __future__ import annotations

import os
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from labelgen.dataset.columns import IMAGES
from labelgen.dataset.reader import Dataset
from labelgen.dataset.safe_hdf5 import filter_ids, read_row

CHECKSUM_ONLY = (h5py.h5z.FILTER_FLETCHER32,)
THROUGH_HDF5 = -1


class RowReader:
    """Read images of rows into arrays that are there already.

    HDF5 reads a row the first time, which checks its checksum: three quarters of the time that
    takes. From then on the same bytes come straight from the file, unless they are compressed.

    Parameters
    ----------
    data : Dataset
        Open.
    """

    def __init__(self, data: Dataset) -> None:
        self._data = data
        # Where in its file the bytes of a row lie; 0 is the header, so it stands for unknown.
        # THROUGH_HDF5 where they are compressed, and were found to be as many as a row has.
        self._at = {name: np.zeros(len(data), np.int64) for name in IMAGES}
        self._raw = [all(_stored_as_is(images[name]) for name in IMAGES) for images in data.images]
        self._open: dict[int, int] = {}

    def read(self, name: str, row: int, out: NDArray[Any]) -> None:
        """Fill `out`, contiguous and of the type and shape of one row, with a row of an image.

        Raises
        ------
        OSError
            The file can't be read, or its checksum is wrong.
        """
        part, local = self._data.locate(row)
        at = int(self._at[name][row])
        if at > 0:
            self._pread(part, at, out)
            return
        dataset = self._data.images[part][name]
        out[...] = dataset[local] if at == THROUGH_HDF5 else read_row(dataset, local)
        if self._raw[part]:
            chunk = dataset.id.get_chunk_info_by_coord((local, *(0,) * out.ndim))
            self._at[name][row] = chunk.byte_offset or 0  # None where nothing was written
        else:
            self._at[name][row] = THROUGH_HDF5

    def _pread(self, part: int, at: int, out: NDArray[Any]) -> None:
        if part not in self._open:
            self._open[part] = os.open(self._data.files[part].filename, os.O_RDONLY)
        if os.preadv(self._open[part], [out.data], at) != out.nbytes:
            raise OSError(f"{self._data.files[part].filename}: ends before its last sample")

    def close(self) -> None:
        """Close the files it opened."""
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


def _stored_as_is(dataset: h5py.Dataset) -> bool:
    """Whether the chunks of a dataset are its values, byte by byte, and a checksum."""
    return (
        hasattr(os, "preadv")
        and filter_ids(dataset.id) == CHECKSUM_ONLY
        and dataset.chunks == (1, *dataset.shape[1:])
        and dataset.dtype.isnative
        and dataset.file.userblock_size == 0
    )
