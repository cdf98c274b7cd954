"""Paint a room and photograph it with the simulated camera, for the figures of `docs/figures.py`.

It has a window that clips, a dark corner with books, a lamp, and a person who walks past. Radiance
is 1.0 where the reference clips.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from labelgen.core.arrays import Float
from labelgen.core.bracket import Stack
from labelgen.simulate import MARGIN, SceneSettings, render
from labelgen.simulate.camera import Camera

SIZE = 384, 576
"""Height and width of a frame, px."""
EV = (0.0, 2.0, 4.0)
REFERENCE = 1
STEP = 30
"""px that the person moves from frame to frame."""
FINE = 2
"""Supersampling: the room is painted this many times larger, so that edges are smooth."""


def photographed(
    seed: int = 1, full_well: float = 12_000, camera: Camera | None = None
) -> tuple[Stack, Float]:
    """Return the bracket and its true radiance (H, W, 3), 1.0 where the shortest frame clips."""
    scene = SceneSettings(EV, shake=1.2, pieces=0, full_well=full_well, camera=camera)
    seen = [
        render(np.random.default_rng([seed, i]), painted(STEP * (i - REFERENCE)), scene)
        for i in range(len(EV))
    ]
    codes = tuple(made.codes[i] for i, made in enumerate(seen))
    return Stack(codes, EV, REFERENCE), seen[REFERENCE].truth


def painted(walker: float) -> Float:
    """Paint the radiance (H + 2 MARGIN, W + 2 MARGIN, 3); the person has walked `walker` px."""
    rng = np.random.default_rng(5)
    height, width = (n + 2 * MARGIN for n in SIZE)
    room = np.empty((height * FINE, width * FINE, 3), np.float32)
    room[:] = (0.23, 0.205, 0.17)
    floor = at(318)
    room[floor:] = (0.10, 0.062, 0.036)
    _floorboards(rng, room, floor)
    _window(rng, room)
    _shelf(rng, room)
    _picture(room)
    _lamp(room)
    room *= _light(room.shape[:2])[..., None]
    _walker(room, walker)
    room *= np.exp2(0.07 * _grain(rng, room.shape[:2], 2) + 0.04 * _grain(rng, room.shape[:2], 7))[
        ..., None
    ]
    return cv2.resize(room, (width, height), interpolation=cv2.INTER_AREA)


def at(px: float) -> int:
    """Convert a row or column of the frame to the painting."""
    return round((px + MARGIN) * FINE)


def _box(room: Float, top: float, left: float, bottom: float, right: float) -> Float:
    return room[at(top) : at(bottom), at(left) : at(right)]


def _fill(room: Float, outline: Sequence[tuple[float, float]], colour: Sequence[float]) -> None:
    """Fill a polygon, given by (x, y), with one colour."""
    cover = np.zeros(room.shape[:2], np.uint8)
    points = np.array([[(x + MARGIN) * FINE, (y + MARGIN) * FINE] for x, y in outline])
    cv2.fillPoly(cover, [np.int32(points * 16)], 255, cv2.LINE_AA, 4)
    alpha = (cover / np.float32(255))[..., None]
    room += (np.array(colour, np.float32) - room) * alpha


def _ellipse(room: Float, x: float, y: float, a: float, b: float, colour: Sequence[float]) -> None:
    t = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    _fill(room, [(x + a * np.cos(s), y + b * np.sin(s)) for s in t], colour)


def _grain(rng: np.random.Generator, size: tuple[int, int], sigma: float) -> Float:
    noise = cv2.GaussianBlur(rng.standard_normal(size, np.float32), (0, 0), sigma)
    return noise / noise.std()


def _light(size: tuple[int, int]) -> Float:
    """Light that falls off from the window and from the lamp."""
    ys, xs = np.mgrid[: size[0], : size[1]].astype(np.float32) / FINE - MARGIN
    window = 1 / (1 + ((xs - 150) / 260) ** 2 + ((ys - 150) / 260) ** 2)
    lamp = np.exp(-(((xs - 430) / 60) ** 2) - ((ys - 215) / 55) ** 2)
    return 0.18 + 1.1 * window + 1.1 * lamp


def _floorboards(rng: np.random.Generator, room: Float, floor: int) -> None:
    for k in range(17):
        top, next_top = (318 + 4 * j * (1 + 0.11 * j) for j in (k, k + 1))
        room[at(top) : at(next_top)] *= rng.uniform(0.8, 1.2)
        room[at(top) : at(top) + FINE] *= 0.55
    room[floor - 6 * FINE : floor] = (0.30, 0.28, 0.25)


def _window(rng: np.random.Generator, room: Float) -> None:
    """Sky, hills and trees outside. Some of it exceeds the clip of the shortest frame."""
    pane = _box(room, 60, 60, 262, 246)
    h, w = pane.shape[:2]
    ys, xs = np.mgrid[:h, :w].astype(np.float32) / (h, w)[0]
    sky = np.stack([1.5 + 1.5 * ys, 2.0 + 1.3 * ys, 3.0 + 0.6 * ys], -1)
    clouds = np.clip(
        _grain(rng, (h, w), 22 * FINE) + 0.3 * _grain(rng, (h, w), 7 * FINE) - 0.4, 0, 1.4
    )
    pane[:] = sky + clouds[..., None] * np.array([1.9, 1.6, 1.0], np.float32)
    hills = 0.62 + 0.07 * np.sin(5 * xs + 1) + 0.025 * np.sin(17 * xs)
    pane[ys > hills] = (0.95, 1.15, 0.85)
    near = 0.78 + 0.04 * np.sin(9 * xs) + 0.012 * _grain(rng, (h, w), 3 * FINE)
    pane[ys > near] = (0.42, 0.62, 0.25)
    tree = (
        _grain(rng, (h, w), 3 * FINE) * 0.25 + np.hypot((xs - 0.72) / 0.16, (ys - 0.55) / 0.22) < 1
    )
    pane[tree] = (0.30, 0.46, 0.20)
    pane *= np.exp2(0.14 * _grain(rng, (h, w), 1.5 * FINE))[..., None]
    for x in (60, 153, 244):
        _box(room, 54, x - 5, 268, x + 5)[:] = (0.5, 0.48, 0.45)
    for y in (58, 150, 262):
        _box(room, y - 4, 55, y + 4, 249)[:] = (0.5, 0.48, 0.45)
    _box(room, 266, 46, 276, 258)[:] = (0.58, 0.56, 0.52)


def _shelf(rng: np.random.Generator, room: Float) -> None:
    """Books in a dark corner."""
    _box(room, 96, 470, 318, 640)[:] = (0.035, 0.024, 0.016)
    for shelf in range(4):
        bottom, x = 148 + 54 * shelf, 476.0
        while x < 634:
            wide, high = rng.uniform(5, 12), rng.uniform(30, 44)
            colour = 0.16 * rng.uniform(0.15, 1, 3) ** 1.3
            book = _box(room, bottom - high, x, bottom, x + wide)
            book[:] = colour
            book[round(0.2 * len(book)) : round(0.28 * len(book))] = colour * 2.2
            x += wide + 0.8
        _box(room, bottom, 470, bottom + 5, 640)[:] = (0.09, 0.062, 0.04)


def _picture(room: Float) -> None:
    _box(room, 78, 300, 158, 396)[:] = (0.06, 0.045, 0.03)
    inside = _box(room, 84, 306, 152, 390)
    h, w = inside.shape[:2]
    ys, xs = np.mgrid[:h, :w].astype(np.float32) / h
    for channel, phase in enumerate((0.0, 1.7, 3.1)):
        inside[..., channel] = 0.10 + 0.09 * np.sin(7 * xs + 5 * np.sin(4 * ys + phase) + phase)


def _lamp(room: Float) -> None:
    _box(room, 262, 396, 318, 462)[:] = (0.12, 0.08, 0.05)
    _box(room, 256, 388, 264, 470)[:] = (0.17, 0.115, 0.07)
    _fill(room, [(426, 232), (434, 232), (436, 256), (424, 256)], (0.12, 0.12, 0.13))
    _fill(room, [(412, 188), (448, 188), (462, 232), (398, 232)], (2.9, 2.2, 1.35))
    _ellipse(room, 430, 216, 12, 14, (6.5, 5.6, 4.2))


def _walker(room: Float, along: float) -> None:
    """A person in a striped pullover who walks from the window to the right."""
    x = 208 + along
    stride = 16 + 5 * np.sin(along / 18)
    trousers, skin = (0.045, 0.05, 0.075), (0.30, 0.19, 0.13)
    for side in (-1, 1):
        foot = x + side * stride
        _fill(room, [(x - 9, 246), (x + 9, 246), (foot + 7, 352), (foot - 7, 352)], trousers)
        _fill(
            room,
            [(foot - 7, 350), (foot + 13, 350), (foot + 13, 360), (foot - 7, 360)],
            (0.02,) * 3,
        )
    _fill(room, [(x - 17, 152), (x + 17, 152), (x + 20, 250), (x - 19, 250)], (0.34, 0.07, 0.05))
    for k in range(5):
        y = 164 + 18 * k
        _fill(
            room, [(x - 18, y), (x + 18, y), (x + 18, y + 7), (x - 18, y + 7)], (0.38, 0.34, 0.28)
        )
    for side in (-1, 1):
        hand = x + side * (26 - stride / 3)
        _fill(
            room,
            [(x + side * 13, 154), (x + side * 20, 158), (hand + 6, 238), (hand - 4, 240)],
            (0.27, 0.055, 0.04),
        )
        _ellipse(room, hand + 1, 243, 6, 7, skin)
    _ellipse(room, x, 130, 14, 19, skin)
    _ellipse(room, x - 2, 118, 15, 12, (0.035, 0.022, 0.014))
