"""The label of a bracket: radiance in the geometry of its reference, and where to trust it.

Made tile by tile: what is as large as the frames are the frames and the label, nothing between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, TypeAlias

import cv2
import numpy as np

from labelgen.alignment.align import Displacement, downsample_stack, find_displacements
from labelgen.core.arrays import (
    Array,
    Bytes,
    Float,
    Half,
    Mask,
    Region,
    power,
    to_float16,
    to_float32,
)
from labelgen.core.bracket import Stack, dilate_mask
from labelgen.core.recipe import Recipe
from labelgen.core.response import FULL_SAMPLING, GAMMA, decode
from labelgen.core.tiles import (
    Borders,
    absolute_region,
    covering_boxes,
    crop_borders,
    pad_region,
    relative_region,
    tiles,
)
from labelgen.labels.cues import compute_cues
from labelgen.labels.fusion import fuse_triangle, fuse_variance
from labelgen.labels.trust import (
    REFERENCE,
    STATIC,
    UNTRUSTED,
    cell_borders,
    trust_cells,
    trust_clipped,
    trust_colour,
    trust_difference,
)

BORDER = 56
"""px around a tile that its pixels depend on: the Gaussians of `fusion.around`, and motion's."""
SMALL, MIN_AREA = 640, 100
"""px: sides of the frames in which moving things are measured, and the least area there."""
GUESSED_BORDER = 24
"""px around guessed pixels that these depend on."""

Geometry: TypeAlias = tuple[Displacement | None, ...]
Flow: TypeAlias = Callable[[], Geometry]


@dataclass(frozen=True)
class Label:
    """Full-frame label of a bracket.

    `stored` is (H, W, 3) float16, as a dataset stores it: radiance of at most 1.0, which is where
    the shortest frame clips; `weight` (H, W) uint8 is the trust, 0 none to 255 full; `kind` (H, W)
    uint8 is NOTHING, STATIC or REFERENCE. Of the cues, bit i of `static_frames` (H, W) uint16 says
    whether frame i shows what the reference shows; `clipped` and `dark` (H, W) bool are of the
    reference. `geometry` is where each of the F frames was found.
    """

    stored: Half
    weight: Bytes
    kind: Bytes
    static_frames: Array
    clipped: Mask
    dark: Mask
    geometry: Geometry

    @property
    def radiance(self) -> Float:
        """(H, W, 3) float32, 1.0 where the shortest frame clips."""
        return to_float32(self.stored)

    @property
    def static(self) -> Mask:
        """(H, W) bool: all frames agree."""
        return np.asarray(self.static_frames == (1 << len(self.geometry)) - 1)

    def figures(self) -> dict[str, Any]:
        """Shares of the frame by cue and kind, for people and for the report."""
        share = {
            "trusted": self.weight >= 128,
            "static": self.kind == STATIC,
            "reference": self.kind == REFERENCE,
            "moving": ~self.static,
            "clipped": self.clipped,
            "dark": self.dark,
        }
        figures: dict[str, Any] = {k: round(float(v.mean()), 5) for k, v in share.items()}
        figures["alignment_px"] = [round(g.mean, 3) if g else 0.0 for g in self.geometry]
        return figures | {"moving_px": _sizes(~self.static)}


def _sizes(moving: Mask) -> list[float]:
    """Sizes in px of what moves: of the median and of the largest thing, the roots of their areas.

    Connected pixels are one thing; it covers where it is and where it was.
    """
    zoom = min(1.0, SMALL / max(moving.shape))
    height, width = (max(round(n * zoom), 1) for n in moving.shape)
    reduced = cv2.resize(moving.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    areas = cv2.connectedComponentsWithStats(reduced)[2][1:, cv2.CC_STAT_AREA]
    sizes = np.sqrt(areas[areas >= MIN_AREA]) / zoom
    return [round(float(f(sizes)), 1) for f in (np.median, np.max)] if len(sizes) else []


def make_label(stack: Stack, recipe: Recipe) -> Label:
    """Label a bracket by a recipe.

    Parameters
    ----------
    stack : Stack
        Pixels and exposures of F frames.
    recipe : Recipe
        All thresholds.

    Returns
    -------
    Label
        Radiance, weight and cues of the full frame of the reference. Radiance that is not
        trusted is the reference's own; what is masked, or stands close to it, is not.
    """
    # A camera clips at codes of its own response; what follows sees gamma 2.2.
    clip = stack.source_format.response.clip(recipe.exposure.clip)
    recipe = replace(recipe, exposure=replace(recipe.exposure, clip=clip))
    small = downsample_stack(stack, recipe.align.megapixels)
    label = _empty(stack.size, find_displacements(small, stack.size, recipe.align))

    @cache
    def flow() -> Geometry:
        settings = replace(recipe.align, method="flow")
        return find_displacements(_shorter(small), stack.size, settings, rough=True)

    borders = cell_borders(stack.size, recipe.patches.size)
    for tile in tiles(borders):
        _label(label, stack, tile, borders, recipe, flow)
    if stack.masked is not None:
        label.weight[dilate_mask(stack.masked)] = 0
    return label


def _empty(size: tuple[int, int], geometry: Geometry) -> Label:
    stored = np.empty((*size, 3), np.float16)
    weight, kind = np.empty(size, np.uint8), np.empty(size, np.uint8)
    agrees, clipped, dark = np.empty(size, np.uint16), np.empty(size, bool), np.empty(size, bool)
    return Label(stored, weight, kind, agrees, clipped, dark, geometry)


def _label(
    label: Label, stack: Stack, tile: Region, borders: Borders, recipe: Recipe, flow: Flow
) -> None:
    """Label one tile: all that reaches into it is looked at, and it alone is written."""
    at = pad_region(tile, stack.size, BORDER)
    cues = compute_cues(stack, label.geometry, at, recipe)
    own, dim = cues.aligned[stack.reference].codes, np.float32(2.0 ** -stack.ev[stack.reference])
    if recipe.fusion.weights == "variance":
        fused, known = fuse_variance(cues, stack, recipe)
    else:
        fused = fuse_triangle(cues.aligned, stack.ev, stack.reference, recipe.exposure.clip)
        known = np.ones(cues.size, bool)
    if recipe.fusion.trust == "cell":
        kind = trust_cells(cues, crop_borders(borders, at), recipe)
    elif recipe.fusion.trust == "pixel":
        kind = np.where(cues.static, STATIC, REFERENCE)
    else:
        linear = decode(own)
        kind = trust_difference(fused, linear * dim, power(linear, 1 / GAMMA), recipe)
    kind = np.where(known, kind, UNTRUSTED)
    trust = (kind != UNTRUSTED).astype(np.float32)
    if recipe.fusion.trust == "pixel":
        trust *= trust_clipped(cues, fused, recipe.fusion)
        fill = cues.clipped & (trust < recipe.fusion.guess / 255)
        if fill.any():
            guessed, explained = _guess(stack, fill, at, recipe, flow)
            fill &= explained
            fused[fill], kind[fill] = guessed[fill], REFERENCE
            trust[fill] = recipe.fusion.guess / 255
        sampling = stack.source_format.sampling
        if sampling != FULL_SAMPLING:
            gain = 2.0 ** stack.ev[stack.reference]
            trust *= trust_colour(fused, gain, sampling, recipe.fusion)
    # A moving cell is the reference itself; moving pixels are what agrees with the reference.
    alone = (kind == UNTRUSTED) | ((kind == REFERENCE) & (recipe.fusion.trust == "cell"))
    fused[alone] = decode(own[alone]) * dim
    agrees = np.zeros(cues.size, np.uint16)
    for i, mask in enumerate(cues.static_frames):
        agrees |= mask.astype(np.uint16) << np.uint16(i)
    here = relative_region(tile, at)
    pieces: tuple[tuple[Array, Array], ...] = (
        (label.stored, to_float16(np.clip(fused, 0, 1, out=fused))),
        (label.weight, np.rint(255 * trust)),
        (label.kind, kind),
        (label.static_frames, agrees),
        (label.clipped, cues.clipped),
        (label.dark, cues.dark),
    )
    for frame, piece in pieces:
        frame[tile] = piece[here]


def _guess(stack: Stack, fill: Mask, at: Region, recipe: Recipe, flow: Flow) -> tuple[Float, Mask]:
    """What dense flow makes of a piece of a bracket, for pixels that nothing else can tell.

    Where something moves before a clipped reference, only a guess is possible: content of shorter
    frames that flow carries there and that is at least as bright as the reference proves.

    Returns
    -------
    radiance : (H, W, 3) float32
        1.0 where the shortest frame clips.
    explained : (H, W) bool
        Where some frame agrees with the reference after the flow.
    """
    radiance, explained = np.zeros((*fill.shape, 3), np.float32), np.zeros(fill.shape, bool)
    shorter = _shorter(stack)
    for box in covering_boxes(fill, GUESSED_BORDER):
        wide = pad_region(box, fill.shape, GUESSED_BORDER)
        cues = compute_cues(shorter, flow(), absolute_region(wide, at), recipe)
        guessed, known = fuse_variance(cues, shorter, recipe)
        here = relative_region(box, wide)
        radiance[box], explained[box] = guessed[here], known[here]
    return radiance, explained


def _shorter(stack: Stack) -> Stack:
    """The frames up to the reference: longer ones clip wherever it does."""
    seen = stack.reference + 1
    return replace(stack, codes=stack.codes[:seen], ev=stack.ev[:seen])
