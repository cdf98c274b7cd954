"""The running average of a network's weights, which predictions use."""

from __future__ import annotations

import copy

import torch
from torch import nn


class AveragedWeights:
    """Exponential moving average (EMA) of the weights of a network.

    Parameters
    ----------
    model : Module
        The network; the average starts as a copy of it.
    decay : float
        Share of the average that one step keeps. It is lower early in training: the average then
        covers about the last tenth of the steps, and the initial weights fade.

    Attributes
    ----------
    model : Module
        A network with the averaged weights, in evaluation mode.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    def update(self, model: nn.Module, step: int) -> None:
        """Include the weights of a network after step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for average, weight in zip(self.model.parameters(), model.parameters(), strict=True):
                average.lerp_(weight, 1 - decay)
            for copied, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
                copied.copy_(buffer)  # statistics of batches are averages already
