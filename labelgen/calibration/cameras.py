"""Calibrate cameras and exposures from the pixels of all brackets together.

`labelgen.calibration.survey` examines one bracket at a time. Here all brackets of a camera serve to
estimate its response (`labelgen.calibration.calibrate`) and its noise
(`labelgen.calibration.noise`), and the pixels correct exposures that were stated wrongly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labelgen.calibration.calibrate import Calibration, calibrate
from labelgen.calibration.comparagram import Ridge
from labelgen.calibration.noise import fit_noise
from labelgen.calibration.response_curve import View
from labelgen.calibration.survey import UNKNOWN_CAMERA
from labelgen.calibration.survey_records import CameraModel, Survey
from labelgen.core.arrays import PackedRows, pack_rows
from labelgen.core.disk_list import DiskList
from labelgen.core.errors import UserError
from labelgen.core.response import GAMMA22, NAMED_RESPONSES, Response
from labelgen.core.validation import PARSE_ERRORS, read_json
from labelgen.dataset.header import read_dataset_header

MIN_EV = 0.03
"""Corrections smaller than this (stops) are dropped: exposures stated exactly stay as they are."""
NOTABLE_EV = 0.15
"""A correction larger than this (stops) becomes a remark in the problems of the bracket."""


def calibrate_surveys(
    surveys: Sequence[Survey], known: Mapping[str, Response] | None = None
) -> DiskList[Survey]:
    """Add response and noise of their cameras to surveys, and correct exposures by the pixels.

    The reference keeps its stated exposure, and with it the scale of radiance; the others are
    corrected to it.

    Parameters
    ----------
    surveys : sequence of Survey
        Surveys of all brackets. Those of rejected brackets are returned unchanged.
    known : mapping of str to Response, optional
        Known responses by `labelgen.calibration.survey.camera_key`; "*" stands for every other
        camera.

    Returns
    -------
    DiskList of Survey
        Surveys in the same order, without the evidence that only calibration needs. They are on
        the disk, because there may be thousands.
    """
    known = known or {}
    responses = dict(known)
    for survey in surveys:
        if survey.evidence and survey.linear:  # surveys convert linear light to gamma 2.2
            responses[survey.evidence.camera_key] = GAMMA22
    usable = [i for i, survey in enumerate(surveys) if survey.evidence]
    views = DiskList(_view(surveys[i], known) for i in usable)
    calibrations = dict(zip(usable, calibrate(views, responses), strict=True))
    calibrated = DiskList(
        _apply_calibration(survey, calibrations[i]) if i in calibrations else survey
        for i, survey in enumerate(surveys)
    )
    noise = estimate_noise(calibrated)
    return DiskList(_add_noise(s, n) for s, n in zip(calibrated, noise, strict=True))


def _view(survey: Survey, known: Mapping[str, Response]) -> View:
    assert survey.evidence
    key = _response_key(survey.evidence.camera_key, survey.name, known)
    return View(key, survey.evidence.ev, Ridge.of(survey.evidence.ridges))


def _response_key(camera: str, name: str, known: Mapping[str, Response]) -> str:
    """Return the key of a response: "CAMERA: BRACKET" if that is known, otherwise the camera."""
    own = [k for k in known if k.startswith(f"{camera}: ")]
    own = [k for k in own if f"/{k.removeprefix(f'{camera}: ')}".endswith(f"/{name}")]
    return own[0] if len(own) == 1 else camera


def _apply_calibration(survey: Survey, calibration: Calibration) -> Survey:
    """Return a survey with its response, and with corrected exposures."""
    assert survey.evidence
    used = survey.evidence.used
    stated = [frame.stated_ev for frame in survey.frames]
    steps = [calibration.correction(i, used[survey.reference]) for i in used]
    # Without a known response, the pixels say nothing about exposures.
    reliable = not calibration.assumed
    corrections = [d if reliable and abs(d) > MIN_EV else 0.0 for d, _ in steps]
    ev = [round(s + d, 4) for s, d in zip(stated, corrections, strict=True)]
    remarks = [
        f"{frame.path.name}: reads {d:+.2f} EV against {frame.origin}; corrected"
        for frame, d in zip(survey.frames, corrections, strict=True)
        if abs(d) > NOTABLE_EV
    ]
    if any(b <= a for a, b in pairwise(ev)):  # no correction may change the order of the frames
        ev, remarks = stated, []
    measured = [
        round(s + d, 4) if np.isfinite(error) else None
        for s, (d, error) in zip(stated, steps, strict=True)
    ]
    return replace(
        survey,
        problems=(*survey.problems, *remarks),
        frames=tuple(
            replace(frame, ev=e, measured_ev=m)
            for frame, e, m in zip(survey.frames, ev, measured, strict=True)
        ),
        model=CameraModel(
            Response("linear") if survey.linear else calibration.response,
            calibration.assumed,
            None if calibration.misfit is None else round(calibration.misfit, 3),
        ),
    )


def estimate_noise(surveys: Iterable[Survey]) -> list[tuple[float, float] | None]:
    """Estimate the noise of the camera of each bracket at the ISO of its reference.

    Parameters
    ----------
    surveys : iterable of Survey
        Surveys of all brackets, with their responses. It is iterated once.

    Returns
    -------
    list of (float, float) or None
        Full well and read noise in electrons; None for brackets without an estimate.
    """
    shared: dict[_NoisePool, PackedRows] = {}
    results: list[_NoisePool | tuple[float, float] | None] = []
    for survey in surveys:
        if not survey.evidence:
            results.append(None)
            continue
        own: dict[_NoisePool, PackedRows] = {}
        for iso, rows in zip(survey.evidence.iso, survey.evidence.noise, strict=True):
            pool = _noise_pool(survey, iso)
            pools = own if pool.bracket else shared
            pools.setdefault(pool, pack_rows([])).extend(rows)
        pool = _noise_pool(survey, survey.evidence.iso[survey.evidence.used[survey.reference]])
        results.append(_fit(pool, own[pool]) if pool.bracket else pool)
    fits = {pool: _fit(pool, rows) for pool, rows in shared.items()}
    return [fits[result] if isinstance(result, _NoisePool) else result for result in results]


def _fit(pool: _NoisePool, rows: PackedRows) -> tuple[float, float] | None:
    return fit_noise(rows, pool.response, pool.bits)


class _NoisePool(NamedTuple):
    """Key of the frames from which one noise model is fitted.

    If camera or ISO are unknown, these are frames of one bracket, whose name is `bracket`.
    """

    key: str
    iso: float
    response: Response
    bits: int
    bracket: str


def _noise_pool(survey: Survey, iso: float) -> _NoisePool:
    assert survey.evidence
    known = iso > 0 and survey.camera
    # Surveys convert linear light to gamma 2.2.
    response = GAMMA22 if survey.linear else survey.model.response
    bracket = "" if known else survey.name
    return _NoisePool(survey.evidence.camera_key, iso, response, survey.bits, bracket)


def _add_noise(survey: Survey, noise: tuple[float, float] | None) -> Survey:
    """Return a survey with its noise, and without rows of evidence, which are most of its size."""
    if not survey.evidence:
        return survey
    return replace(
        survey,
        model=replace(survey.model, noise=noise),
        evidence=replace(survey.evidence, ridges=pack_rows([]), noise=()),
    )


def responses_by_camera(surveys: Sequence[Survey]) -> dict[str, Any]:
    """Return the responses of calibrated brackets by camera, as a dataset stores them.

    An entry has "name" (which ends in "(assumed)" without evidence), "curves" if it was estimated,
    "brackets" (their number), and "misfit" (their median, in codes of 255). A bracket with a curve
    of its own has an entry "CAMERA: BRACKET".
    """
    by_camera: dict[str, list[tuple[str, CameraModel, float | None]]] = {}
    models: dict[CameraModel, CameraModel] = {}  # curves are large: hold each of them once
    for survey in surveys:
        if survey.evidence:
            model = replace(survey.model, misfit=None, noise=None)
            item = survey.name, models.setdefault(model, model), survey.model.misfit
            by_camera.setdefault(survey.evidence.camera_key, []).append(item)
    entries: dict[str, Any] = {}
    for key, group in by_camera.items():
        [(common, _)] = Counter(model for _, model, _ in group).most_common(1)
        for name, model, misfit in group:
            if model != common:
                entries[f"{key}: {name}"] = _entry(model, [misfit])
            elif key not in entries:
                entries[key] = _entry(common, [m for _, other, m in group if other == common])
    return entries


def _entry(model: CameraModel, misfits: Sequence[float | None]) -> dict[str, Any]:
    measured = [misfit for misfit in misfits if misfit is not None]
    return {
        "name": model.response_name,
        "brackets": len(misfits),
        "misfit": round(float(np.median(measured)), 3) if measured else None,
        **{k: v for k, v in model.response.as_json().items() if k != "name"},
    }


def load_responses(option: str) -> dict[str, Response] | None:
    """Return the known responses that the option ``--response`` names.

    Parameters
    ----------
    option : str
        "auto"; a name of `NAMED_RESPONSES`, for all cameras; or the path of a dataset, or of a
        .json file that a build wrote beside it. Responses of cameras that are not in the file are
        estimated.

    Returns
    -------
    dict of str to Response, or None
        Responses by camera, "*" for all cameras; None ("auto") if all are to be estimated.

    Raises
    ------
    UserError
        The name or file does not exist, or the file holds no responses.
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
    """Parse the responses of a dataset (`responses_by_camera`), without those only assumed."""
    return {
        key: Response.from_json(entry)
        for key, entry in stored.items()
        if not entry["name"].endswith("(assumed)")
    }


def named_camera_responses(stored: Mapping[str, Any]) -> dict[str, Response]:
    """Return the `stored_responses` of cameras with a name, which other datasets may share."""
    return {k: v for k, v in stored_responses(stored).items() if not k.startswith(UNKNOWN_CAMERA)}
