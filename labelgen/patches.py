"""Choose which patches of a labelled frame become samples: co-located, one per cell of a grid."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from labelgen.format import BRANCHES
from labelgen.label import STATIC, Label, cells
from labelgen.recipe import Patches, Recipe


@dataclass(frozen=True)
class Patch:
    """A square of the reference frame.

    `index` is the number of its cell, row by row; `y`, `x` the upper left pixel; `branch` an
    index into BRANCHES.
    """

    index: int
    y: int
    x: int
    branch: int


def variants(patch: Patch, settings: Patches) -> int:
    """How many samples a patch gives at most."""
    return settings.variants


def grid(size: tuple[int, int], side: int, branch: int = BRANCHES.index("truth")) -> list[Patch]:
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
    (ys, xs), (height, width) = cells(size, side), size

    def starts(borders: list[int], length: int) -> list[int]:
        middles = [(a + b - side) // 2 for a, b in pairwise(borders)]
        return [min(max(m, 0), length - side) for m in middles]

    at = [(y, x) for y in starts(ys, height) for x in starts(xs, width)]
    return [Patch(i, y, x, branch) for i, (y, x) in enumerate(at)]


def choose(label: Label, recipe: Recipe) -> list[Patch]:
    """The patches of a label whose cells are trusted enough.

    A patch is static if its cell is (but for `motion.cell_share`), otherwise its label rests on
    the reference.
    """
    size = label.weight.shape
    ys, xs = cells((size[0], size[1]), recipe.patches.size)
    chosen = []
    for patch in grid((size[0], size[1]), recipe.patches.size):
        row, column = divmod(patch.index, len(xs) - 1)
        cell = np.s_[ys[row] : ys[row + 1], xs[column] : xs[column + 1]]
        if label.weight[cell].mean() < 255 * recipe.patches.min_trust:
            continue
        static = (label.kind[cell] == STATIC).mean() >= 1 - recipe.motion.cell_share
        branch = BRANCHES.index("static" if static else "reference")
        chosen.append(Patch(patch.index, patch.y, patch.x, branch))
    return chosen
