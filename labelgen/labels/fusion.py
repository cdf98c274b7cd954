"""Fuse the aligned frames of a bracket into radiance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from labelgen.alignment.align import Aligned
from labelgen.core.arrays import Float, Mask, apply_lut, power, to_three_channels
from labelgen.core.bracket import Stack
from labelgen.core.recipe import Recipe
from labelgen.core.response import (
    GAMMA,
    NAMED_RESPONSES,
    SourceFormat,
    all_codes,
    bit_depth,
    decode,
)
from labelgen.core.settings import Noise
from labelgen.labels.cues import Cues
from labelgen.labels.cues import receptive_field as cues_receptive_field
from labelgen.labels.difference import GRADIENT_RADIUS, gradient_magnitude, noise_variance

CLIP_FADE = 0.04
"""Range of codes (0..1) below the clip over which the weight of a frame falls to 0."""
BLUR_SIGMA, BLUR_RADIUS = 0.6, 2
"""Standard deviation and radius (px) of a Gaussian over a frame before its gradient is taken.
Without it, noise would give large gradients."""
BILATERAL, RENDERED_BILATERAL, NOISY_BILATERAL = (5, 1.6), (7, 2.2), (11, 3.0)
"""Side and spatial standard deviation (px) of the bilateral filter: for plain frames, for frames
that a camera rendered, whose noise is correlated, and for noisy frames."""
NOISY_WELL = 2500.0
"""Frames with a smaller full well (electrons) are noisy."""
MIN_WEIGHT_SUM = 1e-30
"""Least divisor, for pixels where no frame has a weight."""


def receptive_field(recipe: Recipe) -> int:
    """Distance (px) of the farthest pixel that the fused radiance of a pixel depends on."""
    if recipe.fusion.weights == "triangle":
        return 0
    return variance_receptive_field(recipe)


def variance_receptive_field(recipe: Recipe) -> int:
    """Receptive field (px) of `fuse_variance`, whatever weights the recipe chooses."""
    gradient = BLUR_RADIUS + GRADIENT_RADIUS if recipe.fusion.misplaced else 0
    bilateral = NOISY_BILATERAL[0] // 2 if recipe.fusion.denoise else 0
    return max(cues_receptive_field(recipe), gradient) + bilateral


@dataclass(frozen=True)
class Fused:
    """Fused radiance of a region."""

    radiance: Float
    """(H, W, 3) float32: 1.0 where the shortest frame clips; 0 where nothing is known."""
    known: Mask
    """(H, W) bool: False where no frame is static and usable."""
    information: Float | None = None
    """(H, W) float32: inverse of the variance of radiance, by the noise of the frames fused; None
    where frames were not weighted by their variance."""


def fuse(cues: Cues, stack: Stack, recipe: Recipe) -> Fused:
    """Fuse the frames by the weights that the recipe chooses.

    Parameters and results are those of `fuse_variance`. With triangle weights every pixel is known.
    """
    if recipe.fusion.weights == "variance":
        return fuse_variance(cues, stack, recipe)
    radiance = fuse_triangle(cues.aligned, stack.ev, stack.reference, recipe.exposure.clip)
    return Fused(radiance, np.ones(cues.size, bool))


def triangle_weight(code: Float) -> Float:
    """Weight of the reference by its code: 2x for a code x of up to 0.5, 2 - 2x above.

    >>> triangle_weight(np.array([0, 0.25, 0.5, 1], np.float32)).tolist()
    [0.0, 0.5, 1.0, 0.0]
    """
    return np.float32(1) - np.abs(2 * code - np.float32(1))


def fuse_triangle(
    aligned: Sequence[Aligned], ev: Sequence[float], reference: int, clip: float
) -> Float:
    """Fuse frames by the code of the reference (Kalantari 2017, doi:10.1145/3072959.3073609).

    With three frames, and x the code of the reference (0..1), the weights of (short, reference,
    long) are (0, 2x, 1 - 2x) for x up to 0.5 and (2x - 1, 2 - 2x, 0) above. With more frames, one
    minus the weight of the reference goes outwards from frame to frame. Each multiplies it by its
    own triangle weight and passes on the remainder; the outermost takes all. A longer frame that
    clips, or a frame that does not cover the pixel, gives its weight back to the reference.

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
    reference_weight = triangle_weight(x)
    total = np.zeros_like(x)
    for chain, side in (
        (range(reference + 1, len(ev)), x <= 0.5),
        (range(reference - 1, -1, -1), x > 0.5),
    ):
        remainder = np.where(side, 1 - reference_weight, 0).astype(np.float32)
        for i in chain:
            code = power(aligned[i].linear, 1 / GAMMA)
            # Past the middle of its range, a frame needs no help by the next one: it takes all.
            past_middle = code > 0.5 if i > reference else code <= 0.5
            outermost = i in (0, len(ev) - 1)
            weight = np.where(past_middle | outermost, 1, triangle_weight(code)) * remainder
            usable = aligned[i].valid[..., None] & ((code < clip) | (i < reference))
            used = np.where(usable, weight, 0).astype(np.float32)
            total += used * aligned[i].linear * np.float32(2.0 ** -ev[i])
            reference_weight = reference_weight + np.where(usable, 0, weight)
            remainder = remainder - weight
        reference_weight = reference_weight + remainder
    return total + reference_weight * aligned[reference].linear * np.float32(2.0 ** -ev[reference])


def fuse_variance(cues: Cues, stack: Stack, recipe: Recipe) -> Fused:
    """Fuse static frames by inverse variance (Hasinoff 2010, doi:10.1109/CVPR.2010.5540167).

    All channels of a frame have the same weight, so a pixel that clips in one channel gets no
    colour cast. An alignment error counts as noise that grows with the gradient. The reference has
    no such error, so it has most of the weight at edges. Where all static frames clip, the shortest
    frame is used if it is static: its clipped pixels have a radiance of at least 1.0.

    Parameters
    ----------
    cues : Cues
        F frames in the geometry of the reference, and where they are static.
    stack : Stack
        The bracket.
    recipe : Recipe
        Its noise, exposure and fusion settings.

    Returns
    -------
    Fused
        Radiance, where it is known, and its variance.
    """
    total = np.zeros((*cues.size, 3), np.float32)
    weight_sum: Float = np.zeros(cues.size, np.float32)
    reference_weight: Float = weight_sum
    blur = (2 * BLUR_RADIUS + 1, 2 * BLUR_RADIUS + 1)
    for i, (frame, stops) in enumerate(zip(cues.aligned, stack.ev, strict=True)):
        linear, max_code = frame.linear, frame.max_code
        fade_lut, variance_lut = _fade_and_variance_luts(
            bit_depth(max_code), stack.source_format, recipe.noise, recipe.exposure.clip
        )
        variance: Float = apply_lut(variance_lut, max_code)
        if i == cues.reference:
            reference_weight = np.float32(4.0**stops) / variance
        elif recipe.fusion.misplaced and frame.shift:
            error = gradient_magnitude(cv2.GaussianBlur(decode(max_code), blur, BLUR_SIGMA))
            error *= np.float32(recipe.fusion.misplaced)
            variance += np.square(error, out=error)
        weight = apply_lut(fade_lut, max_code) * cues.static_frames[i]
        weight *= np.float32(4.0**stops)
        weight /= variance
        weight_sum += weight
        weight *= np.float32(2.0**-stops)
        linear *= to_three_channels(weight)
        total += linear
    fused = weight_sum > 0
    beyond_clip = ~fused & cues.static_frames[0]
    divisor = np.maximum(weight_sum, np.float32(MIN_WEIGHT_SUM))
    total /= to_three_channels(divisor)
    if beyond_clip.any():
        total[beyond_clip] = decode(cues.aligned[0].codes[beyond_clip])
    if recipe.fusion.denoise:
        # The label is as noisy as the reference where the reference has all of the weight.
        noise_share = np.minimum(reference_weight / divisor, 1) * fused
        change = denoise(total, stack, recipe)
        change -= total
        change *= to_three_channels(noise_share)
        total += change
    return Fused(total, fused | beyond_clip, weight_sum)


@lru_cache(maxsize=8)
def _fade_and_variance_luts(
    depth: int, source: SourceFormat, noise: Noise, clip: float
) -> tuple[Float, Float]:
    """Return two look-up tables (2^depth,) by code, for the weight and the noise of a frame.

    The first is a factor of the weight, which falls to 0 at the clip. The second is the variance of
    the noise in linear light of that frame, squared.
    """
    codes = all_codes(depth)
    code = codes.astype(np.float32) / np.float32(codes[-1])
    fade = np.clip((np.float32(clip) - code) * np.float32(1 / CLIP_FADE), 0, 1)
    return fade, noise_variance(decode(codes), source, noise)


def denoise(radiance: Float, stack: Stack, recipe: Recipe) -> Float:
    """Remove the noise of the reference from a label, by a bilateral filter.

    Otherwise a network could match the label by copying the noise of its input. The filter (Tomasi
    1998, doi:10.1109/ICCV.1998.710815) works on a scale on which the noise of the reference has a
    standard deviation of one everywhere (Anscombe 1948, doi:10.1093/biomet/35.3-4.246).

    Parameters
    ----------
    radiance : (H, W, 3) float32
        1.0 where the shortest frame clips.
    stack : Stack
        The bracket, for the exposure of its reference and its source format.
    recipe : Recipe
        Its noise settings, and the strength in standard deviations of the noise.

    Returns
    -------
    (H, W, 3) float32
        Smoothed radiance, at least 0.
    """
    gain = np.float32(2.0 ** stack.ev[stack.reference])
    source, noise = stack.source_format, recipe.noise
    floor = noise_variance(np.zeros(1, np.float32), source, noise)
    photon = noise_variance(np.ones(1, np.float32), source, noise) - floor
    scaled = radiance * (photon * gain)
    scaled += floor
    np.sqrt(scaled, out=scaled)
    scaled *= 2 / photon
    side, sigma = BILATERAL if source.response.name in NAMED_RESPONSES else RENDERED_BILATERAL
    if float(photon[0]) > 1 / NOISY_WELL:
        side, sigma = NOISY_BILATERAL
    smooth = cv2.bilateralFilter(scaled, side, recipe.fusion.denoise, sigma)
    smooth *= photon / 2
    light = np.square(smooth, out=smooth)
    light -= floor
    light *= 1 / (photon * gain)
    return np.maximum(light, 0, out=light)
