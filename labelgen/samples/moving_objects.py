"""Things that move by themselves, laid into all frames and the label of a sample.

What moves before a clipped reference, no real bracket can label. A piece is a cut of the
bracket's own radiance behind a random outline that moves, turns and deforms from frame to frame
and hides what is behind it. Here they are drawn; `labelgen.samples.compose` lays them into frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from labelgen.core.arrays import Array, Bytes, Float, Half, Mask, max_channel
from labelgen.core.settings import Pieces
from labelgen.samples.motion_stats import MotionStats
from labelgen.samples.shapes import draw_outline

TEXTURE_TRIES = 4
"""Of so many random cuts the one that needs the least gain becomes the texture."""
MAX_STOPS = 5.0
"""No texture is brightened or darkened by more: its own noise and rounding would show."""
MIN_MEDIAN = 2.0**-10
"""A median below this (1.0 is the clip of the shortest frame) is taken as this."""


@dataclass(frozen=True)
class MovingObject:
    """A moving thing, over a sample of F frames.

    `light` (S, S, 4) float32 is radiance times cover, and cover; `poses` are F affine maps (2, 3)
    from the patch to it, by (x, y) in px; `ripples` (F, 4, 4, 2) float32 px of deformation, a
    coarse grid over the patch; `velocity` (2,) px per frame; `shadow` (x, y) px of its shadow, or
    None. In the reference it stands as it is: ripple 0, neither turned nor zoomed.
    """

    light: Float
    poses: tuple[Array, ...]
    ripples: Float
    velocity: Array
    shadow: Array | None


@dataclass(frozen=True)
class Background:
    """What pieces are drawn for: the sample as it is without them.

    `label` (P, P, 3) float32 radiance, 1.0 where the shortest clips; `clipped` (P, P) bool where
    the reference clips; `source` (H, W, 3) float16 or float32 radiance of the full frame, for
    textures, and `trust` (H, W) uint8 its weight; `ev` (F,) the exposures in stops relative to the
    shortest, `reference` the index of the reference.
    """

    label: Float
    clipped: Mask
    source: Float | Half
    trust: Bytes
    ev: tuple[float, ...]
    reference: int


def draw_moving_objects(
    rng: np.random.Generator, scene: Background, moves: MotionStats, settings: Pieces
) -> list[MovingObject]:
    """Random pieces for one sample, the hindmost first.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of chance.
    scene : Scene
        What they are laid into.
    moves : Moves
        Sizes and speeds that the bracket shows.
    settings : Pieces
        Ranges of the draws.

    Returns
    -------
    list of Piece
        Fewer than drawn where no cut of the frame is trusted.
    """
    pieces = [
        _draw_moving_object(rng, scene, moves, settings)
        for _ in range(rng.integers(1, settings.most + 1))
    ]
    return [p for p in pieces if p is not None]


def _draw_moving_object(
    rng: np.random.Generator, scene: Background, moves: MotionStats, settings: Pieces
) -> MovingObject | None:
    side, frames = scene.clipped.shape[0], len(scene.ev)
    size, speed = _draw_size_and_speed(rng, side, moves, settings)
    middle = _draw_position(rng, scene.clipped, size, settings)
    cover = draw_outline(rng, size, rng.random() < settings.thin)
    texture = _cut_texture(rng, scene, middle, cover, settings)
    if texture is None:
        return None
    angle = rng.uniform(0, 2 * np.pi)
    velocity = speed * np.array([np.cos(angle), np.sin(angle)])
    poses, ripples = [], rng.normal(0, settings.ripple * size, (frames, 4, 4, 2))
    for i in range(frames):
        step, still = i - scene.reference, i == scene.reference
        turn, zoom = rng.normal(0, settings.turn) * step, 1 + rng.normal(0, settings.zoom)
        at = middle + step * rng.uniform(0.7, 1.3) * velocity
        pose = cv2.getRotationMatrix2D(at.tolist(), turn, 1 if still else zoom)
        pose[:, 2] += (np.array(cover.shape[::-1]) - 1) / 2 - at
        poses.append(pose)
    ripples[scene.reference] = 0
    shadow = rng.uniform(3, 0.15 * side + 3, 2) * rng.choice([-1, 1], 2)
    light = np.concatenate([texture * cover[..., None], cover[..., None]], -1)
    casts = rng.random() < settings.shadow
    return MovingObject(
        light, tuple(poses), ripples.astype(np.float32), velocity, shadow if casts else None
    )


def _draw_size_and_speed(
    rng: np.random.Generator, side: int, moves: MotionStats, settings: Pieces
) -> tuple[int, float]:
    """Side of a piece (px) and its speed (px per frame): as measured, or from the ranges."""
    low, high = settings.size_low * side, settings.size_high * side
    size = np.exp(rng.uniform(np.log(low), np.log(high)))
    speed = np.exp(rng.uniform(np.log(settings.speed_low + 0.1), np.log(settings.speed_high + 0.1)))
    like, factors = rng.integers(1 << 30), np.exp2(rng.uniform(-0.5, 0.5, 2))
    if rng.random() < settings.measured and len(moves.sizes):
        k = int(like % len(moves.sizes))
        size, speed = moves.sizes[k] * factors[0], moves.speeds[k] * factors[1]
    return max(8, round(float(np.clip(size, low, high)))), float(speed)


def _draw_position(rng: np.random.Generator, clipped: Mask, size: int, settings: Pieces) -> Array:
    """Middle (x, y) of a piece in the patch: over what clips or at its border, or anywhere."""
    side = clipped.shape[0]
    anywhere, about = rng.uniform(0, side, 2), rng.normal(0, size / 3, 2)
    chosen, which = rng.random() < settings.at_clipped, rng.random()
    ys, xs = np.nonzero(clipped)
    if not (chosen and len(ys)):
        return anywhere
    k = int(which * len(ys))
    return np.clip(np.array([xs[k], ys[k]]) + about, 0, side - 1)


def _cut_texture(
    rng: np.random.Generator, scene: Background, middle: Array, cover: Float, settings: Pieces
) -> Float | None:
    """Radiance (S, S, 3) of a piece: a cut of the frame, turned, mirrored, at a random level."""
    size, (height, width) = len(cover), scene.trust.shape
    wanted, inside = _draw_level(rng, scene, middle, size, settings), cover > 0.5
    best, least = None, MAX_STOPS
    for _ in range(TEXTURE_TRIES):
        x, y = rng.uniform(0, (width - 1, height - 1))
        turn, mirrored = rng.uniform(0, 360), rng.choice([-1.0, 1.0])
        cut = cv2.getRotationMatrix2D((size / 2, size / 2), turn, 1)
        cut[0] *= mirrored
        cut[:, 2] += (x, y) - cut @ np.array([size / 2, size / 2, 1])
        corners = cut @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]])
        if (corners.min(1) < 0).any() or (corners.max(1) >= (width - 1, height - 1)).any():
            continue
        (x0, y0), (x1, y1) = (
            np.floor(corners.min(1)).astype(int),
            np.ceil(corners.max(1)).astype(int),
        )
        around = np.s_[y0 : y1 + 1, x0 : x1 + 1]
        if (scene.trust[around] < 128).mean() > 0.1:
            continue
        cut[:, 2] -= (x0, y0)
        texture = cv2.warpAffine(
            scene.source[around].astype(np.float32),
            cut,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        stops = wanted - np.log2(max(float(np.median(max_channel(texture)[inside])), MIN_MEDIAN))
        if abs(stops) < least:
            best, least = np.minimum(texture * np.float32(2.0**stops), 1), abs(stops)
    return best


def _draw_level(
    rng: np.random.Generator, scene: Background, middle: Array, size: int, settings: Pieces
) -> float:
    """Wanted median of a piece, as log2 of radiance."""
    x, y = (round(float(v)) for v in middle)
    reach = max(size // 2, 4)
    around = max_channel(scene.label[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach])
    level = np.log2(max(float(np.median(around)), MIN_MEDIAN))
    kind, amount, about = rng.random(), rng.random(), rng.normal(0, settings.alike_stops)
    if kind < settings.bright:
        above = scene.ev[0] - scene.ev[scene.reference]
        return min(above + amount * settings.bright_stops, -0.5)
    if kind < settings.bright + settings.dark:
        return level - amount * settings.dark_stops
    return min(level + about, -0.5)
