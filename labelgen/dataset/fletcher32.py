"""The checksum behind every chunk of a dataset, several times as fast as HDF5 computes it.

HDF5's Fletcher-32 stands over the bytes as they are stored: a chunk that is not compressed can be
made without HDF5, and any chunk be copied as it is and yet be known to be sound.

References
----------
.. [1] J. Fletcher, "An Arithmetic Checksum for Serial Transmissions", IEEE Trans. Communications
   30, 1982. https://doi.org/10.1109/TCOM.1982.1095369
"""

from __future__ import annotations

import cv2
import numpy as np

SUM = 4
"""Bytes of a checksum, little-endian, behind the bytes that it is of."""
MODULUS = 65535
ROW = 256
"""Words that are summed at once, in both directions of a table."""
SWAPPED = 256
"""What words times it are, modulo 65535: the same words with their bytes exchanged."""


def has_valid_checksum(stored: bytes) -> bool:
    """Whether a stored chunk is as its checksum says.

    Parameters
    ----------
    stored : bytes
        The chunk and its checksum, as `h5py.h5d.DatasetID.read_direct_chunk` gives them.
    """
    noted = int.from_bytes(stored[-SUM:], "little")
    first, second = fletcher32(stored[:-SUM])
    return ((noted & 0xFFFF) - first) % MODULUS == ((noted >> 16) - second) % MODULUS == 0


def with_checksum(data: bytes) -> bytes:
    """A chunk that is not compressed, as HDF5 stores it: its bytes and their checksum."""
    first, second = fletcher32(data)
    return data + (second << 16 | first).to_bytes(SUM, "little")


def fletcher32(data: bytes) -> tuple[int, int]:
    """The sum of the big-endian 16-bit words of some bytes, and the sum of their running sums.

    Both modulo 65535, which stands in place of 0 unless all words are 0; a last odd byte is the
    upper one of a word.
    """
    count = -(-len(data) // 2)
    if not count:
        return 0, 0
    padded = data + bytes(-len(data) % (2 * ROW)) if len(data) % (2 * ROW) else data
    words = np.frombuffer(padded, "<u2").reshape(-1, ROW)
    # Sums of up to ROW words are below 2^24: single precision holds them exactly.
    rows = cv2.reduce(words, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[:, 0].astype(np.int64)
    columns = np.zeros(ROW, np.int64)
    for block in range(0, len(words), ROW):
        some = cv2.reduce(words[block : block + ROW], 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F)
        columns += some[0].astype(np.int64)
    first = int(rows.sum())
    # A running sum counts a word as often as words from it on: all of them, less its place.
    places = ROW * int(np.arange(len(rows)) @ (rows % MODULUS))
    places += int(np.arange(ROW) @ (columns % MODULUS))
    sums = (SWAPPED * total % MODULUS for total in (first, count * first - places))
    low, high = (total or (MODULUS if first else 0) for total in sums)
    return low, high
