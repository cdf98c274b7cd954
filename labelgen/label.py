"""The label of a bracket: radiance in the geometry of its reference, and where to trust it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from labelgen.arrays import Bytes, Float, Mask, power
from labelgen.bracket import Stack
from labelgen.cues import Cues, see
from labelgen.files import tone_mapped
from labelgen.fusion import fuse_triangle, fuse_variance
from labelgen.recipe import Recipe
from labelgen.response import GAMMA
from labelgen.trust import (
    NOTHING,
    REFERENCE,
    STATIC,
    trust_cells,
    trust_clipped,
    trust_difference,
    trust_lossy,
)


@dataclass(frozen=True)
class Label:
    """Full-frame label of a bracket.

    `radiance` is (H, W, 3) float32, at most 1.0, which is where the shortest frame clips;
    `weight` (H, W) uint8 is the trust, 0 none to 255 full; `kind` (H, W) uint8 is NOTHING, STATIC
    or REFERENCE.
    """

    radiance: Float
    weight: Bytes
    kind: Bytes
    cues: Cues

    def figures(self) -> dict[str, Any]:
        """Shares of the frame by cue and kind, for people and for the report."""
        share = {
            "trusted": self.weight >= 128,
            "static": self.kind == STATIC,
            "reference": self.kind == REFERENCE,
            "moving": ~self.cues.still,
            "clipped": self.cues.clipped,
            "dark": self.cues.dark,
        }
        figures: dict[str, Any] = {k: round(float(v.mean()), 5) for k, v in share.items()}
        return figures | {"alignment_px": [round(a.shift, 3) for a in self.cues.aligned]}


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
        trusted is the reference's own.
    """
    # A camera clips at codes of its own response; what follows sees gamma 2.2.
    clip = stack.stored.response.clip(recipe.exposure.clip)
    recipe = replace(recipe, exposure=replace(recipe.exposure, clip=clip))
    cues = see(stack, recipe)
    reference = stack.radiance(stack.reference)
    if recipe.fusion.weights == "variance":
        fused, known = fuse_variance(cues, stack, recipe)
    else:
        fused = fuse_triangle(cues.aligned, stack.ev, stack.reference, recipe.exposure.clip)
        known = np.ones(stack.size, bool)
    if recipe.fusion.trust == "cell":
        kind = trust_cells(cues, recipe)
    elif recipe.fusion.trust == "pixel":
        kind = np.where(cues.still, STATIC, REFERENCE)
    else:
        code = power(cues.aligned[stack.reference].linear, 1 / GAMMA)
        kind = trust_difference(fused, reference, code, recipe)
    kind = np.where(known, kind, NOTHING).astype(np.uint8)
    trust = (kind != NOTHING).astype(np.float32)
    if recipe.fusion.trust == "pixel":
        trust *= trust_clipped(cues, fused, recipe.fusion)
        fill = cues.clipped & (trust < recipe.fusion.guess / 255)
        if fill.any():
            guessed, explained = guess(stack, recipe)
            fill &= explained
            fused[fill], kind[fill] = guessed[fill], REFERENCE
            trust[fill] = recipe.fusion.guess / 255
        if stack.stored.lossy:
            trust *= trust_lossy(fused, 2.0 ** stack.ev[stack.reference], recipe.fusion)
    weight = np.rint(255 * trust).astype(np.uint8)
    # A moving cell is the reference itself; moving pixels are what agrees with the reference.
    own = (kind == NOTHING) | ((kind == REFERENCE) & (recipe.fusion.trust == "cell"))
    radiance = np.clip(np.where(own[..., None], reference, fused), 0, 1)
    return Label(radiance, weight, kind, cues)


def guess(stack: Stack, recipe: Recipe) -> tuple[Float, Mask]:
    """What dense flow makes of a bracket, for pixels that nothing else can tell.

    Where something moves before a clipped reference, only a guess is possible: content of shorter
    frames that flow carries there and that is at least as bright as the reference proves.

    Returns
    -------
    radiance : (H, W, 3) float32
        1.0 where the shortest frame clips.
    explained : (H, W) bool
        Where some frame agrees with the reference after the flow.
    """
    # Longer frames clip wherever the reference does.
    seen = stack.reference + 1
    shorter = replace(stack, codes=stack.codes[:seen], ev=stack.ev[:seen])
    cues = see(shorter, replace(recipe, align=replace(recipe.align, method="flow")))
    return fuse_variance(cues, shorter, recipe)


def picture(label: Label, reference: Float) -> Bytes:
    """What the cues saw, to look at: (H, W, 3) uint8 RGB.

    The reference in grey under colours: red moved, yellow clipped in the reference, blue too
    dark there; dimmed where the label is not trusted.
    """
    grey = tone_mapped(reference).mean(-1, keepdims=True).repeat(3, -1) * 0.75
    cues = label.cues
    for mask, colour in (
        (cues.dark, (40, 90, 255)),
        (cues.clipped, (255, 220, 0)),
        (~cues.still, (255, 40, 30)),
    ):
        grey[mask] = 0.5 * grey[mask] + 0.5 * np.array(colour)
    grey *= 0.35 + 0.65 * (label.weight[..., None] / np.float32(255))
    return np.rint(grey).astype(np.uint8)
