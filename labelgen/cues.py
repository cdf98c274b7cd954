"""The motion and the exposure cue of a bracket, in the geometry of its reference."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from labelgen.align import Aligned, align
from labelgen.arrays import Mask
from labelgen.bracket import Stack
from labelgen.exposure import clipped, dark
from labelgen.motion import moving
from labelgen.recipe import Recipe


@dataclass(frozen=True)
class Cues:
    """What the frames say of motion and exposure, in the geometry of the reference.

    `aligned` are F frames; `agrees` F masks (H, W), False where a frame shows something else
    than the reference or does not reach; `clipped` and `dark` (H, W) bool are of the reference,
    which is frame `reference`.
    """

    aligned: tuple[Aligned, ...]
    agrees: tuple[Mask, ...]
    clipped: Mask
    dark: Mask
    reference: int

    @property
    def still(self) -> Mask:
        """(H, W) bool: all frames agree."""
        return np.logical_and.reduce(self.agrees)


def see(stack: Stack, recipe: Recipe) -> Cues:
    """Align the frames of a bracket and take both cues."""
    ref, ev = stack.reference, stack.ev
    aligned = tuple(align(stack, i, recipe.align) for i in range(len(ev)))
    agrees = tuple(
        np.ones(stack.size, bool)
        if i == ref
        else ~moving(aligned[ref].linear, ev[ref], aligned[i], ev[i], stack.stored, recipe)
        for i in range(len(ev))
    )
    codes, settings = stack.codes[ref], recipe.exposure
    return Cues(aligned, agrees, clipped(codes, settings), dark(codes, settings), ref)
