"""Where the content of a frame lies in another: flow from features, from coarse to fine.

Follows Sun, Yang, Liu, Kautz, "PWC-Net: CNNs for optical flow using pyramid, warping, and cost
volume", CVPR 2018, doi:10.1109/CVPR.2018.00931: at each level of a pyramid the features of one
frame are compared with those of the other, warped by what coarser levels found, within a small
radius. Two things are simpler. A level answers with shares of the offsets it compared, and their
mean is the flow: it starts to match before it has learned anything, and cannot run away. And both
frames are shown at the same exposure, clipping where either of them does, so that features needn't
learn what an exposure is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHARPNESS = 10.0
"""By how much the logit of an offset grows with its correlation, before training."""


def conv(inputs: int, outputs: int, size: int = 3, dilation: int = 1, stride: int = 1) -> nn.Conv2d:
    """A convolution, initialised for ReLU (He et al. 2015, doi:10.1109/ICCV.2015.123)."""
    padding = dilation * ((size - 1) // 2)
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, dilation)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def sampling_grid(flow: Tensor) -> tuple[Tensor, Tensor]:
    """Columns and rows that a flow (B, 2, H, W) in pixels points at, each (B, H, W)."""
    height, width = flow.shape[2:]
    x = torch.arange(width, device=flow.device, dtype=flow.dtype)
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)
    return x + flow[:, 0], y[:, None] + flow[:, 1]


def warp(image: Tensor, flow: Tensor, kernel: str = "bilinear") -> Tensor:
    """What an image shows where a flow points at; beyond its border, its border.

    Parameters
    ----------
    image : (B, C, H, W) float
        Anything.
    flow : (B, 2, H, W) float
        Steps to the right and down, in pixels.
    kernel : {"bilinear", "bicubic"}
        What to interpolate by; bicubic softens less.
    """
    height, width = flow.shape[2:]
    x, y = sampling_grid(flow.nan_to_num(0))  # torch reads and writes outside of the image at NaN
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], -1)
    return F.grid_sample(image, grid.to(image.dtype), kernel, "border", align_corners=False)


def is_inside(flow: Tensor) -> Tensor:
    """1.0 where a flow (B, 2, H, W) points into the image, 0.0 a pixel and more beyond its border.

    (B, 1, H, W), without a gradient; it falls gradually, so that rounding decides nothing.
    """
    height, width = flow.shape[2:]
    x, y = sampling_grid(flow.detach())
    there = (
        torch.minimum(x + 1, width - x).clamp(0, 1),
        torch.minimum(y + 1, height - y).clamp(0, 1),
    )
    return (there[0] * there[1])[:, None]


def upsample_flow(flow: Tensor) -> Tensor:
    """A flow at twice the resolution, in pixels of that."""
    return 2 * F.interpolate(flow, scale_factor=2, mode="bilinear", align_corners=False)


def correlation(one: Tensor, other: Tensor, radius: int) -> Tensor:
    """Cosine of the features of two images at every offset up to a radius.

    Parameters
    ----------
    one, other : (B, C, H, W) float
        Features; beyond the border of the other one, its border.
    radius : int
        In pixels.

    Returns
    -------
    (B, (2 radius + 1)^2, H, W) float
        Offsets row by row.
    """
    one, other = F.normalize(one, dim=1, eps=1e-3), F.normalize(other, dim=1, eps=1e-3)
    height, width = one.shape[2:]
    other = F.pad(other, (radius,) * 4, "replicate")
    steps = range(2 * radius + 1)
    moved = [other[:, :, y : y + height, x : x + width] for y in steps for x in steps]
    return torch.stack([(one * image).sum(1) for image in moved], 1)


class Match(nn.Module):
    """One level: the offset of each pixel, from what correlates and what stands around it.

    Parameters
    ----------
    features, width : int
        Channels of the features, and of what is made of them.
    radius : int
        The largest offset, in pixels of this level.
    dilations : tuple of int
        Of the convolutions that carry what is known to where nothing is.
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
        """Features (B, C, H, W) of both to a flow (B, 2, H, W) in pixels of this level."""
        found = correlation(reference, other, self.radius)
        x = F.relu(self.first(torch.cat([found, reference], 1)))
        for layer in self.spread:
            x = x + F.relu(layer(x))
        shares = (self.sharpness * found + self.last(x)).float().softmax(1)
        # Sums, not a product of matrices, which autocast would round to a quarter of a pixel.
        return torch.stack([(shares * step).sum(1) for step in self.offsets], 1)


class Align(nn.Module):
    """The flow from one frame to another, of up to 40 pixels in each direction.

    Parameters
    ----------
    channels : int
        Of the frames.
    widths : (int, int, int)
        Features at a half, a quarter and an eighth of the resolution.
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
        """Features at a quarter and an eighth of the resolution."""
        x = F.pixel_unshuffle(frames, 2).contiguous(memory_format=torch.channels_last)
        x = F.relu(self.to_quarter(F.relu(self.encode_half(x))))
        quarter = self.encode_quarter(x)
        return quarter, self.encode_eighth(F.relu(self.to_eighth(F.relu(quarter))))

    def forward(self, reference: Tensor, other: Tensor) -> Tensor:
        """Where what each pixel of one frame shows lies in the other.

        Parameters
        ----------
        reference, other : (B, C, H, W) float32
            Shown at the same exposure, 0 to 1; H and W are multiples of 8.

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
