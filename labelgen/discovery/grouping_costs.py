"""The cost of taking consecutive photos of one camera as one bracket.

Each piece of a cut is a bracket or a single photo (`labelgen.discovery.grouping`). Costs add up,
and the cheapest cut wins. The cost of a pause is logarithmic: a pause that is twice as long costs
1 more.
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
"""Most frames of one bracket."""
MAX_PAUSE_S = 900.0
"""Longest pause (s) between two frames of one bracket, even if it is taken by hand."""

PIECE_COST = 4.4
"""Cost of each piece of a cut, whether a bracket or a single photo."""
UNFINISHED_COST = 2.0
"""Added for a single photo with automatic bracketing on: the rest of its bracket must be near."""
PAIR_COST = 2.4
"""Added for a bracket of only two frames, since any two photos look like one."""
PAUSE_UNIT_S = 2.0
"""A pause of t seconds costs log2(1 + t / PAUSE_UNIT_S): 1 for 2 s, 3 for 14 s."""
NEXT_NUMBER_COST, OTHER_NAME_COST = 0.7, 6.0
"""Without a clock, file names replace the pause: cost of the next file number, and of a name that
differs in more than its number."""
LONG_PAUSE_FACTOR = 1.4
"""If the longest pause of a bracket costs more than the usual one plus 1, the difference times this
is added."""
REPEAT_COST = 3.0
"""Added for each frame that repeats an exposure of its bracket."""
RETURN_COST = 2.0
"""Added as well if a bracket returns to its first exposure: there the next bracket begins."""
PARAMETER_COST = 1.4
"""Added for each parameter (time, f-number, ISO) that changes, beyond the first: a person changes
one, automatic exposure several."""
MIN_CHANGE = 1.02
"""A parameter changes if its largest value is more than this many times its smallest."""
BY_HAND_COST = 4.0
"""Added for a bracket without automatic bracketing, if other photos of the camera have it."""


@dataclass(frozen=True)
class Roll:
    """The photos of one camera in the order taken: lists with one item per photo."""

    ev: list[float]
    """Exposure in stops."""
    pause_s: list[float | None]
    """Seconds from the end of the previous exposure to the start of this one; None for the first
    photo and without a clock."""
    pause_cost: list[float]
    """Cost of that pause, or of the file names without a clock; 0 for the first photo."""
    breaks: list[bool]
    """Whether a bracket must end before this photo."""
    bias_ev: list[float | None]
    """Exposure bias in stops; None unless automatic bracketing was on."""
    auto: list[bool]
    """Whether automatic bracketing was on."""
    by_hand: list[bool]
    """Whether it was off, while it was on for other photos of the camera."""
    settings: list[tuple[float, float, float]]
    """Time in seconds, f-number, ISO; 1 where unknown."""

    def max_end(self, start: int) -> int:
        """Index after the last photo of the longest bracket that can begin at photo `start`.

        A bracket ends before a long pause, and where the camera notes the start of another one:
        automatic bracketing is switched on or off, its frame number does not go up by one, or a
        bias occurs again.
        """
        biases: list[float] = []
        for i in range(start, min(start + MAX_FRAMES, len(self.ev))):
            if i > start and self.breaks[i]:
                return i
            bias = self.bias_ev[i]
            if bias is not None:
                same = [abs(bias - other) < SAME_EXPOSURE_EV for other in biases]
                # Some cameras do not write the step to the bias. Then all frames have the same.
                if any(same) and not all(same):
                    return i
                biases.append(bias)
        return min(start + MAX_FRAMES, len(self.ev))

    def single_cost(self, i: int) -> float:
        """Cost of photo `i` as a single photo."""
        return PIECE_COST + UNFINISHED_COST * self.auto[i]

    def bracket_cost(self, start: int, end: int, usual: float | None) -> float:
        """Cost of the photos from `start` to before `end` as one bracket.

        Parameters
        ----------
        start, end : int
            Index of the first photo, and after the last one. There are two photos or more.
        usual : float, optional
            Cost of the longest pause in a typical bracket of this camera. By default the longest
            pause is compared with the mean of the others in the bracket.
        """
        frames, ev = end - start, self.ev[start:end]
        costs = self.pause_cost[start + 1 : end]
        longest, pauses = max(costs), sum(costs)
        if frames > 2:
            others = (pauses - longest) / (frames - 2)
            usual = others if usual is None else usual
        if usual is not None:
            pauses += LONG_PAUSE_FACTOR * max(0.0, longest - usual - 1)
        changed = sum(
            max(values) > MIN_CHANGE * min(values)
            for values in zip(*self.settings[start:end], strict=True)
        )
        return (
            PIECE_COST
            + PAIR_COST * (frames == 2)
            + pauses
            + REPEAT_COST * count_repeats(ev)
            + RETURN_COST * _returns_to_first(ev)
            + PARAMETER_COST * max(0, changed - 1)
            + BY_HAND_COST * self.by_hand[start]
        )


def read_roll(photos: Sequence[tuple[str, PhotoHeader, float]]) -> Roll:
    """Roll of photos in the order taken; each is (file name without suffix, header, EV)."""
    headers = [header for _, header, _ in photos]
    names = [name for name, _, _ in photos]
    uses_auto = any(h.auto_bracket for h in headers)
    pause_s: list[float | None] = [None]
    pause_cost, breaks = [0.0], [False]
    for i, (before, after) in enumerate(pairwise(headers)):
        seconds = _pause_between(before, after)
        pause_s.append(seconds)
        if seconds is None:
            pause_cost.append(_name_cost(names[i], names[i + 1]))
        else:
            pause_cost.append(math.log2(1 + seconds / PAUSE_UNIT_S))
        breaks.append(_notes_new_bracket(before, after) or (seconds or 0.0) > MAX_PAUSE_S)
    return Roll(
        ev=[ev for _, _, ev in photos],
        pause_s=pause_s[: len(photos)],
        pause_cost=pause_cost[: len(photos)],
        breaks=breaks[: len(photos)],
        bias_ev=[h.bias_ev if h.auto_bracket else None for h in headers],
        auto=[h.auto_bracket is True for h in headers],
        by_hand=[h.auto_bracket is False and uses_auto for h in headers],
        settings=[(h.time_s or 1.0, h.fnumber or 1.0, h.iso or 1.0) for h in headers],
    )


def count_repeats(ev: Sequence[float]) -> int:
    """Number of exposures (EV) that repeat another one."""
    return sum(b - a < SAME_EXPOSURE_EV for a, b in pairwise(sorted(ev)))


def _returns_to_first(ev: Sequence[float]) -> bool:
    """Whether the first exposure occurs again after other ones."""
    same = [abs(value - ev[0]) < SAME_EXPOSURE_EV for value in ev]
    return any(not a and b for a, b in pairwise(same))


def _pause_between(before: PhotoHeader, after: PhotoHeader) -> float | None:
    """Seconds from the end of one exposure to the start of the next; None without a clock."""
    if before.taken is None or after.taken is None:
        return None
    return max(0.0, after.taken - before.taken - (before.time_s or 0.0))


def _notes_new_bracket(before: PhotoHeader, after: PhotoHeader) -> bool:
    """Whether the camera notes that two consecutive photos are of different brackets."""
    switched = before.auto_bracket != after.auto_bracket
    if switched and before.auto_bracket is not None and after.auto_bracket is not None:
        return True
    if before.sequence is None or after.sequence is None:
        return False
    return after.sequence != before.sequence + 1


def _name_cost(before: str, after: str) -> float:
    """Cost that replaces the cost of a pause, by the names of two files without suffix."""
    (head, number, tail), (next_head, next_number, next_tail) = map(_split_name, (before, after))
    if (head, tail) != (next_head, next_tail):
        return OTHER_NAME_COST
    return NEXT_NUMBER_COST * math.log2(1 + max(1, abs(next_number - number)))


def _split_name(name: str) -> tuple[str, int, str]:
    """Split a name into the text before its last number, the number, and the text after it."""
    parts = re.fullmatch(r"(.*?)(\d*)(\D*)", name, re.DOTALL)
    head, digits, tail = parts.groups() if parts else (name, "", "")
    return head, int(digits or 0), tail
