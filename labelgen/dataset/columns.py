"""The columns of a dataset file, typed once: name, shape of one row, and dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

IMAGES = ("inputs", "label", "weight")
"""Datasets with one sample a chunk; the others are small columns."""
COLUMNS = ("branch", "ev", "origin", "scene", "variant")
BRANCHES = ("static", "reference", "illumination", "truth", "pieces")
"""How a label was made; `branch` holds the index here. New ones are appended."""


@dataclass(frozen=True)
class SampleLayout:
    """Shapes and types of a dataset: frames, side of a patch, bits of the inputs, compression."""

    frames: int
    patch: int
    depth: int
    compress: str = "none"

    def images(self) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
        """Shape of one sample and type of each image dataset."""
        codes = np.dtype(np.uint8 if self.depth == 8 else np.uint16)
        p = self.patch
        return {
            "inputs": ((self.frames, p, p, 3), codes),
            "label": ((p, p, 3), np.dtype(np.float16)),
            "weight": ((p, p), np.dtype(np.uint8)),
        }

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample before compression."""
        return sum(int(np.prod(shape)) * kind.itemsize for shape, kind in self.images().values())


def expected_columns(frames: int, patch: int, depth: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape of one row, and how its type begins as NumPy writes it, of every dataset."""
    images = SampleLayout(frames, patch, depth).images()
    return {name: (shape, kind.str) for name, (shape, kind) in images.items()} | {
        "ev": ((frames,), "<f4"),
        "origin": ((2,), "<i4"),
        "branch": ((), "|u1"),
        "variant": ((), "<u2"),
        "scene": ((), "|S"),
    }
