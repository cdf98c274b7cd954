"""Choose which patches of a labelled frame become samples: by cells of a grid, or by a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import cv2
import numpy as np

from labelgen.core.arrays import (
    Float,
    Mask,
    Region,
    apply_lut,
    mask_fraction,
    max_channel,
    to_float32,
)
from labelgen.core.recipe import Recipe
from labelgen.core.response import mu_law
from labelgen.core.settings import Patches
from labelgen.dataset.columns import BRANCHES, TRUSTED_WEIGHT
from labelgen.dataset.sample import Patch
from labelgen.labels.label import Label
from labelgen.labels.trust import STATIC, cell_borders


def choose_patches(label: Label, recipe: Recipe) -> list[Patch]:
    """Choose the patches of a label that become samples, among those that are trusted enough.

    The branch of a patch is "static" if all of it is static but for `motion.cell_share`, otherwise
    "reference".

    Parameters
    ----------
    label : Label
        The label of a frame.
    recipe : Recipe
        With `patches.choice` = "grid", all cells of a grid; with "score", hard patches and some
        of the others.

    Returns
    -------
    list of Patch
        By rising index.
    """
    if recipe.patches.choice == "score":
        return _choose_by_score(label, recipe)
    height, width = label.weight.shape
    ys, xs = cell_borders((height, width), recipe.patches.size)
    chosen = []
    for patch in grid_patches((height, width), recipe.patches.size):
        row, column = divmod(patch.index, len(xs) - 1)
        cell = np.s_[ys[row] : ys[row + 1], xs[column] : xs[column + 1]]
        if _mean_weight(label, cell) >= 255 * recipe.patches.min_trust:
            chosen.append(replace(patch, branch=_branch(label, cell, recipe)))
    return chosen


def grid_patches(
    size: tuple[int, int], side: int, branch: int = BRANCHES.index("truth")
) -> list[Patch]:
    """Centre a patch on every cell of a frame, moved inwards where it would cross the border.

    Parameters
    ----------
    size : (int, int)
        Height and width of the frame in pixels, each at least `side`.
    side : int
        Side of the patches in pixels.
    branch : int
        Branch of all patches.

    Returns
    -------
    list of Patch
        Row by row.

    Examples
    --------
    >>> [(p.y, p.x) for p in grid_patches((100, 250), 100)]
    [(0, 0), (0, 75), (0, 150)]
    """
    (ys, xs), (height, width) = cell_borders(size, side), size

    def starts(borders: list[int], length: int) -> list[int]:
        centred = [(a + b - side) // 2 for a, b in pairwise(borders)]
        return [min(max(start, 0), length - side) for start in centred]

    corners = [(y, x) for y in starts(ys, height) for x in starts(xs, width)]
    return [Patch(i, y, x, branch) for i, (y, x) in enumerate(corners)]


def half_cell_patches(on_grid: Sequence[Patch]) -> list[Patch]:
    """Place patches half a cell off a grid in both directions, numbered after those of the grid."""
    ys, xs = sorted({p.y for p in on_grid}), sorted({p.x for p in on_grid})
    corners = [((a + b) // 2, (c + d) // 2) for a, b in pairwise(ys) for c, d in pairwise(xs)]
    return [Patch(len(on_grid) + k, y, x, on_grid[0].branch) for k, (y, x) in enumerate(corners)]


def unmasked_patches(patches: Sequence[Patch], masked: Mask, side: int) -> list[Patch]:
    """Return the patches, `side` px wide, without any masked pixel."""
    return [p for p in patches if not masked[p.y : p.y + side, p.x : p.x + side].any()]


def sample_count(patch: Patch, settings: Patches) -> int:
    """Return how many samples a patch gives at most."""
    return settings.hard_variants if patch.hard else settings.variants


def max_samples(size: tuple[int, int], side: int, settings: Patches) -> int:
    """Return how many samples a frame (height, width) gives at most."""
    ys, xs = cell_borders(size, side)
    on_grid, between = (len(ys) - 1) * (len(xs) - 1), (len(ys) - 2) * (len(xs) - 2)
    if settings.choice == "grid":
        return on_grid * settings.variants
    return (on_grid + between) * max(settings.variants, settings.hard_variants)


def _choose_by_score(label: Label, recipe: Recipe) -> list[Patch]:
    """Choose all hard patches, also half a cell off the grid, and some of the others on it."""
    settings, (height, width) = recipe.patches, label.weight.shape
    on_grid = grid_patches((height, width), settings.size)
    scorer = _Scorer(label, settings)
    hard, others = [], []
    for patch in [*on_grid, *half_cell_patches(on_grid)]:
        region = np.s_[patch.y : patch.y + settings.size, patch.x : patch.x + settings.size]
        trust = _mean_weight(label, region) / 255
        if trust < settings.min_trust:
            continue
        score = trust * scorer.score(region)
        branch = _branch(label, region, recipe)
        if score >= settings.hard:
            hard.append(replace(patch, branch=branch, hard=True))
        elif patch.index < len(on_grid):
            others.append((score, patch.index, replace(patch, branch=branch)))
    # Evenly spaced by score: patches of flat sky become rare, but some remain.
    ranked = [patch for *_, patch in sorted(others, key=lambda other: other[:2])]
    count = round(settings.ordinary * len(ranked))
    evenly_spaced = [ranked[int((k + 0.5) * len(ranked) / count)] for k in range(count)]
    return sorted([*hard, *evenly_spaced], key=lambda p: p.index)


class _Scorer:
    """Score how much patches of a label teach, 0 to 1.

    The score is the mean of three terms: clipped next to unclipped pixels, motion, and texture of
    the label where it is trusted. Each term rises linearly to 1 at a value of the recipe.
    """

    def __init__(self, label: Label, settings: Patches) -> None:
        self.label, self.settings = label, settings
        self.static = label.static

    def score(self, region: Region) -> float:
        """Score a region of the frame."""
        clipped = mask_fraction(self.label.clipped[region])
        terms = (
            (min(clipped, 1 - clipped), self.settings.clipped_share),
            (1 - mask_fraction(self.static[region]), self.settings.moving_share),
            (self._texture(region), self.settings.texture),
        )
        total = sum(min(1.0, value / max(full, 1e-6)) for value, full in terms)
        return total / len(terms)

    def _texture(self, region: Region) -> float:
        """Mean gradient (mu-law per px) of the label; 0 where it is not trusted."""
        # The bits of float16 from 0 to 1 rise with its value, so the largest channel and mu-law can
        # be found from the bits alone.
        bits = max_channel(self.label.stored[region].view(np.uint16))
        image = apply_lut(_mu_law_of_float16(), bits)
        gradient = np.zeros_like(image)
        gradient[:, :-1] = cv2.absdiff(image[:, 1:], image[:, :-1])
        gradient[:-1] = np.maximum(gradient[:-1], cv2.absdiff(image[1:], image[:-1]))
        return float(
            (gradient * (self.label.weight[region] >= TRUSTED_WEIGHT)).sum() / gradient.size
        )


@cache
def _mu_law_of_float16() -> Float:
    """Table of the mu-law of each float16 of 0 to 1, by its bits; 0 for others."""
    lut = np.zeros(1 << 16, np.float32)
    bits = np.arange(np.float16(1).view(np.uint16) + 1, dtype=np.uint16)
    lut[bits] = mu_law(to_float32(bits.view(np.float16)))
    return lut


def _mean_weight(label: Label, region: Region) -> float:
    return cv2.mean(label.weight[region])[0]


def _branch(label: Label, region: Region, recipe: Recipe) -> int:
    static = mask_fraction(label.kind[region] == STATIC) >= 1 - recipe.motion.cell_share
    return BRANCHES.index("static" if static else "reference")
