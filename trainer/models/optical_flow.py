"""Estimate the optical flow between two frames from features, coarse to fine.

Follows Sun, Yang, Liu, Kautz, "PWC-Net: CNNs for optical flow using pyramid, warping, and cost
volume", CVPR 2018, doi:10.1109/CVPR.2018.00931: at each level of a pyramid, features of one frame
are compared within a small radius with those of the other, warped by the flow of the coarser level.
Two things are simpler. A level predicts weights of the offsets that it compares, and the flow is
their weighted mean: this matches before any training, and cannot diverge. And both frames are
shown at the same exposure, clipped where either clips, so features need not learn exposures.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHARPNESS = 10.0
"""Factor from the correlation of an offset to its logit, before training."""


def conv(inputs: int, outputs: int, size: int = 3, dilation: int = 1, stride: int = 1) -> nn.Conv2d:
    """Return a convolution initialised for ReLU (He et al. 2015, doi:10.1109/ICCV.2015.123)."""
    padding = dilation * ((size - 1) // 2)
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, dilation)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def sampling_grid(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Return the columns and rows that a flow (B, 2, H, W) in pixels points at, each (B, H, W)."""
    height, width = flow.shape[2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)
    return x + flow[:, 0], y[:, None] + flow[:, 1]


def warp(image: Tensor, flow: Tensor, kernel: str = "bilinear") -> Tensor:
    """Sample an image where a flow points at; the border is repeated outside.

    Parameters
    ----------
    image : (B, C, H, W) float
        Any channels.
    flow : (B, 2, H, W) float
        Steps to the right and down, in pixels.
    kernel : {"bilinear", "bicubic"}
        Interpolation; bicubic blurs less.

    Returns
    -------
    (B, C, H, W) float
    """
    height, width = flow.shape[2:]
    x, y = sampling_grid(flow.nan_to_num(0))  # at NaN, torch reads and writes outside of the image
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return F.grid_sample(image, grid.to(image.dtype), kernel, "border", align_corners=False)


def is_inside(flow: Tensor) -> Tensor:
    """Return 1.0 where a flow (B, 2, H, W) points into the image, 0.0 a pixel or more outside.

    The result is (B, 1, H, W), without a gradient. The ramp between makes it robust to rounding.
    """
    height, width = flow.shape[2:]
    x, y = sampling_grid(flow.detach())
    inside_x = torch.minimum(x + 1, width - x).clamp(0, 1)
    inside_y = torch.minimum(y + 1, height - y).clamp(0, 1)
    return (inside_x * inside_y)[:, None]


def upsample_flow(flow: Tensor) -> Tensor:
    """Upsample a flow to twice the resolution, in pixels of that."""
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False)


def correlation(one: Tensor, other: Tensor, radius: int) -> Tensor:
    """Return the cosine similarity of the features of two images at every offset up to a radius.

    Parameters
    ----------
    one, other : (B, C, H, W) float
        Features; the border of the other ones is repeated outside.
    radius : int
        Largest offset in pixels.

    Returns
    -------
    (B, (2 radius + 1)^2, H, W) float
        Offsets row by row.
    """
    one, other = F.normalize(one, dim=1, eps=1e-3), F.normalize(other, dim=1, eps=1e-3)
    height, width = one.shape[2:]
    other = F.pad(other, (radius,) * 4, "replicate")
    offsets = range(2 * radius + 1)
    shifted = [other[:, :, y : y + height, x : x + width] for y in offsets for x in offsets]
    return torch.stack([(one * image).sum(1) for image in shifted], 1)


class Match(nn.Module):
    """One level of the pyramid: the offset of each pixel from correlations and their surroundings.

    Parameters
    ----------
    features, width : int
        Channels of the features, and of the hidden layers.
    radius : int
        Largest offset in pixels of this level.
    dilations : tuple of int
        Dilations of the convolutions that spread offsets into areas without texture.
    """

    offsets: Tensor

    def __init__(self, features: int, width: int, radius: int, dilations: tuple[int, ...]) -> None:
        super().__init__()
        self.radius, side = radius, 2 * radius + 1
        self.first = conv(side * side + features, width)
        self.spread = nn.ModuleList(conv(width, width, dilation=d) for d in dilations)
        self.last = conv(width, side * side, 1)
        nn.init.zeros_(self.last.weight)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))
        steps = torch.arange(-radius, radius + 1.0)
        offsets = torch.stack([steps.repeat(side), steps.repeat_interleave(side)])
        self.register_buffer("offsets", offsets[..., None, None], False)

    def forward(self, reference: Tensor, other: Tensor) -> Tensor:
        """Map features (B, C, H, W) of both to a flow (B, 2, H, W) in pixels of this level."""
        similarity = correlation(reference, other, self.radius)
        x = F.relu(self.first(torch.cat([similarity, reference], 1)))
        for layer in self.spread:
            x = x + F.relu(layer(x))
        weights = (self.sharpness * similarity + self.last(x)).float().softmax(1)
        # Autocast would round a matrix product to a quarter of a pixel, but it leaves sums alone.
        return torch.stack([(weights * step).sum(1) for step in self.offsets], 1)


class Align(nn.Module):
    """Estimate the flow from one frame to another, up to 40 pixels in each direction.

    Parameters
    ----------
    channels : int
        Channels of the frames.
    widths : (int, int, int)
        Channels of the features at a half, a quarter and an eighth of the resolution.
    """

    def __init__(self, channels: int, widths: tuple[int, int, int] = (16, 32, 40)) -> None:
        super().__init__()
        half, quarter, eighth = widths
        self.encode_half = conv(4 * channels, half)
        self.to_quarter = conv(half, quarter, 2, stride=2)
        self.encode_quarter = conv(quarter, quarter)
        self.to_eighth = conv(quarter, eighth, 2, stride=2)
        self.encode_eighth = conv(eighth, eighth)
        self.match_eighth = Match(eighth, 48, 4, (2, 4))
        self.match_quarter = Match(quarter, 32, 2, (1,))

    def encode(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Return features at a quarter and an eighth of the resolution."""
        x = F.pixel_unshuffle(frames, 2).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.to_quarter(F.relu(self.encode_half(x))))
        quarter = self.encode_quarter(x)
        return quarter, self.encode_eighth(F.relu(self.to_eighth(F.relu(quarter))))

    def forward(self, reference: Tensor, other: Tensor) -> Tensor:
        """Return the flow from the reference to another frame.

        Parameters
        ----------
        reference, other : (B, C, H, W) float32
            Frames at the same exposure, 0 to 1; H and W are multiples of 8.

        Returns
        -------
        (B, 2, H, W) float32
            Steps to the right and down, in pixels.
        """
        levels = self.encode(torch.cat([reference, other]))
        quarter, eighth = (features.chunk(2) for features in levels)
        flow = upsample_flow(self.match_eighth(*eighth))
        return upsample_flow(
            upsample_flow(flow + self.match_quarter(quarter[0], warp(quarter[1], flow)))
        )
