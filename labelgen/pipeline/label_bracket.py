"""Label one bracket, full frame, and write pictures that show what the method made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.known_responses import load_responses
from labelgen.calibration.survey import Selection, load_surveyed, survey
from labelgen.calibration.survey_records import Survey
from labelgen.core.arrays import Bytes, Float
from labelgen.core.bracket import Bracket
from labelgen.core.errors import Rejected, UserError
from labelgen.core.files import natural_key, write_json
from labelgen.core.recipe import Recipe, load_recipe
from labelgen.discovery.folder import sort_by_exposure
from labelgen.discovery.scan import scan
from labelgen.labels.label import Label, make_label
from labelgen.photos.pictures import tone_map, write_hdr, write_png
from labelgen.pipeline.bracket_task import discount_weight

FILES = ("label.hdr", "label.png", "weight.png", "cues.png", "label.json")


def label(
    bracket: Path,
    out: Path,
    *,
    recipe: str | Recipe = "default",
    frames: int = 3,
    reference: int | str | None = None,
    ev: Sequence[float] | None = None,
    response: str = "auto",
    bayer: str = "",
    overwrite: bool = False,
) -> dict[str, Any]:
    """Label one bracket with the pixels that `labelgen.pipeline.build.build` would use.

    Writes ``label.hdr`` (radiance, 1.0 where the shortest frame clips), ``label.png`` (the same,
    tone-mapped), ``weight.png`` (8 bit), ``cues.png`` (what the cues saw) and ``label.json``.

    Parameters
    ----------
    bracket : Path
        Folder of the frames.
    out : Path
        Folder to write to; created if it does not exist.
    recipe, frames, reference, response, bayer
        As in `labelgen.pipeline.options.BuildOptions`. The response "auto" is found from this
        bracket alone; that of a dataset was found from all brackets of the camera.
    ev : sequence of float, optional
        Exposures in stops of all files in natural order, instead of what lists and EXIF say.
    overwrite : bool
        Replace results that are there.

    Returns
    -------
    dict
        What ``label.json`` holds: frames used, their exposures, recipe, and figures of the label.

    Raises
    ------
    UserError
        Results are there already, or the bracket cannot be used; with the reason.
    """
    settings = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    old = [name for name in FILES if (out / name).exists()]
    if old and not overwrite:
        raise UserError(f"{out / old[0]}: exists; give --overwrite to replace it, or another -o")
    if out.resolve() == bracket.resolve():
        raise UserError(f"{out}: holds the frames; give another folder, or -o {out / 'label'}")
    selection = Selection.of(frames, reference, patch=1, bayer=bayer)
    [surveyed] = calibrate_surveys(
        [survey(_find_bracket(bracket, ev), selection)], load_responses(response)
    )
    try:
        return write_label(surveyed, out, settings)
    except Rejected as e:
        raise UserError(f"{bracket}: {e}") from e


def write_label(surveyed: Survey, out: Path, settings: Recipe) -> dict[str, Any]:
    """Label a surveyed bracket, and write what `label` writes.

    Parameters
    ----------
    surveyed : Survey
        Calibrated.
    out : Path
        Folder to write to; created if it does not exist.
    settings : Recipe
        How to label.

    Returns
    -------
    dict
        What ``label.json`` holds.

    Raises
    ------
    Rejected
        The survey rejects the bracket, or its frames cannot be read.
    """
    if surveyed.rejected:
        raise Rejected(surveyed.rejected)
    stack = load_surveyed(surveyed)
    made = make_label(stack, settings)
    made = replace(made, weight=discount_weight(made.weight, surveyed, settings))
    record = _record(surveyed, settings) | made.figures()
    out.mkdir(parents=True, exist_ok=True)
    radiance = made.radiance
    write_hdr(out / "label.hdr", radiance)
    write_png(out / "label.png", tone_map(radiance))
    write_png(out / "weight.png", made.weight)
    write_png(out / "cues.png", cues_picture(made, stack.radiance(stack.reference)))
    write_json(out / "label.json", record)
    return record


def _record(survey: Survey, recipe: Recipe) -> dict[str, Any]:
    """What ``label.json`` says of the bracket; the figures of its label follow."""
    record: dict[str, Any] = {
        "recipe": recipe.name,
        "frames": [frame.path.name for frame in survey.frames],
        "ev": list(survey.ev),
        "stated": [frame.stated_ev for frame in survey.frames],
        "response": survey.model.response_name,
        "misfit": survey.model.misfit,
        "noise": survey.model.noise_record,
        "origin": [frame.origin for frame in survey.frames],
        "reference_frame": survey.frames[survey.reference].path.name,
        "size": list(survey.size),
        "camera": survey.camera,
        "problems": list(survey.problems),
    }
    if survey.model.mixing_record:
        record["mixing"] = survey.model.mixing_record
    if survey.masks:
        record["masks"] = [mask.path.name for mask in survey.masks]
    return record


def _find_bracket(folder: Path, ev: Sequence[float] | None) -> Bracket:
    """Find the one bracket in a folder; `ev` replaces its stated exposures."""
    here = [b for b in scan(folder) if b.folder == folder]
    if not here:
        raise UserError(f"{folder}: holds no images itself; give the folder of one bracket")
    if len(here) > 1:
        raise UserError(
            f"{folder}: holds {len(here)} brackets or single photos; put those of one into a folder"
        )
    if ev is None:
        return here[0]
    return set_exposures(here[0], ev)


def set_exposures(bracket: Bracket, ev: Sequence[float]) -> Bracket:
    """Replace the exposures of a bracket, given in stops for its files in natural order."""
    frames = sorted(bracket.frames, key=lambda f: natural_key(f.path.name))
    if len(ev) != len(frames):
        raise UserError(f"--ev has {len(ev)} values, {bracket.folder} {len(frames)} images")
    stated = tuple(replace(f, ev=float(e), origin="--ev") for f, e in zip(frames, ev, strict=True))
    return sort_by_exposure(replace(bracket, frames=stated), [])


def cues_picture(label: Label, reference: Float) -> Bytes:
    """Draw the cues over the reference, (H, W, 3) uint8 RGB.

    The reference is grey. Moving pixels are red; pixels that are clipped in the reference are
    yellow, and those too dark there are blue. The picture is dimmed where trust is low.

    Parameters
    ----------
    label : Label
        Of (H, W) pixels.
    reference : (H, W, 3) float32
        Radiance of the reference.
    """
    grey = tone_map(reference).mean(-1, keepdims=True).repeat(3, -1) * 0.75
    for mask, colour in (
        (label.dark, (40, 90, 255)),
        (label.clipped, (255, 220, 0)),
        (~label.static, (255, 40, 30)),
    ):
        grey[mask] = 0.5 * grey[mask] + 0.5 * np.array(colour)
    grey *= 0.35 + 0.65 * (label.weight[..., None] / np.float32(255))
    return np.rint(grey).astype(np.uint8)
