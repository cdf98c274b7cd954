"""Random closed outlines: blobs, and thin bent things such as arms and branches."""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.core.arrays import Array, Float

EDGE_SIGMA = 0.6
"""px, sigma: with the anti-aliasing of the outline an edge of about one pixel."""


def draw_outline(rng: np.random.Generator, size: int, thin: bool) -> Float:
    """Cover of a random shape that leaves a free border.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    size : int
        Side in pixels.
    thin : bool
        A bent arm with twigs instead of a blob.

    Returns
    -------
    (size, size) float32
        0 outside, 1 inside, soft between.
    """
    mask = np.zeros((size, size), np.uint8)
    for shape in _draw_arm(rng) if thin else [_draw_blob(rng)]:
        points = np.rint((0.5 + 0.44 * shape) * size * 16).astype(np.int32)
        cv2.fillPoly(mask, [points], [255], lineType=cv2.LINE_AA, shift=4)
    mask[[0, -1]] = mask[:, [0, -1]] = 0
    return cv2.GaussianBlur(mask.astype(np.float32) * np.float32(1 / 255), (0, 0), EDGE_SIGMA)


def _draw_blob(rng: np.random.Generator) -> Array:
    """A smooth closed curve in -1..1, (128, 2): a few harmonics, stretched and turned."""
    t = np.linspace(0, 2 * np.pi, 128, endpoint=False)
    k = np.arange(2, 8)[:, None]
    waves = rng.normal(0, 0.35, (6, 1)) / k * np.cos(k * t + rng.uniform(0, 2 * np.pi, (6, 1)))
    radius = np.maximum(1 + waves.sum(0), 0.25)
    return _fit_to_square(
        np.stack([radius * np.cos(t), rng.uniform(0.45, 1) * radius * np.sin(t)], -1),
        rng.uniform(0, 2 * np.pi),
    )


def _draw_arm(rng: np.random.Generator) -> list[Array]:
    """A bent, tapering stroke in -1..1 and up to two twigs that leave it."""
    turn, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.08, 0.2)
    spine = _draw_arc(np.array([-0.9, 0.0]), 0.0, 1.8, rng.uniform(-1.2, 1.2))
    strokes = [_outline_stroke(spine, width, 0.4)]
    for _ in range(rng.integers(0, 3)):
        k, away = int(rng.integers(12, 24)), rng.uniform(0.5, 1.1) * rng.choice([-1, 1])
        along = np.arctan2(*(spine[k + 1] - spine[k])[::-1])
        twig = _draw_arc(spine[k], along + away, rng.uniform(0.3, 0.7), rng.uniform(-1, 1))
        strokes.append(_outline_stroke(twig, 0.6 * width, 0.3))
    whole = _fit_to_square(np.concatenate(strokes), turn)
    return np.split(whole, np.cumsum([len(s) for s in strokes])[:-1])


def _draw_arc(start: Array, heading: float, length: float, bend: float) -> Array:
    """A line (32, 2) from a point that turns by `bend` radians on its way."""
    angles = heading + np.linspace(-0.5, 0.5, 32) * bend
    steps = np.stack([np.cos(angles), np.sin(angles)], -1) * length / 32
    return start + np.cumsum(steps, 0)


def _outline_stroke(spine: Array, width: float, taper: float) -> Array:
    """The border of a line (N, 2) as wide as `width`, `taper` of it at its end, rounded."""
    along = np.gradient(spine, axis=0)
    across = np.stack([-along[:, 1], along[:, 0]], -1) / np.hypot(*along.T)[:, None]
    t = np.linspace(0, 1, len(spine))
    half = width * (1 - (1 - taper) * t) * np.minimum(1, 4 * np.sqrt(np.minimum(t, 1 - t) + 0.01))
    return np.concatenate([spine + half[:, None] * across, (spine - half[:, None] * across)[::-1]])


def _fit_to_square(points: Array, turn: float) -> Array:
    """Points (N, 2) turned, and scaled to fill -1..1 along their longer side."""
    c, s = np.cos(turn), np.sin(turn)
    turned = points @ np.array([[c, s], [-s, c]])
    low, high = turned.min(0), turned.max(0)
    return (turned - (low + high) / 2) / ((high - low).max() / 2)
