"""Run a network on a whole frame; large frames are split into tiles."""

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
from trainer.models import receptive_field, stride

OVERVIEW_PIXELS = 200_000
"""Pixels of the downsampled frames for a network's `overview`."""
TILE = 1536
"""Side of the tiles in pixels, borders included. One tile of `lean` needs up to 2.5 GB."""


def predict_full(model: nn.Module, stack: Stack, tile: int = TILE) -> Float:
    """Return the radiance of a whole frame.

    Tiles lie on the grid of the network's `stride` and overlap by its `receptive_field`, so each
    pixel of the result depends on the same input as without tiles. If the network has an
    `overview`, it sees the downsampled frame first, and each tile gets its region of the result.

    Parameters
    ----------
    model : Module
        A network in evaluation mode.
    stack : Stack
        As many frames as the network takes.
    tile : int
        Side of the tiles in pixels. Frames of at most two tiles' pixels are not split.

    Returns
    -------
    (H, W, 3) float32
        Linear radiance, 0 to 1, 1.0 where the shortest frame clips.

    Raises
    ------
    UserError
        Tiles of that size consist of borders alone.
    """
    device = next(model.parameters()).device
    ev = torch.tensor(stack.ev, dtype=torch.float32, device=device)[None]
    height, width = stack.size
    codes = [pad_to_multiple(c, stride(model)) for c in stack.codes]
    camera = camera_overview(model, codes, ev) if hasattr(model, "overview") else None
    motion = 0 if camera is None else int(np.ceil(max(stack.size) * float(camera.abs().max())))
    core, border = tile_layout(model, stack.size, tile, motion)
    radiance = np.empty((height, width, 3), np.float32)
    for y, x in product(range(0, height, core), range(0, width, core)):
        top, left = max(y - border, 0), max(x - border, 0)
        region = np.s_[top : y + core + border, left : x + core + border]
        part = torch.from_numpy(np.stack([c[region] for c in codes]))[None]
        known = () if camera is None else (crop_overview(camera, codes[0].shape[:2], region),)
        with torch.inference_mode(), devices.autocast(device):
            result = model(network_input(devices.to_device(part, device), ev), *known)
        inner = np.s_[y - top : y - top + core, x - left : x - left + core]
        target = radiance[y : y + core, x : x + core]
        pixels = result[0].float().clamp(0, 1).movedim(0, -1).cpu().numpy()[inner]
        target[:] = pixels[: target.shape[0], : target.shape[1]]
    return radiance


def tile_layout(model: nn.Module, size: tuple[int, int], tile: int, motion: int) -> tuple[int, int]:
    """Return the side of the inner part of a tile, and the width of its border, in pixels.

    Parameters
    ----------
    model : Module
        A network.
    size : (int, int)
        Height and width of the frame.
    tile : int
        Side of the tiles in pixels, borders included.
    motion : int
        Largest motion of the camera between two frames in pixels. The border includes it, up to a
        quarter of a tile for both sides, since other frames show the content of a tile there.

    Raises
    ------
    UserError
        Tiles of that size consist of borders alone.
    """
    step, margin = stride(model), receptive_field(model)
    if size[0] * size[1] <= 2 * tile * tile:
        return -(-max(size) // step) * step, 0
    if tile <= 2 * margin:
        raise UserError(f"--tile {tile}: expected more than {2 * margin} for this network")
    border = -(-(margin + min(motion, (tile - 2 * margin) // 8)) // step) * step
    return max((tile - 2 * border) // step, 1) * step, border


def pad_to_multiple(codes: Codes, step: int) -> Codes:
    """Pad codes (H, W, 3) to a multiple of `step` px by repeating the last row and column."""
    below, right = (-n % step for n in codes.shape[:2])
    if not below and not right:
        return codes
    return cv2.copyMakeBorder(codes, 0, below, 0, right, cv2.BORDER_REPLICATE)


def camera_overview(model: nn.Module, codes: Sequence[Codes], ev: Tensor) -> Tensor:
    """Return the camera motion that a network finds in the whole frame, downsampled.

    Parameters
    ----------
    model : Module
        A network in evaluation mode. Its `overview` takes the input of the network and returns
        (1, N, 2, h, w) float32, steps to the right and down in pixels.
    codes : sequence of (H, W, 3) uint8 or uint16
        Frames, downsampled to `OVERVIEW_PIXELS` here.
    ev : (1, F) float32
        Exposures in stops, on the device.

    Returns
    -------
    (1, N, 2, h, w) float32
        Steps as shares of width and height.
    """
    (height, width), step = codes[0].shape[:2], stride(model)
    zoom = min(1.0, (OVERVIEW_PIXELS / (height * width)) ** 0.5)
    across, down = (max(step, round(zoom * n / step) * step) for n in (width, height))
    if zoom < 1:
        codes = [cv2.resize(c, (across, down), interpolation=cv2.INTER_AREA) for c in codes]
    small = devices.to_device(torch.from_numpy(np.stack(codes))[None], ev.device)
    with torch.inference_mode(), devices.autocast(ev.device):
        steps: Tensor = model.overview(network_input(small, ev))  # type: ignore[operator]
    width_height = torch.tensor(steps.shape[:-3:-1], device=ev.device)
    return steps / width_height.view(2, 1, 1)


def crop_overview(camera: Tensor, size: tuple[int, int], region: Region) -> Tensor:
    """Upsample a region of a `camera_overview` to the pixels of the frame.

    Parameters
    ----------
    camera : (1, N, 2, h, w) float32
        Steps as shares of width and height.
    size : (int, int)
        Height and width of the frame.
    region : Region
        Region of the frame, H by W pixels.

    Returns
    -------
    (1, N, 2, H, W) float32
        Steps in pixels.
    """
    height, width = size
    y, x = (
        2 * (torch.arange(*s.indices(n), device=camera.device) + 0.5) / n - 1
        for s, n in zip(region, size, strict=True)
    )
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
    scale = camera.new_tensor([width, height]).view(2, 1, 1)
    steps = F.grid_sample(camera.flatten(1, 2), grid, "bilinear", "border", align_corners=False)
    return steps.view(*camera.shape[:3], *steps.shape[2:]) * scale
