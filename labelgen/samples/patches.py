"""Choose which patches of a labelled frame become samples: by cells of a grid, or by a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import cv2
import numpy as np

from labelgen.core.arrays import Float, Mask, apply_lut, mask_fraction, max_channel, to_float32
from labelgen.core.recipe import Recipe
from labelgen.core.response import mu_law
from labelgen.core.settings import Patches
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.sample import Patch
from labelgen.labels.label import Label
from labelgen.labels.trust import STATIC, cell_borders


def unmasked_patches(patches: Sequence[Patch], masked: Mask, side: int) -> list[Patch]:
    """The patches, of so many pixels a side, that show nothing of what is masked."""
    return [p for p in patches if not masked[p.y : p.y + side, p.x : p.x + side].any()]


def sample_count(patch: Patch, settings: Patches) -> int:
    """How many samples a patch gives at most."""
    return settings.hard_variants if patch.hard else settings.variants


def grid_patches(
    size: tuple[int, int], side: int, branch: int = BRANCHES.index("truth")
) -> list[Patch]:
    """One patch centred on every cell of a frame, moved inwards where it would leave it.

    Parameters
    ----------
    size : (int, int)
        Height and width of the frame in pixels, each at least `side`.
    side : int
        Side of the patches in pixels.
    branch : int
        Branch of all of them.
    """
    (ys, xs), (height, width) = cell_borders(size, side), size

    def starts(borders: list[int], length: int) -> list[int]:
        middles = [(a + b - side) // 2 for a, b in pairwise(borders)]
        return [min(max(m, 0), length - side) for m in middles]

    at = [(y, x) for y in starts(ys, height) for x in starts(xs, width)]
    return [Patch(i, y, x, branch) for i, (y, x) in enumerate(at)]


def choose_patches(label: Label, recipe: Recipe) -> list[Patch]:
    """The patches of a label that are trusted enough: of all cells, or more of what teaches more.

    A patch is static if its square is (but for `motion.cell_share`), otherwise its label rests on
    the reference.
    """
    if recipe.patches.choice == "score":
        return _choose_by_score(label, recipe)
    height, width = label.weight.shape
    ys, xs = cell_borders((height, width), recipe.patches.size)
    chosen = []
    for patch in grid_patches((height, width), recipe.patches.size):
        row, column = divmod(patch.index, len(xs) - 1)
        cell = np.s_[ys[row] : ys[row + 1], xs[column] : xs[column + 1]]
        if cv2.mean(label.weight[cell])[0] >= 255 * recipe.patches.min_trust:
            chosen.append(replace(patch, branch=_branch(label, cell, recipe)))
    return chosen


def max_samples(size: tuple[int, int], side: int, settings: Patches) -> int:
    """Samples that a frame (height, width) can give at most."""
    ys, xs = cell_borders(size, side)
    every, between = (len(ys) - 1) * (len(xs) - 1), (len(ys) - 2) * (len(xs) - 2)
    if settings.choice == "grid":
        return every * settings.variants
    return (every + between) * max(settings.variants, settings.hard_variants)


def _choose_by_score(label: Label, recipe: Recipe) -> list[Patch]:
    """All hard patches, also those between the cells, and an even choice of the ordinary ones."""
    settings, (height, width) = recipe.patches, label.weight.shape
    on_grid = grid_patches((height, width), settings.size)
    scores = _Scores(label, recipe)
    hard, ordinary = [], []
    for patch in [*on_grid, *half_cell_patches(on_grid)]:
        at = np.s_[patch.y : patch.y + settings.size, patch.x : patch.x + settings.size]
        trust = cv2.mean(label.weight[at])[0] / 255
        if trust < settings.min_trust:
            continue
        score = trust * scores.of(at)
        patch = replace(patch, branch=_branch(label, at, recipe), hard=score >= settings.hard)
        if patch.hard:
            hard.append(patch)
        elif patch.index < len(on_grid):
            ordinary.append((score, patch.index, patch))
    # Even over the ranking: flat sky is rare then, but not unknown.
    ranked = [patch for *_, patch in sorted(ordinary, key=lambda o: o[:2])]
    kept = round(settings.ordinary * len(ranked))
    even = [ranked[int((k + 0.5) * len(ranked) / kept)] for k in range(kept)]
    return sorted([*hard, *even], key=lambda p: p.index)


def half_cell_patches(patches: Sequence[Patch]) -> list[Patch]:
    """Patches half a cell off a grid in both directions, numbered after those of the grid."""
    ys, xs = sorted({p.y for p in patches}), sorted({p.x for p in patches})
    at = [((a + b) // 2, (c + d) // 2) for a, b in pairwise(ys) for c, d in pairwise(xs)]
    return [Patch(len(patches) + k, y, x, patches[0].branch) for k, (y, x) in enumerate(at)]


class _Scores:
    """How much patches of a label teach, 0 to 1.

    The mean of three terms: clipping with something unclipped beside it, motion,
    and texture of the label where it is trusted. Each grows linearly up to a share in the recipe.
    """

    def __init__(self, label: Label, recipe: Recipe) -> None:
        self.label, self.settings = label, recipe.patches
        self.static = label.static

    def of(self, at: tuple[slice, slice]) -> float:
        """Score of a part of the frame."""
        clips = mask_fraction(self.label.clipped[at])
        terms = (
            (min(clips, 1 - clips), self.settings.clipped_share),
            (1 - mask_fraction(self.static[at]), self.settings.moving_share),
            (self._slope(at), self.settings.texture),
        )
        total = sum(min(1.0, value / max(full, 1e-6)) for value, full in terms)
        return total / len(terms)

    def _slope(self, at: tuple[slice, slice]) -> float:
        """Mean steepness in mu-law per px of a part of the frame; 0 where it is not trusted."""
        # Halves of at least 0 rise as their bits do, so that the bits can be looked up.
        shown = apply_lut(_shown_halves(), max_channel(self.label.stored[at].view(np.uint16)))
        slope = np.zeros_like(shown)
        slope[:, :-1] = cv2.absdiff(shown[:, 1:], shown[:, :-1])
        slope[:-1] = np.maximum(slope[:-1], cv2.absdiff(shown[1:], shown[:-1]))
        return float((slope * (self.label.weight[at] >= 128)).sum() / slope.size)


@cache
def _shown_halves() -> Float:
    """In mu-law what each half of 0 to 1 stands for, by its bits; 0 beyond."""
    shown = np.zeros(1 << 16, np.float32)
    bits = np.arange(np.float16(1).view(np.uint16) + 1, dtype=np.uint16)
    shown[bits] = mu_law(to_float32(bits.view(np.float16)))
    return shown


def _branch(label: Label, at: tuple[slice, slice], recipe: Recipe) -> int:
    static = mask_fraction(label.kind[at] == STATIC) >= 1 - recipe.motion.cell_share
    return BRANCHES.index("static" if static else "reference")
