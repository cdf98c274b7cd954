"""The checksum behind every chunk of a dataset, without decoding the chunk.

HDF5's Fletcher-32 stands over the bytes as they are stored, so that a chunk can be copied as it is
and yet be known to be sound.

References
----------
.. [1] J. Fletcher, "An Arithmetic Checksum for Serial Transmissions", IEEE Trans. Communications
   30, 1982. https://doi.org/10.1109/TCOM.1982.1095369
"""

from __future__ import annotations

import numpy as np

SUM = 4
"""Bytes of a checksum, little-endian, behind the bytes that it is of."""
MODULUS = 65535
BLOCK = 1 << 17
"""Words whose weighted sum (below 2^49) a double still holds exactly."""


def is_sound(stored: bytes) -> bool:
    """Whether a stored chunk is as its checksum says.

    Parameters
    ----------
    stored : bytes
        The chunk and its checksum, as `h5py.h5d.DatasetID.read_direct_chunk` gives them.
    """
    noted = int.from_bytes(stored[-SUM:], "little")
    first, second = fletcher32(stored[:-SUM])
    return (noted & 0xFFFF) % MODULUS == first and (noted >> 16) % MODULUS == second


def fletcher32(data: bytes) -> tuple[int, int]:
    """The sum of the big-endian 16-bit words of some bytes, and the sum of their running sums.

    Both modulo 65535; a last odd byte is the upper one of a word.
    """
    words = np.frombuffer(data + b"\0" * (len(data) % 2), ">u2")
    falling = np.arange(min(len(words), BLOCK), 0, -1, dtype=np.float64)
    first = second = 0
    for start in range(0, len(words), BLOCK):
        block = words[start : start + BLOCK].astype(np.float64)
        # Not by BLAS, whose threads cost more than they bring here.
        weighted = int(np.einsum("i,i->", block, falling[-len(block) :]))
        second = (second + first * len(block) + weighted) % MODULUS
        first = (first + int(block.sum())) % MODULUS
    return first, second
