from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from labelgen.core.errors import UserError
from tests.trainer.conftest import MakeDataset
from trainer.data.dataset import PatchDataset
from trainer.data.prefetch import prefetch, prefetch_batches

CPU = torch.device("cpu")


def test_prefetching_keeps_the_order_whatever_the_reader_takes() -> None:
    def read(step: int) -> int:
        time.sleep(0.004 * (step % 3))
        return step

    for ahead in (1, 2, 7):
        assert list(prefetch(read, range(3, 20), ahead)) == list(range(3, 20))


def test_prefetching_reads_ahead_but_not_far() -> None:
    started = []
    stream = prefetch(lambda s: started.append(s) or s, range(100), ahead=3)
    assert next(stream) == 0
    time.sleep(0.05)
    assert sorted(started) == [0, 1, 2, 3]
    stream.close()


def test_one_thread_reads_and_it_is_not_that_of_the_loop() -> None:
    # HDF5 has one lock for the process: a second reader would only wait for the first.
    readers = list(prefetch(lambda _: threading.get_ident(), range(20)))
    assert len(set(readers)) == 1
    assert readers[0] != threading.get_ident()


def test_an_error_of_the_reader_reaches_the_loop() -> None:
    def read(step: int) -> int:
        if step == 2:
            raise UserError("part is gone")
        return step

    stream = prefetch(read, range(5))
    assert [next(stream), next(stream)] == [0, 1]
    with pytest.raises(UserError, match="part is gone"):
        next(stream)


@pytest.mark.parametrize("ahead", [1, 3])
def test_batches_are_their_rows_though_memory_is_used_again(
    ahead: int, make_dataset: MakeDataset
) -> None:
    rng = np.random.default_rng(0)
    wanted = [rng.integers(0, 12, 4) for _ in range(15)]
    with PatchDataset(make_dataset()) as data:
        memory = set()
        stream = prefetch_batches(data, wanted.__getitem__, range(15), 4, CPU, ahead)
        for rows, batch in zip(wanted, stream, strict=True):
            time.sleep(0.002)  # the reader is as far ahead as it may be
            for name, values in data.read(rows).items():
                np.testing.assert_array_equal(values, batch[name].numpy())
            memory.add(batch["inputs"].data_ptr())
    assert len(memory) == ahead + 1
