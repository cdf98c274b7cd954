"""Draw synthetic objects that move through a sample.

No real bracket has a label for an object that moves where the reference clips. A synthetic object
is a cutout of the bracket's own radiance with a random outline. It moves, rotates and deforms from
frame to frame, and hides the background. `labelgen.samples.compose` composites it into the frames.
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
"""Random cutouts that are tried. The one that needs the least gain becomes the texture."""
MAX_GAIN_STOPS = 5.0
"""Cutouts that need more gain than this are not used: noise and rounding would show."""
MIN_LEVEL = 2.0**-10
"""Smaller medians count as this; 1.0 is the clip of the shortest frame."""
MAX_LOG2_LEVEL = -0.5
"""An object is not brighter than this in the median, so that it does not clip in all frames."""


@dataclass(frozen=True)
class MovingObject:
    """An object that moves over the F frames of a sample.

    In the reference it is neither rotated, scaled nor deformed.
    """

    image: Float
    """(S, S, 4) float32: radiance times coverage, and coverage."""
    poses: tuple[Array, ...]
    """F affine maps (2, 3) from pixels (x, y) of the patch to pixels of `image`."""
    ripples: Float
    """(F, 4, 4, 2) float32: deformation in px, on a coarse grid over the patch."""
    velocity: Array
    """(2,) px per frame, (x, y)."""
    shadow: Array | None
    """(2,) px from the object to its shadow, (x, y); None if it casts none."""


@dataclass(frozen=True)
class Background:
    """The sample without moving objects, and the frame that it is cut from."""

    label: Float
    """(P, P, 3) float32 radiance of the sample, 1.0 where the shortest frame clips."""
    clipped: Mask
    """(P, P) bool: where the reference clips."""
    frame_radiance: Float | Half
    """(H, W, 3) radiance of the full frame, the source of textures."""
    frame_weight: Bytes
    """(H, W) uint8 weight of the full frame."""
    ev: tuple[float, ...]
    """F exposures in stops relative to the shortest."""
    reference: int
    """Index of the reference frame."""


def draw_moving_objects(
    rng: np.random.Generator, background: Background, motion: MotionStats, settings: Pieces
) -> list[MovingObject]:
    """Draw random moving objects for one sample.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    background : Background
        The sample that they are composited into.
    motion : MotionStats
        Sizes and speeds of real moving objects in the bracket.
    settings : Pieces
        Ranges of the draws.

    Returns
    -------
    list of MovingObject
        From back to front. Objects without a trusted cutout of the frame are dropped.
    """
    count = rng.integers(1, settings.most + 1)
    drawn = [_draw_moving_object(rng, background, motion, settings) for _ in range(count)]
    return [o for o in drawn if o is not None]


def _draw_moving_object(
    rng: np.random.Generator, background: Background, motion: MotionStats, settings: Pieces
) -> MovingObject | None:
    side, frames = background.clipped.shape[0], len(background.ev)
    size, speed = _draw_size_and_speed(rng, side, motion, settings)
    middle = _draw_position(rng, background.clipped, size, settings)
    coverage = draw_outline(rng, size, rng.random() < settings.thin)
    texture = _cut_texture(rng, background, middle, coverage, settings)
    if texture is None:
        return None
    angle = rng.uniform(0, 2 * np.pi)
    velocity = speed * np.array([np.cos(angle), np.sin(angle)])
    poses, ripples = [], rng.normal(0, settings.ripple * size, (frames, 4, 4, 2))
    for i in range(frames):
        step = i - background.reference
        turn, zoom = rng.normal(0, settings.turn) * step, 1 + rng.normal(0, settings.zoom)
        position = middle + step * rng.uniform(0.7, 1.3) * velocity
        pose = cv2.getRotationMatrix2D(position.tolist(), turn, zoom if step else 1)
        pose[:, 2] += (np.array(coverage.shape[::-1]) - 1) / 2 - position
        poses.append(pose)
    ripples[background.reference] = 0
    shadow = rng.uniform(3, 0.15 * side + 3, 2) * rng.choice([-1, 1], 2)
    casts_shadow = rng.random() < settings.shadow
    image = np.concatenate([texture * coverage[..., None], coverage[..., None]], -1)
    return MovingObject(
        image,
        tuple(poses),
        ripples.astype(np.float32),
        velocity,
        shadow if casts_shadow else None,
    )


def _draw_size_and_speed(
    rng: np.random.Generator, side: int, motion: MotionStats, settings: Pieces
) -> tuple[int, float]:
    """Draw the side (px) and speed (px per frame) of an object, as measured or from the ranges."""
    low, high = settings.size_low * side, settings.size_high * side
    size = np.exp(rng.uniform(np.log(low), np.log(high)))
    speed = np.exp(rng.uniform(np.log(settings.speed_low + 0.1), np.log(settings.speed_high + 0.1)))
    choice, factors = rng.integers(1 << 30), np.exp2(rng.uniform(-0.5, 0.5, 2))
    if rng.random() < settings.measured and len(motion.sizes):
        k = int(choice % len(motion.sizes))
        size, speed = motion.sizes[k] * factors[0], motion.speeds[k] * factors[1]
    return max(8, round(float(np.clip(size, low, high)))), float(speed)


def _draw_position(rng: np.random.Generator, clipped: Mask, size: int, settings: Pieces) -> Array:
    """Draw the middle (x, y) of an object in the patch: near a clipped pixel, or anywhere."""
    side = clipped.shape[0]
    anywhere, offset = rng.uniform(0, side, 2), rng.normal(0, size / 3, 2)
    at_clipped, choice = rng.random() < settings.at_clipped, rng.random()
    ys, xs = np.nonzero(clipped)
    if not (at_clipped and len(ys)):
        return anywhere
    k = int(choice * len(ys))
    return np.clip(np.array([xs[k], ys[k]]) + offset, 0, side - 1)


def _cut_texture(
    rng: np.random.Generator,
    background: Background,
    middle: Array,
    coverage: Float,
    settings: Pieces,
) -> Float | None:
    """Radiance (S, S, 3) of an object: a rotated, mirrored cutout of the frame, with a gain."""
    size, (height, width) = len(coverage), background.frame_weight.shape
    log2_level = _draw_log2_level(rng, background, middle, size, settings)
    inside = coverage > 0.5
    best, least_gain = None, MAX_GAIN_STOPS
    for _ in range(TEXTURE_TRIES):
        x, y = rng.uniform(0, (width - 1, height - 1))
        angle, mirror = rng.uniform(0, 360), rng.choice([-1.0, 1.0])
        to_frame = cv2.getRotationMatrix2D((size / 2, size / 2), angle, 1)
        to_frame[0] *= mirror
        to_frame[:, 2] += (x, y) - to_frame @ np.array([size / 2, size / 2, 1])
        corners = to_frame @ np.array([[0, size, 0, size], [0, 0, size, size], [1, 1, 1, 1]])
        if (corners.min(1) < 0).any() or (corners.max(1) >= (width - 1, height - 1)).any():
            continue
        x0, y0 = np.floor(corners.min(1)).astype(int)
        x1, y1 = np.ceil(corners.max(1)).astype(int)
        region = np.s_[y0 : y1 + 1, x0 : x1 + 1]
        if (background.frame_weight[region] < 128).mean() > 0.1:
            continue
        to_frame[:, 2] -= (x0, y0)
        texture = cv2.warpAffine(
            background.frame_radiance[region].astype(np.float32),
            to_frame,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        level = float(np.median(max_channel(texture)[inside]))
        gain = log2_level - np.log2(max(level, MIN_LEVEL))
        if abs(gain) < least_gain:
            best, least_gain = np.minimum(texture * np.float32(2.0**gain), 1), abs(gain)
    return best


def _draw_log2_level(
    rng: np.random.Generator, background: Background, middle: Array, size: int, settings: Pieces
) -> float:
    """Draw the median radiance of an object, as log2: bright, dark, or like its surroundings."""
    x, y = (round(float(v)) for v in middle)
    reach = max(size // 2, 4)
    around = np.s_[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach]
    level = float(np.median(max_channel(background.label[around])))
    log2_level = np.log2(max(level, MIN_LEVEL))
    kind, amount, offset = rng.random(), rng.random(), rng.normal(0, settings.alike_stops)
    if kind < settings.bright:
        clip = background.ev[0] - background.ev[background.reference]
        return min(clip + amount * settings.bright_stops, MAX_LOG2_LEVEL)
    if kind < settings.bright + settings.dark:
        return log2_level - amount * settings.dark_stops
    return min(log2_level + offset, MAX_LOG2_LEVEL)
