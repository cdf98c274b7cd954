"""Merge datasets into one, which records what it was made from."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from labelgen.core.errors import UserError
from labelgen.core.progress import Progress, Silent
from labelgen.dataset.assemble import PART_BYTES
from labelgen.dataset.header import DatasetHeader
from labelgen.dataset.reader import Dataset
from labelgen.share.derive import (
    WriteOptions,
    check_target,
    copy_attributes,
    derivation_step,
    write_rows,
)
from labelgen.share.rows import OpenDataset


def merge(
    paths: Sequence[Path],
    out: Path,
    *,
    part_bytes: int = PART_BYTES,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Merge datasets into one.

    Samples are copied as they are stored. If depth (8 or 16 bits) or compression differ, the
    result has the larger depth and the compression of the first dataset, and other samples are
    encoded anew, without loss. If any name of a bracket occurs twice, the name of each dataset is
    put before the names of its brackets.

    Parameters
    ----------
    paths : sequence of Path
        Two or more datasets with the same frames, reference and patch.
    out : Path
        The dataset to write.
    part_bytes : int
        Size above which it is split into parts, between brackets.
    overwrite : bool
        Replace an existing dataset.
    progress : Progress, optional
        Reports the parts that are written.

    Raises
    ------
    UserError
        The datasets differ in frames, reference or patch, two of them share a photo or are the
        same, or `out` exists.
    """
    if len(paths) < 2:
        raise UserError(f"{len(paths)} dataset to merge, expected two or more")
    with contextlib.ExitStack() as stack:
        datasets = [stack.enter_context(Dataset(path)) for path in paths]
        check_target(out, datasets, overwrite)
        _check_compatible(datasets)
        _check_disjoint(datasets)
        sources = [OpenDataset.of(data) for data in datasets]
        layout = replace(sources[0].layout, depth=max(source.layout.depth for source in sources))
        prefixes = _prefixes(datasets)
        selection = [
            rows
            for source, prefix in zip(sources, prefixes, strict=True)
            for rows in source.select_all(layout, prefix)
        ]
        options = WriteOptions(part_bytes, overwrite, progress or Silent())
        write_rows(selection, out, _attributes(datasets, prefixes), options)


def _check_compatible(datasets: Sequence[Dataset]) -> None:
    """Refuse datasets whose samples differ in shape or meaning."""
    first = datasets[0]
    for other in datasets[1:]:
        for name in ("frames", "reference", "patch"):
            value, expected = getattr(other.header, name), getattr(first.header, name)
            if value != expected:
                raise UserError(
                    f"{other.path}: {name} is {value}, {expected} in {first.path}; only datasets "
                    "with the same frames, reference and patch can be merged"
                )


def _check_disjoint(datasets: Sequence[Dataset]) -> None:
    """Refuse datasets that share photos: a later split could put them on both sides."""
    for one, other in combinations(datasets, 2):
        if one.header.fingerprint == other.header.fingerprint:
            raise UserError(f"{other.path}: the same dataset as {one.path} (same fingerprint)")
    owners: dict[str, tuple[Dataset, str]] = {}
    for data in datasets:
        for name, photo in _photos(data.header):
            owner, other_name = owners.setdefault(photo, (data, name))
            if owner is not data:
                raise UserError(
                    f"{data.path}: '{name}' has a photo of '{other_name}' of {owner.path}; "
                    "leave one out (build --exclude)"
                )


def _photos(header: DatasetHeader) -> Iterator[tuple[str, str]]:
    """Yield name of the bracket and SHA-256 of each frame that was used."""
    for name, scene in header.scenes.items():
        for frame in scene.get("frames", ()) if "rejected" not in scene else ():
            yield name, frame.get("sha256", "")


def _prefixes(datasets: Sequence[Dataset]) -> list[str]:
    """Return a prefix for the brackets of each dataset: empty if all names differ already."""
    names = Counter(name for data in datasets for name in data.header.scenes)
    if all(count == 1 for count in names.values()):
        return ["" for _ in datasets]
    stems = [data.path.stem for data in datasets]
    if len(set(stems)) == len(stems):
        return [f"{stem}/" for stem in stems]
    return [f"{k}-{stem}/" for k, stem in enumerate(stems, 1)]


def _attributes(datasets: Sequence[Dataset], prefixes: Sequence[str]) -> dict[str, Any]:
    headers = [data.header for data in datasets]
    recipes = [header.recipe for header in headers]
    fingerprint, step = derivation_step("merge", datasets, {})
    return copy_attributes(datasets[0]) | {
        "recipe": recipes[0] if all(r == recipes[0] for r in recipes) else {"name": "several"},
        "generator": _join_texts(datasets, [header.generator for header in headers]),
        "fingerprint": fingerprint,
        "scenes": {
            prefix + name: scene
            for header, prefix in zip(headers, prefixes, strict=True)
            for name, scene in header.scenes.items()
        },
        "responses": _merge_responses(datasets),
        "license": _join_texts(datasets, [header.license for header in headers]),
        "citation": _join_texts(datasets, [header.citation for header in headers]),
        "options": {},
        "derived": [step],
    }


def _join_texts(datasets: Sequence[Dataset], texts: Sequence[str]) -> str:
    """Return the text that all have in common, or each text after the name of its dataset."""
    if len(set(texts)) == 1:
        return texts[0]
    return "; ".join(
        f"{data.path.name}: {text or 'not stated'}"
        for data, text in zip(datasets, texts, strict=True)
    )


def _merge_responses(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """Return responses by camera; a second one of the same camera is named after its dataset."""
    merged: dict[str, Any] = {}
    for data in datasets:
        for camera, response in data.header.responses.items():
            known = merged.get(camera)
            if known is None:
                merged[camera] = dict(response)
            elif known == response:  # the datasets were split from one, say
                continue
            elif {**known, "brackets": 0} == {**response, "brackets": 0}:
                known["brackets"] += response["brackets"]
            else:
                merged[f"{camera} ({data.path.stem})"] = dict(response)
    return merged
