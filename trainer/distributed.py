"""The processes that train together, as torchrun starts them; alone, all this does nothing.

Every process has the same network and takes its share of each batch. Gradients are added up by
hand: networks of some megabytes gain nothing from overlapping that with the backward pass, and
need no wrapper.
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

PATIENCE = timedelta(hours=6)
"""How long the others wait while the first one validates. A process that dies ends all at once."""


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """While open, this process can talk to the others."""
    if world_size() == 1:
        yield
        return
    devices.select(device)
    # Imported later, as optimizers do, its functions would have this group for a default: then it
    # is not destroyed below, but while Python ends, where gloo's threads abort the process.
    importlib.import_module("torch.distributed.nn.functional")
    with _together():
        dist.init_process_group(devices.BACKENDS[device.type], timeout=PATIENCE)
    try:
        yield
        barrier()  # all leave together: the first process holds what the others still talk to
    finally:
        dist.destroy_process_group()


def mean(value: Tensor) -> Tensor:
    """Mean of a tensor without gradient over all processes."""
    if world_size() == 1:
        return value
    with _together():
        total = value.detach().clone()
        dist.all_reduce(total)
    return total / world_size()


def maximum(value: int) -> int:
    """The highest of what each process says, without waiting for its device."""
    if world_size() == 1:
        return value
    with _together():
        found = torch.tensor(value)  # on the CPU
        dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def average_gradients(network: nn.Module) -> None:
    """Give all processes the mean of their gradients, in one message."""
    if world_size() == 1:
        return
    parameters = [p for p in network.parameters() if p.requires_grad]
    for p in parameters:
        if p.grad is None:  # not used here, perhaps elsewhere
            p.grad = torch.zeros_like(p)
    gradients = [p.grad for p in parameters if p.grad is not None]
    together, at = mean(torch.cat([g.flatten() for g in gradients])), 0
    for gradient in gradients:
        gradient.copy_(together[at : at + gradient.numel()].view_as(gradient))
        at += gradient.numel()


def share_weights(network: nn.Module) -> None:
    """Begin with the weights of the first process: other CPUs may draw others."""
    if world_size() > 1:
        with _together():
            for tensor in network.state_dict().values():
                dist.broadcast(tensor, 0)


def barrier() -> None:
    """Wait until all processes are here."""
    maximum(0)


@contextmanager
def _together() -> Iterator[None]:
    """One line for what torch says when another process is gone."""
    try:
        yield
    except RuntimeError as e:
        raise Stopped("another process of the run is gone; its own message says why", 1) from e
