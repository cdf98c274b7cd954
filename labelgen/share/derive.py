"""Write a dataset of rows of others: whole or not at all, with a note of what it was made of."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from labelgen.core.errors import UserError
from labelgen.core.files import check_free_space
from labelgen.core.progress import Progress, Silent
from labelgen.dataset.assemble import PART_BYTES, assemble, check_parts, parts_of
from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.reader import Dataset
from labelgen.dataset.safe_hdf5 import MAX_TEXT
from labelgen.dataset.staging import (
    OutputState,
    check_output_name,
    staging_folder,
    staging_path,
)
from labelgen.share.rows import SelectedRows


def attributes_of(data: Dataset) -> dict[str, Any]:
    """The root attributes that a copy of a dataset has; JSON parsed."""
    with h5py.File(data.path, "r", locking=False) as file:
        kept = {k: v.item() if isinstance(v, np.generic) else v for k, v in file.attrs.items()}
    tables = "recipe", "scenes", "responses", "options", "derived"
    parsed = {name: getattr(data.header, name) for name in tables}
    return {k: parsed.get(k, v) for k, v in kept.items() if k not in ("parts", "part", "digests")}


def derivation_step(
    what: str, sources: Sequence[Dataset], settings: dict[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The fingerprint of a dataset that is made of others, and the step that it notes.

    Parameters
    ----------
    what : str
        The command: "merge", "split", "sample".
    sources : sequence of Dataset
        Which it is made of.
    settings : dict
        What else decides what is in it.
    """
    facts = [what, settings, [s.header.fingerprint for s in sources]]
    fingerprint = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    names = "fingerprint", "generator", "recipe", "license", "citation", "options", "derived"
    of = [
        {"file": s.path.name, "samples": len(s)} | {n: getattr(s.header, n) for n in names}
        for s in sources
    ]
    return fingerprint, {"by": what, **settings, "of": of}


def write_selection(
    kept: Sequence[SelectedRows], out: Path, what: str, settings: dict[str, Any], **how: Any
) -> None:
    """Write some rows of one dataset as another, with what is noted of their brackets.

    Parameters
    ----------
    kept : sequence of Kept
        Of one dataset, in the order of the new rows.
    out : Path
        The new dataset.
    what, settings
        As in `derivation_step`.
    **how
        As in `write_rows`.
    """
    data = kept[0].source.data
    fingerprint, step = derivation_step(what, [data], settings)
    attributes = attributes_of(data) | {
        "fingerprint": fingerprint,
        "scenes": scenes_of_rows(kept),
        "derived": [*data.header.derived, step],
    }
    write_rows(kept, out, attributes, **how)


def scenes_of_rows(kept: Sequence[SelectedRows]) -> dict[str, Any]:
    """What is noted of the brackets of some rows; their samples are counted again."""
    noted: dict[str, Any] = {}
    for rows in kept:
        entry = noted.setdefault(
            rows.scene, rows.source.data.header.scenes.get(rows.scene, {}) | {"branches": {}}
        )
        entry["branches"] = dict(Counter(entry["branches"]) + Counter(rows.branches))
    return noted


def write_rows(
    kept: Sequence[SelectedRows],
    out: Path,
    attributes: dict[str, Any],
    *,
    part_bytes: int = PART_BYTES,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write a dataset of rows of others; it is there whole or not at all.

    Parameters
    ----------
    kept : sequence of Kept
        In the order of the new rows, all for one layout.
    out : Path
        The new dataset.
    attributes : dict
        Its root attributes.
    part_bytes : int
        Size above which it is split, between brackets.
    overwrite : bool
        Replace a dataset that is there.
    progress : Progress, optional
        Told what happens.

    Raises
    ------
    UserError
        There is something already, or it is one of the sources; the disk is full; a sample is
        damaged.
    """
    check_target(out, [k.source.data for k in kept], overwrite)
    layout, begun = kept[0].layout, False
    _check_disk(kept, layout, out)
    _check_notes(attributes, out)
    try:
        with staging_folder(out, overwrite=True) as staging:
            begun, old = True, parts_of(out)
            tell, again = progress or Silent(), "give the same command again"
            assemble(kept, out, staging, layout, attributes, part_bytes, tell, again)
            for path in old - parts_of(out):
                path.unlink(missing_ok=True)
    finally:
        if begun:  # otherwise it is another's
            shutil.rmtree(staging_path(out), ignore_errors=True)


def remove(dataset: Path) -> None:
    """Remove a dataset with its parts."""
    for path in (*parts_of(dataset), dataset):
        path.unlink(missing_ok=True)


def check_target(out: Path, sources: Sequence[Dataset], overwrite: bool) -> None:
    """Refuse a file to write to that is there, is one of the sources, or can't be.

    Raises
    ------
    UserError
        It is.
    """
    check_output_name(out)
    mine = {path.resolve() for path in (out, *(parts_of(out) if out.exists() else ()))}
    for data in sources:
        if mine & {path.resolve() for path in (data.path, *(Path(f.filename) for f in data.files))}:
            raise UserError(f"{out}: is one of the datasets to read; give another name")
    state, staging = OutputState.of(out), staging_path(out)
    if state.is_begun:
        raise UserError(f"{staging}: an unfinished build; end it by 'build --resume' first")
    if state.has_staging and not overwrite:
        raise UserError(
            f"{staging}: left by what was interrupted, or in use; --overwrite starts anew"
        )
    check_parts(out)
    state.refuse_to_overwrite(resume=False, overwrite=overwrite)


def _check_notes(attributes: dict[str, Any], out: Path) -> None:
    """Refuse what no reader would take, before it is written."""
    for name, value in attributes.items():
        size = len(value if isinstance(value, str) else json.dumps(value))
        if size > MAX_TEXT:
            raise UserError(
                f"{out}: what it would note ({name}) has {size / 2**20:.0f} MiB, expected at most "
                f"{MAX_TEXT >> 20}; train on the datasets together instead"
            )


def _check_disk(kept: Sequence[SelectedRows], layout: SampleLayout, out: Path) -> None:
    needed = sum(k.rows for k in kept) * layout.sample_bytes
    if layout.compress != "none":  # as it was compressed before
        sources = {id(k.source): k.source.data for k in kept}.values()
        needed = min(needed, sum(Path(f.filename).stat().st_size for s in sources for f in s.files))
    check_free_space(out.parent, needed)
