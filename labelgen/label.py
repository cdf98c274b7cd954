"""The label of a bracket: radiance in the geometry of its reference, and where to trust it.

Follows SS-HDR (arXiv 2203.12311) where trust is per cell, SelfHDR (arXiv 2310.01840) where it is
by the difference of label and reference; per pixel is ours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from labelgen.align import Aligned, align
from labelgen.arrays import Array, Bytes, Float, Mask, highest
from labelgen.bracket import Stack
from labelgen.exposure import clipped, dark
from labelgen.files import tone_mapped
from labelgen.fusion import fuse_triangle, fuse_variance, triangle
from labelgen.motion import moving
from labelgen.recipe import Recipe
from labelgen.response import GAMMA, mu_law

NOTHING, STATIC, REFERENCE = 0, 1, 2
"""How a pixel got its label: not at all, from all frames, from what agrees with the reference."""


@dataclass(frozen=True)
class Cues:
    """What the frames say of motion and exposure, in the geometry of the reference.

    `aligned` are F frames; `agrees` F masks (H, W), False where a frame shows something else
    than the reference or does not reach; `clipped` and `dark` (H, W) bool are of the reference.
    """

    aligned: tuple[Aligned, ...]
    agrees: tuple[Mask, ...]
    clipped: Mask
    dark: Mask

    @property
    def still(self) -> Mask:
        """(H, W) bool: all frames agree."""
        return np.logical_and.reduce(self.agrees)


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


def see(stack: Stack, recipe: Recipe) -> Cues:
    """Align the frames and take the motion and the exposure cue."""
    ref, ev = stack.reference, stack.ev
    aligned = tuple(align(stack, i, recipe.align) for i in range(len(ev)))
    agrees = tuple(
        np.ones(stack.size, bool)
        if i == ref
        else ~moving(aligned[ref].linear, ev[ref], aligned[i], ev[i], stack.stored, recipe)
        for i in range(len(ev))
    )
    codes = stack.codes[ref]
    return Cues(aligned, agrees, clipped(codes, recipe.exposure), dark(codes, recipe.exposure))


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
    if recipe.fusion.weights == "variance":
        fused, known = fuse_variance(cues.aligned, stack.ev, cues.agrees, stack.stored, recipe)
    else:
        fused = fuse_triangle(cues.aligned, stack.ev, stack.reference, recipe.exposure.clip)
        known = np.ones(stack.size, bool)
    reference = stack.radiance(stack.reference)
    if recipe.fusion.trust == "cell":
        kind = trust_cells(cues, recipe)
    elif recipe.fusion.trust == "pixel":
        kind = np.where(cues.still, STATIC, REFERENCE)
    else:
        code = cues.aligned[stack.reference].linear ** np.float32(1 / GAMMA)
        kind = trust_difference(fused, reference, code, recipe)
    kind = np.where(known, kind, NOTHING).astype(np.uint8)
    weight = np.where(known & (kind != NOTHING), 255, 0).astype(np.uint8)
    if recipe.fusion.guess and recipe.fusion.weights == "variance" and not known.all():
        guessed, explained = guess(stack, recipe)
        fill = (kind == NOTHING) & explained
        fused[fill], kind[fill], weight[fill] = guessed[fill], REFERENCE, recipe.fusion.guess
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
    cues = see(stack, replace(recipe, align=replace(recipe.align, method="flow")))
    return fuse_variance(cues.aligned, stack.ev, cues.agrees, stack.stored, recipe)


def cells(size: tuple[int, int], patch: int) -> tuple[list[int], list[int]]:
    """Borders of the grid of co-located cells, as many as patches of that size cover the frame.

    Parameters
    ----------
    size : (int, int)
        Height and width in pixels.
    patch : int
        Side of a patch in pixels; cells are at most that large.

    Returns
    -------
    ys, xs : list of int
        Borders in pixels, first 0, last the height or width.

    Examples
    --------
    >>> ys, xs = cells((1000, 1500), 128)
    >>> len(ys) - 1, len(xs) - 1, xs[1]
    (8, 12, 125)
    """
    ys, xs = ([round(k * n / -(-n // patch)) for k in range(-(-n // patch) + 1)] for n in size)
    return ys, xs


def trust_cells(cues: Cues, recipe: Recipe) -> Array:
    """SS-HDR: cells static in all frames, or well exposed in the reference, or rejected.

    Returns
    -------
    (H, W) uint8
        STATIC, REFERENCE or NOTHING, equal within a cell.
    """
    ys, xs = cells(cues.dark.shape, recipe.patches.size)

    def shares(mask: Mask) -> Array:
        rows = np.add.reduceat(mask.astype(np.float64), ys[:-1], 0)
        return np.asarray(np.add.reduceat(rows, xs[:-1], 1) / np.outer(np.diff(ys), np.diff(xs)))

    static = np.logical_and.reduce([shares(~a) <= recipe.motion.cell_share for a in cues.agrees])
    exposed = (shares(cues.clipped) <= recipe.exposure.clipped_share) & (
        shares(cues.dark) <= recipe.exposure.dark_share
    )
    kind = np.where(static, STATIC, np.where(exposed, REFERENCE, NOTHING))
    return kind.repeat(np.diff(ys), 0).repeat(np.diff(xs), 1)


def trust_difference(fused: Float, reference: Float, code: Float, recipe: Recipe) -> Array:
    """SelfHDR: label and reference, both times the triangle of the reference, agree in mu-law.

    Parameters
    ----------
    fused, reference : (H, W, 3) float32
        Radiance, 1.0 where the shortest frame clips.
    code : (H, W, 3) float32
        Code of the reference, 0 to 1.
    recipe : Recipe
        Its fusion settings.

    Returns
    -------
    (H, W) uint8
        STATIC or NOTHING. What the reference clips is trusted, whatever it is.
    """
    difference = np.abs(mu_law(fused) - mu_law(reference)) * triangle(code)
    return np.where(highest(difference) <= recipe.fusion.difference, STATIC, NOTHING)


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
