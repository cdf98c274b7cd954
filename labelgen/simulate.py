"""Simulate brackets of moving scenes with known truth, in the SIGGRAPH'17 layout.

A hand-held camera sees a scene-linear background with objects moving in front of it. Each frame is
exposed with photon and read noise, clipping, gamma 2.2 and 16 bits. The demo and the tests use such
brackets, and anyone can measure with them how good labels are.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes, Float, Mask
from labelgen.core.bracket import MAX_EV, TRUTH_NAME
from labelgen.core.errors import Rejected, UserError
from labelgen.core.files import write_bytes
from labelgen.core.progress import Progress, Silent
from labelgen.core.response import encode
from labelgen.photos.pictures import read_hdr, write_hdr, write_png

MARGIN = 64
"""px around a frame that the camera sees when it moves."""
MARKER = "simulated.txt"
"""File that marks a folder as made here. No other folder is ever replaced."""


@dataclass(frozen=True)
class SceneSettings:
    """Motion of a simulated scene, and the camera."""

    ev: tuple[float, ...] = (0.0, 2.0, 4.0)
    """Exposures in stops, rising."""
    shake: float = 1.5
    """Standard deviation (px) of the camera motion between frames; 0 is a tripod."""
    pieces: int = 3
    """Number of moving objects."""
    travel: float = 24.0
    """Mean motion (px) of an object between frames."""
    full_well: float = 20_000.0
    """Electrons at clipping."""
    read: float = 3.0
    """Read noise in electrons."""

    @property
    def reference(self) -> int:
        """Index of the reference frame."""
        return len(self.ev) // 2


@dataclass(frozen=True)
class SimulatedBracket:
    """A bracket and its truth."""

    codes: tuple[Codes, ...]
    """F frames (H, W, 3) uint16, gamma 2.2."""
    truth: Float
    """(H, W, 3) radiance of the reference. 1.0 is the clip of the shortest frame; lights exceed
    it."""
    moving: Mask
    """(H, W) bool: where an object is in any frame, in the geometry of the reference."""


def render(rng: np.random.Generator, radiance: Float, scene: SceneSettings) -> SimulatedBracket:
    """Simulate one bracket.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    radiance : (H + 2 * MARGIN, W + 2 * MARGIN, 3) float32
        The background, 1.0 where the reference clips.
    scene : SceneSettings
        Motion and exposures.
    """
    height, width = (n - 2 * MARGIN for n in radiance.shape[:2])
    inner = np.s_[MARGIN : MARGIN + height, MARGIN : MARGIN + width]
    objects = [_draw_object(rng, radiance, scene) for _ in range(scene.pieces)]
    moving = np.zeros(radiance.shape[:2], bool)
    codes, truth = [], radiance
    for i, ev in enumerate(scene.ev):
        view = radiance.copy()
        for texture, alpha, positions in objects:
            moving |= _composite(view, texture, alpha, positions[i]) > 0.02
        if i != scene.reference and scene.shake:
            view = _shake_camera(rng, view, scene.shake)
        view = view[inner]
        if i == scene.reference:
            truth = view
        codes.append(expose(rng, view, ev - scene.ev[scene.reference], scene))
    above = scene.ev[scene.reference] - scene.ev[0]
    return SimulatedBracket(tuple(codes), truth * np.float32(2.0**-above), moving[inner])


def _draw_object(
    rng: np.random.Generator, radiance: Float, scene: SceneSettings
) -> tuple[Float, Float, list[tuple[float, float]]]:
    """Draw a moving object: texture (S, S, 3), alpha (S, S), position (y, x) in each frame."""
    h, w = radiance.shape[:2]
    size = int(rng.uniform(0.12, 0.3) * min(h, w))
    y, x = rng.integers(0, h - size), rng.integers(0, w - size)
    texture = radiance[y : y + size, x : x + size, rng.permutation(3)]
    texture = texture / max(float(np.median(texture)), 1e-4) * np.float32(2.0 ** rng.uniform(-4, 0))
    theta = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    radius = 0.34 * size * (1 + 0.25 * np.sin(theta * rng.integers(2, 5) + rng.uniform(0, 6.3)))
    outline = size / 2 + np.stack([radius * np.cos(theta), 0.7 * radius * np.sin(theta)], -1)
    alpha = np.zeros((size, size), np.uint8)
    cv2.fillPoly(alpha, [np.int32(outline * 16)], 255, lineType=cv2.LINE_AA, shift=4)
    start = rng.uniform((MARGIN, MARGIN), (h - MARGIN - size, w - MARGIN - size))
    angle = rng.uniform(0, 2 * np.pi)
    step = scene.travel * rng.uniform(0.6, 1.4) * np.array([np.sin(angle), np.cos(angle)])
    track = [start + (i - scene.reference) * step for i in range(len(scene.ev))]
    positions = [(float(y), float(x)) for y, x in track]
    return texture.astype(np.float32), (alpha / 255).astype(np.float32), positions


def _composite(view: Float, texture: Float, alpha: Float, position: tuple[float, float]) -> Float:
    """Composite an object into a view, in place; return its coverage (H, W) float32."""
    h, w = view.shape[:2]
    matrix = np.array([[1, 0, position[1]], [0, 1, position[0]]])
    coverage = cv2.warpAffine(alpha, matrix, (w, h))
    shifted = cv2.warpAffine(texture, matrix, (w, h), borderMode=cv2.BORDER_REFLECT_101)
    view += (shifted - view) * coverage[..., None]
    return coverage


def _shake_camera(rng: np.random.Generator, view: Float, shake: float) -> Float:
    """Warp a view by a small random motion of the camera since the reference."""
    h, w = view.shape[:2]
    affine = cv2.getRotationMatrix2D((w / 2, h / 2), rng.normal(0, 0.05 * shake), 1.0)
    affine[:, 2] += rng.normal(0, shake, 2)
    homography = np.vstack([affine, [*rng.normal(0, 3e-7 * shake, 2), 1.0]])
    warped = cv2.warpPerspective(
        view, homography, (w, h), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.maximum(warped, 0)


def expose(rng: np.random.Generator, view: Float, stops: float, scene: SceneSettings) -> Codes:
    """Expose one frame of a view: photon and read noise, clipping, gamma 2.2.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    view : (H, W, 3) float32
        Radiance, not negative, 1.0 where an exposure of 0 stops clips.
    stops : float
        Exposure.
    scene : SceneSettings
        Full well and read noise.

    Returns
    -------
    (H, W, 3) uint16
        Gamma 2.2 codes.
    """
    electrons = view * np.float32(2.0**stops * scene.full_well)
    noise = rng.standard_normal(view.shape, np.float32)
    electrons = electrons + noise * np.sqrt(electrons + np.float32(scene.read**2))
    return encode(electrons * np.float32(1 / scene.full_well), 16)


def invent_scene(rng: np.random.Generator, height: int, width: int) -> Float:
    """Invent an interior: textured walls, objects, bright windows and lamps.

    Returns
    -------
    (height, width, 3) float32
        Radiance, 1.0 where the reference clips; windows and lamps are brighter.
    """
    image = np.full((height, width, 3), 0.12, np.float32)
    image *= np.exp2(0.7 * _texture(rng, height, width, 60))[..., None]
    for _ in range(60):
        h, w = (rng.uniform(0.04, 0.3, 2) * (height, width)).astype(int)
        y, x = rng.integers(-h // 2, height - h // 2), rng.integers(-w // 2, width - w // 2)
        box = np.s_[max(y, 0) : y + h, max(x, 0) : x + w]
        image[box] = 0.35 * rng.uniform(0.05, 1, 3) ** 1.5
    for k in range(5):
        h, w = (rng.uniform(0.08, 0.22, 2) * (height, width)).astype(int)
        y, x = rng.integers(0, height - h), rng.integers(0, width - w)
        image[y : y + h, x : x + w] = (2.0 ** (k % 3)) * rng.uniform(0.8, 1.6, 3)
    for _ in range(25):  # lines at all angles, as features for alignment
        a, b = rng.uniform((0, 0), (width, height), (2, 2))
        colour = (rng.uniform(0.02, 0.6, 3)).tolist()
        width_px = int(rng.integers(1, 5))
        cv2.line(image, np.int32(a).tolist(), np.int32(b).tolist(), colour, width_px, cv2.LINE_AA)
    fine = _texture(rng, height, width, 3) + _texture(rng, height, width, 12)
    image *= np.exp2(0.25 * fine)[..., None]
    lamp = _texture(rng, height, width, 90)
    image *= np.exp2(np.clip(lamp, -2, 2))[..., None]
    return cv2.GaussianBlur(image, (0, 0), 0.8)


def _texture(rng: np.random.Generator, height: int, width: int, grain: float) -> Float:
    """Smooth noise (height, width) float32, mean 0, variance 1, with features of `grain` px."""
    coarse = rng.standard_normal((int(height / grain) + 4, int(width / grain) + 4), np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (smooth - smooth.mean()) / (smooth.std() + np.float32(1e-6))


def write_bracket(
    folder: Path, simulated: SimulatedBracket, ev: Sequence[float], truth: bool = True
) -> None:
    """Write a bracket: input_1.tif, ..., exposure.txt, HDRImg.hdr and truth/moving.png."""
    folder.mkdir(parents=True)
    for i, codes in enumerate(simulated.codes, 1):
        _, data = cv2.imencode(".tif", np.ascontiguousarray(codes[..., ::-1]))
        write_bytes(folder / f"input_{i}.tif", data.tobytes())
    lines = "".join(f"{e - ev[0]:.6f}\n" for e in ev)
    write_bytes(folder / "exposure.txt", lines.encode())
    if truth:
        write_hdr(folder / TRUTH_NAME, simulated.truth)
        (folder / "truth").mkdir()
        write_png(folder / "truth" / "moving.png", simulated.moving.astype(np.uint8) * 255)


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
    full_well: float = 20_000.0,
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
    full_well : float
        Electrons at clipping.
    truth : bool
        Write HDRImg.hdr and the mask of moving pixels.
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
    _check_arguments(scenes, seed, size, ev, shake, pieces, full_well)
    _refuse_to_overwrite(out, sources, overwrite)
    images = _read_sources(sources)
    if out.exists():
        shutil.rmtree(out)
    out.mkdir(parents=True)
    write_bytes(out / MARKER, b"Made by labelgen simulate, which may replace this folder.\n")
    scene = SceneSettings(tuple(ev), shake, pieces, full_well=full_well)
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
        folders.append(out / f"{i:03d}")
        write_bracket(folders[-1], render(rng, radiance.astype(np.float32), scene), ev, truth)
        progress.step(0, False)
    return folders


def _check_arguments(
    scenes: int,
    seed: int,
    size: tuple[int, int],
    ev: Sequence[float],
    shake: float,
    pieces: int,
    full_well: float,
) -> None:
    """Refuse arguments that are out of range."""
    rising = all(b > a for a, b in pairwise(ev)) and np.isfinite(ev).all()
    if len(ev) < 2 or not rising or ev[-1] - ev[0] > MAX_EV:
        raise UserError("--ev takes at least two rising exposures in stops, such as 0,2,4")
    if not 128 <= min(size) <= max(size) <= 20_000:
        raise UserError("--size takes a height and a width of 128 to 20000 px")
    limits = (("scenes", scenes, 1), ("seed", seed, 0), ("shake", shake, 0), ("pieces", pieces, 0))
    for name, value, low in (*limits, ("full-well", full_well, 10)):
        if not low <= value < 1e9:
            raise UserError(f"--{name} is {value}, expected at least {low}")


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
