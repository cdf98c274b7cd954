"""The ridges of comparagrams: evidence in pixels of the response and of the exposures.

A comparagram counts how often a code of one frame coincides with a code of the next (Mann 2000,
doi:10.1109/83.855426). Only its ridge is stored: for each code of the longer frame, the mean code
of the shorter one at the same places. Most of a scene is static, so moving objects hardly change
the ridge. `labelgen.calibration.calibrate` fits the response to the ridges of many brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import cv2
import numpy as np

from labelgen.alignment.align import working_size
from labelgen.alignment.homography import UNIT_SIZE, estimate_homography, scale_homography
from labelgen.calibration.places import (
    MAX_CODE,
    MAX_RANGE,
    MIN_CODE,
    PLACES_AT,
    TOP_CODE,
    FlatPlaces,
    flat_places,
    sample_places,
)
from labelgen.core.arrays import (
    Array,
    Codes,
    Float,
    Mask,
    PackedRows,
    downsample,
    median,
    pack_rows,
)
from labelgen.core.bracket import Stack
from labelgen.core.mixing import Mixing
from labelgen.core.response import decode, to_depth
from labelgen.core.settings import Align

MEGAPIXELS = 0.4
"""Frames are downsampled to this size, which averages noise and loses nothing of a curve."""
BINS = 48
"""Bins of the code of the longer frame. A response is smooth over 1/48 of the scale."""
MIN_COUNT = 20
"""Bins with fewer places are left out."""
ENOUGH_PLACES, MIN_SIDE = 400, 100
"""With fewer flat places, frames are downsampled by two, which halves their noise, as long as the
shorter side keeps so many px, if that makes more places flat."""
NOISY_RANGE, FEW_PLACES = 0.2, 300
"""The limit of the range of flat places, if fewer than FEW_PLACES in all channels together are flat
even then."""
COARSE = 8
"""Surroundings are computed on frames downsampled by this factor."""
SURROUNDINGS = 1 / 14
"""The surroundings of a place are a Gaussian of this standard deviation, in shares of the shorter
side of the frame: local tone mapping looks about that far."""
MIN_SURROUNDINGS = 1e-4
"""Light of surroundings is at least this before its logarithm is taken."""
MIN_MEAN = 1 / 255
"""Bins whose mean code of the shorter frame is lower are left out: rounding hides what it was."""
MIN_PLACES = 8
"""The same, where only some places were stored."""
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
    short codes, and `count` the number of places. The places of a bin are also halved by how much
    their surroundings brighten; `side_short`, `side_long` (codes) and `side_surround` (stops) are
    the differences between the means of the half that does so more and of the other, 0 in bins too
    small to be halved.
    """

    pair: Array
    channel: Array
    short: Array
    long: Array
    spread: Array
    count: Array
    side_short: Array
    side_long: Array
    side_surround: Array

    @staticmethod
    def of(rows: Sequence[Sequence[float]] | PackedRows) -> Ridge:
        """Return a ridge from rows of numbers, in the order of its fields."""
        table = np.array(rows, np.float64).reshape(-1, len(fields(Ridge)))
        return Ridge(table[:, 0].astype(int), table[:, 1].astype(int), *table[:, 2:].T)

    def rows(self) -> tuple[tuple[float, ...], ...]:
        """Return the rows that `of` takes, as numbers that JSON can hold."""
        columns = [getattr(self, field.name) for field in fields(self)]
        return tuple(tuple(round(float(v), 5) for v in row) for row in zip(*columns, strict=True))


@dataclass(frozen=True)
class Comparison:
    """What neighbouring frames of a bracket tell of their camera."""

    ridge: Ridge
    """Empty where nothing is flat and well exposed in two neighbours."""
    places: PackedRows
    """Rows of `labelgen.calibration.places.sample_places`, each after the number of its pair."""
    steps: list[Array | None]
    """Homographies (3, 3) float64 to each frame from the next longer one, in shares of the frame
    (`labelgen.alignment.homography.UNIT_SIZE`); None where the frame was used as it is."""


def compare_neighbours(frames: Sequence[Codes], ev: Sequence[float]) -> Comparison:
    """Compare the codes of neighbouring frames, after aligning them.

    Parameters
    ----------
    frames : sequence of (h, w, 3) uint16
        Frames as `downsample_codes` returns them, shortest exposure first, all of one size.
    ev : sequence of float
        Stated exposures in stops. Only the alignment uses them.

    Returns
    -------
    Comparison
        Ridges, places and homographies.
    """
    rows: list[tuple[float, ...]] = []
    places: list[tuple[float, ...]] = []
    steps: list[Array | None] = []
    for pair, (short, long) in enumerate(pairwise(frames)):
        aligned, matrix = _align_pair(short, long, ev[pair + 1] - ev[pair])
        flat, pair_frames = _flat_places(aligned, long)
        brightening = np.subtract(*map(_surroundings, pair_frames))[PLACES_AT]
        rows += [(pair, *row) for row in _ridge(flat, brightening)]
        places += [(pair, *row) for row in sample_places(flat)]
        size = short.shape[0], short.shape[1]
        steps.append(None if matrix is None else scale_homography(matrix, size, UNIT_SIZE))
    return Comparison(Ridge.of(rows), pack_rows(places), steps)


def _flat_places(short: Codes, long: Codes) -> tuple[FlatPlaces, tuple[Codes, Codes]]:
    """Find flat places, in smaller frames if noise leaves hardly any; also return these frames.

    Smaller frames have fewer places. So they have more flat ones only if noise was the reason.
    """
    best, frames = flat_places(short, long), (long, short)
    while best.flat.sum() < ENOUGH_PLACES:
        h, w = (n // 2 for n in long.shape[:2])
        if min(h, w) < MIN_SIDE:
            break
        short, long = (downsample(x, (w, h)) for x in (short, long))
        smaller = flat_places(short, long)
        if smaller.flat.sum() > best.flat.sum():
            best, frames = smaller, (long, short)
    if best.usable.sum() < FEW_PLACES:
        return flat_places(short, long, NOISY_RANGE), (long, short)
    return best, frames


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


def _ridge(flat: FlatPlaces, brightening: Float) -> list[tuple[float, ...]]:
    """Rows of (channel, *bin) of two aligned frames."""
    rows: list[tuple[float, ...]] = []
    for channel in range(3):
        usable = flat.usable[..., channel]
        x, y = (mean[..., channel][usable] for mean in (flat.short, flat.long))
        rows += [(channel, *row) for row in bin_places(x, y, brightening[usable])]
    return rows


def ridge_of_places(places: Array, mixing: Mixing) -> Ridge:
    """Compute the ridges of channels that a mixing separates.

    Parameters
    ----------
    places : (N, 7) float64
        Number of the pair of frames, and codes (0..1) of R, G, B in the shorter and longer frame.
    mixing : Mixing
        How the camera mixes channels. A curve that keeps the hue acts on the largest and the
        smallest channel: both have channel 0 in the result.
    """
    rows: list[tuple[float, ...]] = []
    for pair in np.unique(places[:, 0]):
        own = places[places[:, 0] == pair]
        short, long = (mixing.separate(own[:, k : k + 3]) for k in (1, 4))
        if mixing.kind == "hue":
            short, long = (np.stack([x.min(-1), x.max(-1)], -1) for x in (short, long))
        for channel, (x, y) in enumerate(zip(short.T, long.T, strict=True)):
            unclipped = y < MAX_CODE
            x, y = x[unclipped], y[unclipped]
            bins = bin_places(x, y, np.zeros_like(x), MIN_PLACES)
            rows += [(pair, 0 if mixing.kind == "hue" else channel, *row) for row in bins]
    return Ridge.of(rows)


def _surroundings(codes: Codes) -> Float:
    """Light around each pixel of a frame (h, w, 3), as (h, w) float32 in stops."""
    h, w = codes.shape[:2]
    small = downsample(codes, (max(1, w // COARSE), max(1, h // COARSE)))
    light = np.log2(np.maximum(decode(small).mean(-1), MIN_SURROUNDINGS))
    blurred = cv2.GaussianBlur(light, (0, 0), SURROUNDINGS * min(light.shape))
    return cv2.resize(blurred, (w, h), interpolation=cv2.INTER_LINEAR)


def bin_places(
    short: Float, long: Float, brightening: Float, min_count: int = MIN_COUNT
) -> list[tuple[float, ...]]:
    """Rows of the fields of `Ridge` from `short` on: means over places, by bin.

    Places are binned by the longer frame, because it has less noise. So the true codes in a bin
    hardly exceed its borders, and its mean is not biased.

    Parameters
    ----------
    short, long : (N,) float32
        Codes (0..1) of N places.
    brightening : (N,) float32
        How much their surroundings brighten from the one frame to the other, in stops.
    """
    order = np.argsort(long, kind="stable")
    short, long, brightening = short[order], long[order], brightening[order]
    borders = np.searchsorted(long, np.linspace(0, 1, BINS + 1))
    rows: list[tuple[float, ...]] = []
    for start, stop in pairwise(borders):
        if stop - start < min_count:
            continue
        x, y = short[start:stop].astype(np.float64), long[start:stop].astype(np.float64)
        middle = median(x)
        spread = MAD * median(np.abs(x - middle)) + MIN_SPREAD
        inliers = np.abs(x - middle) < 2 * spread
        x, y, around = x[inliers], y[inliers], brightening[start:stop][inliers]
        # A limit on single places would leave out the darker ones of a bin, and bias its mean.
        if x.mean() >= MIN_MEAN:
            rows.append((x.mean(), y.mean(), spread, len(x), *_sides(x, y, around)))
    return rows


def _sides(short: Array, long: Array, around: Float) -> tuple[float, float, float]:
    """Differences between the means of the half of places with larger `around` and of the other."""
    if not around.any():  # surroundings are not known, or do not differ
        return 0.0, 0.0, 0.0
    upper = around > np.median(around)
    if min(upper.sum(), (~upper).sum()) < MIN_COUNT:
        return 0.0, 0.0, 0.0
    short_side, long_side, side = (
        float(v[upper].mean() - v[~upper].mean()) for v in (short, long, around)
    )
    return short_side, long_side, side
