"""Make one bracket: load, label, choose patches, augment, write its shard. A worker's whole job."""

from __future__ import annotations

import errno
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelgen.calibration.survey import Survey, load_surveyed, read_truth
from labelgen.core.arrays import Bytes
from labelgen.core.bracket import Stack, black_out, dilate_mask
from labelgen.core.errors import Rejected
from labelgen.core.files import free_space, temporary_path, write_json
from labelgen.core.recipe import Recipe
from labelgen.dataset.columns import BRANCHES, SampleLayout
from labelgen.dataset.sample import Patch
from labelgen.dataset.scene_hash import scene_hash
from labelgen.dataset.shard import Shard, is_shard_whole
from labelgen.labels.label import make_label
from labelgen.photos.frame_cache import cache_path, pop_frames
from labelgen.samples.augment import LabelledBracket, make_samples
from labelgen.samples.motion_stats import NO_MOTION, measure_motion
from labelgen.samples.patches import choose_patches, grid_patches, sample_count, unmasked_patches


@dataclass(frozen=True)
class Task:
    """All that a worker needs to make one bracket; the shard is the file that it writes."""

    found: Survey
    recipe: Recipe
    layout: SampleLayout
    reference: int
    labels: str
    seed: int
    shard: Path

    @property
    def record(self) -> Path:
        """File that says that the bracket is done, and what came of it."""
        return self.shard.with_suffix(".json")


def make_bracket(task: Task) -> dict[str, Any]:
    """Write the shard and the record of a bracket.

    Returns
    -------
    dict
        "rows", "branches" (samples by name) and "label" (figures); or "rejected", the reason.
        The record file holds the same. Or "stopped", if the shard could not be written: then
        there is no record, since that says nothing of the bracket.
    """
    try:
        record = _make(task)
    except Rejected as e:
        record = {"rejected": str(e)}
    except MemoryError:
        return {"rejected": "out of memory; try fewer --jobs"}
    except OSError as e:  # inputs that fail are rejected above: this is the disk written to
        return {"stopped": e.strerror or str(e)}
    except Exception as e:  # a bug of ours costs its bracket, not the night
        return {"rejected": f"failed with {type(e).__name__}: {e}"}
    write_json(task.record, record)
    return record


def is_bracket_made(task: Task) -> bool:
    """Whether a bracket that has its record needs not be made again.

    The record is on the disk, but its shard may not be, if the power went.
    """
    record = json.loads(task.record.read_text())
    return "rows" not in record or is_shard_whole(task.shard, record["rows"])


def _make(task: Task) -> dict[str, Any]:
    found = task.found
    read = pop_frames(cache_path(task.shard.parent, found.name), len(found.paths))
    stack = load_surveyed(found, task.reference, read)
    labelled, patches, figures = _label(stack, task)
    if not patches:
        left = "left beside its masks" if stack.masked is not None else "trusted"
        raise Rejected(f"no patch is {left}: {_shares(figures)}")
    # What will not fit is said before the work for it is done.
    rows = sum(sample_count(patch, task.recipe.patches) for patch in patches)
    needed = rows * task.layout.sample_bytes
    if free_space(task.shard.parent) < needed:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    temporary = temporary_path(task.shard)
    counts: Counter[str] = Counter()
    with Shard(temporary, task.layout) as shard:
        for sample in make_samples(
            labelled,
            patches,
            task.recipe,
            task.found.name,
            task.seed,
            task.layout.depth,
        ):
            shard.append(sample)
            counts[BRANCHES[sample.patch.branch]] += 1
    temporary.replace(task.shard)  # its bytes reach the disk when they may: see `is_bracket_made`
    return {
        "rows": counts.total(),
        "branches": dict(sorted(counts.items())),
        "label": figures,
        "looks": scene_hash(stack.codes[stack.reference]),
    }


def _label(stack: Stack, task: Task) -> tuple[LabelledBracket, list[Patch], dict[str, Any]]:
    """The label and the patches of the full frame, by the recipe or from the truth."""
    if task.found.truth is None:
        label = make_label(stack, task.recipe)
        weight = discount_weight(label.weight, task.found, task.recipe)
        moves = measure_motion(stack, label) if task.recipe.pieces.share else NO_MOTION
        labelled = LabelledBracket(stack, label.stored, weight, moves)
        return labelled, _usable(choose_patches(label, task.recipe), task, stack), label.figures()
    weight, truth = np.full(stack.size, 255, np.uint8), read_truth(task.found)
    if stack.masked is not None:
        truth, weight[stack.masked] = black_out(truth, stack.masked), 0
    patches = _usable(grid_patches(stack.size, task.layout.patch), task, stack)
    return LabelledBracket(stack, truth, weight), patches, {"trusted": 1.0}


def _usable(patches: list[Patch], task: Task, stack: Stack) -> list[Patch]:
    """Patches that show nothing, nor stand close to anything, that is masked."""
    if stack.masked is None:
        return patches
    return unmasked_patches(patches, dilate_mask(stack.masked), task.layout.patch)


def _shares(figures: dict[str, Any]) -> str:
    names = ("trusted", "static", "moving", "clipped", "dark")
    return ", ".join(f"{100 * figures[n]:.0f} % {n}" for n in names)


def discount_weight(weight: Bytes, found: Survey, recipe: Recipe) -> Bytes:
    """Weights (H, W) uint8 of a label, less what a doubtful response costs them."""
    settings = recipe.camera
    share = settings.assumed if found.assumed else 1.0
    if found.misfit is not None:
        share *= min(1.0, settings.misfit / max(found.misfit, 1e-9))
    return weight if share == 1 else np.rint(weight * np.float32(share)).astype(np.uint8)
