"""What networks do first with the frames they are given."""

from __future__ import annotations

import torch
from torch import Tensor


def check_frame_count(inputs: Tensor, frames: int) -> None:
    """Refuse inputs (B, F, 6, H, W) of another number of frames than a network was made for.

    Raises
    ------
    ValueError
        There are more or fewer.
    """
    if inputs.shape[1] != frames:
        given = inputs.shape[1]
        raise ValueError(f"inputs of {given} frames, (B, {given}, 6, H, W): expected {frames}")


def unbind_frames(inputs: Tensor) -> list[Tensor]:
    """The frames of (B, F, 6, H, W), channels last: what tensor cores take, and faster on a CPU."""
    return [x.contiguous(memory_format=torch.channels_last) for x in inputs.unbind(1)]
