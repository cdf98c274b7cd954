"""Compose a picture of a bracket from its patches: a dataset does not hold the whole photos.

Patches without synthetic illumination and moving pieces are pasted on top. Among their variants,
the one whose frames were displaced least is used. Where there are only augmented variants, one of
them is pasted, and marked in the map of coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from labelgen.core.arrays import Array, Bytes, Float
from labelgen.core.response import GAMMA, decode, encode, mu_law
from labelgen.dataset.columns import BRANCHES, TRUSTED_WEIGHT
from labelgen.dataset.reader import Dataset
from labelgen.report.records import BracketRecord, SampleColumns
from labelgen.report.text import evenly_spaced

SampleImages: TypeAlias = tuple[Array, Array, Array]
"""Inputs, label and weight of a sample."""
MAX_FRAMES = 9
"""Frames of a bracket that are shown."""
MAX_EV = 60.0
"""Exposures of a damaged column are clipped to this many stops."""
MAX_ROWS = 20_000
"""Rows of a bracket that are used."""
MAX_CANDIDATES = 4
"""Variants of a patch that are compared."""
MAX_SIDE, THUMBNAIL_SIDE = 1200, 168
"""Longest side (px) of a mosaic, and of a thumbnail."""
PLAIN_BRANCHES = tuple(BRANCHES.index(name) for name in ("static", "reference", "truth"))
AUGMENTED_COVER, PLAIN_COVER = 128, 255
"""Values of `Mosaic.cover`."""
BACKGROUND = 76
"""Grey of pixels without a patch."""


@dataclass(frozen=True)
class MosaicPatch:
    """All samples of one patch of a bracket. `y`, `x` is its upper left pixel."""

    y: int
    x: int
    plain: tuple[int, ...]
    """Rows with the light and motion of the photos."""
    augmented: tuple[int, ...]
    """Rows with synthetic illumination or moving pieces."""

    @property
    def rows(self) -> tuple[int, ...]:
        """All rows, in order."""
        return tuple(sorted(self.plain + self.augmented))


def shown_exposures(data: Dataset, row: int) -> Array:
    """Return the exposures of the frames that are shown, (F,) float32 in stops."""
    file, local_row = data.locate(row)
    ev = np.nan_to_num(data.files[file]["ev"][local_row][:MAX_FRAMES])
    return np.clip(ev, -MAX_EV, MAX_EV)


def patch_positions(columns: SampleColumns, first: int, end: int) -> list[MosaicPatch]:
    """Group the rows of a bracket, from `first` to `end`, by patch."""
    rows_by_position: dict[tuple[int, int], tuple[list[int], list[int]]] = {}
    for row in range(first, min(end, first + MAX_ROWS)):
        y, x = columns.origin[row].tolist()
        plain, augmented = rows_by_position.setdefault((y, x), ([], []))
        (plain if columns.branch[row] in PLAIN_BRANCHES else augmented).append(row)
    return [
        MosaicPatch(y, x, tuple(plain), tuple(augmented))
        for (y, x), (plain, augmented) in rows_by_position.items()
    ]


@dataclass(frozen=True)
class Mosaic:
    """A bracket composed from its patches, at a fraction of its size."""

    zoom: float
    """Size of the mosaic relative to the frame."""
    frames: list[Bytes]
    """Codes (H, W, 3) uint8 of each frame."""
    label: Float
    """Radiance (H, W, 3) float32."""
    weight: Bytes
    """Weights (H, W) uint8."""
    cover: Bytes
    """Kind of patch at each pixel (H, W) uint8: PLAIN_COVER, AUGMENTED_COVER, or 0 for none."""

    @staticmethod
    def of(
        data: Dataset, record: BracketRecord, patches: Sequence[MosaicPatch], pixels: int
    ) -> Mosaic:
        """Return an empty mosaic of at most about so many pixels."""
        side = data.header.patch
        extent = max(p.y for p in patches) + side, max(p.x for p in patches) + side
        height, width = record.size or tuple(int(np.clip(n, side, 2**20)) for n in extent)
        zoom = min(1.0, (pixels / (height * width)) ** 0.5, MAX_SIDE / max(height, width))
        size = max(1, round(height * zoom)), max(1, round(width * zoom))
        return Mosaic(
            zoom,
            [np.zeros((*size, 3), np.uint8) for _ in range(min(data.header.frames, MAX_FRAMES))],
            np.zeros((*size, 3), np.float32),
            np.zeros(size, np.uint8),
            np.zeros(size, np.uint8),
        )

    def fill(self, data: Dataset, patches: Sequence[MosaicPatch], max_bytes: int) -> None:
        """Paste patches, the plain ones on top; reads at most so many bytes, or one sample."""
        images = data.images[0].values()
        size = sum(int(np.prod(image.shape[1:])) * image.dtype.itemsize for image in images)
        max_samples = max(1, max_bytes // size)
        for is_plain in False, True:
            layer = [patch for patch in patches if bool(patch.plain) is is_plain]
            for patch in evenly_spaced(layer, max_samples):
                candidates = min(MAX_CANDIDATES, max(1, max_samples // len(layer)))
                self._paste(data, patch, (patch.plain or patch.augmented[:1])[:candidates])

    def _paste(self, data: Dataset, patch: MosaicPatch, candidates: Sequence[int]) -> None:
        """Paste the candidate row whose frames agree best with its label."""
        samples = [_images(data, row) for row in candidates]
        ev = shown_exposures(data, candidates[0])
        codes, label, weight = (
            min(samples, key=lambda images: disagreement(images, ev))
            if len(samples) > 1
            else samples[0]
        )
        for frame, patch_codes in zip(self.frames, codes, strict=False):
            shape = self._shape(patch, patch_codes.shape[0])
            self._put(frame, encode_small(patch_codes, shape), patch)
        radiance = np.clip(np.nan_to_num(label.astype(np.float32), posinf=0), 0, 1)
        shape = self._shape(patch, label.shape[0])
        self._put(self.label, resize(radiance, shape), patch)
        self._put(self.weight, np.rint(resize(weight.astype(np.float32), shape)), patch)
        cover = PLAIN_COVER if patch.plain else AUGMENTED_COVER
        self._put(self.cover, np.full(shape, cover, np.uint8), patch)

    def _shape(self, patch: MosaicPatch, side: int) -> tuple[int, int]:
        """Return height and width of a patch in the mosaic, without gaps between neighbours."""
        height, width = (
            max(1, round((start + side) * self.zoom) - round(start * self.zoom))
            for start in (patch.y, patch.x)
        )
        return height, width

    def _put(self, canvas: Array, picture: Array, patch: MosaicPatch) -> None:
        """Paste the picture of a patch into a canvas, cropped to it."""
        y, x = round(patch.y * self.zoom), round(patch.x * self.zoom)
        if 0 <= y < canvas.shape[0] and 0 <= x < canvas.shape[1]:
            region = canvas[y : y + picture.shape[0], x : x + picture.shape[1]]
            region[...] = picture[: region.shape[0], : region.shape[1]]

    def with_background(self, picture: Bytes) -> Bytes:
        """Return a picture (H, W, 3) uint8 with grey where there is no patch."""
        return np.where(self.cover[..., None] > 0, picture, np.uint8(BACKGROUND))

    def thumbnail(self, ev: float) -> Bytes:
        """Return the label at an exposure, small."""
        height, width = self.label.shape[:2]
        zoom = min(1.0, THUMBNAIL_SIDE / max(height, width))
        picture = self.with_background(encode(self.label * np.float32(2.0**ev), 8).astype(np.uint8))
        small = max(1, round(height * zoom)), max(1, round(width * zoom))
        return np.rint(resize(picture.astype(np.float32), small)).astype(np.uint8)


def resize(image: Float, shape: tuple[int, int]) -> Float:
    """Return an image (H, W) or (H, W, 3) float32 in another size, averaged over areas."""
    if image.shape[:2] == shape:
        return image
    return np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA))


def encode_small(codes: Array, shape: tuple[int, int]) -> Bytes:
    """Return the codes of a frame in another size as uint8; averages are of radiance."""
    return encode(resize(decode(codes), shape), 8).astype(np.uint8)


def _images(data: Dataset, row: int) -> SampleImages:
    return data.image("inputs", row), data.image("label", row), data.image("weight", row)


def disagreement(images: SampleImages, ev: Array) -> float:
    """Return the mean mu-law difference of frames and label.

    Every second pixel counts that is trusted, and neither clipped nor dark in the frame.

    Parameters
    ----------
    images : SampleImages
        Of one sample.
    ev : (F,) float32
        Exposures of the frames, in stops.
    """
    codes, label, weight = images
    step = np.s_[::2, ::2]
    truth, trusted = label[step].astype(np.float32), weight[step] >= TRUSTED_WEIGHT
    total, count = 0.0, 0
    for frame, stops in zip(codes, ev, strict=False):
        light = decode(frame[step])
        valid = trusted & ((light < 0.9) & (light > 0.02**GAMMA)).all(-1)
        difference = np.abs(mu_law(light * np.float32(2.0**-stops)) - mu_law(truth))
        total += float(difference[valid].sum())
        count += int(valid.sum())
    return total / max(count, 1)
