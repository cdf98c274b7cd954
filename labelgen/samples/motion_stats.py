"""How large and how fast the things are that a labelled bracket shows moving."""

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
"""px: larger frames are reduced to that width or height, since speeds need no more."""
MIN_AREA = 100
"""px of the reduced frame: smaller spots may be noise."""
MAX_DIFFERENCE = 0.06
"""Gamma-encoded light (0..1) that frames may differ by where flow explains them."""
MAX_LEVEL = 0.95
"""Of the same: above it flow has nothing to hold on to."""
MIN_EXPLAINED = 0.5
"""Share of a moving thing that flow has to explain, or its speed is not believed."""
MIN_SPEED = 1.0
"""px per frame: what is slower is parallax or misregistration."""


@dataclass(frozen=True)
class MotionStats:
    """What a bracket shows of things that move: `sizes` (N,) px and `speeds` (N,) px per frame."""

    sizes: Float
    speeds: Float


NO_MOTION = MotionStats(np.zeros(0, np.float32), np.zeros(0, np.float32))


def measure_motion(stack: Stack, label: Label) -> MotionStats:
    """Sizes and speeds of what disagrees with the reference.

    Connected pixels that moved are one thing. Its speed is the median of dense flow
    (Kroeger 2016, doi:10.1007/978-3-319-46493-0_29) between the aligned frames, where that
    explains it; a thing that flow cannot explain is left out, so very fast ones are rarely seen.
    The pixels that moved cover a thing where it is and where it was, hence its size is the root
    of half their number.

    Parameters
    ----------
    stack : Stack
        The frames.
    label : Label
        Its cues: the aligned frames and where they agree.
    """
    zoom = min(1.0, MAX_SIDE / max(stack.size))
    small = downsample_stack(stack, zoom * zoom * np.prod(stack.size) / 1e6)
    sizes, speeds = [], []
    for i, ev in enumerate(stack.ev):
        if i == stack.reference:
            continue
        found = label.geometry[i]
        found = found and Displacement(found.field * np.float32(zoom), found.mean_length * zoom)
        frame = align_region(small, i, found, full_region(small.size))
        agrees = (label.static_frames >> np.uint16(i) & np.uint16(1)).astype(np.uint8)
        agrees = cv2.resize(agrees, small.size[::-1], interpolation=cv2.INTER_NEAREST)
        moved = (1 - agrees) * frame.valid
        count, names, boxes, _ = cv2.connectedComponentsWithStats(moved)
        large = [k for k in range(1, count) if boxes[k, cv2.CC_STAT_AREA] >= MIN_AREA]
        if not large:
            continue
        # Both as the longer of the two shows them, so that both clip alike.
        top = stack.longer_ev(i)
        pair = small.linear(stack.reference), frame.linear
        gains = (np.float32(2.0 ** (top - e)) for e in (stack.ev[stack.reference], ev))
        way, explained = _flow(*map(_grey, pair, gains))
        for k in large:
            inside = names == k
            believed = inside & explained
            if believed.sum() < MIN_EXPLAINED * inside.sum():
                continue
            speed = float(np.median(way[believed])) / zoom / abs(i - stack.reference)
            if speed >= MIN_SPEED:
                sizes.append(np.sqrt(inside.sum() / 2) / zoom)
                speeds.append(speed)
    return MotionStats(np.array(sizes, np.float32), np.array(speeds, np.float32))


def _grey(linear: Float, exposure: np.float32) -> Bytes:
    """A view of a frame: 8-bit gamma-encoded largest channel."""
    view = np.minimum(max_channel(linear) * exposure, 1)
    return np.rint(255 * power(view, 1 / GAMMA)).astype(np.uint8)


def _flow(here: Bytes, there: Bytes) -> tuple[Array, Mask]:
    """Length (px) of the flow between two views, and where it makes them agree."""
    flow = FAST_DIS(here, there)
    ys, xs = np.mgrid[: here.shape[0], : here.shape[1]].astype(np.float32)
    moved = cv2.remap(
        there, xs + flow[..., 0], ys + flow[..., 1], cv2.INTER_LINEAR, borderValue=[0]
    )
    difference = cv2.absdiff(here, moved)
    agrees = (difference <= 255 * MAX_DIFFERENCE) & (np.maximum(here, moved) < 255 * MAX_LEVEL)
    return np.hypot(flow[..., 0], flow[..., 1]), agrees
