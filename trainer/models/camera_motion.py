"""How the camera moved between two frames: a smooth flow, refined on the pixels themselves.

Learned flow finds what moves by itself, but is off by a good part of a pixel everywhere. What
stands still follows from few numbers. So an affine motion is fitted to it around every pixel, then
moved until the frames agree, from wide windows to narrow ones: Lucas and Kanade (1981), robust as
Black and Anandan 1996 (doi:10.1006/cviu.1996.0006), affine as Bergen, Anandan, Hanna, Hingorani
1992 (doi:10.1007/3-540-55426-2_27). It holds where the frames clip, since what is around tells.
Where the learned flow explains the frames better, something moves by itself (`combine_flows`).
Nothing here is learned.
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
"""px of half resolution: affine motions are found for squares of this side."""
FIT_SIGMAS = 192.0, 192.0, 192.0
"""Windows to fit an affine motion to a flow in, px of half resolution, standard deviations."""
FIT_TOLERANCE = 1.0
"""px of half resolution: a flow this far from the last fit counts a quarter in the next."""
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
"""How far half resolution is reduced to refine an affine motion, and the window. What is reduced
forgives a start that is far off; narrower windows would follow what moves by itself."""
SHIFT_RADII = 4, 4
"""Windows in which a shift is refined, px of half resolution, see `box_mean`."""
FINE_RADII = 2, 1
"""The same with differences seen at full resolution."""
TOLERANCE, SLOPE_TOLERANCE = 0.02, 0.5
"""Differences of codes are ordinary up to the one and, in px, the other times the slope."""
PRIOR = 1e-5
"""Evidence (squared slopes of codes) that a window needs to be believed half."""
WINDOW_END = 2.5
"""Gaussian windows end at so many standard deviations."""
COMPARISON_WINDOWS = (1.0, 1.0), (3.0, 0.1)
"""Windows in which two flows are compared, in cells, and how much each of them counts."""
MIN_GAIN, GAIN_SLOPE = 0.1, 40.0
"""Share by which one flow has to explain more to be taken half, and how sharply that changes."""
EPSILON = 1e-3
"""Difference of codes that means nothing."""
MIN_WEIGHT = 1e-8
"""What a pixel without evidence counts, so that a window without any keeps its mean flow."""
MAX_STEP = 1.0
"""A step is at most so many px long: the slopes tell nothing beyond."""

AXES = (0, 0), (1, 0), (0, 1)
"""Powers of x and y of an affine motion."""
Basis = dict[tuple[int, int], Tensor]


class Evidence(NamedTuple):
    """What the pixels of two frames say of a step, each (B, 1, H, W).

    Products of the slopes along x and y, and of the slopes with the difference of the frames.
    """

    xx: Tensor
    xy: Tensor
    yy: Tensor
    x: Tensor
    y: Tensor


def camera_flow(reference: Tensor, other: Tensor, flow: Tensor) -> Tensor:
    """The part of a flow that moves as one.

    Parameters
    ----------
    reference, other : (B, 4, H, W) float32
        Codes (RGB) of two frames at the same exposure, and whether they clip, 0 to 1; H and W are
        multiples of 8.
    flow : (B, 2, H, W) float32
        Where what each pixel of the reference shows lies in the other one, roughly.

    Returns
    -------
    (B, 2, H, W) float32
        Steps to the right and down, in pixels.
    """
    with torch.no_grad(), torch.autocast(reference.device.type, enabled=False):
        one, two = (downsample(_to_grey(frame), 2) for frame in (reference, other))
        learned = downsample(flow.float(), 2) / 2
        seen = weigh_evidence(one, two, learned)
        found, trust = learned, seen.xx + seen.yy
        for sigma in FIT_SIGMAS:
            off = (learned - found).square().sum(1, keepdim=True) / FIT_TOLERANCE**2
            found = _fit_affine(learned, trust / (1 + off).square(), sigma)
        for zoom, sigma in AFFINE_LEVELS:
            here, there, start = (downsample(x, zoom) for x in (one, two, found / zoom))
            step = _solve_affine(weigh_evidence(here, there, start), CELL // zoom, sigma / CELL)
            found = found + _upsample(step * zoom, CELL)
        return upsample_flow(found)


def sharpen_flow(reference: Tensor, other: Tensor, flow: Tensor) -> Tensor:
    """A smooth flow, refined by shifts of small windows: parallax, and the last bit of a pixel.

    Parameters and result as those of `camera_flow`.
    """
    with torch.no_grad(), torch.autocast(reference.device.type, enabled=False):
        one, two = _to_grey(reference), _to_grey(other)
        here, there = downsample(one, 2), downsample(two, 2)
        found = downsample(flow.float(), 2) / 2
        for radius in SHIFT_RADII:
            found = found + _solve_shift(weigh_evidence(here, there, found), radius)
        found = upsample_flow(found)
        for radius in FINE_RADII:
            halved = Evidence(*(downsample(x, 2) for x in weigh_evidence(one, two, found)))
            found = found + _upsample(_solve_shift(halved, radius), 2)
        return found


def combine_flows(reference: Tensor, other: Tensor, camera: Tensor, own: Tensor) -> Tensor:
    """A flow as the camera moved, but where another one explains the frames better.

    What stands around decides where both frames clip, and with it things are moved as wholes.

    Parameters
    ----------
    reference, other : (B, 4, H, W) float32
        See `camera_flow`.
    camera, own : (B, 2, H, W) float32
        The flow of the camera, and one in which things move by themselves.

    Returns
    -------
    (B, 2, H, W) float32
        With a gradient with regard to `own`, where that is taken.
    """
    with torch.no_grad(), torch.autocast(reference.device.type, enabled=False):
        one, two = (downsample(_to_grey(frame), 2) for frame in (reference, other))
        flows = [downsample(flow.float(), 2) / 2 for flow in (camera, own)]
        both = [_compare(one, two, flow) for flow in flows]
        first, second = ((here - there).abs() for here, there, _ in both)
        seen = torch.minimum(both[0][2], both[1][2])
        gained, whole = seen * (first - second), seen * (first + second + EPSILON)
        sums = downsample(torch.cat([gained, whole], 1), CELL)
        near = [share * moments(sums, sigma, 0)[0, 0] for sigma, share in COMPARISON_WINDOWS]
        gained, whole = torch.stack(near).sum(0).chunk(2, 1)
        share = torch.sigmoid(GAIN_SLOPE * (gained / (whole + MIN_WEIGHT) - MIN_GAIN))
        share = _upsample(share, 2 * CELL)
    return camera + share * (own - camera)


def weigh_evidence(reference: Tensor, other: Tensor, flow: Tensor) -> Evidence:
    """What pixels say of a step from a flow, weighted by how ordinary their difference is.

    Parameters
    ----------
    reference, other : (B, 2, H, W) float32
        Grey codes, and whether they clip: where both do, they say nothing.
    flow : (B, 2, H, W) float32
        Steps in pixels.
    """
    one, two, seen = _compare(reference, other, flow)
    x, y = _slopes((one + two) / 2)
    apart = two - one
    odd = apart / (TOLERANCE + SLOPE_TOLERANCE * (x.abs() + y.abs()))
    weight = seen / (1 + odd.square()).square()
    return Evidence(
        weight * x * x, weight * x * y, weight * y * y, weight * x * apart, weight * y * apart
    )


def _compare(reference: Tensor, other: Tensor, flow: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Both frames under a flow, blurred, and whether they can be compared, each (B, 1, H, W)."""
    moved = warp(other, flow)
    seen = (1 - reference[:, 1:] * moved[:, 1:]) * is_inside(flow)
    return _blur(reference[:, :1]), _blur(moved[:, :1]), seen


def _to_grey(frame: Tensor) -> Tensor:
    """(B, 4, H, W) as mean of the channels and whether they clip, (B, 2, H, W)."""
    return torch.cat([frame[:, :3].mean(1, keepdim=True), frame[:, 3:]], 1).float()


def _blur(image: Tensor) -> Tensor:
    """(B, 1, H, W) by a window of 1, 2, 1: slopes of noise say nothing."""
    image = F.pad(image, (1,) * 4, "replicate")
    image = image[:, :, 1:] + image[:, :, :-1]
    image = image[:, :, 1:] + image[:, :, :-1]
    image = image[..., 1:] + image[..., :-1]
    return (image[..., 1:] + image[..., :-1]) / 16


def _slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Change per pixel to the right and down."""
    image = F.pad(image, (1,) * 4, "replicate")
    x = image[:, :, 1:-1, 2:] - image[:, :, 1:-1, :-2]
    y = image[:, :, 2:, 1:-1] - image[:, :, :-2, 1:-1]
    return x / 2, y / 2


def _solve_shift(seen: Evidence, radius: int) -> Tensor:
    """The shift (B, 2, H, W) that brings two frames together within a window."""
    xx, xy, yy, x, y = box_mean(torch.cat(seen, 1), radius).chunk(5, 1)
    xx, yy = xx + PRIOR, yy + PRIOR
    steps = torch.cat([xy * y - yy * x, xy * x - xx * y], 1) / (xx * yy - xy * xy)
    return steps.clamp(-MAX_STEP, MAX_STEP)


def box_mean(values: Tensor, radius: int) -> Tensor:
    """Means over squares of 2 radius + 1 px, twice; beyond the border stands the border."""
    side = 2 * radius + 1
    for _ in range(2):
        values = F.pad(values, (radius,) * 4, "replicate")
        values = _sliding_sums(_sliding_sums(values, side, 2), side, 3)
    return values / side**4


def _sliding_sums(values: Tensor, side: int, dim: int) -> Tensor:
    """Sums of so many neighbours, from those of 1, 2, 4, ...; F.avg_pool2d takes times as long."""
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
    """Means of squares of a side of 1, 2, 4, ... px; F.avg_pool2d takes ten times as long."""
    while times > 1:
        rows = values[:, :, ::2] + values[:, :, 1::2]
        values = (rows[..., ::2] + rows[..., 1::2]) / 4
        times //= 2
    return values


def _fit_affine(flow: Tensor, trust: Tensor, sigma: float) -> Tensor:
    """A flow (B, 2, H, W) as an affine motion around each pixel explains it best."""
    trust = trust + MIN_WEIGHT
    left = moments(downsample(trust, CELL), sigma / CELL, 2)
    right = moments(downsample(trust * flow, CELL), sigma / CELL, 1)
    matrix = {
        (i, j): left[_add_powers(AXES[i], AXES[j])] * (1.001 if i == j else 1)
        for i, j in product(range(3), repeat=2)
    }
    steps = [solve(matrix, [right[p][:, k : k + 1] for p in AXES])[0] for k in (0, 1)]
    return _upsample(torch.cat(steps, 1), CELL)


def _solve_affine(seen: Evidence, cell: int, sigma: float) -> Tensor:
    """The step in the middle of an affine motion that brings two frames together, for each cell.

    Cells have a side of so many pixels, a window of so many cells.
    """
    pooled = downsample(torch.cat(seen, 1), cell)
    left = moments(pooled[:, :3], sigma, 2)
    right = moments(pooled[:, 3:], sigma, 1)
    unknowns = list(product((0, 1), AXES))  # of the step along x and along y
    matrix = {}
    for (i, (a, p)), (j, (b, q)) in product(enumerate(unknowns), repeat=2):
        matrix[i, j] = left[_add_powers(p, q)][:, a + b : a + b + 1] + (PRIOR if i == j else 0)
    found = solve(matrix, [-right[p][:, a : a + 1] for a, p in unknowns])
    return torch.cat([found[0], found[3]], 1).clamp(-MAX_STEP, MAX_STEP)


def moments(values: Tensor, sigma: float, order: int) -> Basis:
    """Means of values times powers of x and y within a Gaussian around each pixel.

    Parameters
    ----------
    values : (B, C, H, W) float32
        Beyond their border they are 0.
    sigma : float
        Standard deviation in pixels, and the unit of x and y.
    order : int
        Highest sum of both powers.

    Returns
    -------
    dict
        By powers of x and of y, each (B, C, H, W).
    """
    height, width = values.shape[2:]
    vertical, horizontal = (
        _gaussian_windows(n, sigma, order, values.device) for n in (height, width)
    )
    found: Basis = {}
    for down, window in enumerate(vertical):
        rows = window @ values
        for across in range(order + 1 - down):
            found[across, down] = rows @ horizontal[across].T
    return found


def _gaussian_windows(count: int, sigma: float, order: int, device: torch.device) -> list[Tensor]:
    """Gaussians around each of so many places, times powers of the distance from it."""
    at = torch.arange(count, device=device, dtype=torch.float32)
    away = (at - at[:, None]) / sigma
    window = torch.exp(-away.square() / 2) / (sigma * math.sqrt(2 * math.pi))
    window = window * (away.abs() <= WINDOW_END)
    return [window * away**power for power in range(order + 1)]


def solve(matrix: Mapping[tuple[int, int], Tensor], right: list[Tensor]) -> list[Tensor]:
    """Solve a small symmetric system at every pixel, by Cholesky's method written out.

    Whatever runs a network can do that, ONNX too; singular ones have some finite answer.
    """
    count = len(right)
    lower: dict[tuple[int, int], Tensor] = {}
    forth: list[Tensor] = []
    for i in range(count):
        for j in range(i + 1):
            rest = matrix[i, j] - sum(lower[i, k] * lower[j, k] for k in range(j))
            lower[i, j] = rest.clamp(min=1e-12).sqrt() if i == j else rest / lower[j, j]
        rest = right[i] - sum(lower[i, k] * forth[k] for k in range(i))
        forth.append(rest / lower[i, i])
    back = list(forth)
    for i in reversed(range(count)):
        rest = forth[i] - sum(lower[k, i] * back[k] for k in range(i + 1, count))
        back[i] = rest / lower[i, i]
    return back


def _add_powers(p: tuple[int, int], q: tuple[int, int]) -> tuple[int, int]:
    return p[0] + q[0], p[1] + q[1]


def _upsample(values: Tensor, times: int) -> Tensor:
    return F.interpolate(values, scale_factor=times, mode="bilinear", align_corners=False)
