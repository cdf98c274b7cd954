"""What the header of an image file says, without decoding its pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image


@dataclass(frozen=True)
class Header:
    """What the header of an image file says, without decoding its pixels."""

    size: tuple[int, int] | None
    """Height and width as displayed (EXIF orientation applied); None if unreadable."""
    camera: str = ""
    time_s: float | None = None
    fnumber: float | None = None
    iso: float | None = None


def read_header(path: Path) -> Header:
    """Size, camera and exposure from the header of an image file; never raises for a bad file."""
    try:
        with Image.open(path) as image:
            width, height = image.size
            turns = image.format != "TIFF"  # whose orientation OpenCV does not apply
            exif = image.getexif()
            detail = exif.get_ifd(0x8769)
    except Exception:  # Pillow raises whatever a hostile or broken header provokes
        return Header(None)
    if turns and exif.get(0x0112) in (5, 6, 7, 8):  # orientation: turned by a quarter
        width, height = height, width
    camera = " ".join(str(exif.get(tag, "")).strip("\0 ") for tag in (0x010F, 0x0110)).strip()
    iso = detail.get(0x8827)
    return Header(
        (height, width),
        camera,
        positive(detail.get(0x829A)),
        positive(detail.get(0x829D)),
        positive(iso[0] if isinstance(iso, tuple) and iso else iso),
    )


def positive(value: object) -> float | None:
    """A positive finite number, or None (EXIF has zeros, 0/0 and text in its place)."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None
