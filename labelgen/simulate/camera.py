"""Cameras: what a device does between the light on its sensor and the picture that it writes.

The steps and their order follow Karaimer and Brown, "A software platform for manipulating the
camera imaging pipeline", ECCV 2016, doi:10.1007/978-3-319-46448-0_26. The presets are invented;
their values lie where published measurements of cameras do (Kim et al. 2012, "A new in-camera
imaging model for color computer vision and its application", doi:10.1109/TPAMI.2012.58).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from labelgen.core.errors import UserError

Matrix: TypeAlias = tuple[tuple[float, float, float], ...]
"""A matrix (3, 3), row by row, that is applied to a column (R, G, B)."""

IDEAL = "ideal"
"""The camera without any of the steps here: noise, clipping and gamma 2.2."""


@dataclass(frozen=True)
class ToneCurve:
    """Curve from linear light (0..1) to codes (0..1), through (0, 0) and (1, 1)."""

    shoulder: float = 1.2
    """How much the curve lifts mid-tones and flattens towards white; above 0."""
    toe: float = 0.08
    """Code (0..1) about which shadows are pulled down; 0 pulls nothing."""
    crush: float = 0.01
    """Code (0..1) below which everything becomes black."""


@dataclass(frozen=True)
class RegionalLift:
    """Local tone mapping: dark regions become brighter, differently in each frame."""

    strength: float = 0.25
    """Stops of lift for each stop that a region is darker than `start`."""
    start: float = 2.0
    """Stops below clipping at which the lift begins."""
    limit: float = 1.5
    """Most stops of lift."""
    spread: float = 0.15
    """Standard deviation of the strength between frames, relative to it."""


@dataclass(frozen=True)
class Camera:
    """A device. Fields are in the order in which the light meets them."""

    name: str
    filters: Matrix
    """Responses of the white-balanced colour filters to linear sRGB; each row sums to 1."""
    white_balance: tuple[float, float, float]
    """Gains of R, G, B, at least 1. A filter with a large gain gets few electrons."""
    matrix_error: float = 0.0
    """Size of the errors in the camera's own matrix from its filters to sRGB."""
    lift: RegionalLift | None = None
    wide: bool = False
    """Whether the curve is applied in a wide space and keeps the hue, as in RAW converters; or
    channel by channel in sRGB, as in camera bodies."""
    curve: ToneCurve = ToneCurve()
    saturation: float = 1.1
    """Factor on the colour of the finished picture."""
    hue_bias: float = 0.0
    """How much `saturation` depends on the hue."""
    hue: float = 0.0
    """Angle (radians) in the plane of Cb and Cr of the hue that gains most."""
    denoise: float = 1.0
    """Range of the denoising filter in standard deviations of the noise of a mid-grey."""
    sharpen: float = 0.4
    """Amount of unsharp masking."""
    radius: float = 1.0
    """Standard deviation (px) of its blur."""
    quality: int = 92
    """Quality of its JPEGs (0 to 100), whose chroma has half the resolution."""
    error_seed: int = 0
    """Seed of the errors of its matrix."""


PRESETS = {
    "body": Camera(
        "body",
        ((0.66, 0.28, 0.06), (0.16, 0.68, 0.16), (0.04, 0.26, 0.70)),
        (1.9, 1.0, 1.5),
        matrix_error=0.02,
        curve=ToneCurve(1.2, 0.08, 0.012),
        saturation=1.12,
        hue_bias=0.08,
        hue=1.9,
        quality=94,
    ),
    "converter": Camera(
        "converter",
        ((0.60, 0.33, 0.07), (0.13, 0.72, 0.15), (0.02, 0.22, 0.76)),
        (2.1, 1.0, 1.4),
        matrix_error=0.02,
        wide=True,
        curve=ToneCurve(1.4, 0.12, 0.006),
        saturation=1.05,
        denoise=0.6,
        sharpen=0.3,
        radius=0.8,
        quality=92,
    ),
    "phone": Camera(
        "phone",
        ((0.62, 0.30, 0.08), (0.20, 0.62, 0.18), (0.06, 0.30, 0.64)),
        (1.8, 1.0, 1.7),
        matrix_error=0.03,
        lift=RegionalLift(),
        curve=ToneCurve(1.0, 0.05, 0.006),
        saturation=1.18,
        hue_bias=0.10,
        hue=-0.8,
        denoise=1.8,
        sharpen=0.7,
        radius=1.1,
        quality=90,
    ),
}
"""One camera of each kind."""
KINDS = (IDEAL, *PRESETS)


def make_camera(kind: str, seed: int = 0) -> Camera | None:
    """Return a camera.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    seed : int
        0 is the preset; every other number is another device of the same kind.

    Returns
    -------
    Camera or None
        None for the ideal camera, of which there is one.

    Raises
    ------
    UserError
        The kind is unknown, or the seed is negative.
    """
    if kind not in KINDS:
        raise UserError(f"--camera is {kind}, expected {', '.join(KINDS)}")
    if seed < 0:
        raise UserError(f"--camera-seed is {seed}, expected at least 0")
    if kind == IDEAL:
        return None
    preset = PRESETS[kind]
    return _vary(preset, np.random.default_rng([KINDS.index(kind), seed]), seed) if seed else preset


def _vary(camera: Camera, rng: np.random.Generator, seed: int) -> Camera:
    """Another device: filters, matrix, curve, lift and finish vary by a tenth to a third."""

    def near(value: float, spread: float) -> float:
        return float(value * np.exp(rng.uniform(-spread, spread)))

    filters = np.array(camera.filters) + rng.uniform(-0.05, 0.05, (3, 3))
    filters = np.maximum(filters, 0)
    filters /= filters.sum(1, keepdims=True)
    red, green, blue = camera.white_balance
    curve, lift = camera.curve, camera.lift
    return replace(
        camera,
        filters=tuple(tuple(float(v) for v in row) for row in filters),  # type: ignore[misc]
        white_balance=(max(near(red, 0.25), 1.0), green, max(near(blue, 0.25), 1.0)),
        curve=ToneCurve(near(curve.shoulder, 0.3), near(curve.toe, 0.4), near(curve.crush, 0.5)),
        lift=lift and replace(lift, strength=near(lift.strength, 0.3), limit=near(lift.limit, 0.2)),
        saturation=near(camera.saturation, 0.06),
        hue=float(rng.uniform(-np.pi, np.pi)),
        denoise=near(camera.denoise, 0.3),
        sharpen=near(camera.sharpen, 0.4),
        radius=near(camera.radius, 0.2),
        quality=int(rng.integers(camera.quality - 4, min(camera.quality + 4, 97) + 1)),
        error_seed=seed,
    )
