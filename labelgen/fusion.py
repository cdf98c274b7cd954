"""Fuse aligned frames into radiance."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from labelgen.align import Aligned
from labelgen.arrays import Float, Mask, highest, power
from labelgen.bracket import Stack
from labelgen.cues import Cues
from labelgen.motion import gradient, variance
from labelgen.recipe import Recipe
from labelgen.response import GAMMA

KNEE = 0.04
"""Width, in codes of 0..1 below the clip, over which a frame fades out of a fusion."""
CLEAR = 0.6
"""Slopes are of frames blurred by so much (px), so that noise is not taken for them."""
WINDOW, NEAR = 7, 2.0
"""Width (px) of the window of the bilateral filter, and its standard deviation (px)."""


def triangle(code: Float) -> Float:
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
    own = triangle(x)
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
            keeps = np.where(turned | (i in (0, len(ev) - 1)), 1, triangle(code)) * left
            usable = aligned[i].seen[..., None] & ((code < clip) | (i < reference))
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
    shortest stands if it agrees: what it clips is known to be at least 1.0.

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
    total = np.zeros_like(cues.aligned[0].linear)
    weights = np.zeros((*stack.size, 1), np.float32)
    own = weights
    for i, (frame, stops) in enumerate(zip(cues.aligned, stack.ev, strict=True)):
        level = highest(frame.linear)[..., None]
        code = power(level, 1 / GAMMA)
        usable = np.clip((recipe.exposure.clip - code) * np.float32(1 / KNEE), 0, 1)
        spread = variance(level, stack.stored, recipe.noise)
        if i == cues.reference:
            own = np.float32(4.0**stops) / spread
        elif recipe.fusion.misplaced and frame.shift:
            slope = highest(gradient(cv2.GaussianBlur(frame.linear, (0, 0), CLEAR)))[..., None]
            spread = spread + np.square(slope * np.float32(recipe.fusion.misplaced))
        weight = usable * cues.agrees[i][..., None] * np.float32(4.0**stops) / spread
        total += weight * frame.linear * np.float32(2.0**-stops)
        weights += weight
    seen = weights[..., 0] > 0
    beyond = ~seen & cues.agrees[0]
    radiance = (total / np.maximum(weights, 1e-30)).astype(np.float32, copy=False)
    radiance[beyond] = cues.aligned[0].linear[beyond]
    if recipe.fusion.denoise:
        noisy = np.minimum(own / np.maximum(weights, 1e-30), 1) * seen[..., None]
        radiance += noisy * (denoised(radiance, stack, recipe) - radiance)
    return radiance, seen | beyond


def denoised(radiance: Float, stack: Stack, recipe: Recipe) -> Float:
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
    floor = variance(np.zeros(1, np.float32), stack.stored, recipe.noise)
    photon = variance(np.ones(1, np.float32), stack.stored, recipe.noise) - floor
    scaled = 2 / photon * np.sqrt(photon * radiance * gain + floor)
    smooth = cv2.bilateralFilter(scaled, WINDOW, recipe.fusion.denoise, NEAR)
    light = (np.square(smooth * photon / 2) - floor) / (photon * gain)
    return np.asarray(np.maximum(light, 0), np.float32)
