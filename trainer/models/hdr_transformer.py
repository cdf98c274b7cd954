"""HDR-Transformer: attention in windows for large motion, parallel convolutions for detail.

Liu, Wang, Zeng, Liu, "Ghost-free High Dynamic Range Imaging with Context-aware Transformer",
ECCV 2022, doi:10.1007/978-3-031-19800-7_20. Windows and their shift are those of Liu et al.,
"Swin Transformer", ICCV 2021, doi:10.1109/ICCV48922.2021.00986.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainer.models.ahdrnet import Attention, attend_frames, conv
from trainer.models.inputs import check_frame_count, unbind_frames

WINDOW = 8
"""Side of a window in pixels; every other block shifts them by half."""


class WindowAttention(nn.Module):
    """Self-attention within windows, with a learned bias by relative position.

    Parameters
    ----------
    channels, heads : int
        Width, and the number of heads that share it.
    shift : int
        Shift of the windows to the right and down in pixels. Pixels outside of the image are
        masked, so windows at the border are smaller.
    """

    bias_index: Tensor
    """(WINDOW^2, WINDOW^2) int64, index of the bias of each pair of pixels of a window."""

    def __init__(self, channels: int, heads: int, shift: int) -> None:
        super().__init__()
        self.heads, self.shift = heads, shift
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)
        self.bias = nn.Parameter(torch.empty(heads, (2 * WINDOW - 1) ** 2))
        nn.init.trunc_normal_(self.bias, std=0.02)
        places = torch.cartesian_prod(torch.arange(WINDOW), torch.arange(WINDOW))
        rows, columns = (places[:, None] - places + WINDOW - 1).unbind(-1)
        self.register_buffer("bias_index", rows * (2 * WINDOW - 1) + columns, False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape; H and W are multiples of the window."""
        batch, height, width, channels = x.shape
        edge = (WINDOW - self.shift) % WINDOW, self.shift  # shifted windows reach outside
        x = F.pad(x, (0, 0, *edge, *edge)) if self.shift else x
        rows, columns = x.shape[1] // WINDOW, x.shape[2] // WINDOW
        split = x.view(batch, rows, WINDOW, columns, WINDOW, channels).transpose(2, 3)
        parts = self.query_key_value(split.reshape(-1, WINDOW**2, channels))
        query, key, value = parts.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        bias = self.bias[:, self.bias_index]
        if self.shift:
            outside = self._outside(rows, columns, height, width, edge[0], x.device)
            bias = bias + outside.repeat(batch, 1)[:, None, None] * torch.finfo(bias.dtype).min
        answer = F.scaled_dot_product_attention(query, key, value, bias.to(query.dtype))
        answer = self.project(answer.transpose(1, 2).flatten(2))
        answer = answer.view(batch, rows, columns, WINDOW, WINDOW, channels).transpose(2, 3)
        answer = answer.reshape(batch, rows * WINDOW, columns * WINDOW, channels)
        start = edge[0] if self.shift else 0
        return answer[:, start : start + height, start : start + width]

    @staticmethod
    def _outside(
        rows: int, columns: int, height: int, width: int, start: int, device: torch.device
    ) -> Tensor:
        """Return 1.0 where a pixel of a window is outside of the image, (windows, WINDOW^2)."""
        y = torch.arange(rows * WINDOW, device=device) - start
        x = torch.arange(columns * WINDOW, device=device) - start
        out = ((y < 0) | (y >= height))[:, None] | ((x < 0) | (x >= width))
        out = out.view(rows, WINDOW, columns, WINDOW).transpose(1, 2)
        return out.reshape(-1, WINDOW**2).float()


class LocalContext(nn.Module):
    """A narrow convolution for detail; its channels are weighted by their means over the image."""

    def __init__(self, channels: int, narrow: int) -> None:
        super().__init__()
        self.extract = nn.Sequential(
            conv(channels, narrow, 1), conv(narrow, narrow), conv(narrow, channels, 1)
        )
        self.squeeze = nn.Linear(channels, narrow, bias=False)
        self.select = nn.Linear(narrow, channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        detail = F.leaky_relu(self.extract(x.movedim(-1, 1)), 0.2)
        weight = torch.sigmoid(self.select(F.relu(self.squeeze(detail.mean((2, 3))))))
        return detail.movedim(1, -1) * weight[:, None, None]


class ContextAwareBlock(nn.Module):
    """CA-ViT: attention in windows and a perceptron, with the local context in parallel."""

    def __init__(self, channels: int, heads: int, shift: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.attend = WindowAttention(channels, heads, shift)
        self.local = LocalContext(channels, channels // 8)
        self.perceptron = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 2 * channels),
            nn.GELU(),
            nn.Linear(2 * channels, channels),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        normal = self.norm(x)
        x = x + self.attend(normal)
        return x + self.perceptron(x) + self.local(normal)


class HDRTransformer(nn.Module):
    """The network of the paper, for any number of frames and any reference.

    It has no stochastic depth: with the few hundred thousand patches of a dataset it does not
    overfit. The channel weights of `LocalContext` depend on the whole input, so an image made in
    tiles differs slightly from one made at once.

    Parameters
    ----------
    frames : int
        Number of frames.
    reference : int
        Index of the frame whose geometry the result has.
    channels, heads : int
        Width and heads of attention, 60 and 6 in the paper.
    groups, blocks : int
        Groups that end in a dilated convolution, and blocks in each: 3 and 6 in the paper.
    """

    stride = WINDOW
    """Height and width of its input are multiples of this."""
    receptive_field = 96
    """Distance (px) beyond which input changes a pixel of the result by channel weights alone."""

    def __init__(
        self,
        frames: int,
        reference: int,
        channels: int = 60,
        heads: int = 6,
        groups: int = 3,
        blocks: int = 6,
    ) -> None:
        super().__init__()
        self.reference = reference
        self.encode = nn.ModuleList(conv(6, channels) for _ in range(frames))
        self.attend = nn.ModuleList(Attention(channels) for _ in range(frames - 1))
        self.merge = conv(frames * channels, channels)
        self.first_norm = nn.LayerNorm(channels)
        self.groups = nn.ModuleList(
            nn.Sequential(
                *(ContextAwareBlock(channels, heads, i % 2 * WINDOW // 2) for i in range(blocks))
            )
            for _ in range(groups)
        )
        self.dilated = nn.ModuleList(conv(channels, channels, dilation=2) for _ in range(groups))
        self.last_norm = nn.LayerNorm(channels)
        self.gather = conv(channels, channels)
        self.decode = conv(channels, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the radiance of a bracket.

        Parameters
        ----------
        inputs : (B, F, 6, H, W) float32
            Made by `trainer.data.dataset.network_input`; H and W are multiples of `stride`.

        Returns
        -------
        (B, 3, H, W) float32
            Linear radiance in the geometry of the reference, 1.0 where the shortest frame clips.
        """
        check_frame_count(inputs, len(self.encode))
        encoded = [
            encode(frame) for encode, frame in zip(self.encode, unbind_frames(inputs), strict=True)
        ]
        merged = self.merge(attend_frames(encoded, self.reference, self.attend))
        x = self.first_norm(merged.movedim(1, -1))
        for group, dilated in zip(self.groups, self.dilated, strict=True):
            x = x + dilated(group(x).movedim(-1, 1)).movedim(1, -1)
        x = self.gather(self.last_norm(x).movedim(-1, 1) + merged) + encoded[self.reference]
        return torch.sigmoid(self.decode(x).float())
