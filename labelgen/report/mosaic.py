"""The picture of a bracket whose photos are not at hand: its patches, pasted where they lie.

What is pasted are patches as they were taken, the one of several variants whose frames were moved
least; patches that are only there under synthetic light or with moving pieces are pasted below
them and marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from labelgen.core.arrays import Array, Bytes, Float
from labelgen.core.response import GAMMA, decode, encode, mu_law
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.reader import Dataset
from labelgen.report.entries import SampleColumns, BracketRecord
from labelgen.report.text import evenly_spaced

SampleImages: TypeAlias = tuple[Array, Array, Array]
"""Inputs, label and weight of a sample."""
MAX_FRAMES = 9
"""Of a bracket that are shown."""
MAX_EV = 60.0
"""Stops: what a damaged column says beyond it is cut."""
MAX_ROWS = 20_000
"""Of a bracket that are looked at."""
MAX_CANDIDATES = 4
"""Variants that are compared."""
MAX_SIDE, THUMB = 1200, 168
"""px: the longest side of a mosaic, and of a thumbnail."""
PLAIN = tuple(BRANCHES.index(name) for name in ("static", "reference", "truth"))
AUGMENTED_COVER, PLAIN_COVER = 128, 255
GROUND = 76
"""Grey of what no patch covers."""


@dataclass(frozen=True)
class MosaicPatch:
    """One place of a bracket: its rows as they were taken, and the augmented ones."""

    y: int
    x: int
    plain: tuple[int, ...]
    augmented: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """All rows, by variant."""
        return tuple(sorted(self.plain + self.augmented))


def shown_exposures(data: Dataset, row: int) -> Array:
    """Stops of the frames of a sample that are shown."""
    part, local = data.locate(row)
    ev = np.nan_to_num(data.files[part]["ev"][local][:MAX_FRAMES])
    return np.clip(ev, -MAX_EV, MAX_EV)


def patch_positions(rows: SampleColumns, first: int, end: int) -> list[MosaicPatch]:
    """The places of a bracket, in the order of its rows."""
    found: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for row in range(first, min(end, first + MAX_ROWS)):
        y, x = rows.origin[row].tolist()
        found.setdefault((y, x), ([], []))[rows.branch[row] not in PLAIN].append(row)
    return [MosaicPatch(y, x, tuple(plain), tuple(rest)) for (y, x), (plain, rest) in found.items()]


@dataclass(frozen=True)
class Mosaic:
    """A bracket at a fraction of its size: what patches tell of it.

    `frames` are (H, W, 3) uint8, `label` (H, W, 3) float32; `weight` and `cover` (H, W) uint8,
    where 255 is covered by a patch as it was taken, 128 by an augmented one, 0 by none.
    """

    zoom: float
    frames: list[Bytes]
    label: Float
    weight: Bytes
    cover: Bytes

    @staticmethod
    def of(data: Dataset, entry: BracketRecord, patches: Sequence[MosaicPatch], pixels: int) -> Mosaic:
        """An empty one of about so many pixels."""
        side = data.header.patch
        ends = max(p.y for p in patches) + side, max(p.x for p in patches) + side
        height, width = entry.size or tuple(int(np.clip(n, side, 2**20)) for n in ends)
        zoom = min(1.0, (pixels / (height * width)) ** 0.5, MAX_SIDE / max(height, width))
        size = max(1, round(height * zoom)), max(1, round(width * zoom))
        return Mosaic(
            zoom,
            [np.zeros((*size, 3), np.uint8) for _ in range(min(data.header.frames, MAX_FRAMES))],
            np.zeros((*size, 3), np.float32),
            np.zeros(size, np.uint8),
            np.zeros(size, np.uint8),
        )

    def fill(self, data: Dataset, patches: Sequence[MosaicPatch], most: int) -> None:
        """Paste the patches, reading at most so many bytes, or one sample."""
        images = data.images[0]
        size = sum(int(np.prod(i.shape[1:])) * i.dtype.itemsize for i in images.values())
        left = max(1, most // size)
        for plain in False, True:
            layer = [p for p in patches if bool(p.plain) is plain]
            for patch in evenly_spaced(layer, left):
                spare = min(MAX_CANDIDATES, max(1, left // len(layer)))
                self._paste(data, patch, (patch.plain or patch.augmented[:1])[:spare])

    def _paste(self, data: Dataset, patch: MosaicPatch, candidates: Sequence[int]) -> None:
        """Paste the one of several samples whose frames agree best with the label."""
        read = [_images(data, row) for row in candidates]
        ev = shown_exposures(data, candidates[0])
        codes, label, weight = (
            min(read, key=lambda images: disagreement(images, ev)) if len(read) > 1 else read[0]
        )
        for frame, own in zip(self.frames, codes, strict=False):
            self._put(frame, encode_small(own, self._shape(patch, own.shape[0])), patch)
        radiance = np.clip(np.nan_to_num(label.astype(np.float32), posinf=0), 0, 1)
        shape = self._shape(patch, label.shape[0])
        self._put(self.label, resize(radiance, shape), patch)
        self._put(self.weight, np.rint(resize(weight.astype(np.float32), shape)), patch)
        cover = PLAIN_COVER if patch.plain else AUGMENTED_COVER
        self._put(self.cover, np.full(shape, cover, np.uint8), patch)

    def _shape(self, patch: MosaicPatch, side: int) -> tuple[int, int]:
        ends = (round((v + side) * self.zoom) - round(v * self.zoom) for v in (patch.y, patch.x))
        height, width = (max(1, n) for n in ends)
        return height, width

    def _put(self, canvas: Array, picture: Array, patch: MosaicPatch) -> None:
        """Lay a picture on a canvas where its patch lies, as far as that is inside."""
        y, x = round(patch.y * self.zoom), round(patch.x * self.zoom)
        if 0 <= y < canvas.shape[0] and 0 <= x < canvas.shape[1]:
            here = canvas[y : y + picture.shape[0], x : x + picture.shape[1]]
            here[...] = picture[: here.shape[0], : here.shape[1]]

    def grounded(self, picture: Bytes) -> Bytes:
        """A picture, grey where no patch covers it."""
        return np.where(self.cover[..., None] > 0, picture, np.uint8(GROUND))

    def thumb(self, ev: float) -> Bytes:
        """The label at an exposure, small."""
        height, width = self.label.shape[:2]
        zoom = min(1.0, THUMB / max(height, width))
        picture = self.grounded(encode(self.label * np.float32(2.0**ev), 8).astype(np.uint8))
        small = max(1, round(height * zoom)), max(1, round(width * zoom))
        return np.rint(resize(picture.astype(np.float32), small)).astype(np.uint8)


def resize(image: Float, shape: tuple[int, int]) -> Float:
    """A (H, W) or (H, W, 3) float32 image in another size, averaged over what it stands for."""
    if image.shape[:2] == shape:
        return image
    return np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA))


def encode_small(codes: Array, shape: tuple[int, int]) -> Bytes:
    """Codes of a frame in another size and 8 bits, averaged as light."""
    return encode(resize(decode(codes), shape), 8).astype(np.uint8)


def _images(data: Dataset, row: int) -> SampleImages:
    return data.image("inputs", row), data.image("label", row), data.image("weight", row)


def disagreement(images: SampleImages, ev: Array) -> float:
    """How far frames are from showing the label where it is trusted: mean mu-law difference.

    Every second pixel of those that are neither clipped nor dark in the frame.
    """
    codes, label, weight = images
    step = np.s_[::2, ::2]
    truth, known = label[step].astype(np.float32), weight[step] >= 128
    off, count = 0.0, 0
    for frame, stops in zip(codes, ev, strict=False):
        light = decode(frame[step])
        tells = known & ((light < 0.9) & (light > 0.02**GAMMA)).all(-1)
        difference = np.abs(mu_law(light * np.float32(2.0**-stops)) - mu_law(truth))
        off += float(difference[tells].sum())
        count += int(tells.sum())
    return off / max(count, 1)
