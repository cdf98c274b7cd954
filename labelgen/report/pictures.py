"""Encode images of a page as data URIs: codes, trust, and radiance for the exposure slider.

Radiance is stored as its logarithm in 10 bits: steps of 1 % over 15 stops below 1.0. With 8 bits,
steps would be visible at other exposures. The picture has twice the height of the image: the upper
half holds the upper 8 bits of R, G and B; the lower half holds their lower 2 bits as one grey
number, R + 4 G + 16 B. It is lossless, and has no alpha channel because a canvas would multiply
the colours by it.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from labelgen.core.arrays import Array, Bytes, Codes, Float
from labelgen.core.response import to_depth

CODES_PER_STOP = 68
"""As `PER_STOP` in `viewer.js`. 1022 codes are 15.03 stops."""
MAX_CODE = 1023
"""Code of radiance 1.0; `TOP` in `viewer.js`."""


def log_codes(radiance: Float) -> Array:
    """Return the logarithmic codes of radiance.

    Parameters
    ----------
    radiance : (...) float32
        1.0 is the clip of the shortest frame. Values that are not finite, in damaged labels, are 0.

    Returns
    -------
    (...) uint16
        1 to 1023 stand for 2 ** ((code - 1023) / 68); 0 for anything darker.
    """
    finite = np.nan_to_num(radiance, nan=0.0, posinf=0.0, neginf=0.0)
    codes = np.rint(MAX_CODE + CODES_PER_STOP * np.log2(np.clip(finite, 2.0**-20, 1)))
    return np.clip(codes, 0, MAX_CODE).astype(np.uint16)


def radiance_uri(radiance: Float) -> str:
    """Encode radiance (H, W, 3) float32 as a picture of 2H x W px, as described above."""
    codes = log_codes(radiance)
    low_bits = (codes & 3) @ np.array([1, 4, 16], np.uint16)
    halves = [codes >> 2, np.repeat(low_bits[..., None], 3, -1)]
    return _uri(np.concatenate(halves).astype(np.uint8), "WEBP", lossless=True, method=2)


def trust_uri(weight: Bytes, cover: Bytes) -> str:
    """Encode weights (H, W) uint8 as red, and the kind of patch there (`Mosaic.cover`) as green."""
    planes = np.stack([weight, cover, np.zeros_like(weight)], -1)
    return _uri(planes, "WEBP", lossless=True, method=2)


def codes_uri(codes: Codes, quality: int = 82) -> str:
    """Encode the codes (H, W, 3) of a frame as JPEG."""
    return _uri(to_depth(codes, 8).astype(np.uint8), "JPEG", quality=quality, subsampling=0)


def _uri(pixels: Bytes, format: str, **settings: object) -> str:
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(data, format, **settings)
    return f"data:image/{format.lower()};base64,{base64.b64encode(data.getvalue()).decode()}"
