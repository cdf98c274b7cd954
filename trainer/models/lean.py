"""Lean: a small U-Net at half resolution that says how much to take of which frame.

It starts from the reference and learns what the others add.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.losses import inverse_mu_law, mu_law

CLIP_FROM, CLIP_TO = 0.90, 0.98
"""Codes between which a channel turns from seen to clipped; noise and JPEG blur the threshold."""
KEEP = 4.0
"""At the start the reference counts e^4 times as much as the other frames together."""
KEEP_CLIPPED = 1.0
"""Where it clips, e^1 times as much as the shorter ones together; longer ones clip there too."""
GAIN = 4.0
"""Of the predicted logits, so that they can leave that start in a few hundred steps."""


def conv(inputs: int, outputs: int, size: int = 3, dilation: int = 1, stride: int = 1) -> nn.Conv2d:
    """A convolution, initialised for ReLU (He et al. 2015, doi:10.1109/ICCV.2015.123)."""
    padding = dilation * ((size - 1) // 2)
    layer = nn.Conv2d(inputs, outputs, size, stride, padding, dilation)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Residual(nn.Module):
    """Two convolutions beside a skip."""

    def __init__(self, channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.first = conv(channels, channels, dilation=dilation)
        self.second = conv(channels, channels)
        with torch.no_grad():
            self.second.weight.mul_(0.5)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same."""
        return x + self.second(F.relu(self.first(F.relu(x))))


class Lean(nn.Module):
    """Our default: about 0.57 M parameters and 0.14 TFLOP for 3 frames of 1500 x 1000.

    Each frame is a candidate for every pixel, and where the reference clips, a candidate is at
    least what the reference proves (a frame that shows something darker there shows something
    else). The result is their mean in the mu-law domain by predicted weights, plus a predicted
    residual. Before training the residual is 0 and the weights are hardly more than the
    reference alone; only where that clips, the shorter frames have a good share.

    Parameters
    ----------
    frames : int
        How many frames it takes.
    reference : int
        Index of the frame whose geometry the result has.
    widths : (int, int, int)
        Channels at a half, a quarter and an eighth of the resolution.
    """

    stride = 8
    """Height and width of its input are multiples of this."""
    reach = 80
    """No pixel of the result depends on one farther away."""

    def __init__(
        self, frames: int, reference: int, widths: tuple[int, int, int] = (48, 64, 80)
    ) -> None:
        super().__init__()
        self.frames, self.reference = frames, reference
        half, quarter, eighth = widths
        self.head = conv(4 * 7 * frames, half)
        self.encode_half = Residual(half)
        self.to_quarter = conv(half, quarter, 2, stride=2)
        self.encode_quarter = Residual(quarter)
        self.to_eighth = conv(quarter, eighth, 2, stride=2)
        self.middle = nn.Sequential(Residual(eighth), Residual(eighth, dilation=2))
        self.from_eighth = conv(eighth, 4 * quarter, 1)
        self.decode_quarter = Residual(quarter)
        self.from_quarter = conv(quarter, 4 * half, 1)
        self.decode_half = Residual(half)
        self.tail = conv(half, 4 * (3 + frames))
        nn.init.zeros_(self.tail.weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """Radiance of a bracket.

        Parameters
        ----------
        inputs : (B, F, 6, H, W) float32
            As `trainer.data.network_input` makes them; H and W are multiples of `stride`.

        Returns
        -------
        (B, 3, H, W) float32
            Linear radiance in the geometry of the reference, 1.0 where the shortest frame clips.
        """
        code, radiance = inputs[:, :, :3], mu_law(inputs[:, :, 3:])
        clipped = ((code - CLIP_FROM) / (CLIP_TO - CLIP_FROM)).clamp(0, 1)
        proven = radiance[:, self.reference, None]
        unseen = clipped[:, self.reference, None]
        candidates = radiance + unseen * F.relu(proven - radiance)
        seen = [code - 0.5, candidates - 0.5, clipped.amax(2, keepdim=True)]
        predicted = self.unet(torch.cat(seen, 2).flatten(1, 2)).float()
        logits = GAIN * predicted[:, 3:] + self.prior(unseen.amax(2))
        merged = (logits.softmax(1)[:, :, None] * candidates).sum(1)
        return inverse_mu_law(merged + predicted[:, :3].tanh())

    def prior(self, unseen: Tensor) -> Tensor:
        """Logits (B, F, H, W) to start from, by whether the reference clips (B, 1, H, W)."""
        frame = torch.arange(self.frames, device=unseen.device).view(-1, 1, 1)
        reference = frame == self.reference
        seeing = torch.where(reference, KEEP + math.log(self.frames - 1), 0.0)
        clipping = torch.where(reference, KEEP_CLIPPED + math.log(max(1, self.reference)), 0.0)
        clipping = torch.where(frame > self.reference, -KEEP, clipping)
        return seeing + unseen * (clipping - seeing)

    def unet(self, image: Tensor) -> Tensor:
        """(B, C, H, W) of all frames to (B, 3 + F, H, W): residual and logits."""
        x = F.pixel_unshuffle(image, 2).contiguous(memory_format=torch.channels_last)
        half = self.encode_half(self.head(x))
        quarter = self.encode_quarter(self.to_quarter(half))
        eighth = self.middle(self.to_eighth(quarter))
        quarter = self.decode_quarter(quarter + F.pixel_shuffle(self.from_eighth(eighth), 2))
        half = self.decode_half(half + F.pixel_shuffle(self.from_quarter(quarter), 2))
        return F.pixel_shuffle(self.tail(F.relu(half)), 2)
