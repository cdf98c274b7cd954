"""What the header of an image file says, without decoding its pixels."""

from __future__ import annotations

import calendar
import io
import math
import mmap
import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile

from labelgen.errors import Rejected
from labelgen.makernote import Bracketing, read_bracketing

TURNED = (5, 6, 7, 8)
"""EXIF orientations by which height and width change places."""
TAIL_BYTES = 4096
"""Where the end of a whole JPEG or PNG is looked for first."""
HEIF = (".heic", ".heif", ".hif")


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
    orientation: int = 1
    """Of EXIF, 1 to 8."""
    profile: str = ""
    """Description of an embedded colour profile."""

    @property
    def stored(self) -> tuple[int, int] | None:
        """Height and width as they lie in the file, before orientation."""
        if self.size is None or self.orientation not in TURNED:
            return self.size
        return self.size[1], self.size[0]


def read_header(path: Path) -> Header:
    """Size, camera and exposure from the header of an image file; never raises for a bad file."""
    from labelgen import raw

    suffix = path.suffix.lower()
    if path.exists() and not path.is_file():  # opening a pipe would wait for its other end
        return _refused("not a file")
    if path.exists() and path.stat().st_size > raw.MOST_BYTES:
        return _refused(f"larger than {raw.MOST_BYTES >> 30} GiB")
    if suffix in raw.RAW_SUFFIXES:
        return raw.raw_header(path)
    try:
        with path.open("rb") as file:
            return _heif(path) if suffix in HEIF else _read(file)
    except Rejected as e:
        return _refused(str(e))
    except OSError as e:
        if e.strerror:
            return _refused(f"cannot be read: {e.strerror}")
    except Exception:  # Pillow raises whatever a hostile or broken header provokes
        pass
    return _tiff(path)


def _refused(why: str) -> Header:
    return Header(None, problem=f"not a readable image ({why})")


def _read(file: BinaryIO) -> Header:
    """The header of an open file of any of the formats that Pillow reads."""
    from labelgen import decode, raw, tiff

    head = file.read(16)
    kind = decode.kind_of(head)
    if not kind:
        return _refused("no JPEG, PNG, TIFF or other photo" if head else "empty file")
    if kind == "TIFF":
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            tiff.check_directories(data)
    file.seek(0)
    with decode.opened(file) as image:
        exif = decode.exif_of(image)
        width, height = image.size
        if image.format == "TIFF":  # whose size Pillow turns or not, depending on its version
            width, height = int(exif[0x0100]), int(exif[0x0101])
        raw.check_size(height, width)
        profile = profile_name(image.info.get("icc_profile"))
        header = from_exif(exif, (height, width), exif.get(0x0112, 1), profile)
        end = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(image.format or "")
        if end and isinstance(image, ImageFile):
            offset = int(image.tile[0].offset) if image.tile else 0
            if not _ends(file, end, offset):
                return Header(None, problem="cannot be decoded (truncated: copy it again)")
    return header


def _ends(file: BinaryIO, end: bytes, pixels: int) -> bool:
    """Whether the mark that ends a picture follows its pixels, whose first is at `pixels`.

    In whole files it is among the last bytes; behind it cameras and phones append previews,
    films and padding, so that only where it is missing there the whole file is looked through.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        tail = max(pixels, len(data) - TAIL_BYTES)
        return data.find(end, tail) >= 0 or data.find(end, pixels) >= 0


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
    return Header(
        stored[::-1] if stored and orientation in TURNED else stored,
        f"{make} {model}".strip(),
        positive(detail.get(0x829A)),
        positive(detail.get(0x829D)),
        positive(iso[0] if isinstance(iso, tuple) and iso else iso),
        _taken(exif, detail),
        _text(detail.get(0xA434)),
        positive(detail.get(0x920A)),
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


def _tiff(path: Path) -> Header:
    """Size of a TIFF that Pillow cannot open, such as one of floating-point colour."""
    from labelgen import tiff

    try:
        with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = tiff.layout(data)
    except (OSError, ValueError, Rejected):
        return _refused("damaged header")
    return from_exif(Image.Exif(), (found.height, found.width), found.orientation)


def _heif(path: Path) -> Header:
    try:
        import pillow_heif
    except ImportError:
        return Header(None, problem="HEIC needs pillow-heif: pip install 'labelgen[heif]'")
    from labelgen import decode

    try:
        image = pillow_heif.open_heif(path)
        exif = decode.exif_from(image.info.get("exif"))
    except Exception:  # as Pillow
        return _refused("damaged header")
    orientation = exif.get(0x0112, 1)
    width, height = image.size  # turned already
    if orientation in TURNED:
        width, height = height, width
    profile = profile_name(image.info.get("icc_profile"))
    return from_exif(exif, (height, width), orientation, profile)


def _taken(exif: Image.Exif, detail: dict[int, object]) -> float | None:
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
