"""Deghosting networks.

Each takes (B, F, 6, H, W) float32 of `trainer.data.network_input` and returns (B, 3, H, W) float32
linear radiance in the geometry of the reference. It says with `stride` of what number the height
and width must be multiples, and with `reach` how far a pixel of the result sees.
"""

from __future__ import annotations

from typing import TypeAlias

from labelgen.errors import UserError
from trainer.models.ahdrnet import AHDRNet
from trainer.models.lean import Lean

MODELS = ("lean", "ahdrnet")
FRAMES = range(2, 10)
Model: TypeAlias = Lean | AHDRNet


def build(name: str, frames: int, reference: int) -> Model:
    """A new network, initialised from torch's random state.

    Parameters
    ----------
    name : {"lean", "ahdrnet"}
        Which.
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
    if name == "lean":
        return Lean(frames, reference)
    if name == "ahdrnet":
        return AHDRNet(frames, reference)
    raise UserError(f"--model {name}: expected one of {', '.join(MODELS)}")
