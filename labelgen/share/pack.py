"""A dataset in parts as one file, and back: the same samples, the same fingerprint."""

from __future__ import annotations

from pathlib import Path

from labelgen.errors import UserError
from labelgen.format import Dataset
from labelgen.progress import Progress
from labelgen.share.remake import attributes_of, check_target, write_rows
from labelgen.share.rows import Opened

WHOLE = 1 << 62
"""Bytes that no file has."""


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
        check_target(out, [data], overwrite)
        source = Opened.of(data)
        kept = source.runs(source.all, source.layout)
        write_rows(
            kept,
            out,
            attributes_of(data),
            part_bytes=part_bytes or WHOLE,
            overwrite=overwrite,
            progress=progress,
        )
