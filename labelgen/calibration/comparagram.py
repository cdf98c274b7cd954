"""What the pixels of a bracket say of response and exposures: its comparagrams, as ridges.

A comparagram counts which code of one frame meets which code of the next (Mann 2000,
doi:10.1109/83.855426). Of each only the ridge is kept: for every code of the longer frame, where
flat places of the shorter one lie. Most of a scene stands still, so the ridge holds even where
people move; `labelgen.calibration.calibrate` fits the response to the ridges of many brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from labelgen.alignment.align import working_size
from labelgen.alignment.homography import UNIT_SIZE, estimate_homography, scale_homography
from labelgen.core.arrays import Array, Codes, Float, Mask, PackedRows, downsample, median, power
from labelgen.core.bracket import Stack
from labelgen.core.response import GAMMA, decode, to_depth
from labelgen.core.settings import Align

MEGAPIXELS = 0.4
"""Frames are looked at reduced to this: noise averages out, and nothing is lost for a curve."""
BINS = 48
"""Codes of the longer frame are binned; a response is smooth over a forty-eighth of the scale."""
WINDOW, STRIDE = 5, 3
"""Places are windows of so many px, so many apart."""
FLAT = 0.08
"""A place is flat if its codes (0..1) differ by less: misalignment and blur don't show there."""
MIN_CODE, MAX_CODE = 0.008, 0.9965
"""No pixel of a place is darker in the shorter frame, or brighter in the longer one."""
TOP = 65535
"""The highest code."""
MIN_COUNT = 20
"""A bin with fewer places says nothing."""
SUBSET = 4
"""So many pixels share one that is looked at, where a mean is all that is asked."""
FEATURES = 1500
"""SIFT keypoints for a rough alignment."""


@dataclass(frozen=True)
class Ridge:
    """The ridges of all neighbouring frames of a bracket: M bins, arrays (M,).

    Frame `pair` and the next longer one show a place in `channel` (0, 1, 2: R, G, B) with the
    codes `short` and `long` (0..1, means); `spread` is the standard deviation (robust) of the
    short code within the bin, `count` the number of places.
    """

    pair: Array
    channel: Array
    short: Array
    long: Array
    spread: Array
    count: Array

    @staticmethod
    def of(rows: Sequence[Sequence[float]] | PackedRows) -> Ridge:
        """A ridge from rows of (pair, channel, short, long, spread, count)."""
        table = np.array(rows, np.float64).reshape(-1, 6)
        return Ridge(table[:, 0].astype(int), table[:, 1].astype(int), *table[:, 2:].T)

    def rows(self) -> tuple[tuple[float, ...], ...]:
        """The inverse of `of`: values that JSON can hold."""
        columns = (self.pair, self.channel, self.short, self.long, self.spread, self.count)
        return tuple(tuple(round(float(v), 5) for v in row) for row in zip(*columns, strict=True))


def find_ridge(frames: Sequence[Codes], ev: Sequence[float]) -> tuple[Ridge, list[Array | None]]:
    """The ridges of the comparagrams of neighbouring frames, and the geometry found for them.

    Parameters
    ----------
    frames : sequence of (h, w, 3) uint16
        What `downsample_codes` makes of the frames, shortest exposure first, all of one size.
    ev : sequence of float
        Stated exposures in stops; only alignment makes use of them.

    Returns
    -------
    ridges : Ridge
        Empty where nothing is flat and well exposed in two neighbours.
    steps : list of (3, 3) float64 or None
        Homographies to each frame from the next longer one, in shares of the frame
        (`labelgen.alignment.homography.UNIT_SIZE`); None where it was taken as it is.
    """
    rows: list[tuple[float, ...]] = []
    steps: list[Array | None] = []
    for pair, (short, long) in enumerate(pairwise(frames)):
        aligned, matrix = _align_pair(short, long, ev[pair + 1] - ev[pair])
        rows += [(pair, *row) for row in _ridge(aligned, long)]
        size = short.shape[0], short.shape[1]
        steps.append(None if matrix is None else scale_homography(matrix, size, UNIT_SIZE))
    return Ridge.of(rows), steps


def downsample_codes(codes: Codes) -> Codes:
    """Codes (H, W, 3) uint8 or uint16 as (h, w, 3) uint16, at working size."""
    h, w = codes.shape[:2]
    deep, size = to_depth(codes, 16), working_size((h, w), MEGAPIXELS)
    return downsample(deep, size) if size else deep


def _align_pair(short: Codes, long: Codes, step: float) -> tuple[Codes, Array | None]:
    """The shorter frame as the longer one sees it, 0 where it does not reach, and by what map.

    It is taken as it is unless a homography makes the codes of the frames fit one curve better,
    whatever that curve is: the response is not known yet.
    """
    matrix = estimate_homography(Stack((short, long), (0.0, step), 1), 0, Align(features=FEATURES))
    if matrix is None:
        return short, None
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    size = short.shape[1::-1]
    moved: Codes = cv2.warpPerspective(short, matrix, size, flags=flags)
    inside = cv2.warpPerspective(np.ones(short.shape[:2], np.uint8), matrix, size, flags=flags) > 0
    better = _scatter(moved, long, inside) < _scatter(short, long, inside)
    return (moved, matrix) if better else (short, None)


def _scatter(short: Codes, long: Codes, where: Mask) -> float:
    """How far the green codes of one frame are off a curve over those of the other (mean)."""
    x, y = (frame[..., 1][where][::SUBSET] * np.float32(1 / TOP) for frame in (short, long))
    exposed = (x > MIN_CODE) & (y < MAX_CODE)
    if exposed.sum() < MIN_COUNT:
        return np.inf
    x, at = x[exposed], np.minimum((y[exposed] * 4 * BINS).astype(int), 4 * BINS - 1)
    curve = np.bincount(at, x) / np.maximum(np.bincount(at), 1)
    return float(np.minimum(np.abs(x - curve[at]), FLAT).mean())


def _ridge(short: Codes, long: Codes) -> list[tuple[float, ...]]:
    """Rows of (channel, short, long, spread, count) of two aligned frames."""
    window = np.ones((WINDOW, WINDOW), np.uint8)
    at = np.s_[WINDOW // 2 :: STRIDE, WINDOW // 2 :: STRIDE]
    rows: list[tuple[float, ...]] = []
    for channel, pair in enumerate(zip(cv2.split(short), cv2.split(long), strict=True)):
        lows = [cv2.erode(x, window)[at] for x in pair]
        highs = [cv2.dilate(x, window)[at] for x in pair]
        flat = (lows[0] >= MIN_CODE * TOP) & (highs[1] < MAX_CODE * TOP)
        for low, high in zip(lows, highs, strict=True):
            flat &= high - low < FLAT * TOP
        # Noise is of the light: means of codes would be too dark where it is strong.
        lights = (cv2.blur(decode(x), (WINDOW, WINDOW))[at] for x in pair)
        means = (power(np.maximum(light[flat], 0), 1 / GAMMA) for light in lights)
        rows += [(channel, *row) for row in _bins(*means)]
    return rows


def _bins(short: Float, long: Float) -> list[tuple[float, ...]]:
    """Rows of (short, long, spread, count) for the codes of the longer frame, robust means.

    The longer frame decides about the bin since its noise is the smaller one: a bin then is
    hardly wider than it seems, and its middle is unbiased.
    """
    order = np.argsort(long, kind="stable")
    short, long = short[order], long[order]
    borders = np.searchsorted(long, np.linspace(0, 1, BINS + 1))
    rows: list[tuple[float, ...]] = []
    for start, stop in pairwise(borders):
        if stop - start < MIN_COUNT:
            continue
        x, y = short[start:stop].astype(np.float64), long[start:stop].astype(np.float64)
        middle = median(x)
        spread = 1.4826 * median(np.abs(x - middle)) + 1e-3
        inside = np.abs(x - middle) < 2 * spread
        rows.append((x[inside].mean(), y[inside].mean(), spread, int(inside.sum())))
    return rows
