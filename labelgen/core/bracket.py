"""A bracket: a few photos of one scene at different exposures.

`Bracket` is what headers and lists say of it; `Stack` holds the pixels of the frames in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from labelgen.core.arrays import Array, Codes, Float, Mask
from labelgen.core.errors import Rejected
from labelgen.core.response import SourceFormat, bit_depth, decode, to_depth

MASK_MARGIN = 16
"""px around what is masked that are not labelled either: alignment and motion mix pixels."""


TRUTH_NAME = "HDRImg.hdr"
"""Name of the ground truth in the SIGGRAPH'17 layout."""


MAX_EV = 32.0
"""No bracket spans more stops than this; what says so says something else."""

SAME_EXPOSURE_EV = 0.05
"""Frames closer than this (stops) are repeats of one exposure; shutters are no more exact."""


@dataclass(frozen=True)
class Frame:
    """One photo, known from its header and the lists beside it.

    `ev` is in stops and only differences mean anything; None where nothing says it. `origin`
    names the source of the exposure: "exposure.txt", "EXIF", ...
    """

    path: Path
    ev: float | None = None
    time_s: float | None = None
    fnumber: float | None = None
    iso: float | None = None
    origin: str = ""
    exact_ev: float | None = None
    """`ev` by the exact values that nominal times and f-numbers stand for (1/60 is 1/64), only
    comparable within the bracket; None where the exposure is not from EXIF or is no mark."""


@dataclass(frozen=True)
class Bracket:
    """The photos of one scene, shortest exposure first (natural order where none is known)."""

    name: str
    folder: Path
    frames: tuple[Frame, ...]
    size: tuple[int, int] | None = None
    """Height and width in pixels; None if the frames differ or cannot be read."""
    camera: str = ""
    problems: tuple[str, ...] = ()
    truth: Path | None = None
    """Linear radiance in the geometry of the reference, where the dataset comes with it."""
    masks: tuple[Path, ...] = ()
    """Images of what must not be used (`labelgen.photos.masks`)."""

    @property
    def evs(self) -> list[float]:
        """Exposure of each frame in stops relative to the shortest; empty if any is unknown."""
        known = [f.ev for f in self.frames if f.ev is not None]
        return [ev - min(known) for ev in known] if len(known) == len(self.frames) else []


@dataclass(frozen=True)
class Stack:
    """Pixels of the frames in use, shortest exposure first.

    `codes` are F arrays (H, W, 3), uint8 or uint16, RGB, of gamma 2.2; `ev` (F,) is in stops
    relative to the shortest as stated; `reference` is the index of the frame whose geometry the
    label has. `source` says how they were stored before they were recoded, if they were. What
    `masked` (H, W) bool covers is black in all frames, and must not be used. `homographies`
    are what is known of the geometry beforehand: (3, 3) from the reference to each frame, in shares
    of the frame (`labelgen.alignment.homography.UNIT_SIZE`), None where that is nothing.
    """

    codes: tuple[Codes, ...]
    ev: tuple[float, ...]
    reference: int
    source: SourceFormat | None = None
    masked: Mask | None = None
    homographies: tuple[Array | None, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        h, w, _ = self.codes[0].shape
        return h, w

    def longer_ev(self, i: int) -> float:
        """Exposure (stops) of the longer of frame i and the reference: both clip as it does."""
        return max(self.ev[i], self.ev[self.reference])

    def linear(self, i: int) -> Float:
        """Frame i as (H, W, 3) float32 linear light, 1.0 where that frame clips."""
        return decode(self.codes[i])

    def radiance(self, i: int) -> Float:
        """Frame i as (H, W, 3) float32 radiance, 1.0 where the shortest frame clips."""
        return self.linear(i) * np.float32(2.0 ** -self.ev[i])

    @property
    def source_format(self) -> SourceFormat:
        """How the camera stored the frames."""
        return self.source or SourceFormat(bits=bit_depth(self.codes[0]))

    def to_depth(self, depth: int) -> Stack:
        """The same stack with 8 or 16-bit codes."""
        return replace(self, codes=tuple(to_depth(c, depth) for c in self.codes))


def exposure_values(frames: Sequence[Frame]) -> list[float]:
    """EVs of frames by the exact values of their nominal marks, if all have them; or as stated."""
    exact = [f.exact_ev for f in frames if f.exact_ev is not None]
    return exact if len(exact) == len(frames) else [f.ev or 0.0 for f in frames]


def used_frames(bracket: Bracket, count: int, reference: int) -> tuple[Frame, ...]:
    """The frames of a bracket that a dataset of `count` frames uses.

    These are consecutive in exposure, and frame `reference` of them is the middle one of the
    bracket (of several, the longer). Repeats of an exposure are left out.

    Parameters
    ----------
    bracket : Bracket
        With a known exposure for every frame.
    count : int
        How many frames.
    reference : int
        Which of them is the reference, from 0.

    Returns
    -------
    tuple of Frame
        `count` frames, shortest first.

    Raises
    ------
    Rejected
        Too few frames, or exposures unknown.
    """
    distinct = distinct_exposures(bracket)
    if len(distinct) < count:
        repeats = f" ({len(bracket.frames)} with repeats)" * (len(bracket.frames) > len(distinct))
        left_out = [f"; {p}" for p in bracket.problems if p.endswith("left out")]
        raise Rejected(
            (
                f"{len(distinct)} frames of different exposure{repeats}, {count} needed; "
                f"--frames {max(2, len(distinct))} would take it"
                if len(distinct) >= 2
                else f"{len(distinct)} exposure{repeats}, at least 2 needed"
            )
            + "".join(left_out)
        )
    return frame_window(distinct, count, reference, len(distinct) // 2)


def distinct_exposures(bracket: Bracket) -> list[Frame]:
    """The frames of a bracket without repeats of an exposure, shortest first.

    Raises
    ------
    Rejected
        The exposure of a frame is unknown.
    """
    if not bracket.evs:
        unknown = [f.path.name for f in bracket.frames if f.ev is None]
        raise Rejected(
            f"no exposure known for {', '.join(unknown[:3])}{' ...' * (len(unknown) > 3)}; "
            "write one EV per line, in the order of the files, to exposure.txt"
        )
    kept: list[Frame] = []
    last = -np.inf
    for frame, ev in zip(bracket.frames, bracket.evs, strict=True):
        if ev - last >= SAME_EXPOSURE_EV:
            kept.append(frame)
            last = ev
    return kept


def frame_window(
    frames: Sequence[Frame], count: int, reference: int, centre: int
) -> tuple[Frame, ...]:
    """`count` consecutive frames, placed so that frame `reference` of them is frame `centre`.

    Near an end of the bracket the window is moved inwards: the centre then is its neighbour.
    """
    start = min(max(centre - reference, 0), len(frames) - count)
    return tuple(frames[start : start + count])


def black_out(image: Array, masked: Mask) -> Array:
    """Codes or radiance (H, W, 3) with what is masked in black: no step can take it from there."""
    return np.where(masked[..., None], image.dtype.type(0), image)


def dilate_mask(masked: Mask, px: int = MASK_MARGIN) -> Mask:
    """What is masked, and so many pixels around it."""
    kernel = np.ones((2 * px + 1, 2 * px + 1), np.uint8)
    return cv2.dilate(masked.astype(np.uint8), kernel) > 0
