"""The label of a bracket: radiance in the geometry of its reference, and the trust in it.

It is computed tile by tile to save memory: only the frames and the label itself are held in full
size; all intermediate arrays have the size of a tile.
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
from labelgen.core.response import NAMED_RESPONSES, SourceFormat
from labelgen.core.tiles import crop_borders, pad_region, relative_region, tiles
from labelgen.dataset.columns import TRUSTED_WEIGHT
from labelgen.labels.cues import align_cells, compute_cues, measure_stack_noise
from labelgen.labels.fusion import NOISY_WELL
from labelgen.labels.guess import Geometry, frames_up_to_reference
from labelgen.labels.local_gain import find_gains
from labelgen.labels.measured_noise import MeasuredNoise
from labelgen.labels.methods import METHODS, Tile, TileLabel
from labelgen.labels.trust import REFERENCE, STATIC, cell_borders

MIN_BORDER = 56
"""Least border (px) around a tile that is computed with it. A recipe may need more; of the built-in
ones only the default does, for rendered frames. All others share one border because OpenCV rounds
the positions at which a frame is sampled relative to the corner of the region, so another border
changes the last bits of a label."""
MIN_NOISE_RATIO = 1.4
"""The full well of a camera is lowered if `MeasuredNoise.ratio` is at least this: then noise alone
exceeds what the model allows for several standard deviations."""
MIN_FULL_WELL = 50.0
"""Electrons. No camera shows a picture with less."""
OBJECT_FRAME_SIDE, MIN_OBJECT_AREA = 640, 100
"""Moving objects are measured in frames downsampled to this side (px); smaller areas (px) there may
be noise."""


@dataclass(frozen=True)
class Label:
    """Full-frame label of a bracket."""

    stored: Half
    """(H, W, 3) float16, as a dataset stores it: radiance, 1.0 where the shortest frame clips."""
    weight: Bytes
    """(H, W) uint8: trust, from 0 (none) to 255 (full)."""
    kind: Bytes
    """(H, W) uint8: UNTRUSTED, STATIC or REFERENCE (`labelgen.labels.trust`)."""
    static_frames: Array
    """(H, W) uint16: bit i is set where frame i shows the same as the reference."""
    clipped: Mask
    """(H, W) bool: clipped in the reference."""
    dark: Mask
    """(H, W) bool: too dark in the reference."""
    geometry: Geometry
    """Displacement of each of the F frames; None for a frame that is used as it is."""

    @property
    def radiance(self) -> Float:
        """(H, W, 3) float32, 1.0 where the shortest frame clips."""
        return to_float32(self.stored)

    @property
    def static(self) -> Mask:
        """(H, W) bool: static in all frames."""
        return np.asarray(self.static_frames == (1 << len(self.geometry)) - 1)

    def figures(self) -> dict[str, Any]:
        """Return shares of the frame by cue and kind, mean displacements, and sizes of objects.

        The keys are those of the record of the bracket in a dataset; lengths are in px.
        """
        masks = {
            "trusted": self.weight >= TRUSTED_WEIGHT,
            "static": self.kind == STATIC,
            "reference": self.kind == REFERENCE,
            "moving": ~self.static,
            "clipped": self.clipped,
            "dark": self.dark,
        }
        figures: dict[str, Any] = {k: round(float(v.mean()), 5) for k, v in masks.items()}
        figures["alignment_px"] = [round(g.mean_length, 3) if g else 0.0 for g in self.geometry]
        return figures | {"moving_px": _object_sizes(~self.static)}


def _object_sizes(moving: Mask) -> list[float]:
    """Sizes in px of the median and of the largest moving object; empty if nothing moves.

    An object is a set of connected pixels, its size the root of its area. It covers both the place
    where it is and the place where it was.
    """
    zoom = min(1.0, OBJECT_FRAME_SIDE / max(moving.shape))
    height, width = (max(round(n * zoom), 1) for n in moving.shape)
    small = cv2.resize(moving.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    areas = cv2.connectedComponentsWithStats(small)[2][1:, cv2.CC_STAT_AREA]
    sizes = np.sqrt(areas[areas >= MIN_OBJECT_AREA]) / zoom
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
        Radiance, weight and cues of the full frame of the reference. Where the label is not
        trusted, its radiance is that of the reference. Masked pixels, and those close to them, are
        never trusted.
    """
    # The recipe gives the clip as a code of the camera. All codes here have gamma 2.2.
    clip = stack.source_format.response.clip(recipe.exposure.clip)
    recipe = replace(recipe, exposure=replace(recipe.exposure, clip=clip))
    small = downsample_stack(stack, recipe.align.megapixels)
    label = _empty_label(stack.size, find_displacements(small, stack.size, recipe.align))
    plain, noise = _is_plain(stack), None
    if not plain:
        if recipe.align.gain == "undone":
            stack = replace(stack, gains=find_gains(small, label.geometry, stack.size))
        stack, noise = _measure_noise(stack, label.geometry, recipe)
        plain = noise is not None and _is_explained(noise, stack, recipe)
    if plain:
        recipe, noise = _without_rendering(recipe), None

    @cache
    def find_flow() -> Geometry:
        return guess_displacements(frames_up_to_reference(small), stack.size)

    method = METHODS[recipe.fusion.trust]
    border = max(method.receptive_field(recipe), MIN_BORDER)
    cells = cell_borders(stack.size, recipe.patches.size)
    for piece in tiles(cells):
        region = pad_region(piece, stack.size, border)
        cues = compute_cues(stack, label.geometry, region, recipe, noise)
        tile = Tile(stack, region, cues, crop_borders(cells, region), find_flow)
        _write_tile(label, piece, tile, method.label(tile, recipe))
    if stack.masked is not None:
        label.weight[dilate_mask(stack.masked)] = 0
    return label


def _is_plain(stack: Stack) -> bool:
    """Whether no camera rendered the frames, and the noise of their camera is known and low."""
    source = stack.source_format
    return source.noise is not None and _has_plain_format(source, source.noise[0])


def _is_explained(noise: MeasuredNoise, stack: Stack, recipe: Recipe) -> bool:
    """Whether no camera rendered the frames, and low noise explains how they differ."""
    source = stack.source_format
    full_well, _ = source.noise or (recipe.noise.full_well, recipe.noise.read)
    return noise.ratio < MIN_NOISE_RATIO and _has_plain_format(source, full_well)


def _has_plain_format(source: SourceFormat, full_well: float) -> bool:
    return full_well > NOISY_WELL and source.response.name in NAMED_RESPONSES


def _measure_noise(
    stack: Stack, geometry: Geometry, recipe: Recipe
) -> tuple[Stack, MeasuredNoise | None]:
    """Measure the noise of a bracket; also return the stack with that noise.

    Where the noise of its camera was underestimated, or could not be estimated from flat areas, a
    smaller full well explains what is measured. The noise is None if the recipe makes no use of it.
    """
    if not recipe.motion.measured:
        return stack, None
    cells = align_cells(stack, geometry, recipe)
    noise = measure_stack_noise(stack, cells, recipe)
    if noise.ratio < MIN_NOISE_RATIO:
        return stack, noise
    source, settings = stack.source_format, recipe.noise
    full_well, read = source.noise or (settings.full_well, settings.read)
    full_well = max(full_well / noise.ratio**2, MIN_FULL_WELL)
    stack = replace(stack, source=replace(source, noise=(full_well, read)))
    return stack, measure_stack_noise(stack, cells, recipe)


def _without_rendering(recipe: Recipe) -> Recipe:
    """Return a recipe for plain frames."""
    motion, fusion = replace(recipe.motion, measured=0.0), replace(recipe.fusion, rendered=0.0)
    return replace(recipe, motion=motion, fusion=fusion)


def _empty_label(size: tuple[int, int], geometry: Geometry) -> Label:
    stored = np.empty((*size, 3), np.float16)
    weight, kind = np.empty(size, np.uint8), np.empty(size, np.uint8)
    static, clipped, dark = np.empty(size, np.uint16), np.empty(size, bool), np.empty(size, bool)
    return Label(stored, weight, kind, static, clipped, dark, geometry)


def _write_tile(label: Label, piece: Region, tile: Tile, result: TileLabel) -> None:
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
