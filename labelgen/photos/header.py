"""Read the header of an image file: size, camera and exposure. No pixels are decoded."""

from __future__ import annotations

import contextlib
import io
import mmap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.ImageFile import ImageFile

from labelgen.core.errors import Rejected
from labelgen.photos import tiff
from labelgen.photos.exif import (
    exif_from,
    exif_of,
    exif_text,
    finite_number,
    positive_number,
    profile_name,
    time_taken,
)
from labelgen.photos.formats import SIGNATURE_BYTES, image_format, is_raw, open_image
from labelgen.photos.limits import MAX_BYTES, check_size
from labelgen.photos.makernote import Bracketing, read_bracketing
from labelgen.photos.orientation import TRANSPOSED
from labelgen.photos.raw import open_raw, raw_orientation

TAIL_BYTES = 4096
"""An end marker is searched in this many bytes at the end of a file, and then in all of it."""
END_MARKERS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
"""Bytes that end a picture, by the name of its format in Pillow."""
AUTO_BRACKET = 2
"""EXIF ExposureMode of automatic bracketing; 0 is automatic, 1 manual."""


@dataclass(frozen=True)
class PhotoHeader:
    """What the header of an image file states. What it does not state is None or ""."""

    size: tuple[int, int] | None
    """Height and width as displayed (EXIF orientation applied); None if unreadable."""
    camera: str = ""
    """Make and model."""
    time_s: float | None = None
    """Exposure time in seconds."""
    fnumber: float | None = None
    iso: float | None = None
    taken: float | None = None
    """When the exposure began, in seconds since 1970 by the clock of the camera."""
    lens: str = ""
    focal_mm: float | None = None
    serial: str = ""
    """Serial number of the camera body."""
    bias_ev: float | None = None
    """Bracketing step of the maker note in stops, or else the exposure bias of EXIF."""
    auto_bracket: bool | None = None
    """Whether automatic bracketing was on."""
    sequence: int | None = None
    """Number of the frame in its automatic bracket, from 1."""
    problem: str = ""
    """Why the file cannot be a frame; "" if it can."""
    orientation: int = 1
    """EXIF orientation, 1 to 8."""
    profile: str = ""
    """Description of the colour profile."""

    @property
    def stored(self) -> tuple[int, int] | None:
        """Height and width as stored in the file, before orientation."""
        if self.size is None or self.orientation not in TRANSPOSED:
            return self.size
        return self.size[1], self.size[0]


def read_photo_header(path: Path) -> PhotoHeader:
    """Read the header of an image file.

    It never raises for a bad file, but returns a header with a `PhotoHeader.problem`.
    """
    if path.exists() and not path.is_file():  # opening a pipe would block
        return _unreadable("not a file")
    if path.exists() and path.stat().st_size > MAX_BYTES:
        return _unreadable(f"larger than {MAX_BYTES >> 30} GiB")
    if is_raw(path):
        return _read_raw(path)
    try:
        with path.open("rb") as file:
            name = image_format(file.read(SIGNATURE_BYTES))
            return _read_heif(path) if name == "HEIF" else _read_by_pillow(file)
    except Rejected as e:
        return _unreadable(str(e))
    except OSError as e:
        if e.strerror:
            return _unreadable(f"cannot be read: {e.strerror}")
    except Exception:  # Pillow raises whatever a hostile or broken header provokes
        pass
    return _read_tiff(path)


def header_from_exif(
    exif: Image.Exif,
    stored: tuple[int, int] | None,
    orientation: int = 1,
    profile: str = "",
    problem: str = "",
) -> PhotoHeader:
    """Header of a photo from its EXIF, its size and its colour profile.

    Parameters
    ----------
    exif : Image.Exif
        May be empty.
    stored : (int, int), optional
        Height and width as stored in the file.
    orientation : int
        EXIF orientation; any value except 1 to 8 counts as 1.
    profile, problem : str
        See `PhotoHeader`.
    """
    detail = exif.get_ifd(IFD.Exif)
    make, model = exif_text(exif.get(Base.Make)), exif_text(exif.get(Base.Model))
    note = detail.get(Base.MakerNote)
    maker = Bracketing()
    if isinstance(note, bytes):
        maker = read_bracketing(note, make, exif.endian or "<")
    mode = detail.get(Base.ExposureMode)
    auto = mode == AUTO_BRACKET if isinstance(mode, int) else None
    iso = detail.get(Base.ISOSpeedRatings)
    if not profile and IFD.Interop in detail and exif.get_ifd(IFD.Interop).get(1) == "R03":
        profile = "Adobe RGB (by EXIF)"  # DCF 2.0 marks it by "R03"
    return PhotoHeader(
        size=stored[::-1] if stored and orientation in TRANSPOSED else stored,
        camera=f"{make} {model}".strip(),
        time_s=positive_number(detail.get(Base.ExposureTime)),
        fnumber=positive_number(detail.get(Base.FNumber)),
        iso=positive_number(iso[0] if isinstance(iso, tuple) and iso else iso),
        taken=time_taken(exif, detail),
        lens=exif_text(detail.get(Base.LensModel)),
        focal_mm=positive_number(detail.get(Base.FocalLength)),
        serial=exif_text(detail.get(Base.BodySerialNumber)),
        bias_ev=maker.value_ev or finite_number(detail.get(Base.ExposureBiasValue)),
        auto_bracket=True if maker.active or maker.value_ev else auto,
        sequence=maker.number,
        problem=problem,
        orientation=orientation if orientation in range(1, 9) else 1,
        profile=profile,
    )


def _unreadable(reason: str) -> PhotoHeader:
    return PhotoHeader(None, problem=f"not a readable image ({reason})")


def _read_by_pillow(file: BinaryIO) -> PhotoHeader:
    """Header of an open file in a format that Pillow reads."""
    file.seek(0)
    head = file.read(SIGNATURE_BYTES)
    name = image_format(head)
    if not name:
        return _unreadable("no JPEG, PNG, TIFF or other photo" if head else "empty file")
    if name == "TIFF":
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            tiff.check_directories(data)
    file.seek(0)
    with open_image(file) as image:
        exif = exif_of(image)
        width, height = image.size
        if image.format == "TIFF":  # some versions of Pillow state the size as displayed
            width, height = int(exif[Base.ImageWidth]), int(exif[Base.ImageLength])
        check_size(height, width)
        profile = profile_name(image.info.get("icc_profile"))
        header = header_from_exif(exif, (height, width), exif.get(Base.Orientation, 1), profile)
        marker = END_MARKERS.get(image.format or "")
        if marker and isinstance(image, ImageFile):
            first_pixel = int(image.tile[0].offset) if image.tile else 0
            if not _has_marker(file, marker, first_pixel):
                return PhotoHeader(None, problem="cannot be decoded (truncated: copy it again)")
    return header


def _has_marker(file: BinaryIO, marker: bytes, start: int) -> bool:
    """Whether the marker that ends a picture occurs after byte `start`, where its pixels begin.

    In most files it is among the last bytes. Cameras and phones may append previews, films and
    padding, so a file counts as truncated only if all of it has been searched.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        tail = max(start, len(data) - TAIL_BYTES)
        return data.find(marker, tail) >= 0 or data.find(marker, start) >= 0


def _read_tiff(path: Path) -> PhotoHeader:
    """Header of a TIFF that Pillow cannot open, such as one with floating-point RGB."""
    try:
        with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            layout = tiff.read_layout(data)
    except (OSError, ValueError, Rejected):
        return _unreadable("damaged header")
    return header_from_exif(Image.Exif(), (layout.height, layout.width), layout.orientation)


def _read_heif(path: Path) -> PhotoHeader:
    try:
        import pillow_heif
    except ImportError:
        return PhotoHeader(None, problem="HEIC needs pillow-heif: pip install 'labelgen[heif]'")
    try:
        image = pillow_heif.open_heif(path)
        exif = exif_from(image.info.get("exif"))
    except Exception:  # the library raises many kinds of errors for a damaged file
        return _unreadable("damaged header")
    orientation = exif.get(Base.Orientation, 1)
    width, height = image.size  # as displayed
    if orientation in TRANSPOSED:
        width, height = height, width
    profile = profile_name(image.info.get("icc_profile"))
    return header_from_exif(exif, (height, width), orientation, profile)


def _read_raw(path: Path) -> PhotoHeader:
    """Header of a camera RAW file.

    Exposure and camera come from the EXIF of the file if it is a TIFF (DNG, CR2, NEF, ARW), or
    else from that of its preview. LibRaw supplies what EXIF lacks. The size needs rawpy.
    """
    exif = Image.Exif()
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(Exception):  # not a TIFF, or one that Pillow cannot read
            file = stack.enter_context(path.open("rb"))
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                tiff.check_directories(data)
            exif.load_from_fp(file)
        try:
            return _read_by_libraw(path, exif)
        except Rejected as e:
            return header_from_exif(exif, None, problem=str(e).removeprefix(f"{path.name}: "))


def _read_by_libraw(path: Path, exif: Image.Exif) -> PhotoHeader:
    with open_raw(path) as photo:
        header = header_from_exif(
            exif if len(exif) else _preview_exif(photo),
            (photo.sizes.height, photo.sizes.width),
            raw_orientation(photo),
        )
        if header.time_s and header.fnumber and header.iso:
            return header
        other = photo.other  # slow, so only if needed: LibRaw decodes the sensels for it
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
