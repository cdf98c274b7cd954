"""Names for the array types that pass from room to room."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import cache
from itertools import chain
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Float: TypeAlias = NDArray[np.float32]
"""float32: linear light, radiance or a cue."""
Half: TypeAlias = NDArray[np.float16]
"""float16: radiance of 0 to 1 where there is much of it."""
Codes: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""uint8 or uint16: what the camera stored."""
Mask: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]
Region: TypeAlias = tuple[slice, slice]
"""Rows and columns of a piece of a frame."""
PackedRows: TypeAlias = "array[float]"
"""Rows of a few numbers, one after another: a tenth of the memory of tuples of them."""

LUT_BLOCK = 1 << 15
"""Codes that are indices at once."""


def pack_rows(rows: Iterable[Iterable[float]]) -> PackedRows:
    """Rows as numbers one after another, in single precision."""
    return array("f", chain.from_iterable(rows))


def max_channel(image: NDArray[Any]) -> NDArray[Any]:
    """The largest channel of (..., 3); of masks, whether any is set. Ten times `image.max(-1)`."""
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def mask_fraction(mask: Mask) -> float:
    """Share of a mask (H, W) that is set. Thrice as fast as `mask.mean()`."""
    return cv2.countNonZero(mask.view(np.uint8)) / mask.size


def power(base: NDArray[Any], exponent: float) -> NDArray[Any]:
    """Floats of at least 0 to a power, same shape and type. Twice `base**exponent`."""
    return cv2.pow(base.reshape(-1, 1), exponent).reshape(base.shape) if base.size else base.copy()


def log1p_scaled(values: NDArray[Any], factor: float) -> NDArray[Any]:
    """log(1 + factor * values) of floats, same shape and type. Five times `np.log1p`."""
    result = np.asarray(values * values.dtype.type(factor))
    result += 1
    if result.size:
        flat = result.reshape(-1, 1)  # OpenCV takes no other shapes
        cv2.log(flat, flat)
    return result


def apply_lut(table: NDArray[Any], codes: Codes) -> NDArray[Any]:
    """What a table (N,) holds for every code, shape of `codes`. Twice as fast as `table[codes]`.

    A table (N, 3) is looked up channel by channel, in codes (..., 3).
    """
    row = np.ascontiguousarray(codes).reshape(-1, *table.shape[1:])
    if codes.size and (codes.dtype == np.uint8 or _looks_up_16_bits()):
        return np.asarray(cv2.LUT(row[None], table[None])).reshape(codes.shape)
    found = np.empty(row.shape, table.dtype)
    channel = () if table.ndim == 1 else (np.arange(3),)
    for start in range(0, len(row), LUT_BLOCK):  # NumPy makes 64-bit indices of the codes
        here = slice(start, start + LUT_BLOCK)
        found[here] = table[(row[here], *channel)]
    return found.reshape(codes.shape)


@cache
def _looks_up_16_bits() -> bool:
    """Whether this OpenCV does; earlier ones take 8 bits alone."""
    try:
        cv2.LUT(np.zeros((1, 1), np.uint16), np.zeros((1, 1 << 16), np.float32))
    except cv2.error:
        return False
    return True


def to_float16(values: Float | Half) -> Half:
    """Floats as float16, same shape, rounded to the nearest; they themselves if they are.

    Eight times as fast as `astype`.
    """
    if values.dtype == np.float32 and values.size and _converts_halves():
        return np.asarray(cv2.add(values, 0.0, dtype=cv2.CV_16F)).reshape(values.shape)
    return values.astype(np.float16, copy=False)


def to_float32(values: Half | Float) -> Float:
    """Floats as float32, same shape; they themselves if they are. Thrice as fast as `astype`."""
    if values.dtype == np.float16 and values.size and _converts_halves():
        return np.asarray(cv2.add(values, 0.0, dtype=cv2.CV_32F)).reshape(values.shape)
    return values.astype(np.float32, copy=False)


def to_uint16(values: Float) -> NDArray[np.uint16]:
    """Floats as codes of 16 bits, same shape: rounded, half to even, and clipped to what there is.

    Five times as fast as NumPy.
    """
    codes: NDArray[np.uint16] = cv2.add(values, 0.0, dtype=cv2.CV_16U)
    return codes


@cache
def _converts_halves() -> bool:
    """Whether this OpenCV does, from 5 on."""
    try:
        return cv2.add(np.ones((1, 1), np.float32), 0.0, dtype=cv2.CV_16F).dtype == np.float16
    except cv2.error:
        return False


def median(values: NDArray[Any]) -> float:
    """The median of numbers (N,), N at least 1, none of them NaN. Thrice NumPy's speed on a few."""
    middle = (len(values) - 1) // 2, len(values) // 2
    low, high = np.partition(values, middle)[list(middle)]
    return float((low + high) / 2)


def quantile(values: NDArray[Any], share: float) -> float:
    """What `np.quantile` gives of numbers (N,), N at least 1, none of them NaN. Twice as fast."""
    at = share * (len(values) - 1)
    first = int(at)
    around = first, min(first + 1, len(values) - 1)
    low, high = (float(v) for v in np.partition(values, around)[list(around)])
    return low + (at - first) * (high - low)


def downsample(image: NDArray[Any], size: tuple[int, int]) -> NDArray[Any]:
    """An image (H, W, ...) at a smaller width and height: halved while that fits, then linear.

    Ten times as fast as OpenCV's means over areas where sides are even, and as good to find
    geometry by.
    """
    small: NDArray[Any] = image
    while small.shape[1] >= 2 * size[0] and small.shape[0] >= 2 * size[1]:
        h, w = ((n + 1) // 2 for n in small.shape[:2])
        small = cv2.resize(small, (w, h), interpolation=cv2.INTER_AREA)
    return small if small.shape[1::-1] == size else cv2.resize(small, size)


def to_three_channels(values: Float) -> Float:
    """(H, W) as each channel of (H, W, 3). An image times it takes a third of `[..., None]`."""
    return np.asarray(cv2.merge([values] * 3))


def full_region(size: tuple[int, int]) -> Region:
    """All rows and columns of a frame (height, width)."""
    return slice(0, size[0]), slice(0, size[1])
