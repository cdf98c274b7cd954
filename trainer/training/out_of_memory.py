"""Find a batch size that fits when the memory of the device is full."""

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
    """Stop the run if the memory is full, with the largest halved batch that fits as advice.

    Parameters
    ----------
    learn : callable
        Forward and backward pass.
    samples : Batch
        Samples that `learn` gets within the context.
    processes : int
        Number of processes that train together.

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
    # After the except block the traceback no longer keeps the tensors of the step.
    fits = largest_batch(learn, samples)
    advice = f"--batch {fits * processes} fits" if fits else "not even one sample a process fits"
    raise Stopped(f"out of memory with --batch {count * processes}; {advice}", 1)


def largest_batch(learn: Callable[[Batch], object], samples: Batch) -> int:
    """Return how many of some samples fit, found by halving; 0 if not even one does."""
    count = len(samples.label) // 2
    while count:
        devices.empty_cache()
        first = Batch(*(x[:count] for x in (samples.inputs, samples.label, samples.weight)))
        if _fits(learn, first):
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
