"""Deghosting networks.

Each is a torch Module made from the number of frames and the index of the reference, that takes
(B, F, 6, H, W) float32 of `network_input` and returns (B, 3, H, W) float32 linear
radiance in the geometry of the reference. It says with `stride` of what number the height and
width must be multiples (1 where it says nothing), and with `reach` how far a pixel of the result
sees (64 where it says nothing).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable

from torch import nn

from labelgen.core.errors import UserError
from trainer.models.ahdrnet import AHDRNet
from trainer.models.hdr_transformer import HDRTransformer
from trainer.models.lean import Lean

SHIPPED: dict[str, Callable[[int, int], nn.Module]] = {
    "lean": Lean,
    "ahdrnet": AHDRNet,
    "hdr-transformer": HDRTransformer,
}
MODELS = tuple(SHIPPED)
FRAMES = range(2, 10)
STRIDE, REACH = 1, 64


def build(name: str, frames: int, reference: int) -> nn.Module:
    """A new network, initialised from torch's random state.

    Parameters
    ----------
    name : str
        "lean", "ahdrnet", "hdr-transformer", or "package.module:Class" for one of your own, which
        is imported.
    frames : int
        How many frames it takes, 2 to 9.
    reference : int
        Which of them is the reference, from 0, shortest exposure first.

    Raises
    ------
    UserError
        No such network, or it can't take that many frames.
    """
    if frames not in FRAMES:
        raise UserError(f"--model {name}: the dataset has {frames} frames, expected 2 to 9")
    if not 0 <= reference < frames:
        raise UserError(f"--model {name}: reference {reference} of {frames} frames; count from 0")
    return find_network(name)(frames, reference)


def find_network(name: str) -> Callable[[int, int], nn.Module]:
    """What makes the network of a name.

    Raises
    ------
    UserError
        No such network.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        shipped = ", ".join(MODELS)
        raise UserError(f"--model {name}: expected one of {shipped}, or package.module:Class")
    try:
        made: Callable[[int, int], nn.Module] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as e:
        raise UserError(f"--model {name}: cannot be imported ({e}); is it on PYTHONPATH?") from e
    return made


def stride(model: nn.Module) -> int:
    """Of what number the height and width of its input must be multiples."""
    return int(getattr(model, "stride", STRIDE))


def reach(model: nn.Module) -> int:
    """How far a pixel of its result sees, in pixels."""
    return int(getattr(model, "reach", REACH))
