"""Compare predictions of runs with the truth, by scene and on the mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
from trainer.checkpoint import load_model
from trainer.config import Config
from trainer.evaluation.metrics import PEAK_NITS, WINDOW, ColorVideoVDP, compute_metrics
from trainer.evaluation.predict import known_responses, read_stack, survey_brackets
from trainer.evaluation.tiling import TILE, predict_full
from trainer.evaluation.worst_places import ScenePrediction, WorstPlace, worst_places, write_page


def evaluate(run: Path, scenes: Path, **settings: Any) -> dict[str, Any]:
    """Score one run on scenes with truth: `compare` of a single run.

    Parameters
    ----------
    run : Path
        Folder that `trainer fit` wrote.
    scenes : Path
        Folder of brackets with truth.
    **settings
        Keyword arguments of `compare`.

    Returns
    -------
    dict
        The result of the run, as `compare` describes it.
    """
    return compare([run], scenes, **settings)[str(run)]


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
    """Score the averaged weights of several runs on scenes with truth.

    Parameters
    ----------
    runs : sequence of Path
        Folders that `trainer fit` wrote.
    scenes : Path
        Folder of brackets with HDRImg.hdr beside the frames: linear radiance in the geometry of
        the reference, 1.0 where the shortest frame clips. If a bracket has truth/moving.png as
        well, the pixels that are white there are also scored separately.
    device : str, optional
        "cpu", "cuda", "mps"; by default the fastest available one.
    response : str
        See `trainer.evaluation.predict.predict`.
    tile : int
        Side of the tiles of large frames in pixels.
    peak_nits : float
        Luminance of radiance 1.0 in cd/m2, for PU21 and ColorVideoVDP.
    crop : int
        Width of the border in pixels that is left out on all sides.
    cvvdp : bool
        Whether to score by `ColorVideoVDP` too, which takes seconds per scene.
    model : sequence of str
        Networks of your own, "package.module:Class", that the runs may have been trained with.
    page : Path, optional
        HTML page to write of the worst places, see `trainer.evaluation.worst_places`.
    progress : Progress, optional
        Receives every scene.

    Returns
    -------
    dict
        By the path of each run, a dict of "scenes": the metrics of `compute_metrics` by name of
        the scene; "mean" and "spread": mean and standard deviation of each metric over the scenes
        that have it; "peak_nits" and "crop"; "skipped": reasons by name of the bracket.

    Raises
    ------
    UserError
        Not a run, a run is given twice, no scene has truth, or ColorVideoVDP is not installed.
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
    difference = ColorVideoVDP(peak_nits, target) if cvvdp else None
    loaded = [load_run(run, scenes, target, response, model) for run in runs]
    names = dict.fromkeys(name for run in loaded for name in run.scenes)
    places: list[WorstPlace] = []
    progress = progress or Silent()
    progress.start("evaluate", len(names))
    for name in names:
        predictions: dict[str, ScenePrediction] = {}
        for run in loaded:
            if name in run.scenes:
                prediction = predict_scene(run.model, run.scenes[name], tile, crop)
                run.metrics[name] = score_prediction(prediction, peak_nits, difference)
                predictions[run.name] = prediction
        if page:
            places += worst_places(name, predictions)
        progress.step(0, rejected=False)
    if page:
        write_page(page, places, [run.name for run in loaded])
    settings = {"peak_nits": peak_nits, "crop": crop}
    return {
        run.name: summarize(run.metrics) | settings | {"skipped": run.skipped} for run in loaded
    }


@dataclass(frozen=True)
class LoadedRun:
    """A run that is scored."""

    name: str
    model: nn.Module
    """The network with averaged weights, in evaluation mode."""
    scenes: dict[str, Survey]
    """Scenes with truth by name."""
    skipped: dict[str, str]
    """Reasons by name of the bracket."""
    metrics: dict[str, dict[str, float]] = field(default_factory=dict)
    """Metrics by name of the scene, filled scene by scene."""


def load_run(
    run: Path, scenes: Path, device: torch.device, response: str, own: Sequence[str]
) -> LoadedRun:
    """Load the network of a run, and survey the scenes as its dataset was built.

    Raises
    ------
    UserError
        Not a run, or no scene has truth.
    """
    model, config = load_model(run, device, own)
    usable, skipped = scenes_with_truth(scenes, config, known_responses(run, response))
    return LoadedRun(str(run), model, {scene.name: scene for scene in usable}, skipped)


def scenes_with_truth(
    scenes: Path, config: Config, known: Mapping[str, Response] | None = None
) -> tuple[list[Survey], dict[str, str]]:
    """Return the brackets below a folder that can be scored, and reasons for the others by name.

    Raises
    ------
    UserError
        No bracket can be scored.
    """
    surveys = survey_brackets(scan(scenes), config, known, truth=True)
    skipped = {survey.name: survey.rejected for survey in surveys if survey.rejected}
    if len(skipped) == len(surveys):
        name, why = next(iter(skipped.items()))
        raise UserError(f"{scenes}: no scene that can be scored ({name}: {why})")
    return [survey for survey in surveys if not survey.rejected], skipped


def predict_scene(
    model: nn.Module, scene: Survey, tile: int = TILE, crop: int = 0
) -> ScenePrediction:
    """Predict a scene, and return the prediction beside its truth.

    Raises
    ------
    UserError
        A frame or the truth is damaged, their sizes differ, or the crop leaves nothing.
    """
    try:
        stack, truth, moving = read_stack(scene), read_truth(scene), read_moving_mask(scene)
    except Rejected as e:
        raise UserError(f"{scene.name}: {e}") from e
    height, width = stack.size
    if min(height, width) - 2 * crop < WINDOW:
        raise UserError(f"--crop {crop}: leaves nothing of {scene.name}, {width}x{height} px")
    inner = np.s_[crop : height - crop, crop : width - crop]
    return ScenePrediction(
        reference=stack.radiance(stack.reference)[inner],
        predicted=predict_full(model, stack, tile)[inner],
        truth=truth[inner],
        moving=None if moving is None else moving[inner],
    )


def score_prediction(
    prediction: ScenePrediction,
    peak_nits: float = PEAK_NITS,
    difference: ColorVideoVDP | None = None,
) -> dict[str, float]:
    """Return the metrics of a prediction, with "cvvdp" if `difference` is given."""
    predicted, truth = prediction.predicted, prediction.truth
    metrics = compute_metrics(predicted, truth, prediction.moving, peak_nits)
    return metrics if difference is None else metrics | {"cvvdp": difference(predicted, truth)}


def score_scenes(model: nn.Module, scenes: Iterable[Survey]) -> dict[str, Any]:
    """Return metrics of a network by scene, with mean and spread. Frames are loaded one by one."""
    return summarize(
        {scene.name: score_prediction(predict_scene(model, scene)) for scene in scenes}
    )


def summarize(metrics: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Return metrics by scene, and mean and standard deviation over the scenes that have them."""
    names = list(dict.fromkeys(name for row in metrics.values() for name in row))
    columns = {n: [row[n] for row in metrics.values() if n in row] for n in names}
    return {
        "scenes": metrics,
        "mean": {n: float(np.mean(c)) for n, c in columns.items()},
        "spread": {n: float(np.std(c)) for n, c in columns.items()},
    }


def read_moving_mask(scene: Survey) -> Mask | None:
    """Return what moves in a scene with truth, (H, W) bool; None if it has no mask.

    Raises
    ------
    Rejected
        The mask is damaged, or its size differs from the frames'.
    """
    assert scene.truth is not None
    folder = scene.truth.path.parent
    path = folder / "moving.png" if folder.name == "truth" else folder / "truth" / "moving.png"
    if not path.is_file():
        return None
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None or mask.shape != scene.size:
        height, width = scene.size
        raise Rejected(f"{path.name}: expected a mask of {width}x{height} px, white where it moves")
    return np.asarray(mask > 127)


@dataclass(frozen=True)
class Gain:
    """How much better a run is than the first one in a metric, scene by scene.

    Differences are taken within each scene, so their spread is not that of the scenes.
    """

    run: str
    metric: str
    mean: float
    spread: float
    better: int
    """Scenes in which the run has the higher value."""
    scenes: int
    """Scenes in which both have a value."""


def gains(results: Mapping[str, Mapping[str, Any]]) -> list[Gain]:
    """Return what each run of `compare` gains over the first, metric by metric."""
    first, *others = results
    base = results[first]["scenes"]
    listed = []
    for run in others:
        scenes = results[run]["scenes"]
        pairs = [(scenes[name], base[name]) for name in base if name in scenes]
        for metric in results[first]["mean"]:
            steps = [a[metric] - b[metric] for a, b in pairs if metric in a and metric in b]
            if steps:
                better = sum(step > 0 for step in steps)
                mean, spread = float(np.mean(steps)), float(np.std(steps))
                listed.append(Gain(run, metric, mean, spread, better, len(steps)))
    return listed
