"""The frames of a bracket, decoded alike: one orientation, one white balance, one full scale.

``docs/photos.md`` says what is read, and what becomes of alpha, profiles and orientation.
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
from labelgen.photos.decode import apply_orientation, decode_photo
from labelgen.photos.exif import TRANSPOSED
from labelgen.photos.limits import RAW_SUFFIXES
from labelgen.photos.raw import develop

BAYER = ("RGGB", "BGGR", "GRBG", "GBRG")
"""Patterns of colour filters: the first two sensels of the first row, then of the second."""
PACKED_TOPS = (1023, 4095, 16383)
"""Full scale of 10, 12 and 14 bits, which some programs store in 16 as they are."""


@dataclass(frozen=True)
class Frames:
    """The frames of a bracket, all turned as the reference is.

    `codes` are F arrays (H, W, 3) RGB, uint8 or uint16, full scale at 255 or 65535, where the
    frame clips. Sizes and depths may differ between them. `linear` says that the codes are
    linear light (camera RAW, floating-point TIFF), not what a camera shows. `sampling` is rows and
    columns of pixels that share a colour difference, as the frames are turned.
    """

    codes: tuple[Codes, ...]
    linear: bool
    sampling: Sampling = FULL_SAMPLING


def read_frames(paths: Sequence[Path], reference: int, bayer: str = "") -> Frames:
    """Decode the frames of a bracket alike.

    Orientation, white balance and full scale are the reference's for all of them: phones change
    the first and cameras the second between the frames of a bracket.

    Parameters
    ----------
    paths : sequence of Path
        F files; either all camera RAW or none.
    reference : int
        Index of the reference among them.
    bayer : {"", "RGGB", "BGGR", "GRBG", "GBRG"}
        Colour filters of images with a single channel, which are demosaiced; "" for grey.

    Raises
    ------
    Rejected
        A frame is damaged, too large, of an unknown layout, or needs a library that is not
        installed; or the frames are of both kinds.
    """
    raw = [p for p in paths if p.suffix.lower() in RAW_SUFFIXES]
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
    full = [p.codes for p in photos] if linear else to_full_scale([p.codes for p in photos])
    orientation = photos[reference].orientation
    sampling = _common({p.sampling for p in photos}, orientation)
    return Frames(
        tuple(apply_orientation(in_colour(c, bayer), orientation) for c in full), linear, sampling
    )


def _common(samplings: Set[Sampling], orientation: int) -> Sampling:
    """How the frames store colour, once they are turned; as the coarsest where they differ."""
    down, across = (max(steps) for steps in zip(*samplings, strict=True))
    return (across, down) if orientation in TRANSPOSED else (down, across)


def read_image(path: Path, bayer: str = "") -> Codes:
    """Decode one image, turned as its EXIF orientation says.

    Parameters
    ----------
    path : Path
        In any format of `labelgen.photos.pictures.IMAGE_SUFFIXES`.
    bayer : str
        As in `read_frames`.

    Returns
    -------
    (H, W, 3) uint8 or uint16
        RGB codes, linear light if `read_frames` says so of this file.

    Raises
    ------
    Rejected
        As in `read_frames`.
    """
    return read_frames([path], 0, bayer).codes[0]


def to_full_scale(codes: Sequence[Codes]) -> list[Codes]:
    """Codes of a bracket with full scale at 65535, where they lie as 10, 12 or 14 bits in 16.

    The largest code of the bracket tells: where it is exactly 1023, 4095 or 16383 and more than
    one sample has it, it is where the sensor clips. A bracket that clips nowhere does not tell.
    """
    top = max(int(c.max()) for c in codes)
    if top not in PACKED_TOPS or any(c.dtype != np.uint16 for c in codes):
        return list(codes)
    if sum(int(np.count_nonzero(c == top)) for c in codes) < 2:
        return list(codes)
    table = np.rint(np.minimum(np.arange(65536) * (65535 / top), 65535)).astype(np.uint16)
    return [apply_lut(table, c) for c in codes]


def in_colour(codes: Codes, bayer: str = "") -> Codes:
    """(H, W) as (H, W, 3): demosaiced, edges respected, where `bayer` names the filters."""
    if codes.ndim == 3:
        return codes
    if not bayer:
        grey: Array = np.repeat(codes[..., None], 3, -1)
        return grey
    if bayer not in BAYER:
        raise Rejected(f"--bayer is '{bayer}', expected {', '.join(BAYER)}")
    # OpenCV names a pattern by its second row and column: RGGB is its "BG".
    name = {"RGGB": "BG", "BGGR": "RG", "GRBG": "GB", "GBRG": "GR"}[bayer]
    conversion: int = getattr(cv2, f"COLOR_Bayer{name}2RGB_EA")
    demosaiced: Codes = cv2.cvtColor(codes, conversion)
    return demosaiced
