"""The image formats that are read: their suffixes and signatures, and how Pillow opens them.

A format that Pillow decodes is added by one line of `FORMATS`. One that needs another library also
gets a branch in `labelgen.photos.decode` (pixels) and in `labelgen.photos.header` (size, EXIF).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from labelgen.core.errors import Rejected

SIGNATURE_BYTES = 16
"""Bytes at the start of a file that tell its format."""


@dataclass(frozen=True)
class Format:
    """A format of developed images."""

    name: str
    """Name in Pillow, where Pillow reads the format."""
    suffixes: tuple[str, ...]
    """In lower case, with the dot."""
    signature: bytes
    """Regular expression of the first `SIGNATURE_BYTES` of a file."""
    lossy: bool = False
    """Whether the codes are wrong by more than rounding."""


FORMATS = (
    Format("JPEG", (".jpg", ".jpeg"), rb"\xff\xd8\xff", lossy=True),
    Format("PNG", (".png",), rb"\x89PNG"),
    Format("TIFF", (".tif", ".tiff"), rb"II[*+]\0|MM\0[*+]"),
    Format("BMP", (".bmp",), rb"BM"),
    Format("WEBP", (".webp",), rb"RIFF....WEBP", lossy=True),
    Format("AVIF", (".avif",), rb"....ftypavi[fs]", lossy=True),
    Format("HEIF", (".heic", ".heif", ".hif"), rb"....ftyp", lossy=True),
)
"""The first whose signature matches is the format of a file: HEIF comes after AVIF."""

RAW_SUFFIXES = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"})
"""Camera RAW, which has no signature of its own: many of these files are TIFF."""
LOSSY_SUFFIXES = frozenset(suffix for f in FORMATS if f.lossy for suffix in f.suffixes)
IMAGE_SUFFIXES = RAW_SUFFIXES.union(*(f.suffixes for f in FORMATS))
"""All suffixes that a frame may have."""


def is_raw(name: str | Path) -> bool:
    """Whether a file is camera RAW by its suffix."""
    return Path(name).suffix.lower() in RAW_SUFFIXES


def is_lossy(path: Path) -> bool:
    """Whether a file is of a lossy format by its suffix."""
    return path.suffix.lower() in LOSSY_SUFFIXES


def file_kind(path: Path) -> str:
    """Kind of a file by its suffix, one word where a format has two: "jpg", "tif", "png", ..."""
    suffix = path.suffix.lower().lstrip(".")
    return {"jpeg": "jpg", "tiff": "tif"}.get(suffix, suffix)


def image_format(head: bytes) -> str:
    r"""Name of the format of a file.

    Parameters
    ----------
    head : bytes
        The first `SIGNATURE_BYTES` of the file.

    Returns
    -------
    str
        Name of a `Format`, "" if no signature matches.

    Examples
    --------
    >>> image_format(b"\x89PNG\r\n\x1a\n"), image_format(b"%PDF-1.7")
    ('PNG', '')
    """
    matching = (f.name for f in FORMATS if re.match(f.signature, head, re.DOTALL))
    return next(matching, "")


def open_image(file: BinaryIO) -> Image.Image:
    """Open an image by Pillow; its content decides the format, and no pixels are decoded.

    `PIL.Image.open` is not used: its limit on pixels is one for the whole process, and lower than
    `labelgen.photos.limits.MAX_PIXELS`. A file that is damaged or of an unknown format raises
    whatever Pillow raises.

    Raises
    ------
    Rejected
        This Pillow lacks the format; the message names no file.
    """
    name = image_format(file.read(SIGNATURE_BYTES))
    file.seek(0)
    Image.init()
    if name and name not in Image.OPEN:
        raise Rejected(f"needs a Pillow that reads {name}: pip install -U pillow")
    return Image.OPEN[name][0](file, "")
