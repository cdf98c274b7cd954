"""All that depends on the kind of device: which one, copies to it, mixed precision, timing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from labelgen.errors import UserError


def pick(name: str | None = None) -> torch.device:
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


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; copies to CUDA go through pinned memory and do not wait."""
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def synchronize(device: torch.device) -> None:
    """Wait for all work on the device, so that the clock tells the truth."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
