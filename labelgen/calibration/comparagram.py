"""The ridges of comparagrams: evidence in pixels of the response and of the exposures.

A comparagram counts how often a code of one frame coincides with a code of the next (Mann 2000,
doi:10.1109/83.855426). Only its ridge is stored: for each code of the longer frame, the mean code
of the shorter one at the same places. Most of a scene is static, so moving objects hardly change
the ridge. `labelgen.calibration.calibrate` fits the response to the ridges of many brackets.
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
"""Frames are downsampled to this size, which averages noise and loses nothing of a curve."""
BINS = 48
"""Bins of the code of the longer frame. A response is smooth over 1/48 of the scale."""
WINDOW, STRIDE = 5, 3
"""A place is a square window of pixels: its side, and the distance between places, in px."""
MAX_RANGE = 0.08
"""Only flat places, whose codes (0..1) have a smaller range, are used: misalignment and blur hardly
change their means."""
MIN_CODE, MAX_CODE = 0.008, 0.9965
"""Limits on the codes (0..1) of a place: the lower one in the shorter frame, the upper one in the
longer frame."""
TOP_CODE = 65535
"""Code of full scale. All frames are converted to 16 bits."""
MIN_COUNT = 20
"""Bins with fewer places are left out."""
SCATTER_STRIDE = 4
"""Two alignments are compared by every fourth pixel."""
SCATTER_BINS = 4 * BINS
"""Bins of the code of the longer frame in that comparison."""
FEATURES = 1500
"""SIFT keypoints for a rough alignment."""
MAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
MIN_SPREAD = 1e-3
"""Added to the spread of a bin, in codes (0..1)."""


@dataclass(frozen=True)
class Ridge:
    """The ridges of all neighbouring frames of a bracket: M bins, arrays (M,).

    A bin holds places in `channel` (0, 1, 2: R, G, B) of frame `pair` and of the next longer one.
    `short` and `long` are their mean codes (0..1), `spread` is the robust standard deviation of the
    short codes, and `count` the number of places.
    """

    pair: Array
    channel: Array
    short: Array
    long: Array
    spread: Array
    count: Array

    @staticmethod
    def of(rows: Sequence[Sequence[float]] | PackedRows) -> Ridge:
        """Return a ridge from rows of (pair, channel, short, long, spread, count)."""
        table = np.array(rows, np.float64).reshape(-1, 6)
        return Ridge(table[:, 0].astype(int), table[:, 1].astype(int), *table[:, 2:].T)

    def rows(self) -> tuple[tuple[float, ...], ...]:
        """Return the rows that `of` takes, as numbers that JSON can hold."""
        columns = (self.pair, self.channel, self.short, self.long, self.spread, self.count)
        return tuple(tuple(round(float(v), 5) for v in row) for row in zip(*columns, strict=True))


def find_ridge(frames: Sequence[Codes], ev: Sequence[float]) -> tuple[Ridge, list[Array | None]]:
    """Compute the ridges of neighbouring frames, and the homographies between them.

    Parameters
    ----------
    frames : sequence of (h, w, 3) uint16
        Frames as `downsample_codes` returns them, shortest exposure first, all of one size.
    ev : sequence of float
        Stated exposures in stops. Only the alignment uses them.

    Returns
    -------
    ridges : Ridge
        Empty where nothing is flat and well exposed in two neighbours.
    steps : list of (3, 3) float64 or None
        Homographies to each frame from the next longer one, in shares of the frame
        (`labelgen.alignment.homography.UNIT_SIZE`); None where the frame was used as it is.
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
    """Downsample codes (H, W, 3) uint8 or uint16 to the working size, as (h, w, 3) uint16."""
    h, w = codes.shape[:2]
    codes16, size = to_depth(codes, 16), working_size((h, w), MEGAPIXELS)
    return downsample(codes16, size) if size else codes16


def _align_pair(short: Codes, long: Codes, step: float) -> tuple[Codes, Array | None]:
    """Align the shorter frame with the longer one.

    The response is not known yet. So a homography is used if the codes of the two frames are then
    closer to one curve, whatever that curve is.

    Returns
    -------
    aligned : (h, w, 3) uint16
        The shorter frame; 0 where it does not cover the longer one.
    matrix : (3, 3) float64 or None
        The homography, in px; None if the frame is used as it is.
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


def _scatter(short: Codes, long: Codes, valid: Mask) -> float:
    """Mean distance of green codes (0..1) of one frame from their mean per code of the other."""
    x, y = (
        frame[..., 1][valid][::SCATTER_STRIDE] * np.float32(1 / TOP_CODE) for frame in (short, long)
    )
    exposed = (x > MIN_CODE) & (y < MAX_CODE)
    if exposed.sum() < MIN_COUNT:
        return np.inf
    x, bins = x[exposed], np.minimum((y[exposed] * SCATTER_BINS).astype(int), SCATTER_BINS - 1)
    curve = np.bincount(bins, x) / np.maximum(np.bincount(bins), 1)
    return float(np.minimum(np.abs(x - curve[bins]), MAX_RANGE).mean())


def _ridge(short: Codes, long: Codes) -> list[tuple[float, ...]]:
    """Rows of (channel, short, long, spread, count) of two aligned frames."""
    window = np.ones((WINDOW, WINDOW), np.uint8)
    places = np.s_[WINDOW // 2 :: STRIDE, WINDOW // 2 :: STRIDE]
    rows: list[tuple[float, ...]] = []
    for channel, pair in enumerate(zip(cv2.split(short), cv2.split(long), strict=True)):
        lowest = [cv2.erode(x, window)[places] for x in pair]
        highest = [cv2.dilate(x, window)[places] for x in pair]
        usable = (lowest[0] >= MIN_CODE * TOP_CODE) & (highest[1] < MAX_CODE * TOP_CODE)
        for low, high in zip(lowest, highest, strict=True):
            usable &= high - low < MAX_RANGE * TOP_CODE
        # Light is averaged, not codes, because the mean of noisy codes is too dark.
        lights = (cv2.blur(decode(x), (WINDOW, WINDOW))[places] for x in pair)
        means = (power(np.maximum(light[usable], 0), 1 / GAMMA) for light in lights)
        rows += [(channel, *row) for row in _bins(*means)]
    return rows


def _bins(short: Float, long: Float) -> list[tuple[float, ...]]:
    """Rows of (short, long, spread, count): robust means of the codes (N,) of places, by bin.

    Places are binned by the longer frame, because it has less noise. So the true codes in a bin
    hardly exceed its borders, and its mean is not biased.
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
        spread = MAD * median(np.abs(x - middle)) + MIN_SPREAD
        inliers = np.abs(x - middle) < 2 * spread
        rows.append((x[inliers].mean(), y[inliers].mean(), spread, int(inliers.sum())))
    return rows
