"""Write a dataset from rows of others, with a record of what it was made from."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from labelgen.core.errors import UserError
from labelgen.core.files import check_free_space
from labelgen.core.progress import Progress, Silent
from labelgen.dataset.assemble import PART_BYTES, assemble, check_parts, parts_of
from labelgen.dataset.digests import as_python
from labelgen.dataset.reader import Dataset
from labelgen.dataset.safe_hdf5 import MAX_TEXT
from labelgen.dataset.staging import OutputState, check_output_name, staging_folder, staging_path
from labelgen.share.rows import SelectedRows

UNLIMITED = 10**6 << 30
"""Part size that no dataset reaches; the largest that --part-size takes."""


@dataclass(frozen=True)
class WriteOptions:
    """How a derived dataset is written; nothing here changes its samples."""

    part_bytes: int = PART_BYTES
    """Size above which it is split into parts, between brackets."""
    overwrite: bool = False
    """Whether to replace an existing dataset."""
    progress: Progress = field(default_factory=Silent)


def copy_attributes(data: Dataset) -> dict[str, Any]:
    """Return the root attributes that a copy of a dataset has, with JSON parsed."""
    with h5py.File(data.path, "r", locking=False) as file:
        attributes = {name: as_python(value) for name, value in file.attrs.items()}
    for name in ("parts", "part", "digests"):  # of the files, not of the dataset
        attributes.pop(name, None)
    for name in ("recipe", "scenes", "responses", "options", "derived"):
        if name in attributes:
            attributes[name] = getattr(data.header, name)
    return attributes


def derivation_step(
    command: str, sources: Sequence[Dataset], settings: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """Return the fingerprint of a derived dataset, and the entry for its attribute `derived`.

    Parameters
    ----------
    command : str
        "merge", "split" or "sample".
    sources : sequence of Dataset
        What it is made from.
    settings : dict
        Options of the command that decide what is in it.
    """
    facts = [command, settings, [source.header.fingerprint for source in sources]]
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    names = "fingerprint", "generator", "recipe", "license", "citation", "options", "derived"
    described = [
        {"file": source.path.name, "samples": len(source)}
        | {name: getattr(source.header, name) for name in names}
        for source in sources
    ]
    return fingerprint, {"by": command, **settings, "of": described}


def write_selection(
    selection: Sequence[SelectedRows],
    out: Path,
    command: str,
    settings: dict[str, Any],
    options: WriteOptions,
) -> None:
    """Write selected rows of one dataset as another, with the records of their brackets.

    Parameters
    ----------
    selection : sequence of SelectedRows
        Of one dataset, in the order of the new rows.
    out : Path
        The new dataset.
    command, settings
        As in `derivation_step`.
    options : WriteOptions
        How to write it.
    """
    data = selection[0].source.data
    fingerprint, step = derivation_step(command, [data], settings)
    attributes = copy_attributes(data) | {
        "fingerprint": fingerprint,
        "scenes": select_records(selection),
        "derived": [*data.header.derived, step],
    }
    write_rows(selection, out, attributes, options)


def select_records(selection: Sequence[SelectedRows]) -> dict[str, Any]:
    """Return the records of the brackets of selected rows, with their samples counted anew."""
    records: dict[str, Any] = {}
    for rows in selection:
        original = rows.source.data.header.scenes.get(rows.scene, {})
        record = records.setdefault(rows.scene, original | {"branches": {}})
        record["branches"] = dict(Counter(record["branches"]) + Counter(rows.branches))
    return records


def write_rows(
    selection: Sequence[SelectedRows],
    out: Path,
    attributes: dict[str, Any],
    options: WriteOptions,
) -> None:
    """Write a dataset from rows of others, completely or not at all.

    Parameters
    ----------
    selection : sequence of SelectedRows
        In the order of the new rows, all for one layout.
    out : Path
        The new dataset.
    attributes : dict
        Its root attributes.
    options : WriteOptions
        How to write it.

    Raises
    ------
    UserError
        The dataset exists or is one of the sources, the disk is full, or a sample is damaged.
    """
    check_target(out, [rows.source.data for rows in selection], options.overwrite)
    check_free_space(out.parent, _needed_bytes(selection))
    _check_attribute_sizes(attributes, out)
    staging: Path | None = None
    try:
        with staging_folder(out, overwrite=True) as staging:
            old_parts = parts_of(out)
            assemble(
                selection,
                out,
                staging,
                selection[0].layout,
                attributes,
                options.part_bytes,
                options.progress,
                remedy="give the same command again",
            )
            for path in old_parts - parts_of(out):
                path.unlink(missing_ok=True)
    finally:
        if staging is not None:  # otherwise the folder belongs to another process
            shutil.rmtree(staging, ignore_errors=True)


def remove_dataset(dataset: Path) -> None:
    """Remove a dataset with its parts."""
    for path in (*parts_of(dataset), dataset):
        path.unlink(missing_ok=True)


def check_target(out: Path, sources: Sequence[Dataset], overwrite: bool) -> None:
    """Refuse a name for a new dataset that can't be written, or not without --overwrite.

    Raises
    ------
    UserError
        The dataset exists, is one of the sources, is being written, or has no folder.
    """
    check_output_name(out)
    own = {path.resolve() for path in (out, *(parts_of(out) if out.exists() else ()))}
    for data in sources:
        if own & {path.resolve() for path in (data.path, *(Path(f.filename) for f in data.files))}:
            raise UserError(f"{out}: is one of the datasets to read; give another name")
    state = OutputState.of(out)
    if state.is_begun:
        raise UserError(
            f"{staging_path(out)}: an unfinished build; end it by 'build --resume' first"
        )
    if state.has_staging and not overwrite:
        raise UserError(
            f"{staging_path(out)}: left by what was interrupted, or in use; --overwrite starts anew"
        )
    check_parts(out)
    state.refuse_to_overwrite(resume=False, overwrite=overwrite)


def _check_attribute_sizes(attributes: dict[str, Any], out: Path) -> None:
    """Refuse attributes larger than readers accept, before anything is written."""
    for name, value in attributes.items():
        size = len(value if isinstance(value, str) else json.dumps(value))
        if size > MAX_TEXT:
            raise UserError(
                f"{out}: what it would note ({name}) has {size / 2**20:.0f} MiB, expected at most "
                f"{MAX_TEXT >> 20}; train on the datasets together instead"
            )


def _needed_bytes(selection: Sequence[SelectedRows]) -> int:
    """Return an upper bound of the size of the new dataset."""
    layout = selection[0].layout
    uncompressed = sum(rows.rows for rows in selection) * layout.sample_bytes
    if layout.compress == "none":
        return uncompressed
    sources = {id(rows.source): rows.source.data for rows in selection}.values()
    stored = sum(Path(f.filename).stat().st_size for data in sources for f in data.files)
    return min(uncompressed, stored)
