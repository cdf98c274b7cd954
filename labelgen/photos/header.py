"""What the header of an image file says, without decoding its pixels."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import BinaryIO

from PIL import Image
from PIL.ImageFile import ImageFile

from labelgen.core.errors import Rejected
from labelgen.photos import tiff
from labelgen.photos.exif import (
    TRANSPOSED,
    PhotoHeader,
    exif_from,
    exif_of,
    from_exif,
    image_format,
    open_image,
    profile_name,
)
from labelgen.photos.limits import MAX_BYTES, RAW_SUFFIXES, check_size
from labelgen.photos.raw import raw_header

TAIL_BYTES = 4096
"""Where the end of a whole JPEG or PNG is looked for first."""
HEIF = (".heic", ".heif", ".hif")


def read_photo_header(path: Path) -> PhotoHeader:
    """Size, camera and exposure from the header of an image file; never raises for a bad file."""
    suffix = path.suffix.lower()
    if path.exists() and not path.is_file():  # opening a pipe would wait for its other end
        return _refused("not a file")
    if path.exists() and path.stat().st_size > MAX_BYTES:
        return _refused(f"larger than {MAX_BYTES >> 30} GiB")
    if suffix in RAW_SUFFIXES:
        return raw_header(path)
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


def _refused(why: str) -> PhotoHeader:
    return PhotoHeader(None, problem=f"not a readable image ({why})")


def _read(file: BinaryIO) -> PhotoHeader:
    """The header of an open file of any of the formats that Pillow reads."""
    head = file.read(16)
    kind = image_format(head)
    if not kind:
        return _refused("no JPEG, PNG, TIFF or other photo" if head else "empty file")
    if kind == "TIFF":
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            tiff.check_directories(data)
    file.seek(0)
    with open_image(file) as image:
        exif = exif_of(image)
        width, height = image.size
        if image.format == "TIFF":  # whose size Pillow turns or not, depending on its version
            width, height = int(exif[0x0100]), int(exif[0x0101])
        check_size(height, width)
        profile = profile_name(image.info.get("icc_profile"))
        header = from_exif(exif, (height, width), exif.get(0x0112, 1), profile)
        end = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}.get(image.format or "")
        if end and isinstance(image, ImageFile):
            offset = int(image.tile[0].offset) if image.tile else 0
            if not _ends(file, end, offset):
                return PhotoHeader(None, problem="cannot be decoded (truncated: copy it again)")
    return header


def _ends(file: BinaryIO, end: bytes, pixels: int) -> bool:
    """Whether the mark that ends a picture follows its pixels, whose first is at `pixels`.

    In whole files it is among the last bytes; behind it cameras and phones append previews,
    films and padding, so that only where it is missing there the whole file is looked through.
    """
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        tail = max(pixels, len(data) - TAIL_BYTES)
        return data.find(end, tail) >= 0 or data.find(end, pixels) >= 0


def _tiff(path: Path) -> PhotoHeader:
    """Size of a TIFF that Pillow cannot open, such as one of floating-point colour."""
    try:
        with path.open("rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            found = tiff.read_layout(data)
    except (OSError, ValueError, Rejected):
        return _refused("damaged header")
    return from_exif(Image.Exif(), (found.height, found.width), found.orientation)


def _heif(path: Path) -> PhotoHeader:
    try:
        import pillow_heif
    except ImportError:
        return PhotoHeader(None, problem="HEIC needs pillow-heif: pip install 'labelgen[heif]'")
    try:
        image = pillow_heif.open_heif(path)
        exif = exif_from(image.info.get("exif"))
    except Exception:  # as Pillow
        return _refused("damaged header")
    orientation = exif.get(0x0112, 1)
    width, height = image.size  # turned already
    if orientation in TRANSPOSED:
        width, height = height, width
    profile = profile_name(image.info.get("icc_profile"))
    return from_exif(exif, (height, width), orientation, profile)
