"""Replace the damaged parts of a dataset: build them again from their brackets."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path

from labelgen.calibration.known_responses import load_responses
from labelgen.core.errors import UserError
from labelgen.core.files import atomic_rename
from labelgen.core.progress import Progress, Silent
from labelgen.core.recipe import Recipe
from labelgen.dataset.header import DatasetHeader, open_file, read_dataset_header
from labelgen.dataset.part import Part
from labelgen.dataset.reader import compression_of
from labelgen.dataset.safe_hdf5 import DAMAGE
from labelgen.dataset.staging import OutputState, staging_folder, staging_path
from labelgen.dataset.verify import verify_index, verify_part
from labelgen.discovery.select import find_brackets
from labelgen.pipeline.executor import parallel_map
from labelgen.pipeline.options import BuildOptions
from labelgen.pipeline.plan import Plan, shard_source
from labelgen.pipeline.stages import BuildContext, make_brackets, survey_brackets


def repair(
    path: Path,
    raw: Path,
    *,
    groups: Path | None = None,
    response: str = "auto",
    bayer: str = "",
    jobs: int | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Build the parts of a dataset again that are missing, or that differ from the index.

    A part replaces the damaged one only if its bytes have the digest that the index lists.

    Parameters
    ----------
    path : Path
        The index of a dataset in parts.
    raw : Path
        Folder of the brackets that it was built from.
    groups, response, bayer
        Options of the build (`labelgen.pipeline.options.BuildOptions`).
    jobs : int, optional
        Workers; all cores by default.
    progress : Progress, optional
        Receives progress and remarks. By default nothing is shown.

    Returns
    -------
    list of str
        File names of the parts that were replaced; empty if no part is damaged.

    Raises
    ------
    UserError
        The index itself is damaged, the dataset is a single file, or it was built from other
        brackets, options or versions.
    """
    progress, header = progress or Silent(), read_dataset_header(path)
    if not header.parts:
        raise UserError(f"{path}: is one file, which can't be mended; 'build --overwrite' it")
    if header.derived:
        raise UserError(
            f"{path}: was made of other datasets; mend those, and make it of them again"
        )
    if wrong := verify_index(path, header):
        raise UserError(f"{wrong[0]}: the index can't be mended; 'build --overwrite' it")
    damaged = {
        part["file"]: k
        for k, part in enumerate(header.parts)
        if verify_part(path.parent, part, header)
    }
    if not damaged:
        return []
    if OutputState.of(path).has_staging:
        raise UserError(
            f"{staging_path(path)}: an unfinished build; end it by 'build --resume' first"
        )
    executor = partial(parallel_map, jobs=jobs)
    try:
        with staging_folder(path, overwrite=False) as staging:
            context = BuildContext(staging, executor, progress)
            options = BuildOptions(groups=groups, response=response, bayer=bayer)
            plan = _plan(path, header, raw, options, context)
            _make_parts(path, header, plan, damaged, context)
    finally:
        shutil.rmtree(staging_path(path), ignore_errors=True)
    return list(damaged)


def _make_parts(
    path: Path,
    header: DatasetHeader,
    plan: Plan,
    damaged: Mapping[str, int],
    context: BuildContext,
) -> None:
    """Make the damaged parts, a mapping of file name to number, and move them to their places."""
    scenes = _scenes_of_parts(path, header)
    wanted = {name for number in damaged.values() for name in scenes[number]}
    surveys = plan.usable.select([i for i, s in enumerate(plan.usable) if s.name in wanted])
    task = plan.task(context.staging)
    results = make_brackets(surveys, task, context)
    sources = {survey.name: shard_source(survey, record, task) for survey, record in results}
    attributes = plan.attributes(header.license, header.citation, header.options)
    longest = max(len(scene.encode()) for group in scenes for scene in group)
    for name, number in damaged.items():
        with Part(context.staging, plan.layout, longest, number) as part:
            for scene in scenes[number]:
                if source := sources[scene]:
                    part.append(source)
            is_same = {"file": name} | part.finish(attributes) == header.parts[number]
        if not is_same:
            raise UserError(
                f"{name}: made anew it differs from what the index says; "
                "was the dataset built by another kind of processor?"
            )
        atomic_rename(part.path, path.with_name(name))


def _scenes_of_parts(path: Path, header: DatasetHeader) -> list[list[str]]:
    """Names of the brackets in each part; no bracket is split between parts."""
    counts = [
        (name, sum(scene["branches"].values()))
        for name, scene in header.scenes.items()
        if "branches" in scene
    ]
    ends = {0: 0} | {end: i for i, end in enumerate(accumulate(n for _, n in counts), 1)}
    try:
        borders = [ends[row] for row in accumulate((p["rows"] for p in header.parts), initial=0)]
    except KeyError:
        raise UserError(f"{path}: its parts and brackets differ; 'build --overwrite' it") from None
    return [[name for name, _ in counts[first:last]] for first, last in pairwise(borders)]


def _plan(
    path: Path, header: DatasetHeader, raw: Path, options: BuildOptions, context: BuildContext
) -> Plan:
    """Plan the dataset again; `options` supplies what the dataset does not store.

    Raises
    ------
    UserError
        No plan has the fingerprint of the dataset.
    """
    settings = dict(header.recipe)
    labels, seed = settings.pop("labels"), settings.pop("seed")
    recipe = Recipe.from_dict(settings, f"{path}: its recipe")
    found, _ = find_brackets(raw, options.groups, None, None, context.progress)
    brackets = [bracket for bracket in found if bracket.name in header.scenes]
    known = load_responses(options.response)
    # Not every dataset states whether --reference auto chose its reference frames, so try both.
    for reference in (header.reference, "auto"):
        same = replace(
            options,
            recipe=recipe,
            frames=header.frames,
            reference=reference,
            labels=labels,
            augment=labels == "truth",  # the stored recipe already lacks what was switched off
            seed=seed,
            compress=_compression(path, header),
        )
        surveys = survey_brackets(brackets, same.selection, known, context)
        plan = Plan.of(raw, surveys, same)
        if plan.fingerprint == header.fingerprint:
            return plan
    raise UserError(
        f"{path}: was built from other brackets, options or versions ({header.generator}); "
        "give the same, or 'build --overwrite' it"
    )


def _compression(path: Path, header: DatasetHeader) -> str:
    """Compression of the first part that can be read."""
    for part in header.parts:
        with contextlib.suppress(UserError, *DAMAGE), open_file(path.with_name(part["file"])) as f:
            return compression_of(f["inputs"])
    raise UserError(f"{path}: none of its parts is left; 'build --overwrite' it")
