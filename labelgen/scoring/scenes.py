"""Read a scene with its truth, and the label that was made of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from labelgen.core.arrays import Array, Bytes, Codes, Float, Mask
from labelgen.core.bracket import Bracket, Frame, distinct_exposures
from labelgen.core.errors import Rejected, UserError
from labelgen.core.validation import PARSE_ERRORS, read_json
from labelgen.photos.decode import decode_photo
from labelgen.photos.frames import read_frames
from labelgen.photos.pictures import read_hdr
from labelgen.scoring.figures import Truth

LABEL, WEIGHT, RECORD = "label.hdr", "weight.png", "label.json"
"""Files of a label, as ``labelgen label`` writes them."""
COVERED = 9
"""Coverage (of 255) by what moves from which a pixel counts as moving: it is seen from 4 % on."""


@dataclass(frozen=True)
class LabelledScene:
    """A label beside its truth, all of one size."""

    truth: Truth
    radiance: Float
    """(H, W, 3) the label."""
    weight: Bytes
    """(H, W) trust, 0 to 255."""
    codes: Codes
    """(H, W, 3) the reference frame."""
    linear: bool
    """Whether those codes are linear light."""


def read_scene(bracket: Bracket, folder: Path) -> LabelledScene:
    """Read a bracket with truth, and its label.

    ``label.json`` says which frames the label is made of. Without it, these are all frames, and
    the reference is the middle one.

    Parameters
    ----------
    bracket : Bracket
        With truth.
    folder : Path
        Holds ``label.hdr`` and ``weight.png``, perhaps ``label.json``.

    Raises
    ------
    Rejected
        A file is missing or damaged, or sizes differ.
    """
    assert bracket.truth is not None
    frames, reference = _frames_in_use(bracket, folder / RECORD)
    ev = [float(frame.ev or 0) for frame in frames]
    read = read_frames([frames[reference].path], 0)
    size = read.codes[0].shape[:2]
    scale = np.float32(2.0 ** (ev[0] - min(float(f.ev or 0) for f in bracket.frames)))
    truth = Truth(
        np.clip(_read_radiance(bracket.truth, size) * scale, 0, 1),
        _read_moving(_truth_folder(bracket.truth) / "moving.png", size),
        tuple(e - ev[0] for e in ev),
        reference,
        *_read_noise(_truth_folder(bracket.truth) / "noise.json"),
    )
    radiance, weight = _read_radiance(folder / LABEL, size), _read_grey(folder / WEIGHT, size)
    return LabelledScene(truth, radiance, weight, read.codes[0], read.linear)


def _frames_in_use(bracket: Bracket, record: Path) -> tuple[list[Frame], int]:
    """Frames that a label is made of, shortest first, and the index of the reference."""
    if not record.is_file():
        frames = distinct_exposures(bracket)
        return frames, len(frames) // 2
    by_name = {frame.path.name: frame for frame in bracket.frames if frame.ev is not None}
    try:
        values = read_json(record)
        names = values["frames"]
        reference = names.index(values.get("reference_frame", names[len(names) // 2]))
        return [by_name[name] for name in names], reference
    except (UserError, IndexError, *PARSE_ERRORS) as e:
        raise Rejected(f"{record.name}: is no record of a label of these frames") from e


def _truth_folder(truth: Path) -> Path:
    """Folder of what else is known: ``truth`` beside the frames."""
    return truth.parent if truth.parent.name == "truth" else truth.parent / "truth"


def _read_noise(path: Path) -> tuple[float, float, bool]:
    """Full well, read noise, and whether regions are lifted; defaults if nothing is stated."""
    if not path.is_file():
        return Truth.full_well, Truth.read, Truth.lifted
    try:
        values = read_json(path)
        full_well, read = float(values["full_well"]), float(values["read"])
        lifted = bool(values.get("local", False))
    except (UserError, *PARSE_ERRORS) as e:
        raise Rejected(f"{path.name}: expected full_well and read, in electrons") from e
    if not (0 < full_well < np.inf and 0 <= read < np.inf):
        raise Rejected(f"{path.name}: expected full_well above 0, and read of at least 0 electrons")
    return full_well, read, lifted


def _read_moving(path: Path, size: tuple[int, int]) -> Mask:
    """Read what moves, (H, W) bool; nothing if there is no such file."""
    return _read_grey(path, size) >= COVERED if path.is_file() else np.zeros(size, bool)


def _read_radiance(path: Path, size: tuple[int, int]) -> Float:
    radiance = read_hdr(path)
    _check_size(path, radiance, size)
    return radiance


def _read_grey(path: Path, size: tuple[int, int]) -> Bytes:
    if not path.is_file():
        raise Rejected(f"{path.name}: not found")
    codes = decode_photo(path).codes
    if codes.ndim != 2 or codes.dtype != np.uint8:
        raise Rejected(f"{path.name}: expected a grey image of 8 bits")
    _check_size(path, codes, size)
    return codes.astype(np.uint8)


def _check_size(path: Path, image: Array, size: tuple[int, int]) -> None:
    if image.shape[:2] != size:
        (h, w), (height, width) = image.shape[:2], size
        raise Rejected(f"{path.name}: {w}x{h} px, its frames {width}x{height}")
