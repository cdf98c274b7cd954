"""Split the photos of one folder into brackets, from their headers alone.

The photos of each camera, in the order taken, are cut into brackets and single photos. Every cut
has a cost, the sum of the costs of its pieces (`labelgen.discovery.grouping_costs`): long pauses,
repeated exposures and settings that a person would not change make a bracket costly. The cheapest
cut is found by dynamic programming, as in optimal partitioning [1]_: state n is "the first n photos
are cut", and its least cost is the minimum over all last pieces of the least cost before that piece
plus the cost of the piece. Then the patterns of exposures that occur several times are counted, and
the roll is cut once more: a bracket with such a pattern costs less, and any other costs more.

References
----------
.. [1] B. Jackson et al., "An algorithm for optimal partitioning of data on an interval", IEEE
   Signal Processing Letters 12(2), 2005. https://doi.org/10.1109/LSP.2001.838216
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median

from labelgen.core.bracket import SAME_EXPOSURE_EV
from labelgen.core.files import natural_key
from labelgen.discovery.exposure_patterns import (
    Pattern,
    is_monotone,
    parts_of,
    pattern_of,
    repeated_pattern,
)
from labelgen.discovery.grouping_costs import MAX_FRAMES, Roll, count_repeats, read_roll
from labelgen.photos.formats import file_kind
from labelgen.photos.header import PhotoHeader

POPULAR_DISCOUNT = 4.4
"""A bracket of a popular pattern costs this much less. One that is not even a part of a popular
pattern costs this much more."""
MIN_SHARE = 1 / 8
"""A pattern is popular if it occurs at least twice, and at least this many times as often as the
most frequent one: among many photos some patterns recur by chance."""
CLEAR_PAUSE = 3.0
"""Runs of one pattern are brackets of their own if every pause between them is more than this many
times as long as any pause within them."""

TIE = 1e-9
"""Costs that differ by less count as equal: they are sums in different orders, which round
differently."""

Cut = list[tuple[int, int]]
"""Start and end of every piece of a roll."""


@dataclass(frozen=True)
class Shot:
    """One photo of a folder."""

    path: Path
    header: PhotoHeader
    ev: float | None
    """Exposure in stops; None if unknown."""


@dataclass(frozen=True)
class Group:
    """Photos that belong together."""

    photos: tuple[Shot, ...]
    """In the order taken."""
    reason: str = ""
    """Why they are not a complete bracket; empty if they are one."""


def split_roll(photos: Sequence[Shot]) -> list[Group]:
    """Split the photos of one folder into brackets and single photos.

    Parameters
    ----------
    photos : sequence of Shot
        All photos of the folder, in any order.

    Returns
    -------
    list of Group
        Every photo is in exactly one. All photos are one group if the folder is one bracket, or if
        it has no bracket and at most three photos or one exposure.
    """
    cameras = [_sort_by_time(shots) for shots in _by_camera(photos)]
    exposed = [[p for p in shots if p.ev is not None] for shots in cameras]
    rolls = [read_roll([(p.path.stem, p.header, p.ev or 0.0) for p in run]) for run in exposed]
    cuts = [_cut(roll, set()) for roll in rolls]
    popular = _popular_patterns(rolls, cuts)
    if popular:
        cuts = [_cut(roll, popular) for roll in rolls]
    lengths = [end - start for cut in cuts for start, end in cut if end - start > 1]
    if not lengths and not _are_singles(photos):
        return [Group(tuple(photos))]
    usual_length = _usual_length(lengths)
    groups = list[Group]()
    for shots, run, cut in zip(cameras, exposed, cuts, strict=True):
        groups += [Group((p,), "single photo: no exposure known") for p in shots if p.ev is None]
        for start, end in cut:
            reason = _reason(run, start, end, usual_length, photos)
            groups.append(Group(tuple(run[start:end]), reason))
    return groups


def _by_camera(photos: Sequence[Shot]) -> list[list[Shot]]:
    """Photos by what cannot change within a bracket: camera, lens, size, kind of file."""

    def key(photo: Shot) -> tuple[object, ...]:
        h = photo.header
        focal = round(h.focal_mm or 0)
        return (h.camera, h.serial, h.lens, focal, h.size or (0, 0), file_kind(photo.path))

    return [list(shots) for _, shots in groupby(sorted(photos, key=key), key=key)]


def _sort_by_time(photos: Sequence[Shot]) -> list[Shot]:
    """Photos in the order taken: by the clock if all have a time, and then by name."""
    by_name = sorted(photos, key=lambda p: natural_key(p.path.name))
    if any(p.header.taken is None for p in photos):
        return by_name
    return sorted(by_name, key=lambda p: p.header.taken or 0.0)


def _cut(roll: Roll, popular: Collection[Pattern]) -> Cut:
    """Cut a roll into brackets and single photos.

    A roll that can be one bracket is one, however long its pauses, unless it holds a bracket of a
    popular pattern or is made of equal runs.
    """
    n = len(roll.ev)
    if not 2 <= n <= MAX_FRAMES or count_repeats(roll.ev) or roll.max_end(0) < n:
        return _cheapest_cut(roll, popular)
    if runs := _equal_runs(roll):
        return runs
    cut = _cheapest_cut(roll, popular)
    if any(pattern_of(roll.ev[start:end]) in popular for start, end in cut):
        return cut
    return [(0, n)]


def _equal_runs(roll: Roll) -> Cut:
    """Runs of one pattern of 3 or more exposures, as of one scene at two base exposures, if any.

    Either the pauses between runs are clearly longer than those within, or the exposures of the
    whole do not simply rise or fall.
    """
    n = len(roll.ev)
    for length in range(3, n // 2 + 1):
        cut = [(start, start + length) for start in range(0, n, length)]
        if n % length or len({pattern_of(roll.ev[start:end]) for start, end in cut}) > 1:
            continue
        if not is_monotone(roll.ev):
            return cut
        between = [roll.pause_s[start] for start, _ in cut[1:]]
        within = [roll.pause_s[i] for start, end in cut for i in range(start + 1, end)]
        if None in between or None in within:
            continue
        longest = max(pause or 0.0 for pause in within)
        shortest = min(pause or 0.0 for pause in between) - 1  # clocks may have whole seconds
        if shortest > CLEAR_PAUSE * longest:
            return cut
    return []


def _cheapest_cut(roll: Roll, popular: Collection[Pattern]) -> Cut:
    """Find the cut of least cost by dynamic programming."""
    n = len(roll.ev)
    parts, usual = parts_of(popular), _usual_pause_cost(roll, popular)
    least, start_of_last = [0.0] + [math.inf] * n, [0] * (n + 1)

    def offer(start: int, end: int, cost: float) -> None:
        # Of equal cuts, take the one with the shortest last piece: remaining photos come last.
        if least[start] + cost < least[end] + TIE:
            least[end], start_of_last[end] = least[start] + cost, start

    for start in range(n):
        offer(start, start + 1, roll.single_cost(start))
        for end in range(start + 2, roll.max_end(start) + 1):
            ev = roll.ev[start:end]
            if max(ev) - min(ev) < SAME_EXPOSURE_EV:
                continue
            pattern = pattern_of(ev)
            cost = roll.bracket_cost(start, end, usual)
            if pattern in popular:
                cost -= POPULAR_DISCOUNT
            elif popular and pattern not in parts:
                cost += POPULAR_DISCOUNT
            offer(start, end, cost)
    cut, end = [], n
    while end:
        cut.append((start_of_last[end], end))
        end = start_of_last[end]
    return cut[::-1]


def _popular_patterns(rolls: Sequence[Roll], cuts: Sequence[Cut]) -> set[Pattern]:
    """Patterns of exposures that occur several times.

    The brackets of 3 or more frames in the first cut are counted by pattern. The pattern that
    covers most of the photos of a camera by repeating counts at least as often as it repeats.
    """
    counts = Counter(
        pattern_of(roll.ev[start:end])
        for roll, cut in zip(rolls, cuts, strict=True)
        for start, end in cut
        if end - start > 2
    )
    for roll in rolls:
        pattern, count = repeated_pattern(roll.ev)
        counts[pattern] = max(count, counts[pattern])
    least = max(2, MIN_SHARE * max(counts.values(), default=0))
    return {pattern for pattern, count in counts.items() if count >= least}


def _usual_pause_cost(roll: Roll, popular: Collection[Pattern]) -> float | None:
    """Median over the brackets of popular patterns of the cost of their longest pause.

    It is None if there are fewer than two.
    """
    longest = [
        max(roll.pause_cost[start + 1 : start + length])
        for length in {len(pattern) for pattern in popular}
        for start in range(len(roll.ev) - length + 1)
        if pattern_of(roll.ev[start : start + length]) in popular
    ]
    return median(longest) if len(longest) > 1 else None


def _are_singles(photos: Sequence[Shot]) -> bool:
    """Whether photos without any bracket are single photos, and not one odd bracket."""
    evs = [p.ev for p in photos if p.ev is not None]
    return len(evs) > 3 and max(evs) - min(evs) >= SAME_EXPOSURE_EV


def _usual_length(lengths: Sequence[int]) -> int:
    """Number of frames that more than half of the brackets have; 0 if there is none."""
    length, count = Counter(lengths).most_common(1)[0] if lengths else (0, 0)
    return length if count > 1 and 2 * count > len(lengths) else 0


def _reason(
    run: Sequence[Shot], start: int, end: int, usual_length: int, photos: Sequence[Shot]
) -> str:
    """Why a piece of a run is not a complete bracket; "" if it is one."""
    frames = end - start
    if 1 < frames < usual_length:
        return f"incomplete? {frames} frames, most brackets here have {usual_length}"
    if frames > 1:
        return ""
    photo = run[start]
    if photo.header.auto_bracket:
        return "single photo of an automatic bracket; the others are not here"
    if len(run) > 1:
        neighbours = [*run[max(0, start - 1) : start], *run[end : end + 1]]
        gaps = [g for p in neighbours if (g := _seconds(p.header, photo.header)) is not None]
        near = f", the nearest is {min(gaps):.0f} s away" if gaps else ""
        return f"single photo: fits no bracket before or after it{near}"
    sizes = {p.header.size for p in photos if p.header.camera == photo.header.camera}
    if len(sizes) > 1 and photo.header.size:
        h, w = photo.header.size
        return f"single photo: sizes differ, no other has {w}x{h}"
    return "single photo: no other of this camera, lens and size"


def _seconds(a: PhotoHeader, b: PhotoHeader) -> float | None:
    return None if a.taken is None or b.taken is None else abs(a.taken - b.taken)
