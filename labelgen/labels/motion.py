"""Motion cue: where a frame, aligned, does not agree with the reference.

SS-HDR (arXiv 2203.12311) takes the difference of exposure-normalised frames outside of clipped
pixels; SelfHDR (arXiv 2310.01840) takes it in the mu-law domain. Here what noise, quantisation
and a small misalignment explain is allowed on top.
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
"""px around a pixel that its gradient (Sobel) depends on."""


def noise_variance(linear: Float, stored: SourceFormat, noise: Noise) -> Float:
    """Variance of linear light in one frame: photons, read-out and quantisation.

    Parameters
    ----------
    linear : (...) float32
        Linear light, 1.0 where the frame clips.
    stored : SourceFormat
        How the camera stored its codes.
    noise : Noise
        Full well and read noise in electrons (Hasinoff 2010, doi:10.1109/CVPR.2010.5540167),
        where `stored` does not tell or is not asked.

    Returns
    -------
    (...) float32
        In units of linear light squared.
    """
    step = stored.code_width(linear)
    full_well, read = noise.full_well, noise.read
    if stored.noise and noise.estimate == "brackets":
        full_well, read = stored.noise
    floor = np.float32((read / full_well) ** 2)
    codes = 1 / 12 + (noise.lossy**2 if stored.lossy else 0)
    return linear * np.float32(1 / full_well) + floor + step * step * np.float32(codes)


def receptive_field(recipe: Recipe) -> int:
    """Distance (px) of the farthest pixel that the motion of a pixel depends on."""
    settings = recipe.motion
    difference = _gaussian_radius(settings.smooth) + GRADIENT_RADIUS
    opening, closing = settings.speck - 1, settings.close - 1  # each erodes and dilates
    return difference + opening + closing + settings.grow // 2


def _gaussian_radius(sigma: float) -> int:
    return int(np.ceil(GAUSSIAN_END * sigma))


def moving(
    reference: Aligned,
    reference_ev: float,
    other: Aligned,
    other_ev: float,
    stored: SourceFormat,
    recipe: Recipe,
) -> Mask:
    """Pixels at which an aligned frame does not show what the reference shows.

    Both are compared as the longer of the two sees them: where that one clips, the shorter has
    to be at its clip or above.

    Parameters
    ----------
    reference : Aligned
        The reference.
    reference_ev, other_ev : float
        Exposures in stops relative to the shortest frame of the bracket.
    other : Aligned
        The other frame in the geometry of the reference.
    stored : SourceFormat
        How the camera stored the codes.
    recipe : Recipe
        Its motion and noise settings.

    Returns
    -------
    (H, W) bool
        True where it moved, or where the frame does not reach.
    """
    settings = recipe.motion
    most = max(reference_ev, other_ev)
    # Averaging over the Gaussian divides independent noise by 2 sqrt(pi) sigma.
    sigmas = settings.sigmas / (2 * np.sqrt(np.pi) * settings.smooth)
    spread, other_spread = (
        _variance_table(bit_depth(frame.codes), ev, most, stored, recipe.noise)
        * np.float32(sigmas**2)
        for frame, ev in ((reference, reference_ev), (other, other_ev))
    )
    radius = _gaussian_radius(settings.smooth)
    gaussian = (2 * radius + 1, 2 * radius + 1), settings.smooth

    def differ(rows: slice) -> Mask:
        moved = np.zeros(other.valid[rows].shape, bool)
        codes = (cv2.split(frame.codes[rows]) for frame in (reference, other))
        for own, others in zip(*codes, strict=True):
            one, allowed = clipped_mu_law(own, reference_ev, most), apply_lut(spread, own)
            allowed += apply_lut(other_spread, others)
            np.sqrt(allowed, out=allowed)
            allowed += np.float32(settings.threshold)
            if settings.gradient:
                slope = gradient_magnitude(cv2.GaussianBlur(one, *gaussian))
                slope *= np.float32(settings.gradient)
                allowed += slope
            one -= clipped_mu_law(others, other_ev, most)
            difference = cv2.GaussianBlur(one, *gaussian)
            moved |= np.abs(difference, out=difference) > allowed
        return moved

    # Strip by strip and channel by channel: all of it stays in the cache.
    mask: Bytes = np.empty(other.valid.shape, np.uint8)
    for strip, wide in strips(len(mask), radius + GRADIENT_RADIUS):
        mask[strip] = differ(wide)[strip.start - wide.start : strip.stop - wide.start]
    if settings.speck > 1:
        mask = _open_mask(mask, settings.speck)
    if settings.close > 1:
        mask = np.asarray(cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(settings.close)), np.uint8)
    if settings.grow > 1:
        mask = np.asarray(cv2.dilate(mask, _disc(settings.grow)), np.uint8)
    return mask.view(bool) | ~other.valid


@lru_cache(maxsize=32)
def _variance_table(
    depth: int, ev: float, most: float, stored: SourceFormat, noise: Noise
) -> Float:
    """Variance in mu-law of every code, as `clipped_mu_law` shows it."""
    slope = mu_law_slope(clipped_radiance_lut(depth, ev, most)) * np.float32(2.0**-ev)
    return noise_variance(decode(all_codes(depth)), stored, noise) * np.square(slope)


def _open_mask(mask: Bytes, width: int) -> Bytes:
    """Without what is narrower than `width`. OpenCV's own opening moves a mask if that is even."""
    square = np.ones((width, width), np.uint8)
    at, mirrored = width // 2, width - 1 - width // 2
    eroded = cv2.erode(mask, square, anchor=(at, at))
    return np.asarray(cv2.dilate(eroded, square, anchor=(mirrored, mirrored)), np.uint8)


def gradient_magnitude(image: Float) -> Float:
    """Magnitude of the change per pixel of an image (H, W) float32, same shape."""
    x, y = image_gradient(image)  # OpenCV's magnitude differs in the last bits between threads
    x *= x
    y *= y
    x += y
    return np.sqrt(x, out=x)


def _disc(width: int) -> Bytes:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
