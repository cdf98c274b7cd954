#!/usr/bin/env python3
"""Label simulated scenes as each kind of camera renders them, and score the labels.

    python docs/cameras.py WORK [--sources FOLDER] [--scenes N] [--seed N] [--recipe NAME]

The table in docs/benchmarks.md is printed by this. WORK gets the scenes and the labels of each row.
SOURCES holds scene-linear .hdr images; without it scenes are invented.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from labelgen.pipeline.label_brackets import label_all
from labelgen.scoring.score import score
from labelgen.simulate import simulate

ROWS: dict[str, dict[str, Any]] = {
    "ideal": {},
    "body": {"camera": "body"},
    "converter": {"camera": "converter"},
    "phone": {"camera": "phone"},
    "body, device 7": {"camera": "body", "camera_seed": 7},
    "converter, device 8": {"camera": "converter", "camera_seed": 8},
    "phone, device 9": {"camera": "phone", "camera_seed": 9},
    "phone, evening": {"camera": "phone", "full_well": (300.0, 1200.0)},
    "phone, night": {"camera": "phone", "full_well": (100.0, 400.0)},
}
"""Options of `simulate` by name of the row."""
FIGURES = ("ghost", "trusted", "trusted_moving", "psnr_mu", "psnr_mu_still", "psnr_mu_dark")
FIGURES += ("trusted_still", "psnr_mu_knowable", "ghost_205")


def cell(figure: str, value: float | None) -> str:
    """Format a figure: dB with one digit, shares with four."""
    return "-" if value is None else f"{value:.{1 if figure.startswith('psnr') else 4}f}"


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--sources", type=Path)
    parser.add_argument("--scenes", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--format", choices=["tif", "png", "jpg"], default="jpg")
    parser.add_argument("--recipe", default="default")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    args = parser.parse_args()
    print("| camera | " + " | ".join(FIGURES) + " |\n|---" + "|---" * len(FIGURES) + "|")
    for name in args.rows:
        options, place = ROWS[name], name.replace(",", "").replace(" ", "-")
        scenes, labels = args.work / place, args.work / f"{place}-labels"
        simulate(
            args.sources,
            scenes,
            scenes=args.scenes,
            seed=args.seed,
            suffix=args.format,
            overwrite=True,
            **options,
        )
        label_all(scenes, labels, recipe=args.recipe, overwrite=True)
        mean = score(labels, scenes, fit="camera" in options)["mean"]
        row = [cell(figure, mean[figure]) for figure in FIGURES]
        print(f"| {name} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
