"""Automatic bracketing as cameras note it in the maker note of EXIF.

Read for Canon, Nikon, Sony and Fujifilm, by the tags that ExifTool documents [1]_.

References
----------
.. [1] P. Harvey, ExifTool Tag Names, https://exiftool.org/TagNames/ (Canon ShotInfo, Nikon,
   Sony, FujiFilm).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

ITEM_BYTES = {1: 1, 3: 2, 4: 4, 7: 1, 8: 2, 9: 4, 10: 8}
"""Bytes of one value by TIFF type: BYTE, SHORT, LONG, UNDEFINED, SSHORT, SLONG, SRATIONAL."""
ITEM_CODE = {1: "B", 3: "H", 4: "I", 7: "B", 8: "h", 9: "i", 10: "i"}
"""`struct` format of one number by TIFF type."""
MAX_ENTRIES = 512
"""A directory with more entries is damaged."""
MAX_VALUES = 4096
"""An entry with more values is not read."""


@dataclass(frozen=True)
class Bracketing:
    """Automatic bracketing as a camera notes it; None where it notes nothing."""

    active: bool | None = None
    number: int | None = None
    """Number of the frame in its bracket, from 1."""
    value_ev: float | None = None
    """Exposure step of the frame in stops."""


def read_bracketing(note: bytes, make: str, order: str) -> Bracketing:
    """Read automatic bracketing from a maker note; never raises for a damaged note.

    Parameters
    ----------
    note : bytes
        Value of EXIF tag 0x927C.
    make : str
        Manufacturer, EXIF tag 0x010F.
    order : str
        Byte order of the EXIF block, "<" or ">".

    Returns
    -------
    Bracketing
        All None for makers other than Canon, Nikon, Sony and Fujifilm.
    """
    maker = make.lower()
    try:
        if note.startswith(b"Nikon\0\x02"):
            return _nikon(note[10:])
        if note.startswith(b"FUJIFILM"):
            return _fuji(note)
        if note.startswith((b"SONY DSC", b"SONY CAM")):
            return _sony(note, order)
        if maker.startswith("canon"):
            return _canon(note, order)
    except (struct.error, IndexError, ZeroDivisionError):
        pass
    return Bracketing()


def _directory(data: bytes, at: int, order: str) -> dict[int, tuple[int, int, int]]:
    """Entries of a TIFF directory: type, number of values and offset of the value field by tag."""
    (count,) = struct.unpack_from(order + "H", data, at)
    if count > MAX_ENTRIES:
        return {}
    entries = {}
    for i in range(count):
        start = at + 2 + 12 * i
        tag, kind, items = struct.unpack_from(order + "HHI", data, start)
        entries[tag] = (kind, items, start + 8)
    return entries


def _values(
    data: bytes, entry: tuple[int, int, int] | None, order: str, base: int = 0
) -> tuple[int, ...]:
    """Whole numbers of an entry. If it stores an offset, that counts from byte `base` of `data`."""
    if entry is None or entry[0] not in ITEM_BYTES or not 0 < entry[1] <= MAX_VALUES:
        return ()
    kind, items, at = entry
    if ITEM_BYTES[kind] * items > 4:
        at = struct.unpack_from(order + "I", data, at)[0] + base
        if at < 0:
            return ()
    numbers = items * (2 if kind == 10 else 1)
    return struct.unpack_from(f"{order}{numbers}{ITEM_CODE[kind]}", data, at)


def _nikon(tiff: bytes) -> Bracketing:
    """A bit of ShootingMode means bracketing; ExposureBracketValue is the step of the frame."""
    order = "<" if tiff[:2] == b"II" else ">"
    entries = _directory(tiff, struct.unpack_from(order + "I", tiff, 4)[0], order)
    mode = _values(tiff, entries.get(0x0089), order)
    step = _values(tiff, entries.get(0x0019), order)
    return Bracketing(
        bool(mode[0] & 0x10) if mode else None,
        value_ev=step[0] / step[1] if len(step) == 2 else None,
    )


def _fuji(note: bytes) -> Bracketing:
    """AutoBracketing and SequenceNumber; little-endian, offsets from the start of the note."""
    entries = _directory(note, struct.unpack_from("<I", note, 8)[0], "<")
    bracketing = _values(note, entries.get(0x1100), "<")
    number = _values(note, entries.get(0x1101), "<")
    active = bool(bracketing[0]) if bracketing else None
    return Bracketing(active, number[0] if active and number and number[0] else None)


def _sony(note: bytes, order: str) -> Bracketing:
    """ReleaseMode 5 is exposure bracketing, SequenceNumber counts its frames."""
    entries = _directory(note, 12, order)
    mode = _values(note, entries.get(0xB049), order)
    number = _values(note, entries.get(0xB04A), order)
    active = mode[0] == 5 if mode and mode[0] != 65535 else None
    return Bracketing(active, number[0] if active and number and 0 < number[0] < 256 else None)


def _canon(note: bytes, order: str) -> Bracketing:
    """AEBBracketValue of ShotInfo, in 1/32 stop.

    Offsets count from the start of the EXIF block, whose distance from the note is unknown. But
    the first value outside of the directory follows it directly, so its offset gives the distance.
    """
    entries = _directory(note, 0, order)
    outside = [
        struct.unpack_from(order + "I", note, at)[0]
        for kind, items, at in entries.values()
        if ITEM_BYTES.get(kind, 1) * items > 4
    ]
    if not outside:
        return Bracketing()
    base = 2 + 12 * len(entries) + 4 - min(outside)
    shot = _values(note, entries.get(0x0004), order, base)
    if len(shot) < 18 or shot[0] != 2 * len(shot):  # the first value is the size in bytes
        return Bracketing()
    value = shot[17] - 65536 if shot[17] > 32767 else shot[17]
    return Bracketing(value_ev=value / 32 if abs(value) <= 320 else None)
