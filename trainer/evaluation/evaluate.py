"""Compare predictions with the truth: what a run is worth, per scene and on the mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import nn

from labelgen.calibration.survey import read_truth
from labelgen.calibration.survey_records import Survey
from labelgen.core.arrays import Mask
from labelgen.core.errors import Rejected, UserError
from labelgen.core.files import check_new
from labelgen.core.progress import Progress, Silent
from labelgen.core.response import Response
from labelgen.discovery.scan import scan
from trainer import device as devices
from trainer.checkpoint import Config, load_model
from trainer.evaluation.metrics import PEAK_NITS, WINDOW, ColorVideoVDP, figures
from trainer.evaluation.predict import known_responses, read_stack, surveyed
from trainer.evaluation.tiling import TILE, predict_full
from trainer.evaluation.worst_places import View, WorstPlace, worst_places, write_page


def evaluate(
    run: Path,
    scenes: Path,
    *,
    device: str | None = None,
    response: str = "auto",
    tile: int = TILE,
    peak_nits: float = PEAK_NITS,
    crop: int = 0,
    cvvdp: bool = False,
    model: Sequence[str] = (),
    page: Path | None = None,
) -> dict[str, Any]:
    """Score the averaged weights of a run on scenes with truth.

    Parameters
    ----------
    run : Path
        What `trainer fit` wrote.
    scenes : Path
        Folder of brackets with HDRImg.hdr beside the frames: linear radiance in the geometry of
        the reference, 1.0 where the shortest frame clips. Where truth/moving.png is there too,
        what it shows white is scored by itself as well.
    device : str, optional
        "cpu", "cuda", "mps"; the fastest there is if left out.
    response : str
        As in `trainer.evaluation.predict.predict`.
    tile : int
        Side of the tiles of large frames in pixels.
    peak_nits : float
        cd/m2 at which radiance 1.0 is shown, for PU21 and ColorVideoVDP.
    crop : int
        Border in pixels that is left out on all sides.
    cvvdp : bool
        Whether to score by `ColorVideoVDP` too, which takes seconds a scene.
    model : sequence of str
        Networks of your own, "package.module:Class", that the run may have been trained with.
    page : Path, optional
        Where to write a page that shows the worst places, see `trainer.evaluation.worst_places`.

    Returns
    -------
    dict
        "scenes": the figures of `figures` by name of the scene; "mean" and
        "spread": the mean and the standard deviation of each over the scenes that have it;
        "peak_nits" and "crop" as given; "skipped": why brackets were left out, by name.

    Raises
    ------
    UserError
        Not a run, no scene with truth, or ColorVideoVDP is asked for and not installed.
    """
    results = compare(
        [run],
        scenes,
        device=device,
        response=response,
        tile=tile,
        peak_nits=peak_nits,
        crop=crop,
        cvvdp=cvvdp,
        model=model,
        page=page,
    )
    return results[str(run)]


def compare(
    runs: Sequence[Path],
    scenes: Path,
    *,
    device: str | None = None,
    response: str = "auto",
    tile: int = TILE,
    peak_nits: float = PEAK_NITS,
    crop: int = 0,
    cvvdp: bool = False,
    model: Sequence[str] = (),
    page: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """What `evaluate` says of several runs, by their paths; parameters as there.

    Raises
    ------
    UserError
        As `evaluate`, or a run is given twice.
    """
    twice = next((run for run in runs if runs.count(run) > 1), None)
    if twice is not None:
        raise UserError(f"{twice}: given twice; give each run once")
    if not 0 < peak_nits < float("inf"):
        raise UserError(f"--peak-nits {peak_nits}: expected more than 0 cd/m2")
    if crop < 0:
        raise UserError(f"--crop {crop}: expected at least 0 pixels")
    if page:
        check_new(page)
    target = devices.pick_device(device)
    seen_by = ColorVideoVDP(peak_nits, target) if cvvdp else None
    entrants = [load_entrant(run, scenes, target, response, model) for run in runs]
    tables: dict[str, dict[str, dict[str, float]]] = {str(e.run): {} for e in entrants}
    places: list[WorstPlace] = []
    scored = dict.fromkeys(name for e in entrants for name in e.scenes)
    progress = progress or Silent()
    progress.start("evaluate", len(scored))
    for name in scored:
        views: dict[str, View] = {}
        for e in entrants:
            if name in e.scenes:
                view = predict_scene(e.model, e.scenes[name], tile, crop)
                row = figures(view.predicted, view.truth, view.moving, peak_nits)
                if seen_by:
                    row["cvvdp"] = seen_by(view.predicted, view.truth)
                tables[str(e.run)][name], views[str(e.run)] = row, view
        if page:
            places += worst_places(name, views)
        progress.step(0, rejected=False)
    if page:
        write_page(page, places, [str(run) for run in runs])
    how = {"peak_nits": peak_nits, "crop": crop}
    return {
        str(e.run): summary(tables[str(e.run)]) | how | {"skipped": e.skipped} for e in entrants
    }


@dataclass(frozen=True)
class Entrant:
    """A run, its network in evaluation mode, and the scenes it is scored on, by name."""

    run: Path
    model: nn.Module
    scenes: dict[str, Survey]
    skipped: dict[str, str]


def load_entrant(
    run: Path, scenes: Path, device: torch.device, response: str, own: Sequence[str]
) -> Entrant:
    """A run, ready to be scored.

    Raises
    ------
    UserError
        Not a run, or no scene with truth.
    """
    model, config = load_model(run, device, own)
    found, skipped = with_truth(scenes, config, known_responses(run, response))
    return Entrant(run, model, {f.name: f for f in found}, skipped)


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


def predict_scene(model: nn.Module, found: Survey, tile: int = TILE, crop: int = 0) -> View:
    """What a network makes of a scene, beside its truth.

    Raises
    ------
    UserError
        A frame or the truth is damaged, their sizes differ, or the crop leaves nothing.
    """
    try:
        stack, truth, moving = read_stack(found), read_truth(found), moving_area(found)
    except Rejected as e:
        raise UserError(f"{found.name}: {e}") from e
    height, width = stack.size
    if min(height, width) - 2 * crop < WINDOW:
        raise UserError(f"--crop {crop}: leaves nothing of {found.name}, {width}x{height} px")
    kept = np.s_[crop : height - crop, crop : width - crop]
    return View(
        reference=stack.radiance(stack.reference)[kept],
        predicted=predict_full(model, stack, tile)[kept],
        truth=truth[kept],
        moving=None if moving is None else moving[kept],
    )


def score_scene(model: nn.Module, scenes: Iterable[Survey]) -> dict[str, Any]:
    """Figures of a network per scene, their mean and spread, one frame in memory at a time."""
    views = ((found.name, predict_scene(model, found)) for found in scenes)
    return summary({name: figures(v.predicted, v.truth, v.moving) for name, v in views})


def summary(table: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Figures by scene, with their mean and standard deviation over the scenes that have them."""
    names = list(dict.fromkeys(name for row in table.values() for name in row))
    columns = {n: [row[n] for row in table.values() if n in row] for n in names}
    return {
        "scenes": table,
        "mean": {n: float(np.mean(c)) for n, c in columns.items()},
        "spread": {n: float(np.std(c)) for n, c in columns.items()},
    }


def moving_area(found: Survey) -> Mask | None:
    """What moves in a scene with truth, (H, W) bool, or None where nothing tells.

    Raises
    ------
    Rejected
        The mask is damaged or of another size than the frames.
    """
    assert found.truth is not None
    beside = found.truth.path.parent
    path = beside / "moving.png" if beside.name == "truth" else beside / "truth" / "moving.png"
    if not path.is_file():
        return None
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None or mask.shape != found.size:
        height, width = found.size
        raise Rejected(f"{path.name}: expected a mask of {width}x{height} px, white where it moves")
    return np.asarray(mask > 127)


@dataclass(frozen=True)
class Gain:
    """How far a run is from the first in one figure: mean and spread over their scenes."""

    run: str
    name: str
    mean: float
    spread: float
    better: int
    scenes: int


def gains(results: Mapping[str, Mapping[str, Any]]) -> list[Gain]:
    """What each run of `compare` gains over the first, figure by figure."""
    first, *others = results
    found = []
    for run in others:
        scenes, base = results[run]["scenes"], results[first]["scenes"]
        pairs = [(scenes[s], base[s]) for s in base if s in scenes]
        for name in results[first]["mean"]:
            steps = [a[name] - b[name] for a, b in pairs if name in a and name in b]
            if steps:
                better = sum(s > 0 for s in steps)
                mean, spread = float(np.mean(steps)), float(np.std(steps))
                found.append(Gain(run, name, mean, spread, better, len(steps)))
    return found
