"""Fuse aligned frames into radiance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from labelgen.align import Aligned
from labelgen.arrays import Float, Mask, highest
from labelgen.motion import variance
from labelgen.recipe import Recipe
from labelgen.response import GAMMA, Stored

KNEE = 0.04
"""Width, in codes of 0..1 below the clip, over which a frame fades out of a fusion."""


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
    x = aligned[reference].linear ** np.float32(1 / GAMMA)
    own = triangle(x)
    total = np.zeros_like(x)
    for chain, side in (
        (range(reference + 1, len(ev)), x <= 0.5),
        (range(reference - 1, -1, -1), x > 0.5),
    ):
        left = np.where(side, 1 - own, 0).astype(np.float32)
        for i in chain:
            code = aligned[i].linear ** np.float32(1 / GAMMA)
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


def fuse_variance(
    aligned: Sequence[Aligned],
    ev: Sequence[float],
    agrees: Sequence[Mask],
    stored: Stored,
    recipe: Recipe,
) -> tuple[Float, Mask]:
    """Inverse-variance fusion of the frames that agree (Hasinoff 2010, 10.1109/CVPR.2010.5540167).

    All channels of a frame have one weight, so that a pixel clipped in one channel gets no
    colour cast. Where no agreeing frame is below its clip, the shortest stands if it agrees:
    what it clips is known to be at least 1.0.

    Parameters
    ----------
    aligned : sequence of Aligned
        F frames in the geometry of the reference, shortest first.
    ev : sequence of float
        Their exposures in stops relative to the shortest.
    agrees : sequence of (H, W) bool
        Where each frame shows what the reference shows.
    stored : Stored
        How the camera stored the codes.
    recipe : Recipe
        Its noise and exposure settings.

    Returns
    -------
    radiance : (H, W, 3) float32
        1.0 where the shortest frame clips; 0 where nothing is known.
    known : (H, W) bool
        False where no agreeing frame can tell.
    """
    total = np.zeros_like(aligned[0].linear)
    weights = np.zeros((*total.shape[:2], 1), np.float32)
    for frame, stops, agree in zip(aligned, ev, agrees, strict=True):
        level = highest(frame.linear)[..., None]
        code = level ** np.float32(1 / GAMMA)
        usable = np.clip((recipe.exposure.clip - code) * np.float32(1 / KNEE), 0, 1)
        weight = usable * agree[..., None] * np.float32(4.0**stops)
        weight = weight / variance(level, stored, recipe.noise)
        total += weight * frame.linear * np.float32(2.0**-stops)
        weights += weight
    seen = weights[..., 0] > 0
    beyond = ~seen & agrees[0]
    radiance = (total / np.maximum(weights, 1e-30)).astype(np.float32, copy=False)
    radiance[beyond] = aligned[0].linear[beyond]
    return radiance, seen | beyond
