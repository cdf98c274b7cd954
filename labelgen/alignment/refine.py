"""Refine a displacement on the pixels themselves: parallax and rolling shutter.

Lucas and Kanade (1981) over Gaussian windows, from wide ones on downsampled frames to narrow ones,
with robust weights. Moving objects get no weight, so they do not draw their surroundings along. A
window without texture keeps the displacement that wider ones found.

`trainer.models.camera_motion` refines by the same principle, but in torch: it fits affine motion to
a learned flow. This module moves a homography by shifts, and needs NumPy and OpenCV alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from labelgen.alignment.grey import FULL_RESOLUTION_PIXELS, image_gradient
from labelgen.core.arrays import Float, Mask, downsample

SUBSAMPLING = 2
"""Every second pixel in each direction is compared: a window holds hundreds of them."""
WINDOW_SCALES = (8.0, 4.0, 2.0, 1.0)
"""Standard deviations of the windows, as multiples of that of the narrowest."""
MIN_WINDOW = 12.0
"""Frames are downsampled for wide windows, as far as these keep this standard deviation in px."""
STEPS_PER_WINDOW = 3
"""Gauss-Newton steps with each window; more bring nothing."""
DIFFERENCE_SCALE, POSITION_SCALE = 0.01, 0.5
"""Expected difference of two frames: this much (mu-law), plus this many px times the gradient."""
MOVING_SCALE, MOVING_SIGMA, MAX_SQUARED_RATIO = 2.0, 3.0, 20.0
"""A pixel is likely to move if squared differences, relative to the expected ones, exceed the first
number on average over a Gaussian of the second (px). Each ratio counts up to the third."""
PRIOR_SIGMA = 0.5
"""Standard deviation (px) of the prior on one step. The prior keeps windows without texture where
they are."""
MAX_STEP = 2.0
"""Longest step (px) along each axis: gradients say nothing of what lies farther off."""
MAX_DIFFERENCE = 0.1
"""Differences (mu-law) count up to here when two displacements are compared."""
MEAN_WINDOW = 3
"""Images are downsampled for a mean over a window, which keeps this standard deviation in px."""


def refine_displacement(
    reference: Float, other: Float, displacement: Float, window: float
) -> Float:
    """Refine a displacement where that brings another frame closer to the reference.

    Parameters
    ----------
    reference, other : (H, W) float32
        Grey images in the mu-law domain, clipped where the longer of the two exposures clips. The
        outline of a clipped area tells of the geometry too.
    displacement : (H, W, 2) float32
        x and y in pixels, from the reference to the other frame, accurate to a few pixels.
    window : float
        Standard deviation in pixels of the narrowest window.

    Returns
    -------
    (H, W, 2) float32
        The refined displacement, the given one where refining it did not help, and a smooth change
        between the two.
    """
    refined = displacement
    h, w = reference.shape[:2]
    for scale in WINDOW_SCALES:
        k = max(1, int(window * scale / MIN_WINDOW))
        every_pixel = scale == min(WINDOW_SCALES) and h * w <= FULL_RESOLUTION_PIXELS
        stride = 1 if every_pixel else SUBSAMPLING
        refined = refined + _change(reference, other, refined, window * scale, k, stride)
    before, after = (_disagreement(reference, other, d, window) for d in (displacement, refined))
    better = cv2.resize((after <= before).astype(np.float32), (w, h))
    share = cv2.resize(_window_mean(better, window), (w, h))
    return displacement + share[..., None] * (refined - displacement)


def _change(
    reference: Float, other: Float, displacement: Float, window: float, k: int, stride: int
) -> Float:
    """Change (H, W, 2) px of a displacement by the steps of one window, on images 1/k the size."""
    if k == 1:
        return _iterate(reference, other, displacement, window, stride)
    h, w = reference.shape[:2]
    size = -(-w // k), -(-h // k)
    scale = np.array([w / size[0], h / size[1]], np.float32)
    small, small_other, start = (downsample(x, size) for x in (reference, other, displacement))
    start = np.asarray(start / scale, np.float32)
    change = _iterate(small, small_other, start, window / k, stride) * scale
    return np.asarray(cv2.resize(change, (w, h), interpolation=cv2.INTER_LINEAR), np.float32)


def _iterate(reference: Float, other: Float, start: Float, window: float, stride: int) -> Float:
    """Change (H, W, 2) px of a displacement by some steps, comparing pixels `stride` px apart."""
    h, w = start.shape[:2]
    fixed = [
        np.ascontiguousarray(x[::stride, ::stride]) for x in (reference, *image_gradient(reference))
    ]
    layers, displacement = cv2.merge([other, *image_gradient(other)]), start
    for _ in range(STEPS_PER_WINDOW):
        warped, valid = warp(layers, displacement, stride)
        step = _gauss_newton_step(fixed, cv2.split(warped), valid, window, stride)
        displacement = displacement + cv2.resize(step, (w, h), interpolation=cv2.INTER_LINEAR)
    return displacement - start


def warp(image: Float, displacement: Float, stride: int = 1) -> tuple[Float, Mask]:
    """Sample an image at displaced positions.

    Parameters
    ----------
    image : (H, W, ...) float32
        The image, of one or a few channels.
    displacement : (H, W, 2) float32
        x and y in pixels.
    stride : int
        Distance in pixels between the positions, in x and in y.

    Returns
    -------
    warped : (h, w, ...) float32
        Cubic interpolation; beyond its border the image repeats the border.
    valid : (h, w) bool
        False for positions outside of the image.
    """
    h, w = image.shape[:2]
    ys, xs = np.ogrid[0:h:stride, 0:w:stride]
    x, y = (displacement[::stride, ::stride, i] + np.float32(p) for i, p in enumerate((xs, ys)))
    warped = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return warped, (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)


def _gauss_newton_step(
    fixed: Sequence[Float], warped: Sequence[Float], valid: Mask, window: float, stride: int
) -> Float:
    """Gauss-Newton step (h, w, 2) px for the window around each pixel, at fewer pixels.

    Both frames come as an image and its gradients in x and y, sampled `stride` px apart. The step
    is smooth, so it is computed for fewer pixels than are compared.
    """
    difference = fixed[0] - warped[0]
    dx, dy = ((a + b) * np.float32(0.5) for a, b in zip(fixed[1:], warped[1:], strict=True))
    weight = _robust_weight(difference, dx * dx + dy * dy, valid, MOVING_SIGMA / stride)
    weighted = weight * dx, weight * dy
    products = [
        weighted[0] * dx,
        weighted[0] * dy,
        weighted[1] * dy,
        *(w * difference for w in weighted),
    ]
    xx, xy, yy, bx, by = (_window_mean(p, window / stride) for p in products)
    # The prior is one measurement, against as many independent pixels as the window holds.
    prior = np.float32(1 / (4 * np.pi * window**2 * PRIOR_SIGMA**2))
    xx, yy = xx + prior, yy + prior
    step = np.dstack([yy * bx - xy * by, xx * by - xy * bx]) / (xx * yy - xy * xy)[..., None]
    return np.asarray(np.clip(step, -MAX_STEP, MAX_STEP))


def _robust_weight(difference: Float, squared_gradient: Float, valid: Mask, sigma: float) -> Float:
    """Weight (H, W) of differences: low where they are large, and where pixels seem to move."""
    expected = squared_gradient * np.float32(POSITION_SCALE**2) + np.float32(DIFFERENCE_SCALE**2)
    ratio = difference * difference / expected
    capped = np.minimum(ratio, np.float32(MAX_SQUARED_RATIO))
    mean_ratio = cv2.GaussianBlur(capped, (0, 0), sigma)
    static = valid / (1 + np.square(mean_ratio * np.float32(1 / MOVING_SCALE)))
    return static / (expected * np.square(1 + ratio * np.float32(0.25)))


def _window_mean(values: Float, window: float) -> Float:
    """Mean over the Gaussian window around each pixel of (H, W), at fewer pixels."""
    h, w = values.shape[:2]
    k = max(1, int(window / MEAN_WINDOW))
    small = cv2.resize(values, (-(-w // k), -(-h // k)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), window / k), np.float32)


def _disagreement(reference: Float, other: Float, displacement: Float, window: float) -> Float:
    """Mean robust difference of two frames in the window around each pixel, at fewer pixels."""
    warped, valid = warp(other, displacement, SUBSAMPLING)
    difference = np.abs(reference[::SUBSAMPLING, ::SUBSAMPLING] - warped) * valid
    return _window_mean(np.minimum(difference, np.float32(MAX_DIFFERENCE)), window / SUBSAMPLING)
