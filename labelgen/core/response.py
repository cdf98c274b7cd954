"""From camera codes to linear light and back, and the mu-law of the HDR literature.

Everything downstream of reading sees gamma 2.2, the convention of the SIGGRAPH'17 set (Kalantari
and Ramamoorthi, doi:10.1145/3072959.3073609): linear = (code / max)^2.2, 1.0 is where the frame
clips. Frames of a camera with another `Response` are recoded when they are read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np

from labelgen.core.arrays import (
    Array,
    Codes,
    Float,
    apply_lut,
    log1p_scaled,
    power,
    to_three_channels,
)
from labelgen.core.errors import UserError

GAMMA = 2.2
MU = 5000.0


CURVE_SAMPLES = 256
"""An estimated curve is stored at so many equally spaced codes."""
NAMED_RESPONSES = ("gamma2.2", "srgb", "linear")
"""Responses that need no curve."""


@dataclass(frozen=True)
class Response:
    """How the codes of a camera stand for linear light.

    `name` is one of `NAMED_RESPONSES`, or "estimated" with `curves`: for R, G and B the gamma 2.2
    code (0..1) of the camera's codes k / 255, rising from 0 to 1. A curve kept that way is nearly
    straight for any camera, so that little is lost between its samples.
    """

    name: str = "gamma2.2"
    curves: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.name in NAMED_RESPONSES and not self.curves:
            return
        if self.name != "estimated" or [len(c) for c in self.curves] != [CURVE_SAMPLES] * 3:
            raise UserError(
                f"response '{self.name}': expected {', '.join(NAMED_RESPONSES)}, or estimated with "
                f"3 curves of {CURVE_SAMPLES} values"
            )
        rising = all(b >= a for c in self.curves for a, b in pairwise(c))
        if not rising or any((c[0], c[-1]) != (0.0, 1.0) for c in self.curves):
            raise UserError("response: a curve has to rise from 0 to 1")

    def gamma_code(self, code: Array) -> Array:
        """Gamma 2.2 code (0..1) of camera codes (0..1) of R, G and B: (..., 3) to (..., 3)."""
        if self.name == "gamma2.2":
            return code
        if self.name == "linear":
            return np.asarray(code ** (1 / GAMMA))
        if self.name == "srgb":  # IEC 61966-2-1
            light = np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)
            return np.asarray(light ** (1 / GAMMA))
        at = np.linspace(0, 1, CURVE_SAMPLES)
        return np.stack([np.interp(code[..., c], at, self.curves[c]) for c in range(3)], -1)

    def recode(self, codes: Codes) -> Codes:
        """Camera codes as codes of gamma 2.2.

        Parameters
        ----------
        codes : (H, W, 3) uint8 or uint16
            As the camera stored them, RGB.

        Returns
        -------
        (H, W, 3) uint8 or uint16
            The same if the camera has gamma 2.2, otherwise uint16.
        """
        if self.name == "gamma2.2":
            return codes
        top = np.iinfo(codes.dtype).max
        every = np.arange(top + 1)[:, None].repeat(3, 1) / top
        table = np.rint(65535 * self.gamma_code(every)).astype(np.uint16)
        return apply_lut(table, codes)

    def clip(self, code: float) -> float:
        """The gamma 2.2 code from which on a frame clips that clips from a camera code (0..1)."""
        return float(self.gamma_code(np.full(3, code)).min())

    def as_json(self) -> dict[str, Any]:
        """As stored in a dataset."""
        return {"name": self.name} | (
            {"curves": [list(c) for c in self.curves]} if self.curves else {}
        )

    @staticmethod
    def from_json(values: dict[str, Any]) -> Response:
        """The inverse of `as_json`."""
        return Response(values["name"], tuple(tuple(c) for c in values.get("curves", ())))


GAMMA22 = Response()


Sampling: TypeAlias = tuple[int, int]
"""Rows and columns of pixels that share a colour difference in a file."""
FULL_SAMPLING: Sampling = (1, 1)


@dataclass(frozen=True)
class SourceFormat:
    """How a camera stored its frames, by which they can be wrong.

    `response` and `bits` per sample are of the codes before they were recoded; `lossy` is JPEG
    and its kind, and `sampling` how many rows and columns share a colour in it. `noise` is the full
    well and the read noise of the camera at the ISO of the reference, in electrons, where the
    brackets tell.
    """

    response: Response = GAMMA22
    bits: int = 8
    lossy: bool = False
    noise: tuple[float, float] | None = None
    sampling: Sampling = FULL_SAMPLING

    def code_width(self, light: Float) -> Float:
        """How much light one code more is, at (...) float32 light of 0 to 1, mean of channels."""
        top = 2**self.bits - 1
        if self.response.name == GAMMA22.name:
            return GAMMA / top * power(np.maximum(light, 1e-6), 1 - 1 / GAMMA)
        widths = _slope_lut(self.response)
        at = np.sqrt(np.sqrt(np.clip(light, 0, 1))) * np.float32(len(widths) - 1)
        return widths.take(np.rint(at).astype(np.intp)) * np.float32(1 / top)


@cache
def _slope_lut(response: Response) -> Float:
    """Slope of light over code (0..1) at light (k / 1023)^4."""
    code = np.linspace(0, 1, 4096)
    light = (response.gamma_code(code[:, None].repeat(3, 1)) ** GAMMA).mean(1)
    slope = np.gradient(light, code)
    return np.interp(np.linspace(0, 1, 1024) ** 4, light, slope).astype(np.float32)


@cache
def _decoding_lut(depth: int) -> Float:
    table = ((np.arange(2**depth) / (2**depth - 1)) ** GAMMA).astype(np.float32)
    table.flags.writeable = False
    return table


def bit_depth(codes: Array) -> Literal[8, 16]:
    """Bits per sample of an array of codes, 8 or 16."""
    return 8 if codes.dtype == np.uint8 else 16


def all_codes(depth: int) -> Codes:
    """All codes there are of 8 or 16 bits, rising: what tables are made of."""
    if depth == 8:
        return np.arange(256, dtype=np.uint8)
    return np.arange(65536, dtype=np.uint16)


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
    return apply_lut(_decoding_lut(bit_depth(codes)), codes)


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
    code = np.rint(top * power(np.clip(linear, 0, 1), 1 / GAMMA))
    return code.astype(np.uint8) if depth == 8 else code.astype(np.uint16)


def apply_gain(codes: Codes, gain: Float, depth: int) -> Codes:
    """Camera codes under more light: as `encode(decode(codes) * gain, depth)`, in one pass.

    Gamma 2.2 makes a gain of light one of codes.

    Parameters
    ----------
    codes : (H, W, 3) uint8 or uint16
        Gamma 2.2 codes, full scale at 255 or 65535.
    gain : (H, W) float32
        Factor of the light.
    depth : {8, 16}
        Bits per sample of the result.

    Returns
    -------
    (H, W, 3) uint8 or uint16
        Clipped at full scale, and rounded.
    """
    scale = (2**depth - 1) / (2 ** bit_depth(codes) - 1)
    kind = cv2.CV_8U if depth == 8 else cv2.CV_16U
    more = to_three_channels(power(gain, 1 / GAMMA))
    brighter: Array = cv2.multiply(codes, more, scale=scale, dtype=kind)
    return brighter


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
    compressed = log1p_scaled(np.asarray(radiance), MU)
    compressed *= compressed.dtype.type(1 / np.log1p(MU))
    return compressed


def mu_law_slope(radiance: Float) -> Float:
    """Derivative of `mu_law`: how much a small step of radiance shows, same shape, float32."""
    return np.float32(MU / np.log1p(MU)) / (np.float32(1) + radiance * np.float32(MU))


def clipped_radiance_lut(depth: int, ev: float, most: float) -> Float:
    """Radiance of every code there is, clipped as an exposure of `most` stops clips.

    Parameters
    ----------
    depth : {8, 16}
        Bits per sample.
    ev : float
        Exposure of the frame in stops relative to the shortest, at most `most`.
    most : float
        Exposure, likewise.

    Returns
    -------
    (2^depth,) float32
        1.0 where the shortest frame clips.
    """
    linear = decode(all_codes(depth))
    return np.minimum(linear * np.float32(2.0**-ev), np.float32(2.0**-most))


def clipped_mu_law(codes: Codes, ev: float, most: float) -> Float:
    """Mu-law radiance of codes (...) of a frame, clipped as an exposure of `most` stops clips.

    So shown, frames of two exposures look alike; parameters as in `clipped_radiance_lut`.
    """
    return apply_lut(_clipped_mu_law_lut(bit_depth(codes), ev, most), codes)


@lru_cache(maxsize=32)
def _clipped_mu_law_lut(depth: int, ev: float, most: float) -> Float:
    return mu_law(clipped_radiance_lut(depth, ev, most))
