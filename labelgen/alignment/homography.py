"""The homography between two frames of a bracket, kept only where it makes them agree better.

First by flow: a homography that most vectors of a coarse DIS flow follow
(Kroeger 2016, doi:10.1007/978-3-319-46493-0_29). Where few do, since hands shook far or turned, by
SIFT matches (Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94), ten times slower. Both by MAGSAC++
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
MIN_GAIN = 0.02
"""A homography is used if it lowers the disagreement of the frames by this share at least."""
ROBUST = 0.1
"""Differences (mu-law) count up to here when agreement is measured: moving things don't decide."""
UNCLIPPED = 0.9
"""Light of the longer frame from which on agreement is not measured."""
EVERY = 3
"""Agreement is measured at every third pixel in each direction."""
STEP = 8
"""px between the vectors of flow that a homography is fitted to."""
MIN_TEXTURE = 4.0
"""Standard deviation (codes of 255) within STEP that a vector needs to mean anything."""
MAX_FOLLOW = 0.6
"""Share of the vectors that have to follow a homography, or features are asked."""
UNIT_SIZE = (1, 1)
"""Size of frames whose homographies hold at any size, by `scale_homography`."""


def find_homography(stack: Stack, i: int, settings: Align) -> Array | None:
    """Map from the reference to frame i.

    Parameters
    ----------
    stack : Stack
        The bracket, reduced as far as may be.
    i : int
        Index of the frame.
    settings : Align
        How many features, and how far a match may be off.

    Returns
    -------
    (3, 3) float64 or None
        Takes (x, y) of the reference to (x, y) of frame i; None where no homography makes the
        frames agree better than they do unaligned.
    """
    most = (1 - MIN_GAIN) * _disagreement(stack, i, np.eye(3))
    known = stack.homographies[i] if stack.homographies else None
    if known is not None:
        matrix = scale_homography(known, UNIT_SIZE, stack.size)
        if _disagreement(stack, i, matrix) < most:
            return matrix
    found = estimate_homography(stack, i, settings)
    return found if found is not None and _disagreement(stack, i, found) < most else None


def scale_homography(matrix: Array, size: tuple[int, int], other: tuple[int, int]) -> Array:
    """A homography (3, 3) of frames of one size (height, width), for the same of another."""
    down, across = (b / a for a, b in zip(size, other, strict=True))
    # Half a pixel, since whole ones are the middles of pixels.
    scale = np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5], [0, 0, 1]])
    return scale @ matrix @ np.linalg.inv(scale)


def chain_homographies(steps: Sequence[Array | None], start: int, end: int) -> Array | None:
    """The homography from one frame to another, by those from each to the one before it.

    `steps[k]` takes frame k + 1 to frame k, or is None where that is not known.
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
    """The homography (3, 3) float64 from the reference to frame i, or None; unverified."""
    by_flow, follow = _from_flow(stack, i, settings.inlier)
    if by_flow is not None and follow >= MAX_FOLLOW:
        return by_flow
    by_features = _from_features(stack, i, settings)
    return by_flow if by_features is None else by_features


def _from_flow(stack: Stack, i: int, inlier: float) -> tuple[Array | None, float]:
    """A homography, and the share of the vectors of textured places that follow it."""
    height, width = stack.size
    k = 1 if height * width <= FULL_RESOLUTION_PIXELS else 2
    most, pair = stack.longer_ev(i), (stack.reference, i)
    small = (downsample(stack.codes[j], (width // k, height // k)) for j in pair)
    here, there = (equalised_grey(c, most - stack.ev[j]) for c, j in zip(small, pair, strict=True))
    # The same density of vectors for frames that were halved.
    dis = replace(COARSE_DIS, finest_scale=COARSE_DIS.finest_scale - (k - 1))
    flow = dis(here, there)
    step = STEP // k
    ys, xs = (np.arange(step // 2, n, step) for n in here.shape)
    light = here.astype(np.float32)
    first, second = (cv2.blur(x, (2 * step, 2 * step)) for x in (light, light * light))
    at = np.ix_(ys, xs)
    textured = (second - first * first)[at] > MIN_TEXTURE**2
    points = np.dstack(np.meshgrid(xs, ys)).astype(np.float32)[textured]
    one, two = (k * p + np.float32((k - 1) / 2) for p in (points, points + flow[at][textured]))
    return _fit_homography(one, two, inlier)


def _from_features(stack: Stack, i: int, settings: Align) -> Array | None:
    """The homography that most SIFT matches follow."""
    least = min(stack.ev[i], stack.ev[stack.reference])
    sift = cv2.SIFT_create(settings.features)
    (here, one), (there, two) = (
        sift.detectAndCompute(equalised_grey(stack.codes[k], least - stack.ev[k]), None)
        for k in (stack.reference, i)
    )
    if min(len(here), len(there)) < MIN_MATCHES:
        return None
    pairs = cv2.BFMatcher().knnMatch(one, two, 2)
    good = [m[0] for m in pairs if len(m) == 2 and m[0].distance < 0.75 * m[1].distance]
    return _fit_homography(
        np.array([here[m.queryIdx].pt for m in good], np.float32),
        np.array([there[m.trainIdx].pt for m in good], np.float32),
        settings.inlier,
    )[0]


def _fit_homography(here: Array, there: Array, inlier: float) -> tuple[Array | None, float]:
    """The homography that most points (N, 2) follow, and their share."""
    if len(here) < MIN_MATCHES:
        return None, 0.0
    matrix, follow = cv2.findHomography(
        here, there, cv2.USAC_MAGSAC, inlier, maxIters=5000, confidence=0.9999
    )
    if matrix is None or not np.isfinite(matrix).all():
        return None, 0.0
    return np.asarray(matrix), float(follow.mean())


def _disagreement(stack: Stack, i: int, matrix: Array) -> float:
    """Mean robust mu-law difference between the reference and frame i under a homography."""
    h, w = stack.size
    points = np.dstack(np.meshgrid(np.arange(0, w, EVERY), np.arange(0, h, EVERY)))
    there = cv2.perspectiveTransform(points.astype(np.float32), matrix)
    here = stack.codes[stack.reference][::EVERY, ::EVERY]
    moved = cv2.remap(stack.codes[i], there, None, cv2.INTER_LINEAR)
    x, y = cv2.split(there)
    fair = (x >= 0) & (x <= w - 1) & (y >= 0) & (y <= h - 1)
    most = stack.longer_ev(i)
    ref, other = (
        clipped_mu_law(codes, stack.ev[k], most)
        for codes, k in ((here, stack.reference), (moved, i))
    )
    clip = mu_law(np.array(UNCLIPPED * 2.0**-most, np.float32))
    fair &= max_channel(np.maximum(ref, other)) < clip
    if fair.mean() < 0.01:
        return np.inf
    return float(np.minimum(np.abs(ref[fair] - other[fair]), ROBUST).mean())
