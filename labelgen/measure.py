"""What the pixels of a set of brackets tell: response and noise of each camera, true exposures.

`labelgen.survey` looks at one bracket at a time; here all that was seen comes together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np

from labelgen.arrays import Bytes, Packed, packed
from labelgen.bracket import Bracket, distinct_exposures
from labelgen.calibrate import Calibration, calibrate
from labelgen.engine import run
from labelgen.errors import Rejected, UserError
from labelgen.format import read_header
from labelgen.noise import fit
from labelgen.progress import Progress, Silent
from labelgen.recipe import Recipe
from labelgen.response import GAMMA22, NAMED, Response
from labelgen.survey import MOST_FRAMES, UNKNOWN, Selection, Survey, response_name, survey
from labelgen.untrusted import NOT_JSON, read_json

LEAST_EV = 0.03
"""Smaller corrections (stops) are dropped: what is stated exactly stays as it is stated."""
NOTABLE_EV = 0.15
"""Corrections of an exposure by more (stops) are remarked on."""


def calibrated(
    surveys: Sequence[Survey], known: Mapping[str, Response] | None = None
) -> list[Survey]:
    """Surveys with response and noise of their cameras, and exposures corrected by the pixels.

    The reference keeps its stated exposure, and with it the scale of radiance; the others are
    corrected to it.

    Parameters
    ----------
    surveys : sequence of Survey
        Of all brackets; those that were rejected stay as they are.
    known : mapping of str to Response, optional
        Responses that are given, by `labelgen.survey.camera_key`; "*" is every other camera.
    """
    views = {
        s.name: replace(s.seen.view(), key=_key(s.seen.key, s.name, known or {}))
        for s in surveys
        if s.seen
    }
    # Light itself was looked at as gamma 2.2, which needs no estimate.
    light = {s.seen.key: GAMMA22 for s in surveys if s.seen and s.linear}
    calibrations = calibrate(list(views.values()), {**(known or {}), **light})
    found = dict(zip(views, calibrations, strict=True))
    known_now = with_noise(
        [_calibrated(s, s.seen.used, found[s.name]) if s.seen else s for s in surveys]
    )
    # What told it is most of what is remembered of a bracket, and goes with every task.
    return [
        replace(s, seen=replace(s.seen, rows=packed([]), noise=())) if s.seen else s
        for s in known_now
    ]


def with_noise(surveys: Sequence[Survey]) -> list[Survey]:
    """Surveys, their response known, with the noise of their camera at the ISO of the reference.

    Parameters
    ----------
    surveys : sequence of Survey
        Calibrated, of all brackets; those that were rejected stay as they are.
    """
    pools: dict[_Pool, Packed] = {}
    for s in surveys:
        if s.seen:
            for iso, rows in zip(s.seen.iso, s.seen.noise, strict=True):
                pools.setdefault(_pool(s, iso), packed([])).extend(rows)
    found = {pool: fit(rows, pool.response, pool.bits) for pool, rows in pools.items()}
    return [
        replace(s, noise=found[_pool(s, s.seen.iso[s.seen.used[s.reference]])]) if s.seen else s
        for s in surveys
    ]


class _Pool(NamedTuple):
    """Frames that share their noise: those of a bracket alone where camera or ISO are unknown."""

    key: str
    iso: float
    response: Response
    bits: int
    alone: str


def _pool(found: Survey, iso: float) -> _Pool:
    assert found.seen
    known = iso > 0 and found.camera
    # Light itself was looked at as gamma 2.2.
    response = GAMMA22 if found.linear else found.response
    return _Pool(found.seen.key, iso, response, found.depth, "" if known else found.name)


def _key(camera: str, name: str, known: Mapping[str, Response]) -> str:
    """Under what a response is known: by the camera, or by the bracket where it has its own."""
    own = [k for k in known if k.startswith(f"{camera}: ")]
    own = [k for k in own if f"/{k.removeprefix(f'{camera}: ')}".endswith(f"/{name}")]
    return own[0] if len(own) == 1 else camera


def _calibrated(found: Survey, used: Sequence[int], calibration: Calibration) -> Survey:
    steps = [calibration.correction(i, used[found.reference]) for i in used]
    told = not calibration.assumed  # by a curve that is assumed pixels would correct nothing
    kept = [d if told and abs(d) > LEAST_EV else 0.0 for d, _ in steps]
    ev = tuple(round(s + d, 4) for s, d in zip(found.stated, kept, strict=True))
    remarks = [
        f"{path.name}: reads {d:+.2f} EV against {origin}; corrected"
        for path, d, origin in zip(found.paths, kept, found.origins, strict=True)
        if abs(d) > NOTABLE_EV
    ]
    if any(b <= a for a, b in pairwise(ev)):  # no correction is worth an order that nobody stated
        ev, remarks = found.stated, []
    return replace(
        found,
        ev=ev,
        problems=(*found.problems, *remarks),
        response=Response("linear") if found.linear else calibration.response,
        assumed=calibration.assumed,
        misfit=None if calibration.misfit is None else round(calibration.misfit, 3),
        measured=tuple(
            round(s + d, 4) if np.isfinite(e) else None
            for s, (d, e) in zip(found.stated, steps, strict=True)
        ),
    )


def checked(
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
    surveys, tell = dict[int, Survey](), progress or Silent()
    tell.start("check", len(brackets))
    for i, result in run(partial(_survey_whole, bayer=bayer), brackets, jobs or joblib.cpu_count()):
        surveys[i] = result or Survey(brackets[i].name, rejected="its worker died; out of memory?")
        tell.step(0, bool(surveys[i].rejected))
    found = calibrated([surveys[i] for i in range(len(brackets))])
    return [_with_problems(b, s) for b, s in zip(brackets, found, strict=True)], [
        _finding(b, s) for b, s in zip(brackets, found, strict=True)
    ]


def _survey_whole(bracket: Bracket, bayer: str) -> Survey:
    """A survey that takes all frames."""
    try:
        count = min(len(distinct_exposures(bracket)), MOST_FRAMES)
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
        "response": response_name(found) if found.seen else None,
        "misfit": found.misfit,
        "measured_ev": [measured.get(f.path) for f in bracket.frames],
    }


def trusted(weight: Bytes, found: Survey, recipe: Recipe) -> Bytes:
    """Weights (H, W) uint8 of a label, less what a doubtful response costs them."""
    settings = recipe.camera
    share = settings.assumed if found.assumed else 1.0
    if found.misfit is not None:
        share *= min(1.0, settings.misfit / max(found.misfit, 1e-9))
    return weight if share == 1 else np.rint(weight * np.float32(share)).astype(np.uint8)


def found_responses(surveys: Sequence[Survey]) -> dict[str, Any]:
    """The responses of calibrated brackets by camera, as a dataset stores them.

    Each has "name" ("assumed" where nothing told it), perhaps "curves", "brackets" (how many) and
    "misfit" (median over them, in codes of 255). A bracket that the curve of its camera does not
    fit has an entry of its own, named after it.
    """
    by_camera: dict[str, list[Survey]] = {}
    for found in surveys:
        if found.seen:
            by_camera.setdefault(found.seen.key, []).append(found)
    entries: dict[str, Any] = {}
    for key, group in by_camera.items():
        kinds = [(s.response, s.assumed) for s in group]
        common = max(kinds, key=kinds.count)
        for found, kind in zip(group, kinds, strict=True):
            name = key if kind == common else f"{key}: {found.name}"
            alike = [s for s, k in zip(group, kinds, strict=True) if k == kind]
            entries.setdefault(name, _entry(alike if kind == common else [found]))
    return entries


def _entry(alike: Sequence[Survey]) -> dict[str, Any]:
    misfits = [s.misfit for s in alike if s.misfit is not None]
    misfit = round(float(np.median(misfits)), 3) if misfits else None
    response = alike[0].response.as_json()
    return {
        "name": response_name(alike[0]),
        "brackets": len(alike),
        "misfit": misfit,
        **{k: v for k, v in response.items() if k != "name"},
    }


def responses(option: str) -> dict[str, Response] | None:
    """What ``--response`` means: responses by camera ("*" is any), or None to find them.

    Parameters
    ----------
    option : str
        "auto"; a name, for all cameras; or the path of a dataset or of a .json file that a build
        left beside it, whose cameras keep their responses (others are found).

    Raises
    ------
    UserError
        No such name or file, or a file without responses.
    """
    if option == "auto":
        return None
    if option in NAMED:
        return {"*": Response(option)}
    path = Path(option)
    if path.suffix not in (".h5", ".json"):
        names = ", ".join(("auto", *NAMED))
        raise UserError(f"--response {option}: expected {names}, or a dataset or .json file")
    try:
        stored = read_header(path).responses if path.suffix == ".h5" else read_json(path)
    except NOT_JSON as e:
        raise UserError(f"{path}: expected responses as 'labelgen build' writes them") from e
    try:
        return from_stored(stored)
    except (UserError, *NOT_JSON) as e:
        raise UserError(f"{path}: expected responses as 'labelgen build' writes them") from e


def from_stored(stored: Mapping[str, Any]) -> dict[str, Response]:
    """The responses that a dataset holds (`found_responses`), without those assumed."""
    return {
        key: Response.from_json(entry)
        for key, entry in stored.items()
        if not entry["name"].endswith("(assumed)")
    }


def known_cameras(stored: Mapping[str, Any]) -> dict[str, Response]:
    """Of `from_stored` the cameras that have a name: what is known of them holds elsewhere."""
    return {k: v for k, v in from_stored(stored).items() if not k.startswith(UNKNOWN)}
