"""Motion and exposure cues of a region of a bracket, in the geometry of its reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labelgen.alignment.align import Aligned, Displacement, align_region
from labelgen.core.arrays import Mask, Region
from labelgen.core.bracket import Stack
from labelgen.core.recipe import Recipe
from labelgen.labels import motion
from labelgen.labels.difference import FramePair
from labelgen.labels.exposure import clipped, dark
from labelgen.labels.local_gain import undo_gain
from labelgen.labels.measured_noise import MeasuredNoise, measure_noise, sample_cells
from labelgen.labels.motion import moving


@dataclass(frozen=True)
class Cues:
    """Motion and exposure cues of a region, in the geometry of the reference."""

    aligned: tuple[Aligned, ...]
    """The F frames."""
    static_frames: tuple[Mask, ...]
    """F masks (H, W) bool. A pixel is static in a frame that shows the same as the reference, and
    moving in a frame that shows something else or does not cover it."""
    clipped: Mask
    """(H, W) bool: clipped in the reference."""
    dark: Mask
    """(H, W) bool: too dark in the reference."""
    reference: int
    """Index of the reference among the frames."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        h, w = self.clipped.shape
        return h, w

    @property
    def static(self) -> Mask:
        """(H, W) bool: static in all frames."""
        return np.logical_and.reduce(self.static_frames)


def receptive_field(recipe: Recipe) -> int:
    """Distance (px) of the farthest pixel that the cues of a pixel depend on."""
    return motion.receptive_field(recipe)  # the exposure cue depends on the pixel alone


def align_frames(
    stack: Stack, geometry: Sequence[Displacement | None], region: Region, recipe: Recipe
) -> tuple[Aligned, ...]:
    """Bring a region of all frames into the geometry and the rendition of the reference.

    Parameters
    ----------
    stack : Stack
        F frames.
    geometry : sequence of Displacement or None
        Displacement of each frame; None for one that is used as it is.
    region : Region
        Rows and columns of the reference.
    recipe : Recipe
        Its fusion settings.
    """
    chroma = recipe.fusion.chroma
    frames = tuple(align_region(stack, i, d, region, chroma) for i, d in enumerate(geometry))
    if not stack.gains:
        return frames
    return tuple(
        undo_gain(frame, gain, stack.size, region)
        for frame, gain in zip(frames, stack.gains, strict=True)
    )


def align_cells(
    stack: Stack, geometry: Sequence[Displacement | None], recipe: Recipe
) -> list[tuple[Aligned, ...]]:
    """Bring the cells in which noise is measured into the geometry of the reference."""
    return [align_frames(stack, geometry, cell, recipe) for cell in sample_cells(stack.size)]


def measure_stack_noise(
    stack: Stack, cells: Sequence[Sequence[Aligned]], recipe: Recipe
) -> MeasuredNoise:
    """Measure the noise of the differences to the reference, in aligned cells of all frames."""
    return measure_noise(
        stack, [[_pair(stack, i, cell, recipe) for i in range(len(cell))] for cell in cells]
    )


def _pair(stack: Stack, i: int, frames: Sequence[Aligned], recipe: Recipe) -> FramePair | None:
    """Return the pair of the reference and frame i; None if that is the reference."""
    if i == stack.reference:
        return None
    return FramePair.of(stack, i, frames[stack.reference], frames[i], recipe)


def compute_cues(
    stack: Stack,
    geometry: Sequence[Displacement | None],
    region: Region,
    recipe: Recipe,
    noise: MeasuredNoise | None = None,
) -> Cues:
    """Align a region of all frames and compute both cues.

    Parameters
    ----------
    stack : Stack
        F frames.
    geometry : sequence of Displacement or None
        Displacement of each frame; None for one that is used as it is.
    region : Region
        Rows and columns of the reference.
    recipe : Recipe
        Its motion, noise and exposure settings.
    noise : MeasuredNoise, optional
        Noise as measured in the bracket.
    """
    ref = stack.reference
    frames = align_frames(stack, geometry, region, recipe)
    pairs = [_pair(stack, i, frames, recipe) for i in range(len(frames))]
    static_frames = tuple(
        np.ones(frame.valid.shape, bool)
        if pair is None
        else ~moving(pair, noise.tables[i] if noise else None)
        for i, (frame, pair) in enumerate(zip(frames, pairs, strict=True))
    )
    max_code, settings = frames[ref].max_code, recipe.exposure
    return Cues(frames, static_frames, clipped(max_code, settings), dark(max_code, settings), ref)
