"""Bring the frames of a bracket into the geometry of the reference, for the label alone.

The geometry is found on reduced frames and kept as a displacement at that size: a global
homography, kept only where it improves the agreement of the frames and perhaps refined by a smooth
field, or dense DIS flow (Kroeger 2016, doi:10.1007/978-3-319-46493-0_29). Frames are then sampled
piece by piece at full size, so that memory does not grow with them. The reference is never
resampled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np

from labelgen.alignment.chroma_upsampling import upsample_chroma
from labelgen.alignment.homography import coarse_flow, find_homography, grey_at_exposure, to_grey
from labelgen.alignment.refine import FULL_RESOLUTION_PIXELS, SUBSAMPLING, refine_displacement
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
from labelgen.core.response import FULL_SAMPLING, clipped_mu_law, decode, to_depth
from labelgen.core.settings import Align

MIN_SHIFT = 0.05
"""A refinement that moves nothing by more (px) is not worth resampling for."""
KERNEL = 4
"""Pixels beside a place that the interpolation of codes looks at, and one to spare."""


@dataclass(frozen=True)
class Displacement:
    """Where one frame shows what the reference shows.

    `field` is (h, w, 2) float32, x and y in pixels of the full frame, from places of the reference,
    evenly over the frame; `mean` is its mean length.
    """

    field: Float
    mean: float


@dataclass(frozen=True)
class Aligned:
    """A piece of one frame in the geometry of the reference.

    `codes` are (H, W, 3) uint8 or uint16, gamma 2.2; `seen` (H, W) bool is False where the frame
    does not reach; `shift` is the mean distance (px) by which the frame was moved, 0 if it is
    taken as it is.
    """

    codes: Codes
    seen: Mask
    shift: float

    @property
    def linear(self) -> Float:
        """(H, W, 3) float32 linear light, 1.0 where that frame clips."""
        return decode(self.codes)

    @cached_property
    def level(self) -> Codes:
        """(H, W) the largest code of the three channels."""
        return max_channel(self.codes)


def align_frame(stack: Stack, i: int, settings: Align) -> Aligned:
    """Frame i of a stack, whole, in the geometry of the reference.

    Parameters
    ----------
    stack : Stack
        The bracket.
    i : int
        Index of the frame.
    settings : recipe.Align
        The method and its parameters.

    Returns
    -------
    Aligned
        The frame as it is where aligning it would not improve anything.
    """
    found = find_displacement(downsample_stack(stack, settings.megapixels), i, stack.size, settings)
    return align_region(stack, i, found, full_region(stack.size))


def find_displacements(
    small: Stack, size: tuple[int, int], settings: Align, rough: bool = False
) -> tuple[Displacement | None, ...]:
    """The geometry of all frames of a reduced stack, for frames of full size (H, W).

    None for those that are taken as they are. `rough` is dense flow for guesses, see `find_flow`.
    """
    return tuple(
        find_displacement(small, i, size, settings, rough) for i in range(len(small.codes))
    )


def find_displacement(
    small: Stack, i: int, size: tuple[int, int], settings: Align, rough: bool = False
) -> Displacement | None:
    """The geometry of frame i, found on a reduced stack, for frames of full size (H, W)."""
    if i == small.reference or settings.method == "none":
        return None
    if settings.method == "flow":
        field = find_flow(small, i, settings.variational, rough)
    else:
        field = homography_displacement(small.size, find_homography(small, i, settings))
        if settings.refine:
            field = refine_displacement(*_at_common_exposure(small, i), field, settings.refine)
        if np.abs(field).max() < MIN_SHIFT:
            return None
    scale = np.diag([size[1] / small.size[1], size[0] / small.size[0]])
    full = np.asarray(cv2.transform(field, scale), np.float32)
    x, y = cv2.split(full[::SUBSAMPLING, ::SUBSAMPLING])
    return Displacement(full, float(np.hypot(x, y).mean()))


def align_region(
    stack: Stack, i: int, found: Displacement | None, at: Region, chroma: int = 0
) -> Aligned:
    """A piece of frame i in the geometry of the reference.

    Cubic, which hardly softens the label, and in the codes: linear light would ring around lamps.

    Parameters
    ----------
    stack : Stack
        The bracket.
    i : int
        Index of the frame.
    found : Displacement, optional
        Its geometry; None takes the frame as it is.
    at : Region
        Rows and columns of the reference.
    chroma : int
        Radius in px to make the colour of a JPEG finer by, see `chroma_upsampling`; 0 leaves it.

    Returns
    -------
    Aligned
        Codes are uint16 if they were interpolated, or their colour was made finer.
    """

    def codes(piece: Region) -> Codes:
        sampling = stack.source_format.sampling
        if not chroma or sampling == FULL_SAMPLING:
            return stack.codes[i][piece]
        return upsample_chroma(stack.codes[i], piece, sampling, chroma)

    if found is None:
        taken: Array = np.ascontiguousarray(codes(at))
        return Aligned(taken, np.ones(taken.shape[:2], bool), 0.0)
    (x, y), (height, width) = sampling_positions(found.field, stack.size, at), stack.size
    left, right, all_x = _source_range(x, width)
    top, bottom, all_y = _source_range(y, height)
    if all_x and all_y:
        seen = np.ones(x.shape, bool)
    else:
        seen = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    # As floats, and rounded: the same codes, a fifth faster.
    near = to_depth(codes(np.s_[top:bottom, left:right]), 16).astype(np.float32)
    x -= np.float32(left)
    y -= np.float32(top)
    moved = cv2.remap(near, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return Aligned(to_uint16(moved), seen, found.mean)


def _source_range(places: Float, length: int) -> tuple[int, int, bool]:
    """The part of an axis that interpolation at some places looks at; whether all are on it."""
    ends = float(places.min()), float(places.max())
    low, high = (int(min(max(v, 0), length - 1)) for v in ends)
    inside = ends[0] >= 0 and ends[1] <= length - 1
    return max(low - KERNEL, 0), min(high + KERNEL + 1, length), inside


def sampling_positions(field: Float, size: tuple[int, int], at: Region) -> tuple[Float, Float]:
    """Where, x and y (h, w) float32, another frame shows a piece of the reference.

    Parameters
    ----------
    field : (k, l, 2) float32
        Displacement in pixels of the full frame.
    size : (int, int)
        Height and width of the full frame.
    at : Region
        Rows and columns of the piece.
    """
    ys, xs = (np.arange(s.start, s.stop, dtype=np.float32) for s in at)
    if field.shape[:2] == size:
        piece = field[at]
    else:
        down, across = (k / n for k, n in zip(field.shape[:2], size, strict=True))
        y, x = ((s.start + 0.5) * k - 0.5 for s, k in zip(at, (down, across), strict=True))
        piece = cv2.warpAffine(
            field,
            np.array([[across, 0, x], [0, down, y]]),
            (len(xs), len(ys)),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return piece[..., 0] + xs, piece[..., 1] + ys[:, None]


def downsample_stack(stack: Stack, megapixels: float) -> Stack:
    """The stack at a working size of at most so many megapixels, by averaging codes."""
    size = working_size(stack.size, megapixels)
    if size is None:
        return stack
    return replace(stack, codes=tuple(downsample(c, size) for c in stack.codes))


def working_size(size: tuple[int, int], megapixels: float) -> tuple[int, int] | None:
    """Width and height that a frame (H, W) has at so many megapixels; None if it has no more."""
    h, w = size
    k = (megapixels * 1e6 / (h * w)) ** 0.5
    return None if k >= 1 else (max(1, round(w * k)), max(1, round(h * k)))


def homography_displacement(size: tuple[int, int], matrix: Array | None) -> Float:
    """How far a homography moves every pixel: (H, W, 2) float32 px; zero without one."""
    if matrix is None:
        return np.zeros((*size, 2), np.float32)
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]].astype(np.float32)
    here = np.dstack([xs, ys])
    there = cv2.perspectiveTransform(here.reshape(1, -1, 2), matrix)
    return np.asarray(there.reshape(here.shape) - here, np.float32)


def _at_common_exposure(stack: Stack, i: int) -> tuple[Float, Float]:
    """The reference and frame i in grey, (H, W) mu-law, clipped as the longer of the two clips."""
    most = stack.longer_ev(i)
    reference, other = (
        to_grey(clipped_mu_law(stack.codes[k], stack.ev[k], most)) for k in (stack.reference, i)
    )
    return reference, other


def find_flow(stack: Stack, i: int, variational: int, rough: bool = False) -> Float:
    """Dense flow from the reference to frame i.

    Both are shown at the exposure of the longer one, so that both clip alike (Kalantari 2017).

    Parameters
    ----------
    stack : Stack
        The bracket.
    i : int
        Index of the frame.
    variational : int
        Iterations of the variational refinement at each scale.
    rough : bool
        By fewer patches and steps, without refinement, and at half the resolution of frames that
        have enough pixels (`refine.FULL_RESOLUTION_PIXELS`): as good for guesses.

    Returns
    -------
    (H, W, 2) float32
        x and y displacement in pixels.
    """
    most = stack.longer_ev(i)
    here, there = (
        grey_at_exposure(stack.codes[k], most - stack.ev[k]) for k in (stack.reference, i)
    )
    if rough:
        return coarse_flow(here, there, int(here.size > FULL_RESOLUTION_PIXELS))
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    dis.setFinestScale(0)
    dis.setVariationalRefinementIterations(variational)
    return np.asarray(dis.calc(here, there, None), np.float32)
