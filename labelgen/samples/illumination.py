"""Synthetic light: gains over a patch that look as light falls.

SS-HDR (arXiv 2203.12311) shows a soft straight edge. Spots, windows and clouds are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from labelgen.core.arrays import Array, Float
from labelgen.core.settings import Illumination

WAVES = 8
"""Clouds are a sum of so many plane waves."""


def smooth_step(t: Array) -> Array:
    """0 below 0, 1 above 1, and a smooth rise between."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


@dataclass(frozen=True)
class Edge:
    """A soft straight edge: 0 on one side, 1 on the other.

    `angle` (radians) is the direction in which it grows, `at` its middle in pixels from the
    centre of the patch, `ramp` the width of the edge in pixels.
    """

    angle: float
    at: float
    ramp: float

    def __call__(self, ys: Array, xs: Array) -> Array:
        """Brightness (0..1) at pixels relative to the centre of the patch."""
        along = np.cos(self.angle) * xs + np.sin(self.angle) * ys - self.at
        return smooth_step(along / self.ramp + 0.5)


@dataclass(frozen=True)
class Spot:
    """An elliptic Gaussian: its middle (y, x) and two sigmas in pixels, turned by an angle."""

    middle: tuple[float, float]
    sigmas: tuple[float, float]
    angle: float

    def __call__(self, ys: Array, xs: Array) -> Array:
        """Brightness (0..1) at pixels relative to the centre of the patch."""
        y, x = ys - self.middle[0], xs - self.middle[1]
        along = np.cos(self.angle) * x + np.sin(self.angle) * y
        across = np.cos(self.angle) * y - np.sin(self.angle) * x
        return np.exp(-0.5 * ((along / self.sigmas[0]) ** 2 + (across / self.sigmas[1]) ** 2))


@dataclass(frozen=True)
class Window:
    """What lies inside of four soft edges, as a window throws it on a wall."""

    edges: tuple[Edge, ...]

    def __call__(self, ys: Array, xs: Array) -> Array:
        """Brightness (0..1) at pixels relative to the centre of the patch."""
        product = self.edges[0](ys, xs)
        for edge in self.edges[1:]:
            product = product * edge(ys, xs)
        return product


@dataclass(frozen=True)
class Clouds:
    """Smooth noise, as leaves or clouds throw it: plane waves (y, x in radians/px, phase)."""

    waves: tuple[tuple[float, float, float], ...]

    def __call__(self, ys: Array, xs: Array) -> Array:
        """Brightness (0..1) at pixels relative to the centre of the patch."""
        # sin(a + b), of rows and columns apart: the sines of a few numbers, not of every pixel.
        total = sum(
            np.sin(ky * ys + phase) * np.cos(kx * xs) + np.cos(ky * ys + phase) * np.sin(kx * xs)
            for ky, kx, phase in self.waves
        )
        return smooth_step(0.5 + total / np.sqrt(2 * len(self.waves)) / 2)


Shape: TypeAlias = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Gain:
    """Light of a shape: 0 stops where that is 0, `stops` where it is 1."""

    stops: float
    shape: Shape

    def field(self, ys: Float, xs: Float) -> Float:
        """The gain (factor, float32) at pixels relative to the centre of the patch."""
        return np.exp2(self.stops * self.shape(ys, xs)).astype(np.float32)


def draw_gain(
    rng: np.random.Generator, side: int, headroom: float, settings: Illumination
) -> Gain | None:
    """A random gain, or None if it would push the label above 1.0.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    side : int
        Side of the patch in pixels.
    headroom : float
        Stops between the brightest of the label and 1.0.
    settings : Illumination
        Kinds and ranges of the draws.
    """
    high = min(settings.gain_high, headroom)
    stops, angle = rng.uniform(settings.gain_low, settings.gain_high), rng.uniform(0, 2 * np.pi)
    at = rng.uniform(-0.25, 0.25) * side
    ramp = rng.uniform(settings.ramp_low, settings.ramp_high) * side
    edge = Edge(angle, at, ramp)
    any_kind = settings.kinds == "any"
    shape = KINDS[int(rng.integers(len(KINDS)))](rng, side, edge) if any_kind else edge
    return None if high < settings.gain_low else Gain(min(stops, high), shape)


def _spot(rng: np.random.Generator, side: int, edge: Edge) -> Shape:
    y, x = rng.uniform(-0.4, 0.4, 2) * side
    a, b = rng.uniform(0.12, 0.4, 2) * side
    return Spot((float(y), float(x)), (float(a), float(b)), edge.angle)


def _window(rng: np.random.Generator, side: int, edge: Edge) -> Shape:
    """Four edges about a random middle, turned against each other a little, as in perspective."""
    middle, half = rng.uniform(-0.25, 0.25, 2) * side, rng.uniform(0.15, 0.4, 4) * side
    angles = edge.angle + np.arange(4) * np.pi / 2 + rng.normal(0, 0.15, 4)
    ramp = edge.ramp * rng.uniform(0.1, 0.7)
    edges = [
        Edge(float(a + np.pi), float(-h - np.array([np.sin(a), np.cos(a)]) @ middle), float(ramp))
        for a, h in zip(angles, half, strict=True)
    ]
    return Window(tuple(edges))


def _clouds(rng: np.random.Generator, side: int, edge: Edge) -> Shape:
    """Waves of a length of about the patch and less, in all directions."""
    length, way = np.exp2(rng.uniform(-2, 0.5, WAVES)) * side, rng.uniform(0, 2 * np.pi, WAVES)
    k, phase = 2 * np.pi / length, rng.uniform(0, 2 * np.pi, WAVES)
    waves = zip(k * np.sin(way), k * np.cos(way), phase, strict=True)
    return Clouds(tuple((float(a), float(b), float(c)) for a, b, c in waves))


def _edge(rng: np.random.Generator, side: int, edge: Edge) -> Shape:
    return edge


KINDS: Sequence[Callable[[np.random.Generator, int, Edge], Shape]] = (
    _edge,
    _spot,
    _window,
    _clouds,
)
