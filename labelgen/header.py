"""What the header of an image file says, without decoding its pixels."""

from __future__ import annotations

import calendar
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL.BmpImagePlugin import BmpImageFile
from PIL.Image import Exif
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from labelgen.makernote import Bracketing, read_bracketing

MOST_PIXELS = 1 << 28
"""Larger images (268 megapixels) are refused: no camera takes them, and a header costs nothing."""

TAIL_BYTES = 4096
"""Where the end of a whole JPEG or PNG is looked for first."""


@dataclass(frozen=True)
class Header:
    """What the header of an image file says, without decoding its pixels."""

    size: tuple[int, int] | None
    """Height and width as displayed (EXIF orientation applied); None if unreadable."""
    camera: str = ""
    time_s: float | None = None
    fnumber: float | None = None
    iso: float | None = None
    taken: float | None = None
    """When the exposure began, in seconds since 1970 by the clock of the camera."""
    lens: str = ""
    focal_mm: float | None = None
    serial: str = ""
    bias_ev: float | None = None
    """Exposure bias in stops, by the maker's note of the step where there is one."""
    auto_bracket: bool | None = None
    """Whether the camera was bracketing by itself; None where it does not say."""
    sequence: int | None = None
    """Number of the frame in its automatic bracket, from 1."""
    problem: str = ""
    """Why the file cannot be a frame; empty if it can."""


def read_header(path: Path) -> Header:
    """Size, camera and exposure from the header of an image file; never raises for a bad file."""
    try:
        with path.open("rb") as file:
            return _read(file)
    except OSError as e:
        return _refused(f"cannot be read: {e.strerror}" if e.strerror else "damaged header")
    except Exception:  # Pillow raises whatever a hostile or broken header provokes
        return _refused("damaged header")


def _refused(why: str) -> Header:
    return Header(None, problem=f"not a readable image ({why})")


def _read(file: BinaryIO) -> Header:
    """The header of an open file of any of the formats that we decode.

    Pillow's classes are used directly: `Image.open` would try 40 formats and warn of all large
    images.
    """
    magic = file.read(4)
    file.seek(0)
    opened = _opened(file, magic)
    if opened is None:
        return _refused("empty file" if not magic else "no JPEG, PNG, TIFF or BMP")
    with opened as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            return _refused(f"{width}x{height} pixels, at most {MOST_PIXELS >> 20} Mi are read")
        exif = _exif(image)
        detail = exif.get_ifd(0x8769)
        header = _from_exif(exif, detail, (height, width), image.format != "TIFF")
        end = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(image.format or "")
        if end and not _ends(file, end, image.tile[0].offset if image.tile else 0):
            return Header(None, problem="cannot be decoded (truncated: copy it again)")
    return header


def _opened(file: BinaryIO, magic: bytes) -> ImageFile | None:
    if magic[:3] == b"\xff\xd8\xff":
        return JpegImageFile(file)
    if magic == b"\x89PNG":
        return PngImageFile(file)
    if magic in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return TiffImageFile(file)
    return BmpImageFile(file) if magic[:2] == b"BM" else None


def _exif(image: ImageFile) -> Exif:
    """EXIF of an image; of a PNG only what stands before its pixels, which are not decoded."""
    if image.format == "PNG" and not {"exif", "Raw profile type exif"} & image.info.keys():
        return Exif()
    return image.getexif()


def _ends(file: BinaryIO, end: bytes, pixels: int) -> bool:
    """Whether the mark that ends a picture follows its pixels, whose first is at `pixels`.

    In whole files it is among the last bytes; behind it cameras and phones append previews,
    films and padding, so that only where it is missing there the whole file is looked through.
    """
    length = file.seek(0, os.SEEK_END)
    for start in (max(pixels, length - TAIL_BYTES), pixels):
        file.seek(start)
        if end in file.read():
            return True
    return False


def _from_exif(exif: Exif, detail: dict[int, object], size: tuple[int, int], turns: bool) -> Header:
    """A header from the main (`exif`) and the photo directory (`detail`) of EXIF.

    `turns` is whether the orientation will be applied; OpenCV does not for TIFF.
    """
    if turns and exif.get(0x0112) in (5, 6, 7, 8):  # orientation: turned by a quarter
        size = size[::-1]
    make, model = _text(exif.get(0x010F)), _text(exif.get(0x0110))
    iso = detail.get(0x8827)
    note = detail.get(0x927C)
    maker = Bracketing()
    if isinstance(note, bytes):
        maker = read_bracketing(note, make, exif.endian or "<")
    mode = detail.get(0xA402)  # ExposureMode: 0 automatic, 1 manual, 2 automatic bracket
    auto = mode == 2 if isinstance(mode, int) else None
    bias = maker.value_ev or _number(detail.get(0x9204))
    return Header(
        size,
        f"{make} {model}".strip(),
        positive(detail.get(0x829A)),
        positive(detail.get(0x829D)),
        positive(iso[0] if isinstance(iso, tuple) and iso else iso),
        _taken(exif, detail),
        _text(detail.get(0xA434)),
        positive(detail.get(0x920A)),
        _text(detail.get(0xA431)),
        bias,
        True if maker.active or maker.value_ev else auto,
        maker.number,
    )


def _taken(exif: Exif, detail: dict[int, object]) -> float | None:
    """When a photo was taken; the time of the last change only where nothing else is said."""
    for stamp, fraction in (
        (detail.get(0x9003), detail.get(0x9291)),
        (detail.get(0x9004), detail.get(0x9292)),
        (exif.get(0x0132), detail.get(0x9290)),
    ):
        seconds = seconds_of(_text(stamp))
        if seconds is not None:
            digits = re.match(r"\d{1,9}", _text(fraction))
            return seconds + (float(f"0.{digits.group()}") if digits else 0.0)
    return None


def seconds_of(stamp: str) -> float | None:
    """Seconds since 1970 of an EXIF date such as ``2012:07:19 05:16:25``, or None.

    Read as if it were UTC: only differences are used.
    """
    parts = re.match(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)", stamp)
    if not parts:
        return None
    year, month, day, hour, minute, second = map(int, parts.groups())
    if year < 1970 or not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60):
        return None
    return float(calendar.timegm((year, month, day, hour, minute, second)))


def _text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip("\0 \t\r\n") if isinstance(value, str) else ""


def _number(value: object) -> float | None:
    """A finite number, or None."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def positive(value: object) -> float | None:
    """A positive finite number, or None (EXIF has zeros, 0/0 and text in its place)."""
    number = _number(value)
    return number if number is not None and number > 0 else None
