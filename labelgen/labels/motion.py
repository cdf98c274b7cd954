"""Motion cue: the pixels at which an aligned frame does not show what the reference shows.

SS-HDR (arXiv 2203.12311) thresholds the difference of exposure-normalised frames outside of clipped
pixels. SelfHDR (arXiv 2310.01840) does so in the mu-law domain. Here the threshold is higher where
noise, quantisation or a small misalignment explains the difference.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from labelgen.alignment.align import Aligned
from labelgen.alignment.grey import image_gradient
from labelgen.core.arrays import Bytes, Float, Mask, apply_lut
from labelgen.core.recipe import Recipe
from labelgen.core.response import (
    SourceFormat,
    all_codes,
    bit_depth,
    clipped_mu_law,
    clipped_radiance_lut,
    decode,
    mu_law_slope,
)
from labelgen.core.settings import Noise
from labelgen.core.tiles import strips

GAUSSIAN_END = 3.0
"""Gaussian kernels end at this many standard deviations."""
GRADIENT_RADIUS = 1
"""Distance (px) of the farthest pixel that the Sobel gradient of a pixel depends on."""


def noise_variance(linear: Float, source: SourceFormat, noise: Noise) -> Float:
    """Variance of linear light in one frame: photon noise, read noise and quantisation.

    Parameters
    ----------
    linear : (...) float32
        Linear light, 1.0 where the frame clips.
    source : SourceFormat
        How the camera stored its codes. Its noise is used if the recipe asks for it.
    noise : Noise
        Full well and read noise in electrons (Hasinoff 2010, doi:10.1109/CVPR.2010.5540167).

    Returns
    -------
    (...) float32
        In units of linear light squared.
    """
    step = source.code_width(linear)
    full_well, read = noise.full_well, noise.read
    if source.noise and noise.estimate == "brackets":
        full_well, read = source.noise
    floor = np.float32((read / full_well) ** 2)
    codes = 1 / 12 + (noise.lossy**2 if source.lossy else 0)
    return linear * np.float32(1 / full_well) + floor + step * step * np.float32(codes)


def receptive_field(recipe: Recipe) -> int:
    """Distance (px) of the farthest pixel that the motion of a pixel depends on."""
    settings = recipe.motion
    difference = _gaussian_radius(settings.smooth) + GRADIENT_RADIUS
    # Each consists of an erosion and a dilation, with a radius of (width - 1) / 2.
    opening, closing = settings.speck - 1, settings.close - 1
    return difference + opening + closing + settings.grow // 2


def _gaussian_radius(sigma: float) -> int:
    return int(np.ceil(GAUSSIAN_END * sigma))


def moving(
    reference: Aligned,
    reference_ev: float,
    other: Aligned,
    other_ev: float,
    source: SourceFormat,
    recipe: Recipe,
) -> Mask:
    """Mask of the pixels at which an aligned frame does not show what the reference shows.

    Both frames are compared as the longer of the two sees them. Where the longer one clips, the
    shorter one has to be at that clip or above.

    Parameters
    ----------
    reference : Aligned
        The reference.
    reference_ev, other_ev : float
        Exposures in stops relative to the shortest frame of the bracket.
    other : Aligned
        The other frame in the geometry of the reference.
    source : SourceFormat
        How the camera stored the codes.
    recipe : Recipe
        Its motion and noise settings.

    Returns
    -------
    (H, W) bool
        True for a moving pixel, and for a pixel that the other frame does not cover.
    """
    settings = recipe.motion
    longer_ev = max(reference_ev, other_ev)
    # A Gaussian divides the standard deviation of independent noise by 2 sqrt(pi) sigma.
    sigmas = settings.sigmas / (2 * np.sqrt(np.pi) * settings.smooth)
    reference_variance, other_variance = (
        _variance_lut(bit_depth(frame.codes), ev, longer_ev, source, recipe.noise)
        * np.float32(sigmas**2)
        for frame, ev in ((reference, reference_ev), (other, other_ev))
    )
    radius = _gaussian_radius(settings.smooth)
    gaussian = (2 * radius + 1, 2 * radius + 1), settings.smooth

    def differ(rows: slice) -> Mask:
        mask = np.zeros(other.valid[rows].shape, bool)
        channels = (cv2.split(frame.codes[rows]) for frame in (reference, other))
        for codes, other_codes in zip(*channels, strict=True):
            difference = clipped_mu_law(codes, reference_ev, longer_ev)
            allowed = apply_lut(reference_variance, codes)
            allowed += apply_lut(other_variance, other_codes)
            np.sqrt(allowed, out=allowed)
            allowed += np.float32(settings.threshold)
            if settings.gradient:
                slope = gradient_magnitude(cv2.GaussianBlur(difference, *gaussian))
                slope *= np.float32(settings.gradient)
                allowed += slope
            difference -= clipped_mu_law(other_codes, other_ev, longer_ev)
            smooth = cv2.GaussianBlur(difference, *gaussian)
            mask |= np.abs(smooth, out=smooth) > allowed
        return mask

    # One channel of a strip at a time: all arrays of it stay in the cache.
    mask: Bytes = np.empty(other.valid.shape, np.uint8)
    for strip, padded in strips(len(mask), radius + GRADIENT_RADIUS):
        mask[strip] = differ(padded)[strip.start - padded.start : strip.stop - padded.start]
    if settings.speck > 1:
        mask = _open_mask(mask, settings.speck)
    if settings.close > 1:
        mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(settings.close)), np.uint8)
    if settings.grow > 1:
        mask = np.asarray(cv2.dilate(mask, _disc(settings.grow)), np.uint8)
    return mask.view(bool) | ~other.valid


@lru_cache(maxsize=32)
def _variance_lut(
    depth: int, ev: float, longer_ev: float, source: SourceFormat, noise: Noise
) -> Float:
    """Variance (2^depth,) float32 of the noise at every code, in the domain of `clipped_mu_law`."""
    slope = mu_law_slope(clipped_radiance_lut(depth, ev, longer_ev)) * np.float32(2.0**-ev)
    return noise_variance(decode(all_codes(depth)), source, noise) * np.square(slope)


def _open_mask(mask: Bytes, width: int) -> Bytes:
    """Open a mask by a square: remove regions that are narrower than `width` px.

    Erosion and dilation use mirrored anchors. OpenCV's own opening does not, and so shifts the mask
    if the width is even.
    """
    square = np.ones((width, width), np.uint8)
    anchor, mirrored = width // 2, width - 1 - width // 2
    eroded = cv2.erode(mask, square, anchor=(anchor, anchor))
    return np.asarray(cv2.dilate(eroded, square, anchor=(mirrored, mirrored)), np.uint8)


def gradient_magnitude(image: Float) -> Float:
    """Magnitude of the gradient (per px) of an image (H, W) float32, same shape."""
    x, y = image_gradient(image)  # cv2.magnitude depends on the number of threads in the last bits
    x *= x
    y *= y
    x += y
    return np.sqrt(x, out=x)


def _disc(width: int) -> Bytes:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
