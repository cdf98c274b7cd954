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
from labelgen.labels.exposure import clipped, dark
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


def compute_cues(
    stack: Stack, geometry: Sequence[Displacement | None], region: Region, recipe: Recipe
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
    """
    ref, ev = stack.reference, stack.ev
    chroma = recipe.fusion.chroma
    frames = tuple(align_region(stack, i, d, region, chroma) for i, d in enumerate(geometry))
    static_frames = tuple(
        np.ones(frame.valid.shape, bool)
        if i == ref
        else ~moving(frames[ref], ev[ref], frame, ev[i], stack.source_format, recipe)
        for i, frame in enumerate(frames)
    )
    max_code, settings = frames[ref].max_code, recipe.exposure
    return Cues(frames, static_frames, clipped(max_code, settings), dark(max_code, settings), ref)
