"""Copy a dataset into one file or into parts: the same samples, the same fingerprint."""

from __future__ import annotations

from pathlib import Path

from labelgen.core.errors import UserError
from labelgen.core.progress import Progress, Silent
from labelgen.dataset.assemble import PART_BYTES
from labelgen.dataset.reader import Dataset
from labelgen.share.derive import UNLIMITED, WriteOptions, copy_attributes, write_rows
from labelgen.share.rows import OpenDataset


def pack(
    path: Path,
    out: Path,
    *,
    part_bytes: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Copy a dataset into one file, or into parts; samples stay as they are stored.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    out : Path
        The file to write; the index, if there are parts.
    part_bytes : int, optional
        Size above which it is split into parts, between brackets. By default it is one file.
    overwrite : bool
        Replace an existing dataset.
    progress : Progress, optional
        Reports the parts that are written.

    Raises
    ------
    UserError
        `path` is not a dataset or damaged, `out` exists, or the disk is full.
    """
    if part_bytes is not None and part_bytes < 1:
        raise UserError(f"--part-size is {part_bytes} bytes, expected at least 1")
    with Dataset(path) as data:
        source = OpenDataset.of(data)
        size = part_bytes or UNLIMITED
        attributes = copy_attributes(data)
        # The same as in a build with these parts: a build does not note the default size, which
        # also gives one file if all samples fit.
        build_options = {k: v for k, v in data.header.options.items() if k != "part_bytes"}
        fits_default = size > PART_BYTES >= len(data) * source.layout.sample_bytes
        if size != PART_BYTES and not fits_default:
            build_options["part_bytes"] = size
        attributes["options"] = build_options
        options = WriteOptions(size, overwrite, progress or Silent())
        write_rows(source.select_all(source.layout), out, attributes, options)
