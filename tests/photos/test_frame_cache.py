"""Frames that are decoded once for the survey and the making: the same pixels, and only of now."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from labelgen.core.bracket import Bracket, Frame
from labelgen.core.files import sha256
from labelgen.photos.decode import Photo, decode_photo
from labelgen.photos.frame_cache import cache_path, cache_paths, pop_frames, store_frames
from labelgen.photos.frames import Frames
from labelgen.pipeline.build import build


def some_frames(depth: type, *, linear: bool = False) -> Frames:
    rng = np.random.default_rng(7)
    codes = tuple(rng.integers(0, 255, (20, 30, 3)).astype(depth) for _ in range(3))
    return Frames(codes, linear, (1, 2))


@pytest.mark.parametrize("frames", [some_frames(np.uint8), some_frames(np.uint16, linear=True)])
def test_frames_are_taken_once_as_they_were_kept(tmp_path: Path, frames: Frames) -> None:
    path = cache_path(tmp_path, "trip 1/é 2")
    store_frames(frames, path)
    taken = pop_frames(path, 3)
    assert taken is not None
    assert (taken.linear, taken.sampling) == (frames.linear, frames.sampling)
    for one, other in zip(taken.codes, frames.codes, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert pop_frames(path, 3) is None
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_kept_is_decoded_again(tmp_path: Path) -> None:
    path = tmp_path / "no such folder" / "a.frames.tmp"
    store_frames(some_frames(np.uint8), path)
    assert pop_frames(path, 3) is None


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_what_was_not_kept_to_the_end_is_decoded_again(tmp_path: Path, share: float) -> None:
    """Whoever kept it may have been killed over it."""
    path = cache_path(tmp_path, "a")
    store_frames(some_frames(np.uint16), path)
    os.truncate(path, int(share * path.stat().st_size))
    assert pop_frames(path, 3) is None


def test_no_more_is_kept_than_there_is_room_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelgen.photos.frame_cache.MAX_CACHED", 2.5 * 3 * 3 * 100 * 200)
    brackets = [
        Bracket(name, tmp_path, (Frame(tmp_path / "0.jpg"),), size)
        for name, size in (
            ("a", (100, 200)),
            ("unknown", None),
            ("large", (1000, 2000)),
            ("b", (100, 200)),
            ("c", (100, 200)),
        )
    ]
    kept = cache_paths(brackets, 3, tmp_path)
    assert [path is not None for path in kept] == [True, False, False, True, False]


@pytest.mark.parametrize(("most", "times"), [(2e9, 1), (0.0, 2)])
def test_kept_frames_are_decoded_once_and_change_nothing(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: float, times: int
) -> None:
    decoded: Counter[str] = Counter()

    def counted(path: Path) -> Photo:
        decoded[path.parent.name] += 1
        return decode_photo(path)

    monkeypatch.setattr("labelgen.photos.frames.decode_photo", counted)
    monkeypatch.setattr("labelgen.calibration.survey.MIN_DECODE_TIME", -1.0)
    monkeypatch.setattr("labelgen.photos.frame_cache.MAX_CACHED", most)
    build(raw, tmp_path / "out.h5", jobs=1)
    assert set(decoded.values()) == {3 * times}
    monkeypatch.setattr("labelgen.calibration.survey.MIN_DECODE_TIME", np.inf)
    build(raw, tmp_path / "plain.h5", jobs=1)
    assert sha256(tmp_path / "out.h5") == sha256(tmp_path / "plain.h5")


def test_what_an_earlier_build_kept_is_never_read(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelgen.calibration.survey.MIN_DECODE_TIME", np.inf)
    out = tmp_path / "out.h5"
    work = tmp_path / "out.h5.partial"
    work.mkdir()
    black = Frames(tuple(np.zeros((200, 280, 3), np.uint16) for _ in range(3)), False)
    store_frames(black, cache_path(work, "static"))
    build(raw, out, jobs=1, resume=True)
    build(raw, tmp_path / "plain.h5", jobs=1)
    assert sha256(out) == sha256(tmp_path / "plain.h5")
