"""The stages of a build that run on all brackets in parallel: survey and make."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.survey import Selection, survey_cached
from labelgen.calibration.survey_records import Survey
from labelgen.core.bracket import Bracket
from labelgen.core.disk_list import DiskList
from labelgen.core.errors import UserError
from labelgen.core.files import write_json
from labelgen.core.progress import Executor, Progress
from labelgen.core.response import Response
from labelgen.photos.frame_cache import cache_paths
from labelgen.pipeline.bracket_task import BracketTask, is_bracket_made, make_bracket
from labelgen.pipeline.bugs import bug_reason, log_bug, traceback_of

DIED = "its worker died twice, the second time alone: out of memory? try fewer --jobs"
"""Why a bracket is rejected whose worker died."""


@dataclass(frozen=True)
class BuildContext:
    """Staging folder, workers and progress of a build, which its stages share."""

    staging: Path
    """The staging folder."""
    executor: Executor
    """Runs a task on many items, by the workers of the build."""
    progress: Progress
    """Receives a step for every bracket, and remarks."""


def survey_brackets(
    brackets: Sequence[Bracket],
    selection: Selection,
    known: Mapping[str, Response] | None,
    context: BuildContext,
    keep_frames: bool = False,
) -> DiskList[Survey]:
    """Survey all brackets, and calibrate them together.

    Parameters
    ----------
    brackets : sequence of Bracket
        Result of `labelgen.discovery.select.find_brackets`.
    selection : Selection
        Which frames of each bracket the dataset takes.
    known : mapping of str to Response, optional
        Known responses by camera; those of other cameras are calibrated.
    context : BuildContext
        Surveys that the staging folder holds are read from there.
    keep_frames : bool
        Cache decoded frames for the next stage, as far as there is room.

    Returns
    -------
    DiskList of Survey
        In the order of `brackets`, calibrated. A bracket that cannot be used has its reason in
        `Survey.rejected`.
    """
    staging, progress = context.staging, context.progress
    progress.start("survey", len(brackets))
    caches = cache_paths(brackets, selection.frames, staging) if keep_frames else repeat(None)
    items = DiskList(zip(brackets, caches, strict=False))
    task = partial(_survey_task, selection=selection, staging=staging)

    def surveyed() -> Iterator[tuple[int, Survey]]:
        for i, result in context.executor(task, items):
            survey = result or Survey(brackets[i].name, DIED)
            if survey.traceback:
                log_bug(staging, survey.name, survey.traceback)
            progress.step(0, bool(survey.rejected))
            yield i, survey

    return calibrate_surveys(DiskList.ordered(surveyed()), known)


def _survey_task(item: tuple[Bracket, Path | None], selection: Selection, staging: Path) -> Survey:
    """Survey a bracket; the item also has the file to cache its decoded frames in."""
    bracket, cache = item
    try:
        return survey_cached(bracket, selection, staging, cache)
    except OSError as e:  # the staging folder cannot be written, which ends the build
        reason = f"{e.filename or staging}: {e.strerror or e}"
        raise UserError(f"{reason}; mend that, then give --resume") from e
    except MemoryError:
        return Survey(bracket.name, "out of memory; try fewer --jobs")
    except Exception as e:  # a bug of labelgen rejects its bracket, and the build goes on
        reason, text = bug_reason(e, staging), traceback_of(e)
        return Survey(bracket.name, reason, bracket.problems, traceback=text)


def make_brackets(
    surveys: DiskList[Survey], task: BracketTask, context: BuildContext
) -> Generator[tuple[Survey, dict[str, Any]]]:
    """Make all brackets, and yield them in order, each as soon as it and all before it are made.

    Brackets that an interrupted build finished are not made again.

    Parameters
    ----------
    surveys : DiskList of Survey
        Usable brackets, calibrated.
    task : BracketTask
        How to make a bracket.
    context : BuildContext
        Its staging folder is that of the task.

    Yields
    ------
    survey : Survey
        The survey of a bracket.
    record : dict
        Result of `make_bracket`.

    Raises
    ------
    UserError
        A shard cannot be written.
    """
    progress = context.progress
    finished = _find_finished(surveys, task, context)
    remaining = [i for i in range(len(surveys)) if i not in finished]
    if finished:
        progress.remark(f"{len(finished)} brackets are finished already, {len(remaining)} are left")
    progress.start("build", len(remaining))
    results = context.executor(partial(make_bracket, task=task), surveys.select(remaining))
    with closing(results):
        for i, survey in enumerate(surveys):
            while i not in finished:
                k, record = next(results)
                _note_result(surveys[remaining[k]], record or {"rejected": DIED}, task, progress)
                finished.add(remaining[k])
            yield survey, json.loads(task.record(survey.name).read_text())


def _note_result(
    survey: Survey, record: dict[str, Any], task: BracketTask, progress: Progress
) -> None:
    """Report the result of a bracket, and write its record if the worker did not.

    Raises
    ------
    UserError
        The worker could not write the shard.
    """
    if "stopped" in record:
        raise UserError(f"{task.staging}: {record['stopped']}; mend that, then give --resume")
    path = task.record(survey.name)
    # Without a record, --resume would try the bracket again. Its samples would then be missing in a
    # part that is finished already.
    if not path.exists():
        write_json(path, record)
    if "traceback" in record:
        log_bug(task.staging, survey.name, record["traceback"])
    progress.step(record.get("rows", 0), "rejected" in record)


def _find_finished(surveys: DiskList[Survey], task: BracketTask, context: BuildContext) -> set[int]:
    """Indices of the brackets that an interrupted build finished.

    The records of brackets whose shard is damaged or missing are removed.
    """
    recorded = [i for i, survey in enumerate(surveys) if task.record(survey.name).exists()]
    finished = set[int]()
    if not recorded:
        return finished
    context.progress.start("check", len(recorded))
    check = partial(is_bracket_made, task=task)
    for k, is_made in context.executor(check, surveys.select(recorded)):
        if is_made:
            finished.add(recorded[k])
        else:
            task.record(surveys[recorded[k]].name).unlink()
        context.progress.step(0, False)
    return finished
