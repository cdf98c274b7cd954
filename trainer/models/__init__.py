"""Deghosting networks.

A network is a torch Module made from the number of frames and the index of the reference. It maps
(B, F, 6, H, W) float32 of `trainer.data.dataset.network_input` to (B, 3, H, W) float32 linear
radiance in the geometry of the reference. It may have two attributes: height and width must be
multiples of `stride` (1 by default), and a pixel of the result depends on pixels up to
`receptive_field` px away (64 by default).
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
STRIDE, RECEPTIVE_FIELD = 1, 64


def build(name: str, frames: int, reference: int) -> nn.Module:
    """Return a new network, initialised from torch's random state.

    Parameters
    ----------
    name : str
        "lean", "ahdrnet", "hdr-transformer", or "package.module:Class" for one of your own, which
        is imported.
    frames : int
        Number of frames, 2 to 9.
    reference : int
        Index of the reference, shortest exposure first.

    Raises
    ------
    UserError
        The network does not exist, or does not take that many frames.
    """
    if frames not in FRAMES:
        raise UserError(f"--model {name}: the dataset has {frames} frames, expected 2 to 9")
    if not 0 <= reference < frames:
        raise UserError(f"--model {name}: reference {reference} of {frames} frames; count from 0")
    return find_network(name)(frames, reference)


def find_network(name: str) -> Callable[[int, int], nn.Module]:
    """Return the class of the network of a name.

    Raises
    ------
    UserError
        The network does not exist.
    """
    if name in SHIPPED:
        return SHIPPED[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        shipped = ", ".join(MODELS)
        raise UserError(f"--model {name}: expected one of {shipped}, or package.module:Class")
    try:
        network: Callable[[int, int], nn.Module]
        network = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as e:
        raise UserError(f"--model {name}: cannot be imported ({e}); is it on PYTHONPATH?") from e
    return network


def stride(model: nn.Module) -> int:
    """Return the number that height and width of a network's input must be multiples of."""
    return int(getattr(model, "stride", STRIDE))


def receptive_field(model: nn.Module) -> int:
    """Return the distance in pixels beyond which input does not change a pixel of the result."""
    return int(getattr(model, "receptive_field", RECEPTIVE_FIELD))
