"""``labelgen scan --check``: find brackets whose pixels contradict their stated exposures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import joblib

from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.survey import MAX_FRAMES, Selection, Survey, response_name, survey
from labelgen.core.bracket import Bracket, distinct_exposures
from labelgen.core.errors import Rejected
from labelgen.core.lazy import Shelf
from labelgen.core.progress import Progress, Silent
from labelgen.pipeline.executor import parallel_map


def check_brackets(
    brackets: Sequence[Bracket],
    bayer: str = "",
    jobs: int | None = None,
    progress: Progress | None = None,
) -> tuple[list[Bracket], list[dict[str, Any]]]:
    """Look at the pixels of all frames and say where they contradict what is stated.

    Returns
    -------
    brackets : list of Bracket
        With what their pixels say against them added to `problems`.
    findings : list of dict
        Of each bracket: "response", "misfit" (codes of 255) and "measured_ev" (stops, by frame,
        None where pixels can't tell; the middle frame keeps its stated exposure).
    """
    surveys, tell = Shelf[Survey](), progress or Silent()
    tell.start("check", len(brackets))
    for i, result in parallel_map(
        partial(_survey_whole, bayer=bayer), brackets, jobs or joblib.cpu_count()
    ):
        one = result or Survey(brackets[i].name, rejected="its worker died; out of memory?")
        surveys.put(i, one)
        tell.step(0, bool(one.rejected))
    found = calibrate_surveys(surveys)
    return [_with_problems(b, s) for b, s in zip(brackets, found, strict=True)], [
        _finding(b, s) for b, s in zip(brackets, found, strict=True)
    ]


def _survey_whole(bracket: Bracket, bayer: str) -> Survey:
    """A survey that takes all frames."""
    try:
        count = min(len(distinct_exposures(bracket)), MAX_FRAMES)
    except Rejected as e:
        return Survey(bracket.name, rejected=str(e))
    return survey(bracket, Selection(max(count, 2), max(count, 2) // 2, 1, bayer=bayer))


def _with_problems(bracket: Bracket, found: Survey) -> Bracket:
    problems = [*bracket.problems, *found.problems]
    if found.rejected and found.rejected not in "; ".join(problems):
        problems.append(found.rejected)
    return replace(bracket, problems=tuple(dict.fromkeys(problems)))


def _finding(bracket: Bracket, found: Survey) -> dict[str, Any]:
    lowest = min((f.ev for f in bracket.frames if f.ev is not None), default=0.0)
    measured = {
        path: None if ev is None else round(ev + found.darker + lowest, 4)
        for path, ev in zip(found.paths, found.measured, strict=False)
    }
    return {
        "response": response_name(found.response, found.assumed) if found.seen else None,
        "misfit": found.misfit,
        "measured_ev": [measured.get(f.path) for f in bracket.frames],
    }
