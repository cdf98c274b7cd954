"""Datasets as one: what they hold stays as it is, and the new one says where it came from."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

from labelgen.core.errors import UserError
from labelgen.core.progress import Progress
from labelgen.dataset.assemble import PART_BYTES
from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.header import DatasetHeader
from labelgen.dataset.reader import Dataset
from labelgen.share.derive import attributes_of, check_target, derivation_step, write_rows
from labelgen.share.rows import OpenDataset


def merge(
    paths: Sequence[Path],
    out: Path,
    *,
    part_bytes: int = PART_BYTES,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> None:
    """Write several datasets as one.

    Samples stay as they are stored; where one dataset has 8 bits and another 16, or they are
    compressed differently, those that differ from the result are stored anew without loss.
    Brackets whose names occur twice get the name of their dataset in front.

    Parameters
    ----------
    paths : sequence of Path
        Two or more datasets with the same frames, reference and patch.
    out : Path
        The dataset to write.
    part_bytes : int
        Size above which it is split, between brackets.
    overwrite : bool
        Replace a dataset that is there.
    progress : Progress, optional
        Told what happens.

    Raises
    ------
    UserError
        They don't go together, two are the same, or hold the same photos; `out` is there already.
    """
    if len(paths) < 2:
        raise UserError(f"{len(paths)} dataset to merge, expected two or more")
    with contextlib.ExitStack() as stack:
        datasets = [stack.enter_context(Dataset(path)) for path in paths]
        check_target(out, datasets, overwrite)
        _check_alike(datasets)
        _check_different(datasets)
        sources = [OpenDataset.of(data) for data in datasets]
        layouts = [s.layout for s in sources]
        first = layouts[0]
        depth = max(one.depth for one in layouts)
        layout = SampleLayout(first.frames, first.patch, depth, first.compress)
        prefixes = _prefixes(datasets)
        kept = [
            rows
            for source, prefix in zip(sources, prefixes, strict=True)
            for rows in source.runs(source.all, layout, prefix)
        ]
        attributes = _attributes(datasets, prefixes)
        write_rows(
            kept, out, attributes, part_bytes=part_bytes, overwrite=overwrite, progress=progress
        )


def _check_alike(datasets: Sequence[Dataset]) -> None:
    """Refuse datasets whose samples differ in shape or meaning."""
    one = datasets[0]
    for other in datasets[1:]:
        for name in ("frames", "reference", "patch"):
            has, wants = getattr(other.header, name), getattr(one.header, name)
            if has != wants:
                raise UserError(
                    f"{other.path}: {name} is {has}, {wants} in {one.path}; only datasets with the "
                    "same frames, reference and patch can be merged"
                )


def _check_different(datasets: Sequence[Dataset]) -> None:
    """Refuse datasets that hold the same: a network would see it twice, or in training and test."""
    for one, other in combinations(datasets, 2):
        if one.header.fingerprint == other.header.fingerprint:
            raise UserError(f"{other.path}: the same dataset as {one.path} (same fingerprint)")
    seen: dict[str, tuple[Dataset, str]] = {}
    for data in datasets:
        for name, photo in _photos(data.header):
            there, other_name = seen.setdefault(photo, (data, name))
            if there is not data:
                raise UserError(
                    f"{data.path}: '{name}' has a photo of '{other_name}' of {there.path}; "
                    "leave one out (build --exclude)"
                )


def _photos(header: DatasetHeader) -> Iterator[tuple[str, str]]:
    """Brackets that were used, with the SHA-256 of each of their frames."""
    for name, scene in header.scenes.items():
        for frame in scene.get("frames", ()) if "rejected" not in scene else ():
            yield name, frame.get("sha256", "")


def _prefixes(datasets: Sequence[Dataset]) -> list[str]:
    """What the names of brackets get in front, so that they differ: nothing, if they do."""
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
    return attributes_of(datasets[0]) | {
        "recipe": recipes[0] if all(r == recipes[0] for r in recipes) else {"name": "several"},
        "generator": _joined([(d.path.name, d.header.generator) for d in datasets]),
        "fingerprint": fingerprint,
        "scenes": {
            prefix + name: scene
            for header, prefix in zip(headers, prefixes, strict=True)
            for name, scene in header.scenes.items()
        },
        "responses": _responses(datasets),
        "license": _joined([(d.path.name, d.header.license) for d in datasets]),
        "citation": _joined([(d.path.name, d.header.citation) for d in datasets]),
        "options": {},
        "derived": [step],
    }


def _joined(texts: Sequence[tuple[str, str]]) -> str:
    """One text for all, if it is the same; or each with the name of its dataset."""
    if len({text for _, text in texts}) == 1:
        return texts[0][1]
    return "; ".join(f"{name}: {text or 'not stated'}" for name, text in texts)


def _responses(datasets: Sequence[Dataset]) -> dict[str, Any]:
    """Responses by camera; by camera and dataset where two found another for the same."""
    found: dict[str, Any] = {}
    for data in datasets:
        for camera, entry in data.header.responses.items():
            same = found.get(camera)
            if same is None:
                found[camera] = dict(entry)
            elif same == entry:  # of a dataset that was split, say
                continue
            elif {**same, "brackets": 0} == {**entry, "brackets": 0}:
                same["brackets"] += entry["brackets"]
            else:
                found[f"{camera} ({data.path.stem})"] = dict(entry)
    return found
