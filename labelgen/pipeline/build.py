"""Build a dataset: survey all brackets, plan the dataset, make each bracket, join the shards.

The staging folder ``OUT.h5.partial`` beside the output holds all unfinished work: the surveys, and
a shard and a record of every finished bracket. An interrupted build resumes from there.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from labelgen.calibration.known_responses import load_responses
from labelgen.core.errors import UserError
from labelgen.core.files import check_free_space, free_space, write_json
from labelgen.core.progress import Executor, Progress, Silent
from labelgen.dataset.assemble import Assembly, check_parts, parts_of
from labelgen.dataset.header import read_dataset_header
from labelgen.dataset.info import info
from labelgen.dataset.staging import (
    OutputState,
    check_output_name,
    check_same_settings,
    staging_folder,
)
from labelgen.discovery.select import find_brackets
from labelgen.pipeline.bugs import log_path
from labelgen.pipeline.completed import request_digest, was_made_for, write_build_times
from labelgen.pipeline.disk import disk_needed
from labelgen.pipeline.executor import has_many_workers, parallel_map, shut_down_workers
from labelgen.pipeline.memory import jobs_within_memory
from labelgen.pipeline.options import BuildOptions
from labelgen.pipeline.plan import Plan, no_usable_brackets, scenes_attribute, shard_source
from labelgen.pipeline.stages import BuildContext, make_brackets, survey_brackets
from labelgen.pipeline.summary import Summary

REMEDY = "take another disk, --limit, or fewer patches.variants in the recipe"
"""Advice for a dataset that does not fit the disk."""


def build(
    raw: Path,
    out: Path,
    options: BuildOptions | None = None,
    *,
    progress: Progress | None = None,
    **changes: Any,
) -> Summary:
    """Make a dataset from a folder of brackets.

    Parameters
    ----------
    raw : Path
        A folder of bracket folders, or one bracket folder.
    out : Path
        The dataset file. If the dataset is larger than `BuildOptions.part_bytes`, this file is an
        index, and numbered parts beside it hold the samples.
    options : BuildOptions, optional
        By default those of `BuildOptions()`.
    progress : Progress, optional
        Receives progress and remarks. By default the build is silent.
    **changes
        Fields of `BuildOptions` that replace those of `options`: ``build(raw, out, jobs=2)``.

    Returns
    -------
    Summary
        Contents of the dataset, and the reason for each rejected bracket.

    Raises
    ------
    UserError
        An option is invalid, the output exists, the disk lacks room, or no bracket can be used.
    """
    options, progress = replace(options or BuildOptions(), **changes), progress or Silent()
    check_output_name(out)
    if options.on_cluster:  # the current folder of its workers may be another
        raw, out = raw.absolute(), out.absolute()
    state = OutputState.of(out)
    state.refuse_to_overwrite(options.resume, options.overwrite)
    if not state.is_begun:
        check_parts(out)
    brackets, excluded = find_brackets(
        raw, options.groups, options.exclude, options.limit, progress
    )
    known = load_responses(options.response)
    request = request_digest(brackets, options, known)
    if options.resume and state.is_complete and was_made_for(out, request):
        return _summary_of(out)
    jobs = options.jobs
    if options.memory is not None:
        jobs = jobs_within_memory(options.memory, brackets, options.frames, jobs, progress)
    with staging_folder(out, options.overwrite) as staging:
        if options.overwrite or state.is_empty:
            log_path(staging).unlink(missing_ok=True)  # the log of an earlier build
        executor = partial(
            parallel_map,
            jobs=jobs,
            backend=options.backend,
            scheduler=options.scheduler,
            folder=staging,
        )
        context, clock = BuildContext(staging, executor, progress), _Clock()
        surveys = survey_brackets(brackets, options.selection, known, context, keep_frames=True)
        clock.lap("survey")
        plan = Plan.of(raw, surveys, options)
        if OutputState.of(out).is_complete and not options.overwrite:
            summary = _unchanged(out, plan)
        else:
            part_writers = executor if has_many_workers(options.backend, jobs) else None
            summary = _make_dataset(plan, out, excluded, context, part_writers, clock)
            shut_down_workers(jobs, options.backend)
            resumed = options.resume and state.has_staging
            write_build_times(out, request, plan.fingerprint, resumed, clock.seconds)
    shutil.rmtree(staging)
    return summary


class _Clock:
    """Measures how many seconds each stage of a build takes."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def lap(self, stage: str) -> None:
        """Store the seconds of a stage that ends now and began at the last lap."""
        now = time.monotonic()
        self.seconds[stage], self._last = round(now - self._last, 3), now


def _make_dataset(
    plan: Plan,
    out: Path,
    excluded: dict[str, int],
    context: BuildContext,
    part_writers: Executor | None,
    clock: _Clock,
) -> Summary:
    """Make all brackets, join each as soon as it is made, and give the dataset its name.

    With `part_writers` all parts but the first are instead written at the end, in parallel.
    """
    options, staging = plan.options, context.staging
    check_same_settings(staging, _settings(plan))
    # Shards are freed part by part, but not before the end if all parts are written in parallel.
    joined_at_once = sys.maxsize if part_writers else options.part_bytes
    _check_disk(plan, out, joined_at_once, context)
    attributes = plan.attributes(options.license, options.citation, options.record(excluded))
    longest_name = max(len(survey.name.encode()) for survey in plan.usable)
    old_parts = parts_of(out)
    sizes = longest_name, options.part_bytes
    with Assembly(out, staging, plan.layout, attributes, *sizes, executor=part_writers) as dataset:
        _make_brackets(plan, dataset, context)
        clock.lap("make")
        dataset.finish(scenes_attribute(plan.scene_records(staging)), context.progress)
    if any("curves" in entry for entry in plan.responses.values()):
        write_json(out.with_name(f"{out.stem}.responses.json"), plan.responses)
    for path in old_parts - parts_of(out):
        path.unlink(missing_ok=True)
    clock.lap("join")
    return Summary.of(out, plan.fingerprint, plan.scene_records(staging))


def _make_brackets(plan: Plan, dataset: Assembly, context: BuildContext) -> None:
    """Make all brackets and append those that give samples to the dataset."""
    reasons, task = [], plan.task(context.staging)
    with closing(make_brackets(plan.usable, task, context)) as made:
        for survey, record in made:
            if source := shard_source(survey, record, task):
                dataset.append(source)
            else:
                reasons.append(record["rejected"])
    if not dataset.rows:
        raise no_usable_brackets(plan.raw, reasons)


def _settings(plan: Plan) -> dict[str, Any]:
    """All settings that the bytes of a dataset's files depend on."""
    return asdict(plan.options.storage) | {"fingerprint": plan.fingerprint}


def _unchanged(out: Path, plan: Plan) -> Summary:
    """Summarise the existing dataset if the plan would make the same one.

    Raises
    ------
    UserError
        It would make another one.
    """
    inside = info(out)
    if any(inside[k] != value for k, value in _settings(plan).items() if k != "part_bytes"):
        raise UserError(
            f"{out}: was built from other brackets, settings or versions; "
            "give --overwrite to replace it, or another name"
        )
    return _summary_of(out)


def _summary_of(out: Path) -> Summary:
    """Summarise an existing dataset by the records in it."""
    header = read_dataset_header(out)
    return Summary.of(out, header.fingerprint, header.scenes.items())


def _check_disk(plan: Plan, out: Path, joined_at_once: int, context: BuildContext) -> None:
    """Refuse to start if the dataset may not fit the disk.

    Shards of up to `joined_at_once` bytes exist both as shards and in a part.
    """
    sizes = Counter(survey.size for survey in plan.usable)
    recipe = plan.options.effective_recipe
    expected, needed = disk_needed(sizes, recipe, plan.layout, joined_at_once)
    needed -= sum(shard.stat().st_size for shard in context.staging.glob("*.shard"))
    context.progress.remark(
        f"{len(plan.usable)} brackets: at most {expected / 1e9:.2f} GB, "
        f"{needed / 1e9:.2f} GB while joining; {free_space(out.parent) / 1e9:.1f} GB free"
    )
    check_free_space(out.parent, needed, REMEDY)
