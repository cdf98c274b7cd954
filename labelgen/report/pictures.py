"""Pictures inside a page: codes, trust, and radiance that a slider can expose anew.

Radiance is stored as 10 bits of its logarithm, steps of 1 % over 15 stops below 1.0, since 8 bits
of anything would band as soon as it is exposed. A picture of it is twice as high as what it shows:
the upper half holds the upper 8 bits of R, G and B, the lower half their lower 2 bits, as one
number (R + 4 G + 16 B) of all three channels. It is losslessly compressed and has no alpha, which
a canvas would multiply into the colours.
"""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from labelgen.core.arrays import Array, Bytes, Codes, Float
from labelgen.core.response import to_depth

PER_STOP = 68
"""Steps a stop: 1022 of them are 15.03 stops. `viewer.js` has the same number."""
TOP = 1023


def log_codes(radiance: Float) -> Array:
    """Radiance (...) float32 as uint16 codes of 0 to 1023: 1 + stops above 2^-15.03; 0 is less.

    Codes stand for 2^((code - 1023) / 68). What is not finite, as only damaged labels are, is 0.
    """
    light = np.nan_to_num(radiance, nan=0.0, posinf=0.0, neginf=0.0)
    code = np.rint(TOP + PER_STOP * np.log2(np.clip(light, 2.0**-20, 1)))
    return np.clip(code, 0, TOP).astype(np.uint16)


def radiance_uri(radiance: Float) -> str:
    """Radiance (H, W, 3) as a picture (2H, W), see above."""
    code = log_codes(radiance)
    low = (code & 3) @ np.array([1, 4, 16], np.uint16)
    halves = [code >> 2, np.repeat(low[..., None], 3, -1)]
    return _uri(np.concatenate(halves).astype(np.uint8), "WEBP", lossless=True, method=2)


def trust_uri(weight: Bytes, cover: Bytes) -> str:
    """Weights (H, W), and how a pixel is covered (H, W), as red and green of a picture."""
    planes = np.stack([weight, cover, np.zeros_like(weight)], -1)
    return _uri(planes, "WEBP", lossless=True, method=2)


def codes_uri(codes: Codes, quality: int = 82) -> str:
    """Codes (H, W, 3) of a frame, to look at."""
    return _uri(to_depth(codes, 8).astype(np.uint8), "JPEG", quality=quality, subsampling=0)


def _uri(pixels: Bytes, form: str, **how: object) -> str:
    data = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(data, form, **how)
    kind = f"image/{form.lower()}"
    return f"data:{kind};base64,{base64.b64encode(data.getvalue()).decode()}"
