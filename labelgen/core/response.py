"""From camera codes to linear light and back, and the mu-law of the HDR literature.

A code is a pixel value as it is stored: an integer of 8 or 16 bits, or that divided by its maximum
(0..1). All steps after reading use gamma 2.2 codes, the convention of the SIGGRAPH'17 set
(Kalantari and Ramamoorthi, doi:10.1145/3072959.3073609): linear = (code / max)^2.2, and a frame
clips at 1.0. Frames of a camera with another `Response` are recoded when they are read.
"""

from __future__ import annotations

from collections.abc import Callable
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
    to_uint16,
)
from labelgen.core.errors import UserError
from labelgen.core.mixing import LUMA, NO_MIXING, Mixing, decode_srgb, encode_srgb, keep_hue

GAMMA = 2.2
MU = 5000.0
"""Compression of `mu_law`."""

CURVE_SAMPLES = 256
"""Number of equally spaced codes at which an estimated response curve is stored."""
CLIPPED_CODE = 0.994
"""A channel with this camera code (0..1) or a higher one tells only the least light that it saw."""
ROWS = 128
"""Rows of an image that are recoded at a time."""
NAMED_RESPONSES = ("gamma2.2", "srgb", "linear")
"""Responses that a formula defines."""


@dataclass(frozen=True)
class Response:
    """Camera response: which linear light each camera code stands for.

    >>> Response("linear").gamma_code(np.array([0.5, 0.5, 0.5])).round(2).tolist()
    [0.73, 0.73, 0.73]
    """

    name: str = "gamma2.2"
    """One of `NAMED_RESPONSES`, or "estimated"."""
    curves: tuple[tuple[float, ...], ...] = ()
    """For an estimated response, three curves (R, G, B) of `CURVE_SAMPLES` values, otherwise empty.
    Value k is the gamma 2.2 code (0..1) of the camera code k / 255; a curve rises to 1. It starts
    above 0 if the camera crushes blacks: code 0 then stands for some light. Most cameras store
    nearly gamma 2.2, so the curves are nearly straight, and linear interpolation loses little."""
    mixing: Mixing = NO_MIXING
    """How channels are mixed; only for an estimated response. The curves are then those of the
    channels that it separates."""

    def __post_init__(self) -> None:
        if self.name in NAMED_RESPONSES and not self.curves and not self.mixing:
            return
        if self.name != "estimated" or [len(c) for c in self.curves] != [CURVE_SAMPLES] * 3:
            raise UserError(
                f"response '{self.name}': expected {', '.join(NAMED_RESPONSES)}, or estimated with "
                f"3 curves of {CURVE_SAMPLES} values"
            )
        rising = all(b >= a for c in self.curves for a, b in pairwise(c))
        if not rising or any(c[0] < 0 or c[-1] != 1 for c in self.curves):
            raise UserError("response: a curve has to rise from 0 or more to 1")

    def gamma_code(self, code: Array) -> Array:
        """Convert codes (..., 3), 0..1, of separate channels to gamma 2.2 codes, same shape.

        Codes of a camera that mixes channels have to be separated before (`Mixing.separate`). Grey
        codes are the same before and after.
        """
        if self.name == "gamma2.2":
            return code
        if self.name == "linear":
            return np.asarray(code ** (1 / GAMMA))
        if self.name == "srgb":
            return np.asarray(decode_srgb(code) ** (1 / GAMMA))
        grid = np.linspace(0, 1, CURVE_SAMPLES)
        return np.stack([np.interp(code[..., c], grid, self.curves[c]) for c in range(3)], -1)

    def recode(self, codes: Codes) -> Codes:
        """Convert an image of camera codes to gamma 2.2 codes.

        Parameters
        ----------
        codes : (H, W, 3) uint8 or uint16
            As the camera stored them, RGB.

        Returns
        -------
        (H, W, 3) uint8 or uint16
            `codes` itself if the camera has gamma 2.2, otherwise uint16.
        """
        if self.name == "gamma2.2":
            return codes
        if self.mixing:
            return self._separate_and_recode(codes)
        return apply_lut(self._lut(int(np.iinfo(codes.dtype).max)), codes)

    def _lut(self, top: int) -> Codes:
        """Look-up table (top + 1, 3) uint16 of gamma 2.2 codes by the code of a channel."""
        channel_codes = np.arange(top + 1)[:, None].repeat(3, 1) / top
        lut: Codes = np.rint(65535 * self.gamma_code(channel_codes)).astype(np.uint16)
        return lut

    def _separate_and_recode(self, codes: Codes) -> Codes:
        """Recode an image of a camera that mixes channels, as (H, W, 3) uint16.

        A clipped channel keeps the top code, which separation would lower.
        """
        top = np.iinfo(codes.dtype).max
        separate = _by_saturation(self) if self.mixing.kind == "saturation" else _by_hue(self)
        recoded = np.empty(codes.shape, np.uint16)
        for start in range(0, len(codes), ROWS):  # a few rows at a time save memory
            rows = slice(start, start + ROWS)
            recoded[rows] = separate(codes[rows])
        recoded[codes >= CLIPPED_CODE * top] = 65535
        return recoded

    def clip(self, code: float) -> float:
        """Convert the camera code (0..1) at which a frame clips to a gamma 2.2 code (0..1).

        Return the lowest of the three channels, whose curves may differ.
        """
        return float(self.gamma_code(np.full(3, code)).min())

    def as_json(self) -> dict[str, Any]:
        """Return plain values, as a dataset stores them: "name", "curves", and "mixing" if any."""
        values: dict[str, Any] = {"name": self.name}
        if self.curves:
            values["curves"] = [list(c) for c in self.curves]
        if self.mixing:
            values["mixing"] = self.mixing.as_json()
        return values

    @staticmethod
    def from_json(values: dict[str, Any]) -> Response:
        """Return the response that `as_json` describes."""
        curves = tuple(tuple(c) for c in values.get("curves", ()))
        mixing = Mixing.from_json(values["mixing"]) if "mixing" in values else NO_MIXING
        return Response(values["name"], curves, mixing)


def _by_saturation(response: Response) -> Callable[[Codes], Codes]:
    """Return a function that takes back the saturation of codes (H, W, 3), then their curves."""
    amount, lut = response.mixing.amount, response._lut(65535)
    matrix = np.eye(3) / amount + (1 - 1 / amount) * np.tile(LUMA, (3, 1))

    def recode(codes: Codes) -> Codes:
        scale = 65535 / np.iinfo(codes.dtype).max
        return apply_lut(lut, to_uint16(cv2.transform(codes.astype(np.float32), matrix * scale)))

    return recode


def _by_hue(response: Response) -> Callable[[Codes], Codes]:
    """Return a function that takes back a curve which keeps the hue of codes (H, W, 3)."""
    roots = np.arange(65536) / 65535  # square roots of light: more entries in the dark
    grey = encode_srgb(roots**2)[:, None].repeat(3, 1)
    curve = np.asarray(response.gamma_code(grey)[:, 0] ** GAMMA, np.float32)
    to_srgb = response.mixing.to_srgb
    from_srgb = np.linalg.inv(to_srgb)

    def invert_curve(light: Float) -> Float:
        index = to_uint16(np.sqrt(light) * np.float32(65535))
        return apply_lut(curve, index).reshape(light.shape)  # OpenCV drops single channels

    def recode(codes: Codes) -> Codes:
        light = apply_lut(_srgb_lut(bit_depth(codes)), codes)
        wide = np.clip(cv2.transform(light, from_srgb), 0, 1)
        light = cv2.transform(np.asarray(keep_hue(wide, invert_curve), np.float32), to_srgb)
        return to_uint16(power(np.clip(light, 0, 1), 1 / GAMMA) * np.float32(65535))

    return recode


@cache
def _srgb_lut(depth: int) -> Float:
    lut: Float = decode_srgb(np.arange(2**depth) / (2**depth - 1)).astype(np.float32)
    return lut


GAMMA22 = Response()

Sampling: TypeAlias = tuple[int, int]
"""Chroma subsampling of a file: (rows, columns) of pixels that share one chroma value."""
FULL_SAMPLING: Sampling = (1, 1)


@dataclass(frozen=True)
class SourceFormat:
    """Format in which a camera stored its frames. They are recoded to gamma 2.2 when they are read.

    The errors of their light depend on this format: rounding, compression, noise, and chroma that
    is stored at a lower resolution.
    """

    response: Response = GAMMA22
    bits: int = 8
    """Bits per sample."""
    lossy: bool = False
    """Whether the frames are JPEG, HEIC or another lossy format."""
    noise: tuple[float, float] | None = None
    """Full well and read noise (electrons) of the camera at the ISO of the reference; None if they
    could not be estimated from its brackets."""
    sampling: Sampling = FULL_SAMPLING

    def code_width(self, light: Float) -> Float:
        """Width of one quantisation step in linear light, the mean of the three channels.

        Parameters
        ----------
        light : (...) float32
            Linear light at which the step is taken, 0 to 1.

        Returns
        -------
        (...) float32
            Linear light.
        """
        top = 2**self.bits - 1
        if self.response.name == GAMMA22.name:
            return GAMMA / top * power(np.maximum(light, 1e-6), 1 - 1 / GAMMA)
        slopes = _slope_lut(self.response)
        index = np.sqrt(np.sqrt(np.clip(light, 0, 1))) * np.float32(len(slopes) - 1)
        return slopes.take(np.rint(index).astype(np.intp)) * np.float32(1 / top)


@cache
def _slope_lut(response: Response) -> Float:
    """Look-up table (1024,) float32 of the slope of light over code (0..1), mean of the channels.

    Entry k is for light (k / 1023)^4: most entries are in the dark, where the slope varies most.
    """
    code = np.linspace(0, 1, 4096)
    light = (response.gamma_code(code[:, None].repeat(3, 1)) ** GAMMA).mean(1)
    slope = np.gradient(light, code)
    return np.interp(np.linspace(0, 1, 1024) ** 4, light, slope).astype(np.float32)


def bit_depth(codes: Array) -> Literal[8, 16]:
    """Return the bits per sample of an array of codes, 8 or 16."""
    return 8 if codes.dtype == np.uint8 else 16


def all_codes(depth: int) -> Codes:
    """Return all codes of 8 or 16 bits, rising from 0: one for each entry of a look-up table."""
    if depth == 8:
        return np.arange(256, dtype=np.uint8)
    return np.arange(65536, dtype=np.uint16)


def to_depth(codes: Codes, depth: int) -> Codes:
    """Convert codes to 8 or 16 bits. From 8 to 16 bits nothing is lost.

    >>> to_depth(np.uint8([0, 255]), 16).tolist()
    [0, 65535]
    """
    if bit_depth(codes) == depth:
        return codes
    if depth == 16:
        return codes.astype(np.uint16) * np.uint16(257)
    return np.rint(codes / np.float32(257)).astype(np.uint8)


def decode(codes: Codes) -> Float:
    """Convert gamma 2.2 codes to linear light.

    Parameters
    ----------
    codes : (...) uint8 or uint16
        Gamma 2.2 codes, full scale at 255 or 65535.

    Returns
    -------
    (...) float32
        Linear light, 0 to 1; the frame clips at 1.0.

    Examples
    --------
    >>> decode(np.uint8([[0, 186, 255]])).round(2).tolist()
    [[0.0, 0.5, 1.0]]
    """
    return apply_lut(_decoding_lut(bit_depth(codes)), codes)


@cache
def _decoding_lut(depth: int) -> Float:
    lut = ((np.arange(2**depth) / (2**depth - 1)) ** GAMMA).astype(np.float32)
    lut.flags.writeable = False
    return lut


def encode(linear: Float, depth: int) -> Codes:
    """Convert linear light to gamma 2.2 codes: the inverse of `decode`.

    Parameters
    ----------
    linear : (...) float32
        Linear light, 1.0 where the frame clips. Values outside 0 to 1 are clipped.
    depth : {8, 16}
        Bits per sample of the result.

    Returns
    -------
    (...) uint8 or uint16
        round(max * clip(linear)^(1 / 2.2)).

    Examples
    --------
    >>> encode(np.float32([0, 0.5, 3]), 8).tolist()
    [0, 186, 255]
    """
    top = 2**depth - 1
    code = np.rint(top * power(np.clip(linear, 0, 1), 1 / GAMMA))
    return code.astype(np.uint8) if depth == 8 else code.astype(np.uint16)


def apply_gain(codes: Codes, gain: Float, depth: int) -> Codes:
    """Multiply the light of a frame: `encode(decode(codes) * gain, depth)` in one pass.

    Under gamma 2.2, a gain of light is a gain of codes.

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
        Gamma 2.2 codes, clipped at full scale and rounded.
    """
    scale = (2**depth - 1) / (2 ** bit_depth(codes) - 1)
    dtype = cv2.CV_8U if depth == 8 else cv2.CV_16U
    code_gain = to_three_channels(power(gain, 1 / GAMMA))
    brighter: Array = cv2.multiply(codes, code_gain, scale=scale, dtype=dtype)
    return brighter


def mu_law(radiance: Float) -> Float:
    """Compress the dynamic range as Kalantari 2017 does: log(1 + 5000 H) / log(5001).

    Parameters
    ----------
    radiance : (...) float32 or float64
        Linear radiance H of 0 to 1, 1.0 where the shortest frame clips.

    Returns
    -------
    (...) of the same dtype
        0 to 1.

    Examples
    --------
    >>> mu_law(np.array([0, 0.01, 1])).round(2).tolist()
    [0.0, 0.46, 1.0]
    """
    compressed = log1p_scaled(np.asarray(radiance), MU)
    compressed *= compressed.dtype.type(1 / np.log1p(MU))
    return compressed


def mu_law_slope(radiance: Float) -> Float:
    """Derivative of `mu_law` by radiance (...) float32, same shape and dtype."""
    return np.float32(MU / np.log1p(MU)) / (np.float32(1) + radiance * np.float32(MU))


def clipped_radiance_lut(depth: int, ev: float, clip_ev: float) -> Float:
    """Radiance of every code of a frame, clipped where a longer exposure clips.

    A shorter frame shows more highlights than a longer one. Two frames can be compared once the
    shorter one is clipped at the same radiance as the longer one.

    Parameters
    ----------
    depth : {8, 16}
        Bits per sample.
    ev : float
        Exposure of the frame in stops relative to the shortest, at most `clip_ev`.
    clip_ev : float
        Exposure of the longer frame, in the same stops.

    Returns
    -------
    (2^depth,) float32
        1.0 where the shortest frame clips.
    """
    linear = decode(all_codes(depth))
    return np.minimum(linear * np.float32(2.0**-ev), np.float32(2.0**-clip_ev))


def clipped_mu_law(codes: Codes, ev: float, clip_ev: float) -> Float:
    """Mu-law of the radiance of codes (...), clipped as in `clipped_radiance_lut`; float32."""
    return apply_lut(_clipped_mu_law_lut(bit_depth(codes), ev, clip_ev), codes)


@lru_cache(maxsize=32)
def _clipped_mu_law_lut(depth: int, ev: float, clip_ev: float) -> Float:
    return mu_law(clipped_radiance_lut(depth, ev, clip_ev))
