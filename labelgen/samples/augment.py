"""Samples from patches: real frames, synthetic motion, synthetic illumination.

Follows SS-HDR (arXiv 2203.12311): static and synthetic frames are moved by a random homography
that samples the full frame, so that content enters at the border; the label keeps the geometry
of the reference. Synthetic illumination (`illumination`) is a gain over the label. The frames
are modelled from the product, so that the reference clips what the short frame sees; or, ours,
the real frames get the same gain and keep their real motion, noise and misregistration. Moving
pieces (`labelgen.samples.moving_objects`, ours) come last, over all frames and the label.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from labelgen.core.arrays import (
    Array,
    Bytes,
    Codes,
    Float,
    Half,
    max_channel,
    quantile,
    to_float16,
    to_float32,
    to_three_channels,
    to_uint16,
)
from labelgen.core.bracket import Stack
from labelgen.core.recipe import Recipe
from labelgen.core.response import apply_gain, decode, encode, to_depth
from labelgen.core.settings import Warp
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.sample import Patch, Sample
from labelgen.labels.exposure import clipped
from labelgen.samples.compose import MIN_OPAQUE_COVER, can_be_shaded, composite, render_layer
from labelgen.samples.illumination import Gain, draw_gain
from labelgen.samples.motion_stats import NO_MOTION, MotionStats
from labelgen.samples.moving_objects import Background, draw_moving_objects
from labelgen.samples.patches import sample_count


@dataclass(frozen=True)
class LabelledBracket:
    """A bracket and its label, full frame.

    `stack` holds the frames as they were taken; `radiance` (H, W, 3) float16 or float32, 1.0
    where the shortest clips, and `weight` (H, W) uint8 are the label; `moves` is what it shows of
    motion.
    """

    stack: Stack
    radiance: Float | Half
    weight: Bytes
    moves: MotionStats = NO_MOTION


def make_samples(
    labelled: LabelledBracket,
    patches: Sequence[Patch],
    recipe: Recipe,
    name: str,
    seed: int,
    depth: int,
) -> Iterator[Sample]:
    """All samples of a bracket, patch by patch and variant by variant.

    Every draw is seeded by (seed, bracket, patch, variant). A patch without any augmentation is
    given once, however many variants are asked for.

    Parameters
    ----------
    labelled : Labelled
        The frames and their label.
    patches : sequence of Patch
        What to take.
    recipe : Recipe
        Its patches, illumination and warp settings.
    name : str
        Name of the bracket.
    seed : int
        Seed of the dataset.
    depth : {8, 16}
        Bits per sample of the inputs.

    Yields
    ------
    Sample
    """
    bracket = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], np.uint32).tolist()
    for patch in patches:
        plain = False
        for variant in range(sample_count(patch, recipe.patches)):
            rng = np.random.default_rng([seed, *bracket, patch.index, variant])
            change = draw_augmentation(rng, labelled, patch, recipe)
            sample = augment(labelled, patch, variant, change, recipe, depth)
            if change.pieces:
                sample = add_moving_objects(rng, sample, labelled, recipe)
            nothing = change.nothing and sample.patch == patch
            if not (nothing and plain):
                yield sample
            plain |= nothing


@dataclass(frozen=True)
class Augmentation:
    """What is done to one sample: light, or none; a homography for each frame, or none; pieces."""

    gain: Gain | None
    maps: tuple[Array | None, ...]
    pieces: bool = False

    @property
    def homographies(self) -> list[Array]:
        """Those of the frames that move."""
        return [m for m in self.maps if m is not None]

    @property
    def nothing(self) -> bool:
        """Whether the sample stays as it was taken, but for pieces."""
        return self.gain is None and not self.homographies


def draw_augmentation(
    rng: np.random.Generator, labelled: LabelledBracket, patch: Patch, recipe: Recipe
) -> Augmentation:
    """Draw the augmentation of one sample.

    The published method moves frames where they are static or modelled, and leaves what really
    moves its real motion; by `warp.patches` the others are moved as well.
    """
    side, stack = recipe.patches.size, labelled.stack
    gain = None
    if rng.random() < recipe.illumination.share:
        at = np.s_[patch.y : patch.y + side, patch.x : patch.x + side]
        top = max_channel(to_float32(labelled.radiance[at]))
        headroom = -math.log2(max(quantile(top.ravel(), 0.99), 1e-6))
        gain = draw_gain(rng, side, headroom, recipe.illumination)
    moves = rng.random() < recipe.warp.share
    modelled = gain is not None and recipe.illumination.frames == "modelled"
    if recipe.warp.patches == "static":
        moves &= modelled or BRANCHES[patch.branch] != "reference"
    others = [moves and i != stack.reference for i in range(len(stack.codes))]
    maps = tuple(draw_homography(rng, recipe.warp) if m else None for m in others)
    return Augmentation(
        gain, maps, bool(recipe.pieces.share) and rng.random() < recipe.pieces.share
    )


def draw_homography(rng: np.random.Generator, settings: Warp) -> Array:
    """A random homography (3, 3) float64 about the origin, in pixels."""
    turn = np.deg2rad(rng.normal(0, settings.turn))
    zoom = 1 + rng.normal(0, settings.zoom)
    shift, tilt = rng.normal(0, settings.shift, 2), rng.normal(0, settings.tilt, 2)
    c, s = zoom * np.cos(turn), zoom * np.sin(turn)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]], [tilt[0], tilt[1], 1.0]])


def augment(
    labelled: LabelledBracket,
    patch: Patch,
    variant: int,
    change: Augmentation,
    recipe: Recipe,
    depth: int,
) -> Sample:
    """One patch of a bracket under an augmentation; parameters as in `make_samples`."""
    side, stack = recipe.patches.size, labelled.stack
    around = _reach(change.homographies, patch, side, stack.size)
    frames: list[Codes] = [codes[around] for codes in stack.codes]
    label: Array = labelled.radiance[around]
    if change.gain is not None:
        centre = (side - 1) / 2
        ys, xs = np.ogrid[around]
        light = change.gain.field(
            ys - np.float32(patch.y + centre), xs - np.float32(patch.x + centre)
        )
        label = np.minimum(to_float32(label) * to_three_channels(light), 1)
        if recipe.illumination.frames == "modelled":
            frames = [encode(label * np.float32(2.0**ev), depth) for ev in stack.ev]
        else:  # what is clipped stays clipped, since no gain is below 1
            frames = [apply_gain(f, light, depth) for f in frames]
        patch = replace(patch, branch=BRANCHES.index("illumination"))
    y, x = patch.y - around[0].start, patch.x - around[1].start
    here = np.s_[y : y + side, x : x + side]
    inputs = [
        to_depth(frame[here] if m is None else _warp(frame, m, y, x, side), depth)
        for frame, m in zip(frames, change.maps, strict=True)
    ]
    stacked = np.stack([i.astype(inputs[0].dtype, copy=False) for i in inputs])
    trust = labelled.weight[patch.y : patch.y + side, patch.x : patch.x + side]
    return Sample(stacked, to_float16(label[here]), trust, patch, variant)


def add_moving_objects(
    rng: np.random.Generator, sample: Sample, labelled: LabelledBracket, recipe: Recipe
) -> Sample:
    """A sample with moving pieces in front of all that it shows.

    The label is exact where the reference shows a piece, whatever was known of what it hides.
    Where only other frames show one, the label stays as it was.
    """
    stack, label = labelled.stack, to_float32(sample.label)
    clips = clipped(max_channel(sample.inputs[stack.reference]), recipe.exposure)
    scene = Background(label, clips, labelled.radiance, labelled.weight, stack.ev, stack.reference)
    pieces = draw_moving_objects(rng, scene, labelled.moves, recipe.pieces)
    if not pieces:
        return sample
    behind = label, sample.weight >= 128
    views = [render_layer(pieces, i, scene, recipe.pieces) for i in range(len(stack.ev))]
    inputs: list[Codes] = [
        composite(rng, codes, laid, ev, behind, stack.source_format, recipe.noise)
        for codes, laid, ev in zip(sample.inputs, views, stack.ev, strict=True)
    ]
    own = views[stack.reference]
    dim = can_be_shaded(decode(sample.inputs[stack.reference]), *behind)
    label = np.minimum(label * own.passes * np.where(dim, own.lit, 1) + own.light, 1)
    weight = np.where(own.passes[..., 0] <= 1 - MIN_OPAQUE_COVER, np.uint8(255), sample.weight)
    patch = replace(sample.patch, branch=BRANCHES.index("pieces"))
    return Sample(
        np.stack([i.astype(inputs[0].dtype, copy=False) for i in inputs]),
        to_float16(label),
        weight,
        patch,
        sample.variant,
    )


def _reach(
    maps: Sequence[Array], patch: Patch, side: int, size: tuple[int, int]
) -> tuple[slice, slice]:
    """The part of the frame that a patch under all homographies samples, with room for cubic."""
    half = (side - 1) / 2
    square = np.array([[-half, half, -half, half], [-half, -half, half, half], [1, 1, 1, 1]])
    seen = np.concatenate([square[:2]] + [(m @ square)[:2] / (m @ square)[2] for m in maps], 1)
    at = np.array([patch.x + half, patch.y + half])
    low = np.floor(seen.min(1) + at).astype(int) - 3
    high = np.ceil(seen.max(1) + at).astype(int) + 4
    (x0, y0), (x1, y1) = np.maximum(low, 0), np.minimum(high, (size[1], size[0]))
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def _warp(frame: Codes, homography: Array, y: int, x: int, side: int) -> Codes:
    """The patch at (y, x) of a frame as a homography about its centre sees it."""
    half = (side - 1) / 2
    to_centre = np.array([[1, 0, -half], [0, 1, -half], [0, 0, 1]])
    to_frame = np.array([[1, 0, x + half], [0, 1, y + half], [0, 0, 1]])
    deep = frame.dtype == np.uint16
    # As floats, and rounded: the same codes, a fifth faster.
    seen = cv2.warpPerspective(
        frame.astype(np.float32) if deep else np.ascontiguousarray(frame),
        to_frame @ homography @ to_centre,
        (side, side),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return to_uint16(seen) if deep else seen
