"""The motion and the exposure cue of a piece of a bracket, in the geometry of its reference."""

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
    """What the frames say of motion and exposure, in the geometry of the reference.

    `aligned` are F frames; `static_frames` F masks (H, W), False where a frame shows something else
    than the reference or does not reach; `clipped` and `dark` (H, W) bool are of the reference,
    which is frame `reference`.
    """

    aligned: tuple[Aligned, ...]
    static_frames: tuple[Mask, ...]
    clipped: Mask
    dark: Mask
    reference: int

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        h, w = self.clipped.shape
        return h, w

    @property
    def static(self) -> Mask:
        """(H, W) bool: all frames agree."""
        return np.logical_and.reduce(self.static_frames)


def receptive_field(recipe: Recipe) -> int:
    """Distance (px) of the farthest pixel that the cues of a pixel depend on."""
    return motion.receptive_field(recipe)  # the exposure cue looks at the pixel alone


def compute_cues(
    stack: Stack, geometry: Sequence[Displacement | None], at: Region, recipe: Recipe
) -> Cues:
    """Bring a piece of all frames into the geometry of the reference and take both cues."""
    ref, ev = stack.reference, stack.ev
    chroma = recipe.fusion.chroma
    frames = tuple(align_region(stack, i, found, at, chroma) for i, found in enumerate(geometry))
    agrees = tuple(
        np.ones(frame.valid.shape, bool)
        if i == ref
        else ~moving(frames[ref], ev[ref], frame, ev[i], stack.source_format, recipe)
        for i, frame in enumerate(frames)
    )
    level, settings = frames[ref].max_code, recipe.exposure
    return Cues(frames, agrees, clipped(level, settings), dark(level, settings), ref)
