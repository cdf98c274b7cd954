"""HDF5's Fletcher-32 checksum [1]_, several times as fast as HDF5 computes it.

The checksum covers the bytes of a chunk as they are stored. So an uncompressed chunk can be made
without HDF5, and a chunk can be copied and known to be intact without decoding it.

References
----------
.. [1] J. Fletcher, "An Arithmetic Checksum for Serial Transmissions", IEEE Trans. Communications
   30, 1982. https://doi.org/10.1109/TCOM.1982.1095369
"""

from __future__ import annotations

import cv2
import numpy as np

CHECKSUM_BYTES = 4
"""Size of a checksum. It follows its chunk, little-endian."""
MODULUS = 65535
SIDE = 256
"""Words are summed as a table with rows of this many words, and blocks of as many rows."""
BYTE_SWAP = 256
"""Multiplying a 16-bit word by this, modulo 65535, swaps its bytes."""


def has_valid_checksum(stored: bytes) -> bool:
    """Whether a stored chunk matches its checksum.

    Parameters
    ----------
    stored : bytes
        The chunk and its checksum, as `h5py.h5d.DatasetID.read_direct_chunk` returns them.

    Examples
    --------
    >>> has_valid_checksum(with_checksum(b"chunk")), has_valid_checksum(b"chunk" + bytes(4))
    (True, False)
    """
    checksum = stored_checksum(stored)
    first, second = fletcher32(stored[:-CHECKSUM_BYTES])
    return ((checksum & 0xFFFF) - first) % MODULUS == ((checksum >> 16) - second) % MODULUS == 0


def stored_checksum(stored: bytes) -> int:
    """Return the checksum behind a chunk, without computing it."""
    return int.from_bytes(stored[-CHECKSUM_BYTES:], "little")


def with_checksum(data: bytes) -> bytes:
    """Return an uncompressed chunk as HDF5 stores it: the bytes and their checksum."""
    first, second = fletcher32(data)
    return data + (second << 16 | first).to_bytes(CHECKSUM_BYTES, "little")


def fletcher32(data: bytes) -> tuple[int, int]:
    """Return both sums of a checksum: of the big-endian 16-bit words, and of their running sums.

    Both are modulo 65535, with 65535 in place of 0 unless all words are 0. An odd last byte is the
    upper byte of a word.
    """
    count = -(-len(data) // 2)
    if not count:
        return 0, 0
    padded = data + bytes(-len(data) % (2 * SIDE)) if len(data) % (2 * SIDE) else data
    words = np.frombuffer(padded, "<u2").reshape(-1, SIDE)
    # Sums of 256 words are below 2^24, so single precision is exact.
    rows = cv2.reduce(words, 1, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[:, 0].astype(np.int64)
    columns = np.zeros(SIDE, np.int64)
    for start in range(0, len(words), SIDE):
        block = words[start : start + SIDE]
        columns += cv2.reduce(block, 0, cv2.REDUCE_SUM, dtype=cv2.CV_32F)[0].astype(np.int64)
    total = int(rows.sum())
    # Word i of n is in n - i running sums: their sum is n * total - sum(i * word).
    weighted = SIDE * int(np.arange(len(rows)) @ (rows % MODULUS))
    weighted += int(np.arange(SIDE) @ (columns % MODULUS))
    sums = (BYTE_SWAP * value % MODULUS for value in (total, count * total - weighted))
    first, second = (value or (MODULUS if total else 0) for value in sums)
    return first, second
