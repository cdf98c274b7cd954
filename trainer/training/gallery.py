"""Pictures of a run: predictions of a few samples, and curves of its metrics."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from labelgen.core.arrays import Bytes
from labelgen.core.files import write_bytes
from labelgen.core.validation import expect_number
from labelgen.photos.pictures import encode_png, tone_map
from trainer import device as devices
from trainer.data.dataset import to_batch
from trainer.data.mixture import Mixture
from trainer.training.holdout import evenly_spaced
from trainer.training.log import read_metrics

CURVES = "curves.png"
PICTURES = "pictures"
"""Folder of the pictures of samples."""
MAX_DRAWN = 6
"""Samples that are drawn, evenly spaced over the rows."""


def draw_samples(
    run: Path, step: int, model: nn.Module, data: Mixture, rows: NDArray[np.int64]
) -> None:
    """Write ``pictures/step_NNNNNNNN.png`` of a run, each time of the same samples.

    Each sample has a row of mu-law pictures: the reference frame, the label, its trust, and the
    prediction.

    Parameters
    ----------
    run : Path
        Folder of the run.
    step : int
        Steps so far.
    model : Module
        A network in evaluation mode.
    data : Mixture
        Source of the samples.
    rows : (N,) int64
        Rows to choose the samples from.
    """
    device = next(model.parameters()).device
    sheet = []
    for row in evenly_spaced(rows, MAX_DRAWN):
        stored = data.read(row[None])
        sample = to_batch(stored, device)
        with torch.inference_mode(), devices.autocast(device):
            prediction = model(sample.inputs)
        radiance = sample.inputs[:, data.reference, 3:], sample.label, prediction
        frame, label, predicted = map(_picture, radiance)
        trust = np.repeat(stored["weight"][0][..., None], 3, 2)
        sheet.append(np.concatenate([frame, label, trust, predicted], 1))
    (run / PICTURES).mkdir(exist_ok=True)
    write_bytes(run / PICTURES / f"step_{step:08}.png", encode_png(np.concatenate(sheet)))


def _picture(radiance: torch.Tensor) -> Bytes:
    """Tone-map radiance (1, 3, H, W) to (H, W, 3) uint8."""
    return tone_map(radiance[0].float().clamp(0, 1).movedim(0, -1).cpu().numpy())


def draw_curves(run: Path) -> None:
    """Write ``curves.png`` of a run from its metrics: the loss, and PSNR-mu of validations.

    Without matplotlib nothing is written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        return
    from matplotlib.figure import Figure  # takes a second to import, so not before the first step

    lines = [metrics for _, metrics in read_metrics(run)]
    figure = Figure(figsize=(10, 4), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    losses = [(m["step"], expect_number(m["loss"])) for m in lines if "loss" in m]
    left.semilogy(*zip(*losses, strict=True)) if losses else None
    left.set(xlabel="step", ylabel="loss", title="training")
    curves = {
        "held out, against its labels": [
            (m["step"], expect_number(m["held_out"]["psnr_mu"])) for m in lines if "held_out" in m
        ],
        "scenes with truth": [
            (m["step"], expect_number(m["val"]["mean"]["psnr_mu"])) for m in lines if "val" in m
        ],
    }
    for name, points in curves.items():
        if points:
            right.plot(*zip(*points, strict=True), marker="o", label=name)
            right.legend()
    right.set(xlabel="step", ylabel="PSNR-mu, dB", title="validation")
    image = io.BytesIO()
    figure.savefig(image, format="png")
    write_bytes(run / CURVES, image.getvalue())
