"""The worst places of an evaluation, side by side on one page that needs no network."""

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
"""How many places are kept of a scene, and shown in all."""
FULL_ERROR = 0.25
"""Mu-law error that is shown white."""

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
class View:
    """What a run makes of a scene: (H, W, 3) float32 radiance, and where it moves, if known."""

    reference: Float
    predicted: Float
    truth: Float
    moving: Mask | None


@dataclass(frozen=True)
class WorstPlace:
    """A square of a scene where a run is far from the truth.

    `error` is the mean squared mu-law error of the worst run there; `pictures` are the reference
    frame, the truth, and what each run makes of it with its error, as PNG by their captions.
    """

    scene: str
    y: int
    x: int
    error: float
    pictures: dict[str, tuple[bytes, ...]]


def worst_places(scene: str, views: Mapping[str, View]) -> list[WorstPlace]:
    """The squares of a scene where any of the runs is farthest from the truth.

    Parameters
    ----------
    scene : str
        Its name.
    views : dict of str to View
        What each run makes of it, by the name of the run.
    """
    first = next(iter(views.values()))
    wrong = {run: _error(view) for run, view in views.items()}
    blocks = np.max([_blocks(np.square(w).mean(2)) for w in wrong.values()], 0)
    worst = np.argsort(blocks, None)[::-1][:PER_SCENE]
    places = []
    for row, column in zip(*np.unravel_index(worst, blocks.shape), strict=True):
        y, x = int(row) * SIDE, int(column) * SIDE
        cut = np.s_[y : y + SIDE, x : x + SIDE]
        pictures: dict[str, tuple[bytes, ...]] = {
            "reference": (encode_png(tone_map(first.reference[cut])),),
            "truth": (encode_png(tone_map(first.truth[cut])),),
        }
        for run, view in views.items():
            amount = np.clip(np.abs(wrong[run][cut]).max(2) / FULL_ERROR, 0, 1)
            error = np.rint(255 * amount).astype(np.uint8)
            pictures[run] = encode_png(tone_map(view.predicted[cut])), encode_png(error)
        places.append(WorstPlace(scene, y, x, float(blocks[row, column]), pictures))
    return places


def _error(view: View) -> Float:
    """Signed mu-law error, (H, W, 3)."""
    return mu_law(np.clip(view.predicted, 0, 1)) - mu_law(np.clip(view.truth, 0, 1))


def _blocks(image: Array) -> Array:
    """Means of the squares of an (H, W) picture; those at the border may be cut."""
    rows, columns = range(0, image.shape[0], SIDE), range(0, image.shape[1], SIDE)
    means = [image[y : y + SIDE, x : x + SIDE].mean() for y, x in product(rows, columns)]
    return np.reshape(means, (len(rows), len(columns)))


def write_page(path: Path, places: Sequence[WorstPlace], runs: Sequence[str]) -> None:
    """Write the worst of some places as one HTML file.

    Parameters
    ----------
    path : Path
        The file.
    places : sequence of Place
        Of any scenes, in any order.
    runs : sequence of str
        The runs, in the order of their columns.
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
