"""Names for the array types that pass from room to room."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
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
Packed: TypeAlias = "array[float]"
"""Rows of a few numbers, one after another: a fifth of the memory of tuples of them."""

PIECE = 1 << 15
"""Values that are looked up at once."""


def packed(rows: Iterable[Iterable[float]]) -> Packed:
    """Rows as numbers one after another, in double precision."""
    return array("d", chain.from_iterable(rows))


def highest(image: NDArray[Any]) -> NDArray[Any]:
    """The largest channel of (..., 3); of masks, whether any is set. Ten times `image.max(-1)`."""
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])


def power(base: NDArray[Any], exponent: float) -> NDArray[Any]:
    """Floats of at least 0 to a power, same shape and type. Twice `base**exponent`."""
    return cv2.pow(base.reshape(-1, 1), exponent).reshape(base.shape) if base.size else base.copy()


def log1p(values: NDArray[Any], factor: float) -> NDArray[Any]:
    """log(1 + factor * values) of floats, same shape and type. Five times `np.log1p`."""
    result = np.asarray(values * values.dtype.type(factor))
    result += 1
    if result.size:
        flat = result.reshape(-1, 1)  # OpenCV takes no other shapes
        cv2.log(flat, flat)
    return result


def looked_up(table: NDArray[Any], codes: NDArray[Any]) -> NDArray[Any]:
    """What a table holds for every code, shape of `codes`. Three times as fast as `table[codes]`.

    In pieces: NumPy makes 64-bit indices of the codes, which are to stay in the cache.
    """
    result = np.empty(codes.shape, table.dtype)
    flat, found = np.ascontiguousarray(codes).reshape(-1), result.reshape(-1)
    for start in range(0, flat.size, PIECE):
        here = slice(start, start + PIECE)
        np.take(table, flat[here], out=found[here], mode="clip")
    return result


def whole(size: tuple[int, int]) -> Region:
    """All rows and columns of a frame (height, width)."""
    return slice(0, size[0]), slice(0, size[1])
