"""The result of a survey of one bracket, and how it is stored.

It is stored twice: as JSON in the staging folder, so that an interrupted build need not read all
pixels again; and in the dataset, as the record that the file format describes.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from labelgen.alignment.homography import chain_homographies
from labelgen.calibration.step_errors import NO_ERRORS, StepErrors
from labelgen.core.arrays import Array, PackedRows, pack_rows
from labelgen.core.bracket import ESTIMATED
from labelgen.core.response import GAMMA22, Response
from labelgen.core.versions import installed_version
from labelgen.photos.formats import is_raw


@dataclass(frozen=True)
class HashedFile:
    """A file and the SHA-256 of its bytes."""

    path: Path
    sha256: str


@dataclass(frozen=True)
class SurveyedFrame:
    """One frame that a dataset takes.

    Exposures are in stops, relative to the stated exposure of the shortest frame taken.
    """

    path: Path
    sha256: str
    origin: str
    """Where the stated exposure comes from: "EXIF", "exposure.txt", ..."""
    stated_ev: float
    ev: float
    """The stated exposure, corrected by the pixels once the camera is calibrated."""
    measured_ev: float | None = None
    """Exposure estimated from pixels; None if no pixels, well exposed in two neighbouring frames,
    link the frame to the reference."""


@dataclass(frozen=True)
class CameraModel:
    """Response and noise of a camera, estimated from its brackets or stated by the user."""

    response: Response = GAMMA22
    assumed: bool = True
    """Whether the response is only assumed, because there is no evidence of it."""
    misfit: float | None = None
    """Median distance of the codes from the response, in codes of 255."""
    noise: tuple[float, float] | None = None
    """Full well and read noise in electrons, at the ISO of the reference."""
    errors: StepErrors = NO_ERRORS
    """Systematic errors of the exposures that its pixels measure."""

    @property
    def response_name(self) -> str:
        """Name of the response as files store it, with "(assumed)" if it is."""
        return f"{self.response.name} (assumed)" if self.assumed else self.response.name

    @property
    def mixing_record(self) -> dict[str, Any] | None:
        """How channels are mixed, as files store it; None if they are not."""
        return self.response.mixing.as_json() if self.response.mixing else None

    @property
    def noise_record(self) -> dict[str, float] | None:
        """Noise as files store it."""
        return dict(zip(("full_well", "read"), self.noise, strict=True)) if self.noise else None


@dataclass(frozen=True)
class PixelEvidence:
    """Pixel statistics of a bracket from which its camera is calibrated.

    Its frames, shortest first, may be more than those that the dataset takes.
    """

    camera_key: str
    """Name of camera and processing. Brackets that share it are assumed to share a response."""
    ev: tuple[float, ...]
    """Stated exposure of each frame, in stops."""
    used: tuple[int, ...]
    """Indices of the frames that the dataset takes."""
    ridges: PackedRows
    """Rows of the ridges of neighbouring frames (`labelgen.calibration.comparagram.Ridge`)."""
    iso: tuple[float, ...] = ()
    """ISO of each frame; 0 if unknown."""
    noise: tuple[PackedRows, ...] = ()
    """Rows of the noise of each frame (`labelgen.calibration.noise.observe_noise`)."""
    steps: tuple[PackedRows, ...] = ()
    """Homography (3, 3) from each frame to the one before it; empty where unknown."""
    places: PackedRows = field(default_factory=lambda: pack_rows([]))
    """Rows of seven numbers of places of neighbouring frames
    (`labelgen.calibration.response_curve.View.places`)."""

    def homographies(self, reference: int) -> tuple[Array | None, ...]:
        """Homographies (3, 3) from the reference to each frame taken (`Stack.homographies`)."""
        steps = [np.array(step).reshape(3, 3) if step else None for step in self.steps]
        return tuple(chain_homographies(steps, self.used[reference], i) for i in self.used)


@dataclass(frozen=True)
class Survey:
    """Description of one bracket by its files and pixels."""

    name: str
    rejected: str = ""
    """Reason if the bracket cannot be used, otherwise empty."""
    problems: tuple[str, ...] = ()
    """Remarks for the user, one line each."""
    frames: tuple[SurveyedFrame, ...] = ()
    """The frames that the dataset takes, shortest first."""
    reference: int = 1
    """Index of the reference among them."""
    offset_ev: float = 0.0
    """Exposure of the shortest frame taken, in stops relative to the shortest frame of the bracket.
    The ground truth refers to the latter."""
    size: tuple[int, int] = (0, 0)
    """Height and width in pixels."""
    bits: int = 8
    """Bits of the codes as they are stored in the photos."""
    linear: bool = False
    """Whether the codes are linear light (camera RAW, floating-point TIFF)."""
    bayer: str = ""
    """Colour filters of photos with a single channel."""
    camera: str = ""
    truth: HashedFile | None = None
    masks: tuple[HashedFile, ...] = ()
    evidence: PixelEvidence | None = None
    model: CameraModel = CameraModel()
    traceback: str = ""
    """Traceback of the exception, if the bracket was rejected because of a bug of labelgen."""

    @property
    def paths(self) -> list[Path]:
        """Paths of the photos, shortest exposure first."""
        return [frame.path for frame in self.frames]

    @property
    def ev(self) -> tuple[float, ...]:
        """Exposures in stops, relative to the stated exposure of the shortest frame."""
        return tuple(frame.ev for frame in self.frames)

    @property
    def has_estimated_exposures(self) -> bool:
        """Whether nothing stated its exposures, so that they were estimated from the pixels."""
        return any(frame.origin == ESTIMATED for frame in self.frames)

    @property
    def stored_bits(self) -> int:
        """Bits of the codes in a dataset: 16 where codes have to be recoded."""
        return self.bits if self.model.response.name == GAMMA22.name else 16


def to_json(survey: Survey) -> bytes:
    """Encode a survey for the staging folder."""
    return msgspec.json.encode(survey, enc_hook=_encode_value)


def from_json(data: bytes) -> Survey:
    """Decode a survey.

    Raises
    ------
    msgspec.MsgspecError
        The bytes are not a survey of this version.
    """
    return msgspec.json.decode(data, type=Survey, dec_hook=_decode_value)


def _encode_value(value: Any) -> Any:
    """Encode a type that JSON lacks. Any bytes can be a path, but only UTF-8 can be JSON."""
    if isinstance(value, Path):
        return os.fsencode(value).decode("latin-1")
    if isinstance(value, array):
        return value.tolist()
    raise NotImplementedError(type(value))


def _decode_value(kind: type, value: Any) -> Any:
    """Invert `_encode_value`."""
    return Path(os.fsdecode(value.encode("latin-1"))) if kind is Path else array("f", value)


def dataset_record(survey: Survey, files: Sequence[str]) -> dict[str, Any]:
    """Return the record of a bracket in a dataset; `files` are the relative paths of its frames."""
    if survey.rejected:
        return {"rejected": survey.rejected} | (
            {"problems": list(survey.problems)} if survey.problems else {}
        )
    frames = [
        {
            "file": file,
            "ev": round(frame.ev, 6),
            "stated": round(frame.stated_ev, 6),
            "origin": frame.origin,
            "sha256": frame.sha256,
        }
        for file, frame in zip(files, survey.frames, strict=True)
    ]
    record: dict[str, Any] = {"frames": frames, "size": list(survey.size), "depth": survey.bits}
    record |= {"camera": survey.camera, "response": survey.model.response_name}
    if survey.model.mixing_record:
        record["mixing"] = survey.model.mixing_record
    if survey.model.misfit is not None:
        record["misfit"] = survey.model.misfit
    if survey.model.noise:
        record["noise"] = survey.model.noise_record
    if survey.bayer:
        record["bayer"] = survey.bayer
    if any(map(is_raw, survey.paths)):
        record["developed"] = f"rawpy {installed_version('rawpy')}"
    if survey.truth:
        record |= {"truth_sha256": survey.truth.sha256, "truth_ev": round(survey.offset_ev, 6)}
    if survey.masks:
        record["masks"] = [{"file": m.path.name, "sha256": m.sha256} for m in survey.masks]
    if survey.problems:
        record["problems"] = list(survey.problems)
    return record
