"""Decode the frames of a bracket with one orientation, one white balance and one full scale.

``docs/photos.md`` lists the formats and how alpha, colour profiles and orientation are treated.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes, apply_lut
from labelgen.core.errors import Rejected
from labelgen.core.response import FULL_SAMPLING, Sampling
from labelgen.photos.decode import decode_photo
from labelgen.photos.formats import is_raw
from labelgen.photos.orientation import TRANSPOSED, apply_orientation
from labelgen.photos.raw import develop

BAYER = ("RGGB", "BGGR", "GRBG", "GBRG")
"""Colour filter arrays: the first two sensels of the first row, then those of the second row."""
UNSCALED_FULL_SCALES = (1023, 4095, 16383)
"""Full scale of 10, 12 and 14 bits. Some programs store such codes in 16 bits without scaling."""


@dataclass(frozen=True)
class Frames:
    """The decoded frames of a bracket, all turned by the EXIF orientation of the reference."""

    codes: tuple[Codes, ...]
    """F arrays (H, W, 3) RGB, uint8 or uint16, which clip at 255 or 65535. Size and dtype may
    differ between frames."""
    linear: bool
    """Whether the codes are linear light (camera RAW, floating-point TIFF)."""
    sampling: Sampling = FULL_SAMPLING
    """Numbers of rows and columns of pixels that share one chroma sample, in the turned frames."""


def read_frames(paths: Sequence[Path], reference: int, bayer: str = "") -> Frames:
    """Decode the frames of a bracket with the same settings.

    All frames get the orientation and the white balance of the reference: phones may change the
    orientation between frames, and cameras the white balance. All frames share one full scale.

    Parameters
    ----------
    paths : sequence of Path
        F files; either all camera RAW or none.
    reference : int
        Index of the reference among them.
    bayer : {"", "RGGB", "BGGR", "GRBG", "GBRG"}
        Colour filter array of single-channel images, which are demosaiced; "" for grey images.

    Returns
    -------
    Frames
        The F frames, in the order of `paths`.

    Raises
    ------
    Rejected
        A frame is damaged, too large, not RGB or grey, or needs a library that is not installed;
        or only some frames are camera RAW, or linear light.
    """
    raw = [p for p in paths if is_raw(p)]
    if raw and len(raw) < len(paths):
        other = next(p for p in paths if p not in raw)
        raise Rejected(f"{raw[0].name} is camera RAW, {other.name} is not; take either from there")
    if raw:
        codes, orientation = develop(paths, reference)
        return Frames(tuple(apply_orientation(c, orientation) for c in codes), True)
    photos = [decode_photo(p) for p in paths]
    linear = photos[reference].linear
    for path, photo in zip(paths, photos, strict=True):
        if photo.linear != linear:
            raise Rejected(
                f"{path.name} is {'linear' if photo.linear else 'not linear'} light, unlike "
                f"{paths[reference].name}; take frames of one kind"
            )
    codes = tuple(p.codes for p in photos)
    scaled = codes if linear else to_full_scale(codes)
    orientation = photos[reference].orientation
    sampling = _coarsest({p.sampling for p in photos}, orientation)
    return Frames(
        tuple(apply_orientation(to_rgb(c, bayer), orientation) for c in scaled), linear, sampling
    )


def _coarsest(samplings: Set[Sampling], orientation: int) -> Sampling:
    """Coarsest chroma sampling of the frames, as (rows, columns) after they are turned."""
    down, across = (max(steps) for steps in zip(*samplings, strict=True))
    return (across, down) if orientation in TRANSPOSED else (down, across)


def read_image(path: Path, bayer: str = "") -> Codes:
    """Decode one image and apply its EXIF orientation.

    Parameters
    ----------
    path : Path
        A file with one of `labelgen.photos.formats.IMAGE_SUFFIXES`.
    bayer : str
        See `read_frames`.

    Returns
    -------
    (H, W, 3) uint8 or uint16
        RGB codes: linear light of camera RAW and of floating-point TIFF.

    Raises
    ------
    Rejected
        See `read_frames`.
    """
    return read_frames([path], 0, bayer).codes[0]


def to_full_scale(codes: Sequence[Codes]) -> list[Codes]:
    """Rescale codes of 10, 12 or 14 bits that are stored unscaled in 16 bits.

    Such codes are recognised by the largest code of the bracket: if it is exactly 1023, 4095 or
    16383 and more than one sample has it, the sensor clips there. A bracket without a clipped
    sample is returned as it is.

    Parameters
    ----------
    codes : sequence of (H, W) or (H, W, 3) arrays
        All frames of a bracket, uint8 or uint16.

    Returns
    -------
    list of arrays
        Codes of the same shapes and dtypes. If they were rescaled, clipped samples are 65535.

    Examples
    --------
    >>> to_full_scale([np.uint16([[0, 4095, 4095]])])[0].tolist()
    [[0, 65535, 65535]]
    """
    top = max(int(c.max()) for c in codes)
    if top not in UNSCALED_FULL_SCALES or any(c.dtype != np.uint16 for c in codes):
        return list(codes)
    if sum(int(np.count_nonzero(c == top)) for c in codes) < 2:
        return list(codes)
    lut = np.rint(np.minimum(np.arange(65536) * (65535 / top), 65535)).astype(np.uint16)
    return [apply_lut(lut, c) for c in codes]


def to_rgb(codes: Codes, bayer: str = "") -> Codes:
    """Convert (H, W) codes to (H, W, 3) RGB: demosaiced (edge-aware) by `bayer`, or grey.

    Codes that have three channels are returned as they are.
    """
    if codes.ndim == 3:
        return codes
    if not bayer:
        grey: Array = np.repeat(codes[..., None], 3, -1)
        return grey
    if bayer not in BAYER:
        raise Rejected(f"--bayer is '{bayer}', expected {', '.join(BAYER)}")
    # OpenCV names a pattern by the second and third sensel of its second row: RGGB is its "BG".
    name = {"RGGB": "BG", "BGGR": "RG", "GRBG": "GB", "GBRG": "GR"}[bayer]
    conversion: int = getattr(cv2, f"COLOR_Bayer{name}2RGB_EA")
    demosaiced: Codes = cv2.cvtColor(codes, conversion)
    return demosaiced
