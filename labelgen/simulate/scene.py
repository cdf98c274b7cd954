"""Move objects and the camera through a scene, and photograph each moment."""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.core.arrays import Float
from labelgen.simulate.expose import expose
from labelgen.simulate.settings import MARGIN, SceneSettings, SimulatedBracket


def render(rng: np.random.Generator, radiance: Float, scene: SceneSettings) -> SimulatedBracket:
    """Simulate one bracket.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    radiance : (H + 2 * MARGIN, W + 2 * MARGIN, 3) float32
        The background, 1.0 where the reference clips.
    scene : SceneSettings
        Motion and exposures.
    """
    height, width = (n - 2 * MARGIN for n in radiance.shape[:2])
    inner = np.s_[MARGIN : MARGIN + height, MARGIN : MARGIN + width]
    objects = [_draw_object(rng, radiance, scene) for _ in range(scene.pieces)]
    moving = np.zeros(radiance.shape[:2], bool)
    codes, truth = [], radiance
    for i, ev in enumerate(scene.ev):
        view = radiance.copy()
        for texture, alpha, positions in objects:
            moving |= _composite(view, texture, alpha, positions[i]) > 0.02
        if i != scene.reference and scene.shake:
            view = _shake_camera(rng, view, scene.shake)
        view = view[inner]
        if i == scene.reference:
            truth = view
        codes.append(expose(rng, view, ev - scene.ev[scene.reference], scene))
    above = scene.ev[scene.reference] - scene.ev[0]
    truth = truth * np.float32(2.0**-above)
    return SimulatedBracket(tuple(codes), truth, moving[inner], scene)


def _draw_object(
    rng: np.random.Generator, radiance: Float, scene: SceneSettings
) -> tuple[Float, Float, list[tuple[float, float]]]:
    """Draw a moving object: texture (S, S, 3), alpha (S, S), position (y, x) in each frame."""
    h, w = radiance.shape[:2]
    size = int(rng.uniform(0.12, 0.3) * min(h, w))
    y, x = rng.integers(0, h - size), rng.integers(0, w - size)
    texture = radiance[y : y + size, x : x + size, rng.permutation(3)]
    texture = texture / max(float(np.median(texture)), 1e-4) * np.float32(2.0 ** rng.uniform(-4, 0))
    theta = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = 0.34 * size * (1 + 0.25 * np.sin(theta * rng.integers(2, 5) + rng.uniform(0, 6.3)))
    outline = size / 2 + np.stack([radius * np.cos(theta), 0.7 * radius * np.sin(theta)], -1)
    alpha = np.zeros((size, size), np.uint8)
    cv2.fillPoly(alpha, [np.int32(outline * 16)], 255, lineType=cv2.LINE_AA, shift=4)
    start = rng.uniform((MARGIN, MARGIN), (h - MARGIN - size, w - MARGIN - size))
    angle = rng.uniform(0, 2 * np.pi)
    step = scene.travel * rng.uniform(0.6, 1.4) * np.array([np.sin(angle), np.cos(angle)])
    track = [start + (i - scene.reference) * step for i in range(len(scene.ev))]
    positions = [(float(y), float(x)) for y, x in track]
    return texture.astype(np.float32), (alpha / 255).astype(np.float32), positions


def _composite(view: Float, texture: Float, alpha: Float, position: tuple[float, float]) -> Float:
    """Composite an object into a view, in place; return its coverage (H, W) float32."""
    h, w = view.shape[:2]
    matrix = np.array([[1, 0, position[1]], [0, 1, position[0]]])
    coverage = cv2.warpAffine(alpha, matrix, (w, h))
    shifted = cv2.warpAffine(texture, matrix, (w, h), borderMode=cv2.BORDER_REFLECT_101)
    view += (shifted - view) * coverage[..., None]
    return coverage


def _shake_camera(rng: np.random.Generator, view: Float, shake: float) -> Float:
    """Warp a view by a small random motion of the camera since the reference."""
    h, w = view.shape[:2]
    affine = cv2.getRotationMatrix2D((w / 2, h / 2), rng.normal(0, 0.05 * shake), 1.0)
    affine[:, 2] += rng.normal(0, shake, 2)
    homography = np.vstack([affine, [*rng.normal(0, 3e-7 * shake, 2), 1.0]])
    warped = cv2.warpPerspective(
        view, homography, (w, h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.maximum(warped, 0)
