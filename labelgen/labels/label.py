"""The label of a bracket: radiance in the geometry of its reference, and where to trust it.

Made tile by tile: what is as large as the frames are the frames and the label, nothing between.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import cv2
import numpy as np

from labelgen.alignment.align import downsample_stack, find_displacements, guess_displacements
from labelgen.core.arrays import Array, Bytes, Float, Half, Mask, Region, to_float16, to_float32
from labelgen.core.bracket import Stack, dilate_mask
from labelgen.core.recipe import Recipe
from labelgen.core.tiles import crop_borders, pad_region, relative_region, tiles
from labelgen.labels.cues import compute_cues
from labelgen.labels.guess import Geometry, frames_up_to_reference
from labelgen.labels.methods import METHODS, Tile, TileLabel
from labelgen.labels.trust import REFERENCE, STATIC, cell_borders

MIN_BORDER = 56
"""px around a tile that are computed with it, or more where a recipe needs more. The recipes that
ship need no more. They share one border because OpenCV rounds the positions at which a frame is
sampled relative to the corner of the region, so another border changes the last bits of a label."""
SMALL, MIN_AREA = 640, 100
"""px: sides of the frames in which moving things are measured, and the least area there."""


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
        figures["alignment_px"] = [round(g.mean_length, 3) if g else 0.0 for g in self.geometry]
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
    def find_flow() -> Geometry:
        return guess_displacements(frames_up_to_reference(small), stack.size)

    method = METHODS[recipe.fusion.trust]
    border = max(method.receptive_field(recipe), MIN_BORDER)
    cells = cell_borders(stack.size, recipe.patches.size)
    for piece in tiles(cells):
        region = pad_region(piece, stack.size, border)
        cues = compute_cues(stack, label.geometry, region, recipe)
        tile = Tile(stack, region, cues, crop_borders(cells, region), find_flow)
        _write(label, piece, tile, method.label(tile, recipe))
    if stack.masked is not None:
        label.weight[dilate_mask(stack.masked)] = 0
    return label


def _empty(size: tuple[int, int], geometry: Geometry) -> Label:
    stored = np.empty((*size, 3), np.float16)
    weight, kind = np.empty(size, np.uint8), np.empty(size, np.uint8)
    static, clipped, dark = np.empty(size, np.uint16), np.empty(size, bool), np.empty(size, bool)
    return Label(stored, weight, kind, static, clipped, dark, geometry)


def _write(label: Label, piece: Region, tile: Tile, result: TileLabel) -> None:
    """Write the label of a tile, without its border, to its place in the frame."""
    cues, inner = tile.cues, relative_region(piece, tile.region)
    static_frames = np.zeros(cues.size, np.uint16)
    for i, mask in enumerate(cues.static_frames):
        static_frames |= mask.astype(np.uint16) << np.uint16(i)
    radiance = result.radiance
    pairs: tuple[tuple[Array, Array], ...] = (
        (label.stored, to_float16(np.clip(radiance, 0, 1, out=radiance))),
        (label.weight, np.rint(255 * result.trust)),
        (label.kind, result.kind),
        (label.static_frames, static_frames),
        (label.clipped, cues.clipped),
        (label.dark, cues.dark),
    )
    for frame, values in pairs:
        frame[piece] = values[inner]
