"""AHDRNet: attention picks what to take from the other frames, dilated dense blocks merge it.

Yan, Gong, Shi, van den Hengel, Shen, Reid, Zhang, "Attention-guided Network for Ghost-free High
Dynamic Range Imaging", CVPR 2019, doi:10.1109/CVPR.2019.00185.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def conv(inputs: int, outputs: int, size: int = 3, dilation: int = 1) -> nn.Conv2d:
    """A convolution that keeps the size of the picture."""
    return nn.Conv2d(inputs, outputs, size, padding=dilation * (size // 2), dilation=dilation)


def check_frames(inputs: Tensor, frames: int) -> None:
    """Refuse inputs (B, F, 6, H, W) of another number of frames than a network was made for.

    Raises
    ------
    ValueError
        There are more or fewer.
    """
    if inputs.shape[1] != frames:
        given = inputs.shape[1]
        raise ValueError(f"inputs of {given} frames, (B, {given}, 6, H, W): expected {frames}")


def unbind(inputs: Tensor) -> list[Tensor]:
    """The frames of (B, F, 6, H, W), channels last: what tensor cores take, and faster on a CPU."""
    return [x.contiguous(memory_format=torch.channels_last) for x in inputs.unbind(1)]


class Attention(nn.Module):
    """Per pixel and channel, how much of a frame's features to take beside the reference's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(2 * channels, 2 * channels)
        self.second = conv(2 * channels, channels)

    def forward(self, frame: Tensor, reference: Tensor) -> Tensor:
        """Features of the frame, (B, C, H, W), times their attention."""
        hidden = F.leaky_relu(self.first(torch.cat([frame, reference], 1)), 0.01)
        return frame * torch.sigmoid(self.second(hidden))


class DilatedDenseBlock(nn.Module):
    """Residual dense block with dilated convolutions: a wide view of what moved away."""

    def __init__(self, channels: int, layers: int, growth: int) -> None:
        super().__init__()
        widths = range(channels, channels + layers * growth, growth)
        self.layers = nn.ModuleList(conv(width, growth, dilation=2) for width in widths)
        self.fuse = conv(channels + layers * growth, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        dense = x
        for layer in self.layers:
            dense = torch.cat([dense, F.relu(layer(dense))], 1)
        return x + self.fuse(dense)


class AHDRNet(nn.Module):
    """The network of the paper, for any number of frames and any reference.

    Parameters
    ----------
    frames : int
        How many frames it takes.
    reference : int
        Index of the frame whose geometry the result has.
    channels : int
        Width, 64 in the paper.
    """

    stride = 1
    """Height and width of its input are multiples of this."""
    reach = 48
    """No pixel of the result depends on one farther away."""

    def __init__(self, frames: int, reference: int, channels: int = 64) -> None:
        super().__init__()
        self.reference = reference
        self.others = [i for i in range(frames) if i != reference]
        self.encode = conv(6, channels)
        self.attend = nn.ModuleList(Attention(channels) for _ in self.others)
        self.merge = conv(frames * channels, channels)
        self.blocks = nn.ModuleList(DilatedDenseBlock(channels, 6, 32) for _ in range(3))
        self.gather = nn.Sequential(conv(3 * channels, channels, 1), conv(channels, channels))
        self.refine = conv(channels, channels)
        self.decode = conv(channels, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Radiance of a bracket.

        Parameters
        ----------
        inputs : (B, F, 6, H, W) float32
            As `trainer.data.network_input` makes them.

        Returns
        -------
        (B, 3, H, W) float32
            Linear radiance in the geometry of the reference, 1.0 where the shortest frame clips.
        """
        check_frames(inputs, 1 + len(self.others))
        encoded = [F.leaky_relu(self.encode(frame), 0.01) for frame in unbind(inputs)]
        reference = encoded[self.reference]
        for i, attend in zip(self.others, self.attend, strict=True):
            encoded[i] = attend(encoded[i], reference)
        x = self.merge(torch.cat(encoded, 1))
        dense = []
        for block in self.blocks:
            x = block(x)
            dense.append(x)
        x = self.gather(torch.cat(dense, 1)) + reference
        return torch.sigmoid(self.decode(self.refine(x)).float())
