"""Write a dataset file from chunks that are stored elsewhere, small columns and attributes.

Copying stored chunks is forty times as fast as decoding and encoding them. It also makes the bytes
of a dataset independent of the number of workers that made its samples.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.files import drop_page_cache
from labelgen.dataset.chunks import Chunks, compression_filters
from labelgen.dataset.columns import BRANCHES, IMAGES, SMALL_COLUMNS, RowType, SampleLayout
from labelgen.dataset.digests import column_digest, digest_of

COLUMN_ROWS = 4096
"""Rows in a chunk of a small column."""
MAX_QUEUED = 16
"""Samples that may wait for their digests."""
INDEX_CACHE = 1 << 20
"""Bytes of the chunk index that HDF5 keeps in memory."""


class SampleSource(Protocol):
    """Samples of one bracket to write: a shard (`ShardSource`), or rows of a dataset."""

    @property
    def scene(self) -> str:
        """Name of the bracket."""

    @property
    def rows(self) -> int:
        """Number of samples."""

    def columns(self) -> dict[str, Array]:
        """Small columns of the samples, except `scene`."""

    def chunks(self) -> Iterator[Chunks]:
        """Chunks of each sample, encoded for the dataset that is written."""

    def free(self) -> None:
        """Remove temporary files: the samples are written."""


class Writer:
    """A dataset file that grows bracket by bracket.

    Parameters
    ----------
    path : Path
        The file to write.
    layout : SampleLayout
        Of all samples.
    scene_bytes : int
        Length of the longest name of a bracket, in UTF-8.
    """

    def __init__(self, path: Path, layout: SampleLayout, scene_bytes: int) -> None:
        self.rows, self._scene_bytes = 0, scene_bytes
        self._scenes: list[tuple[str, int]] = []
        types = layout.row_types()
        self._small_types: dict[str, RowType] = {
            name: types[name] for name in SMALL_COLUMNS if name != "scene"
        }
        # Bytes, since thousands of small arrays (one a bracket) would take far more memory.
        self._small = {name: bytearray() for name in self._small_types}
        # "earliest": readable by HDF5 1.8, and no times or addresses that differ between runs.
        self._file = h5py.File(path, "w", libver=("earliest", "v108"), locking=False)
        _limit_index_cache(self._file)
        self._digests = _ImageDigests()
        self._images: dict[str, h5py.Dataset] = {
            name: self._file.create_dataset(
                name,
                (0, *shape),
                dtype,
                maxshape=(None, *shape),
                chunks=(1, *shape),
                **compression_filters(layout.compress),
            )
            for name, (shape, dtype) in layout.images().items()
        }

    def append(self, source: SampleSource) -> None:
        """Write the samples of a bracket behind those of the others."""
        end = self.rows + source.rows
        for image in self._images.values():
            image.resize(end, 0)
        for row, chunks in zip(range(self.rows, end), source.chunks(), strict=True):
            for name, (mask, data) in chunks.items():
                image = self._images[name]
                image.id.write_direct_chunk((row, *(0,) * (image.ndim - 1)), data, mask)
            self._digests.update(chunks)
        for name, values in source.columns().items():
            self._small[name] += values.astype(self._small_types[name][1], copy=False).tobytes()
        self._scenes.append((source.scene, source.rows))
        self.rows = end
        drop_page_cache(self._file.id.get_vfd_handle())

    def finish(self, attributes: dict[str, Any]) -> None:
        """Write the small columns and the root attributes (`write_attributes`)."""
        text = h5py.string_dtype("utf-8", self._scene_bytes)
        names = np.array([scene.encode() for scene, _ in self._scenes], text)
        small: dict[str, Array] = {
            name: np.frombuffer(self._small[name], dtype).reshape(-1, *shape)
            for name, (shape, dtype) in self._small_types.items()
        }
        small["scene"] = np.repeat(names, [rows for _, rows in self._scenes])
        digests = self._digests.finish()
        for name in SMALL_COLUMNS:
            write_column(self._file, name, small[name])
            digests[name] = column_digest(small[name])
        self._file["branch"].attrs["names"] = list(BRANCHES)
        digests["attributes"] = write_attributes(self._file, attributes)
        self._file.attrs["digests"] = json.dumps(digests)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, finished or not."""
        self._digests.close()
        self._file.close()


class _ImageDigests:
    """SHA-256 of the stored chunks of each image column, computed in a thread beside the writer."""

    def __init__(self) -> None:
        self._hashes = {name: hashlib.sha256() for name in IMAGES}
        self._thread = ThreadPoolExecutor(1)
        self._queue: deque[Future[None]] = deque()

    def update(self, chunks: Chunks) -> None:
        """Queue the chunks of a sample; wait if too many are queued."""
        self._queue.append(self._thread.submit(self._digest, chunks))
        if len(self._queue) > MAX_QUEUED:
            self._queue.popleft().result()

    def _digest(self, chunks: Chunks) -> None:
        for name, (_, data) in chunks.items():
            self._hashes[name].update(data)

    def finish(self) -> dict[str, str]:
        """Return the digests once all queued chunks are in them."""
        for update in self._queue:
            update.result()
        return {name: digest.hexdigest() for name, digest in self._hashes.items()}

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)


def _limit_index_cache(file: h5py.File) -> None:
    """Limit HDF5's cache of the chunk index; a file that grows needs only the end of the index.

    By default nearly all of it stays in memory: 13 MB instead of 7 for 60,000 samples. The bytes
    of the file are the same.
    """
    settings = file.id.get_mdc_config()
    settings.set_initial_size = True
    settings.initial_size = settings.min_size = settings.max_size = INDEX_CACHE
    settings.incr_mode = settings.flash_incr_mode = settings.decr_mode = 0  # off
    file.id.set_mdc_config(settings)


def write_column(file: h5py.File, name: str, values: Array) -> None:
    """Write a small column, in chunks of `COLUMN_ROWS` rows."""
    chunks = (min(COLUMN_ROWS, len(values)), *values.shape[1:])
    # Flushed at once. Otherwise HDF5 gives it a place in the file when Python frees the object,
    # which a profiler such as Dask's may delay: the order in the file would differ.
    file.create_dataset(name, data=values, chunks=chunks, fletcher32=True).flush()


def write_attributes(file: h5py.File, attributes: dict[str, Any]) -> str:
    """Write root attributes and return their digest.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    attributes : dict
        Integers and texts are written as they are, bytes as text in UTF-8, anything else as JSON.
    """
    stored = {
        name: value if isinstance(value, int | str | bytes) else json.dumps(value)
        for name, value in sorted(attributes.items())  # in the order in which HDF5 lists them
    }
    for name, value in stored.items():
        if isinstance(value, bytes):  # of variable length, since fixed length ends at 64 KB
            file.attrs.create(name, value, dtype=h5py.string_dtype())
        else:
            file.attrs[name] = value
    return digest_of(stored)


def part_name(index: Path, number: int, count: int) -> str:
    """Return the name of a part of a dataset.

    Examples
    --------
    >>> part_name(Path("out.h5"), 0, 12)
    'out-00000-of-00012.h5'
    """
    return f"{index.stem}-{number:05d}-of-{count:05d}{index.suffix}"


def write_index(
    temporary: Path,
    parts: Sequence[dict[str, Any]],
    layout: SampleLayout,
    attributes: dict[str, Any],
    scene_bytes: int,
) -> None:
    """Write an index: root attributes with the list of parts, and columns that span the parts.

    The columns are virtual datasets, for people with h5py. HDF5 reads a missing part as zeros, so
    `Dataset` opens the listed parts instead.

    Parameters
    ----------
    temporary : Path
        The file to write.
    parts : sequence of dict
        "file", "rows", "bytes" and "sha256" of each part.
    layout, attributes, scene_bytes
        As in `Writer`.
    """
    with h5py.File(temporary, "w", libver="earliest", locking=False) as out:
        for name, (shape, dtype) in layout.row_types().items():
            stored = h5py.string_dtype("utf-8", scene_bytes) if name == "scene" else dtype
            _create_virtual(out, name, shape, stored, parts)
        out["branch"].attrs["names"] = list(BRANCHES)
        digest = write_attributes(out, attributes | {"parts": list(parts)})
        out.attrs["digests"] = json.dumps({"attributes": digest})


def _create_virtual(
    out: h5py.File,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    parts: Sequence[dict[str, Any]],
) -> None:
    """Create a column that spans all parts. `h5py.VirtualLayout` would store the current time."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_obj_track_times(False)
    space = h5py.h5s.create_simple((sum(p["rows"] for p in parts), *shape))
    row = 0
    for part in parts:
        part_shape = (part["rows"], *shape)
        space.select_hyperslab((row, *(0,) * len(shape)), part_shape)
        part_space = h5py.h5s.create_simple(part_shape)
        settings.set_virtual(space, part["file"].encode(), name.encode(), part_space)
        row += part["rows"]
    space.select_all()
    stored = h5py.h5t.py_create(dtype, logical=True)
    h5py.h5d.create(out.id, name.encode(), stored, space, settings)
