"""Names for the array types that pass from room to room."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Float: TypeAlias = NDArray[np.float32]
"""float32: linear light, radiance or a cue."""
Codes: TypeAlias = NDArray[np.uint8] | NDArray[np.uint16]
"""uint8 or uint16: what the camera stored."""
Mask: TypeAlias = NDArray[np.bool_]
Bytes: TypeAlias = NDArray[np.uint8]


def highest(image: NDArray[Any]) -> NDArray[Any]:
    """The largest channel of (..., 3); of masks, whether any is set. Ten times `image.max(-1)`."""
    return np.maximum(np.maximum(image[..., 0], image[..., 1]), image[..., 2])
