"""Cameras whose codes are not gamma 2.2: simulated brackets as they would store them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np

from labelgen.calibration.comparagram import compare_neighbours, downsample_codes
from labelgen.calibration.response_curve import View
from labelgen.core.mixing import NO_MIXING, PROPHOTO_TO_SRGB, Mixing, decode_srgb
from labelgen.core.response import CURVE_SAMPLES, GAMMA, Response
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
    return _view(stored(simulated, curve), stated, key)


def view_of_colours(simulated: SimulatedBracket, camera: Curve) -> View:
    """The same, of a camera that is no curve per channel: codes (H, W, 3) of light (H, W, 3)."""
    lights = ((codes / np.float64(65535)) ** GAMMA for codes in simulated.codes)
    frames = [np.rint(255 * np.clip(camera(light), 0, 1)).astype(np.uint8) for light in lights]
    return _view(frames, EV, "camera")


def _view(frames: Sequence[np.ndarray], stated: Sequence[float], key: str) -> View:
    compared = compare_neighbours([downsample_codes(codes) for codes in frames], stated)
    places = np.array(compared.places).reshape(-1, 7)
    return View(key, tuple(stated), compared.ridge, places)


def estimated(curve: Curve, mixing: Mixing = NO_MIXING) -> Response:
    """The true response of a camera with that curve in each channel, and that mixing.

    A curve that keeps the hue acts on light in the encoding of sRGB, see `hue_keeping`.
    """
    gamma = np.linspace(0, 1, 20001)
    values = np.interp(np.linspace(0, 1, CURVE_SAMPLES), curve(gamma**GAMMA), gamma)
    values[[0, -1]] = 0, 1
    return Response("estimated", (tuple(values.tolist()),) * 3, mixing)


def saturated(light: np.ndarray, curve: Curve, amount: float) -> np.ndarray:
    """Codes (..., 3) of a camera that multiplies the distance to grey after its curve."""
    codes = curve(np.clip(light, 0, 1))
    grey = (codes @ [0.299, 0.587, 0.114])[..., None]
    return np.clip(grey + amount * (codes - grey), 0, 1)


def hue_keeping(light: np.ndarray, curve: Curve, amount: float = 1.0) -> np.ndarray:
    """Codes (..., 3) of a RAW converter, whose curve keeps the hue in a wide space.

    Grey light gets the codes of `curve`; sRGB encodes what the tone curve made of the light.
    """
    to_srgb = (1 - amount) * np.eye(3) + amount * PROPHOTO_TO_SRGB
    wide = np.clip(np.clip(light, 0, 1) @ np.linalg.inv(to_srgb).T, 0, 1)
    low, middle, high = np.sort(wide, -1).T
    new_low, new_high = (decode_srgb(curve(x)) for x in (low, high))
    new_middle = new_low + (middle - low) / np.maximum(high - low, 1e-9) * (new_high - new_low)
    sorted_codes = np.stack([new_low, new_middle, new_high]).T
    toned = np.take_along_axis(sorted_codes, wide.argsort(-1).argsort(-1), -1)
    return np.asarray(srgb(np.clip(toned @ to_srgb.T, 0, 1)))
