"""From the disk to the device: one thread reads ahead, into memory that is used again and again.

One thread, for HDF5 has one lock for the process, and a second would wait for it.
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
from trainer.device import Slot

S = TypeVar("S")
T = TypeVar("T")

AHEAD = 3
"""Batches that are read before they are asked for."""


class Readable(Protocol):
    """What a feed reads: `PatchDataset` and `Mixture` are."""

    def empty(self, count: int) -> Arrays:
        """Arrays for that many samples."""

    def fill(self, rows: NDArray[np.int64], out: Arrays) -> None:
        """Read rows into such arrays."""


def prefetch_batches(
    source: Readable,
    rows: Callable[[int], NDArray[np.int64]],
    steps: Iterable[int],
    count: int,
    device: torch.device,
    ahead: int = AHEAD,
) -> Generator[dict[str, Tensor], None, None]:
    """Batches on the device, as stored, read and copied while others are trained on.

    Parameters
    ----------
    source : Readable
        Where the samples are.
    rows : callable
        The rows of a step, `count` of them.
    steps : iterable of int
        Which steps, in order.
    count : int
        Samples a step.
    device : torch.device
        Where to. The memory of a batch is used again when the next one is asked for.
    ahead : int
        How many are read early.

    Raises
    ------
    UserError
        A file can't be read.
    """
    # One more than are read ahead: that of the batch in use is not among them.
    slots = [Slot(source.empty(count), device) for _ in range(ahead + 1)]
    numbered = enumerate(steps)

    def load(numbered_step: tuple[int, int]) -> Slot:
        number, step = numbered_step
        slot = slots[number % len(slots)]
        slot.wait()
        source.fill(rows(step), slot.arrays)
        slot.send()
        return slot

    with closing(prefetch(load, numbered, ahead)) as filled:
        for slot in filled:
            yield slot.take()


def prefetch(
    read: Callable[[S], T], steps: Iterable[S], ahead: int = AHEAD
) -> Generator[T, None, None]:
    """``read(step)`` for every step in turn, up to `ahead` of them early, in one thread.

    An error of `read` is raised where its result is taken.
    """
    left = iter(steps)
    with ThreadPoolExecutor(1, "reader") as reader:
        pending: deque[Future[T]] = deque(reader.submit(read, s) for s in islice(left, ahead))
        try:
            while pending:
                ready = pending.popleft().result()
                pending.extend(reader.submit(read, s) for s in islice(left, 1))
                yield ready
        finally:
            for future in pending:
                future.cancel()
