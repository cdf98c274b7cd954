"""Train pixels without a trusted label against the averaged network.

Mean teachers are due to Tarvainen and Valpola 2017, arXiv 1703.01780. Here the teacher counts only
where the label is not trusted, and only as far as its answers to an input and its mirror image
agree. They differ where the bracket does not determine the radiance.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.models.mu_law import mu_law
from trainer.models.output import Output, radiance_of
from trainer.training.losses import weighted_l1

CERTAINTY_SCALE = 5 / 255
"""Mu-law difference between both answers at which the trust in the teacher falls to 1/e."""
START_SHARE = 0.3
"""Share of the steps before the teacher counts. Until then its answers are poor."""


def teacher_output(teacher: nn.Module, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Return the answer of a network to a bracket, and the trust in it.

    Parameters
    ----------
    teacher : Module
        In evaluation mode.
    inputs : (B, F, 6, H, W) float32
        Made by `trainer.data.dataset.network_input`.

    Returns
    -------
    target : (B, 3, H, W) float32
        Mu-law radiance, mean of the answers to the input and to its mirror image.
    trust : (B, 1, H, W) float32
        0 to 1, by the difference between the two answers.
    """
    with torch.no_grad():
        answers = teacher(inputs), teacher(inputs.flip(-1)).flip(-1)
    plain, mirrored = (mu_law(answer.float().clamp(0, 1)) for answer in answers)
    difference = (plain - mirrored).abs().mean(1, keepdim=True)
    return (plain + mirrored) / 2, torch.exp(-difference / CERTAINTY_SCALE)


def distillation_loss(
    output: Tensor | Output, weight: Tensor, target: Tensor, trust: Tensor
) -> Tensor:
    """Return the loss against a teacher where the label is not trusted.

    Parameters
    ----------
    output : (B, 3, H, W) float32, or Output
        Output of the network.
    weight : (B, 1, H, W) float32
        Trust in the label, 0 to 1.
    target, trust : Tensor
        Result of `teacher_output`.

    Returns
    -------
    () float32
    """
    return weighted_l1(mu_law(radiance_of(output)), target, (1 - weight) * trust)
