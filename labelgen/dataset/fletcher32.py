"""The Fletcher-32 checksum [1]_ of HDF5 chunks, computed several times as fast as HDF5 does.

HDF5 computes the checksum over the bytes of a chunk as they are stored, after compression, and
stores it behind them. So `labelgen` can write an uncompressed chunk without HDF5, and can check any
chunk without decompressing it.

References
----------
.. [1] J. Fletcher, "An Arithmetic Checksum for Serial Transmissions", IEEE Trans. Communications
   30, 1982. https://doi.org/10.1109/TCOM.1982.1095369
"""

from __future__ import annotations

import cv2
import numpy as np

CHECKSUM_BYTES = 4
"""Size of a checksum. It is stored little-endian."""
MODULUS = 65535
"""Both sums of a checksum are modulo 2^16 - 1."""
SIDE = 256
"""The words of a chunk form a table with rows of this many words. Its columns are summed over this
many rows at once."""
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
    # Compared modulo 65535, because 0 and 65535 stand for the same sum.
    return ((checksum & 0xFFFF) - first) % MODULUS == ((checksum >> 16) - second) % MODULUS == 0


def stored_checksum(stored: bytes) -> int:
    """Return the checksum that is stored behind a chunk. It is not compared with the chunk."""
    return int.from_bytes(stored[-CHECKSUM_BYTES:], "little")


def with_checksum(data: bytes) -> bytes:
    """Return an uncompressed chunk as HDF5 stores it: its bytes, then their checksum."""
    first, second = fletcher32(data)
    return data + (second << 16 | first).to_bytes(CHECKSUM_BYTES, "little")


def fletcher32(data: bytes) -> tuple[int, int]:
    """Return both halves of a checksum: the sum of the 16-bit words, and the sum of running sums.

    Parameters
    ----------
    data : bytes
        A chunk as stored, without its checksum: big-endian words. If the number of bytes is odd,
        the last one is the upper byte of a word.

    Returns
    -------
    first, second : int
        Sums modulo 65535, written as 65535 instead of 0 unless all words are 0.

    Examples
    --------
    >>> fletcher32(bytes([0, 1, 0, 2]))
    (3, 4)
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
    # Word i of n is part of n - i running sums, so these add up to n * total - sum(i * word). Of
    # word i in row r and column c of the table, i = SIDE * r + c.
    weighted = SIDE * int(np.arange(len(rows)) @ (rows % MODULUS))
    weighted += int(np.arange(SIDE) @ (columns % MODULUS))
    sums = (BYTE_SWAP * value % MODULUS for value in (total, count * total - weighted))
    first, second = (value or (MODULUS if total else 0) for value in sums)
    return first, second
