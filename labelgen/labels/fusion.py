"""Fuse aligned frames into radiance."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from labelgen.alignment.align import Aligned
from labelgen.core.arrays import Float, Mask, apply_lut, power, to_three_channels
from labelgen.core.bracket import Stack
from labelgen.core.recipe import Recipe
from labelgen.core.response import GAMMA, SourceFormat, all_codes, bit_depth, decode
from labelgen.core.settings import Noise
from labelgen.labels.cues import Cues
from labelgen.labels.cues import receptive_field as cues_receptive_field
from labelgen.labels.motion import GRADIENT_RADIUS, gradient_magnitude, noise_variance

KNEE = 0.04
"""Width, in codes of 0..1 below the clip, over which a frame fades out of a fusion."""
BLUR_SIGMA, BLUR_RADIUS = 0.6, 2
"""Gaussian (px) over a frame before its gradient is taken: noise alone has large gradients."""
BILATERAL_SIDE, BILATERAL_SIGMA = 5, 1.6
"""Side and spatial standard deviation (px) of the bilateral filter."""


def receptive_field(recipe: Recipe) -> int:
    """Distance (px) of the farthest pixel that the fused radiance of a pixel depends on."""
    if recipe.fusion.weights == "triangle":
        return 0
    return variance_receptive_field(recipe)


def variance_receptive_field(recipe: Recipe) -> int:
    """The same for `fuse_variance`, whatever weights the recipe chooses."""
    slope = BLUR_RADIUS + GRADIENT_RADIUS if recipe.fusion.misplaced else 0
    bilateral = BILATERAL_SIDE // 2 if recipe.fusion.denoise else 0
    return max(cues_receptive_field(recipe), slope) + bilateral


def fuse(cues: Cues, stack: Stack, recipe: Recipe) -> tuple[Float, Mask]:
    """Fuse the frames by the weights that the recipe names; see `fuse_variance`."""
    if recipe.fusion.weights == "variance":
        return fuse_variance(cues, stack, recipe)
    clip = recipe.exposure.clip
    fused = fuse_triangle(cues.aligned, stack.ev, stack.reference, clip)
    return fused, np.ones(cues.size, bool)


def triangle_weight(code: Float) -> Float:
    """Share of the reference: 2x up to a code of 0.5, 2 - 2x above (Kalantari 2017)."""
    return np.float32(1) - np.abs(2 * code - np.float32(1))


def fuse_triangle(
    aligned: Sequence[Aligned], ev: Sequence[float], reference: int, clip: float
) -> Float:
    """Fusion by the code of the reference (Kalantari 2017, doi:10.1145/3072959.3073609).

    With x the code of the reference in 0..1, (short, reference, long) weigh (0, 2x, 1 - 2x) for
    x up to 0.5 and (2x - 1, 2 - 2x, 0) above. With more frames, what the reference leaves goes
    outwards: each frame keeps its own triangle of it and passes on the rest, and the last takes
    all. The share of a longer frame that clips goes back to the reference.

    Parameters
    ----------
    aligned : sequence of Aligned
        F frames in the geometry of the reference, shortest first.
    ev : sequence of float
        Their exposures in stops relative to the shortest.
    reference : int
        Index of the reference.
    clip : float
        Code (0..1) from which on a channel is clipped.

    Returns
    -------
    (H, W, 3) float32
        Radiance, 1.0 where the shortest frame clips.
    """
    x = power(aligned[reference].linear, 1 / GAMMA)
    own = triangle_weight(x)
    total = np.zeros_like(x)
    for chain, side in (
        (range(reference + 1, len(ev)), x <= 0.5),
        (range(reference - 1, -1, -1), x > 0.5),
    ):
        left = np.where(side, 1 - own, 0).astype(np.float32)
        for i in chain:
            code = power(aligned[i].linear, 1 / GAMMA)
            # An inner frame keeps all once its own code has turned the other way.
            turned = code > 0.5 if i > reference else code <= 0.5
            keeps = np.where(turned | (i in (0, len(ev) - 1)), 1, triangle_weight(code)) * left
            usable = aligned[i].valid[..., None] & ((code < clip) | (i < reference))
            taken = np.where(usable, keeps, 0).astype(np.float32)
            total += taken * aligned[i].linear * np.float32(2.0 ** -ev[i])
            own = own + np.where(usable, 0, keeps)
            left = left - keeps
        own = own + left
    return total + own * aligned[reference].linear * np.float32(2.0 ** -ev[reference])


def fuse_variance(cues: Cues, stack: Stack, recipe: Recipe) -> tuple[Float, Mask]:
    """Inverse-variance fusion of the frames that agree (Hasinoff 2010, 10.1109/CVPR.2010.5540167).

    All channels of a frame have one weight, so that a pixel clipped in one channel gets no
    colour cast. An error of the geometry counts as noise that grows with the slope, which the
    reference does not have: edges are its own. Where no agreeing frame is below its clip, the
    shortest stands if it static_frames: what it clips is known to be at least 1.0.

    Parameters
    ----------
    cues : Cues
        F frames in the geometry of the reference, and where they agree with it.
    stack : Stack
        The bracket.
    recipe : Recipe
        Its noise, exposure and fusion settings.

    Returns
    -------
    radiance : (H, W, 3) float32
        1.0 where the shortest frame clips; 0 where nothing is known.
    known : (H, W) bool
        False where no agreeing frame can tell.
    """
    total = np.zeros((*cues.size, 3), np.float32)
    weights = np.zeros(cues.size, np.float32)
    own = weights
    size = (2 * BLUR_RADIUS + 1, 2 * BLUR_RADIUS + 1)
    for i, (frame, stops) in enumerate(zip(cues.aligned, stack.ev, strict=True)):
        linear, level = frame.linear, frame.max_code
        fades, spread = _of_codes(
            bit_depth(level), stack.source_format, recipe.noise, recipe.exposure.clip
        )
        spread = apply_lut(spread, level)
        if i == cues.reference:
            own = np.float32(4.0**stops) / spread
        elif recipe.fusion.misplaced and frame.shift:
            slope = gradient_magnitude(cv2.GaussianBlur(decode(level), size, BLUR_SIGMA))
            slope *= np.float32(recipe.fusion.misplaced)
            spread += np.square(slope, out=slope)
        weight = apply_lut(fades, level) * cues.static_frames[i]
        weight *= np.float32(4.0**stops)
        weight /= spread
        weights += weight
        weight *= np.float32(2.0**-stops)
        linear *= to_three_channels(weight)
        total += linear
    seen = weights > 0
    beyond = ~seen & cues.static_frames[0]
    divisor = np.maximum(weights, np.float32(1e-30))
    total /= to_three_channels(divisor)
    if beyond.any():
        total[beyond] = decode(cues.aligned[0].codes[beyond])
    if recipe.fusion.denoise:
        noisy = np.minimum(own / divisor, 1) * seen
        change = denoise(total, stack, recipe)
        change -= total
        change *= to_three_channels(noisy)
        total += change
    return total, seen | beyond


@lru_cache(maxsize=8)
def _of_codes(depth: int, stored: SourceFormat, noise: Noise, clip: float) -> tuple[Float, Float]:
    """For every code there is: how far it counts (0 when clipped), and its variance."""
    every = all_codes(depth)
    code = every.astype(np.float32) / np.float32(every[-1])
    fades = np.clip((np.float32(clip) - code) * np.float32(1 / KNEE), 0, 1)
    return fades, noise_variance(decode(every), stored, noise)


def denoise(radiance: Float, stack: Stack, recipe: Recipe) -> Float:
    """Radiance without the noise that the reference has.

    A bilateral filter (Tomasi 1998, doi:10.1109/ICCV.1998.710815) on a scale on which the noise of
    the reference has a standard deviation of one everywhere (Anscombe 1948,
    doi:10.1093/biomet/35.3-4.246): a network that copies the noise
    of its inputs is not to be right.

    Parameters
    ----------
    radiance : (H, W, 3) float32
        1.0 where the shortest frame clips.
    stack : Stack
        The bracket, for the exposure of its reference and how it was stored.
    recipe : Recipe
        Its noise settings, and the strength.

    Returns
    -------
    (H, W, 3) float32
    """
    gain = np.float32(2.0 ** stack.ev[stack.reference])
    floor = noise_variance(np.zeros(1, np.float32), stack.source_format, recipe.noise)
    photon = noise_variance(np.ones(1, np.float32), stack.source_format, recipe.noise) - floor
    scaled = radiance * (photon * gain)
    scaled += floor
    np.sqrt(scaled, out=scaled)
    scaled *= 2 / photon
    smooth = cv2.bilateralFilter(scaled, BILATERAL_SIDE, recipe.fusion.denoise, BILATERAL_SIGMA)
    smooth *= photon / 2
    light = np.square(smooth, out=smooth)
    light -= floor
    light *= 1 / (photon * gain)
    return np.maximum(light, 0, out=light)
