"""From camera codes to linear light and back, and the mu-law of the HDR literature.

The response is gamma 2.2, the convention of the SIGGRAPH'17 set (Kalantari and Ramamoorthi,
doi:10.1145/3072959.3073609): linear = (code / max)^2.2, 1.0 is where the frame clips.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

from labelgen.arrays import Array, Codes, Float

GAMMA = 2.2
MU = 5000.0


@cache
def _decoding_table(depth: int) -> Float:
    table = ((np.arange(2**depth) / (2**depth - 1)) ** GAMMA).astype(np.float32)
    table.flags.writeable = False
    return table


def bit_depth(codes: Array) -> Literal[8, 16]:
    """Bits per sample of an array of codes, 8 or 16."""
    return 8 if codes.dtype == np.uint8 else 16


def decode(codes: Codes) -> Float:
    """Linear light of camera codes.

    Parameters
    ----------
    codes : (...) uint8 or uint16
        Gamma 2.2 codes, full scale at 255 or 65535.

    Returns
    -------
    (...) float32
        Linear light, 0 to 1; 1.0 is where the frame clips.
    """
    return _decoding_table(bit_depth(codes)).take(codes)


def encode(linear: Float, depth: int) -> Codes:
    """Camera codes of linear light, clipped and rounded: the inverse of `decode`.

    Parameters
    ----------
    linear : (...) float32
        Linear light relative to the clip of the frame; what lies outside 0 to 1 is clipped.
    depth : {8, 16}
        Bits per sample of the result.

    Returns
    -------
    (...) uint8 or uint16
        round(max * clip(linear)^(1 / 2.2)).
    """
    top = 2**depth - 1
    code = np.rint(top * np.clip(linear, 0, 1) ** np.float32(1 / GAMMA))
    return code.astype(np.uint8) if depth == 8 else code.astype(np.uint16)


def to_depth(codes: Codes, depth: int) -> Codes:
    """The same codes with `depth` bits; 8 to 16 is exact (255 becomes 65535)."""
    if bit_depth(codes) == depth:
        return codes
    if depth == 16:
        return codes.astype(np.uint16) * np.uint16(257)
    return np.rint(codes / np.float32(257)).astype(np.uint8)


def mu_law(radiance: Float) -> Float:
    """Range compression of Kalantari 2017: log(1 + 5000 H) / log(5001), for H of 0 to 1.

    Parameters
    ----------
    radiance : (...) float32
        Linear radiance, 1.0 where the shortest frame clips.

    Returns
    -------
    (...) float32
        0 to 1.
    """
    return np.log1p(radiance * np.float32(MU)) * np.float32(1 / np.log1p(MU))


def mu_law_slope(radiance: Float) -> Float:
    """Derivative of `mu_law`: how much a small step of radiance shows, same shape, float32."""
    return np.float32(MU / np.log1p(MU)) / (np.float32(1) + radiance * np.float32(MU))
