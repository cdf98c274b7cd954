"""Bring the frames of a bracket into the geometry of the reference, for the label alone.

Two ways: a global homography from SIFT matches (Lowe 2004, doi:10.1023/B:VISI.0000029664.99615.94;
MAGSAC++, doi:10.1109/CVPR42600.2020.00138), kept only where it improves the agreement of the
frames, perhaps refined by a smooth field; and dense DIS flow (Kroeger 2016,
doi:10.1007/978-3-319-46493-0_29). The reference is never resampled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from labelgen import recipe
from labelgen.arrays import Array, Bytes, Float, Mask, highest, power
from labelgen.bracket import Stack
from labelgen.refine import refined, sampled
from labelgen.response import GAMMA, mu_law

LEAST_MATCHES = 12
FEATURES_AT = 0.6
"""Megapixels to find features at: refinement on the pixels mends what that costs."""
LEAST_GAIN = 0.02
"""A homography is used if it lowers the disagreement of the frames by this share at least."""
ROBUST = 0.1
"""Differences (mu-law) count up to here when agreement is measured: moving things don't decide."""
LEAST_SHIFT = 0.05
"""A refinement that moves nothing by more (px) is not worth resampling for."""


@dataclass(frozen=True)
class Aligned:
    """One frame in the geometry of the reference.

    `linear` is (H, W, 3) float32, 1.0 where that frame clips; `seen` (H, W) bool is False where
    the frame does not reach; `shift` is the mean distance (px) by which it was moved, 0 if it is
    taken as it is.
    """

    linear: Float
    seen: Mask
    shift: float


def align(stack: Stack, i: int, settings: recipe.Align) -> Aligned:
    """Frame i of a stack in the geometry of the reference.

    Parameters
    ----------
    stack : Stack
        The bracket.
    i : int
        Index of the frame.
    settings : recipe.Align
        The method and its parameters.

    Returns
    -------
    Aligned
        The frame as it is where aligning it would not improve anything.
    """
    if i == stack.reference or settings.method == "none":
        return Aligned(stack.linear(i), np.ones(stack.size, bool), 0.0)
    small = reduced(stack, settings.megapixels)
    if settings.method == "flow":
        flow = find_flow(small, i)
        return sample(stack, i, enlarged(flow, stack.size))
    matrix = find_homography(small, i, settings)
    displacement = displaced(small.size, matrix)
    if settings.refine:
        reference, other = (mu_law(view) for view in _shown_alike(small, i))
        displacement = refined(reference, other, displacement, settings.refine)
    if np.abs(displacement).max() < LEAST_SHIFT:
        return Aligned(stack.linear(i), np.ones(stack.size, bool), 0.0)
    return sample(stack, i, enlarged(displacement, stack.size))


def identity(size: tuple[int, int]) -> Float:
    """Where every pixel is: (H, W, 2) float32 x and y."""
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    return np.dstack([xs, ys])


def reduced(stack: Stack, megapixels: float) -> Stack:
    """The stack at a working size of at most so many megapixels, by averaging codes."""
    h, w = stack.size
    k = (megapixels * 1e6 / (h * w)) ** 0.5
    if k >= 1:
        return stack
    size = max(1, round(w * k)), max(1, round(h * k))
    return replace(
        stack, codes=tuple(cv2.resize(c, size, interpolation=cv2.INTER_AREA) for c in stack.codes)
    )


def enlarged(displacement: Float, size: tuple[int, int]) -> Float:
    """A displacement (h, w, 2) found at working size, for frames of full size (H, W, 2)."""
    h, w = displacement.shape[:2]
    if (h, w) == size:
        return displacement
    full = cv2.resize(displacement, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(full * np.array([size[1] / w, size[0] / h]), np.float32)


def displaced(size: tuple[int, int], matrix: Array | None) -> Float:
    """How far a homography moves every pixel: (H, W, 2) float32 px; zero without one."""
    here = identity(size)
    if matrix is None:
        return np.zeros_like(here)
    there = cv2.perspectiveTransform(here.reshape(1, -1, 2), matrix)
    return np.asarray(there.reshape(here.shape) - here, np.float32)


def find_homography(stack: Stack, i: int, settings: recipe.Align) -> Array | None:
    """Map from the reference to frame i.

    Returns
    -------
    (3, 3) float64 or None
        Takes (x, y) of the reference to (x, y) of frame i; None where no homography makes the
        frames agree better than they do unaligned.
    """
    matrix = match(stack, i, settings)
    if matrix is None:
        return None
    unaligned = _disagreement(stack, i, np.eye(3))
    return matrix if _disagreement(stack, i, matrix) < (1 - LEAST_GAIN) * unaligned else None


def match(stack: Stack, i: int, settings: recipe.Align) -> Array | None:
    """The homography (3, 3) float64 that most SIFT matches follow, or None; unverified."""
    full, stack = stack.size, reduced(stack, FEATURES_AT)
    ref, other = (_features(stack, k, i, settings.features) for k in (stack.reference, i))
    if min(len(ref[0]), len(other[0])) < LEAST_MATCHES:
        return None
    pairs = cv2.BFMatcher().knnMatch(ref[1], other[1], 2)
    good = [m[0] for m in pairs if len(m) == 2 and m[0].distance < 0.75 * m[1].distance]
    if len(good) < LEAST_MATCHES:
        return None
    here = np.array([ref[0][m.queryIdx].pt for m in good], np.float32)
    there = np.array([other[0][m.trainIdx].pt for m in good], np.float32)
    matrix, _ = cv2.findHomography(
        here, there, cv2.USAC_MAGSAC, settings.inlier, maxIters=5000, confidence=0.9999
    )
    if matrix is None or not np.isfinite(matrix).all():
        return None
    small = _pixels(stack.size, full)
    return np.asarray(np.linalg.inv(small) @ matrix @ small)


def _pixels(small: tuple[int, int], full: tuple[int, int]) -> Array:
    """Map (3, 3) of places in a frame to those in the reduced frame; centres of pixels count."""
    y, x = (s / f for s, f in zip(small, full, strict=True))
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def find_flow(stack: Stack, i: int) -> Float:
    """Dense flow from the reference to frame i.

    Both are shown at the exposure of the longer one, so that both clip alike (Kalantari 2017).

    Parameters
    ----------
    stack : Stack
        The bracket.
    i : int
        Index of the frame.

    Returns
    -------
    (H, W, 2) float32
        x and y displacement in pixels.
    """
    gain = np.float32(2.0 ** max(stack.ev[i], stack.ev[stack.reference]))
    pair = [_grey(view * gain) for view in _shown_alike(stack, i)]
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    return np.asarray(dis.calc(*pair, None), np.float32)


def _shown_alike(stack: Stack, i: int) -> tuple[Float, Float]:
    """Radiance of the reference and of frame i, both clipped where the longer of the two clips."""
    clip = np.float32(2.0 ** -max(stack.ev[i], stack.ev[stack.reference]))
    reference, other = (np.minimum(stack.radiance(k), clip) for k in (stack.reference, i))
    return reference, other


def _grey(linear: Float) -> Bytes:
    """8-bit gamma-encoded mean of the channels, clipped at 1."""
    mean = cv2.transform(np.minimum(linear, 1), np.full((1, 3), 1 / 3, np.float32))
    return np.rint(255 * power(np.clip(mean, 0, 1), 1 / GAMMA)).astype(np.uint8)


def _features(stack: Stack, k: int, i: int, count: int) -> tuple[tuple[cv2.KeyPoint, ...], Array]:
    """SIFT keypoints of frame k, shown at the shorter exposure of reference and frame i."""
    low = min(stack.ev[i], stack.ev[stack.reference])
    equalised = cv2.createCLAHE(2.0, (8, 8)).apply(_grey(stack.radiance(k) * np.float32(2.0**low)))
    points, descriptors = cv2.SIFT_create(count).detectAndCompute(equalised, None)
    return tuple(points), descriptors if descriptors is not None else np.zeros((0, 128), np.float32)


def _disagreement(stack: Stack, i: int, matrix: Array) -> float:
    """Mean robust mu-law difference between the reference and frame i under a homography."""
    ref, other = stack.radiance(stack.reference), stack.radiance(i)
    h, w = stack.size
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(other, matrix, (w, h), flags=flags, borderValue=(-1, -1, -1))
    clip = np.float32(0.9 * 2.0 ** -max(stack.ev[i], stack.ev[stack.reference]))
    fair = (highest(-moved) <= 0) & (highest(np.maximum(ref, moved)) < clip)
    if fair.mean() < 0.01:
        return np.inf
    return float(np.minimum(np.abs(mu_law(ref[fair]) - mu_law(moved[fair])), ROBUST).mean())


def sample(stack: Stack, i: int, displacement: Float) -> Aligned:
    """Frame i as displaced by (H, W, 2) px of x and y.

    Lanczos, which softens the label least, and in the codes: linear light would ring around lamps.
    """
    codes = stack.codes[i]
    scaled = codes.astype(np.float32) / np.float32(np.iinfo(codes.dtype).max)
    moved, seen = sampled(scaled, displacement, cv2.INTER_LANCZOS4)
    shift = np.hypot(displacement[..., 0], displacement[..., 1]).mean()
    return Aligned(power(np.clip(moved, 0, 1), GAMMA), seen, float(shift))
