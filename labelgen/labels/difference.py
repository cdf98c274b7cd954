"""Differences of an aligned frame to the reference, and what camera noise explains of them.

Both frames are compared as the longer of the two sees them, in the mu-law domain: where the longer
one clips, the shorter one has to be at that clip or above.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from labelgen.alignment.align import Aligned
from labelgen.alignment.grey import image_gradient
from labelgen.core.arrays import Float, apply_lut
from labelgen.core.bracket import Stack
from labelgen.core.recipe import Recipe
from labelgen.core.response import (
    CLIPPED_CODE,
    GAMMA,
    SourceFormat,
    all_codes,
    bit_depth,
    clipped_mu_law,
    clipped_radiance_lut,
    decode,
    mu_law,
    mu_law_slope,
)
from labelgen.core.settings import Noise

GAUSSIAN_END = 3.0
"""Gaussian kernels end at this many standard deviations."""
GRADIENT_RADIUS = 1
"""Distance (px) of the farthest pixel that the Sobel gradient of a pixel depends on."""


@dataclass(frozen=True)
class Difference:
    """Difference of two frames in one channel of a region, in the mu-law domain."""

    pixels: Float
    """(H, W) float32: reference less other frame, pixel by pixel."""
    smooth: Float
    """(H, W) float32: the same after a Gaussian filter."""
    noise: Float
    """(H, W) float32: what noise explains of `smooth`, `motion.sigmas` standard deviations."""
    level: Float
    """(H, W) float32: smoothed light of the reference, 0 to 1 at the clip of the longer frame."""
    gradient: Float
    """(H, W) float32: gradient of the smoothed light, in mu-law per px. The recipe may make no use
    of it and of `level`, and then they are not computed."""


@dataclass(frozen=True)
class FramePair:
    """The reference and another frame, to be compared."""

    reference: Aligned
    other: Aligned
    reference_ev: float
    """Exposure of the reference in stops relative to the shortest frame."""
    other_ev: float
    source: SourceFormat
    recipe: Recipe

    @staticmethod
    def of(stack: Stack, i: int, reference: Aligned, other: Aligned, recipe: Recipe) -> FramePair:
        """Return the pair of the reference and frame i of a stack, for a region of both."""
        evs = stack.ev[stack.reference], stack.ev[i]
        return FramePair(reference, other, *evs, stack.source_format, recipe)

    @property
    def radius(self) -> int:
        """Distance (px) of the farthest pixel that the difference of a pixel depends on."""
        return gaussian_radius(self.recipe.motion.smooth) + GRADIENT_RADIUS

    def channels(self, rows: slice = slice(None)) -> Iterator[Difference]:
        """Compare R, G, B of some rows, one channel at a time."""
        settings, measured = self.recipe.motion, self.recipe.motion.measured > 0
        evs = self.reference_ev, self.other_ev
        longer_ev = clip_ev = max(evs)
        if measured:  # codes above this one do not tell how far above they are
            clip_ev -= GAMMA * float(np.log2(self.source.response.clip(CLIPPED_CODE)))
        frames = self.reference, self.other
        # A Gaussian divides the standard deviation of independent noise by 2 sqrt(pi) sigma.
        sigmas = settings.sigmas / (2 * np.sqrt(np.pi) * settings.smooth)
        luts = [
            _variance_lut(bit_depth(f.codes), ev, longer_ev, self.source, self.recipe.noise)
            * np.float32(sigmas**2)
            for f, ev in zip(frames, evs, strict=True)
        ]
        side = 2 * gaussian_radius(settings.smooth) + 1
        gaussian = (side, side), settings.smooth
        clip = np.float32(mu_law(np.array([2.0**-clip_ev]))[0])
        for pair in zip(*(cv2.split(f.codes[rows]) for f in frames), strict=True):
            light, other = (clipped_mu_law(c, ev, clip_ev) for c, ev in zip(pair, evs, strict=True))
            noise = apply_lut(luts[0], pair[0])
            noise += apply_lut(luts[1], pair[1])
            np.sqrt(noise, out=noise)
            level = gradient = light
            if settings.gradient or measured:
                level = cv2.GaussianBlur(light, *gaussian)
                gradient = gradient_magnitude(level)
                level *= 1 / clip
            light -= other
            yield Difference(light, cv2.GaussianBlur(light, *gaussian), noise, level, gradient)


def gaussian_radius(sigma: float) -> int:
    """Radius (px) of a Gaussian kernel."""
    return int(np.ceil(GAUSSIAN_END * sigma))


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


@lru_cache(maxsize=32)
def _variance_lut(
    depth: int, ev: float, longer_ev: float, source: SourceFormat, noise: Noise
) -> Float:
    """Variance (2^depth,) float32 of the noise at every code, in the domain of `clipped_mu_law`."""
    slope = mu_law_slope(clipped_radiance_lut(depth, ev, longer_ev)) * np.float32(2.0**-ev)
    return noise_variance(decode(all_codes(depth)), source, noise) * np.square(slope)


def gradient_magnitude(image: Float) -> Float:
    """Magnitude of the gradient (per px) of an image (H, W) float32, same shape."""
    x, y = image_gradient(image)  # cv2.magnitude depends on the number of threads in the last bits
    x *= x
    y *= y
    x += y
    return np.sqrt(x, out=x)
