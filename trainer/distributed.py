"""Train in several processes, as torchrun starts them. A single process skips all of this.

Every process has the same network and takes its share of each batch. Gradients are averaged after
the backward pass, without a wrapper around the network: networks of a few megabytes gain nothing
from overlapping the two.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, nn
from torch import distributed as dist

from trainer import device as devices
from trainer.interrupt import Stopped

TIMEOUT = timedelta(hours=6)
"""Longest time that processes wait for the first one, which validates. If one dies, all end."""


def rank() -> int:
    """Return the number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the process group while the context is open."""
    if world_size() == 1:
        yield
        return
    devices.select_device(device)
    # Optimizers import this module. Imported within the group, the defaults of its functions would
    # keep the group alive until Python exits, when gloo's threads abort the process.
    importlib.import_module("torch.distributed.nn.functional")
    with _report_lost_process():
        dist.init_process_group(devices.BACKENDS[device.type], timeout=TIMEOUT)
    try:
        yield
        barrier()  # the first process serves the others, so it must not leave before them
    finally:
        dist.destroy_process_group()


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes, without its gradient."""
    if world_size() == 1:
        return value
    with _report_lost_process():
        total = value.detach().clone()
        dist.all_reduce(total)
    return total / world_size()


def max_over_processes(value: int) -> int:
    """Return the maximum of a number over all processes, without waiting for their devices."""
    if world_size() == 1:
        return value
    with _report_lost_process():
        highest = torch.tensor(value)  # on the CPU
        dist.all_reduce(highest, dist.ReduceOp.MAX)
    return int(highest)


def average_gradients(network: nn.Module) -> None:
    """Replace the gradients of each process by the mean of all, in a single message."""
    if world_size() == 1:
        return
    parameters = [p for p in network.parameters() if p.requires_grad]
    for p in parameters:
        if p.grad is None:  # unused in this process, perhaps used in another
            p.grad = torch.zeros_like(p)
    gradients = [p.grad for p in parameters if p.grad is not None]
    means, start = mean_over_processes(torch.cat([g.flatten() for g in gradients])), 0
    for gradient in gradients:
        gradient.copy_(means[start : start + gradient.numel()].view_as(gradient))
        start += gradient.numel()


def share_weights(network: nn.Module) -> None:
    """Copy the weights of the first process to all: other CPUs may draw other random numbers."""
    if world_size() > 1:
        with _report_lost_process():
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, 0)


def barrier() -> None:
    """Wait until all processes have reached this point."""
    max_over_processes(0)


@contextmanager
def _report_lost_process() -> Iterator[None]:
    """Replace the error that torch raises when another process is gone by one line."""
    try:
        yield
    except RuntimeError as e:
        raise Stopped("another process of the run is gone; its own message says why", 1) from e
