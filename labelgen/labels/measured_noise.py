"""Noise of the differences of aligned frames, measured in the bracket itself.

Noise of the sensor is only a part of what makes still frames differ: demosaicing, denoising,
sharpening, compression, and small errors of the alignment and of the response add to it. Most of a
scene stands still, so all of these can be measured together. They are compared to the noise of the
camera model, separately by level of light and by gradient (as Liu et al. 2008,
doi:10.1109/TPAMI.2007.1176, do by level). Low quantiles are hardly changed by what moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from labelgen.core.arrays import Array, Float, Region
from labelgen.core.bracket import Stack
from labelgen.core.tiles import cell_edges
from labelgen.labels.difference import Difference, FramePair, gaussian_radius

LEVELS, GRADIENTS = 12, 8
"""Bins by level of light and by gradient."""
MAX_GRADIENT = 0.3
"""Gradients (mu-law per px) from here on share the last bin. Bins are narrower for small ones."""
TOP_LEVEL = 0.99
"""Levels from here on are the last bin. Both frames clip there, so it has no noise to measure."""
DARK_LEVELS = 2
"""Bins that are too dark to tell the noise of a bracket as a whole: blacks may be crushed."""
UNTESTED = 1e3
"""Coarse noise where both frames clip: there the coarse difference tells nothing."""
FLOOR = 0.006
"""Added to the noise of the model (mu-law), which may be hardly any."""
QUANTILE, QUANTILE_DEVIATIONS = 0.3, 0.3853
"""Noise is told by this quantile of absolute differences, which is so many standard deviations of a
normal distribution. Up to 70 % of a bin may move."""
MAX_RATIO = 2.0
"""A bin has at most this multiple of the noise of all levels with its gradient. In a bin with more,
most pixels move."""
MIN_COUNT, FULL_COUNT = 50, 500
"""Bins with fewer pixels are not known; the weight of a bin grows up to the second number."""
NEIGHBOURS = np.array([[0.05, 0.25, 0.05], [0.25, 1, 0.25], [0.05, 0.25, 0.05]])
"""Weights of the bins that a bin is averaged with."""
COARSE_SIGMA = 3.0
COARSE_RADIUS = gaussian_radius(COARSE_SIGMA)
COARSE = (2 * COARSE_RADIUS + 1, 2 * COARSE_RADIUS + 1), COARSE_SIGMA
"""Size and standard deviation (px) of the Gaussian of coarse differences."""
PIXELS, CELL, STRIDE = 2.5e5, 128, 2
"""Evenly spaced cells of this side (px) are measured, which hold about so many pixels together. Of
these, every second one in both directions is used."""
MAX_SHARE, GOLDEN_RATIO = 2 / 3, (5**0.5 - 1) / 2
"""All cells are measured if they would be a larger share. Otherwise they are spread by a lattice of
the golden ratio, which leaves no gaps."""


@dataclass(frozen=True)
class MeasuredNoise:
    """Noise of the difference between each frame and the reference."""

    tables: tuple[Float | None, ...]
    """For each of the F frames (2, 3, LEVELS, GRADIENTS) float32: standard deviation of the smooth
    and of the coarse difference in R, G, B, relative to `scaled_noise`. 0 in bins where it is not
    known. None for the reference."""
    ratio: float
    """Standard deviation of smooth differences in flat areas, relative to `scaled_noise`; 1 if not
    known."""


def noise_index(difference: Difference) -> NDArray[np.intp]:
    """Index (H, W) of the bin of each pixel in a flat table."""
    level = difference.level * np.float32((LEVELS - 1) / TOP_LEVEL)
    gradient = np.sqrt(difference.gradient * np.float32(1 / MAX_GRADIENT)) * np.float32(GRADIENTS)
    index = np.clip(level, 0, LEVELS - 1).astype(np.intp)
    index *= GRADIENTS
    index += np.clip(gradient, 0, GRADIENTS - 1).astype(np.intp)
    return index


def scaled_noise(difference: Difference) -> Float:
    """Noise (H, W) of the camera model that tables refer to."""
    return difference.noise + np.float32(FLOOR)


def measure_noise(stack: Stack, regions: Sequence[Sequence[FramePair | None]]) -> MeasuredNoise:
    """Measure the noise of a bracket.

    Parameters
    ----------
    stack : Stack
        The bracket.
    regions : sequence of sequence of FramePair or None
        For some regions of the frame, the reference with each of the F frames; None for the
        reference itself.
    """
    tables: list[Float | None] = []
    ratios: list[float] = []
    for i in range(len(stack.ev)):
        pairs = [p for region in regions if (p := region[i]) is not None]
        if not pairs:
            tables.append(None)
            continue
        measured = [_measure_channel(channel) for channel in _samples(pairs)]
        tables.append(np.stack([np.stack([m[k] for m in measured]) for k in (0, 1)]))
        ratios += [m[2] for m in measured if m[2]]
    ratio = float(np.median(ratios)) if ratios else 1.0
    return MeasuredNoise(tuple(tables), ratio)


def sample_cells(size: tuple[int, int]) -> list[Region]:
    """Cells of a frame (height, width) in which noise is measured, evenly spaced."""
    h, w = size
    ys, xs = (cell_edges(n, max(1, n // CELL)) for n in size)
    cells = [(y, x) for y in ys for x in xs]
    share = PIXELS / (h * w)
    if share > MAX_SHARE:
        return cells
    # Points of a lattice: every n-th cell, row by row, may be the same column again and again.
    count = max(1, round(len(cells) * share))
    along = (np.arange(count) + 0.5) / count
    across = (np.arange(count) * GOLDEN_RATIO + 0.5) % 1
    down, right = (along, across) if h > w else (across, along)
    places = zip((down * len(ys)).astype(int), (right * len(xs)).astype(int), strict=True)
    return [(ys[y], xs[x]) for y, x in dict.fromkeys(places)]


def _samples(pairs: Sequence[FramePair]) -> list[Array]:
    """Rows of index, smooth and coarse difference (3, N) for each channel, of all regions."""
    samples: list[list[Array]] = [[], [], []]
    every = np.s_[::STRIDE, ::STRIDE]
    for pair in pairs:
        valid = pair.other.valid[every]
        for channel, difference in zip(samples, pair.channels(), strict=True):
            coarse = cv2.GaussianBlur(difference.pixels, *COARSE)
            noise = scaled_noise(difference)[every]
            rows = (
                noise_index(difference)[every],
                np.abs(difference.smooth[every]) / noise,
                np.abs(coarse[every]) / noise,
            )
            channel.append(np.stack([row[valid] for row in rows]))
    return [np.concatenate(channel, 1) for channel in samples]


def _measure_channel(samples: Array) -> tuple[Float, Float, float]:
    """Tables (LEVELS, GRADIENTS) of smooth and coarse differences, and `MeasuredNoise.ratio`."""
    index = samples[0].astype(np.uint8)
    order = np.argsort(index, kind="stable")
    borders = np.searchsorted(index[order], np.arange(LEVELS * GRADIENTS + 1))
    count = np.diff(borders).reshape(LEVELS, GRADIENTS)
    tables = []
    ratio = 0.0
    for k in (1, 2):
        values = np.split(samples[k][order], borders[1:-1])
        table = np.array([_deviation(v) for v in values]).reshape(LEVELS, GRADIENTS)
        table, pooled = _average(table, count), np.zeros(GRADIENTS)
        for g in range(GRADIENTS):
            levels = range(DARK_LEVELS, LEVELS - 1)
            pooled[g] = _deviation(np.concatenate([values[n * GRADIENTS + g] for n in levels]))
        table = np.minimum(table, MAX_RATIO * pooled)
        table[-1] = 0 if k == 1 else UNTESTED
        tables.append(table.astype(np.float32))
        ratio = ratio or float(pooled[0])
    return tables[0], tables[1], ratio


def _deviation(values: Array) -> float:
    """Robust standard deviation of absolute differences (N,); 0 if there are too few."""
    if len(values) < MIN_COUNT:
        return 0.0
    k = int(QUANTILE * len(values))
    return float(np.partition(values, k)[k]) / QUANTILE_DEVIATIONS


def _average(table: Array, count: Array) -> Array:
    """Average each bin with its neighbours, by their numbers of pixels."""
    weight = np.minimum(count, FULL_COUNT) * (table > 0) + 1e-6
    border = cv2.BORDER_CONSTANT
    total = cv2.filter2D(table**2 * weight, -1, NEIGHBOURS, borderType=border)
    weight = cv2.filter2D(weight, -1, NEIGHBOURS, borderType=border)
    return np.where(weight < MIN_COUNT, 0, np.sqrt(total / weight))
