"""Compare predictions with the truth: what a run is worth, per scene and on the mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from labelgen.discover import scan
from labelgen.errors import Rejected, UserError
from labelgen.response import Response
from labelgen.survey import Survey, read_truth
from trainer import device as devices
from trainer.checkpoint import Config, load_model
from trainer.metrics import figures
from trainer.models import Model
from trainer.predict import TILE, known_responses, picture, read, surveyed


def evaluate(
    run: Path,
    scenes: Path,
    *,
    device: str | None = None,
    response: str = "auto",
    tile: int = TILE,
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
    response : str
        As in `trainer.predict.predict`.
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
    model, config = load_model(run, devices.pick(device))
    found, skipped = with_truth(scenes, config, known_responses(run, response))
    return score(model, config, found, tile) | {"skipped": skipped}


def with_truth(
    scenes: Path, config: Config, known: Mapping[str, Response] | None = None
) -> tuple[list[Survey], dict[str, str]]:
    """The brackets below a folder that can be scored, and why others can't, by name.

    Raises
    ------
    UserError
        None can.
    """
    found = surveyed(scan(scenes), config, known, truth=True)
    skipped = {f.name: f.rejected for f in found if f.rejected}
    if len(skipped) == len(found):
        name, why = next(iter(skipped.items()))
        raise UserError(f"{scenes}: no scene that can be scored ({name}: {why})")
    return [f for f in found if not f.rejected], skipped


def score(
    model: Model, config: Config, scenes: Iterable[Survey], tile: int = TILE
) -> dict[str, Any]:
    """Figures of a network per scene and their mean, one frame in memory at a time.

    Raises
    ------
    UserError
        A frame or the truth is damaged, or their sizes differ.
    """
    table: dict[str, dict[str, float]] = {}
    for found in scenes:
        try:
            stack, truth = read(found), read_truth(found)
        except Rejected as e:
            raise UserError(f"{found.name}: {e}") from e
        table[found.name] = figures(picture(model, stack, tile), truth)
    names = next(iter(table.values()))
    mean = {name: float(np.mean([row[name] for row in table.values()])) for name in names}
    return {"scenes": table, "mean": mean}


def as_table(result: dict[str, Any]) -> str:
    """The figures of `evaluate` as lines of text."""
    rows = {**result["scenes"], "mean": result["mean"]}
    width = max(len(name) for name in ["scene", *rows])
    names = list(result["mean"])
    lines = ["scene".ljust(width) + "".join(name.rjust(10) for name in names)]
    for scene, row in rows.items():
        values = (f"{row[n]:10.2f}" if n.startswith("psnr") else f"{row[n]:10.4f}" for n in names)
        lines.append(scene.ljust(width) + "".join(values))
    return "\n".join(lines)
