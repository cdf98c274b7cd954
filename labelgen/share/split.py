"""A dataset in two, for training and validation, with no scene on both sides."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from labelgen.core.errors import UserError
from labelgen.core.progress import Progress
from labelgen.dataset.assemble import PART_BYTES
from labelgen.dataset.header import DatasetHeader
from labelgen.dataset.reader import Dataset, scene_name
from labelgen.dataset.scene_hash import similar_scenes
from labelgen.share.derive import check_target, remove, write_selection
from labelgen.share.rows import OpenDataset


def split(
    path: Path,
    training: Path,
    validation: Path,
    *,
    share: float = 0.1,
    seed: int = 0,
    same: str = "",
    part_bytes: int = PART_BYTES,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, list[list[str]]]:
    """Split a dataset between scenes, of which each falls on one side with all its brackets.

    Brackets are of one scene if they share a photo, if their references look alike
    (`labelgen.dataset.scene_hash`; where a build noted it), or if `same` says so.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    training, validation : Path
        The datasets to write.
    share : float
        Of the samples, that are for validation, about.
    seed : int
        Which scenes are drawn.
    same : str
        Regular expression: brackets whose names it finds the same text in (its first group, or
        all it matches) are of one scene.
    part_bytes : int
        Size above which a dataset is split into parts.
    overwrite : bool
        Replace datasets that are there.
    progress : Progress, optional
        Told what happens.

    Returns
    -------
    dict
        "training" and "validation": the scenes of each, as lists of brackets.

    Raises
    ------
    UserError
        There is one scene alone; `same` is no regular expression; a file is there already.
    """
    if not 0 < share < 1:
        raise UserError(f"--share is {share}, expected more than 0 and less than 1")
    if training.resolve() == validation.resolve():
        raise UserError(f"{validation}: is to hold training and validation; give two names")
    with Dataset(path) as data:
        for out in (training, validation):
            check_target(out, [data], overwrite)
        source = OpenDataset.of(data)
        stored, numbers = np.unique(source.columns["scene"], return_inverse=True)
        names = [scene_name(s) for s in stored]
        scenes = scenes_of(data.header, names, same)
        if len(scenes) < 2:
            raise UserError(f"{path}: all its brackets are of one scene, which can't be split")
        samples = dict(zip(names, np.bincount(numbers).tolist(), strict=True))
        held = _drawn(scenes, samples, share, seed)
        of_held = {name for scene in held for name in scene}
        is_held = np.array([name in of_held for name in names])[numbers]
        settings = {"share": share, "seed": seed, "same": same}
        how = {"part_bytes": part_bytes, "overwrite": overwrite, "progress": progress}
        for out, taken, side in (
            (training, ~is_held, "training"),
            (validation, is_held, "validation"),
        ):
            kept = source.runs(np.flatnonzero(taken), source.layout)
            try:
                write_selection(kept, out, "split", settings | {"side": side}, **how)
            except UserError:
                if side == "validation":  # one half alone would stand in the way of the next try
                    remove(training)
                raise
    return {"training": [s for s in scenes if s[0] not in of_held], "validation": held}


def scenes_of(header: DatasetHeader, names: Sequence[str], same: str = "") -> list[list[str]]:
    """Brackets by the scene that they show.

    Parameters
    ----------
    header : Header
        Of their dataset.
    names : sequence of str
        Of the brackets.
    same : str
        As in `split`.

    Returns
    -------
    list of list of str
        Every bracket is in one of them.
    """
    try:
        pattern = re.compile(same) if same else None
    except re.error as e:
        raise UserError(f"--same: '{same}' is no regular expression ({e})") from e
    together: dict[str, list[str]] = {}
    for name in names:
        entry = header.scenes.get(name, {})
        keys = [f"photo {frame.get('sha256')}" for frame in entry.get("frames", [])]
        found = pattern.search(name) if pattern else None
        if found and (text := found[1 if found.re.groups else 0]) is not None:
            keys.append(f"name {text}")
        for key in keys:
            together.setdefault(key, []).append(name)
    pairs = [pair for group in together.values() for pair in pairwise(group)]
    looking = [n for n in names if header.scenes.get(n, {}).get("looks")]
    seen = similar_scenes([header.scenes[n]["looks"] for n in looking])
    return _connected(names, [*pairs, *((looking[i], looking[j]) for i, j in seen)])


def _connected(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Names that pairs connect, together, in the order of the first of them."""
    number = {name: i for i, name in enumerate(names)}
    ends = np.array([(number[a], number[b]) for a, b in pairs], int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (len(names), len(names)))
    groups: dict[int, list[str]] = {}
    for name, label in zip(names, connected_components(graph, directed=False)[1], strict=True):
        groups.setdefault(int(label), []).append(name)
    return list(groups.values())


def _drawn(
    scenes: Sequence[list[str]], samples: Mapping[str, int], share: float, seed: int
) -> list[list[str]]:
    """Scenes with about a share of the samples, counted by bracket; one at least, not all."""
    wanted, held = share * sum(samples.values()), list[list[str]]()

    # By their names alone, so that other datasets of the same brackets are split alike.
    def chance(scene: list[str]) -> bytes:
        return hashlib.sha256(f"{seed} {scene[0]}".encode()).digest()

    for scene in sorted(scenes, key=chance):
        size = sum(samples[name] for name in scene)
        if len(held) < len(scenes) - 1 and (not held or size / 2 <= wanted):
            held.append(scene)
            wanted -= size
    return sorted(held)
