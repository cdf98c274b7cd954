"""Encode samples as HDF5 stores them: one chunk per image column."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, TypeAlias

import h5py
import numpy as np
from h5py.h5s import ALL

from labelgen.core.arrays import Array
from labelgen.core.errors import UserError
from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.fletcher32 import with_checksum
from labelgen.dataset.safe_hdf5 import read_chunk

COMPRESSION = ("none", "gzip", "bitshuffle")
SAMPLES_PER_FILE = 64
"""The in-memory HDF5 file is replaced after this many samples. Freed chunks become holes in the
file, so it would grow."""
Chunks: TypeAlias = dict[str, tuple[int, bytes]]
"""A sample as it is stored: the mask of skipped filters and the bytes, by image column."""


def compression_filters(compress: str) -> dict[str, Any]:
    """Return the arguments of `h5py.Group.create_dataset` for a compression.

    Raises
    ------
    UserError
        `compress` is "bitshuffle", and hdf5plugin is not installed.
    """
    if compress == "gzip":
        return {"fletcher32": True, "compression": "gzip", "compression_opts": 1, "shuffle": True}
    if compress == "bitshuffle":
        try:
            import hdf5plugin
        except ImportError:
            raise UserError(
                "--compress bitshuffle needs hdf5plugin: pip install 'labelgen[codecs]'"
            ) from None
        return {"fletcher32": True, **hdf5plugin.Bitshuffle(cname="lz4")}
    return {"fletcher32": True}


def dataset_filters(dataset: h5py.Dataset) -> tuple[object, ...]:
    """Return the filters of a dataset with their settings.

    Chunks can be copied between datasets for which they are equal.
    """
    settings = dataset.id.get_create_plist()
    filters = [settings.get_filter(k) for k in range(settings.get_nfilters())]
    return tuple((number, values) for number, _, values, _ in filters)


class Encoder:
    """Encode samples in memory; compressed ones by HDF5, the others without it.

    Parameters
    ----------
    layout : SampleLayout
        Layout of the dataset that the samples are for.
    """

    def __init__(self, layout: SampleLayout) -> None:
        self.layout, self.encoded = layout, 0
        self._open()

    def _open(self) -> None:
        self._memory = h5py.File(
            uuid.uuid4().hex,  # no file is made, but open files must differ in name
            "w",
            driver="core",
            backing_store=False,
            rdcc_nbytes=0,  # no cache: written chunks must be there to be read as stored
        )
        self._images = {
            name: self._memory.create_dataset(
                name,
                (1, *shape),
                dtype,
                chunks=(1, *shape),
                **compression_filters(self.layout.compress),
            )
            for name, (shape, dtype) in self.layout.images().items()
        }

    def encode(self, sample: Mapping[str, Array]) -> Chunks:
        """Encode one sample.

        Parameters
        ----------
        sample : mapping
            Arrays by the name of the image column, of the shapes of the layout.
        """
        if self.layout.compress == "none":
            return {
                name: (0, with_checksum(np.asarray(sample[name], dtype).tobytes()))
                for name, (_, dtype) in self.layout.images().items()
            }
        if self.encoded and self.encoded % SAMPLES_PER_FILE == 0:
            self._memory.close()
            self._open()
        self.encoded += 1
        chunks = {}
        for name, (shape, _) in self.layout.images().items():
            dataset = self._images[name]
            # Three times as fast as `dataset[0] = `.
            dataset.id.write(ALL, ALL, np.ascontiguousarray(sample[name]).reshape(shape))
            chunks[name] = read_chunk(dataset, 0)
        return chunks

    def filters(self) -> list[tuple[object, ...]]:
        """Return the filters of each image column (`dataset_filters`)."""
        return [dataset_filters(dataset) for dataset in self._images.values()]

    def close(self) -> None:
        """Free the memory."""
        self._memory.close()
