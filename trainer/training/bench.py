"""Measure whether reading or training limits the speed of a run."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from labelgen.core.errors import UserError
from trainer import device as devices
from trainer import models
from trainer.data.dataset import PatchDataset, to_batch
from trainer.data.sampling import Order, draw_symmetries
from trainer.models.output import radiance_of
from trainer.training import losses


def bench(
    data: Path,
    *,
    model: str = "lean",
    batch: int = 8,
    seconds: float = 5.0,
    device: str | None = None,
) -> dict[str, float | str]:
    """Measure the rates of reading and of training separately, as `fit` does them.

    Parameters
    ----------
    data : Path
        Dataset of `labelgen build`.
    model : str
        The network, see `trainer.models.build`.
    batch : int
        Samples per step.
    seconds : float
        Duration of each measurement.
    device : str, optional
        "cpu", "cuda", "mps"; by default the fastest available one.

    Returns
    -------
    dict
        "loader" and "model" in samples/s: rows of a shuffled epoch read by one thread, and whole
        steps on samples in memory; "bound": the slower of the two; "device".

    Raises
    ------
    UserError
        Unusable dataset or settings.
    """
    if batch < 1:
        raise UserError(f"--batch {batch}: expected at least 1")
    if not 0 < seconds < float("inf"):
        raise UserError(f"--seconds {seconds}: expected more than 0")
    target = devices.pick_device(device)
    with PatchDataset(data) as dataset:
        header = dataset.header
        order, arrays = Order([np.arange(len(dataset))], [None], 1), dataset.allocate(batch)

        def read(step: int) -> None:
            dataset.read_into(order.rows(step, batch), arrays)

        network = models.build(model, header.frames, header.reference).to(target).train()
        optimizer = torch.optim.AdamW(network.parameters(), 1e-4)
        read(0)

        def train(step: int) -> None:
            samples = to_batch(arrays, target, draw_symmetries(1, step, batch))
            with devices.autocast(target):
                output = network(samples.inputs)
            value = losses.loss("mu-l1", radiance_of(output), samples.label, samples.weight)
            optimizer.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            devices.synchronize(target)

        rates = {
            "loader": batch * steps_per_second(read, seconds),
            "model": batch * steps_per_second(train, seconds),
        }
    return {**rates, "bound": min(rates, key=rates.__getitem__), "device": str(target)}


def steps_per_second(work: Callable[[int], object], seconds: float) -> float:
    """Return how often `work` runs per second; its first call is not counted."""
    work(0)
    began, done = time.perf_counter(), 0
    while done == 0 or time.perf_counter() - began < seconds:
        done += 1
        work(done)
    return done / (time.perf_counter() - began)
