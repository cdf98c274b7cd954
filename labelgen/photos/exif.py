"""EXIF: what a camera notes about a photo."""

from __future__ import annotations

import calendar
import io
import math
import re
from dataclasses import dataclass
from typing import BinaryIO

from PIL import Image, ImageCms

from labelgen.core.errors import Rejected
from labelgen.photos import tiff
from labelgen.photos.makernote import Bracketing, read_bracketing

MAX_EXIF_TEXT = 2**17
"""Characters of EXIF as old PNGs have it, in hexadecimal; a block of a JPEG has at most half."""


TRANSPOSED = (5, 6, 7, 8)
"""EXIF orientations by which height and width change places."""


@dataclass(frozen=True)
class PhotoHeader:
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
    orientation: int = 1
    """Of EXIF, 1 to 8."""
    profile: str = ""
    """Description of an embedded colour profile."""

    @property
    def stored(self) -> tuple[int, int] | None:
        """Height and width as they lie in the file, before orientation."""
        if self.size is None or self.orientation not in TRANSPOSED:
            return self.size
        return self.size[1], self.size[0]


def from_exif(
    exif: Image.Exif,
    stored: tuple[int, int] | None,
    orientation: int = 1,
    profile: str = "",
    problem: str = "",
) -> PhotoHeader:
    """A header from EXIF and what the container of the image says.

    Parameters
    ----------
    exif : Image.Exif
        Perhaps empty.
    stored : (int, int), optional
        Height and width as they lie in the file.
    orientation : int
        Of EXIF; anything but 1 to 8 is 1.
    profile, problem : str
        As in `PhotoHeader`.
    """
    detail = exif.get_ifd(0x8769)
    make, model = _text(exif.get(0x010F)), _text(exif.get(0x0110))
    note = detail.get(0x927C)
    maker = Bracketing()
    if isinstance(note, bytes):
        maker = read_bracketing(note, make, exif.endian or "<")
    mode = detail.get(0xA402)  # ExposureMode: 0 automatic, 1 manual, 2 automatic bracket
    auto = mode == 2 if isinstance(mode, int) else None
    iso = detail.get(0x8827)
    if not profile and 0xA005 in detail and exif.get_ifd(0xA005).get(1) == "R03":  # of DCF 2.0
        profile = "Adobe RGB (by EXIF)"
    return PhotoHeader(
        stored[::-1] if stored and orientation in TRANSPOSED else stored,
        f"{make} {model}".strip(),
        positive_number(detail.get(0x829A)),
        positive_number(detail.get(0x829D)),
        positive_number(iso[0] if isinstance(iso, tuple) and iso else iso),
        _time_taken(exif, detail),
        _text(detail.get(0xA434)),
        positive_number(detail.get(0x920A)),
        _text(detail.get(0xA431)),
        maker.value_ev or _number(detail.get(0x9204)),
        True if maker.active or maker.value_ev else auto,
        maker.number,
        problem,
        orientation if orientation in range(1, 9) else 1,
        profile,
    )


def profile_name(icc: bytes | None) -> str:
    """Description of an ICC profile, "" if there is none that can be read."""
    if not icc:
        return ""
    try:
        text = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    except Exception:  # littleCMS is missing, or the profile is damaged
        return "unreadable"
    return "".join(c for c in text.strip() if c.isprintable())


def _time_taken(exif: Image.Exif, detail: dict[int, object]) -> float | None:
    """When a photo was taken; the time of the last change only where nothing else is said."""
    for stamp, fraction in (
        (detail.get(0x9003), detail.get(0x9291)),
        (detail.get(0x9004), detail.get(0x9292)),
        (exif.get(0x0132), detail.get(0x9290)),
    ):
        seconds = exif_timestamp(_text(stamp))
        if seconds is not None:
            digits = re.match(r"\d{1,9}", _text(fraction))
            return seconds + (float(f"0.{digits.group()}") if digits else 0.0)
    return None


def exif_timestamp(stamp: str) -> float | None:
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


def positive_number(value: object) -> float | None:
    """A positive finite number, or None (EXIF has zeros, 0/0 and text in its place)."""
    number = _number(value)
    return number if number is not None and number > 0 else None


def image_format(head: bytes) -> str:
    """Format of a file by its first bytes, "" if it is none of ours."""
    if head[4:8] == b"ftyp":
        return "AVIF" if head[8:12] in (b"avif", b"avis") else "HEIF"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    signatures = {b"\xff\xd8\xff": "JPEG", b"\x89PNG": "PNG", b"BM": "BMP"}
    signatures |= dict.fromkeys((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), "TIFF")
    return next((kind for start, kind in signatures.items() if head.startswith(start)), "")


def open_image(file: BinaryIO) -> Image.Image:
    """An image opened by Pillow, by its content; no pixels are decoded.

    Not `Image.open`, whose limit of pixels is one for the whole process, and lower than ours.
    What is none of our formats or broken raises whatever it provokes.

    Raises
    ------
    Rejected
        This Pillow lacks the format; the message names no file.
    """
    kind = image_format(file.read(16))
    file.seek(0)
    Image.init()
    if kind and kind not in Image.OPEN:
        raise Rejected(f"needs a Pillow that reads {kind}: pip install -U pillow")
    return Image.OPEN[kind][0](file, "")


def exif_of(image: Image.Image) -> Image.Exif:
    """EXIF of an image that was opened; that behind the pixels of a PNG is not looked for."""
    block, as_text = image.info.get("exif"), image.info.get("Raw profile type exif", "")
    if image.format != "TIFF" and (not _is_sound(block) or len(as_text) > MAX_EXIF_TEXT):
        return Image.Exif()  # the directories of a TIFF were checked before it was opened
    return Image.Image.getexif(image)  # the method of PNG images would decode all of it


def exif_from(block: bytes | None) -> Image.Exif:
    """EXIF from its block; empty where there is none, or none that could be a camera's."""
    exif = Image.Exif()
    if block and _is_sound(block):
        exif.load(block)
    return exif


def _is_sound(block: bytes | None) -> bool:
    """Whether a block of EXIF, if there is one, holds no more than it has bytes."""
    try:
        tiff.check_directories((block or b"").removeprefix(b"Exif\0\0"))
    except Rejected:
        return False
    return True
