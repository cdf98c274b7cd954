"""Differences of aligned frames where nothing moves, measured on the bracket itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from labelgen.alignment.align import Displacement, align_region
from labelgen.core.arrays import Float, Region
from labelgen.core.bracket import Stack
from labelgen.core.recipe import Recipe

LEVELS, GRADIENTS = 24, 8
MAX_GRADIENT = 0.3
QUANTILE = 0.5
PIXELS = 2.5e5
CELL = 128
MIN_COUNT = 100


@dataclass(frozen=True)
class Spread:
    tables: tuple[Float | None, ...]
    """F tables (3, LEVELS, GRADIENTS) float32; None for the reference."""


def bins(level: Float, gradient: Float):
    lev = np.clip(level * np.float32(LEVELS), 0, LEVELS - 1).astype(np.intp)
    gra = np.sqrt(gradient * np.float32(1 / MAX_GRADIENT)) * np.float32(GRADIENTS)
    gra = np.clip(gra, 0, GRADIENTS - 1).astype(np.intp)
    return lev * GRADIENTS + gra


def sample_regions(size: tuple[int, int]) -> list[Region]:
    h, w = size
    ys, xs = (max(1, n // CELL) for n in size)
    cells = [(slice(h * i // ys, h * (i + 1) // ys), slice(w * j // xs, w * (j + 1) // xs)) for i in range(ys) for j in range(xs)]
    step = max(1, round(h * w / PIXELS))
    return cells[:: step] if step < len(cells) else cells[:1]


def measure_spread(stack: Stack, geometry: Sequence[Displacement | None], recipe: Recipe) -> Spread:
    from labelgen.labels.motion import compare
    rows = {i: [[], [], []] for i in range(len(stack.ev)) if i != stack.reference}
    for region in sample_regions(stack.size):
        frames = [align_region(stack, i, d, region, recipe.fusion.chroma) for i, d in enumerate(geometry)]
        for i in rows:
            inner = frames[i].valid
            for c, (d, level, slope) in enumerate(compare(frames[stack.reference], stack.ev[stack.reference], frames[i], stack.ev[i], recipe)):
                rows[i][c].append(np.stack([bins(level, slope)[inner].astype(np.float32), np.abs(d)[inner]]))
    return Spread(tuple(None if i == stack.reference else np.stack([_table(np.concatenate(r, 1)) for r in rows[i]]) for i in range(len(stack.ev))))


def _table(rows) -> Float:
    index = rows[0].astype(np.intp)
    order = np.argsort(index, kind="stable")
    index, d = index[order], rows[1][order]
    borders = np.searchsorted(index, np.arange(LEVELS * GRADIENTS + 1))
    table = np.zeros(LEVELS * GRADIENTS)
    count = np.diff(borders).astype(float)
    for k in range(LEVELS * GRADIENTS):
        part = d[borders[k] : borders[k + 1]]
        if len(part):
            table[k] = np.quantile(part, QUANTILE) * 1.4826
    table, count = table.reshape(LEVELS, GRADIENTS), np.minimum(count.reshape(LEVELS, GRADIENTS), 2000.0)
    weight = count + 1e-6
    k = np.array([[0.05, 0.25, 0.05], [0.25, 1, 0.25], [0.05, 0.25, 0.05]])
    num = cv2.filter2D(table**2 * weight, -1, k, borderType=cv2.BORDER_CONSTANT)
    den = cv2.filter2D(weight, -1, k, borderType=cv2.BORDER_CONSTANT)
    smooth = np.sqrt(num / den)
    smooth[den < MIN_COUNT] = 0
    return smooth.astype(np.float32)
