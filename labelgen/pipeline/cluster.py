"""Workers on other machines: Dask and Ray, over a file system that all of them share.

Both are handed a few items more than they have workers, so that a million brackets don't wait in
the memory of a scheduler.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from labelgen.core.errors import UserError
from labelgen.core.versions import generator
from labelgen.pipeline.worker_setup import set_up_worker

CLUSTERS = ("dask", "ray")
PATIENCE_S = 30
"""A scheduler that does not answer for so long is not there."""
AHEAD = 2
"""Items handed out per worker, the one under way included."""


Item = tuple[int, Any]
Work = Callable[[Any], Any]


class Pool(Protocol):
    """Workers of a cluster."""

    def run(self, task: Work, items: Iterable[Item]) -> Iterator[Item]:
        """Numbers of items and what the task made of them, as they are done.

        None in place of a result where the worker died.

        Raises
        ------
        UserError
            A worker has other versions, or does not see the folder.
        """
        ...


@dataclass(frozen=True)
class _Known:
    """What a worker has to have in common with the machine that sends it tasks."""

    versions: str
    folder: Path | None


@contextlib.contextmanager
def pool(backend: str, address: str, jobs: int | None, folder: Path | None) -> Iterator[Pool]:
    """Workers of a cluster that is running.

    Parameters
    ----------
    backend : {"dask", "ray"}
        What the cluster is made of.
    address : str
        Of its scheduler, as tcp://host:8786, or of the head node, as host:6379.
    jobs : int, optional
        Take so many workers at once; all there are by default.
    folder : Path, optional
        A folder that the workers have to see.
    """
    known = _Known(generator(), folder)
    with (_dask if backend == "dask" else _ray)(address, jobs, known) as workers:
        yield workers


def _work(known: _Known, task: Work, i: int, item: Any) -> Item:
    """Run a task on a worker; a reason, numbered -1, in place of the result where it cannot."""
    if generator() != known.versions:
        return -1, f"has {generator()} and this machine {known.versions}; install the same"
    if known.folder and not known.folder.is_dir():
        return -1, f"does not see {known.folder}; build on a file system that all share"
    set_up_worker()
    return i, task(item)


def _checked(result: Item) -> Item:
    if result[0] < 0:
        raise UserError(f"--scheduler: a worker {result[1]}")
    return result


def _lacking(error: ModuleNotFoundError) -> UserError:
    return UserError(f"--scheduler: a worker has no {error.name}; install labelgen there")


@contextlib.contextmanager
def _dask(address: str, jobs: int | None, known: _Known) -> Iterator[Pool]:
    try:
        from distributed import Client
    except ImportError:
        raise UserError("--backend dask needs it: pip install 'labelgen[dask]'") from None
    if not address:
        raise UserError("--backend dask needs --scheduler tcp://HOST:8786, of a running scheduler")
    try:
        client = Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError) as e:
        raise UserError(f"--scheduler {address}: no Dask scheduler answers there") from e
    with client:
        yield _Dask(client, address, jobs, known)


class _Dask:
    """Workers of Dask: one task for each of their threads."""

    def __init__(self, client: Any, address: str, jobs: int | None, known: _Known) -> None:
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=PATIENCE_S)
        threads = sum(client.nthreads().values())
        if not threads:
            raise UserError(f"--scheduler {address}: has no workers; start some: dask worker")
        self.client, self.known, self.workers = client, known, min(jobs or threads, threads)

    def run(self, task: Work, items: Iterable[Item]) -> Iterator[Item]:
        from distributed import as_completed

        left = iter(items)
        numbers = {}

        def submitted(count: int) -> list[Any]:
            futures = []
            for i, item in islice(left, count):
                # Not pure: what was asked before is not to be answered from memory.
                future = self.client.submit(_work, self.known, task, i, item, pure=False)
                numbers[future.key] = i
                futures.append(future)
            return futures

        done = as_completed(submitted(AHEAD * self.workers), loop=self.client.loop)
        for future in done:
            i = numbers.pop(future.key)
            done.update(submitted(1))  # first: who takes results may be long about it
            yield self._result(future, i)

    def _result(self, future: Any, i: int) -> Item:
        from distributed import KilledWorker

        try:
            result: Item = future.result()
        except KilledWorker:  # Dask itself has tried again, on other workers
            return i, None
        except ModuleNotFoundError as e:
            raise _lacking(e) from e
        except RuntimeError as e:
            if "deserialization" not in str(e):
                raise
            raise UserError("--scheduler: it has no labelgen; install it there as well") from e
        return _checked(result)


@contextlib.contextmanager
def _ray(address: str, jobs: int | None, known: _Known) -> Iterator[Pool]:
    try:
        import ray
    except ImportError:
        raise UserError("--backend ray needs it: pip install 'labelgen[ray]'") from None
    ours = not ray.is_initialized()
    if ours:
        try:
            if ":" in address:  # Ray itself would try for minutes, and say so on the terminal
                host, _, port = address.removeprefix("ray://").rpartition(":")
                socket.create_connection((host, int(port)), PATIENCE_S).close()
            ray.init(address=address or "auto", log_to_driver=False, logging_level="ERROR")
        except (OSError, OverflowError, RuntimeError, ValueError) as e:
            where = f"--scheduler {address}" if address else "--backend ray"
            raise UserError(f"{where}: no Ray cluster answers; start one: ray start --head") from e
    try:
        yield _Ray(ray, jobs, known)
    finally:
        if ours:
            ray.shutdown()


class _Ray:
    """Workers of Ray: one task for each CPU."""

    def __init__(self, ray: Any, jobs: int | None, known: _Known) -> None:
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.ray, self.workers = ray, min(jobs or cpus, cpus)
        self.known = known
        self.remote = ray.remote(num_cpus=1, max_retries=0)(_work)

    def run(self, task: Work, items: Iterable[Item]) -> Iterator[Item]:
        left = iter(items)
        numbers = {}

        def submit(count: int) -> None:
            for i, item in islice(left, count):
                numbers[self.remote.remote(self.known, task, i, item)] = i

        submit(AHEAD * self.workers)
        while numbers:
            [ready], _ = self.ray.wait(list(numbers))
            i = numbers.pop(ready)
            submit(1)
            yield self._result(ready, i)

    def _result(self, reference: Any, i: int) -> Item:
        errors = self.ray.exceptions
        try:
            result: Item = self.ray.get(reference)
        except (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError):
            return i, None
        except errors.RayTaskError as e:
            if isinstance(e.cause, ModuleNotFoundError):
                raise _lacking(e.cause) from e
            raise
        return _checked(result)
