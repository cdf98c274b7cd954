from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from labelgen.engine import run


def square(x: int) -> int:
    return x * x


def deadly(x: int) -> int:
    """Kills its worker at 3, as the system does to one that takes too much memory."""
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x * x


def deadly_once(item: tuple[int, str]) -> int:
    x, marker = item
    if x == 2 and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return x


@pytest.mark.parametrize(("jobs", "backend"), [(1, "loky"), (2, "loky"), (2, "threading")])
def test_every_item_is_done_once(jobs: int, backend: str) -> None:
    results = list(run(square, range(12), jobs, backend))
    assert sorted(results) == [(i, i * i) for i in range(12)]


def test_a_task_that_kills_its_worker_costs_only_itself() -> None:
    results = dict(run(deadly, range(9), 2))
    assert results == {i: None if i == 3 else i * i for i in range(9)}


def test_a_worker_that_dies_once_costs_nothing(tmp_path: Path) -> None:
    items = [(i, str(tmp_path / "died")) for i in range(6)]
    assert dict(run(deadly_once, items, 2)) == {i: i for i in range(6)}


def test_nothing_to_do() -> None:
    assert list(run(square, [], 2)) == []
