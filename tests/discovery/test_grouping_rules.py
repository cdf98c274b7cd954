"""Every cost and limit of grouping has a roll that is split wrongly without it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from labelgen.discovery.grouping import Shot, split_roll
from labelgen.photos.header import PhotoHeader

Taken = tuple[float | None, float]
"""Seconds at which a photo is taken (None without clock), and EV relative to 1/64 s."""


def shot(number: int, at: float | None, ev: float = 0.0, name: str = "", **header: Any) -> Shot:
    """A photo of a camera whose clock has whole seconds; by default only its time varies."""
    stated = {
        "camera": "Maker C-1",
        "time_s": 2.0 ** (ev - 6),
        "fnumber": 5.6,
        "iso": 100.0,
        "taken": None if at is None else float(math.floor(at)),
    } | header
    exposure = stated["time_s"] * stated["iso"] / stated["fnumber"] ** 2
    path = Path(f"{name or f'IMG_{number:04d}'}.JPG")
    return Shot(path, PhotoHeader((8, 12), **stated), math.log2(exposure))


def shots(taken: Sequence[Taken], first: int = 1) -> list[Shot]:
    return [shot(i, at, ev) for i, (at, ev) in enumerate(taken, first)]


def burst(at: float, evs: Sequence[float], pause: float = 0.3) -> list[Taken]:
    """Frames that follow each other by a pause after the end of the exposure before."""
    taken = list[Taken]()
    for ev in evs:
        taken.append((at, ev))
        at += 2.0 ** (ev - 6) + pause
    return taken


def without_clock(evs: Sequence[float]) -> list[Taken]:
    return [(None, ev) for ev in evs]


def lengths(photos: Sequence[Shot]) -> list[int]:
    """Frames of each group, in order; a group is a run of the photos."""
    order = {photo.path: i for i, photo in enumerate(photos)}
    groups = sorted(sorted(order[p.path] for p in g.photos) for g in split_roll(photos))
    assert [i for group in groups for i in group] == [*range(len(photos))]
    return [len(group) for group in groups]


def test_a_bracket_of_which_a_frame_was_deleted_stays_together() -> None:
    """The camera brackets by itself; the second frame of the second bracket is missing."""
    photos = list[Shot]()
    for k in range(4):
        for (at, ev), step in zip(burst(60 * k, (k, k - 2, k + 2)), (0, -2, 2), strict=True):
            if (k, step) != (1, -2):
                auto = {"auto_bracket": True, "bias_ev": float(step)}
                photos.append(shot(len(photos), at, ev, **auto))
    assert lengths(photos) == [3, 2, 3, 3]


def test_single_photos_between_automatic_brackets_stay_single() -> None:
    """Three seconds apart and of different exposure, but with bracketing switched off."""
    taken = [*burst(0, (0, -2, 2)), *burst(30, (1, -1, 3)), (90, 0.0), (93, 1.3), (96, -1.0)]
    taken += burst(120, (0, -2, 2))
    photos = [shot(i, at, ev, auto_bracket=not 6 <= i < 9) for i, (at, ev) in enumerate(taken)]
    assert lengths(photos) == [3, 3, 1, 1, 1, 3]


def test_cameras_that_do_not_note_the_step_may_bracket_by_themselves() -> None:
    """The bias of all frames is that of the photographer."""
    taken = burst(0, (0, -2, 2)) + burst(60, (1, -1, 3))
    photos = [shot(i, at, ev, auto_bracket=True, bias_ev=0.7) for i, (at, ev) in enumerate(taken)]
    assert lengths(photos) == [3, 3]


def test_quick_photos_of_one_exposure_are_no_bracket() -> None:
    """As of something that moves, beside two brackets."""
    taken = burst(0, (0, -2, 2)) + burst(60, (1, 1, 1, 1)) + burst(120, (0, -3, 3))
    assert lengths(shots(taken)) == [3, 1, 1, 1, 1, 3]


def test_a_walk_with_automatic_exposure_is_no_bracket() -> None:
    """Time, aperture and ISO all change from photo to photo, three seconds apart."""
    settings = [(1 / 60, 5.6, 100.0), (1 / 125, 8.0, 100.0), (1 / 30, 4.0, 200.0)]
    walk = [
        shot(i, 3 * i, time_s=time, fnumber=fnumber, iso=iso)
        for i, (time, fnumber, iso) in enumerate(settings)
    ]
    brackets = shots(burst(60, (0, -2, 2)) + burst(100, (0, -2, 2)), first=3)
    assert lengths(walk + brackets) == [1, 1, 1, 3, 3]


def test_without_clock_a_jump_of_file_numbers_is_a_pause() -> None:
    photos = shots(without_clock((0, -2, 2)), 1)
    photos += shots(without_clock((1, -2, 3)), 40)
    photos += shots(without_clock((0, -1, 2)), 90)
    assert lengths(photos) == [3, 3, 3]


def test_without_clock_scenes_may_be_told_by_file_names() -> None:
    scenes = {"hall": (0, -2, 2), "pier": (-1, -2, 3, 1), "yard": (0, -1, 1)}
    photos = [
        shot(i, None, ev, f"{scene}_{i}")
        for scene, evs in scenes.items()
        for i, ev in enumerate(evs)
    ]
    assert lengths(photos) == [3, 4, 3]


def test_without_clock_repeated_exposures_tell_brackets() -> None:
    """No pattern occurs twice."""
    assert lengths(shots(without_clock((0, -2, 2, 2, 0, -2, -2, 0, 2)))) == [3, 3, 3]


def test_without_clock_brackets_of_alternating_base_are_not_joined() -> None:
    """Five frames each; ten of different exposure occur three times, five of them six times."""
    pattern = (0, -1, 1, -2, 2)
    evs = [base + ev for base in (0, 0.5) * 3 for ev in pattern]
    assert lengths(shots(without_clock(evs))) == [5] * 6


def test_photos_of_different_days_are_no_bracket() -> None:
    taken: list[Taken] = [(0, 0), (4_000, 1), (90_000, -1), (180_000, 3)]
    assert lengths(shots(taken)) == [1, 1, 1, 1]


def test_a_folder_of_ordinary_photos_holds_no_bracket() -> None:
    taken: list[Taken] = [(60.0 * k, ev) for k, ev in enumerate((0, 1, 0, 2, 1, -1))]
    assert lengths(shots(taken)) == [1] * 6


def test_no_bracket_is_longer_than_the_limit() -> None:
    """Photos of different exposure in quick succession, as of a sunset."""
    evs = np.random.default_rng(0).permutation(25) / 3
    taken: list[Taken] = [(2.0 * k, float(ev)) for k, ev in enumerate(evs)]
    assert max(lengths(shots(taken))) <= 20


def test_brackets_of_one_pattern_are_found_though_no_exposure_repeats() -> None:
    """Four brackets at four bases, and a single photo."""
    taken = [(90.0, 5.0)]
    for k, base in enumerate((0, 0.7, 1.3, 1.7)):
        taken += burst(60 * k, (base, base - 2, base + 2.2))
    assert lengths(shots(sorted(taken))) == [3, 3, 1, 3, 3]


def test_one_slow_bracket_is_not_cut_at_its_longest_pause() -> None:
    """Six frames set by hand; two runs of three have one pattern, but no clear pause between."""
    taken: list[Taken] = [(0, -3), (4, -2), (8, -1), (16, 0), (21, 1), (26, 2)]
    assert lengths(shots(taken)) == [6]


def test_a_long_bracket_of_regular_steps_is_not_several_short_ones() -> None:
    assert lengths(shots([(9 * k, k - 6) for k in range(12)])) == [12]


def test_a_clock_of_whole_seconds_makes_no_clear_pause() -> None:
    """Nine frames in three seconds are three runs of one pattern."""
    assert lengths(shots([(k // 3, k - 4) for k in range(9)])) == [9]


def test_photos_whose_exif_states_one_exposure_stay_together() -> None:
    """As of a set that was edited; its user has to state the exposures."""
    assert lengths(shots([(20 * k, 0.0) for k in range(5)])) == [5]


def test_long_exposures_do_not_count_as_pauses() -> None:
    """Starts are up to 65 s apart, and frames follow within a second."""
    taken = burst(0, (11, 12, 10), 1) + burst(170, (11, 12, 10.3), 1)
    assert lengths(shots(taken)) == [3, 3]


def test_a_few_seconds_between_frames_are_no_pause() -> None:
    """A person releases each frame, two to three seconds after the last."""
    taken = burst(0, (0, -2, 2), 2) + burst(60, (0, -2, 2), 2.5) + burst(120, (0, -2, 2), 3)
    assert lengths(shots(taken)) == [3, 3, 3]


def test_a_pause_that_stands_out_within_a_bracket_ends_it() -> None:
    """Ten seconds between two brackets of different patterns without a common exposure."""
    taken = burst(0, (0, -2, 2)) + burst(10, (1, -1, 3, -3)) + burst(100, (0, -3, 3))
    assert lengths(shots(taken)) == [3, 4, 3]


def test_a_pause_that_is_unusual_for_the_camera_is_not_within_a_bracket() -> None:
    """Two single photos five seconds apart, with the exposures of a part of the usual pattern."""
    taken = [s for k in range(3) for s in burst(60 * k, (0, -2, 2))]
    assert lengths(shots([*taken, (180, 0), (185, -2)])) == [3, 3, 3, 1, 1]


def test_photos_that_fit_no_usual_pattern_are_single() -> None:
    taken = burst(0, (0, -2, 2)) + burst(60, (0, -2, 2))
    assert lengths(shots([*taken, (100, 0), (108, 0.7), (116, 1.7)])) == [3, 3, 1, 1, 1]


def test_a_pattern_that_recurs_by_chance_in_a_large_roll_is_not_usual() -> None:
    taken = [s for k in range(20) for s in burst(60 * k, (0, -2, 2))]
    for at in (1300, 1400):
        taken += [(at, 0), (at + 10, 0.7), (at + 20, 1.7)]
    assert lengths(shots(taken)) == [3] * 20 + [1] * 6


def test_patterns_are_alike_though_exposures_vary_a_little() -> None:
    """As of a phone, whose times are no marks; a single photo is two seconds before a bracket."""
    taken = list[Taken]()
    for k, jitter in enumerate((0.0, 0.04, -0.03, 0.02, -0.04, 0.03)):
        if k == 3:
            taken.append((178, 0.7))
        taken += burst(60 * k + (k > 2), (jitter, -2, 2 - jitter / 2))
    assert lengths(shots(taken)) == [3, 3, 3, 1, 3, 3, 3]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_very_few_photos(count: int) -> None:
    assert sum(lengths(shots([(k, 2.0 * k) for k in range(count)]))) == count


def test_what_is_left_over_after_whole_brackets_comes_last() -> None:
    """Without a clock: the last photo begins a bracket, and neither ends the one before nor
    makes the first photo of the roll the odd one."""
    assert lengths(shots(without_clock([0, -2, -4, 0, -2, -4, 0]))) == [3, 3, 1]
