"""Show the worst places of an evaluation side by side, on one page without external files."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from pathlib import Path

import numpy as np

from labelgen.core.arrays import Array, Float, Mask
from labelgen.core.files import write_bytes
from labelgen.core.response import mu_law
from labelgen.photos.pictures import encode_png, tone_map

SIDE = 96
"""Side of a place in pixels."""
PER_SCENE, MAX_PLACES = 2, 16
"""Places per scene, and places on the page."""
FULL_ERROR = 0.25
"""Mu-law error that is drawn white."""

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Worst places</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem; }
section { overflow-x: auto; margin-bottom: 2rem; }
h2 { font-size: 1rem; margin: 0 0 .5rem; }
table { border-spacing: .5rem 0; }
td, th { text-align: left; vertical-align: top; font-weight: normal; font-size: .85rem; }
img { display: block; width: 192px; image-rendering: pixelated; }
</style></head><body>
"""


@dataclass(frozen=True)
class ScenePrediction:
    """Prediction of a scene beside its truth, each (H, W, 3) float32 linear radiance."""

    reference: Float
    """The reference frame."""
    predicted: Float
    truth: Float
    moving: Mask | None
    """(H, W) bool, what moves, if known."""


@dataclass(frozen=True)
class WorstPlace:
    """A square of a scene where a run is far from the truth."""

    scene: str
    y: int
    """First row."""
    x: int
    """First column."""
    error: float
    """Mean squared mu-law error of the worst run."""
    pictures: dict[str, tuple[bytes, ...]]
    """PNG files by caption: "reference", "truth", and the prediction and its error by run."""


def worst_places(scene: str, predictions: Mapping[str, ScenePrediction]) -> list[WorstPlace]:
    """Return the squares of a scene where any of the runs is farthest from the truth.

    Parameters
    ----------
    scene : str
        Name of the scene.
    predictions : dict of str to ScenePrediction
        Predictions by name of the run.
    """
    first = next(iter(predictions.values()))
    errors = {run: _error(prediction) for run, prediction in predictions.items()}
    blocks = np.max([_block_means(np.square(e).mean(2)) for e in errors.values()], 0)
    worst = np.argsort(blocks, None)[::-1][:PER_SCENE]
    places = []
    for row, column in zip(*np.unravel_index(worst, blocks.shape), strict=True):
        y, x = int(row) * SIDE, int(column) * SIDE
        region = np.s_[y : y + SIDE, x : x + SIDE]
        pictures: dict[str, tuple[bytes, ...]] = {
            "reference": (encode_png(tone_map(first.reference[region])),),
            "truth": (encode_png(tone_map(first.truth[region])),),
        }
        for run, prediction in predictions.items():
            share = np.clip(np.abs(errors[run][region]).max(2) / FULL_ERROR, 0, 1)
            predicted = encode_png(tone_map(prediction.predicted[region]))
            pictures[run] = predicted, encode_png(np.rint(255 * share).astype(np.uint8))
        places.append(WorstPlace(scene, y, x, float(blocks[row, column]), pictures))
    return places


def _error(prediction: ScenePrediction) -> Float:
    """Signed mu-law error, (H, W, 3)."""
    return mu_law(np.clip(prediction.predicted, 0, 1)) - mu_law(np.clip(prediction.truth, 0, 1))


def _block_means(image: Array) -> Array:
    """Means over squares of an (H, W) image; squares at the border may be smaller."""
    rows, columns = range(0, image.shape[0], SIDE), range(0, image.shape[1], SIDE)
    means = [image[y : y + SIDE, x : x + SIDE].mean() for y, x in product(rows, columns)]
    return np.reshape(means, (len(rows), len(columns)))


def write_page(path: Path, places: Sequence[WorstPlace], runs: Sequence[str]) -> None:
    """Write the worst of some places as one HTML file.

    Parameters
    ----------
    path : Path
        The file.
    places : sequence of WorstPlace
        Places of any scenes in any order.
    runs : sequence of str
        Names of the runs in the order of their columns.
    """
    worst = sorted(places, key=lambda place: -place.error)[:MAX_PLACES]
    parts = [
        HEAD,
        f"<h1>Worst places</h1><p>Squares of {SIDE} px with the largest mu-law error of any run. "
        f"Pictures are mu-law; below each, its error, white from {FULL_ERROR:g}.</p>",
    ]
    for place in worst:
        level = 10 * np.log10(1 / place.error) if place.error > 0 else np.inf
        title = f"{place.scene}, from row {place.y}, column {place.x}: {level:.1f} dB"
        shown = [name for name in ("reference", "truth", *runs) if name in place.pictures]
        names = "".join(f"<th>{escape(name)}</th>" for name in shown)
        cells = "".join(
            f"<td>{''.join(_image(data, name) for data in place.pictures[name])}</td>"
            for name in shown
        )
        parts.append(
            f"<section><h2>{escape(title)}</h2>"
            f"<table><tr>{names}</tr><tr>{cells}</tr></table></section>\n"
        )
    write_bytes(path, "".join([*parts, "</body></html>\n"]).encode())


def _image(data: bytes, name: str) -> str:
    text = base64.b64encode(data).decode()
    return f'<img alt="{escape(name)}" src="data:image/png;base64,{text}">'
