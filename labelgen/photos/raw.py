"""Camera RAW, developed alike for a whole bracket, through rawpy (LibRaw).

LibRaw's defaults choose brightness, white level and white balance anew for each file, which
ruins the ratios between the frames of a bracket. Here they are fixed once per bracket. RAW files
need the extra: ``pip install 'labelgen[raw]'``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import io
import mmap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from PIL import Image

from labelgen.core.arrays import Array, Codes
from labelgen.core.errors import Rejected
from labelgen.photos import tiff
from labelgen.photos.exif import PhotoHeader, exif_of, from_exif, positive_number
from labelgen.photos.limits import RAW_SUFFIXES, check_size

NEEDED = "camera RAW needs rawpy: pip install 'labelgen[raw]'"
PILE, NEAR, STEEP = 1e-3, 0.05, 10
"""Sensels of one colour clip at their highest value if at least this share of them has exactly
that value, and so many times more than have any other value in the top 5 %."""
MIN_CLIP = 0.75
"""No camera clips below this share of the white level that LibRaw knows (its own threshold)."""
ORIENTATIONS = {0: 1, 1: 2, 2: 4, 3: 3, 4: 5, 5: 8, 6: 6, 7: 7}
"""EXIF orientation of LibRaw's flip: bits are mirrored left-right, top-bottom, transposed."""


def is_raw_readable() -> bool:
    """Whether rawpy is installed."""
    return importlib.util.find_spec("rawpy") is not None


@cache
def installed_version(distribution: str) -> str:
    """Version of an optional library, "" if it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def check_readable(paths: Sequence[Path]) -> None:
    """Reject camera RAW where rawpy is missing, which is said before anything else is.

    Raises
    ------
    Rejected
        With the line that installs it.
    """
    raw = [p for p in paths if p.suffix.lower() in RAW_SUFFIXES]
    if raw and not is_raw_readable():
        raise Rejected(f"{raw[0].name}: {NEEDED}")


def prefer_raw(names: Sequence[str], raw_readable: bool) -> tuple[list[str], str]:
    """Of one photo that was stored as RAW and as a picture, keep one file.

    Parameters
    ----------
    names : sequence of str
        File names of a folder. Two belong together if only their suffixes differ.
    raw_readable : bool
        Whether camera RAW can be read; the pictures are kept if not.

    Returns
    -------
    names : list of str
        What is left, in the same order.
    remark : str
        What was left out, one line; "" if nothing was.
    """
    stems = [PurePath(name).stem.casefold() for name in names]
    is_raw = [PurePath(name).suffix.lower() in RAW_SUFFIXES for name in names]
    both = {s for s, r in zip(stems, is_raw, strict=True) if r}
    both &= {s for s, r in zip(stems, is_raw, strict=True) if not r}
    out = [s in both and r != raw_readable for s, r in zip(stems, is_raw, strict=True)]
    kept = [name for name, o in zip(names, out, strict=True) if not o]
    if not both:
        return kept, ""
    first = names[out.index(True)]
    more = f" and {sum(out) - 1} more" if sum(out) > 1 else ""
    verb = "are" if more else "is"
    if raw_readable:
        return kept, f"{first}{more} {verb} left out: the camera RAW of the same name is taken"
    return kept, f"{first}{more} {verb} left out: {NEEDED}"


def develop(paths: Sequence[Path], reference: int) -> tuple[tuple[Codes, ...], int]:
    """Develop the RAW files of one bracket to linear light, all alike.

    Black is subtracted by each file's own level. White balance is the camera's for the reference
    frame, its smallest gain 1. One full scale goes for all frames, the lowest clip of any colour
    of any frame: a sensel that clips becomes 65535, in all channels, whatever its gain. No
    brightness, gamma, denoising or lens correction; AHD demosaicing; linear sRGB primaries.

    Parameters
    ----------
    paths : sequence of Path
        F files.
    reference : int
        Index of the reference among them.

    Returns
    -------
    codes : F arrays (H, W, 3) uint16
        Linear RGB, 65535 where the frame clips, as they lie in the file (not turned).
    orientation : int
        EXIF orientation of the reference, 1 to 8.

    Raises
    ------
    Rejected
        rawpy is missing, or a file is damaged, too large or of an unknown camera.
    """
    with contextlib.ExitStack() as opened:
        photos = [opened.enter_context(_photo(p)) for p in paths]
        gains = white_balance(photos[reference])
        orientation = ORIENTATIONS.get(photos[reference].sizes.flip, 1)
        scales = []
        for path, photo in zip(paths, photos, strict=True):
            with _named(path):
                scales.append(full_scale(photo))
        codes = []
        for path, photo in zip(paths, photos, strict=True):
            with _named(path):
                codes.append(_developed(photo, gains, min(scales)))
                photo.close()  # its buffers are larger than the result
    return tuple(codes), orientation


def _developed(photo: Any, gains: list[float], scale: int) -> Codes:
    from rawpy import ColorSpace, DemosaicAlgorithm, HighlightMode

    image: Array = photo.postprocess(
        demosaic_algorithm=DemosaicAlgorithm.AHD,
        user_wb=gains,
        user_sat=scale,
        adjust_maximum_thr=0.0,
        no_auto_bright=True,
        bright=1.0,
        highlight_mode=HighlightMode.Clip,
        gamma=(1, 1),
        output_bps=16,
        output_color=ColorSpace.sRGB,
        user_flip=0,
    )
    if image.ndim == 2 or image.shape[2] == 1:  # a camera without colour
        image = np.repeat(image.reshape(*image.shape[:2], 1), 3, -1)
    return image.astype(np.uint16, copy=False)


def white_balance(photo: Any) -> list[float]:
    """The camera's gains of red, green, blue and second green; daylight's where it noted none."""
    for gains in (photo.camera_whitebalance, photo.daylight_whitebalance):
        if min(gains[:3]) > 0:
            return [float(g) for g in gains]
    return [1.0, 1.0, 1.0, 1.0]


def full_scale(photo: Any) -> int:
    """Difference of the clip and the black level of the colour that clips first, in raw units.

    The white level that LibRaw knows is too high for some cameras, so that what is clipped would
    be tinted (and not recognised). Where the sensels of a colour pile up below it, they clip there.
    """
    blacks = [int(b) for b in photo.black_level_per_channel]
    white = int(photo.white_level)
    noted = [int(w) for w in photo.camera_white_level_per_channel or ()]
    white = min([white, *(w for w in noted if w > MIN_CLIP * white)])
    scales = [white - black for black in blacks]
    sensels = photo.raw_image_visible
    if sensels.ndim == 2:
        pattern = photo.raw_pattern
        period = 2 if pattern is not None and pattern.shape == (2, 2) else 1
        for y in range(period):
            for x in range(period):
                black = blacks[pattern[y, x]] if period == 2 else max(blacks)
                scales.append(_pile(sensels[y::period, x::period], black, white))
    return max(1, min(scales))


def _pile(sensels: Array, black: int, white: int) -> int:
    """Clip above black by the sensels of one colour; by the white level if they don't tell."""
    top = int(sensels.max())
    if not MIN_CLIP * (white - black) < top - black < white - black:
        return white - black
    below = top - int(NEAR * (top - black))
    counts = np.bincount(sensels[sensels >= below].astype(np.intp) - below)
    piled = counts[-1] >= max(2, PILE * sensels.size) and counts[-1] > STEEP * counts[:-1].max()
    return top - black if piled else white - black


def raw_header(path: Path) -> PhotoHeader:
    """What the header of a RAW file says; never raises for a bad file.

    Exposure and camera are from EXIF where the file is a TIFF at heart (DNG, CR2, NEF, ARW) or
    its preview has EXIF; what is missing there is from LibRaw. The size needs rawpy.
    """
    exif = Image.Exif()
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(Exception):  # no TIFF, or one that Pillow cannot read
            file = opened.enter_context(path.open("rb"))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                tiff.check_directories(data)
            exif.load_from_fp(file)
        try:
            return _with_libraw(path, exif)
        except Rejected as e:
            return from_exif(exif, None, problem=str(e).removeprefix(f"{path.name}: "))


def _with_libraw(path: Path, exif: Image.Exif) -> PhotoHeader:
    with _photo(path) as photo:
        header = from_exif(
            exif if len(exif) else _preview_exif(photo),
            (photo.sizes.height, photo.sizes.width),
            ORIENTATIONS.get(photo.sizes.flip, 1),
        )
        if header.time_s and header.fnumber and header.iso:
            return header
        other = photo.other  # which decodes the sensels
        return replace(
            header,
            time_s=header.time_s or positive_number(other.shutter_speed),
            fnumber=header.fnumber or positive_number(other.aperture),
            iso=header.iso or positive_number(other.iso_speed),
        )


def _preview_exif(photo: Any) -> Image.Exif:
    try:
        with Image.open(io.BytesIO(photo.extract_thumb().data)) as preview:
            return exif_of(preview)
    except Exception:  # no preview, one without EXIF, or a damaged one
        return Image.Exif()


@contextlib.contextmanager
def _photo(path: Path) -> Iterator[Any]:
    """A RAW file opened by LibRaw, its size checked, nothing decoded yet."""
    try:
        import rawpy
    except ImportError as e:
        raise Rejected(f"{path.name}: {NEEDED}") from e
    if not path.is_file():
        raise Rejected(f"{path.name}: no such file")
    with _named(path), rawpy.imread(str(path)) as photo:
        try:
            check_size(photo.sizes.raw_height, photo.sizes.raw_width)
        except Rejected as e:
            raise Rejected(f"{path.name}: {e}") from e
        yield photo


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """LibRaw's errors as reasons that name the file."""
    from rawpy import LibRawError, NotSupportedError

    try:
        yield
    except (LibRawError, NotSupportedError, RuntimeError, ValueError, OSError) as e:
        reason = e.args[0].decode() if e.args and isinstance(e.args[0], bytes) else str(e)
        raise Rejected(f"{path.name}: cannot be developed (LibRaw: {reason})") from e
