"""Run one task over many items on all cores or a cluster, and survive what kills a worker."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import BrokenExecutor
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import joblib
from joblib.externals.loky import get_reusable_executor

from labelgen.pipeline import cluster
from labelgen.pipeline.worker_setup import set_up_worker

Item = TypeVar("Item")
Result = TypeVar("Result")

LOCAL = ("loky", "threading")
MAX_FOR_ONE_JOINER = 12
"""Workers that together take longer to make brackets than one process to join them."""
BACKENDS = (*LOCAL, *cluster.CLUSTERS)


def has_many_workers(backend: str, jobs: int | None) -> bool:
    """Whether there are so many workers that what one process does takes longer than all else."""
    return backend in cluster.CLUSTERS or (jobs or joblib.cpu_count()) > MAX_FOR_ONE_JOINER


def parallel_map(
    task: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int | None,
    backend: str = "loky",
    scheduler: str = "",
    folder: Path | None = None,
) -> Generator[tuple[int, Result | None]]:
    """Apply a task to items in parallel; results come as they are done.

    A worker that dies (killed for memory, say) takes with it what it was doing, and locally the
    whole pool. What was under way then runs again, each item alone; one that kills its worker
    again has the result None, and the others go on.

    Parameters
    ----------
    task : callable
        Of one item. It must not raise, nor return None.
    items : sequence
        What to work on; asked for one after another, shortly before it is handed out.
    jobs : int or None
        Workers; 1 works in this process (locally). None takes all there are.
    backend : {"loky", "threading", "dask", "ray"}
        Processes or threads of joblib, or a cluster.
    scheduler : str
        Address of the cluster.
    folder : Path, optional
        A folder that workers of a cluster have to see as well.

    Yields
    ------
    index : int
        Of the item.
    result
        What the task returned, or None if it killed its worker twice.

    Raises
    ------
    UserError
        The cluster cannot be reached, or its workers are not as this machine is.
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


def shut_down_workers(jobs: int | None, backend: str) -> None:
    """Let go of processes that `parallel_map` keeps for what comes next, and of what they hold.

    Otherwise they do so when this process ends, which waits for them, or after minutes.
    """
    if backend == "loky" and jobs != 1:
        get_reusable_executor(reuse=True).shutdown(wait=False)


def _survive_crashes(
    pool: Callable[[Sequence[int]], Iterator[tuple[int, Result]]], count: int, under_way: int
) -> Iterator[tuple[int, Result | None]]:
    """Results of a pool that breaks when a worker dies, and is begun anew for the rest."""
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
    numbers: Sequence[int],
) -> Iterator[tuple[int, Result]]:
    """Results for the items of some numbers."""
    parallel = joblib.Parallel(
        n_jobs=min(jobs, max(2, len(numbers))),
        backend=backend,
        return_as="generator_unordered",
        pre_dispatch="2*n_jobs",
        batch_size=1,
        max_nbytes=None,
    )
    results = parallel(joblib.delayed(_run_item)(task, os.getpid(), i, items[i]) for i in numbers)
    try:
        yield from results
    finally:
        with warnings.catch_warnings():  # of what is cancelled: who stops here knows
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
    """End this process, a worker, soon after its parent, however that ends.

    Otherwise workers of a build that was killed would finish what they do, and then hold their
    memory for minutes.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    if os.getppid() == parent:
        threading.Thread(target=watch, daemon=True).start()
