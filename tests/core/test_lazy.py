"""Sequences that make their items when they are asked for."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labelgen.core.lazy import Each, Shelf

FILES = Path("/proc/self/fd")


def test_a_shelf_holds_what_was_put_by_number() -> None:
    shelf = Shelf[list[int]]()
    for i in (2, 0, 1):
        shelf.put(i, [i] * i)
    shelf.put(1, [7])
    assert list(shelf) == [[], [7], [2, 2]]
    assert shelf[-1] == [2, 2]
    with pytest.raises(IndexError):
        shelf[3]


def test_threads_share_a_shelf() -> None:
    shelf = Shelf.of(str(i) * 1000 for i in range(50))
    with ThreadPoolExecutor(8) as pool:
        for i, found in enumerate(pool.map(lambda i: shelf[i % 50], range(2000))):
            assert found == str(i % 50) * 1000


@pytest.mark.skipif(not FILES.exists(), reason="no list of open files to look at")
def test_a_shelf_leaves_nothing_behind() -> None:
    shelf = Shelf.of(range(10))
    before = len(list(FILES.iterdir()))
    del shelf
    gc.collect()
    assert len(list(FILES.iterdir())) == before - 1


def test_each_makes_items_anew() -> None:
    made: list[int] = []

    def twice(n: int) -> int:
        made.append(n)
        return 2 * n

    doubled = Each(twice, range(5))
    assert (made, len(doubled)) == ([], 5)
    assert (doubled[3], doubled[-1], list(Each(doubled.__getitem__, [4, 0]))) == (6, 8, [8, 0])
    assert made == [3, 4, 4, 0]
