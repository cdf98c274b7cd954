"""Patterns of exposures: brackets taken with one camera setting have the same pattern."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

STEP_EV = 1 / 6
"""Patterns are compared in sixths of a stop, since cameras step by thirds or halves."""
LONGEST_PATTERN = 9
"""Frames of the longest pattern that `repeated_pattern` looks for, as of automatic bracketing."""

Pattern = tuple[int, ...]
"""Exposures relative to the first, in units of `STEP_EV`."""


def pattern_of(ev: Sequence[float]) -> Pattern:
    """Pattern of the exposures of a bracket.

    Examples
    --------
    >>> pattern_of([-1.0, -3.0, 1.0]) == pattern_of([0.0, -2.0, 2.0]) == (0, -12, 12)
    True
    """
    return tuple(round((e - ev[0]) / STEP_EV) for e in ev)


def parts_of(patterns: Collection[Pattern]) -> set[Pattern]:
    """All patterns of two or more consecutive frames of the given patterns, and these."""
    return {
        tuple(e - pattern[start] for e in pattern[start:end])
        for pattern in patterns
        for start in range(len(pattern))
        for end in range(start + 2, len(pattern) + 1)
    }


def repeated_pattern(ev: Sequence[float]) -> tuple[Pattern, int]:
    """Find the pattern of different exposures that covers most of a sequence by repeating.

    Parameters
    ----------
    ev : sequence of float
        Exposures in stops, in the order taken.

    Returns
    -------
    pattern : Pattern
        Empty if none occurs three times.
    count : int
        How often it occurs without overlap.

    Examples
    --------
    >>> repeated_pattern([0, -2, 2, 1, -1, 3, 0, -2, 2])
    ((0, -12, 12), 3)
    """
    occurrences = dict[Pattern, tuple[int, int]]()  # count, end of the last one
    for start in range(len(ev)):
        for length in range(2, min(LONGEST_PATTERN, len(ev) - start) + 1):
            pattern = pattern_of(ev[start : start + length])
            if pattern[-1] in pattern[:-1]:
                break
            count, end = occurrences.get(pattern, (0, 0))
            if start >= end:
                occurrences[pattern] = count + 1, start + length
    # The longest of equal coverage: a bracket of regular steps also repeats shorter patterns.
    best = max(occurrences, key=lambda p: (occurrences[p][0] * len(p), len(p)), default=())
    count = occurrences[best][0] if best else 0
    return (best, count) if count > 2 else ((), 0)


def is_monotone(ev: Sequence[float]) -> bool:
    """Whether exposures only rise or only fall."""
    return len({after > before for before, after in pairwise(ev)}) == 1
