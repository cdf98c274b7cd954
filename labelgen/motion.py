"""Motion cue: where a frame, aligned, does not agree with the reference.

SS-HDR (arXiv 2203.12311) takes the difference of exposure-normalised frames outside of clipped
pixels; SelfHDR (arXiv 2310.01840) takes it in the mu-law domain. Here what noise, quantisation
and a small misalignment explain is allowed on top.
"""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.align import Aligned
from labelgen.arrays import Bytes, Codes, Float, Mask, highest, looked_up
from labelgen.recipe import Noise, Recipe
from labelgen.refine import slopes
from labelgen.response import Stored, decode, every_code, mu_law, mu_law_slope

WIDE = 3.0
"""Gaussians end at so many standard deviations."""


def variance(linear: Float, stored: Stored, noise: Noise) -> Float:
    """Variance of linear light in one frame: photons, read-out and quantisation.

    Parameters
    ----------
    linear : (...) float32
        Linear light, 1.0 where the frame clips.
    stored : Stored
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


def moving(
    reference: Aligned,
    reference_ev: float,
    other: Aligned,
    other_ev: float,
    stored: Stored,
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
    stored : Stored
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
    one, spread = _shown(reference.codes, reference_ev, most, stored, recipe.noise)
    two, more = _shown(other.codes, other_ev, most, stored, recipe.noise)
    spread += more
    allowed = np.sqrt(spread, out=spread)
    allowed *= np.float32(sigmas)
    allowed += np.float32(settings.threshold)
    width = 2 * int(np.ceil(WIDE * settings.smooth)) + 1
    size = (width, width), settings.smooth
    if settings.gradient:
        slope = gradient(cv2.GaussianBlur(one, *size))
        slope *= np.float32(settings.gradient)
        allowed += slope
    one -= two
    difference = cv2.GaussianBlur(one, *size)
    moved: Bytes = highest(np.abs(difference, out=difference) > allowed).astype(np.uint8)
    if settings.speck > 1:
        moved = _opened(moved, settings.speck)
    if settings.close > 1:
        moved = cv2.morphologyEx(moved, cv2.MORPH_CLOSE, _disc(settings.close))
    if settings.grow > 1:
        moved = cv2.dilate(moved, _disc(settings.grow))
    return (moved > 0) | ~other.seen


def _shown(
    codes: Codes, ev: float, most: float, stored: Stored, noise: Noise
) -> tuple[Float, Float]:
    """Mu-law radiance of codes, clipped as an exposure of `most` stops clips, and its variance.

    Both are functions of the code alone, so a table has them all.
    """
    scale = np.float32(2.0**-ev)
    linear = decode(every_code(codes))
    radiance = np.minimum(linear * scale, np.float32(2.0**-most))
    slope = mu_law_slope(radiance) * scale
    spread = variance(linear, stored, noise) * slope * slope
    return looked_up(mu_law(radiance), codes), looked_up(spread, codes)


def _opened(mask: Bytes, width: int) -> Bytes:
    """Without what is narrower than `width`. OpenCV's own opening moves a mask if that is even."""
    square = np.ones((width, width), np.uint8)
    at, mirrored = width // 2, width - 1 - width // 2
    eroded = cv2.erode(mask, square, anchor=(at, at))
    return np.asarray(cv2.dilate(eroded, square, anchor=(mirrored, mirrored)), np.uint8)


def gradient(image: Float) -> Float:
    """Magnitude of the change per pixel of an image (H, W, 3) float32, same shape."""
    x, y = slopes(image)  # OpenCV's magnitude differs in the last bits between threads
    x *= x
    y *= y
    x += y
    return np.sqrt(x, out=x)


def _disc(width: int) -> Bytes:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
