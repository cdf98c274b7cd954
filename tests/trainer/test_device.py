"""The lines for CUDA, with a CUDA that only writes down what it is asked; there is none here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from labelgen.core.errors import UserError
from tests.trainer.conftest import MakeDataset
from trainer import device as devices
from trainer.data.dataset import PatchDataset
from trainer.data.prefetch import prefetch_batches

CUDA = torch.device("cuda", 0)


class Said(list[str]):
    """Calls of CUDA functions in order."""


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Said:
    """Replace CUDA by streams and events that record their calls; copies stay on the CPU."""
    said = Said()

    class Event:
        def record(self) -> None:
            said.append("record")

        def synchronize(self) -> None:
            said.append("host waits")

    class Stream:
        def __init__(self, _: torch.device) -> None: ...

        def wait_event(self, _: Event) -> None:
            said.append("device waits")

    @contextmanager
    def stream(_: Stream) -> Iterator[None]:
        said.append("side stream")
        yield
        said.append("main stream")

    to = torch.Tensor.to

    def moved(self: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
        if CUDA not in args:
            return to(self, *args, **kwargs)
        said.append(f"copy, blocking {not kwargs.get('non_blocking', False)}")
        return self.clone()

    main = Stream(CUDA)
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "stream", stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: main)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: said.append("pin") or self.clone())
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda _, __: said.append("keep"))
    monkeypatch.setattr(torch.Tensor, "to", moved)
    return said


def test_a_batch_buffer_copies_while_the_device_works(cuda: Said) -> None:
    buffer = devices.BatchBuffer({"label": np.zeros((2, 3), np.float16)}, CUDA)
    assert cuda == ["pin"]
    cuda.clear()
    buffer.wait_until_sent()
    buffer.arrays["label"][:] = 7  # the pinned memory itself
    buffer.send()
    assert cuda == [
        "host waits",
        "side stream",
        "copy, blocking False",
        "record",
        "main stream",
    ]
    cuda.clear()
    assert (buffer.receive()["label"] == 7).all()
    assert cuda == ["device waits", "keep"]


def test_batches_through_pinned_memory_are_their_rows(
    cuda: Said, make_dataset: MakeDataset
) -> None:
    wanted = [np.random.default_rng(k).integers(0, 12, 3) for k in range(9)]
    with PatchDataset(make_dataset()) as data:
        for rows, batch in zip(
            wanted, prefetch_batches(data, wanted.__getitem__, range(9), 3, CUDA), strict=True
        ):
            for name, values in data.read(rows).items():
                np.testing.assert_array_equal(values, batch[name].numpy())
    # Memory is pinned once, however many batches go through it, and written to when it is free.
    assert cuda.count("pin") == 4 * 4
    assert cuda.count("host waits") == cuda.count("device waits") == 9


def test_each_process_has_a_card_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.pick_device(None) == torch.device("cuda")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert devices.pick_device(None) == devices.pick_device("cuda") == torch.device("cuda", 1)
    assert devices.pick_device("cuda:0") == torch.device("cuda", 0)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="--device cuda:2: not available here"):
        devices.pick_device(None)


def test_memory_that_is_full_is_told_from_other_errors() -> None:
    assert devices.is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert devices.is_out_of_memory(RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"))
    assert not devices.is_out_of_memory(RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50)
    assert devices.is_out_of_memory(caught.value)
