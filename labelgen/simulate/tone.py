"""Tone: curves per channel or with the hue kept, and local tone mapping."""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.core.arrays import Float, power
from labelgen.core.response import GAMMA
from labelgen.simulate.camera import RegionalLift, ToneCurve

LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)
"""Luminance of linear sRGB (ITU-R BT.709)."""
REGION_SCALE = 8
"""Local tone mapping looks at the picture this many times smaller."""
REGION_SIZE = 0.06
"""Standard deviation of a region, as a fraction of the height."""
REGION_EV = 1.2
"""Stops by which neighbouring regions may differ and still blend."""


def apply_curve(light: Float, curve: ToneCurve) -> Float:
    """Convert linear light (...) float32 of 0 to 1 to codes of 0 to 1: shoulder, toe, black.

    Codes rise with light, and 0 and 1 stay where they are.
    """
    code = power(light, 1 / GAMMA)
    k = np.float32(curve.shoulder)
    code = (1 - np.exp(-k * code)) / (1 - np.exp(-k))
    toe, crush = np.float32(curve.toe), np.float32(curve.crush)
    code = code * code * (1 + toe) / np.maximum(code + toe, np.float32(1e-6))
    return np.maximum(code - crush, 0) / (1 - crush)


def apply_keeping_hue(light: Float, curve: ToneCurve) -> Float:
    """Apply a curve to the largest and smallest channel; the middle one stays between them.

    Adobe, "Digital Negative (DNG) Specification" 1.4, ProfileToneCurve: the ratio of the distances
    between the channels stays, and with it the hue.

    Parameters
    ----------
    light : (..., 3) float32
        Linear light in the space of the curve, 0 to 1.
    curve : ToneCurve
        From light to codes.

    Returns
    -------
    (..., 3) float32
        Linear light in the same space, 0 to 1.
    """
    low, high = light.min(-1, keepdims=True), light.max(-1, keepdims=True)
    new_low, new_high = (power(apply_curve(v, curve), GAMMA) for v in (low, high))
    place = (light - low) / np.maximum(high - low, np.float32(1e-9))
    return new_low + (new_high - new_low) * place


def lift_regions(rng: np.random.Generator, light: Float, lift: RegionalLift) -> Float:
    """Lift dark regions of a frame, as phones do.

    Regions are those of a bilateral filter of log luminance (Durand and Dorsey, "Fast bilateral
    filtering for the display of high-dynamic-range images", 2002, doi:10.1145/566654.566574).
    Black and white stay where they are, and the hue of every pixel.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the strength of this frame.
    light : (H, W, 3) float32
        Linear sRGB, 0 to 1.
    lift : RegionalLift
        How much.

    Returns
    -------
    (H, W, 3) float32
        Linear sRGB, 0 to 1.
    """
    strength = lift.strength * max(1 + lift.spread * rng.standard_normal(), 0)
    luminance = light @ LUMA
    below = np.maximum(-_region_stops(luminance) - np.float32(lift.start), 0)
    gain = np.exp2(np.minimum(np.float32(strength) * below, np.float32(lift.limit)))
    # 1 - (1 - Y)^gain has the slope of the gain at black and ends at white.
    lifted = 1 - np.maximum(1 - luminance, 0) ** gain
    ratio = np.where(luminance > 1e-6, lifted / np.maximum(luminance, np.float32(1e-6)), gain)
    return np.clip(light * ratio[..., None], 0, 1)


def _region_stops(luminance: Float) -> Float:
    """Brightness of the region around each pixel, (H, W) float32 in stops, 0 where it clips."""
    height, width = luminance.shape
    size = max(width // REGION_SCALE, 1), max(height // REGION_SCALE, 1)
    small = cv2.resize(luminance, size, interpolation=cv2.INTER_AREA)
    stops = np.log2(np.maximum(small, np.float32(2.0**-12)))
    sigma = max(REGION_SIZE * size[1], 1.0)
    base = cv2.bilateralFilter(stops, 2 * int(2 * sigma) + 1, REGION_EV, sigma)
    return np.asarray(cv2.resize(base, (width, height), interpolation=cv2.INTER_LINEAR))
