"""Refine the geometry of a frame on the pixels themselves: parallax and rolling shutter.

Lucas and Kanade (1981) over Gaussian windows, from wide ones on reduced frames to narrow ones, with
the differences weighted robustly. Things that move by themselves are left out, so that what lies
beside them is not drawn along; a window without texture keeps what the wider ones found.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from labelgen.alignment.grey import FULL_RESOLUTION_PIXELS, image_gradient
from labelgen.core.arrays import Float, Mask, downsample

SUBSAMPLING = 2
"""Every second pixel in each direction is compared: windows hold hundreds."""
WINDOW_SCALES = (8.0, 4.0, 2.0, 1.0)
"""Windows, as multiples of the narrowest."""
HOLDS = 12.0
"""Frames are reduced as far as a window still has this standard deviation in pixels."""
ITERATIONS = 3
"""Steps of Gauss and Newton per window; more bring nothing."""
FLOOR, MISPLACED = 0.01, 0.5
"""Differences are ordinary up to the one (mu-law) and the slope times the other (px)."""
ODD, AROUND, MAX_ODD = 2.0, 3.0, 20.0
"""Where squared differences, averaged over AROUND px, exceed ODD of the ordinary, a thing moves."""
PRIOR = 0.5
"""Expected length (px) of one step: how far a window without texture moves is nothing."""
LONGEST = 2.0
"""A step is at most so long (px): the slopes tell nothing beyond."""


def refine_displacement(
    reference: Float, other: Float, displacement: Float, window: float
) -> Float:
    """A displacement, refined where that brings another frame closer to the reference.

    Parameters
    ----------
    reference, other : (H, W) float32
        Grey, in the mu-law domain, as the longer of the two exposures shows them: where that one
        clips, so do both, and the border of the clipping still tells of the geometry.
    displacement : (H, W, 2) float32
        x and y in pixels, from the reference to the other frame, good to a few pixels.
    window : float
        Standard deviation in pixels of the narrowest window.

    Returns
    -------
    (H, W, 2) float32
        The displacement where its refinement does not hold, and a smooth change between.
    """
    found = displacement
    h, w = reference.shape[:2]
    for wider in WINDOW_SCALES:
        k = max(1, int(window * wider / HOLDS))
        every = (
            1 if wider == min(WINDOW_SCALES) and h * w <= FULL_RESOLUTION_PIXELS else SUBSAMPLING
        )
        found = found + _change(reference, other, found, window * wider, k, every)
    before, after = (_disagreement(reference, other, d, window) for d in (displacement, found))
    better = cv2.resize((after <= before).astype(np.float32), (w, h))
    holds = cv2.resize(_window_mean(better, window), (w, h))
    return displacement + holds[..., None] * (found - displacement)


def _change(
    reference: Float, other: Float, displacement: Float, window: float, k: int, every: int
) -> Float:
    """By how much (H, W, 2) px some steps with one window change a displacement, found at 1/k."""
    if k == 1:
        return _steps(reference, other, displacement, window, every)
    h, w = reference.shape[:2]
    size = -(-w // k), -(-h // k)
    scale = np.array([w / size[0], h / size[1]], np.float32)
    one, two, start = (downsample(x, size) for x in (reference, other, displacement))
    change = _steps(one, two, np.asarray(start / scale, np.float32), window / k, every) * scale
    return np.asarray(cv2.resize(change, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def _steps(reference: Float, other: Float, start: Float, window: float, every: int) -> Float:
    """By how much (H, W, 2) px some steps change a displacement, by so sparse pixels."""
    h, w = start.shape[:2]
    still = [
        np.ascontiguousarray(x[::every, ::every]) for x in (reference, *image_gradient(reference))
    ]
    moving, found = cv2.merge([other, *image_gradient(other)]), start
    for _ in range(ITERATIONS):
        moved, seen = warp(moving, found, every)
        step = _gauss_newton_step(still, cv2.split(moved), seen, window, every)
        found = found + cv2.resize(step, (w, h), interpolation=cv2.INTER_LINEAR)
    return found - start


def warp(image: Float, displacement: Float, every: int = 1) -> tuple[Float, Mask]:
    """An image (H, W, ...) under a displacement (H, W, 2) px, and where (H, W) it reaches."""
    h, w = image.shape[:2]
    ys, xs = np.ogrid[0:h:every, 0:w:every]
    x, y = (displacement[::every, ::every, i] + np.float32(p) for i, p in enumerate((xs, ys)))
    moved = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return moved, (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)


def _gauss_newton_step(
    still: Sequence[Float], moved: Sequence[Float], seen: Mask, window: float, every: int
) -> Float:
    """One step of Gauss and Newton, of the average over a window around every pixel.

    Frames come with their slopes in x and y, as many pixels of them as are compared, `every` px
    apart. A step has fewer: it is smooth.
    """
    difference = still[0] - moved[0]
    dx, dy = ((one + two) * np.float32(0.5) for one, two in zip(still[1:], moved[1:], strict=True))
    weight = _robust_weight(difference, dx * dx + dy * dy, seen, AROUND / every)
    weighted = weight * dx, weight * dy
    products = [
        weighted[0] * dx,
        weighted[0] * dy,
        weighted[1] * dy,
        *(w * difference for w in weighted),
    ]
    xx, xy, yy, bx, by = (_window_mean(p, window / every) for p in products)
    # As many independent pixels see a displacement as the window holds.
    certain = np.float32(1 / (4 * np.pi * window**2 * PRIOR**2))
    xx, yy = xx + certain, yy + certain
    step = np.dstack([yy * bx - xy * by, xx * by - xy * bx]) / (xx * yy - xy * xy)[..., None]
    return np.asarray(np.clip(step, -LONGEST, LONGEST))


def _robust_weight(difference: Float, steepness: Float, seen: Mask, around: float) -> Float:
    """Weight (H, W) of differences, by the squared gradient: what they tell of the geometry."""
    ordinary = steepness * np.float32(MISPLACED**2) + np.float32(FLOOR**2)
    odd = difference * difference / ordinary
    odd_around = cv2.GaussianBlur(np.minimum(odd, np.float32(MAX_ODD)), (0, 0), around)
    still = seen / (1 + np.square(odd_around * np.float32(1 / ODD)))
    return still / (ordinary * np.square(1 + odd * np.float32(0.25)))


def _window_mean(values: Float, window: float) -> Float:
    """Mean of (H, W) over a window, at a third of its width."""
    h, w = values.shape[:2]
    k = max(1, int(window / 3))
    small = cv2.resize(values, (-(-w // k), -(-h // k)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), window / k), np.float32)


def _disagreement(reference: Float, other: Float, displacement: Float, window: float) -> Float:
    """Mean robust difference of two frames around every pixel, a third of the window apart."""
    moved, seen = warp(other, displacement, SUBSAMPLING)
    difference = np.abs(reference[::SUBSAMPLING, ::SUBSAMPLING] - moved) * seen
    return _window_mean(np.minimum(difference, np.float32(0.1)), window / SUBSAMPLING)
