"""What speaks for and against photos in a row being one bracket, in units of cost."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from labelgen.core.bracket import SAME_EXPOSURE_EV
from labelgen.photos.header import PhotoHeader

PAUSE, PAUSE_S = 0.5, 2.0
"""A pause of t seconds costs PAUSE * log2(1 + t / PAUSE_S): 0.5 for 2 s, 1.5 for 15 s."""
STANDS_OUT = 0.7
"""Per doubling by which the longest pause exceeds twice the mean of the others."""
NEXT_NUMBER, OTHER_NAME = 0.35, 1.5
"""In place of a pause where no clock tells it: the next file number; a name of another kind
(twice as much where both kinds occur more than once)."""
REPEAT = 1.5
"""A frame that repeats an exposure of its bracket."""
FIRST_AGAIN = 1.0
"""More if that is its first exposure, after others: the next bracket begins so."""
REPEATED_BIAS = 2.0
"""A frame that repeats a step of an automatic bracket."""
CONTRADICTION = 4.0
"""Automatic bracketing switched on or off, or its count of frames broken off, within a bracket."""
SAME_BIAS_EV = 0.1
"""Steps of an automatic bracket closer than this are the same."""
AUTOMATIC, BIAS_FITS = 0.5, 1.0
"""Less for frames that the camera took as automatic bracket, whose bias explains exposures."""
BY_HAND = 2.0
"""A bracket taken by hand with a camera that brackets by itself among the same photos."""
MIN_SPAN_EV, NARROW = 1.2, 1.5
"""Per stop that exposures span less than this; automatic exposure wanders as much."""
PARAMETERS = 0.7
"""Per parameter more than one (time, f-number, ISO) that changes."""
MONOTONE = 0.6
"""Factor on pauses where exposures rise or fall by regular steps, as set by hand."""
REGULAR = 1.6
"""Steps are regular if the largest is at most this many times the least."""
PATTERN_STEP_EV = 1 / 6
"""Patterns are compared in sixths of a stop, which hold both thirds and halves."""

LONGEST_PATTERN, MIN_SHARE = 9, 0.4
"""Patterns looked for have at most so many frames, and cover at least this share of the photos."""

Settings: TypeAlias = tuple[float, float, float]
"""Time in seconds, f-number, ISO."""


@dataclass(frozen=True)
class Evidence:
    """Photos of one camera in the order taken, column by column.

    `ev` in stops; `pause` in seconds from the end of the exposure before to the start of this
    one, None where no clock tells; `gap` its cost; `auto`, `bias`, `number` as `PhotoHeader` has
    them.
    """

    ev: list[float]
    pause: list[float | None]
    gap: list[float]
    auto: list[bool | None]
    bias: list[float | None]
    number: list[int | None]
    settings: list[Settings]
    uses_auto: bool
    """Whether the camera was bracketing by itself for any of the photos."""

    def start(self, i: int) -> State:
        """A bracket that begins with photo `i`."""
        ev, settings, bias = self.ev[i], self.settings[i], self.bias[i]
        by_hand = BY_HAND if self.uses_auto and self.auto[i] is False else 0.0
        return State((ev,), ev, ev, settings, settings, bias, bias, by_hand=by_hand)

    def contradicts(self, a: int, b: int) -> bool:
        """Whether the notes of the camera forbid that photos `a` to `b` are one bracket."""
        state = self.start(a)
        for i in range(a + 1, b):
            state = extend(state, self, i)
        return state.broken > 0

    def is_regular(self, a: int, b: int) -> bool:
        """Whether exposures of photos `a` to `b` rise or fall by regular steps."""
        steps = [after - before for before, after in pairwise(self.ev[a:b])]
        return _is_regular(min(steps), max(steps))


class State(NamedTuple):
    """A bracket as far as it has been read; a tuple, since hundreds of thousands are made."""

    ev: tuple[float, ...]
    low_ev: float
    high_ev: float
    lowest: Settings
    highest: Settings
    low_bias: float | None
    high_bias: float | None
    gaps: float = 0.0
    longest: float = 0.0
    repeats: int = 0
    broken: float = 0.0
    automatic: bool = False
    misfit: tuple[float, float] = (0.0, 0.0)
    steps: tuple[float, float] = (math.inf, -math.inf)
    by_hand: float = 0.0
    again: int = 0

    @property
    def span(self) -> float:
        """From the shortest to the longest exposure, in stops."""
        return self.high_ev - self.low_ev

    def cost(self, frames: int, usual: float | None) -> float:
        """What speaks against these frames being one bracket, less what speaks for it.

        `usual` is the cost of the longest pause in brackets of the same camera, if known.
        """
        pauses = self.gaps
        if usual is not None:
            pauses += STANDS_OUT * max(0.0, _doublings(self.longest, usual) - 2)
        if frames > 2:
            others = (self.gaps - self.longest) / (frames - 2)
            pauses += STANDS_OUT * max(0.0, _doublings(self.longest, others) - 1)
        if frames > 3 and _is_regular(*self.steps):
            pauses *= MONOTONE
        repeats = REPEAT * self.repeats + FIRST_AGAIN * self.again
        total = pauses + repeats + self.broken + self.by_hand
        if self.automatic:
            total -= AUTOMATIC
        else:
            total += NARROW * max(0.0, MIN_SPAN_EV - self.span)
        if self.low_bias is not None and self.high_bias is not None:
            varies = self.high_bias - self.low_bias > 0.3
            if varies and self.misfit[1] - self.misfit[0] < 0.4:
                total -= BIAS_FITS
        changed = sum(b > a * 1.02 for a, b in zip(self.lowest, self.highest, strict=True))
        return total + PARAMETERS * max(0, changed - 1)


def gather_evidence(photos: Sequence[tuple[str, PhotoHeader, float]]) -> Evidence:
    """The columns of photos (stem of the file name, header, EV) in the order taken."""
    headers = [h for _, h, _ in photos]
    pauses, gaps = [None, *map(_pause, headers, headers[1:])][: len(photos)], [0.0]
    name_gaps = _name_gaps([name for name, _, _ in photos])
    for i, (a, b) in enumerate(pairwise(headers), 1):
        pause = pauses[i]
        if a.sequence is not None and b.sequence == a.sequence + 1:
            gaps.append(0.0)
        elif pause is None:
            gaps.append(name_gaps[i - 1])
        else:
            gaps.append(PAUSE * math.log2(1 + pause / PAUSE_S))
    return Evidence(
        [ev for _, _, ev in photos],
        pauses,
        gaps[: len(photos)],
        [h.auto_bracket for h in headers],
        [h.bias_ev for h in headers],
        [h.sequence for h in headers],
        [(h.time_s or 1.0, h.fnumber or 1.0, h.iso or 1.0) for h in headers],
        any(h.auto_bracket for h in headers),
    )


def extend(state: State, evidence: Evidence, i: int) -> State:
    """A bracket with photo `i` added to it."""
    ev, gap, bias = evidence.ev[i], evidence.gap[i], evidence.bias[i]
    first, auto, before = i - len(state.ev), evidence.auto[i], evidence.auto[i - 1]
    broken = state.broken
    if auto is not None and before is not None and auto != before:
        broken += CONTRADICTION
    begins = abs(ev - state.ev[0]) < SAME_EXPOSURE_EV <= abs(ev - state.ev[-1])
    number, last = evidence.number[i], evidence.number[i - 1]
    if number is not None and last is not None and number != last + 1:
        broken += CONTRADICTION
    low_bias, high_bias = None, None
    if bias is not None and state.low_bias is not None and state.high_bias is not None:
        low_bias, high_bias = min(bias, state.low_bias), max(bias, state.high_bias)
        if auto and high_bias - low_bias > SAME_BIAS_EV:
            repeated = (abs(bias - (b or 0.0)) < SAME_BIAS_EV for b in evidence.bias[first:i])
            broken += REPEATED_BIAS * any(repeated)
    misfit = (ev - (bias or 0.0)) - (state.ev[0] - (evidence.bias[first] or 0.0))
    here = evidence.settings[i]
    lowest, highest = state.lowest, state.highest
    if here != lowest or here != highest:
        (t, f, iso), (low_t, low_f, low_iso), (high_t, high_f, high_iso) = here, lowest, highest
        lowest = min(t, low_t), min(f, low_f), min(iso, low_iso)
        highest = max(t, high_t), max(f, high_f), max(iso, high_iso)
    return State(
        (*state.ev, ev),
        min(ev, state.low_ev),
        max(ev, state.high_ev),
        lowest,
        highest,
        low_bias,
        high_bias,
        state.gaps + gap,
        max(state.longest, gap),
        state.repeats + any(abs(ev - other) < SAME_EXPOSURE_EV for other in state.ev),
        broken,
        bool(auto and before and (state.automatic or len(state.ev) == 1)),
        (min(state.misfit[0], misfit), max(state.misfit[1], misfit)),
        (min(state.steps[0], ev - state.ev[-1]), max(state.steps[1], ev - state.ev[-1])),
        state.by_hand,
        state.again + begins,
    )


def pattern_of(ev: Sequence[float]) -> tuple[int, ...]:
    """Exposures relative to the first, in steps of `PATTERN_STEP_EV`."""
    return tuple(round((e - ev[0]) / PATTERN_STEP_EV) for e in ev)


def repeated_pattern(ev: Sequence[float]) -> tuple[tuple[int, ...], int]:
    """The pattern of different exposures that covers most of a sequence by repeating.

    Parameters
    ----------
    ev : sequence of float
        Exposures in the order taken, in stops.

    Returns
    -------
    pattern : tuple of int
        As `pattern_of` gives it.
    count : int
        How often it occurs without overlap; 0 if none covers `MIN_SHARE` of the sequence.
    """
    found = dict[tuple[int, ...], tuple[int, int]]()  # count, end of the last occurrence
    for start in range(len(ev)):
        for length in range(2, min(LONGEST_PATTERN, len(ev) - start) + 1):
            pattern = pattern_of(ev[start : start + length])
            if pattern[-1] in pattern[:-1]:
                break
            count, end = found.get(pattern, (0, 0))
            if start >= end:
                found[pattern] = count + 1, start + length
    # Half a frame less for each: of a long pattern and a part of it, the whole is meant.
    best = max(found, key=lambda p: (found[p][0] * (len(p) - 0.5), len(p)), default=())
    count = found[best][0] if best else 0
    enough = count > 2 and count * len(best) >= MIN_SHARE * len(ev)
    return (best, count) if enough else ((), 0)


def _pause(before: PhotoHeader, after: PhotoHeader) -> float | None:
    """Seconds from the end of one exposure to the start of the next."""
    if before.taken is None or after.taken is None:
        return None
    return max(0.0, after.taken - before.taken - (before.time_s or 0.0))


def _name_gaps(names: Sequence[str]) -> list[float]:
    """Costs in place of pauses before each but the first, from the names and numbers of files."""
    parts = [re.fullmatch(r"(.*?)(\d*)(\D*)", name) for name in names]
    kinds = [m.group(1) + "\0" + m.group(3) if m else "" for m in parts]
    numbers = [int(m.group(2) or 0) if m else 0 for m in parts]
    often = Counter(kinds)
    gaps = []
    for i, j in pairwise(range(len(names))):
        if kinds[i] == kinds[j]:
            gaps.append(NEXT_NUMBER * math.log2(1 + max(1, abs(numbers[j] - numbers[i]))))
        else:
            both = often[kinds[i]] > 1 and often[kinds[j]] > 1
            gaps.append(OTHER_NAME * (1 + both))
    return gaps


def _doublings(longest: float, others: float) -> float:
    """How many times longer, in powers of two, a pause is than others, from their costs."""
    return (longest - others) / PAUSE


def _is_regular(least: float, most: float) -> bool:
    """Whether steps from least to most, in stops, are of one sign and about one size."""
    if least > 0:
        return most <= REGULAR * least
    return most < 0 and least >= REGULAR * most
