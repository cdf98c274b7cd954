"""Make one bracket in a worker: load, label, choose patches, augment, write the shard."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelgen.calibration.survey import load_surveyed, read_truth
from labelgen.calibration.survey_records import Survey
from labelgen.core.arrays import Bytes
from labelgen.core.bracket import Stack, black_out, dilate_mask
from labelgen.core.errors import Rejected
from labelgen.core.files import free_space, short_hash, temporary_path, write_json
from labelgen.core.recipe import Recipe
from labelgen.dataset.columns import BRANCHES, SampleLayout
from labelgen.dataset.sample import Patch
from labelgen.dataset.scene_hash import scene_hash
from labelgen.dataset.shard import Shard, is_shard_whole
from labelgen.labels.label import make_label
from labelgen.photos.frame_cache import cache_path, pop_frames
from labelgen.pipeline.bugs import bug_reason, traceback_of
from labelgen.samples.augment import LabelledBracket, make_samples
from labelgen.samples.motion_stats import NO_MOTION, measure_motion
from labelgen.samples.patches import choose_patches, grid_patches, sample_count, unmasked_patches


@dataclass(frozen=True)
class BracketTask:
    """Settings that all brackets of a build share: how to make samples, and where to write them."""

    recipe: Recipe
    layout: SampleLayout
    seed: int
    staging: Path

    def shard(self, name: str) -> Path:
        """Path of the file for the samples of a bracket."""
        return self.staging / f"{short_hash(name)}.shard"

    def record(self, name: str) -> Path:
        """Path of the record of a bracket, which exists once the bracket is made."""
        return self.shard(name).with_suffix(".json")


def make_bracket(survey: Survey, task: BracketTask) -> dict[str, Any]:
    """Write the shard and the record of a bracket.

    Returns
    -------
    dict
        The record, which is also written to its file. It has "rows" (number of samples),
        "branches" (number of samples by branch), "label" (figures) and "looks" (hash of the
        reference); or "rejected", the reason, with a "traceback" if the reason is a bug. If the
        memory does not suffice, "rejected" is returned without a file. "stopped" is the error of a
        disk that cannot be written. It has no file either: the bracket may be good.
    """
    try:
        record = _make(survey, task)
    except Rejected as e:
        record = {"rejected": str(e)}
    except MemoryError:
        return {"rejected": "out of memory; try fewer --jobs"}
    except OSError as e:  # errors of inputs are `Rejected`: this is the disk that is written to
        return {"stopped": e.strerror or str(e)}
    except Exception as e:  # a bug of labelgen rejects its bracket, and the build goes on
        record = {"rejected": bug_reason(e, task.staging), "traceback": traceback_of(e)}
    write_json(task.record(survey.name), record)
    return record


def is_bracket_made(survey: Survey, task: BracketTask) -> bool:
    """Whether a bracket that has its record need not be made again.

    The record is on the disk, but its shard may not be: a power cut may have taken it.
    """
    record = json.loads(task.record(survey.name).read_text())
    return "rows" not in record or is_shard_whole(task.shard(survey.name), record["rows"])


def _make(survey: Survey, task: BracketTask) -> dict[str, Any]:
    decoded = pop_frames(cache_path(task.staging, survey.name), len(survey.frames))
    stack = load_surveyed(survey, decoded)
    labelled, patches, figures = _label(stack, survey, task.recipe, task.layout.patch)
    if not patches:
        left = "left beside its masks" if stack.masked is not None else "trusted"
        raise Rejected(f"no patch is {left}: {_shares(figures)}")
    # Fail before the samples are made if the disk is too small for them.
    rows = sum(sample_count(patch, task.recipe.patches) for patch in patches)
    if free_space(task.staging) < rows * task.layout.sample_bytes:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    shard = task.shard(survey.name)
    temporary = temporary_path(shard)
    counts: Counter[str] = Counter()
    with Shard(temporary, task.layout) as file:
        settings = task.recipe, survey.name, task.seed, task.layout.depth
        for sample in make_samples(labelled, patches, *settings):
            file.append(sample)
            counts[BRANCHES[sample.patch.branch]] += 1
    temporary.replace(shard)  # its bytes reach the disk some time later: see `is_bracket_made`
    return {
        "rows": counts.total(),
        "branches": dict(sorted(counts.items())),
        "label": figures,
        "looks": scene_hash(stack.codes[stack.reference]),
    }


def _label(
    stack: Stack, survey: Survey, recipe: Recipe, patch: int
) -> tuple[LabelledBracket, list[Patch], dict[str, Any]]:
    """Label a bracket by the recipe or its ground truth: the label, its patches and its figures."""
    if survey.truth is None:
        label = make_label(stack, recipe)
        weight = discount_weight(label.weight, survey, recipe)
        motion = measure_motion(stack, label) if recipe.pieces.share else NO_MOTION
        labelled = LabelledBracket(stack, label.stored, weight, motion)
        patches = choose_patches(label, recipe)
        return labelled, _outside_masks(patches, patch, stack), label.figures()
    weight, truth = np.full(stack.size, 255, np.uint8), read_truth(survey)
    if stack.masked is not None:
        truth, weight[stack.masked] = black_out(truth, stack.masked), 0
    patches = _outside_masks(grid_patches(stack.size, patch), patch, stack)
    return LabelledBracket(stack, truth, weight), patches, {"trusted": 1.0}


def discount_weight(weight: Bytes, survey: Survey, recipe: Recipe) -> Bytes:
    """Lower the weight (H, W) uint8 of a label whose camera response or exposures are doubtful."""
    settings, model = recipe.camera, survey.model
    share = settings.assumed if model.assumed else 1.0
    if survey.has_estimated_exposures:
        share *= settings.estimated
    if model.misfit is not None and not model.assumed:  # too few pixels tell of an assumed one
        share *= min(1.0, settings.misfit / max(model.misfit, 1e-9))
    return weight if share == 1 else np.rint(weight * np.float32(share)).astype(np.uint8)


def _outside_masks(patches: list[Patch], side: int, stack: Stack) -> list[Patch]:
    """Patches that contain no masked pixel, nor one close to a masked pixel."""
    if stack.masked is None:
        return patches
    return unmasked_patches(patches, dilate_mask(stack.masked), side)


def _shares(figures: dict[str, Any]) -> str:
    names = ("trusted", "static", "moving", "clipped", "dark")
    return ", ".join(f"{100 * figures[n]:.0f} % {n}" for n in names)
