"""Read batches ahead of their use in one thread, and copy them to the device.

HDF5 has one lock for the whole process, so a second thread would only wait for the first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.data.dataset import Arrays
from trainer.device import BatchBuffer

S = TypeVar("S")
T = TypeVar("T")

AHEAD = 3
"""Number of batches that are read before they are needed."""


class Readable(Protocol):
    """A source of samples by row: `PatchDataset` or `Mixture`."""

    def allocate(self, count: int) -> Arrays:
        """Return arrays for `count` samples, whose values are undefined."""

    def read_into(self, rows: NDArray[np.int64], out: Arrays) -> None:
        """Read the samples of these rows into the result of `allocate`."""


def prefetch_batches(
    source: Readable,
    rows: Callable[[int], NDArray[np.int64]],
    steps: Iterable[int],
    count: int,
    device: torch.device,
    ahead: int = AHEAD,
) -> Generator[dict[str, Tensor], None, None]:
    """Yield batches on the device, as stored, while the next ones are read and copied.

    Parameters
    ----------
    source : Readable
        Source of the samples.
    rows : callable
        Function of a step that returns the rows of its `count` samples.
    steps : iterable of int
        Steps in order.
    count : int
        Samples per step.
    device : torch.device
        Device of the batches. The memory of a batch is reused once the next one is requested.
    ahead : int
        Number of batches that are read before they are needed.

    Yields
    ------
    dict of str to Tensor
        Arrays of the batch by name, with the dtypes of the file.

    Raises
    ------
    UserError
        A file is unreadable.
    """
    # One buffer holds the batch in use, the others hold those that are read ahead.
    buffers = [BatchBuffer(source.allocate(count), device) for _ in range(ahead + 1)]

    def load(numbered_step: tuple[int, int]) -> BatchBuffer:
        number, step = numbered_step
        buffer = buffers[number % len(buffers)]
        buffer.wait_until_sent()
        source.read_into(rows(step), buffer.arrays)
        buffer.send()
        return buffer

    with closing(prefetch(load, enumerate(steps), ahead)) as filled:
        for buffer in filled:
            yield buffer.receive()


def prefetch(
    read: Callable[[S], T], steps: Iterable[S], ahead: int = AHEAD
) -> Generator[T, None, None]:
    """Yield ``read(step)`` for every step in order; one thread reads up to `ahead` steps early.

    An error of `read` is raised when its result is due.

    Examples
    --------
    >>> list(prefetch(lambda step: 10 * step, range(4)))
    [0, 10, 20, 30]
    """
    remaining = iter(steps)
    with ThreadPoolExecutor(1, "reader") as reader:
        pending: deque[Future[T]] = deque(reader.submit(read, s) for s in islice(remaining, ahead))
        try:
            while pending:
                result = pending.popleft().result()
                pending.extend(reader.submit(read, s) for s in islice(remaining, 1))
                yield result
        finally:
            for future in pending:
                future.cancel()
