"""Cameras whose codes are not gamma 2.2: simulated brackets as they would store them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from labelgen.calibration.comparagram import compare_neighbours, downsample_codes
from labelgen.calibration.response_curve import View
from labelgen.core.response import GAMMA
from labelgen.simulate import SimulatedBracket, write_bracket
from tests.conftest import EV, make_scene

Curve = Callable[[np.ndarray], np.ndarray]
"""Codes (0..1) of light (0..1)."""


def gamma22(light: np.ndarray) -> np.ndarray:
    return np.asarray(light ** (1 / GAMMA))


def film(light: np.ndarray) -> np.ndarray:
    """Deep shadows and bright lights of a picture style."""
    code = light ** (1 / GAMMA)
    return np.asarray(code - 0.08 * np.sin(2 * np.pi * code))


def soft(light: np.ndarray) -> np.ndarray:
    """The opposite: raised shadows."""
    code = light ** (1 / GAMMA)
    return np.asarray(code + 0.06 * np.sin(np.pi * code))


def srgb(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def power(gamma: float) -> Curve:
    return lambda light: np.asarray(light ** (1 / gamma))


def stored(simulated: SimulatedBracket, curve: Curve) -> list[np.ndarray]:
    """The frames (H, W, 3) uint8 as a camera of that curve stores them."""
    light = (np.arange(65536) / 65535) ** GAMMA
    table = np.rint(255 * np.clip(curve(light), 0, 1)).astype(np.uint8)
    return [table[codes] for codes in simulated.codes]


def write_stored(
    folder: Path,
    simulated: SimulatedBracket,
    curve: Curve,
    stated: Sequence[float] = EV,
    suffix: str = "png",
) -> None:
    """A bracket with truth in the SIGGRAPH'17 layout, of 8-bit frames."""
    write_bracket(folder, simulated, stated)
    for i, codes in enumerate(stored(simulated, curve), 1):
        (folder / f"input_{i}.tif").unlink()
        cv2.imwrite(str(folder / f"input_{i}.{suffix}"), codes[..., ::-1])


@cache
def scene(
    seed: int, ev: tuple[float, ...] = EV, shake: float = 0.0, pieces: int = 2
) -> SimulatedBracket:
    return make_scene(200 + seed, (240, 336), ev=ev, shake=shake, pieces=pieces)


def view(
    simulated: SimulatedBracket, curve: Curve, stated: Sequence[float] = EV, key: str = "camera"
) -> View:
    """What calibration is given of a bracket whose exposures are stated that way."""
    frames = [downsample_codes(codes) for codes in stored(simulated, curve)]
    compared = compare_neighbours(frames, stated)
    places = np.array(compared.places).reshape(-1, 7)
    return View(key, tuple(stated), compared.ridge, places)
