#!/usr/bin/env python3
"""Label scenes of known truth with each part of a recipe switched off, and score every time.

    python docs/ablation.py SCENES [--recipe NAME] [--scorer "python score.py {scenes} {labels}"]

SCENES holds brackets with their truth. `labelgen score` gives the figures of a row, or a command
that is given the folders of both and prints JSON in its last line.
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
from joblib import Parallel, delayed

from labelgen.core.bracket import Bracket
from labelgen.core.recipe import Recipe, load_recipe
from labelgen.discovery.scan import scan
from labelgen.pipeline.label_bracket import label
from labelgen.scoring.score import score

PARTS = {
    "as it is": {},
    "geometry: a homography alone": {"align.refine": 0.0},
    "geometry: dense flow": {"align.method": "flow"},
    "geometry: as if exact": {"fusion.misplaced": 0.0},
    "motion: no allowance at edges": {"motion.gradient": 0.0},
    "motion: specks count": {"motion.speck": 1},
    "motion: gaps stay open": {"motion.close": 1},
    "motion: not widened": {"motion.grow": 1},
    "trust: nothing asked of the surroundings": {"fusion.doubt": 0.0},
    "trust: edges before clipping like the rest": {"fusion.tolerance": 1.0},
    "noise: that of the recipe": {"noise.estimate": "fixed"},
    "label: noise left in": {"fusion.denoise": 0.0},
    "label: colour of JPEGs as stored": {"fusion.chroma": 0},
    "label: weights of Kalantari 2017": {"fusion.weights": "triangle"},
}
"""What is switched off, by the settings that do it."""


def without(recipe: Recipe, changes: dict[str, object]) -> Recipe:
    """A recipe with settings, given as "section.name", changed."""
    for where, value in changes.items():
        section, name = where.split(".")
        recipe = replace(recipe, **{section: replace(getattr(recipe, section), **{name: value})})
    return recipe


def label_one(bracket: Bracket, out: Path, recipe: Recipe, frames: int) -> None:
    """Label one scene on one thread."""
    cv2.setNumThreads(1)
    label(bracket.folder, out / bracket.folder.name, recipe=recipe, frames=frames)


def figures_of(labels: Path, scenes: Path, scorer: str | None) -> dict[str, object]:
    """The figures of one row: means over the scenes, by name."""
    if not scorer:
        return score(labels, scenes)["mean"]
    command = shlex.split(scorer.format(scenes=scenes, labels=labels))
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenes", type=Path)
    parser.add_argument("--scorer", help="a command; labelgen score by default")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--frames", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=-1)
    parser.add_argument("--figures", nargs="+", help="which of the scorer's; all by default")
    args = parser.parse_args()
    brackets = scan(args.scenes)
    for part, changes in PARTS.items():
        with tempfile.TemporaryDirectory() as folder:
            recipe = without(load_recipe(args.recipe), changes)
            one = partial(label_one, out=Path(folder), recipe=recipe, frames=args.frames)
            Parallel(args.jobs)(delayed(one)(b) for b in brackets)
            row = figures_of(Path(folder), args.scenes, args.scorer)
        names = args.figures or [k for k, v in row.items() if isinstance(v, (int, float))]
        if not changes:
            print("| | " + " | ".join(names) + " |\n|---" * 1 + "|---" * len(names) + "|")
        print(f"| {part} | " + " | ".join(f"{row[n]:.4g}" for n in names) + " |", flush=True)


if __name__ == "__main__":
    main()
