"""Develop a picture from what the sensor saw, step by step, as the camera does."""

from __future__ import annotations

import numpy as np

from labelgen.core.arrays import Array, Float
from labelgen.core.response import GAMMA
from labelgen.simulate.camera import Camera
from labelgen.simulate.finish import denoise, saturate, sharpen
from labelgen.simulate.sensor import capture
from labelgen.simulate.tone import apply_curve, apply_keeping_hue, lift_regions

SRGB_TO_WIDE = np.array(
    [
        [0.529317, 0.330092, 0.140588],
        [0.098368, 0.873465, 0.028169],
        [0.016879, 0.117663, 0.865457],
    ]
)
"""From linear sRGB to linear ProPhoto RGB (ROMM, ISO 22028-2), white on white."""
MID_GREY = 0.18


def photograph(
    rng: np.random.Generator, light: Float, full_well: float, read: float, camera: Camera
) -> Float:
    """Photograph light as a camera does.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    light : (H, W, 3) float32
        Linear sRGB, not negative; grey clips at 1.0.
    full_well, read : float
        Electrons at clipping, and read noise in electrons.
    camera : Camera
        The device.

    Returns
    -------
    (H, W, 3) float32
        The finished picture, codes of 0 to 1, RGB.
    """
    balanced = capture(rng, light, full_well, read, camera)
    codes = _render(rng, balanced, camera)
    codes = saturate(codes, camera.saturation, camera.hue_bias, camera.hue)
    codes = np.clip(codes, 0, 1)
    codes = denoise(codes, camera.denoise * _noise_of_grey(full_well, read, camera))
    return np.clip(sharpen(codes, camera.sharpen, camera.radius), 0, 1)


def colour_matrix(camera: Camera) -> Array:
    """Return the camera's matrix (3, 3) float64 from its balanced filters to linear sRGB.

    It inverts the filters but for an error: no matrix maps the filters of a real camera exactly.
    White stays white.
    """
    error = np.random.default_rng([7, camera.error_seed]).normal(0, camera.matrix_error, (3, 3))
    matrix = np.linalg.inv(np.array(camera.filters)) @ (np.eye(3) + error)
    return np.asarray(matrix / matrix.sum(1, keepdims=True))


def _render(rng: np.random.Generator, balanced: Float, camera: Camera) -> Float:
    """Convert balanced light to codes: matrix, gamut, local tone mapping, curve; 0 to 1."""
    matrix = colour_matrix(camera)
    if camera.wide:
        wide = np.clip(balanced @ _single(SRGB_TO_WIDE @ matrix).T, 0, 1)
        toned = apply_keeping_hue(wide, camera.curve)
        light = np.clip(toned @ _single(np.linalg.inv(SRGB_TO_WIDE)).T, 0, 1)
        return np.asarray(light ** np.float32(1 / GAMMA))
    light = np.clip(balanced @ _single(matrix).T, 0, 1)
    if camera.lift:
        light = lift_regions(_second_stream(rng), light, camera.lift)
    return apply_curve(light, camera.curve)


def _second_stream(rng: np.random.Generator) -> np.random.Generator:
    """Stream that leaves the first one as it was, so that a scene is the same for all cameras."""
    assert isinstance(rng.bit_generator, np.random.PCG64)
    return np.random.Generator(rng.bit_generator.jumped())


def _single(matrix: Array) -> Float:
    return matrix.astype(np.float32)


def _noise_of_grey(full_well: float, read: float, camera: Camera) -> float:
    """Standard deviation of the codes of a mid-grey, from the noise of its light."""
    sigma = np.sqrt(MID_GREY * full_well + read**2) / full_well
    around = np.array([MID_GREY - 0.01, MID_GREY + 0.01], np.float32)
    below, above = apply_curve(around, camera.curve)
    return float(sigma * (above - below) / 0.02)
