"""A dataset in parts as one file, and back: the same samples, the same fingerprint."""

from __future__ import annotations

from pathlib import Path

from labelgen.core.errors import UserError
from labelgen.core.progress import Progress
from labelgen.dataset.assemble import PART_BYTES
from labelgen.dataset.reader import Dataset
from labelgen.share.derive import attributes_of, write_rows
from labelgen.share.rows import OpenDataset

WHOLE = 10**6 << 30
"""Bytes that no file has: the most that --part-size takes."""


def pack(
    path: Path,
    out: Path,
    *,
    part_bytes: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a dataset as one file, or in parts; samples are copied as they are stored.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    out : Path
        The file to write: with parts beside it, an index.
    part_bytes : int, optional
        Size above which it is split, between brackets; never by default.
    overwrite : bool
        Replace a dataset that is there.
    progress : Progress, optional
        Told what happens.

    Raises
    ------
    UserError
        `path` is no dataset or damaged; `out` is there already; the disk is full.
    """
    if part_bytes is not None and part_bytes < 1:
        raise UserError(f"--part-size is {part_bytes} bytes, expected at least 1")
    with Dataset(path) as data:
        source = OpenDataset.of(data)
        kept = source.runs(source.all, source.layout)
        size = part_bytes or WHOLE
        attributes = attributes_of(data)
        # As a build would note it that gives the same parts, or the same one file.
        others = {k: v for k, v in data.header.options.items() if k != "part_bytes"}
        usual = size == PART_BYTES or (size > PART_BYTES >= len(data) * source.layout.sample_bytes)
        attributes["options"] = others if usual else others | {"part_bytes": size}
        write_rows(
            kept,
            out,
            attributes,
            part_bytes=size,
            overwrite=overwrite,
            progress=progress,
        )
