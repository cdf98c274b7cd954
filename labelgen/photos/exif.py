"""EXIF blocks and colour profiles: read safely, and converted to plain numbers and text."""

from __future__ import annotations

import calendar
import io
import math
import re

from PIL import Image, ImageCms
from PIL.ExifTags import Base

from labelgen.core.errors import Rejected
from labelgen.photos import tiff

MAX_EXIF_TEXT = 2**17
"""Characters of EXIF that an old PNG holds as hexadecimal text. A JPEG holds at most half."""


def exif_of(image: Image.Image) -> Image.Exif:
    """EXIF of an opened image, empty if its directories are damaged.

    EXIF behind the pixels of a PNG is not found: it would take decoding them.
    """
    block, as_text = image.info.get("exif"), image.info.get("Raw profile type exif", "")
    if image.format != "TIFF" and (not _is_sound(block) or len(as_text) > MAX_EXIF_TEXT):
        return Image.Exif()  # the directories of a TIFF were checked before it was opened
    return Image.Image.getexif(image)  # the method of PNG images would decode the pixels


def exif_from(block: bytes | None) -> Image.Exif:
    """EXIF from its block of bytes; empty if there is none or it is damaged."""
    exif = Image.Exif()
    if block and _is_sound(block):
        exif.load(block)
    return exif


def _is_sound(block: bytes | None) -> bool:
    """Whether the values of an EXIF block take no more bytes than the block has."""
    try:
        tiff.check_directories((block or b"").removeprefix(b"Exif\0\0"))
    except Rejected:
        return False
    return True


def profile_name(icc: bytes | None) -> str:
    """Description of an ICC profile: "" without a profile, "unreadable" for a damaged one."""
    if not icc:
        return ""
    try:
        text = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    except Exception:  # littleCMS is missing, or the profile is damaged
        return "unreadable"
    return "".join(c for c in text.strip() if c.isprintable())


def time_taken(exif: Image.Exif, detail: dict[int, object]) -> float | None:
    """When a photo was taken, in seconds since 1970 by the clock of the camera.

    Parameters
    ----------
    exif : Image.Exif
        The main directory. Its DateTime, the time of the last change, is used only if `detail`
        has no time.
    detail : dict
        The EXIF directory: value by tag.
    """
    for stamp, fraction in (
        (detail.get(Base.DateTimeOriginal), detail.get(Base.SubsecTimeOriginal)),
        (detail.get(Base.DateTimeDigitized), detail.get(Base.SubsecTimeDigitized)),
        (exif.get(Base.DateTime), detail.get(Base.SubsecTime)),
    ):
        seconds = exif_timestamp(exif_text(stamp))
        if seconds is not None:
            digits = re.match(r"\d{1,9}", exif_text(fraction))
            return seconds + (float(f"0.{digits.group()}") if digits else 0.0)
    return None


def exif_timestamp(stamp: str) -> float | None:
    """Seconds since 1970 of an EXIF date, or None if it is none.

    The date is read as UTC, since only differences are used.

    Examples
    --------
    >>> exif_timestamp("1970:01:02 00:00:01"), exif_timestamp("yesterday")
    (86401.0, None)
    """
    parts = re.match(r"(\d{4})[:/-](\d\d)[:/-](\d\d)[ T](\d\d):(\d\d):(\d\d)", stamp)
    if not parts:
        return None
    year, month, day, hour, minute, second = map(int, parts.groups())
    if year < 1970 or not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60):
        return None
    return float(calendar.timegm((year, month, day, hour, minute, second)))


def exif_text(value: object) -> str:
    """Text of an EXIF value without padding, "" if it is no text."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip("\0 \t\r\n") if isinstance(value, str) else ""


def finite_number(value: object) -> float | None:
    """A finite number, or None."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def positive_number(value: object) -> float | None:
    """A positive finite number, or None: cameras write 0, 0/0 or text for an unknown value."""
    number = finite_number(value)
    return number if number is not None and number > 0 else None
