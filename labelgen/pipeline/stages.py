"""The stages of a build that run over all brackets: survey them, make them."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
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


@dataclass(frozen=True)
class BuildContext:
    """What the stages of a build work with."""

    staging: Path
    """The staging folder."""
    executor: Executor
    """Workers."""
    progress: Progress
    """Told of every bracket."""


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
        As found by a scan.
    selection : Selection
        What the dataset takes.
    known : mapping of str to Response, optional
        Responses that are given, by camera.
    context : BuildContext
        The staging folder remembers surveys.
    keep_frames : bool
        Keep decoded frames for the next stage, as many as there is room for.
    """
    staging, progress = context.staging, context.progress
    progress.start("survey", len(brackets))
    caches = cache_paths(brackets, selection.frames, staging) if keep_frames else repeat(None)
    items = DiskList(zip(brackets, caches, strict=False))
    task = partial(_survey_task, selection=selection, staging=staging)
    surveys, index = DiskList[Survey](), [0] * len(items)
    for i, result in context.executor(task, items):
        survey = result or Survey(brackets[i].name, DIED)
        if survey.traceback:
            log_bug(staging, survey.name, survey.traceback)
        index[i] = len(surveys)
        surveys.append(survey)
        progress.step(0, bool(survey.rejected))
    return calibrate_surveys(surveys.select(index), known)


def _survey_task(item: tuple[Bracket, Path | None], selection: Selection, staging: Path) -> Survey:
    bracket, cache = item
    try:
        return survey_cached(bracket, selection, staging, cache)
    except OSError:  # the disk, not the bracket: it ends the build
        raise
    except MemoryError:
        return Survey(bracket.name, "out of memory; try fewer --jobs")
    except Exception as e:  # a bug of ours costs its bracket, not the night
        reason, text = bug_reason(e, staging), traceback_of(e)
        return Survey(bracket.name, reason, bracket.problems, traceback=text)


def make_brackets(
    surveys: DiskList[Survey], task: BracketTask, context: BuildContext
) -> Generator[tuple[Survey, dict[str, Any]]]:
    """Make all brackets; yield each with its record, in order, as soon as those before it are made.

    What an earlier run finished is not made again, if it is whole.
    """
    progress = context.progress
    done = _made_before(surveys, task, context)
    left = [i for i in range(len(surveys)) if i not in done]
    if done:
        progress.remark(f"{len(done)} brackets are finished already, {len(left)} are left")
    progress.start("build", len(left))
    results = context.executor(partial(make_bracket, task=task), surveys.select(left))
    with closing(results):
        for i, survey in enumerate(surveys):
            while i not in done:
                k, record = next(results)
                done.add(left[k])
                _note(surveys[left[k]], record or {"rejected": DIED}, task, progress)
            yield survey, json.loads(task.record(survey.name).read_text())


def _note(survey: Survey, record: dict[str, Any], task: BracketTask, progress: Progress) -> None:
    """Note the result of a bracket, whether it was made or not."""
    if "stopped" in record:
        raise UserError(f"{task.staging}: {record['stopped']}; mend that, then give --resume")
    path = task.record(survey.name)
    if not path.exists():  # or --resume might find more brackets in a part that is noted
        write_json(path, record)
    if "traceback" in record:
        log_bug(task.staging, survey.name, record["traceback"])
    progress.step(record.get("rows", 0), "rejected" in record)


def _made_before(surveys: DiskList[Survey], task: BracketTask, context: BuildContext) -> set[int]:
    """Which brackets an earlier run finished; the records of those that are not whole go."""
    done, noted = set[int](), list[int]()
    for i, survey in enumerate(surveys):
        if task.record(survey.name).exists():
            noted.append(i)
    if not noted:
        return done
    context.progress.start("check", len(noted))
    check = partial(is_bracket_made, task=task)
    for k, whole in context.executor(check, surveys.select(noted)):
        if whole:
            done.add(noted[k])
        else:
            task.record(surveys[noted[k]].name).unlink()
        context.progress.step(0, False)
    return done
