"""Draw random shapes for moving objects: blobs, and thin bent ones such as arms and branches."""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.core.arrays import Array, Float

EDGE_SIGMA = 0.6
"""px. Blur of the outline; with its anti-aliasing, an edge is about one pixel wide."""


def draw_outline(rng: np.random.Generator, size: int, thin: bool) -> Float:
    """Draw a random shape that leaves the border of the square free.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    size : int
        Side of the square in pixels.
    thin : bool
        Draw a bent arm with twigs instead of a blob.

    Returns
    -------
    (size, size) float32
        Coverage: 0 outside, 1 inside, in between at the edge.

    Examples
    --------
    >>> draw_outline(np.random.default_rng(0), 16, thin=False).shape
    (16, 16)
    """
    mask = np.zeros((size, size), np.uint8)
    for outline in _draw_arm(rng) if thin else [_draw_blob(rng)]:
        points = np.rint((0.5 + 0.44 * outline) * size * 16).astype(np.int32)
        cv2.fillPoly(mask, [points], [255], lineType=cv2.LINE_AA, shift=4)
    mask[[0, -1]] = mask[:, [0, -1]] = 0
    return cv2.GaussianBlur(mask.astype(np.float32) * np.float32(1 / 255), (0, 0), EDGE_SIGMA)


def _draw_blob(rng: np.random.Generator) -> Array:
    """Smooth closed curve (128, 2) in -1..1: a circle with six harmonics, stretched and rotated."""
    t = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    k = np.arange(2, 8)[:, None]
    waves = rng.normal(0, 0.35, (6, 1)) / k * np.cos(k * t + rng.uniform(0, 2 * np.pi, (6, 1)))
    radius = np.maximum(1 + waves.sum(0), 0.25)
    return _rotate_and_fit(
        np.stack([radius * np.cos(t), rng.uniform(0.45, 1) * radius * np.sin(t)], -1),
        rng.uniform(0, 2 * np.pi),
    )


def _draw_arm(rng: np.random.Generator) -> list[Array]:
    """Outlines in -1..1 of a bent, tapering arm and of up to two twigs that branch off it."""
    rotation, half_width = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.2)
    spine = _arc(np.array([-0.9, 0.0]), 0.0, 1.8, rng.uniform(-1.2, 1.2))
    outlines = [_outline_stroke(spine, half_width, 0.4)]
    for _ in range(rng.integers(0, 3)):
        k, angle = int(rng.integers(12, 24)), rng.uniform(0.5, 1.1) * rng.choice([-1, 1])
        heading = np.arctan2(*(spine[k + 1] - spine[k])[::-1])
        twig = _arc(spine[k], heading + angle, rng.uniform(0.3, 0.7), rng.uniform(-1, 1))
        outlines.append(_outline_stroke(twig, 0.6 * half_width, 0.3))
    points = _rotate_and_fit(np.concatenate(outlines), rotation)
    return np.split(points, np.cumsum([len(s) for s in outlines])[:-1])


def _arc(start: Array, heading: float, length: float, bend: float) -> Array:
    """Points (32, 2) of an arc from `start` whose direction turns by `bend` radians in all."""
    angles = heading + np.linspace(-0.5, 0.5, 32) * bend
    steps = np.stack([np.cos(angles), np.sin(angles)], -1) * length / 32
    return start + np.cumsum(steps, 0)


def _outline_stroke(spine: Array, half_width: float, taper: float) -> Array:
    """Outline (2 N, 2) of a rounded stroke along (N, 2), `taper` times as wide at its end."""
    tangent = np.gradient(spine, axis=0)
    normal = np.stack([-tangent[:, 1], tangent[:, 0]], -1) / np.hypot(*tangent.T)[:, None]
    t = np.linspace(0, 1, len(spine))
    rounding = np.minimum(1, 4 * np.sqrt(np.minimum(t, 1 - t) + 0.01))
    side = (half_width * (1 - (1 - taper) * t) * rounding)[:, None] * normal
    return np.concatenate([spine + side, (spine - side)[::-1]])


def _rotate_and_fit(points: Array, angle: float) -> Array:
    """Rotate points (N, 2) and scale them so that their longer side fills -1..1."""
    c, s = np.cos(angle), np.sin(angle)
    rotated = points @ np.array([[c, s], [-s, c]])
    low, high = rotated.min(0), rotated.max(0)
    return (rotated - (low + high) / 2) / ((high - low).max() / 2)
