"""The output in training of a network that aligns frames."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Output(NamedTuple):
    """Radiance, and the aligned frames it was merged from."""

    radiance: Tensor
    """(B, 3, H, W) float32, linear."""
    aligned: Tensor
    """(B, F - 1, 3, H, W) float32, mu-law radiance of the other frames, aligned."""
    visible: Tensor
    """(B, F - 1, 1, H, W) float32, 0 to 1, where they neither clip nor end."""


def radiance_of(output: Tensor | Output) -> Tensor:
    """Return the radiance (B, 3, H, W) float32 that a network returned, alone or in an `Output`."""
    return (output.radiance if isinstance(output, Output) else output).float()
