"""Responses of cameras as datasets store them, and as the option ``--response`` names them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from labelgen.calibration.evidence import UNKNOWN_CAMERA
from labelgen.calibration.step_errors import NO_ERRORS, StepErrors
from labelgen.calibration.survey_records import CameraModel, Survey
from labelgen.core.errors import UserError
from labelgen.core.response import NAMED_RESPONSES, Response
from labelgen.core.validation import PARSE_ERRORS, read_json
from labelgen.dataset.header import read_dataset_header


class KnownResponses(dict[str, Response]):
    """Known responses by camera; "*" stands for every other camera."""

    def __init__(
        self, responses: Mapping[str, Response], errors: Mapping[str, StepErrors] | None = None
    ) -> None:
        super().__init__(responses)
        self.errors = dict(errors or {})
        """Systematic errors of the exposures that these cameras' pixels measure, where stored."""


def responses_by_camera(surveys: Sequence[Survey]) -> dict[str, Any]:
    """Return the responses of calibrated brackets by camera, as a dataset stores them.

    An entry has "name" (which ends in "(assumed)" without evidence), "curves" and "step_errors"
    (`labelgen.calibration.step_errors.StepErrors`) if it was estimated, "brackets" (their number),
    and "misfit" (their median, in codes of 255). A bracket with a curve of its own has an entry
    "CAMERA: BRACKET".
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
    entry = {
        "name": model.response_name,
        "brackets": len(misfits),
        "misfit": round(float(np.median(measured)), 3) if measured else None,
        **{k: v for k, v in model.response.as_json().items() if k != "name"},
    }
    if model.errors != NO_ERRORS:
        entry |= {"step_errors": asdict(model.errors)}
    return entry


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


def stored_responses(stored: Mapping[str, Any]) -> KnownResponses:
    """Parse the responses of a dataset (`responses_by_camera`), without those only assumed."""
    kept = {k: entry for k, entry in stored.items() if not entry["name"].endswith("(assumed)")}
    return KnownResponses(
        {key: Response.from_json(entry) for key, entry in kept.items()},
        {
            key: StepErrors(**{k: float(v) for k, v in entry["step_errors"].items()})
            for key, entry in kept.items()
            if "step_errors" in entry
        },
    )


def named_camera_responses(stored: Mapping[str, Any]) -> dict[str, Response]:
    """Return the `stored_responses` of cameras with a name, which other datasets may share."""
    return {k: v for k, v in stored_responses(stored).items() if not k.startswith(UNKNOWN_CAMERA)}
