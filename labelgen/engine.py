"""Run one task over many items on all cores, and survive what kills a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from typing import TypeVar

import cv2
import joblib

Item = TypeVar("Item")
Result = TypeVar("Result")

BACKENDS = ("loky", "threading")


def run(
    task: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int,
    backend: str = "loky",
) -> Iterator[tuple[int, Result | None]]:
    """Apply a task to items in parallel; results come as they are done.

    A worker that dies (killed for memory, say) takes the pool with it. The items that were
    under way then run again, each alone in a pool of its own; one that kills its worker again
    has the result None, and the others go on.

    Parameters
    ----------
    task : callable
        Of one item. It must not raise.
    items : sequence
        What to work on.
    jobs : int
        Workers; 1 works in this process.
    backend : {"loky", "threading"}
        Of joblib: processes or threads.

    Yields
    ------
    index : int
        Of the item.
    result
        What the task returned, or None if it killed its worker twice.
    """
    if jobs == 1:
        for i, item in enumerate(items):
            yield _one(task, i, item)
        return
    waiting = list(range(len(items)))
    while waiting:
        try:
            for i, result in _pool(task, items, waiting, jobs, backend):
                waiting.remove(i)
                yield i, result
        except BrokenExecutor:
            # joblib keeps at most 2 * jobs items under way, and hands them out in order.
            for i in waiting[: 2 * jobs]:
                waiting.remove(i)
                try:
                    yield next(_pool(task, items, [i], 2, backend))
                except BrokenExecutor:
                    yield i, None


def _pool(
    task: Callable[[Item], Result],
    items: Sequence[Item],
    chosen: list[int],
    jobs: int,
    backend: str,
) -> Iterator[tuple[int, Result]]:
    parallel = joblib.Parallel(
        n_jobs=jobs,
        backend=backend,
        return_as="generator_unordered",
        pre_dispatch="2*n_jobs",
        batch_size=1,
        max_nbytes=None,
    )
    results: Iterator[tuple[int, Result]] = parallel(
        joblib.delayed(_one)(task, i, items[i]) for i in list(chosen)
    )
    return results


def _one(task: Callable[[Item], Result], i: int, item: Item) -> tuple[int, Result]:
    cv2.setNumThreads(1)  # as many workers as cores already
    return i, task(item)
