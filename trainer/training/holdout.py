"""Brackets held out of a dataset: validation that needs no truth.

A network is scored on brackets that it never saw, against their own labels, each pixel by its
trust. Which brackets these are depends on their names alone, so that runs with other seeds, and on
datasets that other recipes made of the same brackets, hold out the same ones.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from labelgen.core.errors import UserError
from trainer import device as devices
from trainer.data.dataset import to_batch
from trainer.data.mixture import Mixture
from trainer.models.mu_law import mu_law

MAX_SCORED_SAMPLES = 64
"""Samples that are scored, spread evenly over those that are held out."""

RowIndices = NDArray[np.int64]


def split_scenes(scenes: NDArray[np.bytes_], share: float) -> tuple[RowIndices, RowIndices]:
    """Rows to train on, and rows of the brackets that are held out.

    Parameters
    ----------
    scenes : (N,) bytes
        The bracket of each row.
    share : float
        Of the brackets; rounded to whole ones, so that a few brackets are all trained on.

    Returns
    -------
    training, held : (...) int64
        Row numbers, each in ascending order.

    Raises
    ------
    UserError
        No bracket is left to train on.
    """
    names = sorted(np.unique(scenes), key=lambda name: hashlib.sha256(bytes(name)).digest())
    count = round(share * len(names))
    if count == len(names):
        raise UserError(f"--hold-out {share}: leaves none of {len(names)} brackets to train on")
    held = np.isin(scenes, names[:count])
    return np.flatnonzero(~held), np.flatnonzero(held)


def evenly_spaced(rows: RowIndices, most: int) -> RowIndices:
    """At most so many of some rows, spread evenly over them."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, most).round().astype(int))]


def score_held_out(
    model: nn.Module, dataset: Mixture, rows: RowIndices, batch: int, device: torch.device
) -> dict[str, float]:
    """Figures of a network on rows it was not trained on.

    Parameters
    ----------
    model : Module
        In evaluation mode on `device`.
    dataset : Mixture
        Where the rows are.
    rows : (...) int64
        Which; of many, some that are spread evenly.
    batch : int
        How many at once.
    device : torch.device
        Where to.

    Returns
    -------
    dict
        "psnr_mu" in dB over all pixels of all samples, weighted by trust, both sides clipped to
        0..1; "samples", how many.
    """
    some = evenly_spaced(rows, MAX_SCORED_SAMPLES)
    error = trust = 0.0
    for part in np.split(some, range(batch, len(some), batch)):
        samples = to_batch(dataset.read(part), device)
        with torch.inference_mode(), devices.autocast(device):
            radiance = model(samples.inputs)
        wrong = mu_law(radiance.float().clamp(0, 1)) - mu_law(samples.label.clamp(0, 1))
        error += float((samples.weight * wrong.square()).sum(dtype=torch.float64)) / 3
        trust += float(samples.weight.sum(dtype=torch.float64))
    quality = 10 * np.log10(trust / error) if error > 0 else float("inf")
    return {"psnr_mu": float(quality) if trust > 0 else float("nan"), "samples": float(len(some))}
