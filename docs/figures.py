#!/usr/bin/env python3
"""The figures of README.md and docs/method.md, made from a simulated bracket.

    python docs/figures.py [FOLDER]

Nothing in them is drawn by hand but the room that the camera is pointed at (docs/room.py).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from room import photographed

from labelgen.alignment.align import align_frame
from labelgen.core.arrays import Array, Bytes, Float
from labelgen.core.bracket import Stack
from labelgen.core.recipe import DEFAULT, RECIPES
from labelgen.core.response import GAMMA, SourceFormat, decode, mu_law
from labelgen.dataset.sample import Patch, Sample
from labelgen.labels.cues import Cues, compute_cues
from labelgen.labels.difference import noise_variance
from labelgen.labels.fusion import CLIP_FADE, fuse_variance, triangle_weight
from labelgen.labels.label import Label, make_label
from labelgen.pipeline.label_bracket import cues_picture
from labelgen.samples import illumination
from labelgen.samples.augment import (
    Augmentation,
    LabelledBracket,
    add_moving_objects,
    augment,
    draw_homography,
)
from labelgen.samples.motion_stats import measure_motion
from labelgen.samples.patches import choose_patches
from labelgen.simulate.camera import KINDS, make_camera

FOLDER = Path(__file__).parent / "images"
PAPER, INK, RED, YELLOW, BLUE = "#16191e", "#e4e7eb", "#ff5a4a", "#ffd83a", "#5b8cff"
WRONG = 0.03
"""A trusted label is called wrong in figures from this error on, in mu-law."""
MAX_BYTES = 200_000
WIDTH = 11.6
"""Inches at 100 dots."""


def main() -> None:
    """Make all figures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    style = {"figure.facecolor": PAPER, "axes.facecolor": PAPER, "savefig.facecolor": PAPER}
    colours = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
    plt.rcParams.update({**style, **dict.fromkeys(colours, INK), "font.size": 11})
    stack, truth = photographed()
    label = make_label(stack, DEFAULT)
    figures = {
        "method": overview(stack, label),
        "ghosts": ghosts(stack, label, truth),
        "motion": motion_cue(stack, label),
        "weights": weights(),
        "recipes": recipes(stack, truth),
        "patches": patches(stack, label),
        "light": lights(stack, label),
        "moves": moves(stack, label),
        "cameras": cameras(),
    }
    for name, figure in figures.items():
        path = folder / f"{name}.jpg"
        figure.savefig(path, dpi=100, pil_kwargs={"quality": 86, "optimize": True})
        plt.close(figure)
        size = path.stat().st_size
        print(f"{path}  {size / 1000:.0f} kB")
        if size > MAX_BYTES:
            sys.exit(f"{path}: more than {MAX_BYTES} bytes")


def shown(codes: Array) -> Bytes:
    """Codes of 16 bits as 8 bits, as a screen shows them."""
    return (codes >> 8).astype(np.uint8)


def toned(radiance: Float) -> Bytes:
    """Radiance to look at: mu-law, which is rather pale, with some contrast."""
    return np.rint(255 * mu_law(np.clip(radiance, 0, 1)) ** 1.35).astype(np.uint8)


def panels(rows: int, columns: int, ratio: float, top: float = 0.3) -> tuple[Figure, Array]:
    """A figure of pictures whose height is `ratio` of their width, with room for titles."""
    width = WIDTH / columns
    figure, axes = plt.subplots(
        rows, columns, figsize=(WIDTH, rows * (width * ratio + top)), squeeze=False
    )
    height = rows * (width * ratio + top)
    figure.subplots_adjust(
        left=0.004,
        right=0.996,
        bottom=0.004,
        top=1 - top / height,
        wspace=0.02,
        hspace=top / width / ratio,
    )
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def put(axis: Axes, image: Array, title: str, colour: str = INK) -> None:
    """Show a picture below its title."""
    axis.imshow(image, cmap="gray", vmin=0, vmax=255, aspect="auto", interpolation="lanczos")
    axis.set_title(title, fontsize=11, color=colour, pad=5, loc="left")


def overview(stack: Stack, label: Label) -> Figure:
    """The method at a glance: three photos, the cues, the trust, the label."""
    figure, axes = panels(2, 3, stack.size[0] / stack.size[1])
    names = ("short", "reference", "long")
    for axis, codes, name, ev in zip(axes[0], stack.codes, names, stack.ev, strict=True):
        put(axis, shown(codes), f"{name}, {ev:+.0f} EV")
    cues = cues_picture(label, stack.radiance(stack.reference))
    put(axes[1, 0], cues, "cues: moved (red), clipped (yellow)")
    put(axes[1, 1], label.weight, "trust: a weight for every pixel")
    put(axes[1, 2], toned(label.radiance), "label: linear radiance, tone-mapped here")
    return figure


def cameras() -> Figure:
    """The short frame and the reference, as each kind of camera renders them."""
    figure, axes = panels(2, len(KINDS), 2 / 3)
    for column, kind in zip(axes.T, KINDS, strict=True):
        stack, _ = photographed(camera=make_camera(kind))
        put(column[0], shown(stack.codes[0]), f"{kind}, {stack.ev[0]:+.0f} EV")
        put(column[1], shown(stack.codes[1]), f"{kind}, {stack.ev[1]:+.0f} EV")
    return figure


def cut(image: Array, box: tuple[slice, slice]) -> Array:
    """A part of a picture, enlarged."""
    return cv2.resize(
        np.ascontiguousarray(image[box]), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC
    )


def whole(stack: Stack) -> tuple[slice, slice]:
    """All of a frame."""
    return slice(0, stack.size[0]), slice(0, stack.size[1])


def seen(stack: Stack, label: Label) -> Cues:
    """Both cues of the whole frame."""
    return compute_cues(stack, label.geometry, whole(stack), DEFAULT)


def ghosts(stack: Stack, label: Label, truth: Float) -> Figure:
    """What a merge of all frames makes of a walker, and what the label makes of her."""
    cues = seen(stack, label)
    all_agree = replace(cues, static_frames=tuple(np.ones_like(a) for a in cues.static_frames))
    merged = fuse_variance(all_agree, stack, DEFAULT).radiance
    box = np.s_[70:326, 110:326]
    figure, axes = panels(1, 4, 256 / 216)
    put(axes[0, 0], cut(toned(stack.radiance(1)), box), "reference: clips, but one moment")
    put(axes[0, 1], cut(toned(merged), box), "all frames merged: ghosts")
    put(axes[0, 2], cut(toned(label.radiance), box), "label")
    put(axes[0, 3], cut(toned(truth), box), "truth")
    return figure


def motion_cue(stack: Stack, label: Label) -> Figure:
    """What is compared, what is allowed, what counts as moved: the long frame."""
    i, most = 2, stack.ev[2]
    frame = align_frame(stack, i, DEFAULT.align)
    pair = [
        mu_law(np.minimum(decode(codes) * np.float32(2.0**-ev), np.float32(2.0**-most)))
        for codes, ev in ((stack.codes[1], stack.ev[1]), (frame.codes, most))
    ]
    scale = np.float32(255 / mu_law(np.float32(2.0**-most)))
    difference = cv2.GaussianBlur(np.abs(pair[0] - pair[1]).max(-1), (0, 0), DEFAULT.motion.smooth)
    moved = ~seen(stack, label).static_frames[i]
    red = np.zeros((*stack.size, 3), np.uint8)
    red[..., 0] = np.clip(difference * 255 / 0.12, 0, 255)
    red[..., 1] = np.clip(difference * 255 / 0.12 - 120, 0, 255)
    figure, axes = panels(1, 4, stack.size[0] / stack.size[1])
    put(
        axes[0, 0],
        np.clip(pair[0] * scale, 0, 255).astype(np.uint8),
        "reference, as the long one clips",
    )
    put(axes[0, 1], np.clip(pair[1] * scale, 0, 255).astype(np.uint8), "long frame, aligned")
    put(axes[0, 2], red, "difference in mu-law")
    put(axes[0, 3], 255 * moved.astype(np.uint8), "more than noise allows: moved")
    return figure


def weights() -> Figure:
    """Which frame a label comes from, by radiance, in the two kinds of fusion."""
    radiance = np.geomspace(2e-4, 1, 500).astype(np.float32)
    ev = (0.0, 2.0, 4.0)
    linear = [np.minimum(radiance * np.float32(2.0**e), 1) for e in ev]
    x = linear[1] ** (1 / GAMMA)
    own = triangle_weight(x)
    by_code = [np.where(x > 0.5, 1 - own, 0), own, np.where(x <= 0.5, 1 - own, 0)]
    stored = SourceFormat(bits=16)
    raw = [
        4.0**e
        * np.clip((DEFAULT.exposure.clip - v ** (1 / GAMMA)) / CLIP_FADE, 0, 1)
        / noise_variance(v, stored, replace(DEFAULT.noise, estimate="fixed"))
        for e, v in zip(ev, linear, strict=True)
    ]
    by_variance = [r / np.maximum(sum(raw), 1e-30) for r in raw]
    figure, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.7), sharey=True)
    figure.subplots_adjust(left=0.055, right=0.97, bottom=0.22, top=0.86, wspace=0.06)
    titles = (
        "sshdr, selfhdr: by the code of the reference",
        "default: inverse variance, all that agree",
    )
    for axis, shares, title in zip(axes, (by_code, by_variance), titles, strict=True):
        for share, name, colour in zip(
            shares, ("short", "reference", "long"), (BLUE, INK, YELLOW), strict=True
        ):
            axis.plot(radiance, share, color=colour, label=name, linewidth=2)
        for e in ev[1:]:
            axis.axvline(2.0**-e, color=INK, linewidth=0.6, linestyle=":")
        axis.set(
            xscale="log", xlabel="radiance, 1.0 where the shortest frame clips", xlim=(2e-4, 1)
        )
        axis.set_title(title, fontsize=11, loc="left")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("share of the label")
    axes[0].legend(frameon=False, loc="center left")
    return figure


def recipes(stack: Stack, truth: Float) -> Figure:
    """Trust of the three recipes; below, what is trusted and wrong."""
    figure, axes = panels(2, 3, stack.size[0] / stack.size[1])
    top = np.clip(truth, 0, 1)
    for column, name in enumerate(("sshdr", "selfhdr", "default")):
        label = make_label(stack, RECIPES[name])
        error = np.abs(mu_law(label.radiance) - mu_law(top)).max(-1)
        wrong = (error > WRONG) & (label.weight >= 128)
        grey = toned(label.radiance).mean(-1, keepdims=True).repeat(3, -1) * 0.6
        grey[label.weight < 128] *= 0.3
        thick = cv2.dilate(wrong.astype(np.uint8), np.ones((2, 2), np.uint8)) > 0
        grey[thick] = 255, 60, 45
        trusted = 100 * (label.weight >= 128).mean()
        put(axes[0, column], label.weight, f"{name}: {trusted:.0f} % trusted")
        put(
            axes[1, column],
            grey.astype(np.uint8),
            f"trusted and wrong: {100 * wrong.mean():.2f} %",
            RED,
        )
    return figure


def patches(stack: Stack, label: Label) -> Figure:
    """Which patches become samples, and how often."""
    figure, axes = panels(1, 2, stack.size[0] / stack.size[1])
    side = DEFAULT.patches.size
    for axis, recipe, title in (
        (
            axes[0, 0],
            replace(DEFAULT, patches=replace(DEFAULT.patches, choice="grid")),
            "grid: every cell",
        ),
        (axes[0, 1], DEFAULT, "score: hard ones (yellow) more often, of the others some"),
    ):
        put(axis, toned(stack.radiance(1)) // 2, title)
        for patch in choose_patches(label, recipe):
            colour = YELLOW if patch.hard else INK
            axis.add_patch(
                Rectangle(
                    (patch.x + 3, patch.y + 3),
                    side - 6,
                    side - 6,
                    fill=False,
                    edgecolor=colour,
                    linewidth=1.6,
                )
            )
    return figure


def strip(sample: Sample, ev: tuple[float, ...]) -> list[Bytes]:
    """Frames and label of a sample."""
    return [*map(shown, sample.inputs), toned(sample.label.astype(np.float32))]


def lights(stack: Stack, label: Label) -> Figure:
    """One patch in four kinds of light."""
    labelled = LabelledBracket(stack, label.radiance, label.weight)
    patch = Patch(0, 66, 290, 0)
    draws = {
        "taken": None,
        "edge": illumination.Gain(2.6, illumination.Edge(0.6, 8.0, 40.0)),
        "spot": illumination.Gain(3.0, illumination.Spot((4.0, -20.0), (26.0, 40.0), 0.5)),
        "clouds": illumination.Gain(
            2.4, illumination.Clouds(((0.05, 0.06, 0.4), (-0.09, 0.03, 2.0), (0.02, -0.11, 5.0)))
        ),
    }
    figure, axes = panels(2, 8, 1.0)
    for k, (name, gain) in enumerate(draws.items()):
        row, first = divmod(k, 2)
        sample = augment(labelled, patch, 0, Augmentation(gain, (None,) * 3), DEFAULT, 16)
        titles = (f"{name}: short", "reference", "long", "label")
        for j, (image, title) in enumerate(zip(strip(sample, stack.ev), titles, strict=True)):
            put(axes[row, 4 * first + j], image, title)
    return figure


def moves(stack: Stack, label: Label) -> Figure:
    """One patch with frames moved by homographies, and with pieces in front."""
    labelled = LabelledBracket(stack, label.radiance, label.weight, measure_motion(stack, label))
    patch = Patch(0, 190, 395, 0)
    rng = np.random.default_rng(12)
    maps = (draw_homography(rng, DEFAULT.warp), None, draw_homography(rng, DEFAULT.warp))
    plain = augment(labelled, patch, 0, Augmentation(None, (None,) * 3), DEFAULT, 16)
    moved = augment(labelled, patch, 0, Augmentation(None, maps), DEFAULT, 16)
    settings = replace(DEFAULT, pieces=replace(DEFAULT.pieces, share=1.0))
    pieces = add_moving_objects(np.random.default_rng(3), plain, labelled, settings)
    figure, axes = panels(1, 8, 1.0)
    for first, sample, name in ((0, moved, "warp"), (4, pieces, "pieces")):
        titles = (f"{name}: short", "reference", "long", "label")
        for j, (image, title) in enumerate(zip(strip(sample, stack.ev), titles, strict=True)):
            put(axes[0, first + j], image, title)
    return figure


if __name__ == "__main__":
    main()
