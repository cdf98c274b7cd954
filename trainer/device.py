"""All that depends on the kind of device: choice, copies, mixed precision, synchronisation."""

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
"""Backend of torch.distributed by kind of device."""


def pick_device(name: str | None = None) -> torch.device:
    """Return the device to compute on.

    Parameters
    ----------
    name : str, optional
        "cpu", "cuda", "cuda:1" or "mps"; by default the fastest available one.

    Raises
    ------
    UserError
        Not a device, or not available here.
    """
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name is None:
        name = next((kind for kind, usable in available.items() if usable), "cpu")
    if name == "cuda" and "LOCAL_RANK" in os.environ:  # torchrun: one GPU for each process
        name = f"cuda:{os.environ['LOCAL_RANK']}"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"--device {name}: expected cpu, cuda, cuda:1 ... or mps") from None
    usable = available.get(device.type, device.type == "cpu")
    if device.type == "cuda" and device.index is not None:
        usable = device.index < torch.cuda.device_count()
    if not usable:
        raise UserError(f"--device {name}: not available here; leave it out to use what there is")
    return device


def autocast(device: torch.device) -> AbstractContextManager[object]:
    """Return the context of a forward pass: bfloat16 if CUDA supports it, else full precision."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", torch.bfloat16)
    return nullcontext()


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device; copies to CUDA go through pinned memory and do not block."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


class BatchBuffer:
    """Host memory of a batch, copied to the device while the device computes.

    On CUDA the memory is pinned and a stream of its own copies it. On a CPU nothing is copied.

    Parameters
    ----------
    arrays : dict
        Arrays of the shapes and types of a batch; their values do not matter.
    device : torch.device
        Device to copy to.

    Attributes
    ----------
    arrays : dict
        The host memory. Write to it, then call `send`.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]], device: torch.device) -> None:
        self._device, self._sent = device, dict[str, Tensor]()
        self._host = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self._stream = None
        if device.type == "cuda":
            self._host = {name: tensor.pin_memory() for name, tensor in self._host.items()}
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self.arrays = {name: tensor.numpy() for name, tensor in self._host.items()}

    def wait_until_sent(self) -> None:
        """Wait until the last copy has ended, so that `arrays` may be written to again."""
        if self._stream:
            self._copied.synchronize()

    def send(self) -> None:
        """Start to copy `arrays` to the device."""
        if self._stream:
            with torch.cuda.stream(self._stream):
                self._sent = {
                    name: tensor.to(self._device, non_blocking=True)
                    for name, tensor in self._host.items()
                }
                self._copied.record()
        else:
            self._sent = {name: tensor.to(self._device) for name, tensor in self._host.items()}

    def receive(self) -> dict[str, Tensor]:
        """Return the tensors of the last `send`; later work on the device waits for the copy."""
        tensors, self._sent = self._sent, {}
        if self._stream:
            work = torch.cuda.current_stream(self._device)
            work.wait_event(self._copied)
            for tensor in tensors.values():
                tensor.record_stream(work)  # torch must not reuse its memory before work is done
        return tensors


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether an error reports that the memory of a device is full."""
    phrases = "can't allocate memory", "out of memory"
    return isinstance(error, torch.cuda.OutOfMemoryError) or any(p in str(error) for p in phrases)


def empty_cache() -> None:
    """Free memory that torch keeps but nothing uses."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def select_device(device: torch.device) -> None:
    """Make a CUDA device the default of the process, before it joins a process group."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def synchronize(device: torch.device) -> None:
    """Wait for all work on the device, so that elapsed times include it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
