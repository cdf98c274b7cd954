"""Split a dataset for training and validation, with no scene on both sides."""

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
from labelgen.core.progress import Progress, Silent
from labelgen.dataset.assemble import PART_BYTES
from labelgen.dataset.header import DatasetHeader
from labelgen.dataset.reader import Dataset, scene_name
from labelgen.dataset.scene_hash import similar_scenes
from labelgen.share.derive import WriteOptions, check_target, remove_dataset, write_selection
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
    """Split a dataset into training and validation; all brackets of a scene are on one side.

    Brackets show the same scene if they share a photo, if their references look alike
    (`labelgen.dataset.scene_hash`, if the build recorded it), or by the rule `same`.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    training, validation : Path
        The datasets to write.
    share : float
        Approximate share of the samples for validation.
    seed : int
        Of the draw of scenes.
    same : str
        Regular expression. Brackets show the same scene if it finds the same text in their names
        (its first group, or all that it matches).
    part_bytes : int
        Size above which a dataset is split into parts, between brackets.
    overwrite : bool
        Replace existing datasets.
    progress : Progress, optional
        Reports the parts that are written.

    Returns
    -------
    dict
        "training" and "validation": scenes, each as a list of the names of its brackets.

    Raises
    ------
    UserError
        There is only one scene, `same` is not a regular expression, or a dataset exists.
    """
    if not 0 < share < 1:
        raise UserError(f"--share is {share}, expected more than 0 and less than 1")
    if training.resolve() == validation.resolve():
        raise UserError(f"{validation}: is to hold training and validation; give two names")
    with Dataset(path) as data:
        for out in (training, validation):
            check_target(out, [data], overwrite)
        source = OpenDataset.of(data)
        stored_names, bracket_of_row = np.unique(source.columns["scene"], return_inverse=True)
        names = [scene_name(stored) for stored in stored_names]
        scenes = group_by_scene(data.header, names, same)
        if len(scenes) < 2:
            raise UserError(f"{path}: all its brackets are of one scene, which can't be split")
        samples = dict(zip(names, np.bincount(bracket_of_row).tolist(), strict=True))
        held_out = _draw_scenes(scenes, samples, share, seed)
        held_out_names = {name for scene in held_out for name in scene}
        is_held_out = np.array([name in held_out_names for name in names])[bracket_of_row]
        settings = {"share": share, "seed": seed, "same": same}
        options = WriteOptions(part_bytes, overwrite, progress or Silent())
        for out, is_selected, side in (
            (training, ~is_held_out, "training"),
            (validation, is_held_out, "validation"),
        ):
            selection = source.select(np.flatnonzero(is_selected), source.layout)
            try:
                write_selection(selection, out, "split", settings | {"side": side}, options)
            except UserError:
                if side == "validation":  # one half alone would make the next attempt fail
                    remove_dataset(training)
                raise
    return {
        "training": [scene for scene in scenes if scene[0] not in held_out_names],
        "validation": held_out,
    }


def group_by_scene(header: DatasetHeader, names: Sequence[str], same: str = "") -> list[list[str]]:
    """Group brackets by the scene that they show.

    Parameters
    ----------
    header : DatasetHeader
        Of their dataset.
    names : sequence of str
        Names of the brackets.
    same : str
        As in `split`.

    Returns
    -------
    list of list of str
        Names by scene; every bracket is in one of the lists.
    """
    try:
        pattern = re.compile(same) if same else None
    except re.error as e:
        raise UserError(f"--same: '{same}' is no regular expression ({e})") from e
    names_by_key: dict[str, list[str]] = {}
    for name in names:
        record = header.scenes.get(name, {})
        keys = [f"photo {frame.get('sha256')}" for frame in record.get("frames", [])]
        match = pattern.search(name) if pattern else None
        if match and (text := match[1 if match.re.groups else 0]) is not None:
            keys.append(f"name {text}")
        for key in keys:
            names_by_key.setdefault(key, []).append(name)
    pairs = [pair for group in names_by_key.values() for pair in pairwise(group)]
    hashed = [name for name in names if header.scenes.get(name, {}).get("looks")]
    similar = similar_scenes([header.scenes[name]["looks"] for name in hashed])
    return _connect(names, [*pairs, *((hashed[i], hashed[j]) for i, j in similar)])


def _connect(names: Sequence[str], pairs: Sequence[tuple[str, str]]) -> list[list[str]]:
    """Return groups of names that pairs connect, in the order of their first members."""
    number = {name: i for i, name in enumerate(names)}
    ends = np.array([(number[a], number[b]) for a, b in pairs], int).reshape(-1, 2)
    graph = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), (len(names), len(names)))
    groups: dict[int, list[str]] = {}
    for name, label in zip(names, connected_components(graph, directed=False)[1], strict=True):
        groups.setdefault(int(label), []).append(name)
    return list(groups.values())


def _draw_scenes(
    scenes: Sequence[list[str]], samples: Mapping[str, int], share: float, seed: int
) -> list[list[str]]:
    """Draw scenes with about a share of the samples (counted by bracket): at least one, not all."""
    remaining, drawn = share * sum(samples.values()), list[list[str]]()

    # The order depends on names only, so that other datasets of the same brackets split alike.
    def random_key(scene: list[str]) -> bytes:
        return hashlib.sha256(f"{seed} {scene[0]}".encode()).digest()

    for scene in sorted(scenes, key=random_key):
        size = sum(samples[name] for name in scene)
        if len(drawn) < len(scenes) - 1 and (not drawn or size / 2 <= remaining):
            drawn.append(scene)
            remaining -= size
    return sorted(drawn)
