"""What the first directory of a TIFF says: enough to judge a file before it is decoded.

Pillow cannot open floating-point colour, and OpenCV decodes some layouts wrongly without a word;
both are found out from the tags first. See TIFF Revision 6.0 (Adobe, 1992), section 2.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from labelgen.core.errors import Rejected

WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES = 256, 257, 258, 262, 274, 277
PLANAR, SAMPLE_FORMAT = 284, 339
OFFSETS, COUNTS = (273, 324), (279, 325)
"""Of strips and of tiles."""
UNSIGNED, FLOAT = 1, 3
"""Sample formats."""

INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
"""Field types that hold what we look at, and how they are unpacked."""
WANTED = {WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR, SAMPLE_FORMAT}
WANTED |= {*OFFSETS, *COUNTS}
MAX_ENTRIES, MAX_VALUES, MAX_SAMPLES = 4096, 2**20, 64
"""No photo has a directory with more, more strips or tiles, or more samples per pixel."""
SIZES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), 1)) | {16: 8, 17: 8, 18: 8}
"""Bytes of one value by field type."""
SUBDIRECTORIES = (0x8769, 0x8825, 0xA005)
"""Tags of EXIF, of GPS, and of interoperability."""


@dataclass(frozen=True)
class TiffLayout:
    """How the samples of a TIFF lie; sizes in pixels, `bits` of one sample, as stored."""

    height: int
    width: int
    bits: int
    samples: int
    sample_format: int
    photometric: int
    planar: bool
    orientation: int
    orientation_at: int | None
    """Where in the file the orientation stands, if it does."""
    byte_order: str
    """As `struct` has it."""
    end: int
    """Where the last strip or tile ends, bytes."""


def read_layout(data: bytes | mmap.mmap) -> TiffLayout:
    """How the samples of the first image of a TIFF or BigTIFF lie.

    Parameters
    ----------
    data : bytes or mmap
        The file.

    Raises
    ------
    Rejected
        Not a TIFF, or its directory is damaged; the message names no file.
    """
    try:
        return _layout(data)
    except (struct.error, KeyError, IndexError, OverflowError) as e:
        raise Rejected("cannot be decoded (its TIFF directory is damaged)") from e


def _layout(data: bytes | mmap.mmap) -> TiffLayout:
    order = {b"II": "<", b"MM": ">"}[bytes(data[:2])]
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    room = 8 if big else 4
    tags, places = dict[int, tuple[int, ...]](), dict[int, int]()
    for tag, kind, number, value_at in _entries(data, start, order, big):
        if tag not in WANTED or kind not in INTEGERS or tag in tags:
            continue
        if number * struct.calcsize(INTEGERS[kind]) > room:
            value_at = struct.unpack_from(order + ("Q" if big else "I"), data, value_at)[0]
        if number > (MAX_VALUES if tag in (*OFFSETS, *COUNTS) else MAX_SAMPLES):
            raise IndexError(number)
        tags[tag] = struct.unpack_from(f"{order}{number}{INTEGERS[kind]}", data, value_at)
        places[tag] = value_at
    ends = [
        offset + length
        for where, size in zip(OFFSETS, COUNTS, strict=True)
        for offset, length in zip(tags.get(where, ()), tags.get(size, ()), strict=False)
    ]
    bits, formats = tags.get(BITS, (1,)), tags.get(SAMPLE_FORMAT, (UNSIGNED,))
    return TiffLayout(
        tags[HEIGHT][0],
        tags[WIDTH][0],
        bits[0] if len(set(bits)) == 1 else 0,
        tags.get(SAMPLES, (1,))[0],
        formats[0] if len(set(formats)) == 1 else 0,
        tags.get(PHOTOMETRIC, (1,))[0],
        tags.get(PLANAR, (1,))[0] == 2,
        tags.get(ORIENTATION, (1,))[0],
        places.get(ORIENTATION),
        order,
        max(ends, default=0),
    )


def check_directories(data: bytes | mmap.mmap) -> None:
    """Refuse directories whose values overlap: Pillow copies each, however often they do.

    Parameters
    ----------
    data : bytes or mmap
        A TIFF, or a block of EXIF without its mark. What is no TIFF is left to Pillow.

    Raises
    ------
    Rejected
        They have more entries than any photo, or more bytes than the file.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        return
    copied, ahead, seen = 0, list[int](), set[int]()
    with contextlib.suppress(struct.error):  # it ends early
        big = struct.unpack_from(order + "H", data, 2)[0] == 43
        ahead.append(struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0])
    while ahead:
        start = ahead.pop()
        if start in seen:
            continue
        seen.add(start)
        with contextlib.suppress(struct.error, OverflowError):
            for tag, kind, number, at in _entries(data, start, order, big):
                size = number * SIZES.get(kind, 0)
                copied += size if size <= len(data) else 0
                if tag in SUBDIRECTORIES:
                    ahead.append(struct.unpack_from(order + "I", data, at)[0])
                if copied > len(data):
                    raise Rejected("cannot be decoded (its TIFF directory is damaged)")


def _entries(
    data: bytes | mmap.mmap, start: int, order: str, big: bool
) -> Iterator[tuple[int, int, int, int]]:
    """Tag, type and number of values of the entries of a directory, and where these stand."""
    count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    if count > MAX_ENTRIES:
        raise Rejected("cannot be decoded (its TIFF directory is damaged)")
    step, head = (20, 8) if big else (12, 2)
    for i in range(count):
        at = start + head + i * step
        tag, kind = struct.unpack_from(order + "HH", data, at)
        number = struct.unpack_from(order + ("Q" if big else "I"), data, at + 4)[0]
        yield tag, kind, number, at + (12 if big else 8)


def without_orientation(data: bytes, found: TiffLayout) -> bytes:
    """The same file with its orientation set to 1: some decoders turn the image, others don't."""
    if found.orientation_at is None or found.orientation == 1:
        return data
    patched = bytearray(data)
    struct.pack_into(found.byte_order + "H", patched, found.orientation_at, 1)
    return bytes(patched)
