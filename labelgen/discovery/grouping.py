"""Split the photos of one folder into brackets, by what their headers say.

A photo belongs to the bracket that explains it best. Every way of cutting the photos of one
camera, in the order in which they were taken, into brackets and single photos has a cost: pauses
within a bracket, repeated exposures and contradicting notes of the camera cost, and so does a
photo left alone. The cheapest cut is found by dynamic programming, twice: the second time
patterns of exposures that occur again and again cost less, and others more. Costs are in units of
no meaning of their own; docs/brackets.md says what they amount to.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from statistics import median

from labelgen.core.bracket import SAME_EXPOSURE_EV
from labelgen.core.files import natural_key
from labelgen.discovery.grouping_costs import (
    Evidence,
    extend,
    gather_evidence,
    pattern_of,
    repeated_pattern,
)
from labelgen.photos.formats import file_kind
from labelgen.photos.header import PhotoHeader

MAX_FRAMES = 20
"""No camera and hardly a hand takes longer brackets."""
LONGEST_PAUSE_S = 900.0
"""Frames of one bracket follow each other within a quarter of an hour, even by hand."""
SINGLE = 2.2
"""Cost of a photo that is left alone."""
BRACKET, PAIR = 2.0, 3.4
"""Costs of a bracket, and of one of two frames, which chance makes more often than will."""
UNFINISHED = 1.0
"""More for a single photo that the camera took as one of an automatic bracket."""
POPULAR, POPULAR_MAX = 0.7, 2.5
"""A pattern found n times costs POPULAR * log2(n) + 0.3 less, at most POPULAR_MAX."""
HOPELESS = 3.0
"""A bracket that costs this much more than another cut is not read further."""
CLEAR_PAUSE = 3.0
"""Runs of one pattern are told apart by a pause this many times longer than those within them."""

Pattern = tuple[int, ...]
Cut = list[tuple[int, int]]


@dataclass(frozen=True)
class Shot:
    """One photo: file, header and exposure in stops, None where unknown."""

    path: Path
    header: PhotoHeader
    ev: float | None


@dataclass(frozen=True)
class Group:
    """Photos that belong together; `reason` says why they are no whole bracket."""

    photos: tuple[Shot, ...]
    reason: str = ""


def split_roll(photos: Sequence[Shot]) -> list[Group]:
    """Split the photos of one folder into brackets and left-over photos.

    Parameters
    ----------
    photos : sequence of Photo
        All of one folder, in any order.

    Returns
    -------
    list of Group
        Every photo is in exactly one group; photos of a group are in the order in which they were
        taken. One group of all photos if the folder is one bracket, or if no bracket of different
        exposures can be told in a few photos.
    """
    runs = [_in_order(run) for run in _by_camera(photos)]
    known = [[p for p in run if p.ev is not None] for run in runs]
    cuts = [_cut(run, {}) for run in known]
    popular = _vote(known, cuts)
    if popular:
        cuts = [_cut(run, popular) for run in known]
    sets = [c for cut in cuts for c in cut if c[1] - c[0] > 1]
    if not sets and not _are_singles(photos):
        return [Group(tuple(photos))]
    groups = list[Group]()
    usual = _usual_length(sets)
    for run, measured, cut in zip(runs, known, cuts, strict=True):
        groups += [Group((p,), "single photo: no exposure known") for p in run if p.ev is None]
        groups += [
            Group(tuple(measured[a:b]), _reason(measured, a, b, usual, photos)) for a, b in cut
        ]
    return groups


def _vote(runs: Sequence[Sequence[Shot]], cuts: Sequence[Cut]) -> dict[Pattern, int]:
    """Patterns of exposures that occur again and again, and how often.

    Those of 3 or more frames that a first cut found more than once, and of each camera the one
    that repeats throughout its photos.
    """
    votes = Counter(
        pattern_of([p.ev or 0.0 for p in run[a:b]])
        for run, cut in zip(runs, cuts, strict=True)
        for a, b in cut
        if b - a > 2
    )
    popular = {pattern: n for pattern, n in votes.items() if n > 1}
    for run in runs:
        pattern, n = repeated_pattern([p.ev or 0.0 for p in run])
        if n > 1:
            popular[pattern] = max(n, popular.get(pattern, 0))
    # A cut that began at the wrong frame finds the same exposures rotated, and less often.
    shapes = dict[Pattern, Pattern]()
    for pattern in sorted(popular, key=lambda p: -popular[p]):
        shapes.setdefault(tuple(sorted(e - min(pattern) for e in pattern)), pattern)
    return {pattern: popular[pattern] for pattern in shapes.values()}


def _by_camera(photos: Sequence[Shot]) -> list[list[Shot]]:
    """Photos by what cannot change within a bracket: camera, lens, size, kind of file.

    What only one value of occurs is taken to hold for photos that do not state it.
    """

    def stated(values: set[str]) -> str:
        return next(iter(values - {""})) if len(values - {""}) == 1 else ""

    camera = stated({p.header.camera for p in photos})
    serial = stated({p.header.serial for p in photos})
    lens = stated({p.header.lens for p in photos})

    def key(photo: Shot) -> tuple[object, ...]:
        h = photo.header
        size = h.size or (0, 0)
        focal, kind = round(h.focal_mm or 0), file_kind(photo.path)
        return (h.camera or camera, h.serial or serial, h.lens or lens, focal, size, kind)

    return [list(run) for _, run in groupby(sorted(photos, key=key), key=key)]


def _in_order(photos: Sequence[Shot]) -> list[Shot]:
    """In the order in which they were taken, by the clock if all have one, then by name."""
    by_name = sorted(photos, key=lambda p: natural_key(p.path.name))
    if any(p.header.taken is None for p in photos):
        return by_name
    return sorted(by_name, key=lambda p: p.header.taken or 0.0)


def _cut(run: Sequence[Shot], popular: Mapping[Pattern, int]) -> Cut:
    """Where the photos of one camera, in order, fall into brackets and singles."""
    evidence = gather_evidence([(p.path.stem, p.header, p.ev or 0.0) for p in run])
    whole = _as_one(evidence)
    if not whole:
        return _cheapest(evidence, popular)
    if len(whole) == 1 and len(run) > 3 and not evidence.is_regular(0, len(run)):
        cut = _cheapest(evidence, popular)
        if any(pattern_of(evidence.ev[a:b]) in popular for a, b in cut):
            return cut
    return whole


def _as_one(evidence: Evidence) -> Cut:
    """The cut of photos that are one bracket, or runs of one and the same; empty if neither.

    They are one bracket if no exposure repeats, they are not too many or too far apart, and the
    camera's notes do not contradict.
    """
    n = len(evidence.ev)
    ordered = sorted(evidence.ev)
    if not 2 <= n <= MAX_FRAMES or any(b - a < SAME_EXPOSURE_EV for a, b in pairwise(ordered)):
        return []
    if any(pause is not None and pause > LONGEST_PAUSE_S for pause in evidence.pause[1:]):
        return []
    if evidence.contradicts(0, n):
        return []
    return _alike(evidence) or [(0, n)]


def _alike(evidence: Evidence) -> Cut:
    """Runs of one pattern of 3 or more exposures, as of one scene at two bases; or empty.

    Either the pauses between runs are clearly longer than those within, or the exposures of the
    whole do not simply rise or fall.
    """
    ev, n = evidence.ev, len(evidence.ev)
    rises = [b > a for a, b in pairwise(ev)]
    for length in range(3, n // 2 + 1):
        if n % length:
            continue
        cut = [(a, a + length) for a in range(0, n, length)]
        if len({pattern_of(ev[a:b]) for a, b in cut}) > 1:
            continue
        between = [evidence.pause[a] for a, _ in cut[1:]]
        within = [evidence.pause[i] for a, b in cut for i in range(a + 1, b)]
        if len(set(rises)) > 1:
            return cut
        if None not in between and None not in within:
            longest = max(w or 0.0 for w in within)
            if min(b or 0.0 for b in between) > CLEAR_PAUSE * longest + 1:
                return cut
    return []


def _cheapest(evidence: Evidence, popular: Mapping[Pattern, int]) -> Cut:
    """The cut of least cost, by dynamic programming over where the last group begins."""
    n = len(evidence.ev)
    parts, longest = _parts(popular), max(map(len, popular), default=0)
    usual = _usual_gap(evidence, popular)
    best, begin = [0.0] + [math.inf] * n, [0] * (n + 1)
    for start in range(n):
        alone = best[start] + SINGLE + UNFINISHED * (evidence.auto[start] is True)
        if alone < best[start + 1]:
            best[start + 1], begin[start + 1] = alone, start
        state = evidence.start(start)
        for end in range(start + 2, min(n, start + MAX_FRAMES) + 1):
            pause = evidence.pause[end - 1]
            if pause is not None and pause > LONGEST_PAUSE_S:
                break
            state = extend(state, evidence, end - 1)
            if state.repeats > 3 and 2 * state.repeats > end - start:
                break
            if state.span < SAME_EXPOSURE_EV:
                continue
            cost = (
                best[start]
                + (PAIR if end - start == 2 else BRACKET)
                + state.cost(end - start, usual)
            )
            if popular:
                cost += _by_vote(evidence.ev[start:end], popular, parts)
            if cost < best[end]:
                best[end], begin[end] = cost, start
            elif cost > best[end] + HOPELESS and end - start >= longest:
                break
    cut, end = [], n
    while end:
        cut.append((begin[end], end))
        end = begin[end]
    return cut[::-1]


def _parts(popular: Mapping[Pattern, int]) -> set[Pattern]:
    """What is left of popular patterns when frames before or after are missing."""
    return {
        tuple(e - pattern[a] for e in pattern[a:b])
        for pattern in popular
        for a in range(len(pattern))
        for b in range(a + 2, len(pattern) + 1)
    }


def _by_vote(ev: Sequence[float], popular: Mapping[Pattern, int], parts: set[Pattern]) -> float:
    """What a bracket costs less for having a popular pattern, or more for having not even a part.

    One that has its length costs as much as without a vote: cameras vary the steps.
    """
    pattern = pattern_of(ev)
    votes, sign = popular.get(pattern, 0), -1.0
    if not votes:
        if pattern in parts or any(len(p) == len(pattern) for p in popular):
            return 0.0
        votes, sign = max(popular.values()), 0.6
    return sign * min(POPULAR_MAX, POPULAR * math.log2(votes) + 0.3)


def _usual_gap(evidence: Evidence, popular: Mapping[Pattern, int]) -> float | None:
    """Cost of the longest pause within brackets of a popular pattern, as the median of them."""
    longest = []
    for length in {len(pattern) for pattern in popular}:
        for a in range(len(evidence.ev) - length + 1):
            if pattern_of(evidence.ev[a : a + length]) in popular:
                longest.append(max(evidence.gap[a + 1 : a + length]))
    return median(longest) if len(longest) > 1 else None


def _are_singles(photos: Sequence[Shot]) -> bool:
    """Whether photos among which no bracket was found are single ones, not one odd bracket."""
    evs = sorted(p.ev for p in photos if p.ev is not None)
    return len(evs) > 3 and any(b - a >= SAME_EXPOSURE_EV for a, b in pairwise(evs))


def _usual_length(sets: Cut) -> int:
    """Frames that most brackets have, if most have the same number; else 0."""
    lengths = Counter(b - a for a, b in sets)
    if not lengths:
        return 0
    length, votes = lengths.most_common(1)[0]
    return length if votes > 1 and 2 * votes > len(sets) else 0


def _reason(run: Sequence[Shot], a: int, b: int, usual: int, photos: Sequence[Shot]) -> str:
    """Why photos a to b of a run are no whole bracket, or nothing."""
    if b - a > 1:
        short = 1 < b - a < usual
        return f"incomplete? {b - a} frames, most brackets here have {usual}" if short else ""
    photo = run[a]
    if photo.header.auto_bracket:
        return "single photo of an automatic bracket; the others are not here"
    if len(run) > 1:
        neighbours = [p for p in (run[a - 1] if a else None, run[b] if b < len(run) else None) if p]
        gaps = [g for p in neighbours if (g := _apart(p.header, photo.header)) is not None]
        near = f", the nearest is {min(gaps):.0f} s away" if gaps else ""
        return f"single photo: fits no bracket before or after it{near}"
    others = {p.header.size for p in photos if p.header.camera == photo.header.camera}
    if len(others) > 1 and photo.header.size:
        h, w = photo.header.size
        return f"single photo: sizes differ, no other has {w}x{h}"
    return "single photo: no other of this camera, lens and size"


def _apart(a: PhotoHeader, b: PhotoHeader) -> float | None:
    return None if a.taken is None or b.taken is None else abs(a.taken - b.taken)
