"""What to do when the device's memory is full: say which batch would fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from trainer import device as devices
from trainer.data.dataset import Batch
from trainer.interrupt import Stopped


@contextmanager
def suggest_batch_on_oom(
    learn: Callable[[Batch], object], samples: Batch, processes: int
) -> Iterator[None]:
    """Where the memory is full, try halves of the batch and say which of them fits.

    Parameters
    ----------
    learn : callable
        The forward and the backward pass.
    samples : Batch
        Those for which it is called inside.
    processes : int
        How many train together.

    Raises
    ------
    Stopped
        The memory is full.
    """
    count = len(samples.label)
    try:
        yield
        return
    except RuntimeError as e:
        if not devices.is_out_of_memory(e):
            raise
    # Beyond the except block nothing holds on to what was computed.
    fits = largest_batch(learn, samples)
    advice = f"--batch {fits * processes} fits" if fits else "not even one sample a process fits"
    raise Stopped(f"out of memory with --batch {count * processes}; {advice}", 1)


def largest_batch(learn: Callable[[Batch], object], samples: Batch) -> int:
    """How many of some samples fit, by halving; 0 where not even one does."""
    count = len(samples.label) // 2
    while count:
        devices.empty_cache()
        some = Batch(*(x[:count] for x in (samples.inputs, samples.label, samples.weight)))
        if _fits(learn, some):
            break
        count //= 2
    return count


def _fits(learn: Callable[[Batch], object], samples: Batch) -> bool:
    try:
        learn(samples)
    except RuntimeError as e:
        if not devices.is_out_of_memory(e):
            raise
        return False
    return True
