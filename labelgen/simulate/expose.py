"""Expose a frame: by the ideal camera, or by one that renders pictures as real ones do."""

from __future__ import annotations

import numpy as np

from labelgen.core.arrays import Codes, Float, to_uint16
from labelgen.core.response import encode
from labelgen.simulate.develop import photograph
from labelgen.simulate.settings import SceneSettings


def expose(rng: np.random.Generator, view: Float, stops: float, scene: SceneSettings) -> Codes:
    """Expose one frame of a view with the camera of the scene.

    The ideal camera has photon and read noise, clips, and writes gamma 2.2.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    view : (H, W, 3) float32
        Radiance, not negative, 1.0 where an exposure of 0 stops clips.
    stops : float
        Exposure.
    scene : SceneSettings
        Full well, read noise and camera.

    Returns
    -------
    (H, W, 3) uint16
        Codes: gamma 2.2 of the ideal camera, or the finished picture of another one.
    """
    if scene.camera:
        light = view * np.float32(2.0**stops)
        picture = photograph(rng, light, scene.full_well, scene.read, scene.camera)
        return to_uint16(picture * np.float32(65535))
    electrons = view * np.float32(2.0**stops * scene.full_well)
    noise = rng.standard_normal(view.shape, np.float32)
    electrons = electrons + noise * np.sqrt(electrons + np.float32(scene.read**2))
    return encode(electrons * np.float32(1 / scene.full_well), 16)
