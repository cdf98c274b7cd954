"""Simulate a folder of brackets."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from labelgen.core.arrays import Array, Float
from labelgen.core.bracket import MAX_EV
from labelgen.core.errors import Rejected, UserError
from labelgen.core.files import write_bytes
from labelgen.core.progress import Progress, Silent
from labelgen.photos.pictures import read_hdr
from labelgen.simulate.camera import IDEAL, make_camera
from labelgen.simulate.invent import invent_scene
from labelgen.simulate.scene import render
from labelgen.simulate.settings import MARGIN, SceneSettings
from labelgen.simulate.write import FORMATS, write_bracket

MARKER = "simulated.txt"
"""File that marks a folder as made here. No other folder is ever replaced."""


def simulate(
    sources: Path | None,
    out: Path,
    *,
    scenes: int = 8,
    seed: int = 0,
    size: tuple[int, int] = (416, 608),
    ev: Sequence[float] = (0.0, 2.0, 4.0),
    shake: float = 1.5,
    pieces: int = 3,
    full_well: float | tuple[float, float] = 20_000.0,
    camera: str = IDEAL,
    camera_seed: int = 0,
    suffix: str = "tif",
    truth: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Path]:
    """Simulate brackets and write them with their truth.

    Parameters
    ----------
    sources : Path, optional
        Folder of scene-linear images (.hdr), searched recursively. Scenes are invented if None.
    out : Path
        Folder to make.
    scenes : int
        Number of brackets.
    seed : int
        Seed of all draws. The same arguments give the same files.
    size : (int, int)
        Height and width in pixels.
    ev : sequence of float
        Exposures in stops, rising.
    shake : float
        Standard deviation (px) of the camera motion between frames; 0 is a tripod.
    pieces : int
        Number of moving objects.
    full_well : float or (float, float)
        Electrons at clipping. Of two values, those of each scene are drawn log-uniformly between
        them: 300 and 1200 make an evening.
    camera : str
        One of `labelgen.simulate.camera.KINDS`: "ideal" has noise, clipping and gamma 2.2; "body",
        "converter" (of RAW files) and "phone" render pictures as such devices do.
    camera_seed : int
        Another device of the same kind; 0 is the preset.
    suffix : str
        Format of the frames: "tif" (16 bits), "png" (8 bits) or "jpg" (8 bits, lossy).
    truth : bool
        Write HDRImg.hdr, the mask of moving pixels, and the noise.
    overwrite : bool
        Replace `out` if `simulate` made it.
    progress : Progress, optional
        Receives the number of brackets done.

    Returns
    -------
    list of Path
        The bracket folders.

    Raises
    ------
    UserError
        The folder exists, there is no source, or an argument is out of range.
    """
    wells = full_well if isinstance(full_well, tuple) else (full_well, full_well)
    _check_arguments(scenes, seed, size, ev, shake, pieces, wells)
    if suffix not in FORMATS:
        raise UserError(f"--format is {suffix}, expected {', '.join(FORMATS)}")
    device = make_camera(camera, camera_seed)
    _refuse_to_overwrite(out, sources, overwrite)
    images = _read_sources(sources)
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    write_bytes(out / MARKER, b"Made by labelgen simulate, which may replace this folder.\n")
    progress = progress or Silent()
    progress.start("simulate", scenes)
    folders = []
    for i in range(scenes):
        rng = np.random.default_rng([seed, i])
        h, w = (n + 2 * MARGIN for n in size)
        radiance = (
            _crop(rng, images[rng.integers(len(images))], h, w)
            if images
            else invent_scene(rng, h, w)
        )
        if images:  # 10 to 25 % clips in the reference
            radiance = radiance / np.quantile(radiance.max(-1), rng.uniform(0.75, 0.9))
        scene = SceneSettings(
            tuple(ev), shake, pieces, full_well=_draw_full_well(seed, i, wells), camera=device
        )
        folders.append(out / f"{i:03d}")
        made = render(rng, radiance.astype(np.float32), scene)
        write_bracket(folders[-1], made, ev, truth, suffix)
        progress.step(0, False)
    return folders


def _draw_full_well(seed: int, index: int, wells: tuple[float, float]) -> float:
    """Draw the full well of a scene log-uniformly, without a draw from the scene's own stream."""
    low, high = wells
    if low == high:
        return low
    return float(np.exp(np.random.default_rng([seed, index, 1]).uniform(*np.log(wells))))


def _check_arguments(
    scenes: int,
    seed: int,
    size: tuple[int, int],
    ev: Sequence[float],
    shake: float,
    pieces: int,
    wells: tuple[float, float],
) -> None:
    """Refuse arguments that are out of range."""
    rising = all(b > a for a, b in pairwise(ev)) and np.isfinite(ev).all()
    if len(ev) < 2 or not rising or ev[-1] - ev[0] > MAX_EV:
        raise UserError("--ev takes at least two rising exposures in stops, such as 0,2,4")
    if not 128 <= min(size) <= max(size) <= 20_000:
        raise UserError("--size takes a height and a width of 128 to 20000 px")
    limits = (("scenes", scenes, 1), ("seed", seed, 0), ("shake", shake, 0), ("pieces", pieces, 0))
    for name, value, low in (*limits, *(("full-well", well, 10) for well in wells)):
        if not low <= value < 1e9:
            raise UserError(f"--{name} is {value}, expected at least {low}")
    if len(wells) != 2 or wells[0] > wells[1]:
        raise UserError("--full-well takes electrons, or a range such as 300,1200")


def _refuse_to_overwrite(out: Path, sources: Path | None, overwrite: bool) -> None:
    if not out.exists():
        return
    if not overwrite:
        raise UserError(f"{out}: exists; give --overwrite to replace it, or another folder")
    if not (out / MARKER).is_file():
        raise UserError(f"{out}: was not made by labelgen simulate, so not ours to replace")
    if sources and sources.resolve().is_relative_to(out.resolve()):
        raise UserError(f"{out}: holds the sources {sources}; give another folder")


def _read_sources(sources: Path | None) -> list[Float]:
    if sources is None:
        return []
    files = sorted(sources.rglob("*.hdr"))
    if not files:
        raise UserError(f"{sources}: no .hdr file below it; give - to have scenes invented")
    try:
        return [read_hdr(f) for f in files]
    except Rejected as e:
        raise UserError(f"{sources}: {e}") from e


def _crop(rng: np.random.Generator, image: Array, height: int, width: int) -> Float:
    """Cut a random crop, mirrored half of the time; images that are too small are enlarged."""
    scale = max(height / image.shape[0], width / image.shape[1])
    if scale > 1:
        h, w = (int(np.ceil(n * scale)) for n in image.shape[:2])
        image = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    y = rng.integers(0, image.shape[0] - height + 1)
    x = rng.integers(0, image.shape[1] - width + 1)
    crop = np.maximum(image[y : y + height, x : x + width], 1e-5)
    return np.ascontiguousarray(crop[:, ::-1] if rng.random() < 0.5 else crop)
