"""Calibrate cameras and exposures from the pixels of all brackets together.

`labelgen.calibration.survey` examines one bracket at a time. Here all brackets of a camera serve to
estimate its response (`labelgen.calibration.calibrate`) and its noise
(`labelgen.calibration.noise`), and the pixels correct exposures that were stated wrongly.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from labelgen.calibration.bracket_exposures import Calibration
from labelgen.calibration.calibrate import MAX_BRACKETS, calibrate
from labelgen.calibration.comparagram import Ridge
from labelgen.calibration.known_responses import KnownResponses
from labelgen.calibration.noise import fit_noise
from labelgen.calibration.response_curve import View
from labelgen.calibration.step_errors import NO_ERRORS, StepErrors, camera_errors, correction_errors
from labelgen.calibration.survey_records import CameraModel, Survey
from labelgen.core.arrays import PackedRows, pack_rows, stride
from labelgen.core.disk_list import DiskList
from labelgen.core.response import GAMMA22, Response

MIN_EV = 0.03
"""Corrections smaller than this (stops) are dropped: exposures stated exactly stay as they are."""
MIN_ERRORS = 2.0
"""So are those smaller than this multiple of their standard deviation, since what the pixels of a
camera measure has systematic errors (`labelgen.calibration.step_errors`)."""
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
        Known responses by `labelgen.calibration.evidence.camera_key`; "*" stands for every other
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
    views = DiskList(_view(survey, known) for survey in surveys if survey.evidence)
    calibrations = calibrate(views, responses)
    errors = _step_errors(views, calibrations, known)

    def calibrated_surveys() -> Iterator[Survey]:
        done = zip(views, calibrations, errors, strict=True)
        for survey in surveys:
            yield _apply_calibration(survey, *next(done)) if survey.evidence else survey

    calibrated = DiskList(calibrated_surveys())
    noise = estimate_noise(calibrated)
    return DiskList(_add_noise(s, n) for s, n in zip(calibrated, noise, strict=True))


def _view(survey: Survey, known: Mapping[str, Response]) -> View:
    assert survey.evidence
    key = _response_key(survey.evidence.camera_key, survey.name, known)
    places = np.array(survey.evidence.places, np.float64).reshape(-1, 7)
    return View(key, survey.evidence.ev, Ridge.of(survey.evidence.ridges), places)


def _response_key(camera: str, name: str, known: Mapping[str, Response]) -> str:
    """Return the key of a response: "CAMERA: BRACKET" if that is known, otherwise the camera."""
    own = [k for k in known if k.startswith(f"{camera}: ")]
    own = [k for k in own if f"/{k.removeprefix(f'{camera}: ')}".endswith(f"/{name}")]
    return own[0] if len(own) == 1 else camera


def _step_errors(
    views: Sequence[View], calibrations: Sequence[Calibration], known: Mapping[str, Response]
) -> list[StepErrors]:
    """Systematic errors of the camera of each bracket: as stored, or estimated from all brackets.

    Brackets with a response of a known formula have none: their own pixels were found to fit it.
    """
    stored = known.errors if isinstance(known, KnownResponses) else {}
    groups: dict[tuple[str, Response], list[int]] = {}
    for i, (view, calibration) in enumerate(zip(views, calibrations, strict=True)):
        if calibration.response.curves:
            groups.setdefault((view.key, calibration.response), []).append(i)
    errors = [NO_ERRORS] * len(views)
    for (key, _), group in groups.items():
        sample = group[:: stride(len(group), MAX_BRACKETS)]
        common = stored.get(key) or camera_errors((views[i], calibrations[i]) for i in sample)
        for i in group:
            errors[i] = common
    return errors


def _apply_calibration(
    survey: Survey, view: View, calibration: Calibration, errors: StepErrors
) -> Survey:
    """Return a survey with its response, and with corrected exposures."""
    assert survey.evidence
    used = survey.evidence.used
    reference = used[survey.reference]
    # As stated, but for typing errors in a list; the reference keeps what is stated.
    ev_of, kept = survey.evidence.ev, survey.frames[survey.reference].stated_ev
    stated = [ev_of[i] - ev_of[reference] + kept for i in used]
    steps = [calibration.correction(i, reference) for i in used]
    # Without a known response, the pixels say nothing about exposures.
    deviations = correction_errors(view, calibration, errors, reference)
    limits = [max(MIN_EV, MIN_ERRORS * deviations[i]) for i in used]
    corrections = [
        d if abs(d) > limit and not calibration.assumed else 0.0
        for (d, _), limit in zip(steps, limits, strict=True)
    ]
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
            errors=errors,
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
        evidence=replace(survey.evidence, ridges=pack_rows([]), noise=(), places=pack_rows([])),
    )
