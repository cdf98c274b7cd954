"""Apply a task to many items on all cores or on a cluster, and survive workers that die."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor

from labelgen.core.progress import Progress
from labelgen.pipeline import cluster
from labelgen.pipeline.worker_setup import set_up_worker

Item = TypeVar("Item")
Result = TypeVar("Result")

LOCAL = ("loky", "threading")
MAX_FOR_ONE_JOINER = 12
"""With more workers than this, one process that joins shards would be slower than they are."""
BACKENDS = (*LOCAL, *cluster.CLUSTERS)


def has_many_workers(backend: str, jobs: int | None) -> bool:
    """Whether one process would take longer to join shards than the workers to make them."""
    return backend in cluster.CLUSTERS or (jobs or joblib.cpu_count()) > MAX_FOR_ONE_JOINER


def parallel_map(
    task: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int | None,
    backend: str = "loky",
    scheduler: str = "",
    folder: Path | None = None,
) -> Generator[tuple[int, Result | None]]:
    """Apply a task to items in parallel, and yield results as they are done.

    If a worker dies (the kernel kills it for want of memory, say), the items that were under way
    run again, each alone. An item that kills its worker a second time has the result None; the
    others go on.

    Parameters
    ----------
    task : callable
        Function of one item. It must not raise, nor return None.
    items : sequence
        What to work on. Each item is read shortly before a worker gets it.
    jobs : int or None
        Number of workers. Without a cluster, 1 works in this process. None takes all there are.
    backend : {"loky", "threading", "dask", "ray"}
        Processes or threads of joblib, or a cluster.
    scheduler : str
        Address of the cluster.
    folder : Path, optional
        A folder that the workers of a cluster must be able to reach.

    Yields
    ------
    index : int
        Index of the item.
    result
        What the task returned, or None if it killed its worker twice.

    Raises
    ------
    UserError
        The cluster cannot be reached, or its workers differ from this machine.
    """
    if backend in cluster.CLUSTERS:
        with cluster.pool(backend, scheduler, jobs, folder) as workers:
            died = []
            for i, result in workers.run(task, enumerate(items)):
                if result is None:
                    died.append(i)
                else:
                    yield i, result
            for i in died:
                yield from workers.run(task, [(i, items[i])])
        return
    jobs = jobs or joblib.cpu_count()
    if jobs == 1:
        for i, item in enumerate(items):
            yield _run_item(task, os.getpid(), i, item)
        return
    # joblib keeps at most 2 * jobs items under way, and hands them out in order.
    yield from _survive_crashes(partial(_pool, task, items, jobs, backend), len(items), 2 * jobs)


class BracketResult(Protocol):
    """What became of a bracket."""

    @property
    def rejected(self) -> str:
        """Reason if the bracket cannot be used, otherwise empty."""


OfBracket = TypeVar("OfBracket", bound=BracketResult)


def bracket_results(
    task: Callable[[Any], OfBracket],
    items: Sequence[Any],
    died: Callable[[str], OfBracket],
    jobs: int | None,
    progress: Progress,
) -> Iterator[tuple[int, OfBracket]]:
    """Yield what a task makes of brackets or surveys, with their indices, as they are done.

    Parameters
    ----------
    task : callable
        Applied to each item by the workers of this machine.
    items : sequence of Bracket or Survey
        They have a `name`.
    died : callable
        Returns the result for the name of an item whose worker died.
    jobs : int, optional
        Workers; all cores by default.
    progress : Progress
        Receives a step for every item.
    """
    for i, result in parallel_map(task, items, jobs):
        outcome = result or died(items[i].name)
        progress.step(0, bool(outcome.rejected))
        yield i, outcome


def shut_down_workers(jobs: int | None, backend: str) -> None:
    """Shut down the processes that `parallel_map` keeps for the next call.

    Otherwise they hold their memory for minutes, and this process waits for them when it ends.
    """
    if backend == "loky" and jobs != 1:
        get_reusable_executor(reuse=True).shutdown(wait=False)


def _survive_crashes(
    pool: Callable[[Sequence[int]], Iterator[tuple[int, Result]]], count: int, under_way: int
) -> Iterator[tuple[int, Result | None]]:
    """Yield the results of a pool; start it anew for the rest when a worker dies."""
    waiting = dict.fromkeys(range(count))
    while waiting:
        try:
            for i, result in pool(list(waiting)):
                del waiting[i]
                yield i, result
        except BrokenExecutor:
            for i in list(waiting)[:under_way]:
                del waiting[i]
                try:
                    yield next(pool([i]))
                except BrokenExecutor:
                    yield i, None


def _pool(
    task: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int,
    backend: str,
    indices: Sequence[int],
) -> Iterator[tuple[int, Result]]:
    """Yield results of the items with these indices, from workers of joblib."""
    parallel = joblib.Parallel(
        n_jobs=min(jobs, max(2, len(indices))),
        backend=backend,
        return_as="generator_unordered",
        pre_dispatch="2*n_jobs",
        batch_size=1,
        max_nbytes=None,
    )
    results = parallel(joblib.delayed(_run_item)(task, os.getpid(), i, items[i]) for i in indices)
    try:
        yield from results
    finally:
        with warnings.catch_warnings():  # joblib warns of cancelled items
            warnings.simplefilter("ignore", UserWarning)
            results.close()


def _run_item(
    task: Callable[[Item], Result], parent: int, i: int, item: Item
) -> tuple[int, Result]:
    _exit_with_parent(parent)
    set_up_worker()
    return i, task(item)


@cache
def _exit_with_parent(parent: int) -> None:
    """End this worker process soon after its parent ends, however that happens.

    Otherwise the workers of a build that was killed would finish their items, and then hold their
    memory for minutes.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()
