"""Shards: the encoded samples of one bracket, in a temporary file, until the dataset is assembled.

A shard is not an HDF5 file, because HDF5 may crash if the disk is full. It holds the chunks of all
samples, then a table in JSON (position, branch and variant of each sample, size and checksum of
each chunk), then the length of the table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.validation import PARSE_ERRORS
from labelgen.dataset.chunks import Chunks, Encoder
from labelgen.dataset.columns import COLUMNS, IMAGES, SampleLayout
from labelgen.dataset.fletcher32 import has_valid_checksum, stored_checksum
from labelgen.dataset.sample import Sample

LENGTH_BYTES = 8
"""Bytes that hold the length of the table."""
JOINED = b"joined"
"""Content of a shard whose samples are in a finished part."""


SHARD_COLUMNS = ("origin", "branch", "variant")
"""Small columns in the table of a shard; the others are the same for all samples of a bracket."""


class Shard:
    """A shard that is written sample by sample; use as a context manager.

    Parameters
    ----------
    path : Path
        The file to write.
    layout : SampleLayout
        Of the dataset that the samples are for.
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
        self.chunks.append(
            [(mask, len(data), stored_checksum(data)) for mask, data in chunks.values()]
        )
        self.origin.append((sample.patch.y, sample.patch.x))
        self.branch.append(sample.patch.branch)
        self.variant.append(sample.variant)

    def __enter__(self) -> Shard:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.encoder.close()
        with self.file:
            if error is None:
                columns = {name: getattr(self, name) for name in SHARD_COLUMNS}
                table = json.dumps({"chunks": self.chunks} | columns).encode()
                self.file.write(table + len(table).to_bytes(LENGTH_BYTES, "little"))


class StoredShard:
    """A complete shard, opened for reading. Iteration yields the chunks of each sample.

    Parameters
    ----------
    path : Path
        The file.

    Attributes
    ----------
    columns : dict
        Small columns: `origin` (N, 2), `branch` (N,), `variant` (N,).
    chunks : list
        For each sample and image column: mask of skipped filters, bytes, checksum.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("rb")
        end = self.file.seek(-LENGTH_BYTES, 2)
        length = int.from_bytes(self.file.read(LENGTH_BYTES), "little")
        self.file.seek(end - length)
        table: dict[str, Any] = json.loads(self.file.read(length))
        self.chunks: list[list[tuple[int, int, int]]] = table["chunks"]
        self.columns: dict[str, Array] = {
            name: np.array(table[name], COLUMNS[name].dtype) for name in SHARD_COLUMNS
        }

    def __iter__(self) -> Iterator[Chunks]:
        self.file.seek(0)
        for entries in self.chunks:
            yield {
                name: (mask, self.file.read(size))
                for name, (mask, size, _) in zip(IMAGES, entries, strict=True)
            }

    def is_intact(self) -> bool:
        """Whether every chunk has the checksum that it carries and that the table lists.

        The table matters because a chunk of zeros, which a file system may leave in place of what
        was never written, carries the right checksum: 0.
        """
        return all(
            has_valid_checksum(data) and stored_checksum(data) == checksum
            for chunks, entries in zip(self, self.chunks, strict=True)
            for (_, data), (*_, checksum) in zip(chunks.values(), entries, strict=True)
        )

    def __enter__(self) -> StoredShard:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()


def is_shard_whole(path: Path, rows: int) -> bool:
    """Whether a shard has its samples intact, or was joined to a finished part.

    Shards are not forced to disk when they are written, so a power cut may have damaged them.
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
    """A shard as a source of samples for a dataset (`SampleSource`)."""

    path: Path
    scene: str
    """Name of the bracket."""
    rows: int
    """Number of samples."""
    ev: tuple[float, ...]
    """Exposures of the frames, in stops relative to the shortest."""

    def columns(self) -> dict[str, Array]:
        """Small columns of the samples, except `scene`."""
        with StoredShard(self.path) as shard:
            return shard.columns | {"ev": np.tile(np.array(self.ev, np.float32), (self.rows, 1))}

    def chunks(self) -> Iterator[Chunks]:
        """Chunks of each sample."""
        with StoredShard(self.path) as shard:
            yield from shard

    def free(self) -> None:
        """Free the disk space of the samples: they are in a finished part."""
        self.path.write_bytes(JOINED)
