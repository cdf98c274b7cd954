"""What the header of an image file says, without decoding its pixels."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

TURNED = (5, 6, 7, 8)
"""EXIF orientations by which height and width change places."""


@dataclass(frozen=True)
class Header:
    """What the header of an image file says, without decoding its pixels."""

    size: tuple[int, int] | None
    """Height and width as displayed (EXIF orientation applied); None if unreadable."""
    camera: str = ""
    time_s: float | None = None
    fnumber: float | None = None
    iso: float | None = None
    orientation: int = 1
    """Of EXIF, 1 to 8."""
    profile: str = ""
    """Description of an embedded colour profile."""
    problem: str = ""
    """Why the size is unknown, where more is known than that the file is unreadable."""

    @property
    def stored(self) -> tuple[int, int] | None:
        """Height and width as they lie in the file, before orientation."""
        if self.size is None or self.orientation not in TURNED:
            return self.size
        return self.size[1], self.size[0]


def read_header(path: Path) -> Header:
    """Size, camera and exposure from the header of an image file; never raises for a bad file."""
    from labelgen import decode, raw
    from labelgen.errors import Rejected

    if path.suffix.lower() in raw.RAW_SUFFIXES:
        return raw.raw_header(path)
    if path.suffix.lower() in (".heic", ".heif", ".hif"):
        return _heif_header(path)
    try:
        with path.open("rb") as f:
            image = decode.opened(f)
            exif = decode.exif_of(image)
            width, height = image.size
            if image.format == "TIFF":  # whose size Pillow turns or not, depending on its version
                width, height = int(exif[0x0100]), int(exif[0x0101])
            profile = profile_name(image.info.get("icc_profile"))
            header = from_exif(exif, (height, width), exif.get(0x0112, 1), profile)
        raw.check_size(height, width)
    except Rejected as e:
        return Header(None, problem=str(e))
    except Exception:  # Pillow raises whatever a hostile or broken header provokes
        return _tiff_header(path)
    return header


def from_exif(
    exif: Image.Exif,
    stored: tuple[int, int] | None,
    orientation: int = 1,
    profile: str = "",
    problem: str = "",
) -> Header:
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
        As in `Header`.
    """
    detail = exif.get_ifd(0x8769)
    camera = " ".join(str(exif.get(tag, "")).strip("\0 ") for tag in (0x010F, 0x0110)).strip()
    iso = detail.get(0x8827)
    if not profile and 0xA005 in detail and exif.get_ifd(0xA005).get(1) == "R03":  # of DCF 2.0
        profile = "Adobe RGB (by EXIF)"
    shown = stored[::-1] if stored and orientation in TURNED else stored
    return Header(
        shown,
        camera,
        positive(detail.get(0x829A)),
        positive(detail.get(0x829D)),
        positive(iso[0] if isinstance(iso, tuple) and iso else iso),
        orientation if orientation in range(1, 9) else 1,
        profile,
        problem,
    )


def profile_name(icc: bytes | None) -> str:
    """Description of an ICC profile, "" if there is none that can be read."""
    from PIL import ImageCms

    if not icc:
        return ""
    try:
        text = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(icc)))
    except Exception:  # littleCMS is missing, or the profile is damaged
        return "unreadable"
    return "".join(c for c in text.strip() if c.isprintable())


def _tiff_header(path: Path) -> Header:
    """Size of a TIFF that Pillow cannot open, such as one of floating-point colour."""
    import mmap

    from labelgen import tiff
    from labelgen.errors import Rejected

    try:
        with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = tiff.layout(data)
    except (OSError, ValueError, Rejected):
        return Header(None)
    return from_exif(Image.Exif(), (found.height, found.width), found.orientation)


def _heif_header(path: Path) -> Header:
    try:
        import pillow_heif
    except ImportError:
        return Header(None, problem="HEIC needs pillow-heif: pip install 'labelgen[heif]'")
    exif = Image.Exif()
    try:
        image = pillow_heif.open_heif(path)
        exif.load(image.info.get("exif") or b"")
    except Exception:  # as Pillow
        return Header(None)
    orientation = exif.get(0x0112, 1)
    width, height = image.size  # turned already
    if orientation in TURNED:
        width, height = height, width
    profile = profile_name(image.info.get("icc_profile"))
    return from_exif(exif, (height, width), orientation, profile)


def positive(value: object) -> float | None:
    """A positive finite number, or None (EXIF has zeros, 0/0 and text in its place)."""
    try:
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) and number > 0 else None
