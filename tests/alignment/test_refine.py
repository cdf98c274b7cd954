"""Geometry refined on the pixels, against known displacements."""

from __future__ import annotations

import cv2
import numpy as np

from labelgen.alignment.refine import refine_displacement, warp
from labelgen.core.response import mu_law
from tests.conftest import make_scene

SIZE = 288, 400
WINDOW = 12.0


def texture(seed: int) -> np.ndarray:
    return mu_law(np.clip(make_scene(seed, shake=0.0, pieces=0).truth, 0, 0.25).mean(-1))


def bend(amount: float) -> np.ndarray:
    """A smooth displacement (H, W, 2) of up to `amount` px."""
    ys, xs = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)
    wave = np.dstack([np.sin(ys / 60 + xs / 90), np.cos(xs / 70)])
    return (amount * wave).astype(np.float32)


def inverse(displacement: np.ndarray) -> np.ndarray:
    """The displacement that undoes another, by fixed point."""
    back = np.zeros_like(displacement)
    for _ in range(20):
        back = -warp(displacement, back)[0]
    return back


def test_parallax_is_found_to_a_tenth_of_a_pixel() -> None:
    image, true = texture(1), bend(1.2)
    other, _ = warp(image, inverse(true))
    found = refine_displacement(image, other, np.zeros_like(true), WINDOW)
    error = np.hypot(*np.moveaxis(found - true, -1, 0))[20:-20, 20:-20]
    assert np.hypot(*np.moveaxis(true, -1, 0)).mean() > 0.8
    assert np.median(error) < 0.05
    assert np.quantile(error, 0.9) < 0.15


def test_what_moves_by_itself_does_not_draw_its_surroundings_along() -> None:
    image = texture(2)
    other = image.copy()
    other[100:180, 150:230] = np.roll(image, (3, 4), (0, 1))[100:180, 150:230][::-1]
    found = refine_displacement(image, other, np.zeros((*SIZE, 2), np.float32), WINDOW)
    length = np.hypot(found[..., 0], found[..., 1])
    around = cv2.dilate(np.zeros(SIZE, np.uint8), None)
    around[80:200, 130:250] = 1
    around[96:184, 146:234] = 0
    assert length[around > 0].mean() < 0.05


def test_a_refinement_that_does_not_hold_is_not_used() -> None:
    """Frames that have nothing in common stay where they are."""
    rng = np.random.default_rng(3)
    pair = [cv2.GaussianBlur(rng.random(SIZE, np.float32), (0, 0), 2) * 3 - 1 for _ in range(2)]
    given = bend(0.5)
    found = refine_displacement(*pair, given, WINDOW)
    before, after = (np.abs(pair[0] - warp(pair[1], d)[0]).mean() for d in (given, found))
    assert after <= before * 1.001


def test_without_texture_nothing_is_moved() -> None:
    flat = np.full(SIZE, 0.4, np.float32)
    given = bend(1.0)
    assert np.allclose(refine_displacement(flat, flat, given, WINDOW), given, atol=1e-4)


def test_the_border_of_what_is_clipped_tells_of_the_geometry() -> None:
    """Nothing else is to be seen: a lamp that clips in the reference, before black."""
    lamp = np.zeros(SIZE, np.float32)
    cv2.circle(lamp, (200, 144), 60, 4.0, -1, cv2.LINE_AA)
    lamp = cv2.GaussianBlur(lamp, (0, 0), 2)
    shift = np.full((*SIZE, 2), 0.6, np.float32)
    other, _ = warp(lamp, -shift)
    found = refine_displacement(
        np.minimum(lamp, 1), np.minimum(other, 1), np.zeros_like(shift), WINDOW
    )
    ys, xs = np.mgrid[0 : SIZE[0], 0 : SIZE[1]] - np.array([144, 200])[:, None, None]
    radius = np.hypot(ys, xs)
    across = ((found - shift)[..., 0] * xs + (found - shift)[..., 1] * ys) / np.maximum(radius, 1)
    assert np.abs(across[np.abs(radius - 60) < 4]).mean() < 0.1
