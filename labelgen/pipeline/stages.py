"""The stages of a build that run over all brackets: survey, calibrate, make."""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import repeat
from pathlib import Path
from typing import Any

from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.survey import Selection, Survey
from labelgen.calibration.survey_records import survey_cached
from labelgen.core.bracket import Bracket
from labelgen.core.errors import UserError
from labelgen.core.files import write_json
from labelgen.core.lazy import Each, Shelf
from labelgen.core.progress import Executor, Progress
from labelgen.core.response import Response
from labelgen.photos.frame_cache import cache_paths
from labelgen.pipeline.bracket_task import Task, is_bracket_made, make_bracket

DIED = "its worker died twice, the second time alone: out of memory? try fewer --jobs"


def survey_all(
    brackets: Sequence[Bracket],
    selection: Selection,
    known: Mapping[str, Response] | None,
    work: Path,
    engine: Executor,
    tell: Progress,
    keep: bool = False,
) -> Sequence[Survey]:
    """All brackets surveyed, and calibrated together, with the responses that are known, if any.

    Decoded frames are kept if that is asked for, as many as there is room for (`frame_cache`).
    """
    tell.start("survey", len(brackets))
    kept = cache_paths(brackets, selection.frames, work) if keep else repeat(None)
    task = partial(_surveyed, selection=selection, folder=work)
    found = Shelf[Survey]()
    for i, result in engine(task, Shelf.of(zip(brackets, kept, strict=False))):
        survey = result or Survey(brackets[i].name, rejected=DIED)
        found.put(i, survey)
        tell.step(0, bool(survey.rejected))
    return calibrate_surveys(found, known)


def _surveyed(item: tuple[Bracket, Path | None], selection: Selection, folder: Path) -> Survey:
    bracket, kept = item
    return survey_cached(bracket, selection, folder, kept)


def make_all(
    tasks: Sequence[Task], work: Path, engine: Executor, tell: Progress
) -> Generator[tuple[Task, dict[str, Any]]]:
    """Every task with its record, in order, each as soon as those before it are made.

    What an earlier run finished is not made again, if it is whole.
    """
    done = _made_before(tasks, engine, tell)
    left = [i for i in range(len(tasks)) if i not in done]
    if done:
        tell.remark(f"{len(done)} brackets are finished already, {len(left)} are left")
    tell.start("build", len(left))
    with closing(engine(make_bracket, Each(tasks.__getitem__, left))) as made:
        for i, task in enumerate(tasks):
            while i not in done:
                k, record = next(made)
                done.add(left[k])
                record = record or {"rejected": DIED}
                if "stopped" in record:
                    raise UserError(f"{work}: {record['stopped']}; mend that, then give --resume")
                if not (path := tasks[left[k]].record).exists():
                    write_json(path, record)  # or --resume might find more in a part that is noted
                tell.step(record.get("rows", 0), "rejected" in record)
            yield task, json.loads(task.record.read_text())


def _made_before(tasks: Sequence[Task], engine: Executor, tell: Progress) -> set[int]:
    """Which brackets an earlier run finished; what is not whole of one is as if it had not."""
    done, noted = set[int](), [i for i, task in enumerate(tasks) if task.record.exists()]
    if not noted:
        return done
    tell.start("check", len(noted))
    for k, whole in engine(is_bracket_made, Each(tasks.__getitem__, noted)):
        if whole:
            done.add(noted[k])
        else:
            tasks[noted[k]].record.unlink()
        tell.step(0, False)
    return done
