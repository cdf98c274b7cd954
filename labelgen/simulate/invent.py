"""Invent scene-linear radiance, for brackets without images of one's own."""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.core.arrays import Float


def invent_scene(rng: np.random.Generator, height: int, width: int) -> Float:
    """Invent an interior: textured walls, objects, bright windows and lamps.

    Returns
    -------
    (height, width, 3) float32
        Radiance, 1.0 where the reference clips; windows and lamps are brighter.
    """
    image = np.full((height, width, 3), 0.12, np.float32)
    image *= np.exp2(0.7 * _texture(rng, height, width, 60))[..., None]
    for _ in range(60):
        h, w = (rng.uniform(0.04, 0.3, 2) * (height, width)).astype(int)
        y, x = rng.integers(-h // 2, height - h // 2), rng.integers(-w // 2, width - w // 2)
        box = np.s_[max(y, 0) : y + h, max(x, 0) : x + w]
        image[box] = 0.35 * rng.uniform(0.05, 1, 3) ** 1.5
    for k in range(5):
        h, w = (rng.uniform(0.08, 0.22, 2) * (height, width)).astype(int)
        y, x = rng.integers(0, height - h), rng.integers(0, width - w)
        image[y : y + h, x : x + w] = (2.0 ** (k % 3)) * rng.uniform(0.8, 1.6, 3)
    for _ in range(25):  # lines at all angles, as features for alignment
        a, b = rng.uniform((0, 0), (width, height), (2, 2))
        colour = (rng.uniform(0.02, 0.6, 3)).tolist()
        width_px = int(rng.integers(1, 5))
        cv2.line(image, np.int32(a).tolist(), np.int32(b).tolist(), colour, width_px, cv2.LINE_AA)
    fine = _texture(rng, height, width, 3) + _texture(rng, height, width, 12)
    image *= np.exp2(0.25 * fine)[..., None]
    lamp = _texture(rng, height, width, 90)
    image *= np.exp2(np.clip(lamp, -2, 2))[..., None]
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def _texture(rng: np.random.Generator, height: int, width: int, grain: float) -> Float:
    """Smooth noise (height, width) float32, mean 0, variance 1, with features of `grain` px."""
    coarse = rng.standard_normal((int(height / grain) + 4, int(width / grain) + 4), np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (smooth - smooth.mean()) / (smooth.std() + np.float32(1e-6))
