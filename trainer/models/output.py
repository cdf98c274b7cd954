"""What a network that aligns frames says in training, beside its result."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """Radiance, and the frames it was merged from.

    `radiance` (B, 3, H, W) linear; `aligned` (B, F - 1, 3, H, W) mu-law radiance of the other
    frames where the reference has what they show; `seen` (B, F - 1, 1, H, W), 0 to 1, where they
    are neither clipped nor outside of their frame.
    """

    radiance: Tensor
    aligned: Tensor
    seen: Tensor


def radiance_of(output: Tensor | Output) -> Tensor:
    """The radiance that a network returned, alone or in an `Output`, (B, 3, H, W) float32."""
    return (output.radiance if isinstance(output, Output) else output).float()
