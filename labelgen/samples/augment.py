"""Turn patches into samples: cut them out of the frames and the label, and augment them.

Two augmentations follow SS-HDR (arXiv 2203.12311):

- Synthetic light multiplies the label by a gain (`labelgen.samples.illumination`). The frames are
  then modelled from the label, so the reference clips what the short frame shows. Our variant
  applies the gain to the real frames, which keep their motion, noise and misalignment.
- Synthetic motion warps all frames except the reference by random homographies, where they are
  static or modelled. Pixels come from the full frame, so content enters at the border of the patch.
  The label keeps the geometry of the reference.

Our third one composites moving objects (`labelgen.samples.moving_objects`) into the frames and the
label, after light and motion.
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
    Region,
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
from labelgen.dataset.columns import BRANCHES, TRUSTED_WEIGHT
from labelgen.dataset.sample import Patch, Sample
from labelgen.labels.exposure import clipped
from labelgen.samples.compose import MIN_OPAQUE_COVER, can_be_shaded, composite, render_layer
from labelgen.samples.illumination import Gain, draw_gain
from labelgen.samples.motion_stats import NO_MOTION, MotionStats
from labelgen.samples.moving_objects import Background, draw_moving_objects
from labelgen.samples.patches import sample_count


@dataclass(frozen=True)
class LabelledBracket:
    """The full frames of a bracket and their label."""

    stack: Stack
    radiance: Float | Half
    """(H, W, 3) radiance of the label, 1.0 where the shortest frame clips."""
    weight: Bytes
    """(H, W) uint8 weight of the label, 255 where it is fully trusted."""
    motion: MotionStats = NO_MOTION
    """Sizes and speeds of real moving objects in the bracket."""


@dataclass(frozen=True)
class Augmentation:
    """The augmentation of one sample; None stands for no change."""

    gain: Gain | None
    """Synthetic light."""
    homographies: tuple[Array | None, ...]
    """Synthetic motion: for each frame a homography (3, 3), from pixels of the sample to pixels of
    the frame, both relative to the centre of the patch."""
    moving_objects: bool = False
    """Whether moving objects are added."""

    @property
    def keeps_pixels(self) -> bool:
        """Whether neither light nor motion changes the sample."""
        return self.gain is None and all(h is None for h in self.homographies)


def make_samples(
    labelled: LabelledBracket,
    patches: Sequence[Patch],
    recipe: Recipe,
    name: str,
    seed: int,
    depth: int,
) -> Iterator[Sample]:
    """Make all samples of a bracket, patch by patch and variant by variant.

    Each variant of a patch is augmented at random, seeded by (seed, bracket, patch, variant).
    Variants without any augmentation would be equal, so a patch gives at most one of them.

    Parameters
    ----------
    labelled : LabelledBracket
        The frames and their label.
    patches : sequence of Patch
        Where samples are taken.
    recipe : Recipe
        Settings of patches, illumination, warp, pieces, exposure and noise.
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
    name_seed = np.frombuffer(hashlib.sha256(name.encode()).digest()[:16], np.uint32).tolist()
    for patch in patches:
        has_plain = False
        for variant in range(sample_count(patch, recipe.patches)):
            rng = np.random.default_rng([seed, *name_seed, patch.index, variant])
            augmentation = draw_augmentation(rng, labelled, patch, recipe)
            sample = augment(labelled, patch, variant, augmentation, recipe, depth)
            if augmentation.moving_objects:
                sample = add_moving_objects(rng, sample, labelled, recipe)
            is_plain = augmentation.keeps_pixels and sample.patch == patch
            if not (is_plain and has_plain):
                yield sample
            has_plain |= is_plain


def draw_augmentation(
    rng: np.random.Generator, labelled: LabelledBracket, patch: Patch, recipe: Recipe
) -> Augmentation:
    """Draw the augmentation of one sample.

    SS-HDR does not warp patches with real motion, unless their frames are modelled. With
    `warp.patches` = "all" they are warped as well.
    """
    side, stack = recipe.patches.size, labelled.stack
    gain = None
    if rng.random() < recipe.illumination.share:
        region = np.s_[patch.y : patch.y + side, patch.x : patch.x + side]
        brightest = quantile(max_channel(to_float32(labelled.radiance[region])).ravel(), 0.99)
        headroom = -math.log2(max(brightest, 1e-6))
        gain = draw_gain(rng, side, headroom, recipe.illumination)
    is_warped = rng.random() < recipe.warp.share
    if recipe.warp.patches == "static":
        is_modelled = gain is not None and recipe.illumination.frames == "modelled"
        is_warped &= is_modelled or BRANCHES[patch.branch] != "reference"
    homographies = tuple(
        draw_homography(rng, recipe.warp) if is_warped and i != stack.reference else None
        for i in range(len(stack.codes))
    )
    moving_objects = bool(recipe.pieces.share) and rng.random() < recipe.pieces.share
    return Augmentation(gain, homographies, moving_objects)


def draw_homography(rng: np.random.Generator, settings: Warp) -> Array:
    """Draw a random homography (3, 3) float64 of pixels relative to a centre."""
    turn = np.deg2rad(rng.normal(0, settings.turn))
    zoom = 1 + rng.normal(0, settings.zoom)
    shift, tilt = rng.normal(0, settings.shift, 2), rng.normal(0, settings.tilt, 2)
    c, s = zoom * np.cos(turn), zoom * np.sin(turn)
    return np.array([[c, -s, shift[0]], [s, c, shift[1]], [tilt[0], tilt[1], 1.0]])


def augment(
    labelled: LabelledBracket,
    patch: Patch,
    variant: int,
    augmentation: Augmentation,
    recipe: Recipe,
    depth: int,
) -> Sample:
    """Cut one sample out of a bracket, with the light and motion of an augmentation.

    Parameters
    ----------
    labelled, recipe, depth
        See `make_samples`.
    patch : Patch
        Where the sample is taken.
    variant : int
        Number of the sample among those of the patch, from 0.
    augmentation : Augmentation
        Moving objects are not added here, see `add_moving_objects`.

    Returns
    -------
    Sample
        With synthetic light, the branch of its patch is "illumination".
    """
    side, stack = recipe.patches.size, labelled.stack
    region = _sampled_region(augmentation.homographies, patch, side, stack.size)
    frames: list[Codes] = [codes[region] for codes in stack.codes]
    label: Array = labelled.radiance[region]
    if augmentation.gain is not None:
        centre = (side - 1) / 2
        ys, xs = np.ogrid[region]
        gain = augmentation.gain.field(
            ys - np.float32(patch.y + centre), xs - np.float32(patch.x + centre)
        )
        label = np.minimum(to_float32(label) * to_three_channels(gain), 1)
        if recipe.illumination.frames == "modelled":
            frames = [encode(label * np.float32(2.0**ev), depth) for ev in stack.ev]
        else:  # no gain is below 1, so clipped pixels stay clipped
            frames = [apply_gain(f, gain, depth) for f in frames]
        patch = replace(patch, branch=BRANCHES.index("illumination"))
    y, x = patch.y - region[0].start, patch.x - region[1].start
    inner = np.s_[y : y + side, x : x + side]
    inputs = [
        to_depth(frame[inner] if h is None else _warp(frame, h, y, x, side), depth)
        for frame, h in zip(frames, augmentation.homographies, strict=True)
    ]
    weight = labelled.weight[patch.y : patch.y + side, patch.x : patch.x + side]
    return Sample(_stack_inputs(inputs), to_float16(label[inner]), weight, patch, variant)


def add_moving_objects(
    rng: np.random.Generator, sample: Sample, labelled: LabelledBracket, recipe: Recipe
) -> Sample:
    """Composite random moving objects into the frames and the label of a sample.

    Where the reference shows an object, the label is exact, whatever is behind the object. Where
    only other frames show one, the label does not change. The branch of the patch becomes "pieces";
    a sample without room for an object is returned as it is.
    """
    stack, label = labelled.stack, to_float32(sample.label)
    reference = sample.inputs[stack.reference]
    background = Background(
        label,
        clipped(max_channel(reference), recipe.exposure),
        labelled.radiance,
        labelled.weight,
        stack.ev,
        stack.reference,
    )
    objects = draw_moving_objects(rng, background, labelled.motion, recipe.pieces)
    if not objects:
        return sample
    trusted = sample.weight >= TRUSTED_WEIGHT
    layers = [render_layer(objects, i, background, recipe.pieces) for i in range(len(stack.ev))]
    inputs: list[Codes] = [
        composite(rng, codes, layer, ev, (label, trusted), stack.source_format, recipe.noise)
        for codes, layer, ev in zip(sample.inputs, layers, stack.ev, strict=True)
    ]
    layer = layers[stack.reference]
    shading = np.where(can_be_shaded(decode(reference), label, trusted), layer.shading, 1)
    label = np.minimum(label * layer.transmittance * shading + layer.radiance, 1)
    is_opaque = layer.transmittance[..., 0] <= 1 - MIN_OPAQUE_COVER
    weight = np.where(is_opaque, np.uint8(255), sample.weight)
    patch = replace(sample.patch, branch=BRANCHES.index("pieces"))
    return Sample(_stack_inputs(inputs), to_float16(label), weight, patch, sample.variant)


def _sampled_region(
    homographies: Sequence[Array | None], patch: Patch, side: int, size: tuple[int, int]
) -> Region:
    """Region of a frame of `size` (H, W) that the patch and its warps read.

    It includes a margin of 3 px for cubic interpolation, and ends at the border of the frame.
    """
    half = (side - 1) / 2
    square = np.array([[-half, half, -half, half], [-half, -half, half, half], [1, 1, 1, 1]])
    warped = [(h @ square)[:2] / (h @ square)[2] for h in homographies if h is not None]
    corners = np.concatenate([square[:2], *warped], 1)
    centre = np.array([patch.x + half, patch.y + half])
    low = np.floor(corners.min(1) + centre).astype(int) - 3
    high = np.ceil(corners.max(1) + centre).astype(int) + 4
    (x0, y0), (x1, y1) = np.maximum(low, 0), np.minimum(high, (size[1], size[0]))
    return slice(int(y0), int(y1)), slice(int(x0), int(x1))


def _warp(frame: Codes, homography: Array, y: int, x: int, side: int) -> Codes:
    """Warp the patch of a side at (y, x) of a frame by a homography about its centre."""
    half = (side - 1) / 2
    to_centre = np.array([[1, 0, -half], [0, 1, -half], [0, 0, 1]])
    to_frame = np.array([[1, 0, x + half], [0, 1, y + half], [0, 0, 1]])
    is_uint16 = frame.dtype == np.uint16
    # Warping uint16 as float32 and then rounding gives the same codes and is a fifth faster.
    warped = cv2.warpPerspective(
        frame.astype(np.float32) if is_uint16 else np.ascontiguousarray(frame),
        to_frame @ homography @ to_centre,
        (side, side),
        flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return to_uint16(warped) if is_uint16 else warped


def _stack_inputs(inputs: Sequence[Codes]) -> Codes:
    """Stack F frames (P, P, 3) to (F, P, P, 3), with the dtype of the first frame."""
    return np.stack([frame.astype(inputs[0].dtype, copy=False) for frame in inputs])
