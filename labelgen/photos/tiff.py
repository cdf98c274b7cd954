"""Read the first directory of a TIFF, to choose or refuse a decoder for the file.

Pillow cannot open floating-point RGB, and OpenCV silently decodes some layouts wrongly. The tags
of the directory show which files these are. See TIFF Revision 6.0 (Adobe, 1992), section 2.
"""

from __future__ import annotations

import contextlib
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from labelgen.core.errors import Rejected

WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES = 256, 257, 258, 262, 274, 277
PLANAR, EXTRA_SAMPLES, SAMPLE_FORMAT = 284, 338, 339
OFFSETS, BYTE_COUNTS = (273, 324), (279, 325)
"""Tags of the offsets and byte counts of strips and of tiles."""
UNSIGNED, FLOAT = 1, 3
"""Values of the tag SAMPLE_FORMAT."""
ALPHA = (1, 2)
"""Values of the tag EXTRA_SAMPLES for alpha: multiplied into the colours, or not."""

INTEGERS = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
"""`struct` format of the field types of whole numbers."""
WANTED = {WIDTH, HEIGHT, BITS, PHOTOMETRIC, ORIENTATION, SAMPLES, PLANAR, SAMPLE_FORMAT}
WANTED |= {EXTRA_SAMPLES, *OFFSETS, *BYTE_COUNTS}
MAX_ENTRIES, MAX_VALUES, MAX_SAMPLES = 4096, 2**20, 64
"""Limits on directory entries, on strips or tiles, and on samples per pixel of a photo."""
SIZES = dict(enumerate((1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4), 1)) | {16: 8, 17: 8, 18: 8}
"""Bytes of one value by field type."""
SUBDIRECTORIES = (0x8769, 0x8825, 0xA005)
"""Tags of the EXIF, GPS and interoperability directories."""


@dataclass(frozen=True)
class TiffLayout:
    """How the samples of a TIFF are stored."""

    height: int
    width: int
    """In pixels, as stored."""
    bits: int
    """Bits of one sample; 0 if channels differ."""
    samples: int
    """Samples per pixel."""
    sample_format: int
    """`UNSIGNED`, `FLOAT` or another value of the tag; 0 if channels differ."""
    photometric: int
    """1 for grey with black at 0, 2 for RGB."""
    planar: bool
    """Whether each channel is a plane of its own."""
    alpha: bool
    """Whether samples that are no colours are alpha: the file says so, or does not say."""
    orientation: int
    orientation_offset: int | None
    """Byte of the file at which the orientation is stored; None if it is not."""
    byte_order: str
    """As in `struct`: "<" or ">"."""
    end: int
    """Byte of the file at which the last strip or tile ends."""


def read_layout(data: bytes | mmap.mmap) -> TiffLayout:
    """Read how the samples of the first image of a TIFF or BigTIFF are stored.

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
        return _read_layout(data)
    except (struct.error, KeyError, IndexError, OverflowError) as e:
        raise Rejected("cannot be decoded (its TIFF directory is damaged)") from e


def _read_layout(data: bytes | mmap.mmap) -> TiffLayout:
    order = {b"II": "<", b"MM": ">"}[bytes(data[:2])]
    big = struct.unpack_from(order + "H", data, 2)[0] == 43
    start = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0]
    room = 8 if big else 4
    tags, offsets = dict[int, tuple[int, ...]](), dict[int, int]()
    for tag, kind, number, value_at in _entries(data, start, order, big):
        if tag not in WANTED or kind not in INTEGERS or tag in tags:
            continue
        if number * struct.calcsize(INTEGERS[kind]) > room:
            value_at = struct.unpack_from(order + ("Q" if big else "I"), data, value_at)[0]
        if number > (MAX_VALUES if tag in (*OFFSETS, *BYTE_COUNTS) else MAX_SAMPLES):
            raise IndexError(number)
        tags[tag] = struct.unpack_from(f"{order}{number}{INTEGERS[kind]}", data, value_at)
        offsets[tag] = value_at
    ends = [
        start + count
        for starts, counts in zip(OFFSETS, BYTE_COUNTS, strict=True)
        for start, count in zip(tags.get(starts, ()), tags.get(counts, ()), strict=False)
    ]
    bits, formats = tags.get(BITS, (1,)), tags.get(SAMPLE_FORMAT, (UNSIGNED,))
    return TiffLayout(
        height=tags[HEIGHT][0],
        width=tags[WIDTH][0],
        bits=bits[0] if len(set(bits)) == 1 else 0,
        samples=tags.get(SAMPLES, (1,))[0],
        sample_format=formats[0] if len(set(formats)) == 1 else 0,
        photometric=tags.get(PHOTOMETRIC, (1,))[0],
        planar=tags.get(PLANAR, (1,))[0] == 2,
        alpha=tags.get(EXTRA_SAMPLES, ALPHA)[0] in ALPHA,
        orientation=tags.get(ORIENTATION, (1,))[0],
        orientation_offset=offsets.get(ORIENTATION),
        byte_order=order,
        end=max(ends, default=0),
    )


def check_directories(data: bytes | mmap.mmap) -> None:
    """Refuse directories whose values take more bytes than the file.

    Values may overlap, and Pillow copies each of them: a small file could take all memory.

    Parameters
    ----------
    data : bytes or mmap
        A TIFF, or a block of EXIF without its "Exif" prefix. Anything else passes.

    Raises
    ------
    Rejected
        A directory has more entries than any photo, or values of more bytes than the file.
    """
    order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
    if order is None:
        return
    copied, pending, visited = 0, list[int](), set[int]()
    with contextlib.suppress(struct.error):  # the file ends early
        big = struct.unpack_from(order + "H", data, 2)[0] == 43
        pending.append(struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)[0])
    while pending:
        start = pending.pop()
        if start in visited:
            continue
        visited.add(start)
        with contextlib.suppress(struct.error, OverflowError):
            for tag, kind, number, value_at in _entries(data, start, order, big):
                size = number * SIZES.get(kind, 0)
                copied += size if size <= len(data) else 0
                if tag in SUBDIRECTORIES:
                    pending.append(struct.unpack_from(order + "I", data, value_at)[0])
                if copied > len(data):
                    raise Rejected("cannot be decoded (its TIFF directory is damaged)")


def _entries(
    data: bytes | mmap.mmap, start: int, order: str, big: bool
) -> Iterator[tuple[int, int, int, int]]:
    """Yield tag, field type, number of values and offset of the value field of each entry."""
    count = struct.unpack_from(order + ("Q" if big else "H"), data, start)[0]
    if count > MAX_ENTRIES:
        raise Rejected("cannot be decoded (its TIFF directory is damaged)")
    step, head = (20, 8) if big else (12, 2)
    for i in range(count):
        at = start + head + i * step
        tag, kind = struct.unpack_from(order + "HH", data, at)
        number = struct.unpack_from(order + ("Q" if big else "I"), data, at + 4)[0]
        yield tag, kind, number, at + (12 if big else 8)


def without_orientation(data: bytes, layout: TiffLayout) -> bytes:
    """The same file with orientation 1, so that no decoder rotates or mirrors the image."""
    if layout.orientation_offset is None or layout.orientation == 1:
        return data
    patched = bytearray(data)
    struct.pack_into(layout.byte_order + "H", patched, layout.orientation_offset, 1)
    return bytes(patched)
