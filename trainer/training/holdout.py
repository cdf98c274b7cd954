"""Hold brackets out of a dataset: validation without truth.

A network is scored on brackets that it is not trained on, against their own labels, each pixel
weighted by its trust. The choice depends on the names of the brackets alone. So runs with other
seeds, or on datasets of the same brackets by other recipes, hold out the same ones.
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
"""Samples that are scored, evenly spaced over those that are held out."""

RowIndices = NDArray[np.int64]


def split_scenes(scenes: NDArray[np.bytes_], share: float) -> tuple[RowIndices, RowIndices]:
    """Split rows into those to train on and those of held-out brackets.

    Parameters
    ----------
    scenes : (N,) bytes
        The bracket of each row.
    share : float
        Share of the brackets that is held out, rounded to whole brackets.

    Returns
    -------
    training, held_out : (...) int64
        Row numbers, each in ascending order.

    Raises
    ------
    UserError
        No bracket is left to train on.

    Examples
    --------
    >>> training, held_out = split_scenes(np.array([b"a", b"a", b"b", b"b"]), 0.5)
    >>> len(training), len(held_out)
    (2, 2)
    """
    names = sorted(np.unique(scenes), key=lambda name: hashlib.sha256(bytes(name)).digest())
    count = round(share * len(names))
    if count == len(names):
        raise UserError(f"--hold-out {share}: leaves none of {len(names)} brackets to train on")
    is_held_out = np.isin(scenes, names[:count])
    return np.flatnonzero(~is_held_out), np.flatnonzero(is_held_out)


def evenly_spaced(rows: RowIndices, limit: int) -> RowIndices:
    """Return at most `limit` of some rows, evenly spaced."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, limit).round().astype(int))]


def score_held_out(
    model: nn.Module, dataset: Mixture, rows: RowIndices, batch: int, device: torch.device
) -> dict[str, float]:
    """Score a network on rows that it was not trained on.

    Parameters
    ----------
    model : Module
        In evaluation mode on `device`.
    dataset : Mixture
        Source of the rows.
    rows : (N,) int64
        Held-out rows; at most `MAX_SCORED_SAMPLES` of them are scored.
    batch : int
        Samples per forward pass.
    device : torch.device
        Device to compute on.

    Returns
    -------
    dict
        "psnr_mu" in dB over all pixels of all samples, weighted by trust, both sides clipped to
        0..1; "samples", their number.
    """
    scored = evenly_spaced(rows, MAX_SCORED_SAMPLES)
    error = trust = 0.0
    for part in np.split(scored, range(batch, len(scored), batch)):
        samples = to_batch(dataset.read(part), device)
        with torch.inference_mode(), devices.autocast(device):
            radiance = model(samples.inputs)
        difference = mu_law(radiance.float().clamp(0, 1)) - mu_law(samples.label.clamp(0, 1))
        error += float((samples.weight * difference.square()).sum(dtype=torch.float64)) / 3
        trust += float(samples.weight.sum(dtype=torch.float64))
    psnr_mu = float(10 * np.log10(trust / error)) if error > 0 else float("inf")
    return {"psnr_mu": psnr_mu if trust > 0 else float("nan"), "samples": float(len(scored))}
