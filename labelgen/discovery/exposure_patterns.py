"""Patterns of exposures: brackets taken with one camera setting have the same pattern."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

STEP_EV = 1 / 6
"""Patterns are compared in sixths of a stop, since cameras step by thirds or halves."""
MAX_PATTERN_FRAMES = 9
"""Most frames of a pattern that `repeated_pattern` finds: automatic bracketing takes no more."""

Pattern = tuple[int, ...]
"""Exposures of consecutive frames relative to the first, in units of `STEP_EV`."""


def pattern_of(ev: Sequence[float]) -> Pattern:
    """Pattern of exposures, which are given in stops.

    Examples
    --------
    >>> pattern_of([-1.0, -3.0, 1.0]) == pattern_of([0.0, -2.0, 2.0]) == (0, -12, 12)
    True
    """
    return tuple(round((e - ev[0]) / STEP_EV) for e in ev)


def parts_of(patterns: Collection[Pattern]) -> set[Pattern]:
    """Patterns of all runs of two or more consecutive frames of the given patterns.

    A whole pattern is one of its runs.

    Examples
    --------
    >>> sorted(parts_of([(0, -12, 12)]))
    [(0, -12), (0, -12, 12), (0, 24)]
    """
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
        Empty if no pattern occurs three times.
    count : int
        How often it occurs without overlap; 0 if it is empty.

    Examples
    --------
    >>> repeated_pattern([0, -2, 2, 1, -1, 3, 0, -2, 2])
    ((0, -12, 12), 3)
    """
    occurrences = dict[Pattern, tuple[int, int]]()  # count, and where the last one ends
    for start in range(len(ev)):
        for length in range(2, min(MAX_PATTERN_FRAMES, len(ev) - start) + 1):
            pattern = pattern_of(ev[start : start + length])
            if pattern[-1] in pattern[:-1]:
                break
            count, end = occurrences.get(pattern, (0, 0))
            if start >= end:
                occurrences[pattern] = count + 1, start + length
    # Of equal coverage the longest wins: a bracket of regular steps also repeats shorter patterns.
    best = max(occurrences, key=lambda p: (occurrences[p][0] * len(p), len(p)), default=())
    count = occurrences[best][0] if best else 0
    return (best, count) if count > 2 else ((), 0)


def is_monotone(ev: Sequence[float]) -> bool:
    """Whether exposures only rise or only fall."""
    return len({after > before for before, after in pairwise(ev)}) == 1
