"""Score a folder of labels against scenes with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from labelgen.core.arrays import Float
from labelgen.core.errors import Rejected, UserError
from labelgen.core.progress import Progress, Silent
from labelgen.core.response import Response, decode
from labelgen.discovery.scan import scan
from labelgen.scoring.figures import WEIGHT_BINS, mean_figures, reliability, score_label
from labelgen.scoring.fit import fit_curves, fit_to_truth
from labelgen.scoring.scenes import LABEL, LabelledScene, read_scene

NEARLY_CLIPPED = 0.9
"""Light of the label (1.0 is where the reference clips) from which colours are not fitted."""


def score(
    labels: Path, scenes: Path, *, fit: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Score labels against the truth of their scenes.

    Parameters
    ----------
    labels : Path
        Folder with ``SCENE/label.hdr`` and ``SCENE/weight.png`` for every scene, as ``labelgen
        label`` writes them. ``SCENE/label.json``, if it is there, says which frames were used.
    scenes : Path
        Folder of brackets with truth: HDRImg.hdr (linear radiance, 1.0 where the shortest frame
        clips), and beside it perhaps truth/moving.png (white where something moves) and
        truth/noise.json (``full_well`` and ``read``, in electrons).
    fit : bool
        First bring the colours of each label to those of its truth by one matrix, and for cameras
        that lift regions by one smooth gain (`labelgen.scoring.fit`).
    progress : Progress, optional
        Receives every scene.

    Returns
    -------
    dict
        "scenes": by name, what `labelgen.scoring.figures.score_label` returns, and "reliability":
        a list of what `labelgen.scoring.figures.reliability` returns; "mean": the same, as means
        over the scenes; "bins": the weights of the reliability; "fit"; "skipped": reasons by name
        of the scenes whose label could not be scored.

    Raises
    ------
    UserError
        A folder does not exist, no scene has truth, or no label could be scored.
    """
    if not labels.is_dir():
        raise UserError(f"{labels}: no such folder; give that of the labels")
    brackets = [bracket for bracket in scan(scenes) if bracket.truth]
    if not brackets:
        raise UserError(f"{scenes}: no scene with HDRImg.hdr beside its frames")
    progress = progress or Silent()
    progress.start("score", len(brackets))
    scored, skipped = dict[str, dict[str, Any]](), dict[str, str]()
    for bracket in brackets:
        alone = len(brackets) == 1 and (labels / LABEL).is_file()
        folder = labels if alone else labels / bracket.name
        try:
            scored[bracket.name] = _score_scene(read_scene(bracket, folder), fit)
        except Rejected as e:
            skipped[bracket.name] = str(e)
        progress.step(0, bracket.name in skipped)
    if not scored:
        name, why = next(iter(skipped.items()))
        raise UserError(f"{labels}: no label that can be scored ({name}: {why})")
    return {
        "scenes": scored,
        "mean": _mean(list(scored.values())),
        "bins": [list(ends) for ends in WEIGHT_BINS],
        "fit": fit,
        "skipped": skipped,
    }


def _score_scene(scene: LabelledScene, fit: bool) -> dict[str, Any]:
    truth, radiance = scene.truth, scene.radiance
    reference = _reference_radiance(scene, fit)
    if fit:
        exposure = np.float32(2.0 ** truth.ev[truth.reference])
        use = truth.still & (radiance.max(-1) * exposure < NEARLY_CLIPPED)
        radiance = fit_to_truth(np.clip(radiance, 0, 1), truth.radiance, use, truth.lifted)
        reference = fit_to_truth(reference, truth.radiance, use, truth.lifted)
    figures: dict[str, Any] = dict(score_label(radiance, scene.weight, reference, truth))
    return figures | {"reliability": reliability(radiance, scene.weight, truth)}


def _reference_radiance(scene: LabelledScene, fit: bool) -> Float:
    """Radiance of the reference frame: read as gamma 2.2, or by curves fitted to the truth."""
    truth = scene.truth
    white = 2.0 ** -truth.ev[truth.reference]
    if scene.linear:
        return decode(Response("linear").recode(scene.codes)) * np.float32(white)
    if fit:
        return fit_curves(scene.codes, truth.radiance, truth.still, white)
    return decode(scene.codes) * np.float32(white)


def _mean(scenes: list[dict[str, Any]]) -> dict[str, Any]:
    """Means over scenes of all figures, and of each bin of the reliability."""
    plain = [{k: v for k, v in scene.items() if k != "reliability"} for scene in scenes]
    bins = zip(*(scene["reliability"] for scene in scenes), strict=True)
    return dict(mean_figures(plain)) | {"reliability": [mean_figures(one) for one in bins]}
