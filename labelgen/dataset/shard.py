"""The samples of one bracket on their way into a dataset: chunks as HDF5 stores them, in a row.

A plain file, for HDF5 may crash where a disk is full: it encodes samples in memory, and Python
writes them. Behind the chunks of all samples stands a table in JSON, and behind that its length.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import h5py
import numpy as np
from h5py.h5s import ALL

from labelgen.core.arrays import Array
from labelgen.core.errors import UserError
from labelgen.core.validation import PARSE_ERRORS
from labelgen.dataset.columns import IMAGES, SampleLayout
from labelgen.dataset.fletcher32 import SUM, has_valid_checksum, with_checksum
from labelgen.dataset.sample import Sample

COMPRESSION = ("none", "gzip", "bitshuffle")
LENGTH = 8
"""Bytes of the length of the table."""
JOINED = b"joined"
"""All that is left of a shard once it is in a part that is on the disk."""
SAMPLES_PER_FILE = 64
"""Samples after which the memory to encode in is given back, of which HDF5 makes holes."""


def compression_filters(compress: str) -> dict[str, Any]:
    """Arguments for h5py's create_dataset.

    Raises
    ------
    UserError
        bitshuffle is asked for and hdf5plugin is not installed.
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


Chunks: TypeAlias = dict[str, tuple[int, bytes]]
"""A sample as it is stored, by image: the mask of filters left out, and the bytes."""


def dataset_filters(dataset: h5py.Dataset) -> tuple[object, ...]:
    """The filters of a dataset with all of their settings: chunks of the same can be exchanged."""
    settings = dataset.id.get_create_plist()
    found = [settings.get_filter(k) for k in range(settings.get_nfilters())]
    return tuple((number, values) for number, _, values, _ in found)


class Encoder:
    """Samples as HDF5 stores them, made in memory; by HDF5 where they are compressed.

    Parameters
    ----------
    layout : Layout
        Of the dataset they are for.
    """

    def __init__(self, layout: SampleLayout) -> None:
        self.layout, self.made = layout, 0
        self._open()

    def _open(self) -> None:
        # Without a cache of chunks, so that what was written can be read as it is stored.
        self._memory = h5py.File(
            # HDF5 wants a name, though no file is made, and one for each that is open.
            uuid.uuid4().hex,
            "w",
            driver="core",
            backing_store=False,
            rdcc_nbytes=0,
        )
        self._images = {
            name: self._memory.create_dataset(
                name,
                (1, *shape),
                kind,
                chunks=(1, *shape),
                **compression_filters(self.layout.compress),
            )
            for name, (shape, kind) in self.layout.images().items()
        }

    def encode(self, sample: Mapping[str, Array]) -> Chunks:
        """The chunks of one sample, of its `inputs`, `label` and `weight`."""
        if self.layout.compress == "none":
            return {
                name: (0, with_checksum(np.asarray(sample[name], kind).tobytes()))
                for name, (_, kind) in self.layout.images().items()
            }
        if self.made and self.made % SAMPLES_PER_FILE == 0:
            self._memory.close()
            self._open()
        self.made += 1
        stored = {}
        for name, (shape, _) in self.layout.images().items():
            chunk = self._images[name].id
            # What `dataset[0] = ` does takes three times as long.
            chunk.write(ALL, ALL, np.ascontiguousarray(sample[name]).reshape(shape))
            stored[name] = chunk.read_direct_chunk((0,) * (1 + len(shape)))
        return stored

    def filters(self) -> list[tuple[object, ...]]:
        """How each image is filtered (`dataset_filters`)."""
        return [dataset_filters(dataset) for dataset in self._images.values()]

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()


class Shard:
    """The samples of one bracket, written as they come: what a build makes before it joins.

    Parameters
    ----------
    path : Path
        The file to write.
    layout : Layout
        Of the dataset it is for.
    """

    def __init__(self, path: Path, layout: SampleLayout) -> None:
        self.encoder, self.file = Encoder(layout), path.open("wb")
        self.chunks: list[list[tuple[int, int, int]]] = []
        self.origin: list[tuple[int, int]] = []
        self.branch: list[int] = []
        self.variant: list[int] = []

    def append(self, sample: Sample) -> None:
        """Add one sample.

        Raises
        ------
        OSError
            The disk is full, or fails.
        """
        chunks = self.encoder.encode({name: getattr(sample, name) for name in IMAGES})
        for _, data in chunks.values():
            self.file.write(data)
        self.chunks.append([(m, len(data), _checksum(data)) for m, data in chunks.values()])
        self.origin.append((sample.patch.y, sample.patch.x))
        self.branch.append(sample.patch.branch)
        self.variant.append(sample.variant)

    def __enter__(self) -> Shard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.encoder.close()
        with self.file:
            if error is None:
                names = "chunks", "origin", "branch", "variant"
                table = json.dumps({name: getattr(self, name) for name in names}).encode()
                self.file.write(table + len(table).to_bytes(LENGTH, "little"))


class StoredShard:
    """A shard that was written: its columns, and its samples as they are stored.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    columns : dict
        `origin` (N, 2) int32, `branch` (N,) uint8, `variant` (N,) uint16.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")
        end = self.file.seek(-LENGTH, 2)
        length = int.from_bytes(self.file.read(LENGTH), "little")
        self.file.seek(end - length)
        table: dict[str, Any] = json.loads(self.file.read(length))
        self.chunks: list[list[tuple[int, int, int]]] = table["chunks"]
        self.columns: dict[str, Array] = {
            "origin": np.array(table["origin"], np.int32).reshape(-1, 2),
            "branch": np.array(table["branch"], np.uint8),
            "variant": np.array(table["variant"], np.uint16),
        }

    def __iter__(self) -> Iterator[Chunks]:
        """Every sample, as stored."""
        self.file.seek(0)
        for stored in self.chunks:
            yield {
                name: (mask, self.file.read(size))
                for name, (mask, size, _) in zip(IMAGES, stored, strict=True)
            }

    def is_intact(self) -> bool:
        """Whether every chunk is as its checksum says, and that as the table says.

        Of zeros, as file systems leave what was never written, the checksum is 0, and right.
        """
        return all(
            has_valid_checksum(data) and _checksum(data) == checksum
            for chunks, stored in zip(self, self.chunks, strict=True)
            for (_, data), (*_, checksum) in zip(chunks.values(), stored, strict=True)
        )

    def __enter__(self) -> StoredShard:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def _checksum(stored: bytes) -> int:
    return int.from_bytes(stored[-SUM:], "little")


def is_shard_whole(path: Path, rows: int) -> bool:
    """Whether a shard of so many samples is there, and sound, or has been joined.

    Shards are not brought to the disk when they are written, so that a power cut can take of them
    what it likes.
    """
    try:
        if path.stat().st_size == len(JOINED) and path.read_bytes() == JOINED:
            return True
        with StoredShard(path) as shard:
            return len(shard.chunks) == rows and shard.is_intact()
    except (OSError, *PARSE_ERRORS):
        return False


@dataclass(frozen=True, slots=True)
class ShardSource:
    """A shard to join: its file, the name of its bracket, its rows and frames' exposures."""

    path: Path
    scene: str
    rows: int
    ev: tuple[float, ...]

    def columns(self) -> dict[str, Array]:
        """The small columns of its rows, but for the name of the bracket."""
        with StoredShard(self.path) as shard:
            return shard.columns | {"ev": np.tile(np.array(self.ev, np.float32), (self.rows, 1))}

    def chunks(self) -> Iterator[Chunks]:
        """Its samples, as stored."""
        with StoredShard(self.path) as shard:
            yield from shard

    def free(self) -> None:
        """Give back the room of what has been joined."""
        self.path.write_bytes(JOINED)
