"""A bracket: a few photos of one scene at different exposures.

`Bracket` describes the files, from their headers and the lists beside them. `Stack` holds the
pixels of those frames that a dataset uses.
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
"""px around masked pixels that get no label. Alignment and motion mix neighbouring pixels, so a
label there could still show masked content."""

TRUTH_NAME = "HDRImg.hdr"
"""File name of the ground truth in the SIGGRAPH'17 layout."""


MAX_EV = 32.0
"""Stops. No camera spans more, so a list that claims more does not hold exposures."""

SAME_EXPOSURE_EV = 0.05
"""Stops. Frames closer than this repeat one exposure: shutters are no more exact."""


ESTIMATED = "estimated from pixels"
"""`Frame.origin` of an exposure that neither a list nor EXIF states."""

ESTIMATED_FRAMES = 3, 16
"""Fewest and most photos of a bracket whose exposures are estimated. Two have a single ratio, which
nothing confirms; more are a folder of single photos."""

TO_BE_ESTIMATED = "no exposures: will be estimated from the pixels, weights are lower"
"""Remark of a scan, which reads no pixels."""

READ_AS_EV = "read as EV; if these are times, write 1/1, 1/2 ..."
"""Remark on a list whose numbers may be times."""

EXPOSURE_ADVICE = "write one EV per line, in the order of the files, to exposure.txt"
"""What the user can do about unknown exposures."""


@dataclass(frozen=True)
class Frame:
    """One photo, as described by its header and the lists beside it."""

    path: Path
    ev: float | None = None
    """Exposure in stops, up to an offset that is the same for the bracket; None if unknown."""
    time_s: float | None = None
    fnumber: float | None = None
    iso: float | None = None
    origin: str = ""
    """Source of the exposure: "exposure.txt", "EXIF", ..."""
    time_ev: float | None = None
    """EV if the numbers of the list are seconds, where they may be that instead of EV: the pixels
    tell. None if there is no doubt."""
    exact_ev: float | None = None
    """`ev` computed from the exact values that nominal times and f-numbers stand for (1/60 s is
    1/64 s). None if the exposure is not from EXIF or its values are not nominal ones."""


@dataclass(frozen=True)
class Bracket:
    """The photos of one scene, shortest exposure first, or in natural order if that is unknown."""

    name: str
    folder: Path
    frames: tuple[Frame, ...]
    size: tuple[int, int] | None = None
    """Height and width in pixels; None if the frames differ or cannot be read."""
    camera: str = ""
    problems: tuple[str, ...] = ()
    """Remarks for the user, one line each."""
    truth: Path | None = None
    """Linear radiance in the geometry of the reference, if the bracket comes with it."""
    masks: tuple[Path, ...] = ()
    """Images that mark pixels which must not be used (`labelgen.photos.masks`)."""

    @property
    def evs(self) -> list[float]:
        """Exposure of each frame in stops relative to the shortest; empty if any is unknown."""
        known = [f.ev for f in self.frames if f.ev is not None]
        return [ev - min(known) for ev in known] if len(known) == len(self.frames) else []

    @property
    def lacks_exposures(self) -> bool:
        """Whether nothing states any exposure, not even a list that cannot be used.

        Exposures of such a bracket are estimated from its pixels.
        """
        low, high = ESTIMATED_FRAMES
        return (
            low <= len(self.frames) <= high
            and all(f.ev is None and not f.origin for f in self.frames)
            and not any(problem.endswith("not used") for problem in self.problems)
        )


@dataclass(frozen=True)
class Stack:
    """Pixels of the F frames in use, shortest exposure first."""

    codes: tuple[Codes, ...]
    """F arrays (H, W, 3) uint8 or uint16: RGB, gamma 2.2."""
    ev: tuple[float, ...]
    """F exposures in stops relative to the shortest."""
    reference: int
    """Index of the frame whose geometry the label has."""
    source: SourceFormat | None = None
    """Format of the frames before they were recoded; None if they were not."""
    masked: Mask | None = None
    """(H, W) bool: pixels that must not be used. They are black in all frames."""
    homographies: tuple[Array | None, ...] = ()
    """F homographies (3, 3) from the reference to each frame, in fractions of the frame
    (`labelgen.alignment.homography.UNIT_SIZE`); None for frames without an estimate."""
    gains: tuple[Float | None, ...] = ()
    """F local gains against the reference (`labelgen.labels.local_gain`); empty if not known."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        h, w, _ = self.codes[0].shape
        return h, w

    def longer_ev(self, i: int) -> float:
        """Exposure (stops) of the longer of frame i and the reference, which clips first."""
        return max(self.ev[i], self.ev[self.reference])

    def linear(self, i: int) -> Float:
        """Frame i as (H, W, 3) float32 linear light, 1.0 where that frame clips."""
        return decode(self.codes[i])

    def radiance(self, i: int) -> Float:
        """Frame i as (H, W, 3) float32 radiance, 1.0 where the shortest frame clips."""
        return self.linear(i) * np.float32(2.0 ** -self.ev[i])

    @property
    def source_format(self) -> SourceFormat:
        """Format in which the camera stored the frames."""
        return self.source or SourceFormat(bits=bit_depth(self.codes[0]))

    def to_depth(self, depth: int) -> Stack:
        """Return the same stack with 8 or 16-bit codes."""
        return replace(self, codes=tuple(to_depth(c, depth) for c in self.codes))


def exposure_values(frames: Sequence[Frame]) -> list[float]:
    """Return the exact EVs of the frames if all have one, otherwise the stated EVs."""
    exact = [f.exact_ev for f in frames if f.exact_ev is not None]
    return exact if len(exact) == len(frames) else [f.ev or 0.0 for f in frames]


def used_frames(bracket: Bracket, count: int, reference: int) -> tuple[Frame, ...]:
    """Choose the frames of a bracket that a dataset of `count` frames uses.

    The frames are consecutive in exposure, and the reference is the middle frame of the bracket
    (the longer of two). Frames that repeat an exposure are skipped.

    Parameters
    ----------
    bracket : Bracket
        With a known exposure for every frame.
    count : int
        Number of frames.
    reference : int
        Position of the reference among them, from 0.

    Returns
    -------
    tuple of Frame
        `count` frames, shortest first.

    Raises
    ------
    Rejected
        Too few frames, or exposures unknown.

    Examples
    --------
    >>> frames = tuple(Frame(Path(f"{k}.jpg"), ev=2.0 * k) for k in range(5))
    >>> [f.path.name for f in used_frames(Bracket("b", Path("b"), frames), 3, 1)]
    ['1.jpg', '2.jpg', '3.jpg']
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
    """Return the frames of a bracket, shortest first, without repeats of an exposure.

    Raises
    ------
    Rejected
        The exposure of a frame is unknown.
    """
    if not bracket.evs:
        unknown = [f.path.name for f in bracket.frames if f.ev is None]
        raise Rejected(
            f"no exposure known for {', '.join(unknown[:3])}{' ...' * (len(unknown) > 3)}; "
            f"{EXPOSURE_ADVICE}"
        )
    distinct: list[Frame] = []
    last_ev = -np.inf
    for frame, ev in zip(bracket.frames, bracket.evs, strict=True):
        if ev - last_ev >= SAME_EXPOSURE_EV:
            distinct.append(frame)
            last_ev = ev
    return distinct


def frame_window(
    frames: Sequence[Frame], count: int, reference: int, centre: int
) -> tuple[Frame, ...]:
    """Return `count` consecutive frames, so that frame `centre` is at position `reference`.

    The window is shifted inwards at the ends of the bracket; then another frame is there.
    """
    start = min(max(centre - reference, 0), len(frames) - count)
    return tuple(frames[start : start + count])


def black_out(image: Array, masked: Mask) -> Array:
    """Set masked pixels of an image (H, W, 3) to black, so that no later step can use them."""
    return np.where(masked[..., None], image.dtype.type(0), image)


def dilate_mask(masked: Mask, px: int = MASK_MARGIN) -> Mask:
    """Grow a mask (H, W) by `px` pixels in all directions."""
    kernel = np.ones((2 * px + 1, 2 * px + 1), np.uint8)
    return cv2.dilate(masked.astype(np.uint8), kernel) > 0
