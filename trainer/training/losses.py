"""Losses, weighted by trust."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer import distributed
from trainer.checkpoint import LOSSES
from trainer.models.mu_law import mu_law

MIN_TRUST = 0.1
"""A batch with a smaller mean weight counts for less, instead of its few pixels for more."""


def weighted_l1(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference, every pixel by its weight.

    The sum is divided by the sum of weights, but at least by a tenth of the pixels, so that a
    batch with hardly any trust doesn't turn a few pixels into a large step. Where processes train
    together it is the sum of weights of all of them: the mean of their losses is then that of one
    process with the whole batch.

    Parameters
    ----------
    prediction, target : (B, 3, H, W) float32
        In any domain.
    weight : (B, 1, H, W) float32
        0 to 1.

    Returns
    -------
    () float32
    """
    error = (weight * (prediction - target).abs()).sum() / prediction.shape[1]
    return error / distributed.mean_over_processes(weight.sum()).clamp(
        min=MIN_TRUST * weight.numel()
    )


def gradient_l1(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """`weighted_l1` of the steps between neighbouring pixels: edges, wherever their level lies.

    Parameters
    ----------
    prediction, target : (B, 3, H, W) float32
        In any domain.
    weight : (B, 1, H, W) float32
        0 to 1; a step is trusted as much as the less trusted of its two pixels.

    Returns
    -------
    () float32
        The mean of both directions.
    """
    total = prediction.new_zeros(())
    for axis in (2, 3):
        steps = weight.shape[axis] - 1
        trust = torch.minimum(weight.narrow(axis, 1, steps), weight.narrow(axis, 0, steps))
        total = total + weighted_l1(prediction.diff(dim=axis), target.diff(dim=axis), trust)
    return total / 2


def alignment_l1(aligned: Tensor, seen: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """`weighted_l1` of each aligned frame by itself: what it shows is what the label says.

    Parameters
    ----------
    aligned : (B, F - 1, 3, H, W) float32
        Frames where the reference has what they show, in the domain of the target.
    seen : (B, F - 1, 1, H, W) float32
        0 to 1, where they show anything.
    target : (B, 3, H, W) float32
        The label.
    weight : (B, 1, H, W) float32
        Trust in it, 0 to 1.

    Returns
    -------
    () float32
    """
    targets = target[:, None].expand_as(aligned).flatten(0, 1)
    trust = (seen * weight[:, None]).detach().flatten(0, 1)
    return weighted_l1(aligned.flatten(0, 1), targets, trust)


def loss(name: str, prediction: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """The loss of a name on linear radiance.

    Parameters
    ----------
    name : {"mu-l1", "l1"}
        `weighted_l1` of mu-law values, as pictures are judged, or of radiance.
    prediction, label : (B, 3, H, W) float32
        Linear radiance, 1.0 where the shortest frame clips.
    weight : (B, 1, H, W) float32
        Trust, 0 to 1.

    Raises
    ------
    ValueError
        No such loss.
    """
    if name == "mu-l1":
        return weighted_l1(mu_law(prediction), mu_law(label), weight)
    if name == "l1":
        return weighted_l1(prediction, label, weight)
    raise ValueError(f"loss {name!r}: expected one of {', '.join(LOSSES)}")
