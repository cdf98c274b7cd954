"""``labelgen scan --check``: find brackets whose pixels contradict their stated exposures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.estimate_exposures import estimate_bracket
from labelgen.calibration.survey import MAX_FRAMES, Selection, survey
from labelgen.calibration.survey_records import Survey
from labelgen.core.bracket import TO_BE_ESTIMATED, Bracket, distinct_exposures
from labelgen.core.disk_list import DiskList
from labelgen.core.errors import Rejected
from labelgen.core.progress import Progress, Silent
from labelgen.pipeline.bugs import describe_bug
from labelgen.pipeline.executor import bracket_results


def check_brackets(
    brackets: Sequence[Bracket],
    bayer: str = "",
    jobs: int | None = None,
    progress: Progress | None = None,
) -> tuple[list[Bracket], list[dict[str, Any]]]:
    """Compare the pixels of all frames of brackets with their stated exposures.

    Parameters
    ----------
    brackets : sequence of Bracket
        Result of `labelgen.discovery.scan.scan`.
    bayer : str
        Colour filters of images with a single channel (`BuildOptions.bayer`).
    jobs : int, optional
        Workers; all cores by default.
    progress : Progress, optional
        Receives a step for every bracket. By default nothing is shown.

    Returns
    -------
    brackets : list of Bracket
        The same brackets. Contradictions are added to their problems.
    findings : list of dict
        For each bracket: "response", its name; "mixing" of channels ("kind" and "amount"; None if
        there is none); "local_tone_mapping" (`labelgen.calibration.step_errors.StepErrors.local`,
        0 without it); "misfit" of the codes from that response (codes of 255); "measured_ev", the
        exposure of each frame in stops as measured from the pixels, None where that is impossible.
        The middle frame keeps its stated exposure.
    """
    progress = progress or Silent()
    progress.start("check", len(brackets))

    task = partial(_survey_all_frames, bayer=bayer)
    surveys = DiskList.ordered(bracket_results(task, brackets, _survey_of_dead, jobs, progress))
    calibrated = calibrate_surveys(surveys)
    return [_with_problems(b, s) for b, s in zip(brackets, calibrated, strict=True)], [
        _finding(b, s) for b, s in zip(brackets, calibrated, strict=True)
    ]


def _survey_of_dead(name: str) -> Survey:
    return Survey(name, "its worker died; out of memory?")


def _survey_all_frames(bracket: Bracket, bayer: str) -> Survey:
    """Survey a bracket with all its frames."""
    try:
        if bracket.lacks_exposures:
            bracket = estimate_bracket(bracket, bayer)
        count = min(len(distinct_exposures(bracket)), MAX_FRAMES)
    except Rejected as e:
        return Survey(bracket.name, str(e))
    selection = Selection(max(count, 2), max(count, 2) // 2, 1, bayer=bayer)
    try:
        return survey(bracket, selection)
    except OSError:  # a photo that cannot be read ends the check, with one line
        raise
    except MemoryError:
        return Survey(bracket.name, "out of memory")
    except Exception as e:  # a bug of labelgen rejects its bracket, and the check goes on
        return Survey(
            bracket.name, f"{describe_bug(e)}; 'labelgen label {bracket.folder}' shows more"
        )


def _with_problems(bracket: Bracket, survey: Survey) -> Bracket:
    """The bracket with the problems and the rejection of its survey."""
    problems = [p for p in bracket.problems if p != TO_BE_ESTIMATED] + list(survey.problems)
    if survey.rejected and survey.rejected not in "; ".join(problems):
        problems.append(survey.rejected)
    return replace(bracket, problems=tuple(dict.fromkeys(problems)))


def _finding(bracket: Bracket, survey: Survey) -> dict[str, Any]:
    shortest = min((f.ev for f in bracket.frames if f.ev is not None), default=0.0)
    measured = {
        frame.path: round(frame.measured_ev + survey.offset_ev + shortest, 4)
        for frame in survey.frames
        if frame.measured_ev is not None
    }
    return {
        "response": survey.model.response_name if survey.evidence else None,
        "mixing": survey.model.mixing_record,
        "local_tone_mapping": survey.model.errors.local,
        "misfit": survey.model.misfit,
        "measured_ev": [measured.get(f.path) for f in bracket.frames],
    }
