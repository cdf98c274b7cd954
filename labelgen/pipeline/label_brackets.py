"""Label all brackets below a folder, with their cameras calibrated from all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.known_responses import load_responses
from labelgen.calibration.survey import Selection, survey
from labelgen.calibration.survey_records import Survey
from labelgen.core.bracket import Bracket
from labelgen.core.disk_list import DiskList
from labelgen.core.errors import Rejected, UserError
from labelgen.core.progress import Progress, Silent
from labelgen.core.recipe import Recipe, load_recipe
from labelgen.discovery.scan import scan
from labelgen.photos.formats import IMAGE_SUFFIXES
from labelgen.pipeline.bugs import describe_bug
from labelgen.pipeline.executor import bracket_results, shut_down_workers
from labelgen.pipeline.label_bracket import FILES, write_label
from labelgen.pipeline.stages import DIED


def holds_folders_alone(folder: Path) -> bool:
    """Whether a folder holds no image itself, so that brackets can only be below it."""
    return folder.is_dir() and not any(
        path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir()
    )


def label_all(
    raw: Path,
    out: Path,
    *,
    recipe: str | Recipe = "default",
    frames: int = 3,
    reference: int | str | None = None,
    response: str = "auto",
    bayer: str = "",
    jobs: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Label all brackets below a folder with the pixels that a build of it would use.

    Each bracket gets a folder of its name in `out`, with the files that
    `labelgen.pipeline.label_bracket.label` writes.

    Parameters
    ----------
    raw : Path
        Folder of bracket folders at any depth.
    out : Path
        Folder to write to; created if it does not exist.
    recipe, frames, reference, response, bayer, jobs
        As in `labelgen.pipeline.options.BuildOptions`.
    overwrite : bool
        Replace results that are there.
    progress : Progress, optional
        Receives a step for every bracket, of two stages. By default nothing is shown.

    Returns
    -------
    dict
        "labels": what ``label.json`` holds, by name of the bracket; "rejected": reasons by name of
        the others.

    Raises
    ------
    UserError
        Results are there already, or no bracket can be used.
    """
    settings = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    selection = Selection.of(frames, reference, patch=1, bayer=bayer)
    known = load_responses(response)
    brackets = scan(raw)
    _check_outputs(brackets, out, overwrite)
    progress = progress or Silent()
    progress.start("survey", len(brackets))
    look = partial(_survey_one, selection=selection)
    seen = DiskList.ordered(bracket_results(look, brackets, _survey_of_dead, jobs, progress))
    surveys = calibrate_surveys(seen, known)
    progress.start("label", len(surveys))
    task = partial(_label_one, out=out, settings=settings)
    labelled = bracket_results(task, surveys, _result_of_dead, jobs, progress)
    results = list(DiskList.ordered(labelled))
    shut_down_workers(jobs, "loky")
    rejected = {result.name: result.rejected for result in results if result.rejected}
    if len(rejected) == len(results):
        name, why = next(iter(rejected.items()))
        raise UserError(f"{raw}: no bracket that can be labelled ({name}: {why})")
    return {
        "labels": {result.name: result.record for result in results if not result.rejected},
        "rejected": rejected,
    }


@dataclass(frozen=True)
class _Result:
    """What became of a bracket."""

    name: str
    rejected: str = ""
    record: dict[str, Any] = field(default_factory=dict)


def _survey_of_dead(name: str) -> Survey:
    return Survey(name, DIED)


def _result_of_dead(name: str) -> _Result:
    return _Result(name, DIED)


def _check_outputs(brackets: Sequence[Bracket], out: Path, overwrite: bool) -> None:
    """Refuse to write over results, or among the frames."""
    for bracket in brackets:
        folder = out / bracket.name
        if folder.resolve() == bracket.folder.resolve():
            raise UserError(f"{folder}: holds the frames; give another folder with -o")
        old = next((name for name in FILES if (folder / name).exists()), None)
        if old and not overwrite:
            raise UserError(
                f"{folder / old}: exists; give --overwrite to replace it, or another -o"
            )


def _survey_one(bracket: Bracket, selection: Selection) -> Survey:
    try:
        return survey(bracket, selection)
    except OSError:  # a photo that cannot be read ends the command, with one line
        raise
    except MemoryError:
        return Survey(bracket.name, "out of memory; try fewer --jobs")
    except Exception as e:  # a bug of labelgen rejects its bracket, and the others go on
        return Survey(bracket.name, describe_bug(e))


def _label_one(surveyed: Survey, out: Path, settings: Recipe) -> _Result:
    name = surveyed.name
    try:
        return _Result(name, record=write_label(surveyed, out / name, settings))
    except Rejected as e:
        return _Result(name, str(e))
    except OSError:  # the folder cannot be written, which ends the command
        raise
    except MemoryError:
        return _Result(name, "out of memory; try fewer --jobs")
    except Exception as e:
        return _Result(name, f"{describe_bug(e)}; 'labelgen label' of that bracket shows more")
