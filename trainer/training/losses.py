"""Losses, weighted by trust in the label."""

from __future__ import annotations

import torch
from torch import Tensor

from trainer import distributed
from trainer.config import LOSSES
from trainer.models.mu_law import mu_law

MIN_TRUST = 0.1
"""Smallest mean weight that a loss is divided by. It keeps few trusted pixels from a large step."""


def weighted_l1(prediction: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted mean of absolute differences.

    The sum of differences is divided by the sum of weights, but at least by a tenth of the number
    of pixels (`MIN_TRUST`). Processes that train together divide by their mean sum of weights, so
    the mean of their losses is the loss of the whole batch.

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
    """Return `weighted_l1` of the differences between neighbouring pixels, which compares edges.

    Parameters
    ----------
    prediction, target : (B, 3, H, W) float32
        In any domain.
    weight : (B, 1, H, W) float32
        0 to 1; a difference has the lower weight of its two pixels.

    Returns
    -------
    () float32
        Mean of both directions.
    """
    total = prediction.new_zeros(())
    for axis in (2, 3):
        steps = weight.shape[axis] - 1
        trust = torch.minimum(weight.narrow(axis, 1, steps), weight.narrow(axis, 0, steps))
        total = total + weighted_l1(prediction.diff(dim=axis), target.diff(dim=axis), trust)
    return total / 2


def alignment_l1(aligned: Tensor, visible: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Return `weighted_l1` between each aligned frame and the label.

    Parameters
    ----------
    aligned : (B, F - 1, 3, H, W) float32
        Frames aligned with the reference, in the domain of the target.
    visible : (B, F - 1, 1, H, W) float32
        0 to 1, where they neither clip nor end.
    target : (B, 3, H, W) float32
        The label.
    weight : (B, 1, H, W) float32
        Trust in the label, 0 to 1.

    Returns
    -------
    () float32
    """
    targets = target[:, None].expand_as(aligned).flatten(0, 1)
    trust = (visible * weight[:, None]).detach().flatten(0, 1)
    return weighted_l1(aligned.flatten(0, 1), targets, trust)


def loss(name: str, prediction: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Return the loss of a name on linear radiance.

    Parameters
    ----------
    name : {"mu-l1", "l1"}
        `weighted_l1` of mu-law values, close to how images are judged, or of radiance.
    prediction, label : (B, 3, H, W) float32
        Linear radiance, 1.0 where the shortest frame clips.
    weight : (B, 1, H, W) float32
        Trust, 0 to 1.

    Returns
    -------
    () float32

    Raises
    ------
    ValueError
        The loss does not exist.
    """
    if name == "mu-l1":
        return weighted_l1(mu_law(prediction), mu_law(label), weight)
    if name == "l1":
        return weighted_l1(prediction, label, weight)
    raise ValueError(f"loss {name!r}: expected one of {', '.join(LOSSES)}")
