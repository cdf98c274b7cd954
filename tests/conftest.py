"""Scenes that the tests make themselves, with known radiance."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from labelgen.core.bracket import Stack
from labelgen.simulate import (
    MARGIN,
    SceneSettings,
    SimulatedBracket,
    invent_scene,
    render,
    write_bracket,
)

EV = (0.0, 2.0, 4.0)


def make_scene(
    seed: int = 0, size: tuple[int, int] = (288, 400), **settings: object
) -> SimulatedBracket:
    rng = np.random.default_rng([99, seed])
    radiance = invent_scene(rng, size[0] + 2 * MARGIN, size[1] + 2 * MARGIN)
    return render(rng, radiance, SceneSettings(**{"ev": EV, **settings}))  # type: ignore[arg-type]


def stack_of(simulated: SimulatedBracket, ev: tuple[float, ...] = EV) -> Stack:
    return Stack(simulated.codes, ev, len(ev) // 2)


def mu(x: np.ndarray) -> np.ndarray:
    return np.log1p(5000 * np.clip(x, 0, 1)) / np.log1p(5000)


def psnr_mu(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(np.mean((mu(a) - mu(b)) ** 2) + 1e-12))


@pytest.fixture(scope="session")
def tripod() -> SimulatedBracket:
    """Nothing moves, not even the camera."""
    return make_scene(1, shake=0.0, pieces=0)


@pytest.fixture(scope="session")
def handheld() -> SimulatedBracket:
    """The camera moves, nothing else."""
    return make_scene(2, shake=3.0, pieces=0)


@pytest.fixture(scope="session")
def dynamic() -> SimulatedBracket:
    """Things and the camera move."""
    return make_scene(3, shake=1.5, pieces=4)


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of four brackets: moving, static, with five frames, and one nested."""
    folder = tmp_path_factory.mktemp("data") / "raw"
    size = (200, 280)
    write_bracket(folder / "moving", make_scene(4, size), EV)
    write_bracket(folder / "static", make_scene(5, size, pieces=0, shake=0.0), EV)
    five = (0.0, 1.0, 2.0, 3.0, 4.0)
    write_bracket(folder / "five", make_scene(6, size, ev=five, shake=0.0), five)
    write_bracket(folder / "trip 1" / "é 2", make_scene(7, size, pieces=1), EV)
    return folder


@pytest.fixture(scope="session")
def real() -> Path:
    """Real brackets, where LABELGEN_TEST_DATA names a folder that holds brackets/."""
    where = os.environ.get("LABELGEN_TEST_DATA")
    if not where or not (Path(where) / "brackets").is_dir():
        pytest.skip("LABELGEN_TEST_DATA does not name a folder with real brackets")
    return Path(where) / "brackets"
