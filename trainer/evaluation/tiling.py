"""A network on a whole frame, in tiles where it is large."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from labelgen.core.arrays import Codes, Float, Region
from labelgen.core.bracket import Stack
from labelgen.core.errors import UserError
from trainer import device as devices
from trainer.data.dataset import network_input
from trainer.models import reach, stride

OVERVIEW = 200_000
"""Pixels of the frames that a network gets an overview of."""
TILE = 1536
"""Side of the tiles in pixels, borders included; making one of `lean` peaks at 2.5 GB."""


def predict_full(model: nn.Module, stack: Stack, tile: int = TILE) -> Float:
    """Radiance of a whole frame.

    Tiles lie on the grid of the network's `stride` and overlap by its `reach`, so that the
    pixels that are kept see all they would see in the whole frame. A network with an `overview`
    looks at the whole frame first, reduced, and each tile is told its part of what that shows.

    Parameters
    ----------
    model : Module
        In evaluation mode.
    stack : Stack
        As many frames as the network takes.
    tile : int
        Side of the tiles in pixels, for frames of more pixels than two of them.

    Returns
    -------
    (H, W, 3) float32
        Linear radiance, 0 to 1, 1.0 where the shortest frame clips.

    Raises
    ------
    UserError
        Tiles of that size have nothing left without their borders.
    """
    device = next(model.parameters()).device
    ev = torch.tensor(stack.ev, dtype=torch.float32, device=device)[None]
    height, width = stack.size
    codes = [padded(c, stride(model)) for c in stack.codes]
    view = overview(model, codes, ev) if hasattr(model, "overview") else None
    moved = 0 if view is None else int(np.ceil(max(stack.size) * float(view.abs().max())))
    core, border = sides(model, stack.size, tile, moved)
    radiance = np.empty((height, width, 3), np.float32)
    for y, x in product(range(0, height, core), range(0, width, core)):
        top, left = max(y - border, 0), max(x - border, 0)
        seen = np.s_[top : y + core + border, left : x + core + border]
        part = torch.from_numpy(np.stack([c[seen] for c in codes]))[None]
        told = () if view is None else (enlarged(view, codes[0].shape[:2], seen),)
        with torch.inference_mode(), devices.autocast(device):
            result = model(network_input(devices.to_device(part, device), ev), *told)
        kept = np.s_[y - top : y - top + core, x - left : x - left + core]
        target = radiance[y : y + core, x : x + core]
        pixels = result[0].float().clamp(0, 1).movedim(0, -1).cpu().numpy()[kept]
        target[:] = pixels[: target.shape[0], : target.shape[1]]
    return radiance


def sides(model: nn.Module, size: tuple[int, int], tile: int, moved: int) -> tuple[int, int]:
    """Side of what is kept of a tile, and width of the border around it, in pixels.

    What a tile shows of the reference lies, in another frame, up to `moved` px away; more than a
    quarter of a tile is not spent on that.
    """
    step, reached = stride(model), reach(model)
    if size[0] * size[1] <= 2 * tile * tile:
        return -(-max(size) // step) * step, 0
    if tile <= 2 * reached:
        raise UserError(f"--tile {tile}: expected more than {2 * reached} for this network")
    border = -(-(reached + min(moved, (tile - 2 * reached) // 8)) // step) * step
    return max((tile - 2 * border) // step, 1) * step, border


def padded(codes: Codes, step: int) -> Codes:
    """Codes (H, W, 3) continued to a multiple of `step` px by their last rows and columns."""
    below, right = (-n % step for n in codes.shape[:2])
    if not below and not right:
        return codes
    return cv2.copyMakeBorder(codes, 0, below, 0, right, cv2.BORDER_REPLICATE)


def overview(model: nn.Module, codes: Sequence[Codes], ev: Tensor) -> Tensor:
    """What a network with an `overview` says of the whole frame, reduced to `OVERVIEW` pixels.

    Parameters
    ----------
    model : Module
        In evaluation mode; `overview` takes what the network does, and returns (1, N, 2, h, w)
        float32, steps to the right and down in pixels.
    codes : sequence of (H, W, 3) uint8 or uint16
        The frames.
    ev : (1, F) float32
        Their exposures in stops, on the device.

    Returns
    -------
    (1, N, 2, h, w) float32
        The steps as shares of width and height.
    """
    (height, width), step = codes[0].shape[:2], stride(model)
    zoom = min(1.0, (OVERVIEW / (height * width)) ** 0.5)
    across, down = (max(step, round(zoom * n / step) * step) for n in (width, height))
    if zoom < 1:
        codes = [cv2.resize(c, (across, down), interpolation=cv2.INTER_AREA) for c in codes]
    small = devices.to_device(torch.from_numpy(np.stack(codes))[None], ev.device)
    with torch.inference_mode(), devices.autocast(ev.device):
        steps: Tensor = model.overview(network_input(small, ev))  # type: ignore[operator]
    sides = torch.tensor(steps.shape[:-3:-1], device=ev.device)
    return steps / sides.view(2, 1, 1)


def enlarged(view: Tensor, size: tuple[int, int], at: Region) -> Tensor:
    """A piece of what `overview` returned, (1, N, 2, h, w), in pixels of a frame (H, W)."""
    height, width = size
    y, x = (
        2 * (torch.arange(*s.indices(n), device=view.device) + 0.5) / n - 1
        for s, n in zip(at, size, strict=True)
    )
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
    pixels = view.new_tensor([width, height]).view(2, 1, 1)
    steps = F.grid_sample(view.flatten(1, 2), places, "bilinear", "border", align_corners=False)
    return steps.view(*view.shape[:3], *steps.shape[2:]) * pixels
