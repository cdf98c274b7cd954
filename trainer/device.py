"""All that depends on the kind of device: which one, copies to it, mixed precision, timing."""

from __future__ import annotations

import gc
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from labelgen.core.errors import UserError

BACKENDS = {"cpu": "gloo", "mps": "gloo", "cuda": "cpu:gloo,cuda:nccl"}
"""How processes on a kind of device talk to each other."""


def pick_device(name: str | None = None) -> torch.device:
    """The device to compute on.

    Parameters
    ----------
    name : str, optional
        "cpu", "cuda", "cuda:1" or "mps"; the fastest there is where None.

    Raises
    ------
    UserError
        Not a device, or not available here.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name is None:
        name = next((kind for kind, there in available.items() if there), "cpu")
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun: one card for each process
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: expected cpu, cuda, cuda:1 ... or mps") from None
    there = available.get(device.type, device.type == "cpu")
    if device.type == "cuda" and device.index is not None:
        there = device.index < torch.cuda.device_count()
    if not there:
        raise UserError(f"--device {name}: not available here; leave it out to use what there is")
    return device


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Context of the forward pass: bfloat16 where CUDA has it, else full precision."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; copies to CUDA go through pinned memory and do not wait."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class Slot:
    """Memory for a batch on the host, and its way to the device beside the device's work.

    On CUDA the memory is pinned and copied by a stream of its own; else batches stay where they
    are, and `Slot` costs nothing.

    Parameters
    ----------
    arrays : dict
        What a batch consists of; their values don't matter.
    device : torch.device
        Where to.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]], device: torch.device) -> None:
        self._device, self._there = device, dict[str, Tensor]()
        self._host = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self._stream = None
        if device.type == "cuda":
            self._host = {name: tensor.pin_memory() for name, tensor in self._host.items()}
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.arrays = {name: tensor.numpy() for name, tensor in self._host.items()}

    def wait(self) -> None:
        """Wait until `arrays` may be written to again, after `send`."""
        if self._stream:
            self._copied.synchronize()

    def send(self) -> None:
        """Begin to copy `arrays` to the device."""
        if self._stream:
            with torch.cuda.stream(self._stream):
                self._there = {
                    name: tensor.to(self._device, non_blocking=True)
                    for name, tensor in self._host.items()
                }
                self._copied.record()
        else:
            self._there = {name: tensor.to(self._device) for name, tensor in self._host.items()}

    def take(self) -> dict[str, Tensor]:
        """What was sent, for the work that follows on the device."""
        there, self._there = self._there, {}
        if self._stream:
            work = torch.cuda.current_stream(self._device)
            work.wait_event(self._copied)
            for tensor in there.values():
                tensor.record_stream(work)  # its memory isn't given away before that is done
        return there


def out_of_memory(error: RuntimeError) -> bool:
    """Whether an error says that the memory of a device is full."""
    words = "can't allocate memory", "out of memory"
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(w in str(error) for w in words)


def empty_cache() -> None:
    """Give back memory that nothing uses any more."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def select(device: torch.device) -> None:
    """Make a device that of the process, before processes talk to each other."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def synchronize(device: torch.device) -> None:
    """Wait for all work on the device, so that the clock tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
