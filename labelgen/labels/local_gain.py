"""Local tone mapping that differs between the frames of a bracket, found and undone.

Phones brighten regions by what surrounds them, in each picture anew (Durand and Dorsey 2002,
doi:10.1145/566654.566574 describe the principle). Between two frames this is a smooth gain. It is
measured where they show the same, and taken back in the other frame, so that all frames have the
rendition of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from labelgen.alignment.align import Aligned, Displacement, upsample_field
from labelgen.alignment.refine import warp
from labelgen.core.arrays import Array, Float, Region
from labelgen.core.bracket import Stack
from labelgen.core.response import CLIPPED_CODE, GAMMA, decode, to_depth

BLOCKS = 24
"""Blocks along the shorter side of the frame."""
BLOCK_PIXELS = 12
"""Frames are downsampled so that the sides of a block have this many pixels."""
MIN_CODE, MAX_CODE = 0.08, 0.9
"""Pixels are compared whose codes (0..1) are in this range in both frames."""
MIN_SHARE = 0.2
"""A block counts if at least this share of its pixels can be compared."""
SIGMA = 1.3
"""Standard deviation, in blocks, of the Gaussian that smooths the gain."""
MIN_BLOCKS = 60
"""With fewer blocks no gain is measured."""
OUTLIER = 0.1
"""Stops. Blocks that are farther off have less weight: something moves there."""
PRIOR = 0.02
"""Weight of the mean gain of the frame, where no block is near, relative to that of one block."""
ROUNDS = 4
"""Rounds of reweighting."""
MAX_RATIO = 0.75
"""Local gain has to predict blocks it was not fitted to with at most this share of the error that
one gain for all of the frame has."""
MIN_SPREAD = 0.01
"""Standard deviation (stops) of the gain, below which it is not undone."""


def find_gains(
    small: Stack, geometry: Sequence[Displacement | None], size: tuple[int, int]
) -> tuple[Float | None, ...]:
    """Measure the local gain of every frame against the reference.

    Parameters
    ----------
    small : Stack
        Downsampled frames.
    geometry : sequence of Displacement or None
        Displacement of each frame.
    size : (int, int)
        Height and width of the full frame in pixels.

    Returns
    -------
    tuple of (h, w) float32 or None
        Gain in stops in blocks of the reference; None for a frame without one.
    """
    return tuple(
        None if i == small.reference else _find_gain(small, i, geometry[i], size)
        for i in range(len(small.codes))
    )


def _find_gain(
    small: Stack, i: int, displacement: Displacement | None, size: tuple[int, int]
) -> Float | None:
    blocks = _block_gains(small, i, displacement, size)
    known = np.isfinite(blocks)
    if known.sum() < MIN_BLOCKS:
        return None
    rows, columns = np.indices(blocks.shape)
    even = (rows + columns) % 2 == 0
    errors, plain = [], []
    for part in (even, ~even):
        field = _smooth(np.where(part, blocks, np.nan))
        test = known & ~part
        errors.append(np.abs(blocks - field)[test])
        plain.append(np.abs(blocks - np.median(blocks[known & part]))[test])
    ratio = np.median(np.concatenate(errors)) / max(np.median(np.concatenate(plain)), 1e-6)
    field = _smooth(blocks)
    if ratio > MAX_RATIO or field.std() < MIN_SPREAD:
        return None
    return field.astype(np.float32)


def _block_gains(
    small: Stack, i: int, displacement: Displacement | None, size: tuple[int, int]
) -> Array:
    """Median gain (stops) of frame i against the reference by block, NaN where unknown."""
    side = min(small.size) / (BLOCKS * BLOCK_PIXELS)
    rows, columns = (max(1, round(n / side / BLOCK_PIXELS)) for n in small.size)
    h, w = rows * BLOCK_PIXELS, columns * BLOCK_PIXELS
    reference, other = (
        cv2.resize(decode(small.codes[k]), (w, h), interpolation=cv2.INTER_AREA)
        for k in (small.reference, i)
    )
    valid = np.ones((h, w), bool)
    if displacement is not None:
        field = cv2.resize(displacement.field, (w, h), interpolation=cv2.INTER_AREA)
        scale = np.array([w / size[1], h / size[0]], np.float32)
        other, valid = warp(other, np.asarray(field * scale, np.float32))
    low, high = (np.float32(c**GAMMA) for c in (MIN_CODE, MAX_CODE))
    for light in (other, reference):
        valid &= (light.min(-1) > low) & (light.max(-1) < high)
    step = small.ev[i] - small.ev[small.reference]
    gain = np.log2(np.maximum(other.mean(-1), low) / np.maximum(reference.mean(-1), low)) - step
    whole = np.where(valid, gain, np.inf).reshape(rows, BLOCK_PIXELS, columns, BLOCK_PIXELS)
    values = np.sort(whole.swapaxes(1, 2).reshape(rows, columns, -1), -1)
    count = np.isfinite(values).sum(-1)
    middle = np.take_along_axis(values, np.maximum(count - 1, 0)[..., None] // 2, -1)[..., 0]
    enough = count >= MIN_SHARE * BLOCK_PIXELS**2
    return np.asarray(np.where(enough, middle, np.nan))


def _smooth(blocks: Array) -> Array:
    """Smooth blocks (h, w) robustly; NaN counts for nothing."""
    known = np.isfinite(blocks)
    values = np.where(known, blocks, 0)
    mean = np.median(blocks[known])
    field = np.full(blocks.shape, mean)
    for _ in range(ROUNDS):
        weight = known / (1 + np.square((values - field) / OUTLIER))
        total = cv2.GaussianBlur(weight * (values - mean), (0, 0), SIGMA)
        field = mean + total / (cv2.GaussianBlur(weight, (0, 0), SIGMA) + PRIOR)
    return np.asarray(field)


def undo_gain(frame: Aligned, gain: Float | None, size: tuple[int, int], region: Region) -> Aligned:
    """Take the local gain of a frame back. Its clipped pixels stay clipped.

    Parameters
    ----------
    frame : Aligned
        A region of a frame.
    gain : (h, w) float32 or None
        Its gain in stops, in blocks of the reference.
    size : (int, int)
        Height and width of the full frame in pixels.
    region : Region
        Rows and columns of the reference.
    """
    if gain is None:
        return frame
    codes = to_depth(frame.codes, 16)
    factor = np.exp2(upsample_field(gain, size, region) * np.float32(-1 / GAMMA))
    darker = np.minimum(codes * factor[..., None], 65535)
    return replace(
        frame, codes=np.where(codes >= CLIPPED_CODE * 65535, codes, darker).astype(np.uint16)
    )
