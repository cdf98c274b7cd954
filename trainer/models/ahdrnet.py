"""AHDRNet: attention selects features of the other frames, dilated dense blocks merge them.

Yan, Gong, Shi, van den Hengel, Shen, Reid, Zhang, "Attention-guided Network for Ghost-free High
Dynamic Range Imaging", CVPR 2019, doi:10.1109/CVPR.2019.00185.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.models.inputs import check_frame_count, unbind_frames


def conv(inputs: int, outputs: int, size: int = 3, dilation: int = 1) -> nn.Conv2d:
    """Return a convolution that keeps height and width."""
    return nn.Conv2d(inputs, outputs, size, padding=dilation * (size // 2), dilation=dilation)


class Attention(nn.Module):
    """Weight the features of a frame per pixel and channel, by comparison with the reference's."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = conv(2 * channels, 2 * channels)
        self.second = conv(2 * channels, channels)

    def forward(self, frame: Tensor, reference: Tensor) -> Tensor:
        """Return the features of the frame, (B, C, H, W), times their attention."""
        hidden = F.leaky_relu(self.first(torch.cat([frame, reference], 1)), 0.01)
        return frame * torch.sigmoid(self.second(hidden))


def attend_frames(
    encoded: Sequence[Tensor], reference: int, attention: Iterable[nn.Module]
) -> Tensor:
    """Concatenate the features of all frames; all but the reference's are weighted by attention.

    Parameters
    ----------
    encoded : F tensors (B, C, H, W)
        Features of each frame.
    reference : int
        Index of the reference.
    attention : F - 1 `Attention` modules
        Attention of each other frame, in order.

    Returns
    -------
    (B, F C, H, W)
    """
    rest = iter(attention)
    return torch.cat(
        [x if i == reference else next(rest)(x, encoded[reference]) for i, x in enumerate(encoded)],
        1,
    )


class DilatedDenseBlock(nn.Module):
    """Residual dense block with dilated convolutions, whose wide view covers moving objects."""

    def __init__(self, channels: int, layers: int, growth: int) -> None:
        super().__init__()
        widths = range(channels, channels + layers * growth, growth)
        self.layers = nn.ModuleList(conv(width, growth, dilation=2) for width in widths)
        self.fuse = conv(channels + layers * growth, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        dense = x
        for layer in self.layers:
            dense = torch.cat([dense, F.relu(layer(dense))], 1)
        return x + self.fuse(dense)


class AHDRNet(nn.Module):
    """The network of the paper, for any number of frames and any reference.

    Parameters
    ----------
    frames : int
        Number of frames.
    reference : int
        Index of the frame whose geometry the result has.
    channels : int
        Width, 64 in the paper.
    """

    stride = 1
    """Height and width of its input are multiples of this."""
    receptive_field = 48
    """Distance (px) beyond which input does not change a pixel of the result."""

    def __init__(self, frames: int, reference: int, channels: int = 64) -> None:
        super().__init__()
        self.reference = reference
        self.encode = conv(6, channels)
        self.attend = nn.ModuleList(Attention(channels) for _ in range(frames - 1))
        self.merge = conv(frames * channels, channels)
        self.blocks = nn.ModuleList(DilatedDenseBlock(channels, 6, 32) for _ in range(3))
        self.gather = nn.Sequential(conv(3 * channels, channels, 1), conv(channels, channels))
        self.refine = conv(channels, channels)
        self.decode = conv(channels, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the radiance of a bracket.

        Parameters
        ----------
        inputs : (B, F, 6, H, W) float32
            Made by `trainer.data.dataset.network_input`.

        Returns
        -------
        (B, 3, H, W) float32
            Linear radiance in the geometry of the reference, 1.0 where the shortest frame clips.
        """
        check_frame_count(inputs, 1 + len(self.attend))
        encoded = [F.leaky_relu(self.encode(frame), 0.01) for frame in unbind_frames(inputs)]
        reference = encoded[self.reference]
        x = self.merge(attend_frames(encoded, self.reference, self.attend))
        dense = []
        for block in self.blocks:
            x = block(x)
            dense.append(x)
        x = self.gather(torch.cat(dense, 1)) + reference
        return torch.sigmoid(self.decode(self.refine(x)).float())
