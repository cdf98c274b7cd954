#!/usr/bin/env python3
"""Train every network in the same way, and compare quality with size and cost.

    python docs/networks.py WORK DATASET SCENES [--steps 500] [--batch 4] [--plot networks.png]

Runs are WORK/<network>; a finished run is not repeated. TFLOP count convolutions and matrix
products for three frames of 1504 x 1000, with two operations per multiply-add, on tensors without
data. Seconds are those of one thread for three frames of 416 x 608.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from labelgen.core.bracket import Stack
from trainer import models
from trainer.checkpoint import load_model
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.tiling import OVERVIEW_PIXELS, predict_full
from trainer.training.fit import fit

mpl.use("Agg")
from matplotlib import pyplot as plt

NETWORKS = "lean", "ahdrnet", "hdr-transformer"
SIZE, SMALL = (1000, 1504), (416, 608)
QUALITY = "psnr_mu", "psnr_mu_moving", "psnr_l"


@dataclass(frozen=True)
class Network:
    """Quality and cost of one network."""

    name: str
    parameters: int
    tflop: float
    seconds: float
    quality: dict[str, float]


def cost(name: str) -> tuple[int, float]:
    """Return the parameters, and the TFLOP of `predict_full` for three frames of SIZE."""
    model = models.build(name, 3, 1).eval()
    zoom = (OVERVIEW_PIXELS / (SIZE[0] * SIZE[1])) ** 0.5
    with (
        FakeTensorMode(allow_non_fake_inputs=True),
        FlopCounterMode(display=False) as counter,
        torch.inference_mode(),
    ):
        overview: tuple[torch.Tensor, ...] = ()
        if hasattr(model, "overview"):
            model.overview(torch.zeros(1, 3, 6, *(round(zoom * n / 8) * 8 for n in SIZE)))
            overview = (torch.zeros(1, 2, 2, *SIZE),)
        model(torch.zeros(1, 3, 6, *SIZE), *overview)
    return sum(p.numel() for p in model.parameters()), counter.get_total_flops() / 1e12


def seconds(run: Path) -> float:
    """Return the processor seconds of one thread for a bracket of SMALL, the least of three."""
    torch.set_num_threads(1)
    model, _ = load_model(run, torch.device("cpu"))
    codes = np.random.default_rng(0).integers(0, 2**16, (3, *SMALL, 3), np.uint16)
    taken = []
    for _ in range(3):
        start = time.process_time()
        predict_full(model, Stack(tuple(codes), (0.0, 2.0, 4.0), 1))
        taken.append(time.process_time() - start)
    return min(taken)


def train_and_score(
    name: str, work: Path, data: Path, scenes: Path, steps: int, batch: int
) -> Network:
    """Train a network, unless it is trained, and score it."""
    run = work / name
    fit(data, run, model=name, steps=steps, batch=batch, seed=1, hold_out=0, resume=True)
    mean = evaluate(run, scenes)["mean"]
    return Network(name, *cost(name), seconds(run), {k: mean[k] for k in QUALITY})


def draw(networks: list[Network], target: Path) -> None:
    """Plot PSNR-mu against TFLOP, with areas by parameters."""
    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    for n, side in zip(networks, cycle((1, -1)), strict=False):
        axes.scatter(n.tflop, n.quality["psnr_mu"], 200 * n.parameters / 1e6, alpha=0.8)
        axes.annotate(
            f"{n.name}, {n.parameters / 1e6:.2f} M",
            (n.tflop, n.quality["psnr_mu"]),
            (0, 16 * side),
            textcoords="offset points",
            ha="center",
            va="center",
        )
    axes.set(xscale="log", xlabel="TFLOP for 3 frames of 1504 x 1000", ylabel="PSNR-mu, dB")
    axes.margins(0.3)
    axes.grid(alpha=0.3)
    figure.savefig(target, dpi=110)


def main() -> None:
    """Print a table in Markdown, and draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("work", "data", "scenes"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    networks = [
        train_and_score(n, args.work, args.data, args.scenes, args.steps, args.batch)
        for n in NETWORKS
    ]
    print("| | PSNR-mu | moving | PSNR-l | TFLOP | parameters | s |\n|---|---|---|---|---|---|---|")
    for n in networks:
        figures = " | ".join(f"{n.quality[k]:.2f}" for k in QUALITY)
        size = f"{n.parameters / 1e6:.3f} M"
        print(f"| `{n.name}` | {figures} | {n.tflop:.3f} | {size} | {n.seconds:.1f} |")
    if args.plot:
        draw(networks, args.plot)


if __name__ == "__main__":
    main()
