"""Run tasks on the workers of a Dask or Ray cluster, whose machines share a file system.

The scheduler holds only a few items per worker at a time, since a million brackets would fill its
memory.
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
"""Longest wait (s) for a scheduler to answer, and for its first worker."""
AHEAD = 2
"""Items per worker that the scheduler holds, including the one that the worker runs."""


Item = tuple[int, Any]
Work = Callable[[Any], Any]


class Pool(Protocol):
    """Workers of a cluster."""

    def run(self, task: Work, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the index and the result of each item, as soon as it is done.

        The result is None if the worker died.

        Raises
        ------
        UserError
            A worker has other versions than this machine, or cannot reach the folder.
        """
        ...


@dataclass(frozen=True)
class _Requirements:
    """Versions and folder that a worker must share with the machine that sends it tasks."""

    versions: str
    folder: Path | None


@contextlib.contextmanager
def pool(backend: str, address: str, jobs: int | None, folder: Path | None) -> Iterator[Pool]:
    """Connect to the workers of a running cluster.

    Parameters
    ----------
    backend : {"dask", "ray"}
        Kind of the cluster.
    address : str
        Address of the scheduler (tcp://host:8786) or of the head node (host:6379).
    jobs : int, optional
        Number of workers to use at once; all by default.
    folder : Path, optional
        A folder that the workers must be able to reach.
    """
    required = _Requirements(generator(), folder)
    with (_dask if backend == "dask" else _ray)(address, jobs, required) as workers:
        yield workers


def _run_on_worker(required: _Requirements, task: Work, i: int, item: Any) -> Item:
    """Run a task on a worker; return the index -1 and the reason if the worker is unfit."""
    if generator() != required.versions:
        return -1, f"has {generator()} and this machine {required.versions}; install the same"
    if required.folder and not required.folder.is_dir():
        return -1, f"does not see {required.folder}; build on a file system that all share"
    set_up_worker()
    return i, task(item)


def _check_result(result: Item) -> Item:
    if result[0] < 0:
        raise UserError(f"--scheduler: a worker {result[1]}")
    return result


def _missing_module(error: ModuleNotFoundError) -> UserError:
    return UserError(f"--scheduler: a worker has no {error.name}; install labelgen there")


@contextlib.contextmanager
def _dask(address: str, jobs: int | None, required: _Requirements) -> Iterator[Pool]:
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
        yield _Dask(client, address, jobs, required)


class _Dask:
    """The workers of a Dask cluster. Each of their threads runs one task at a time."""

    def __init__(
        self, client: Any, address: str, jobs: int | None, required: _Requirements
    ) -> None:
        with contextlib.suppress(TimeoutError):
            client.wait_for_workers(1, timeout=PATIENCE_S)
        threads = sum(client.nthreads().values())
        if not threads:
            raise UserError(f"--scheduler {address}: has no workers; start some: dask worker")
        self.client, self.required, self.workers = (
            client,
            required,
            min(jobs or threads, threads),
        )

    def run(self, task: Work, items: Iterable[Item]) -> Iterator[Item]:
        from distributed import as_completed

        remaining = iter(items)
        indices = {}

        def submit(count: int) -> list[Any]:
            futures = []
            for i, item in islice(remaining, count):
                # For a pure function Dask would return the result of an earlier call.
                future = self.client.submit(
                    _run_on_worker, self.required, task, i, item, pure=False
                )
                indices[future.key] = i
                futures.append(future)
            return futures

        done = as_completed(submit(AHEAD * self.workers), loop=self.client.loop)
        for future in done:
            i = indices.pop(future.key)
            done.update(submit(1))  # before the result is yielded: its consumer may be slow
            yield self._result(future, i)

    def _result(self, future: Any, i: int) -> Item:
        from distributed import KilledWorker

        try:
            result: Item = future.result()
        except KilledWorker:  # Dask has already tried other workers
            return i, None
        except ModuleNotFoundError as e:
            raise _missing_module(e) from e
        except RuntimeError as e:
            if "deserialization" not in str(e):
                raise
            raise UserError("--scheduler: it has no labelgen; install it there as well") from e
        return _check_result(result)


@contextlib.contextmanager
def _ray(address: str, jobs: int | None, required: _Requirements) -> Iterator[Pool]:
    try:
        import ray
    except ImportError:
        raise UserError("--backend ray needs it: pip install 'labelgen[ray]'") from None
    connects = not ray.is_initialized()
    if connects:
        try:
            if ":" in address:  # Ray itself would try for minutes, and print that
                host, _, port = address.removeprefix("ray://").rpartition(":")
                socket.create_connection((host, int(port)), PATIENCE_S).close()
            ray.init(address=address or "auto", log_to_driver=False, logging_level="ERROR")
        except (OSError, OverflowError, RuntimeError, ValueError) as e:
            where = f"--scheduler {address}" if address else "--backend ray"
            raise UserError(f"{where}: no Ray cluster answers; start one: ray start --head") from e
    try:
        yield _Ray(ray, jobs, required)
    finally:
        if connects:
            ray.shutdown()


class _Ray:
    """The workers of a Ray cluster. Each of their CPUs runs one task at a time."""

    def __init__(self, ray: Any, jobs: int | None, required: _Requirements) -> None:
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.ray, self.workers = ray, min(jobs or cpus, cpus)
        self.required = required
        self.remote = ray.remote(num_cpus=1, max_retries=0)(_run_on_worker)

    def run(self, task: Work, items: Iterable[Item]) -> Iterator[Item]:
        remaining = iter(items)
        indices = {}

        def submit(count: int) -> None:
            for i, item in islice(remaining, count):
                indices[self.remote.remote(self.required, task, i, item)] = i

        submit(AHEAD * self.workers)
        while indices:
            [ready], _ = self.ray.wait(list(indices))
            i = indices.pop(ready)
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
                raise _missing_module(e.cause) from e
            raise
        return _check_result(result)
