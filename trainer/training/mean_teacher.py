"""A teacher for what no label tells: the running average of the network itself.

Mean teachers are due to Tarvainen and Valpola 2017, arXiv 1703.01780. Here the teacher speaks only
where the label isn't trusted, and only as far as it agrees with itself on a mirrored input: where
nothing of the bracket tells what is there, it doesn't.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.mu_law import mu_law
from trainer.models.output import Output, radiance_of
from trainer.training.losses import weighted_l1

CERTAINTY_SCALE = 5 / 255
"""Mu-law difference between its two answers at which the trust in a teacher falls to 1/e."""
START_SHARE = 0.3
"""Share of the steps after which it is listened to; before that it knows too little."""


def teacher_output(teacher: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """What a network says of a bracket, and how sure it is.

    Parameters
    ----------
    teacher : Module
        In evaluation mode.
    inputs : (B, F, 6, H, W) float32
        As `trainer.data.dataset.network_input` makes them.

    Returns
    -------
    target : (B, 3, H, W) float32
        Mean of the mu-law radiance that it makes of the input and of its mirror image.
    trust : (B, 1, H, W) float32
        0 to 1, by how far these two differ.
    """
    with torch.no_grad():
        one, other = teacher(inputs), teacher(inputs.flip(-1)).flip(-1)
    one, other = (mu_law(x.float().clamp(0, 1)) for x in (one, other))
    apart = (one - other).abs().mean(1, keepdim=True)
    return (one + other) / 2, torch.exp(-apart / CERTAINTY_SCALE)


def distillation_loss(
    output: Tensor | Output, weight: Tensor, target: Tensor, trust: Tensor
) -> Tensor:
    """Loss against a teacher, where the label isn't trusted.

    Parameters
    ----------
    output : (B, 3, H, W) float32, or Output
        What the network says.
    weight : (B, 1, H, W) float32
        Trust in the label, 0 to 1.
    target, trust : Tensor
        As `teacher_output` returns them.
    """
    return weighted_l1(mu_law(radiance_of(output)), target, (1 - weight) * trust)
