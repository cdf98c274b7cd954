"""Estimate the camera motion between two frames: a smooth flow, refined on the pixels.

Learned flow finds moving objects, but is wrong by a good part of a pixel everywhere. The motion of
a static scene has few parameters. So an affine motion is fitted to the learned flow around every
pixel and then refined until the frames agree, in windows from wide to narrow. The method is that
of Lucas and Kanade (1981), robust as in Black and Anandan 1996 (doi:10.1006/cviu.1996.0006), affine
as in Bergen, Anandan, Hanna, Hingorani 1992 (doi:10.1007/3-540-55426-2_27). Windows are wide enough
to reach beyond clipped areas. Where the learned flow explains the frames better, an object moves
(`combine_flows`). Nothing here is learned.

Sizes in px are those of frames at half resolution, unless stated otherwise.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from trainer.models.optical_flow import is_inside, upsample_flow, warp

CELL = 4
"""Side (px) of the squares that affine motions are estimated for."""
FIT_SIGMAS = 192.0, 192.0, 192.0
"""Standard deviations (px) of the Gaussian windows of the fit to a learned flow, one per round."""
FIT_TOLERANCE = 1.0
"""Distance (px) from the last fit at which a flow has a quarter of its weight in the next."""
AFFINE_LEVELS = (
    (4, 192.0),
    (4, 192.0),
    (4, 192.0),
    (4, 192.0),
    (2, 96.0),
    (2, 96.0),
    (1, 48.0),
    (1, 24.0),
)
"""Downsampling factor and window (standard deviation, px) of each refinement of an affine motion.
Downsampled frames tolerate a start that is far off. Narrower windows would follow moving objects.
"""
SHIFT_RADII = 4, 4
"""Radii (px) of the windows of each refinement of a shift, see `box_mean`."""
FINE_RADII = 2, 1
"""The same for refinements whose differences are taken at full resolution."""
TOLERANCE, SLOPE_TOLERANCE = 0.02, 0.5
"""Difference of codes at which a pixel has a quarter of its weight: the first, plus the second (px)
times the slope."""
PRIOR = 1e-5
"""Evidence (squared slopes of codes) at which a window moves by half of its estimate."""
WINDOW_END = 2.5
"""Standard deviations at which Gaussian windows end."""
COMPARISON_WINDOWS = (1.0, 1.0), (3.0, 0.1)
"""Windows in which two flows are compared: standard deviation in cells, and weight."""
MIN_GAIN, GAIN_SLOPE = 0.1, 40.0
"""Relative gain at which a flow gets half of the weight, and slope of the sigmoid around it."""
EPSILON = 1e-3
"""Difference of codes that is negligible."""
MIN_WEIGHT = 1e-8
"""Weight of a pixel without evidence. A window without any keeps its mean flow."""
MAX_STEP = 1.0
"""Longest step (px) of a refinement. Slopes predict nothing beyond."""

AXES = (0, 0), (1, 0), (0, 1)
"""Powers of x and y of an affine motion."""
Moments = dict[tuple[int, int], Tensor]
"""Tensors by powers of x and y."""


class Evidence(NamedTuple):
    """Terms of the normal equations of a step at every pixel, each (B, 1, H, W), weighted."""

    xx: Tensor
    """Squared slope along x."""
    xy: Tensor
    """Product of the slopes."""
    yy: Tensor
    """Squared slope along y."""
    x: Tensor
    """Slope along x times the difference of the frames."""
    y: Tensor
    """Slope along y times the difference of the frames."""


def camera_flow(reference: Tensor, other: Tensor, flow: Tensor) -> Tensor:
    """Estimate the flow that the motion of the camera causes.

    Parameters
    ----------
    reference, other : (B, 4, H, W) float32
        Codes (RGB) of two frames at the same exposure, and whether they clip, 0 to 1; H and W are
        multiples of 8.
    flow : (B, 2, H, W) float32
        Approximate flow from the reference to the other frame.

    Returns
    -------
    (B, 2, H, W) float32
        Steps to the right and down, in pixels of the frames.
    """
    with torch.no_grad(), torch.autocast(reference.device.type, enabled=False):
        half, half_other = (downsample(_to_grey(frame), 2) for frame in (reference, other))
        learned = downsample(flow.float(), 2) / 2
        evidence = weigh_evidence(half, half_other, learned)
        smooth, weight = learned, evidence.xx + evidence.yy
        for sigma in FIT_SIGMAS:
            distance = (learned - smooth).square().sum(1, keepdim=True) / FIT_TOLERANCE**2
            smooth = _fit_affine(learned, weight / (1 + distance).square(), sigma)
        for factor, sigma in AFFINE_LEVELS:
            levels = (downsample(x, factor) for x in (half, half_other, smooth / factor))
            step = _solve_affine(weigh_evidence(*levels), CELL // factor, sigma / CELL)
            smooth = smooth + _upsample(step * factor, CELL)
        return upsample_flow(smooth)


def sharpen_flow(reference: Tensor, other: Tensor, flow: Tensor) -> Tensor:
    """Refine a smooth flow by shifts of small windows, which follow parallax to subpixels.

    Parameters and result are those of `camera_flow`.
    """
    with torch.no_grad(), torch.autocast(reference.device.type, enabled=False):
        full, full_other = _to_grey(reference), _to_grey(other)
        half, half_other = downsample(full, 2), downsample(full_other, 2)
        sharp = downsample(flow.float(), 2) / 2
        for radius in SHIFT_RADII:
            sharp = sharp + _solve_shift(weigh_evidence(half, half_other, sharp), radius)
        sharp = upsample_flow(sharp)
        for radius in FINE_RADII:
            evidence = weigh_evidence(full, full_other, sharp)
            pooled = Evidence(*(downsample(term, 2) for term in evidence))
            sharp = sharp + _upsample(_solve_shift(pooled, radius), 2)
        return sharp


def combine_flows(reference: Tensor, other: Tensor, camera: Tensor, own: Tensor) -> Tensor:
    """Combine the flow of the camera with that of moving objects where this explains more.

    Frames are compared in windows, so that objects move as wholes and the surroundings decide
    where both frames clip.

    Parameters
    ----------
    reference, other : (B, 4, H, W) float32
        See `camera_flow`.
    camera, own : (B, 2, H, W) float32
        The flow of the camera, and one in which objects have their own motion.

    Returns
    -------
    (B, 2, H, W) float32
        Steps in pixels, differentiable with respect to `own`.
    """
    with torch.no_grad(), torch.autocast(reference.device.type, enabled=False):
        half, half_other = (downsample(_to_grey(frame), 2) for frame in (reference, other))
        flows = [downsample(flow.float(), 2) / 2 for flow in (camera, own)]
        compared = [_compare(half, half_other, flow) for flow in flows]
        camera_error, own_error = ((one - two).abs() for one, two, _ in compared)
        visible = torch.minimum(compared[0][2], compared[1][2])
        gain = visible * (camera_error - own_error)
        total = visible * (camera_error + own_error + EPSILON)
        sums = downsample(torch.cat([gain, total], 1), CELL)
        means = [weight * moments(sums, sigma, 0)[0, 0] for sigma, weight in COMPARISON_WINDOWS]
        gain, total = torch.stack(means).sum(0).chunk(2, 1)
        share = torch.sigmoid(GAIN_SLOPE * (gain / (total + MIN_WEIGHT) - MIN_GAIN))
        share = _upsample(share, 2 * CELL)
    return camera + share * (own - camera)


def weigh_evidence(reference: Tensor, other: Tensor, flow: Tensor) -> Evidence:
    """Compute the evidence of pixels for a step from a flow; pixels that differ a lot count less.

    Parameters
    ----------
    reference, other : (B, 2, H, W) float32
        Grey codes, and whether they clip. Pixels that clip in both frames have no evidence.
    flow : (B, 2, H, W) float32
        Steps in pixels.
    """
    one, two, visible = _compare(reference, other, flow)
    x, y = _slopes((one + two) / 2)
    difference = two - one
    outlier = difference / (TOLERANCE + SLOPE_TOLERANCE * (x.abs() + y.abs()))
    weight = visible / (1 + outlier.square()).square()
    return Evidence(
        weight * x * x,
        weight * x * y,
        weight * y * y,
        weight * x * difference,
        weight * y * difference,
    )


def _compare(reference: Tensor, other: Tensor, flow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Align two frames by a flow, and blur them.

    Returns
    -------
    reference, other, visible : (B, 1, H, W) float32
        Grey codes, and whether they can be compared, 0 to 1.
    """
    warped = warp(other, flow)
    visible = (1 - reference[:, 1:] * warped[:, 1:]) * is_inside(flow)
    return _blur(reference[:, :1]), _blur(warped[:, :1]), visible


def _to_grey(frame: Tensor) -> Tensor:
    """Convert (B, 4, H, W) to the mean of the channels and whether they clip, (B, 2, H, W)."""
    return torch.cat([frame[:, :3].mean(1, keepdim=True), frame[:, 3:]], 1).float()


def _blur(image: Tensor) -> Tensor:
    """Blur (B, 1, H, W) by a window of 1, 2, 1 in both directions, since noise has slopes too."""
    image = F.pad(image, (1,) * 4, "replicate")
    image = image[:, :, 1:] + image[:, :, :-1]
    image = image[:, :, 1:] + image[:, :, :-1]
    image = image[..., 1:] + image[..., :-1]
    return (image[..., 1:] + image[..., :-1]) / 16


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the change per pixel to the right and down."""
    image = F.pad(image, (1,) * 4, "replicate")
    x = image[:, :, 1:-1, 2:] - image[:, :, 1:-1, :-2]
    y = image[:, :, 2:, 1:-1] - image[:, :, :-2, 1:-1]
    return x / 2, y / 2


def _solve_shift(evidence: Evidence, radius: int) -> Tensor:
    """Return the shift (B, 2, H, W) that aligns two frames best within a window."""
    xx, xy, yy, x, y = box_mean(torch.cat(evidence, 1), radius).chunk(5, 1)
    xx, yy = xx + PRIOR, yy + PRIOR
    steps = torch.cat([xy * y - yy * x, xy * x - xx * y], 1) / (xx * yy - xy * xy)
    return steps.clamp(-MAX_STEP, MAX_STEP)


def box_mean(values: Tensor, radius: int) -> Tensor:
    """Average twice over squares of 2 radius + 1 px; the border is repeated outside."""
    side = 2 * radius + 1
    for _ in range(2):
        values = F.pad(values, (radius,) * 4, "replicate")
        values = _sliding_sums(_sliding_sums(values, side, 2), side, 3)
    return values / side**4


def _sliding_sums(values: Tensor, side: int, dim: int) -> Tensor:
    """Sum `side` neighbours along a dimension, from sums of 1, 2, 4, ...

    F.avg_pool2d takes several times as long.
    """
    count, parts, start = values.shape[dim] - side + 1, [], 0
    for bit in range(side.bit_length()):
        if bit:
            rest = values.shape[dim] - 2 ** (bit - 1)
            values = values.narrow(dim, 0, rest) + values.narrow(dim, 2 ** (bit - 1), rest)
        if side >> bit & 1:
            parts.append(values.narrow(dim, start, count))
            start += 2**bit
    return functools.reduce(torch.add, parts)


def downsample(values: Tensor, times: int) -> Tensor:
    """Average over squares of `times` px, a power of two. F.avg_pool2d takes ten times as long."""
    while times > 1:
        rows = values[:, :, ::2] + values[:, :, 1::2]
        values = (rows[..., ::2] + rows[..., 1::2]) / 4
        times //= 2
    return values


def _fit_affine(flow: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Fit an affine motion to a flow (B, 2, H, W) around each pixel."""
    weight = weight + MIN_WEIGHT
    left = moments(downsample(weight, CELL), sigma / CELL, 2)
    right = moments(downsample(weight * flow, CELL), sigma / CELL, 1)
    matrix = {
        (i, j): left[_add_powers(AXES[i], AXES[j])] * (1.001 if i == j else 1)
        for i, j in product(range(3), repeat=2)
    }
    steps = [solve(matrix, [right[p][:, k : k + 1] for p in AXES])[0] for k in (0, 1)]
    return _upsample(torch.cat(steps, 1), CELL)


def _solve_affine(evidence: Evidence, cell: int, sigma: float) -> Tensor:
    """Return the step (B, 2, h, w) of the affine motion around each cell that aligns two frames.

    `cell` is the side of a cell in pixels, `sigma` the window's standard deviation in cells.
    """
    pooled = downsample(torch.cat(evidence, 1), cell)
    left = moments(pooled[:, :3], sigma, 2)
    right = moments(pooled[:, 3:], sigma, 1)
    unknowns = list(product((0, 1), AXES))  # of the step along x and along y
    matrix = {}
    for (i, (a, p)), (j, (b, q)) in product(enumerate(unknowns), repeat=2):
        matrix[i, j] = left[_add_powers(p, q)][:, a + b : a + b + 1] + (PRIOR if i == j else 0)
    solution = solve(matrix, [-right[p][:, a : a + 1] for a, p in unknowns])
    return torch.cat([solution[0], solution[3]], 1).clamp(-MAX_STEP, MAX_STEP)


def moments(values: Tensor, sigma: float, order: int) -> Moments:
    """Return means of values times powers of x and y in a Gaussian window around each pixel.

    Parameters
    ----------
    values : (B, C, H, W) float32
        Values; outside of the border they are 0.
    sigma : float
        Standard deviation of the window in pixels, and the unit of x and y.
    order : int
        Highest sum of both powers.

    Returns
    -------
    dict
        Means (B, C, H, W) by powers of x and y.
    """
    height, width = values.shape[2:]
    vertical, horizontal = (
        _gaussian_windows(n, sigma, order, values.device) for n in (height, width)
    )
    means: Moments = {}
    for y_power, window in enumerate(vertical):
        rows = window @ values
        for x_power in range(order + 1 - y_power):
            means[x_power, y_power] = rows @ horizontal[x_power].T
    return means


def _gaussian_windows(count: int, sigma: float, order: int, device: torch.device) -> list[Tensor]:
    """Return Gaussians around each of `count` positions, times powers of the distance."""
    positions = torch.arange(count, device=device, dtype=torch.float32)
    distance = (positions - positions[:, None]) / sigma
    window = torch.exp(-distance.square() / 2) / (sigma * math.sqrt(2 * math.pi))
    window = window * (distance.abs() <= WINDOW_END)
    return [window * distance**power for power in range(order + 1)]


def solve(matrix: Mapping[tuple[int, int], Tensor], right: list[Tensor]) -> list[Tensor]:
    """Solve a small symmetric system at every pixel by a Cholesky decomposition.

    It is written out in basic operations, which every runtime has, ONNX included. A singular
    system gets some finite solution.

    Parameters
    ----------
    matrix : mapping of (int, int) to (B, 1, H, W) float32
        Elements by row and column; the lower triangle is enough.
    right : list of (B, 1, H, W) float32
        The right side.

    Returns
    -------
    list of (B, 1, H, W) float32
    """
    count = len(right)
    lower: dict[tuple[int, int], Tensor] = {}
    forward: list[Tensor] = []
    for i in range(count):
        for j in range(i + 1):
            rest = matrix[i, j] - sum(lower[i, k] * lower[j, k] for k in range(j))
            lower[i, j] = rest.clamp(min=1e-12).sqrt() if i == j else rest / lower[j, j]
        rest = right[i] - sum(lower[i, k] * forward[k] for k in range(i))
        forward.append(rest / lower[i, i])
    solution = list(forward)
    for i in reversed(range(count)):
        rest = forward[i] - sum(lower[k, i] * solution[k] for k in range(i + 1, count))
        solution[i] = rest / lower[i, i]
    return solution


def _add_powers(p: tuple[int, int], q: tuple[int, int]) -> tuple[int, int]:
    return p[0] + q[0], p[1] + q[1]


def _upsample(values: Tensor, times: int) -> Tensor:
    return F.interpolate(values, scale_factor=times, mode="bilinear", align_corners=False)
