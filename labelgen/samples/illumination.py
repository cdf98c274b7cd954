"""Synthetic light: gains over a patch that vary as light does.

SS-HDR (arXiv 2203.12311) shows a soft straight edge. Spots, windows and clouds are ours. A shape
is a function of pixel coordinates (y, x) relative to the centre of the patch, with values of 0
(no gain) to 1 (full gain).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from labelgen.core.arrays import Array, Float
from labelgen.core.settings import Illumination

CLOUD_WAVES = 8
"""Plane waves that add up to clouds."""

Shape: TypeAlias = Callable[[Array, Array], Array]


@dataclass(frozen=True)
class Gain:
    """A gain of 0 stops where its shape is 0, and of `stops` where its shape is 1."""

    stops: float
    shape: Shape

    def field(self, ys: Float, xs: Float) -> Float:
        """Gain (factor, float32) at pixels relative to the centre of the patch.

        >>> Gain(2.0, Edge(0.0, 0.0, 1.0)).field(np.float32(0), np.float32([-9, 9])).tolist()
        [1.0, 4.0]
        """
        return np.exp2(self.stops * self.shape(ys, xs)).astype(np.float32)


@dataclass(frozen=True)
class Edge:
    """A soft straight edge: 0 on one side, 1 on the other."""

    angle: float
    """Direction (radians) in which it rises."""
    offset: float
    """Distance (px) of its middle from the centre of the patch."""
    ramp: float
    """Width (px) of the rise."""

    def __call__(self, ys: Array, xs: Array) -> Array:
        """Value at pixels."""
        distance = np.cos(self.angle) * xs + np.sin(self.angle) * ys - self.offset
        return smooth_step(distance / self.ramp + 0.5)


@dataclass(frozen=True)
class Spot:
    """An elliptic Gaussian."""

    middle: tuple[float, float]
    """(y, x) px."""
    sigmas: tuple[float, float]
    """px along and across `angle`."""
    angle: float
    """Radians."""

    def __call__(self, ys: Array, xs: Array) -> Array:
        """Value at pixels."""
        y, x = ys - self.middle[0], xs - self.middle[1]
        along = np.cos(self.angle) * x + np.sin(self.angle) * y
        across = np.cos(self.angle) * y - np.sin(self.angle) * x
        return np.exp(-0.5 * ((along / self.sigmas[0]) ** 2 + (across / self.sigmas[1]) ** 2))


@dataclass(frozen=True)
class Window:
    """The product of edges: light that falls through a window onto a wall."""

    edges: tuple[Edge, ...]

    def __call__(self, ys: Array, xs: Array) -> Array:
        """Value at pixels."""
        product = self.edges[0](ys, xs)
        for edge in self.edges[1:]:
            product = product * edge(ys, xs)
        return product


@dataclass(frozen=True)
class Clouds:
    """Smooth noise, like the shade of leaves or clouds: a sum of plane waves."""

    waves: tuple[tuple[float, float, float], ...]
    """Wave vector (y, x) in radians/px, and phase in radians."""

    def __call__(self, ys: Array, xs: Array) -> Array:
        """Value at pixels."""
        # sin(a + b) expanded: sines of rows and of columns, instead of one for every pixel.
        total = sum(
            np.sin(ky * ys + phase) * np.cos(kx * xs) + np.cos(ky * ys + phase) * np.sin(kx * xs)
            for ky, kx, phase in self.waves
        )
        return smooth_step(0.5 + total / np.sqrt(2 * len(self.waves)) / 2)


def smooth_step(t: Array) -> Array:
    """Return 0 below 0, 1 above 1, and a smooth rise in between.

    >>> smooth_step(np.array([-1, 0.25, 0.5, 2])).tolist()
    [0.0, 0.15625, 0.5, 1.0]
    """
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def draw_gain(
    rng: np.random.Generator, side: int, headroom: float, settings: Illumination
) -> Gain | None:
    """Draw a random gain.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    side : int
        Side of the patch in pixels.
    headroom : float
        Stops between the brightest part of the label and 1.0. It limits the gain.
    settings : Illumination
        Kinds and ranges of the draws.

    Returns
    -------
    Gain or None
        None if the headroom is below the smallest gain.
    """
    high = min(settings.gain_high, headroom)
    stops, angle = rng.uniform(settings.gain_low, settings.gain_high), rng.uniform(0, 2 * np.pi)
    offset = rng.uniform(-0.25, 0.25) * side
    ramp = rng.uniform(settings.ramp_low, settings.ramp_high) * side
    edge = Edge(angle, offset, ramp)
    any_kind = settings.kinds == "any"
    shape = KINDS[int(rng.integers(len(KINDS)))](rng, side, edge) if any_kind else edge
    return None if high < settings.gain_low else Gain(min(stops, high), shape)


def _draw_edge(rng: np.random.Generator, side: int, edge: Edge) -> Shape:
    return edge


def _draw_spot(rng: np.random.Generator, side: int, edge: Edge) -> Shape:
    y, x = rng.uniform(-0.4, 0.4, 2) * side
    a, b = rng.uniform(0.12, 0.4, 2) * side
    return Spot((float(y), float(x)), (float(a), float(b)), edge.angle)


def _draw_window(rng: np.random.Generator, side: int, edge: Edge) -> Shape:
    """Draw four edges around a random middle, tilted slightly as in perspective."""
    middle, half = rng.uniform(-0.25, 0.25, 2) * side, rng.uniform(0.15, 0.4, 4) * side
    angles = edge.angle + np.arange(4) * np.pi / 2 + rng.normal(0, 0.15, 4)
    ramp = edge.ramp * rng.uniform(0.1, 0.7)
    edges = [
        Edge(float(a + np.pi), float(-h - np.array([np.sin(a), np.cos(a)]) @ middle), float(ramp))
        for a, h in zip(angles, half, strict=True)
    ]
    return Window(tuple(edges))


def _draw_clouds(rng: np.random.Generator, side: int, edge: Edge) -> Shape:
    """Draw waves in all directions, with lengths of 1/4 to 1.4 times the side of the patch."""
    length = np.exp2(rng.uniform(-2, 0.5, CLOUD_WAVES)) * side
    direction = rng.uniform(0, 2 * np.pi, CLOUD_WAVES)
    k, phase = 2 * np.pi / length, rng.uniform(0, 2 * np.pi, CLOUD_WAVES)
    waves = zip(k * np.sin(direction), k * np.cos(direction), phase, strict=True)
    return Clouds(tuple((float(a), float(b), float(c)) for a, b, c in waves))


KINDS: Sequence[Callable[[np.random.Generator, int, Edge], Shape]] = (
    _draw_edge,
    _draw_spot,
    _draw_window,
    _draw_clouds,
)
"""Draw a shape from the random generator, the side of the patch and an edge."""
