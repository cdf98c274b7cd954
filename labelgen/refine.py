"""Refine the geometry of a frame on the pixels themselves: parallax and rolling shutter.

Lucas and Kanade (1981) over Gaussian windows, from wide ones on reduced frames to narrow ones, with
the differences weighted robustly. Things that move by themselves are left out, so that what lies
beside them is not drawn along; a window without texture keeps what the wider ones found.
"""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.arrays import Float, Mask

WIDER = (8.0, 4.0, 2.0, 1.0)
"""Windows, as multiples of the narrowest."""
HOLDS = 12.0
"""Frames are reduced as far as a window still has this standard deviation in pixels."""
STEPS = 3
"""Steps of Gauss and Newton per window; more bring nothing."""
FLOOR, MISPLACED = 0.01, 0.5
"""Differences are ordinary up to the one (mu-law) and the slope times the other (px)."""
ODD, AROUND, MOST_ODD = 2.0, 3.0, 20.0
"""Where squared differences, averaged over AROUND px, exceed ODD of the ordinary, a thing moves."""
PRIOR = 0.5
"""Expected length (px) of one step: how far a window without texture moves is nothing."""
LONGEST = 2.0
"""A step is at most so long (px): the slopes tell nothing beyond."""


def refined(reference: Float, other: Float, displacement: Float, window: float) -> Float:
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
    for wider in WIDER:
        k = max(1, int(window * wider / HOLDS))
        found = found + _change(reference, other, found, window * wider, k)
    before, after = (_disagreement(reference, other, d, window) for d in (displacement, found))
    holds = cv2.GaussianBlur((after <= before).astype(np.float32), (0, 0), window)
    return displacement + holds[..., None] * (found - displacement)


def _change(reference: Float, other: Float, displacement: Float, window: float, k: int) -> Float:
    """By how much (H, W, 2) px some steps with one window change a displacement, found at 1/k."""
    h, w = reference.shape[:2]
    size = -(-w // k), -(-h // k)
    scale = np.array([w / size[0], h / size[1]], np.float32)
    one, two, start = (
        x if k == 1 else cv2.resize(x, size, interpolation=cv2.INTER_AREA)
        for x in (reference, other, displacement)
    )
    start = start / scale
    found = start
    for _ in range(STEPS):
        found = found + _step(one, two, found, window / k)
    change = (found - start) * scale
    return change if k == 1 else cv2.resize(change, (w, h), interpolation=cv2.INTER_LINEAR)


def sampled(image: Float, displacement: Float, kernel: int = cv2.INTER_CUBIC) -> tuple[Float, Mask]:
    """An image (H, W, ...) under a displacement (H, W, 2) px, and where (H, W) it reaches."""
    h, w = image.shape[:2]
    ys, xs = np.ogrid[0:h, 0:w]
    x, y = (displacement[..., 0] + np.float32(xs)), (displacement[..., 1] + np.float32(ys))
    moved = cv2.remap(image, x, y, kernel, borderMode=cv2.BORDER_REPLICATE)
    return moved, (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)


def _step(reference: Float, other: Float, displacement: Float, window: float) -> Float:
    """One step of Gauss and Newton at every pixel, of the average over a window around it."""
    moved, seen = sampled(other, displacement)
    difference, (dx, dy) = reference - moved, slopes((reference + moved) * np.float32(0.5))
    weight = _belief(difference, dx * dx + dy * dy, seen)
    weighted = weight * dx, weight * dy
    products = [
        weighted[0] * dx,
        weighted[0] * dy,
        weighted[1] * dy,
        *(w * difference for w in weighted),
    ]
    xx, xy, yy, bx, by = (_gathered(p, window) for p in products)
    # As many independent pixels see a displacement as the window holds.
    certain = np.float32(1 / (4 * np.pi * window**2 * PRIOR**2))
    xx, yy = xx + certain, yy + certain
    step = np.dstack([yy * bx - xy * by, xx * by - xy * bx]) / (xx * yy - xy * xy)[..., None]
    step = np.clip(step, -LONGEST, LONGEST)
    h, w = reference.shape[:2]
    return np.asarray(cv2.resize(step, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def slopes(image: Float) -> tuple[Float, Float]:
    """Change per pixel of an image (H, W, ...) float32 in x and in y, same shape (Sobel)."""
    return (
        cv2.Sobel(image, cv2.CV_32F, 1, 0, scale=1 / 8),
        cv2.Sobel(image, cv2.CV_32F, 0, 1, scale=1 / 8),
    )


def _belief(difference: Float, steepness: Float, seen: Mask) -> Float:
    """Weight (H, W) of differences, by the squared gradient: what they tell of the geometry."""
    ordinary = steepness * np.float32(MISPLACED**2) + np.float32(FLOOR**2)
    odd = difference * difference / ordinary
    around = cv2.GaussianBlur(np.minimum(odd, np.float32(MOST_ODD)), (0, 0), AROUND)
    still = seen / (1 + np.square(around * np.float32(1 / ODD)))
    return still / (ordinary * np.square(1 + odd * np.float32(0.25)))


def _gathered(values: Float, window: float) -> Float:
    """Mean of (H, W) over a window, at a quarter of its width."""
    h, w = values.shape[:2]
    k = max(1, int(window / 4))
    small = cv2.resize(values, (-(-w // k), -(-h // k)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), window / k), np.float32)


def _disagreement(reference: Float, other: Float, displacement: Float, window: float) -> Float:
    """Mean robust difference (H, W) of two frames around every pixel."""
    moved, seen = sampled(other, displacement)
    difference = np.abs(reference - moved) * seen
    return np.asarray(cv2.GaussianBlur(np.minimum(difference, 0.1), (0, 0), window), np.float32)
