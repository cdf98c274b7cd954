"""Networks of one's own, as tests give them to ``--model``."""

from __future__ import annotations

import os

import torch


class Small(torch.nn.Module):
    """A weighted mean of the frames, whose dropout and batch norm make runs hard to repeat."""

    stride, receptive_field = 1, 0

    def __init__(self, frames: int, reference: int) -> None:
        super().__init__()
        self.mix = torch.nn.Conv2d(6 * frames, 3, 1)
        self.norm = torch.nn.BatchNorm2d(3)
        self.drop = torch.nn.Dropout(0.2)
        self.unused = torch.nn.Linear(2, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.drop(self.norm(self.mix(inputs.flatten(1, 2)))))


class Still(Small):
    """The same without the layers that depend on the split of a batch over processes."""

    def __init__(self, frames: int, reference: int) -> None:
        super().__init__(frames, reference)
        self.norm = torch.nn.Identity()
        self.drop = torch.nn.Identity()


class Hungry(Still):
    """A network with memory for three samples."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().forward(inputs)


class Fragile(Still):
    """A network that fails in the second process at the fourth step."""

    step = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.step += 1
        if self.step == 4 and os.environ.get("RANK") == "1":
            raise ValueError("the second process has had enough")
        return super().forward(inputs)
