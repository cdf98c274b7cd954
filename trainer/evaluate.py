"""Compare predictions with the truth: what a run is worth, per scene and on the mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from labelgen.bracket import TRUTH, Bracket
from labelgen.discover import scan
from labelgen.errors import Rejected, UserError
from labelgen.files import read_hdr
from trainer import device as devices
from trainer.checkpoint import Config, load_model
from trainer.metrics import figures
from trainer.models import Model
from trainer.predict import TILE, picture, read

Figures = dict[str, dict[str, float]]


def evaluate(
    run: Path, scenes: Path, *, device: str | None = None, tile: int = TILE
) -> dict[str, Any]:
    """Score the averaged weights of a run on scenes with truth.

    Parameters
    ----------
    run : Path
        What `trainer fit` wrote.
    scenes : Path
        Folder of brackets with HDRImg.hdr beside the frames: linear radiance in the geometry of
        the reference, 1.0 where the shortest frame clips.
    device : str, optional
        "cpu", "cuda", "mps"; the fastest there is if left out.
    tile : int
        Side of the tiles of large frames in pixels.

    Returns
    -------
    dict
        "scenes": the figures of `trainer.metrics.figures` by name of the scene; "mean": the mean
        of each over the scenes; "skipped": why brackets were left out, by name.

    Raises
    ------
    UserError
        Not a run, or no scene with truth.
    """
    model, config, _ = load_model(run, devices.pick(device))
    found, skipped = with_truth(scenes, config)
    return score(model, config, found, tile) | {"skipped": skipped}
