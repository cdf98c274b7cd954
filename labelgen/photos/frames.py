"""Decode the frames of a bracket with one orientation, one white balance and one full scale.

``docs/photos.md`` lists the formats and how alpha, colour profiles and orientation are treated.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes, Mask
from labelgen.core.errors import Rejected
from labelgen.core.response import FULL_SAMPLING, Sampling
from labelgen.photos.borders import find_borders
from labelgen.photos.decode import Photo, decode_photo
from labelgen.photos.formats import is_lossy, is_raw
from labelgen.photos.levels import Levels, find_levels, to_full_scale
from labelgen.photos.orientation import TRANSPOSED, apply_orientation
from labelgen.photos.raw import develop

BAYER = ("RGGB", "BGGR", "GRBG", "GBRG")
"""Colour filter arrays: the first two sensels of the first row, then those of the second row."""


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
    levels: Levels | None = None
    """Codes of the files that were stretched to full scale; None if they were not."""
    no_data: Mask | None = None
    """(H, W) bool: pixels that any frame has no data of: they are transparent there, or belong to a
    border that holds no light. None if there are none."""

    @property
    def remarks(self) -> list[str]:
        """Remarks for the user on what the pixels show, one line each."""
        remarks = [self.levels.remark] if self.levels and self.levels.remark else []
        if self.no_data is not None:
            share = 100 * self.no_data.mean()
            remarks.append(f"{share:.2g} % of the picture has no data in a frame: not used")
        return remarks


def read_frames(
    paths: Sequence[Path], reference: int, bayer: str = "", levels: Levels | None = None
) -> Frames:
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
    levels : Levels, optional
        Where the frames clip, if other frames of the bracket have shown it. By default these show
        it (`labelgen.photos.levels`).

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
    no_data = _find_no_data(photos, any(map(is_lossy, paths)))
    levels = None if linear else levels or find_levels(codes, no_data)
    if levels:
        codes = tuple(to_full_scale(c, levels) for c in codes)
    orientation = photos[reference].orientation
    sampling = _coarsest({p.sampling for p in photos}, orientation)
    return Frames(
        tuple(apply_orientation(to_rgb(c, bayer), orientation) for c in codes),
        linear,
        sampling,
        levels,
        _union(no_data, orientation),
    )


def _find_no_data(photos: Sequence[Photo], lossy: bool) -> list[Mask | None]:
    """For each photo, its pixels (H, W) without data, as stored; None if there are none.

    Photos of different size have none: their bracket is rejected.
    """
    if len({p.codes.shape[:2] for p in photos}) > 1:
        return [None] * len(photos)
    borders = find_borders([p.codes for p in photos], lossy)
    return [_union([p.transparent, border], 1) for p, border in zip(photos, borders, strict=True)]


def _union(masks: Sequence[Mask | None], orientation: int) -> Mask | None:
    """Union of masks (H, W), turned; None if all are."""
    known = [mask for mask in masks if mask is not None]
    if not known:
        return None
    union: Array = np.logical_or.reduce(known).view(np.uint8)
    return apply_orientation(union, orientation) > 0


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
