"""Lists whose items lie in a temporary file."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labelgen.core.disk_list import DiskList

FILES = Path("/proc/self/fd")


def test_it_holds_what_was_appended() -> None:
    items = DiskList[list[int]]([[], [7]])
    items.append([2, 2])
    assert list(items) == [[], [7], [2, 2]]
    assert items[-1] == [2, 2]
    items[1].append(8)
    assert items[1] == [7]
    with pytest.raises(IndexError):
        items[3]


def test_a_selection_has_an_order_of_its_own_and_outlives_its_list() -> None:
    items = DiskList(range(10))
    some = items.select([4, 0, 9])
    items.append(10)
    some.append(11)
    del items
    gc.collect()
    assert list(some) == [4, 0, 9, 11]
    assert list(some.select([3, 1])) == [11, 0]


def test_threads_share_a_list() -> None:
    items = DiskList(str(i) * 1000 for i in range(50))
    with ThreadPoolExecutor(8) as pool:
        for i, found in enumerate(pool.map(lambda i: items[i % 50], range(2000))):
            assert found == str(i % 50) * 1000


@pytest.mark.skipif(not FILES.exists(), reason="no list of open files to look at")
def test_it_leaves_nothing_behind() -> None:
    items = DiskList(range(10))
    selected = items.select([1])
    before = len(list(FILES.iterdir()))
    del items
    gc.collect()
    assert len(list(FILES.iterdir())) == before
    del selected
    gc.collect()
    assert len(list(FILES.iterdir())) == before - 1
