"""What the pixels of a set of brackets tell: response and noise of each camera, true exposures.

`labelgen.calibration.survey` looks at one bracket at a time; here all that was seen comes together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labelgen.calibration.calibrate import Calibration, View, calibrate
from labelgen.calibration.noise import fit_noise
from labelgen.calibration.survey import UNKNOWN_CAMERA, Survey, response_name
from labelgen.core.arrays import PackedRows, pack_rows
from labelgen.core.errors import UserError
from labelgen.core.lazy import Each
from labelgen.core.response import GAMMA22, NAMED_RESPONSES, Response
from labelgen.core.validation import PARSE_ERRORS, read_json
from labelgen.dataset.header import read_dataset_header

MIN_EV = 0.03
"""Smaller corrections (stops) are dropped: what is stated exactly stays as it is stated."""
NOTABLE_EV = 0.15
"""Corrections of an exposure by more (stops) are remarked on."""


def calibrate_surveys(
    surveys: Sequence[Survey], known: Mapping[str, Response] | None = None
) -> Sequence[Survey]:
    """Surveys with response and noise of their cameras, and exposures corrected by the pixels.

    The reference keeps its stated exposure, and with it the scale of radiance; the others are
    corrected to it.

    Parameters
    ----------
    surveys : sequence of Survey
        Of all brackets; those that were rejected stay as they are.
    known : mapping of str to Response, optional
        Responses that are given, by `camera_key`; "*" is every other camera.

    Returns
    -------
    sequence of Survey
        Each is made of what was found whenever it is asked for: there may be thousands.
    """
    given, at = dict(known or {}), list[int]()
    for i, s in enumerate(surveys):
        if s.seen:
            at.append(i)
            if s.linear:  # light itself was looked at as gamma 2.2, which needs no estimate
                given[s.seen.key] = GAMMA22
    views = Each(lambda i: _view(surveys[i], known or {}), at)
    found = dict(zip(at, calibrate(views, given), strict=True))
    corrected = Each(lambda i: _apply_calibration(surveys[i], found.get(i)), range(len(surveys)))
    return Each(_without_rows, estimate_noise(corrected))


def _view(found: Survey, known: Mapping[str, Response]) -> View:
    assert found.seen
    return replace(found.seen.view(), key=_response_key(found.seen.key, found.name, known))


def _without_rows(found: Survey) -> Survey:
    """Without what told response and noise: the most of a survey, which goes with every task."""
    if not found.seen:
        return found
    return replace(found, seen=replace(found.seen, rows=pack_rows([]), noise=()))


def estimate_noise(surveys: Sequence[Survey]) -> Sequence[Survey]:
    """Surveys, their response known, with the noise of their camera at the ISO of the reference.

    Parameters
    ----------
    surveys : sequence of Survey
        Calibrated, of all brackets; those that were rejected stay as they are.
    """
    pools: dict[_Pool, PackedRows] = {}
    for s in surveys:
        for pool, rows in _rows(s).items():
            if not pool.alone:
                pools.setdefault(pool, pack_rows([])).extend(rows)
    shared = {pool: fit_noise(rows, pool.response, pool.bits) for pool, rows in pools.items()}

    def of(found: Survey) -> tuple[float, float] | None:
        if not found.seen:
            return None
        pool = _pool(found, found.seen.iso[found.seen.used[found.reference]])
        return (
            fit_noise(_rows(found)[pool], pool.response, pool.bits) if pool.alone else shared[pool]
        )

    noise = [of(s) for s in surveys]
    return Each(lambda i: replace(surveys[i], noise=noise[i]), range(len(noise)))


class _Pool(NamedTuple):
    """Frames that share their noise: those of a bracket alone where camera or ISO are unknown."""

    key: str
    iso: float
    response: Response
    bits: int
    alone: str


def _rows(found: Survey) -> dict[_Pool, PackedRows]:
    """What the frames of a bracket show of their noise, by pool."""
    pools: dict[_Pool, PackedRows] = {}
    if found.seen:
        for iso, rows in zip(found.seen.iso, found.seen.noise, strict=True):
            pools.setdefault(_pool(found, iso), pack_rows([])).extend(rows)
    return pools


def _pool(found: Survey, iso: float) -> _Pool:
    assert found.seen
    known = iso > 0 and found.camera
    # Light itself was looked at as gamma 2.2.
    response = GAMMA22 if found.linear else found.response
    return _Pool(found.seen.key, iso, response, found.depth, "" if known else found.name)


def _response_key(camera: str, name: str, known: Mapping[str, Response]) -> str:
    """Under what a response is known: by the camera, or by the bracket where it has its own."""
    own = [k for k in known if k.startswith(f"{camera}: ")]
    own = [k for k in own if f"/{k.removeprefix(f'{camera}: ')}".endswith(f"/{name}")]
    return own[0] if len(own) == 1 else camera


def _apply_calibration(found: Survey, calibration: Calibration | None) -> Survey:
    if not found.seen or not calibration:
        return found
    used = found.seen.used
    steps = [calibration.correction(i, used[found.reference]) for i in used]
    told = not calibration.assumed  # by a curve that is assumed pixels would correct nothing
    kept = [d if told and abs(d) > MIN_EV else 0.0 for d, _ in steps]
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


def responses_by_camera(surveys: Sequence[Survey]) -> dict[str, Any]:
    """The responses of calibrated brackets by camera, as a dataset stores them.

    Each has "name" ("assumed" where nothing told it), perhaps "curves", "brackets" (how many) and
    "misfit" (median over them, in codes of 255). A bracket that the curve of its camera does not
    fit has an entry of its own, named after it.
    """
    by_camera: dict[str, list[tuple[str, tuple[Response, bool], float | None]]] = {}
    for s in surveys:
        if s.seen:
            one = s.name, (s.response, s.assumed), s.misfit
            by_camera.setdefault(s.seen.key, []).append(one)
    entries: dict[str, Any] = {}
    for key, group in by_camera.items():
        [(common, _)] = Counter(kind for _, kind, _ in group).most_common(1)
        for name, kind, misfit in group:
            if kind != common:
                entries[f"{key}: {name}"] = _entry(*kind, [misfit])
            elif key not in entries:
                entries[key] = _entry(*kind, [m for _, k, m in group if k == common])
    return entries


def _entry(response: Response, assumed: bool, misfits: Sequence[float | None]) -> dict[str, Any]:
    told = [misfit for misfit in misfits if misfit is not None]
    return {
        "name": response_name(response, assumed),
        "brackets": len(misfits),
        "misfit": round(float(np.median(told)), 3) if told else None,
        **{k: v for k, v in response.as_json().items() if k != "name"},
    }


def load_responses(option: str) -> dict[str, Response] | None:
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
    if option in NAMED_RESPONSES:
        return {"*": Response(option)}
    path = Path(option)
    if path.suffix not in (".h5", ".json"):
        names = ", ".join(("auto", *NAMED_RESPONSES))
        raise UserError(f"--response {option}: expected {names}, or a dataset or .json file")
    try:
        stored = read_dataset_header(path).responses if path.suffix == ".h5" else read_json(path)
    except PARSE_ERRORS as e:
        raise UserError(f"{path}: expected responses as 'labelgen build' writes them") from e
    try:
        return stored_responses(stored)
    except (UserError, *PARSE_ERRORS) as e:
        raise UserError(f"{path}: expected responses as 'labelgen build' writes them") from e


def stored_responses(stored: Mapping[str, Any]) -> dict[str, Response]:
    """The responses that a dataset holds (`responses_by_camera`), without those assumed."""
    return {
        key: Response.from_json(entry)
        for key, entry in stored.items()
        if not entry["name"].endswith("(assumed)")
    }


def named_camera_responses(stored: Mapping[str, Any]) -> dict[str, Response]:
    """Of `stored_responses` the cameras that have a name: what is known of them holds elsewhere."""
    return {k: v for k, v in stored_responses(stored).items() if not k.startswith(UNKNOWN_CAMERA)}
