"""Guess what a clipped reference hides behind something that moves, by dense optical flow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from labelgen.alignment.align import Displacement
from labelgen.core.arrays import Float, Mask, Region
from labelgen.core.bracket import Stack
from labelgen.core.recipe import Recipe
from labelgen.core.tiles import absolute_region, covering_boxes, pad_region, relative_region
from labelgen.labels import fusion
from labelgen.labels.cues import compute_cues

Geometry: TypeAlias = tuple[Displacement | None, ...]
"""Displacement of each of the F frames; None for a frame that is used as it is."""
FindFlow: TypeAlias = Callable[[], Geometry]
"""Returns the dense flow of the frames up to the reference. It is computed on the first call."""

MIN_BORDER = 24
"""Least border (px) around guessed pixels that is computed with them (see `label.MIN_BORDER`)."""


def receptive_field(recipe: Recipe) -> int:
    """Distance (px) of the farthest pixel that a guessed pixel depends on."""
    return fusion.variance_receptive_field(recipe)


def frames_up_to_reference(stack: Stack) -> Stack:
    """Return a stack without the frames longer than the reference: they clip where it does."""
    count = stack.reference + 1
    return replace(stack, codes=stack.codes[:count], ev=stack.ev[:count], gains=stack.gains[:count])


def guess_by_flow(
    stack: Stack, mask: Mask, region: Region, find_flow: FindFlow, recipe: Recipe
) -> tuple[Float, Mask]:
    """Fuse the shorter frames after dense flow, at pixels where nothing else gives a label.

    Where something moves in front of a clipped reference, only a guess is possible: content of
    shorter frames that flow carries there and that is at least as bright as the reference proves.

    Parameters
    ----------
    stack : Stack
        The bracket.
    mask : (H, W) bool
        Pixels of the region to guess.
    region : Region
        Rows and columns of the frame.
    find_flow : FindFlow
        Returns the dense flow; called only if `mask` is not empty.
    recipe : Recipe
        Its motion, noise and fusion settings.

    Returns
    -------
    radiance : (H, W, 3) float32
        1.0 where the shortest frame clips.
    explained : (H, W) bool
        Pixels of the mask at which some frame agrees with the reference after the flow.
    """
    radiance, explained = np.zeros((*mask.shape, 3), np.float32), np.zeros(mask.shape, bool)
    shorter, border = frames_up_to_reference(stack), max(receptive_field(recipe), MIN_BORDER)
    for box in covering_boxes(mask, border):
        padded = pad_region(box, mask.shape, border)
        cues = compute_cues(shorter, find_flow(), absolute_region(padded, region), recipe)
        guessed = fusion.fuse_variance(cues, shorter, recipe)
        inner = relative_region(box, padded)
        radiance[box], explained[box] = guessed.radiance[inner], guessed.known[inner]
    return radiance, explained
