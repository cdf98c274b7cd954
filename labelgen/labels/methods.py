"""The three ways to make a label, chosen by the recipe setting `fusion.trust`.

Each function labels one tile, from the cues to the trust in each pixel. How frames are weighted is
a setting of its own (`fusion.weights`), so all of them start with `fuse`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from labelgen.alignment.chroma_upsampling import UNCERTAINTY_RADIUS
from labelgen.core.arrays import Array, Float, Mask, Region, power
from labelgen.core.bracket import Stack
from labelgen.core.recipe import Recipe
from labelgen.core.response import FULL_SAMPLING, GAMMA, decode
from labelgen.core.tiles import Borders
from labelgen.labels import cues, fusion, guess, trust
from labelgen.labels import expected_error as errors
from labelgen.labels.cues import Cues
from labelgen.labels.expected_error import chroma_error, expected_error
from labelgen.labels.fusion import fuse
from labelgen.labels.guess import FindFlow, guess_by_flow
from labelgen.labels.trust import (
    REFERENCE,
    STATIC,
    UNTRUSTED,
    tolerate,
    trust_cells,
    trust_clipped,
    trust_difference,
)


@dataclass(frozen=True)
class Tile:
    """A tile of a bracket, and the border around it that its pixels depend on."""

    stack: Stack
    """The bracket."""
    region: Region
    """Rows and columns of the tile in the frame, with the border."""
    cues: Cues
    """Cues of the region."""
    cells: Borders
    """Borders of the co-located cells within the region."""
    find_flow: FindFlow
    """Returns the dense flow for guesses."""

    @property
    def reference_ev(self) -> float:
        """Exposure of the reference in stops relative to the shortest frame."""
        return self.stack.ev[self.stack.reference]

    def reference_radiance(self, where: Mask | slice = slice(None)) -> Float:
        """Radiance of the reference alone, of all pixels or of those in a mask."""
        codes = self.cues.aligned[self.stack.reference].codes[where]
        return decode(codes) * np.float32(2.0**-self.reference_ev)


@dataclass(frozen=True)
class TileLabel:
    """Label of a tile, with its border."""

    radiance: Float
    """(H, W, 3) float32, 1.0 where the shortest frame clips."""
    kind: Array
    """(H, W) uint8: UNTRUSTED, STATIC or REFERENCE."""
    trust: Float
    """(H, W) float32, 0 to 1."""


@dataclass(frozen=True)
class Method:
    """A way to label a tile, and its receptive field in px."""

    label: Callable[[Tile, Recipe], TileLabel]
    receptive_field: Callable[[Recipe], int]


def label_cells(tile: Tile, recipe: Recipe) -> TileLabel:
    """Label by whole cells, as SS-HDR does (arXiv 2203.12311).

    A static cell gets the fused radiance. A moving cell that the reference exposes well gets the
    radiance of the reference. All other cells are untrusted.
    """
    fused = fuse(tile.cues, tile.stack, recipe)
    radiance = fused.radiance
    kind = np.where(fused.known, trust_cells(tile.cues, tile.cells, recipe), UNTRUSTED)
    _copy_reference(radiance, kind != STATIC, tile)
    return TileLabel(radiance, kind, _full_trust(kind))


def label_difference(tile: Tile, recipe: Recipe) -> TileLabel:
    """Label where fused radiance and reference are close, as SelfHDR does (arXiv 2310.01840)."""
    fused = fuse(tile.cues, tile.stack, recipe)
    radiance = fused.radiance
    reference = tile.reference_radiance()
    code = power(tile.cues.aligned[tile.stack.reference].linear, 1 / GAMMA)
    kind = np.where(fused.known, trust_difference(radiance, reference, code, recipe), UNTRUSTED)
    _copy_reference(radiance, kind == UNTRUSTED, tile)
    return TileLabel(radiance, kind, _full_trust(kind))


def label_pixels(tile: Tile, recipe: Recipe) -> TileLabel:
    """Label every pixel with a weight of its own.

    A pixel is fused from the frames that agree with the reference there. Trust is lower where the
    reference clips and something moves or has an edge, and where the rendering of the frames is
    expected to leave errors. Clipped pixels that keep less trust than a guess are guessed by dense
    flow.
    """
    settings = recipe.fusion
    fused = fuse(tile.cues, tile.stack, recipe)
    radiance = fused.radiance
    kind = np.where(fused.known, np.where(tile.cues.static, STATIC, REFERENCE), UNTRUSTED)
    weight = _full_trust(kind) * trust_clipped(tile.cues, radiance, settings)
    fill = tile.cues.clipped & (weight < settings.guess / 255)
    if fill.any():
        guessed, explained = guess_by_flow(tile.stack, fill, tile.region, tile.find_flow, recipe)
        fill &= explained
        radiance[fill], kind[fill] = guessed[fill], REFERENCE
        weight[fill] = settings.guess / 255
    error: Float | None = None
    sampling = tile.stack.source_format.sampling
    if settings.rendered:
        error = expected_error(fused, radiance, ~tile.cues.static, tile.stack)
        error *= np.float32(settings.rendered)
    elif sampling != FULL_SAMPLING:
        error = chroma_error(radiance, 2.0**tile.reference_ev, sampling)
    if error is not None:
        weight *= tolerate(error, settings)
    _copy_reference(radiance, kind == UNTRUSTED, tile)
    return TileLabel(radiance, kind, weight)


def _full_trust(kind: Array) -> Float:
    """Trust 1 in all pixels that have a label, 0 in the others."""
    return (kind != UNTRUSTED).astype(np.float32)


def _copy_reference(radiance: Float, where: Mask, tile: Tile) -> None:
    """Overwrite radiance by that of the reference, at the pixels of a mask."""
    radiance[where] = tile.reference_radiance(where)


def _fusion_field(recipe: Recipe) -> int:
    """Receptive field (px) of a label whose trust depends on no pixel beyond its cell."""
    return max(cues.receptive_field(recipe), fusion.receptive_field(recipe))


def _pixels_field(recipe: Recipe) -> int:
    """Receptive field (px) of `label_pixels`: its steps follow one another."""
    fused = fusion.receptive_field(recipe)
    clipped = max(
        cues.receptive_field(recipe) + trust.around_receptive_field(recipe),
        fused + trust.EDGE_BORDER,
    )
    filled = max(fused, clipped, guess.receptive_field(recipe))
    return filled + (errors.RADIUS if recipe.fusion.rendered else UNCERTAINTY_RADIUS)


METHODS = {
    "cell": Method(label_cells, _fusion_field),
    "difference": Method(label_difference, _fusion_field),
    "pixel": Method(label_pixels, _pixels_field),
}
"""Methods by the value of the recipe setting `fusion.trust`."""
