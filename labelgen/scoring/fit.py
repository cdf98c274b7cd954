"""Bring labels of a camera that renders pictures to the colours of the truth.

A camera has a white, primaries and saturation of its own, which no bracket can tell; truth is in
linear sRGB. What is fitted here has few parameters, and says nothing of any single pixel.
"""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes, Float, Mask, max_channel, median, stride
from labelgen.core.response import bit_depth

DARK_OFFSET = 0.002
"""Radiance that is added to brightness where errors are relative to it."""
LOG_OFFSET = 1e-3
"""Radiance that is added before ratios are taken."""
MIN_PIXELS = 100
"""Fewer pixels fit nothing."""
MAX_PIXELS = 50_000
"""Of more pixels, the matrix is fitted to this many."""
STEPS = 12
"""Of iteratively reweighted least squares."""
MIN_SPREAD = 0.007
"""Least standard deviation of the relative errors that the fit assumes."""
TUKEY = 4.685
"""Standard deviations from which an error has no weight."""
MAX_RATIO = 1.0
"""Natural logarithm of a ratio to the median one, from which a pixel has no say in the gain."""
GAIN_SIZE = 0.1
"""Standard deviation of the gain's blur, as a fraction of the height."""
CURVE_LEVELS = 256
"""Codes at which the curve of a frame is fitted."""
MIN_LEVEL = 20
"""Pixels that a code needs for its light to count."""


def fit_matrix(radiance: Float, truth: Float, use: Mask) -> Array:
    """Fit the matrix that brings colours closest to the truth, robustly.

    Errors count relative to the brightness of the truth, by Tukey's weights (Beaton and Tukey
    1974, doi:10.1080/00401706.1974.10489171), so that ghosts have no say.

    Parameters
    ----------
    radiance, truth : (H, W, 3) float32
        The label and its truth.
    use : (H, W) bool
        Pixels to fit: still and not clipped.

    Returns
    -------
    (3, 3) float64
        ``radiance @ matrix`` is closest to the truth; the identity if too few pixels are used.
    """
    x, y = radiance[use], truth[use]
    if len(x) < MIN_PIXELS:
        return np.eye(3)
    step = stride(len(x), MAX_PIXELS)  # fewer pixels tell nine numbers as well
    x, y = x[::step].astype(np.float64), y[::step].astype(np.float64)
    brightness = y.mean(-1) + DARK_OFFSET
    ratio = brightness / (x.mean(-1) + DARK_OFFSET)
    matrix = np.eye(3) * np.median(ratio)
    for _ in range(STEPS):
        error = max_channel(np.abs(x @ matrix - y)) / brightness
        limit = TUKEY * max(1.4826 * median(error), MIN_SPREAD)
        weight = np.square(np.maximum(1 - np.square(error / limit), 0)) / np.square(brightness)
        weighted = x * weight[:, None]
        try:
            matrix = np.linalg.solve(weighted.T @ x, weighted.T @ y)
        except np.linalg.LinAlgError:  # a picture of fewer than three colours
            return matrix
    return matrix


def fit_gain(radiance: Float, truth: Float, use: Mask) -> Float:
    """Fit a smooth gain field between a label and its truth, (H, W) float32.

    It is the mean ratio of brightness around each pixel, Gaussian with a tenth of the height,
    over pixels in use whose ratio is within a factor of e of the median.
    """
    log_ratio = np.log((truth.mean(-1) + LOG_OFFSET) / (radiance.mean(-1) + LOG_OFFSET))
    if use.sum() < MIN_PIXELS:
        return np.ones_like(log_ratio)
    good = use & (np.abs(log_ratio - np.median(log_ratio[use])) < MAX_RATIO)
    sigma = GAIN_SIZE * len(log_ratio)
    total = cv2.GaussianBlur(np.where(good, log_ratio, 0).astype(np.float32), (0, 0), sigma)
    count = cv2.GaussianBlur(good.astype(np.float32), (0, 0), sigma)
    return np.asarray(np.exp(total / (count + np.float32(1e-4))))


def fit_to_truth(radiance: Float, truth: Float, use: Mask, smooth_gain: bool) -> Float:
    """Return a label in the colours of the truth: by one matrix, and perhaps by a smooth gain.

    Parameters
    ----------
    radiance, truth : (H, W, 3) float32
        The label and its truth, 1.0 where the shortest frame clips.
    use : (H, W) bool
        Pixels to fit: still and not clipped.
    smooth_gain : bool
        Whether `fit_gain` follows, for cameras that lift regions.

    Returns
    -------
    (H, W, 3) float32
        0 to 1.
    """
    matrix = fit_matrix(radiance, truth, use).astype(np.float32)
    fitted = np.maximum(radiance @ matrix, 0)
    if smooth_gain:
        fitted = fitted * fit_gain(fitted, truth, use)[..., None]
    return np.clip(fitted, 0, 1)


def fit_curves(codes: Codes, truth: Float, use: Mask, white: float) -> Float:
    """Convert codes of a frame to radiance by the curve of each channel that fits the truth best.

    Parameters
    ----------
    codes : (H, W, 3) uint8 or uint16
        The frame.
    truth : (H, W, 3) float32
        Its radiance.
    use : (H, W) bool
        Pixels to fit: still and not clipped.
    white : float
        Radiance at which the frame clips.

    Returns
    -------
    (H, W, 3) float32
        The median radiance of the pixels in use of each code, never falling; `white` at the top.
    """
    levels = np.arange(CURVE_LEVELS)
    index = codes >> (bit_depth(codes) - 8)
    light = np.empty(codes.shape, np.float32)
    for c in range(3):
        level, values = index[use][:, c], truth[use][:, c]
        order = np.argsort(level, kind="stable")
        ends = np.searchsorted(level[order], [*levels, CURVE_LEVELS])
        known = [(CURVE_LEVELS - 1, white)]
        for k in range(CURVE_LEVELS - 2, -1, -1):
            part = values[order[ends[k] : ends[k + 1]]]
            if len(part) >= MIN_LEVEL:
                known.insert(0, (k, float(np.median(part))))
        at, curve = np.array(known).T
        table = np.interp(levels, at, np.maximum.accumulate(curve))
        light[..., c] = table.astype(np.float32)[index[..., c]]
    return light
