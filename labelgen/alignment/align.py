"""Bring the frames of a bracket into the geometry of the reference, for the label alone.

The geometry is found on downsampled frames and kept as a displacement field of that size. The field
is that of a global homography, used only where it improves the agreement of the frames and perhaps
refined by a smooth field, or it is dense optical flow. Frames are then resampled region by region
at full size, so memory does not grow with them. The reference is never resampled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from labelgen.alignment.chroma_upsampling import upsample_chroma
from labelgen.alignment.flow import FLOWS, flow_to_frame, guess_flow
from labelgen.alignment.grey import mu_law_pair
from labelgen.alignment.homography import find_homography
from labelgen.alignment.refine import SUBSAMPLING, refine_displacement
from labelgen.core.arrays import (
    Array,
    Codes,
    Float,
    Mask,
    Region,
    downsample,
    full_region,
    max_channel,
    to_uint16,
)
from labelgen.core.bracket import Stack
from labelgen.core.response import FULL_SAMPLING, decode, to_depth
from labelgen.core.settings import Align

MIN_SHIFT = 0.05
"""A frame is not resampled if no pixel of it moves by this much (px)."""
KERNEL_RADIUS = 4
"""px around a position that cubic interpolation reads, and some to spare."""


@dataclass(frozen=True)
class Displacement:
    """Displacement field from the reference frame to another frame.

    `field` is (h, w, 2) float32, x and y in pixels of the full frame, sampled evenly over the
    reference; `mean_length` is the mean of its lengths in pixels.
    """

    field: Float
    mean_length: float


@dataclass(frozen=True)
class Aligned:
    """A region of one frame in the geometry of the reference.

    `codes` are (H, W, 3) uint8 or uint16, gamma 2.2. `valid` (H, W) bool is False where the frame
    does not reach. `shift` is the mean distance (px) by which the frame was moved, 0 if it was not
    resampled.
    """

    codes: Codes
    valid: Mask
    shift: float

    @property
    def linear(self) -> Float:
        """(H, W, 3) float32 linear light, 1.0 where that frame clips."""
        return decode(self.codes)

    @cached_property
    def max_code(self) -> Codes:
        """(H, W) largest code of the three channels."""
        return max_channel(self.codes)


def align_frame(stack: Stack, i: int, settings: Align) -> Aligned:
    """Bring all of frame i of a stack into the geometry of the reference.

    Parameters
    ----------
    stack : Stack
        The bracket.
    i : int
        Index of the frame.
    settings : Align
        The method and its parameters.

    Returns
    -------
    Aligned
        The frame as it is where aligning it would not improve anything.
    """
    small = downsample_stack(stack, settings.megapixels)
    displacement = find_displacement(small, i, stack.size, settings)
    return align_region(stack, i, displacement, full_region(stack.size))


def find_displacements(
    small: Stack, size: tuple[int, int], settings: Align
) -> tuple[Displacement | None, ...]:
    """Displacements of all frames of a downsampled stack, see `find_displacement`."""
    return tuple(find_displacement(small, i, size, settings) for i in range(len(small.codes)))


def find_displacement(
    small: Stack, i: int, size: tuple[int, int], settings: Align
) -> Displacement | None:
    """Displacement of frame i, found on a downsampled stack.

    Parameters
    ----------
    small : Stack
        The bracket, downsampled.
    i : int
        Index of the frame.
    size : (int, int)
        Height and width of the full frame in pixels.
    settings : Align
        The method and its parameters.

    Returns
    -------
    Displacement or None
        None for a frame that is used as it is.
    """
    if i == small.reference or settings.method == "none":
        return None
    if settings.method in FLOWS:
        flow = FLOWS[settings.method](settings)
        return _at_full_size(flow_to_frame(small, i, flow), size)
    field = homography_displacement(small.size, find_homography(small, i, settings))
    if settings.refine:
        field = refine_displacement(*mu_law_pair(small, i), field, settings.refine)
    return _at_full_size(field, size) if np.abs(field).max() >= MIN_SHIFT else None


def guess_displacements(small: Stack, size: tuple[int, int]) -> tuple[Displacement | None, ...]:
    """Dense flow to all frames of a downsampled stack, as accurate as guesses need it.

    Parameters as those of `find_displacement`; the result is None for the reference alone.
    """
    flow = guess_flow(small.size)
    return tuple(
        None if i == small.reference else _at_full_size(flow_to_frame(small, i, flow), size)
        for i in range(len(small.codes))
    )


def _at_full_size(field: Float, size: tuple[int, int]) -> Displacement:
    """Displacement in pixels of the full frame, of a field (h, w, 2) in those of its own size."""
    scale = np.diag([size[1] / field.shape[1], size[0] / field.shape[0]])
    full = np.asarray(cv2.transform(field, scale), np.float32)
    x, y = cv2.split(full[::SUBSAMPLING, ::SUBSAMPLING])
    return Displacement(full, float(np.hypot(x, y).mean()))


def align_region(
    stack: Stack, i: int, displacement: Displacement | None, region: Region, chroma: int = 0
) -> Aligned:
    """Bring a region of frame i into the geometry of the reference.

    Interpolation is cubic, which hardly softens the label. It works on codes because linear light
    would ring around lamps.

    Parameters
    ----------
    stack : Stack
        The bracket.
    i : int
        Index of the frame.
    displacement : Displacement, optional
        Its geometry. None takes the frame as it is.
    region : Region
        Rows and columns of the reference.
    chroma : int
        Radius in px of the windows in which the chroma of a JPEG is upsampled, see
        `labelgen.alignment.chroma_upsampling`. 0 leaves it as it is stored.

    Returns
    -------
    Aligned
        Codes are uint16 if they were interpolated or their chroma was upsampled.
    """

    def codes(source: Region) -> Codes:
        sampling = stack.source_format.sampling
        if not chroma or sampling == FULL_SAMPLING:
            return stack.codes[i][source]
        return upsample_chroma(stack.codes[i], source, sampling, chroma)

    if displacement is None:
        unmoved: Array = np.ascontiguousarray(codes(region))
        return Aligned(unmoved, np.ones(unmoved.shape[:2], bool), 0.0)
    x, y = sampling_positions(displacement.field, stack.size, region)
    height, width = stack.size
    left, right, all_x = _source_range(x, width)
    top, bottom, all_y = _source_range(y, height)
    if all_x and all_y:
        valid = np.ones(x.shape, bool)
    else:
        valid = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    # Rounding after interpolation in float32 gives the same codes and is a fifth faster.
    source = to_depth(codes(np.s_[top:bottom, left:right]), 16).astype(np.float32)
    x -= np.float32(left)
    y -= np.float32(top)
    moved = cv2.remap(source, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return Aligned(to_uint16(moved), valid, displacement.mean_length)


def _source_range(positions: Float, length: int) -> tuple[int, int, bool]:
    """Start and stop of the part of an axis that interpolation reads; whether none is outside."""
    lowest, highest = float(positions.min()), float(positions.max())
    first, last = (int(min(max(p, 0), length - 1)) for p in (lowest, highest))
    inside = lowest >= 0 and highest <= length - 1
    return max(first - KERNEL_RADIUS, 0), min(last + KERNEL_RADIUS + 1, length), inside


def sampling_positions(field: Float, size: tuple[int, int], region: Region) -> tuple[Float, Float]:
    """Positions in another frame at which a region of the reference is sampled.

    Parameters
    ----------
    field : (k, l, 2) float32
        Displacement in pixels of the full frame.
    size : (int, int)
        Height and width of the full frame.
    region : Region
        Rows and columns of the reference.

    Returns
    -------
    x, y : (h, w) float32
        In pixels of the full frame.

    Examples
    --------
    >>> right = np.full((2, 3, 2), (5, 0), np.float32)  # everything lies 5 px to the right
    >>> x, y = sampling_positions(right, (20, 30), (slice(4, 6), slice(10, 13)))
    >>> x.tolist(), y[:, 0].tolist()
    ([[15.0, 16.0, 17.0], [15.0, 16.0, 17.0]], [4.0, 5.0])
    """
    ys, xs = (np.arange(s.start, s.stop, dtype=np.float32) for s in region)
    local = upsample_field(field, size, region)
    return local[..., 0] + xs, local[..., 1] + ys[:, None]


def upsample_field(field: Float, size: tuple[int, int], region: Region) -> Float:
    """Values of a field at the pixels of a region, interpolated linearly.

    Parameters
    ----------
    field : (k, l) or (k, l, C) float32
        Sampled evenly over the full frame.
    size : (int, int)
        Height and width of the full frame in pixels.
    region : Region
        Rows and columns of the full frame.

    Returns
    -------
    (h, w) or (h, w, C) float32
    """
    if field.shape[:2] == size:
        return field[region]
    down, across = (k / n for k, n in zip(field.shape[:2], size, strict=True))
    y, x = ((s.start + 0.5) * k - 0.5 for s, k in zip(region, (down, across), strict=True))
    height, width = (s.stop - s.start for s in region)
    local: Float = cv2.warpAffine(
        field,
        np.array([[across, 0, x], [0, down, y]]),
        (width, height),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return local


def downsample_stack(stack: Stack, megapixels: float) -> Stack:
    """Return a stack of at most so many megapixels, downsampled by averaging codes."""
    size = working_size(stack.size, megapixels)
    if size is None:
        return stack
    return replace(stack, codes=tuple(downsample(c, size) for c in stack.codes))


def working_size(size: tuple[int, int], megapixels: float) -> tuple[int, int] | None:
    """Width and height of a frame (H, W) at so many megapixels; None if it has no more.

    >>> working_size((3000, 4000), 0.6)
    (894, 671)
    """
    h, w = size
    k = (megapixels * 1e6 / (h * w)) ** 0.5
    return None if k >= 1 else (max(1, round(w * k)), max(1, round(h * k)))


def homography_displacement(size: tuple[int, int], matrix: Array | None) -> Float:
    """Displacement (H, W, 2) float32 px by a homography (3, 3); zero where that is None."""
    if matrix is None:
        return np.zeros((*size, 2), np.float32)
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    here = np.dstack([xs, ys])
    there = cv2.perspectiveTransform(here.reshape(1, -1, 2), matrix)
    return np.asarray(there.reshape(here.shape) - here, np.float32)
