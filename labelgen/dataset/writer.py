"""Write the dataset file from samples of brackets, chunk by chunk as they are stored.

Copying stored chunks joins forty times faster than decoding and encoding them, and the bytes of a
dataset do not depend on how many workers made the samples.
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
from labelgen.dataset.columns import BRANCHES, COLUMNS, IMAGES, SampleLayout
from labelgen.dataset.digests import column_digest, digest_of
from labelgen.dataset.shard import Chunks, compression_filters

COLUMN_ROWS = 4096
AHEAD = 16
"""Samples that may wait to be digested."""
INDEX = 1 << 20
"""Bytes of the index of chunks that are held."""


class Samples(Protocol):
    """Samples of one bracket to write: a shard (`Source`), or rows of a dataset."""

    @property
    def scene(self) -> str:
        """Name of the bracket."""

    @property
    def rows(self) -> int:
        """How many."""

    def columns(self) -> dict[str, Array]:
        """The small columns of the rows, but for `scene`."""

    def chunks(self) -> Iterator[Chunks]:
        """The samples, as stored in the layout of the dataset that is written."""

    def free(self) -> None:
        """Remove what was made only to be written."""


class Writer:
    """A dataset file that is written bracket by bracket, chunk by chunk as stored.

    Parameters
    ----------
    path : Path
        The file to write.
    layout : Layout
        Of all samples.
    scene_bytes : int
        Length of the longest scene name in UTF-8.
    """

    def __init__(self, path: Path, layout: SampleLayout, scene_bytes: int) -> None:
        self.rows, self._scene_bytes = 0, scene_bytes
        self._sources: list[tuple[str, int]] = []
        # As bytes: of thousands of brackets, each an array of its own would be most of it.
        self._columns = {name: bytearray() for name in COLUMNS if name != "scene"}
        self._kinds: dict[str, tuple[np.dtype[Any], tuple[int, ...]]] = {}
        # "earliest": readable by HDF5 1.8, and no times or addresses that differ between runs.
        self._file = h5py.File(path, "w", libver=("earliest", "v108"), locking=False)
        _bound_index(self._file)
        self._digests = _Digests()
        self._images: dict[str, h5py.Dataset] = {
            name: self._file.create_dataset(
                name,
                (0, *shape),
                kind,
                maxshape=(None, *shape),
                chunks=(1, *shape),
                **compression_filters(layout.compress),
            )
            for name, (shape, kind) in layout.images().items()
        }

    def append(self, source: Samples) -> None:
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
            self._columns[name] += values.tobytes()
            self._kinds[name] = values.dtype, values.shape[1:]
        self._sources.append((source.scene, source.rows))
        self.rows = end
        drop_page_cache(self._file.id.get_vfd_handle())

    def finish(self, attributes: dict[str, Any]) -> None:
        """Write the small columns, and root attributes; what is no number or string as JSON."""
        text = h5py.string_dtype("utf-8", self._scene_bytes)
        names = np.array([scene.encode() for scene, _ in self._sources], text)
        small: dict[str, Array] = {
            name: np.frombuffer(self._columns[name], kind).reshape(-1, *shape)
            for name, (kind, shape) in self._kinds.items()
        }
        small["scene"] = np.repeat(names, [rows for _, rows in self._sources])
        noted = self._digests.noted()
        for name in sorted(small):
            write_column(self._file, name, small[name])
            noted[name] = column_digest(small[name])
        self._file["branch"].attrs["names"] = list(BRANCHES)
        noted["attributes"] = write_attributes(self._file, attributes)
        self._file.attrs["digests"] = json.dumps(noted)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, finished or not."""
        self._digests.close()
        self._file.close()


class _Digests:
    """SHA-256 of every image dataset, by a thread beside the one that writes."""

    def __init__(self) -> None:
        self._digests = {name: hashlib.sha256() for name in IMAGES}
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()

    def update(self, chunks: Chunks) -> None:
        """Go on with the digests by a sample; not far ahead of what is digested."""
        self._waiting.append(self._thread.submit(self._digest, chunks))
        if len(self._waiting) > AHEAD:
            self._waiting.popleft().result()

    def _digest(self, chunks: Chunks) -> None:
        for name, (_, data) in chunks.items():
            self._digests[name].update(data)

    def noted(self) -> dict[str, str]:
        """The digests of all that was given."""
        for update in self._waiting:
            update.result()
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown(cancel_futures=True)


def _bound_index(file: h5py.File) -> None:
    """Have HDF5 hold little of the index of chunks: of a file that grows the end is enough.

    By itself it holds nearly all: 13 MB, not 7, of 60,000 samples. The bytes are the same.
    """
    settings = file.id.get_mdc_config()
    settings.set_initial_size = True
    settings.initial_size = settings.min_size = settings.max_size = INDEX
    settings.incr_mode = settings.flash_incr_mode = settings.decr_mode = 0  # off
    file.id.set_mdc_config(settings)


def write_column(file: h5py.File, name: str, values: Array) -> None:
    """Write a small column, 4,096 rows a chunk."""
    chunks = (min(COLUMN_ROWS, len(values)), *values.shape[1:])
    # At once: when Python lets go of a dataset, and HDF5 finds it a place in the file, a profiler
    # may delay, as Dask's does.
    file.create_dataset(name, data=values, chunks=chunks, fletcher32=True).flush()


def write_attributes(file: h5py.File, attributes: dict[str, Any]) -> str:
    """Write root attributes, and return their digest.

    What is no number or text is written as JSON. Text has variable length, since of fixed length
    64 KB are the most; bytes are UTF-8 already.
    """
    stored = {
        name: value if isinstance(value, int | str | bytes) else json.dumps(value)
        for name, value in sorted(attributes.items())  # as they are read again: bytes agree
    }
    for name, value in stored.items():
        if isinstance(value, bytes):
            file.attrs.create(name, value, dtype=h5py.string_dtype())
        else:
            file.attrs[name] = value
    return digest_of(stored)


def part_name(index: Path, number: int, count: int) -> str:
    """Name of a part: OUT-00000-of-00012.h5 beside OUT.h5."""
    return f"{index.stem}-{number:05d}-of-{count:05d}{index.suffix}"


def write_index(
    temporary: Path,
    parts: Sequence[dict[str, Any]],
    layout: SampleLayout,
    attributes: dict[str, Any],
    scene_bytes: int,
) -> None:
    """Write an index: the root attributes with `parts`, and the parts as virtual datasets.

    The virtual datasets are for people with h5py; they read a missing part as zeros, so `Dataset`
    goes by `parts`.
    """
    kinds: dict[str, tuple[tuple[int, ...], Any]] = {
        **layout.images(),
        "ev": ((layout.frames,), np.float32),
        "scene": ((), h5py.string_dtype("utf-8", scene_bytes)),
        "origin": ((2,), np.int32),
        "branch": ((), np.uint8),
        "variant": ((), np.uint16),
    }
    with h5py.File(temporary, "w", libver="earliest", locking=False) as out:
        for name, (shape, kind) in kinds.items():
            _create_virtual(out, name, shape, kind, parts)
        out["branch"].attrs["names"] = list(BRANCHES)
        digest = write_attributes(out, attributes | {"parts": list(parts)})
        out.attrs["digests"] = json.dumps({"attributes": digest})


def _create_virtual(
    out: h5py.File,
    name: str,
    shape: tuple[int, ...],
    kind: Any,
    parts: Sequence[dict[str, Any]],
) -> None:
    """One dataset over all parts. h5py's own way to make one notes the time in the file."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_obj_track_times(False)
    space = h5py.h5s.create_simple((sum(p["rows"] for p in parts), *shape))
    row = 0
    for part in parts:
        rows = (part["rows"], *shape)
        space.select_hyperslab((row, *(0,) * len(shape)), rows)
        there = h5py.h5s.create_simple(rows)
        settings.set_virtual(space, part["file"].encode(), name.encode(), there)
        row += part["rows"]
    space.select_all()
    stored = h5py.h5t.py_create(np.dtype(kind), logical=True)
    h5py.h5d.create(out.id, name.encode(), stored, space, settings)
