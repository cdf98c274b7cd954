"""The homography between two frames of a bracket, used only where it makes them agree better.

It is fitted to a coarse dense flow first. If too few vectors follow one homography, because hands
shook far or turned, it is fitted to SIFT matches (Lowe 2004,
doi:10.1023/B:VISI.0000029664.99615.94), which takes ten times as long. Both fits are by MAGSAC++
(doi:10.1109/CVPR42600.2020.00138).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from labelgen.alignment.flow import COARSE_DIS
from labelgen.alignment.grey import FULL_RESOLUTION_PIXELS, equalised_grey
from labelgen.core.arrays import Array, downsample, max_channel
from labelgen.core.bracket import Stack
from labelgen.core.response import clipped_mu_law, mu_law
from labelgen.core.settings import Align

MIN_MATCHES = 12
"""Fewer matching points do not make a homography."""
MAX_MATCH_RATIO = 0.75
"""Distance of the best SIFT match relative to that of the second best."""
MIN_IMPROVEMENT = 0.02
"""A homography is used if it lowers the disagreement of the frames by at least this share."""
MAX_DIFFERENCE = 0.1
"""Differences (mu-law) count up to here in a disagreement, so moving objects do not decide it."""
MAX_LIGHT = 0.9
"""Linear light of the longer frame from which on pixels do not count in a disagreement."""
MIN_COMPARED = 0.01
"""Share of the pixels that have to count, or the disagreement is infinite."""
DISAGREEMENT_STRIDE = 3
"""Disagreement is measured at every third pixel in each direction."""
VECTOR_STRIDE = 8
"""px between the flow vectors that a homography is fitted to."""
MIN_CONTRAST = 4.0
"""Standard deviation (codes of 255) of the image around a vector that is used for the fit."""
MIN_INLIERS = 0.6
"""Share of the flow vectors that have to follow a homography. Otherwise SIFT matches are tried."""
UNIT_SIZE = (1, 1)
"""Frame size for homographies in shares of the frame, see `scale_homography`."""


def find_homography(stack: Stack, i: int, settings: Align) -> Array | None:
    """Find the homography from the reference to frame i.

    Parameters
    ----------
    stack : Stack
        The bracket, downsampled. Its known homographies are tried first.
    i : int
        Index of the frame.
    settings : Align
        Number of features, and reprojection error of an inlier in px.

    Returns
    -------
    (3, 3) float64 or None
        Takes (x, y) of the reference to (x, y) of frame i; None where no homography makes the
        frames agree better than they do unaligned.
    """
    limit = (1 - MIN_IMPROVEMENT) * _disagreement(stack, i, np.eye(3))
    known = stack.homographies[i] if stack.homographies else None
    if known is not None:
        matrix = scale_homography(known, UNIT_SIZE, stack.size)
        if _disagreement(stack, i, matrix) < limit:
            return matrix
    found = estimate_homography(stack, i, settings)
    return found if found is not None and _disagreement(stack, i, found) < limit else None


def scale_homography(matrix: Array, size: tuple[int, int], other: tuple[int, int]) -> Array:
    """Return the homography (3, 3) of the same frames at another size.

    Parameters
    ----------
    matrix : (3, 3) float64
        Homography of frames of size `size`, in pixels.
    size, other : (int, int)
        Height and width before and after.

    Examples
    --------
    >>> shift = np.array([[1, 0, 10], [0, 1, 0], [0, 0, 1.0]])  # 10 px to the right
    >>> scale_homography(shift, (300, 400), (150, 200))[0, 2].item()
    5.0
    """
    down, across = (b / a for a, b in zip(size, other, strict=True))
    # Integer coordinates are the centres of pixels, half a pixel inside of the frame.
    scale = np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5], [0, 0, 1]])
    return scale @ matrix @ np.linalg.inv(scale)


def chain_homographies(steps: Sequence[Array | None], start: int, end: int) -> Array | None:
    """Chain homographies between neighbouring frames.

    Parameters
    ----------
    steps : sequence of (3, 3) float64 or None
        `steps[k]` maps frame k + 1 to frame k; None where that is unknown.
    start, end : int
        Indices of two frames.

    Returns
    -------
    (3, 3) float64 or None
        Maps frame `start` to frame `end`. None if a step is unknown, or both are the same frame.
    """
    low, high = sorted((start, end))
    between = steps[low:high]
    known = [step for step in between if step is not None]
    if start == end or len(known) < len(between):
        return None
    matrix = np.eye(3)
    for step in known:
        matrix = matrix @ step
    return matrix if end < start else np.linalg.inv(matrix)


def estimate_homography(stack: Stack, i: int, settings: Align) -> Array | None:
    """Estimate the homography (3, 3) float64 from the reference to frame i, without verifying it.

    Parameters are those of `find_homography`. None if neither flow nor features give one.
    """
    by_flow, inliers = _from_flow(stack, i, settings.inlier)
    if by_flow is not None and inliers >= MIN_INLIERS:
        return by_flow
    by_features = _from_features(stack, i, settings)
    return by_flow if by_features is None else by_features


def _from_flow(stack: Stack, i: int, inlier: float) -> tuple[Array | None, float]:
    """Fit a homography to flow; also the share of the textured vectors that follow it."""
    height, width = stack.size
    k = 1 if height * width <= FULL_RESOLUTION_PIXELS else 2
    longer, pair = stack.longer_ev(i), (stack.reference, i)
    small = (downsample(stack.codes[j], (width // k, height // k)) for j in pair)
    reference, other = (
        equalised_grey(codes, longer - stack.ev[j]) for codes, j in zip(small, pair, strict=True)
    )
    # One scale finer for halved frames: the same density of vectors.
    dis = replace(COARSE_DIS, finest_scale=COARSE_DIS.finest_scale - (k - 1))
    flow = dis(reference, other)
    stride = VECTOR_STRIDE // k
    ys, xs = (np.arange(stride // 2, n, stride) for n in reference.shape)
    grid, grey = np.ix_(ys, xs), reference.astype(np.float32)
    mean, mean_square = (cv2.blur(x, (2 * stride, 2 * stride)) for x in (grey, grey * grey))
    textured = (mean_square - mean * mean)[grid] > MIN_CONTRAST**2
    points = np.dstack(np.meshgrid(xs, ys)).astype(np.float32)[textured]
    here, there = (k * p + np.float32((k - 1) / 2) for p in (points, points + flow[grid][textured]))
    return _fit_homography(here, there, inlier)


def _from_features(stack: Stack, i: int, settings: Align) -> Array | None:
    """Fit a homography to SIFT matches."""
    shorter_ev = min(stack.ev[i], stack.ev[stack.reference])
    sift = cv2.SIFT_create(settings.features)
    (keypoints, descriptors), (other_keypoints, other_descriptors) = (
        sift.detectAndCompute(equalised_grey(stack.codes[k], shorter_ev - stack.ev[k]), None)
        for k in (stack.reference, i)
    )
    if min(len(keypoints), len(other_keypoints)) < MIN_MATCHES:
        return None
    pairs = cv2.BFMatcher().knnMatch(descriptors, other_descriptors, 2)
    matches = [
        m[0] for m in pairs if len(m) == 2 and m[0].distance < MAX_MATCH_RATIO * m[1].distance
    ]
    return _fit_homography(
        np.array([keypoints[m.queryIdx].pt for m in matches], np.float32),
        np.array([other_keypoints[m.trainIdx].pt for m in matches], np.float32),
        settings.inlier,
    )[0]


def _fit_homography(here: Array, there: Array, inlier: float) -> tuple[Array | None, float]:
    """Fit a homography to pairs of points (N, 2); also the share of them that are inliers."""
    if len(here) < MIN_MATCHES:
        return None, 0.0
    matrix, inliers = cv2.findHomography(
        here, there, cv2.USAC_MAGSAC, inlier, maxIters=5000, confidence=0.9999
    )
    if matrix is None or not np.isfinite(matrix).all():
        return None, 0.0
    return np.asarray(matrix), float(inliers.mean())


def _disagreement(stack: Stack, i: int, matrix: Array) -> float:
    """Mean robust mu-law difference between the reference and frame i under a homography."""
    h, w = stack.size
    stride = DISAGREEMENT_STRIDE
    points = np.dstack(np.meshgrid(np.arange(0, w, stride), np.arange(0, h, stride)))
    there = cv2.perspectiveTransform(points.astype(np.float32), matrix)
    reference = stack.codes[stack.reference][::stride, ::stride]
    other = cv2.remap(stack.codes[i], there, None, cv2.INTER_LINEAR)
    x, y = cv2.split(there)
    valid = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    longer = stack.longer_ev(i)
    first, second = (
        clipped_mu_law(codes, stack.ev[k], longer)
        for codes, k in ((reference, stack.reference), (other, i))
    )
    clip = mu_law(np.array(MAX_LIGHT * 2.0**-longer, np.float32))
    valid &= max_channel(np.maximum(first, second)) < clip
    if valid.mean() < MIN_COMPARED:
        return np.inf
    return float(np.minimum(np.abs(first[valid] - second[valid]), MAX_DIFFERENCE).mean())
