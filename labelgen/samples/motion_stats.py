"""Measure the sizes and speeds of the objects that move in a labelled bracket."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from labelgen.alignment.align import Displacement, align_region, downsample_stack
from labelgen.alignment.flow import FAST_DIS
from labelgen.core.arrays import Array, Bytes, Float, Mask, full_region, max_channel, power
from labelgen.core.bracket import Stack
from labelgen.core.response import GAMMA
from labelgen.labels.label import Label

MAX_SIDE = 640
"""px. Larger frames are downsampled to this width or height; speeds need no more."""
MIN_AREA = 100
"""px of the downsampled frame. Smaller regions may be noise."""
MAX_DIFFERENCE = 0.06
"""Gamma-encoded light (0..1). Flow explains a pixel if the frames then differ by no more."""
MAX_LEVEL = 0.95
"""Gamma-encoded light (0..1). Above it, frames have no texture for flow to match."""
MIN_EXPLAINED = 0.5
"""Fraction of an object that flow has to explain for its speed to count."""
MIN_SPEED = 1.0
"""px per frame. Slower motion is parallax or misalignment."""


@dataclass(frozen=True)
class MotionStats:
    """Sizes and speeds of N objects that move in a bracket."""

    sizes: Float
    """(N,) px: square roots of their areas."""
    speeds: Float
    """(N,) px per frame."""


NO_MOTION = MotionStats(np.zeros(0, np.float32), np.zeros(0, np.float32))


def measure_motion(stack: Stack, label: Label) -> MotionStats:
    """Measure sizes and speeds of the objects that move in a bracket.

    A connected region of moving pixels is one object. The region covers where the object is in the
    frame and where it is in the reference, so the object has half its area. Its speed is the median
    length of dense flow (Kroeger 2016, doi:10.1007/978-3-319-46493-0_29) between the aligned
    frames. Objects that flow does not explain are left out, so very fast ones are missing.

    Parameters
    ----------
    stack : Stack
        The frames.
    label : Label
        Their displacements, and which pixels are static in which frame.

    Returns
    -------
    MotionStats
        In pixels of the full frame.
    """
    zoom = min(1.0, MAX_SIDE / max(stack.size))
    small = downsample_stack(stack, zoom * zoom * np.prod(stack.size) / 1e6)
    sizes, speeds = [], []
    for i in range(len(stack.ev)):
        if i == stack.reference:
            continue
        full = label.geometry[i]
        scaled = full and Displacement(full.field * np.float32(zoom), full.mean_length * zoom)
        frame = align_region(small, i, scaled, full_region(small.size))
        static = (label.static_frames >> np.uint16(i) & np.uint16(1)).astype(np.uint8)
        static = cv2.resize(static, small.size[::-1], interpolation=cv2.INTER_NEAREST)
        moving = (1 - static) * frame.valid
        count, regions, stats, _ = cv2.connectedComponentsWithStats(moving)
        large = [k for k in range(1, count) if stats[k, cv2.CC_STAT_AREA] >= MIN_AREA]
        if not large:
            continue
        lengths, explained = _flow_lengths(
            _to_grey(small.linear(stack.reference), stack, stack.reference, i),
            _to_grey(frame.linear, stack, i, i),
        )
        for k in large:
            region = regions == k
            valid = region & explained
            if valid.sum() < MIN_EXPLAINED * region.sum():
                continue
            speed = float(np.median(lengths[valid])) / zoom / abs(i - stack.reference)
            if speed >= MIN_SPEED:
                sizes.append(np.sqrt(region.sum() / 2) / zoom)
                speeds.append(speed)
    return MotionStats(np.array(sizes, np.float32), np.array(speeds, np.float32))


def _to_grey(linear: Float, stack: Stack, k: int, i: int) -> Bytes:
    """Largest channel of frame k as 8-bit gamma codes, at the longer exposure of i and reference.

    At that common exposure both frames of a pair clip at the same radiance.
    """
    exposure = np.float32(2.0 ** (stack.longer_ev(i) - stack.ev[k]))
    view = np.minimum(max_channel(linear) * exposure, 1)
    return np.rint(255 * power(view, 1 / GAMMA)).astype(np.uint8)


def _flow_lengths(reference: Bytes, frame: Bytes) -> tuple[Array, Mask]:
    """Lengths (px) of the flow between two images, and where it makes them equal."""
    flow = FAST_DIS(reference, frame)
    ys, xs = np.mgrid[: reference.shape[0], : reference.shape[1]].astype(np.float32)
    warped = cv2.remap(
        frame, xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_LINEAR, borderValue=[0]
    )
    difference = cv2.absdiff(reference, warped)
    explained = difference <= 255 * MAX_DIFFERENCE
    explained &= np.maximum(reference, warped) < 255 * MAX_LEVEL
    return np.hypot(flow[..., 0], flow[..., 1]), explained
