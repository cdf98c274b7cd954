"""The photos of one camera as columns, and the cost of taking some in a row for one bracket.

The unit of cost is one doubling of a pause.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from labelgen.core.bracket import SAME_EXPOSURE_EV
from labelgen.photos.header import PhotoHeader

MAX_FRAMES = 20
"""Frames of the longest bracket."""
LONGEST_PAUSE_S = 900.0
"""Seconds between two frames of one bracket at most, even if it is taken by hand."""

PIECE = 4.4
"""Cost of each piece of a cut, be it a bracket or a single photo."""
UNFINISHED = 2.0
"""Cost of a single photo with automatic bracketing on: the rest of its bracket must be near."""
PAIR = 2.4
"""Cost of a bracket of only two frames, since any two photos look like one."""
PAUSE_S = 2.0
"""A pause of t seconds costs log2(1 + t / PAUSE_S): 1 for 2 s, 3 for 14 s."""
NEXT_NUMBER, OTHER_NAME = 0.7, 6.0
"""Costs in place of a pause where there is no clock: of the next file number, and of a file name
that differs in more than its number."""
STANDS_OUT = 1.4
"""Factor on the cost of the longest pause, as far as it exceeds the usual pause by more than one
doubling."""
REPEAT = 3.0
"""Cost of each frame that repeats an exposure of its bracket."""
FIRST_AGAIN = 2.0
"""Cost on top of that if a bracket returns to its first exposure: the next one begins so."""
PARAMETERS = 1.4
"""Cost of each parameter more than one (time, f-number, ISO) that changes: a person changes one,
automatic exposure several."""
BY_HAND = 4.0
"""Cost of a bracket that is taken without automatic bracketing, if other photos have it."""


@dataclass(frozen=True)
class Roll:
    """The photos of one camera in the order taken, one list per property."""

    ev: list[float]
    """Exposure in stops."""
    pause: list[float | None]
    """Seconds from the end of the exposure before to the start of this one; None without clock."""
    gap: list[float]
    """Cost of the pause before each photo."""
    breaks: list[bool]
    """Whether no bracket can hold both this photo and the one before."""
    step: list[float | None]
    """Exposure bias in stops, if automatic bracketing was on."""
    auto: list[bool]
    """Whether automatic bracketing was on."""
    by_hand: list[bool]
    """Whether it was off, while it was on for other photos of the camera."""
    settings: list[tuple[float, float, float]]
    """Time in seconds, f-number, ISO."""

    def longest_bracket(self, start: int) -> int:
        """End of the longest bracket that can begin at photo `start`.

        A bracket cannot go on after a long pause, or where the notes of the camera contradict:
        automatic bracketing is switched on or off, its count of frames does not go on, or one of
        its steps occurs again.
        """
        steps: list[float] = []
        for i in range(start, min(start + MAX_FRAMES, len(self.ev))):
            if i > start and self.breaks[i]:
                return i
            step = self.step[i]
            if step is not None:
                same = [abs(step - other) < SAME_EXPOSURE_EV for other in steps]
                if any(same) and not all(same):  # all are the same if the bias is not a step
                    return i
                steps.append(step)
        return min(start + MAX_FRAMES, len(self.ev))

    def single_cost(self, i: int) -> float:
        """Cost of taking photo `i` for a single photo."""
        return PIECE + UNFINISHED * self.auto[i]

    def bracket_cost(self, start: int, end: int, usual: float | None) -> float:
        """Cost of taking photos `start` to `end` for one bracket.

        Parameters
        ----------
        start, end : int
            Two photos or more.
        usual : float, optional
            Cost of the longest pause in most brackets of this camera. Without it, the longest
            pause is compared with the others in the bracket.
        """
        frames, ev = end - start, self.ev[start:end]
        gaps = self.gap[start + 1 : end]
        longest = max(gaps)
        pauses = sum(gaps)
        if frames > 2:
            others = (pauses - longest) / (frames - 2)
            usual = others if usual is None else usual
        if usual is not None:
            pauses += STANDS_OUT * max(0.0, longest - usual - 1)
        changed = sum(
            max(values) > 1.02 * min(values)
            for values in zip(*self.settings[start:end], strict=True)
        )
        return (
            PIECE
            + PAIR * (frames == 2)
            + pauses
            + REPEAT * count_repeats(ev)
            + FIRST_AGAIN * _returns_to_first(ev)
            + PARAMETERS * max(0, changed - 1)
            + BY_HAND * self.by_hand[start]
        )


def read_roll(photos: Sequence[tuple[str, PhotoHeader, float]]) -> Roll:
    """Columns of photos (stem of the file name, header, EV) in the order taken."""
    headers = [header for _, header, _ in photos]
    names = [name for name, _, _ in photos]
    uses_auto = any(h.auto_bracket for h in headers)
    pause: list[float | None] = [None]
    gap, breaks = [0.0], [False]
    for i, (before, after) in enumerate(pairwise(headers)):
        seconds = _pause(before, after)
        pause.append(seconds)
        if seconds is None:
            gap.append(_name_gap(names[i], names[i + 1]))
        else:
            gap.append(math.log2(1 + seconds / PAUSE_S))
        breaks.append(_contradict(before, after) or (seconds or 0.0) > LONGEST_PAUSE_S)
    return Roll(
        ev=[ev for _, _, ev in photos],
        pause=pause[: len(photos)],
        gap=gap[: len(photos)],
        breaks=breaks[: len(photos)],
        step=[h.bias_ev if h.auto_bracket else None for h in headers],
        auto=[h.auto_bracket is True for h in headers],
        by_hand=[h.auto_bracket is False and uses_auto for h in headers],
        settings=[(h.time_s or 1.0, h.fnumber or 1.0, h.iso or 1.0) for h in headers],
    )


def count_repeats(ev: Sequence[float]) -> int:
    """How many exposures repeat another one."""
    return sum(b - a < SAME_EXPOSURE_EV for a, b in pairwise(sorted(ev)))


def _returns_to_first(ev: Sequence[float]) -> bool:
    """Whether the first exposure occurs again after other ones."""
    same = [abs(value - ev[0]) < SAME_EXPOSURE_EV for value in ev]
    return any(not a and b for a, b in pairwise(same))


def _pause(before: PhotoHeader, after: PhotoHeader) -> float | None:
    """Seconds from the end of one exposure to the start of the next."""
    if before.taken is None or after.taken is None:
        return None
    return max(0.0, after.taken - before.taken - (before.time_s or 0.0))


def _contradict(before: PhotoHeader, after: PhotoHeader) -> bool:
    """Whether the camera notes that two photos in a row are not of one bracket."""
    switched = before.auto_bracket != after.auto_bracket
    if switched and before.auto_bracket is not None and after.auto_bracket is not None:
        return True
    if before.sequence is None or after.sequence is None:
        return False
    return after.sequence != before.sequence + 1


def _name_gap(before: str, after: str) -> float:
    """Cost in place of a pause, by the names of two files without suffix."""
    (head, number, tail), (next_head, next_number, next_tail) = map(_split_name, (before, after))
    if (head, tail) != (next_head, next_tail):
        return OTHER_NAME
    return NEXT_NUMBER * math.log2(1 + max(1, abs(next_number - number)))


def _split_name(name: str) -> tuple[str, int, str]:
    """A name as text, its last number, and text."""
    parts = re.fullmatch(r"(.*?)(\d*)(\D*)", name, re.DOTALL)
    head, digits, tail = parts.groups() if parts else (name, "", "")
    return head, int(digits or 0), tail
