from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from labelgen.errors import UserError
from labelgen.format import Dataset
from labelgen.response import decode
from tests.trainer.conftest import MakeDataset
from trainer.data import (
    PatchDataset,
    batch_rows,
    dihedral,
    network_input,
    order,
    prefetch,
    prepare,
    turns,
)

CPU = torch.device("cpu")


def test_every_epoch_is_another_shuffle_of_all_rows() -> None:
    first, second, other = order(50, 1, 0), order(50, 1, 1), order(50, 2, 0)
    assert sorted(first) == sorted(second) == list(range(50))
    assert (first != second).any()
    assert (first != other).any()


@pytest.mark.parametrize(("samples", "batch"), [(50, 8), (3, 8), (8, 8), (1, 4)])
def test_steps_follow_the_epochs_without_a_gap(samples: int, batch: int) -> None:
    steps = [batch_rows(samples, batch, 5, s) for s in range(20)]
    epochs = np.concatenate([order(samples, 5, e) for e in range(20 * batch // samples + 1)])
    np.testing.assert_array_equal(np.concatenate(steps), epochs[: 20 * batch])


def test_rows_of_a_step_do_not_depend_on_what_was_asked_before() -> None:
    forward = [batch_rows(9, 4, 5, s) for s in range(12)]
    backward = [batch_rows(9, 4, 5, s) for s in reversed(range(12))][::-1]
    np.testing.assert_array_equal(forward, backward)


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


def test_a_batch_reads_row_by_row(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A list of rows in one h5py selection is up to 170 times slower than a loop.
    asked = []
    image = Dataset.image
    monkeypatch.setattr(
        Dataset, "image", lambda self, name, row: asked.append(row) or image(self, name, row)
    )
    with PatchDataset(make_dataset()) as data:
        data.batch(np.array([5, 0, 5]))
    assert set(asked) == {0, 5}
    assert all(isinstance(row, int) for row in asked)


def test_integers_travel_as_stored(make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset()) as data:
        batch = data.batch([1, 2])
    assert batch["inputs"].dtype == np.uint16
    assert batch["inputs"].shape == (2, 3, 32, 32, 3)
    assert (batch["label"].dtype, batch["weight"].dtype) == (np.float16, np.uint8)


def test_both_depths_give_the_same_input(make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset("a.h5", depth=8)) as a, PatchDataset(make_dataset("b.h5")) as b:
        eight, sixteen = (prepare(d.batch(range(4)), CPU, turns(1, 0)) for d in (a, b))
    torch.testing.assert_close(eight.inputs, sixteen.inputs, rtol=0, atol=1e-6)
    torch.testing.assert_close(eight.label, sixteen.label, rtol=0, atol=0)


def test_parts_read_as_one_file(make_dataset: MakeDataset) -> None:
    with (
        PatchDataset(make_dataset("one.h5")) as one,
        PatchDataset(make_dataset("index.h5", parts=3)) as parts,
    ):
        assert len(one) == len(parts) == 12
        for row in range(12):
            for name, value in one[row].items():
                np.testing.assert_array_equal(value, parts[row][name])


def test_a_missing_part_is_named(make_dataset: MakeDataset) -> None:
    index = make_dataset("index.h5", parts=3)
    (index.parent / "index-00001-of-00003.h5").unlink()
    with pytest.raises(UserError, match="index-00001-of-00003"):
        PatchDataset(index)


def test_rows_outside_of_the_dataset_are_refused(make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset()) as data, pytest.raises(IndexError, match="0 to 11"):
        data[12]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_input_is_code_and_radiance(kind: type) -> None:
    top = np.iinfo(kind).max
    codes = np.random.default_rng(0).integers(0, top, (2, 3, 4, 5, 3), kind, endpoint=True)
    ev = np.array([[0, 2, 4], [0, 1, 3]], np.float32)
    got = network_input(torch.from_numpy(codes), torch.from_numpy(ev)).numpy()
    assert got.shape == (2, 3, 6, 4, 5)
    np.testing.assert_allclose(got[:, :, :3], np.moveaxis(codes / top, -1, 2), atol=1e-6)
    radiance = decode(codes) / 2 ** ev[:, :, None, None, None]
    np.testing.assert_allclose(got[:, :, 3:], np.moveaxis(radiance, -1, 2), atol=1e-6)


def test_dihedral_makes_all_eight_symmetries_and_nothing_else() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3).expand(8, -1, -1, -1)
    choice = torch.tensor([[bool(k >> bit & 1) for k in range(8)] for bit in range(3)])
    got = {tuple(x.flatten().tolist()) for x in dihedral(image, choice)}
    square = np.arange(9.0).reshape(3, 3)
    want = [np.rot90(s, k) for s in (square, square.T) for k in range(4)]
    assert got == {tuple(s.flatten().tolist()) for s in want}


def test_input_label_and_weight_turn_together(make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset()) as data:
        arrays = data.batch(range(12))
    # A frame that shows the label, and a weight that does, must still do so when turned.
    plain = prepare(arrays, CPU)
    turned = prepare(arrays, CPU, turns(1, 0))
    assert (plain.label != turned.label).any()
    for batch in (plain, turned):
        clipped = batch.inputs[:, 0, :3] >= 1
        shown = torch.where(clipped, 1.0, batch.inputs[:, 0, 3:])
        assert (shown - batch.label).abs().max() < 0.01
    by_label = dict(
        zip(plain.label.sum((1, 2, 3)).tolist(), plain.weight.sum((1, 2, 3)).tolist(), strict=True)
    )
    for label, weight in zip(turned.label, turned.weight, strict=True):
        nearest = min(by_label, key=lambda s: abs(s - float(label.sum())))
        assert by_label[nearest] == pytest.approx(float(weight.sum()), rel=1e-5)


def test_augmentation_of_a_step_is_a_pure_function(make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset()) as data:
        arrays = data.batch(range(8))
    one, again, other = (prepare(arrays, CPU, turns(1, s)).inputs for s in (4, 4, 5))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_plain_data_loader_takes_it(make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset()) as data:
        batches = list(torch.utils.data.DataLoader(data, batch_size=5))
        assert [len(b["label"]) for b in batches] == [5, 5, 2]
        assert batches[0]["inputs"].dtype == torch.uint16
        np.testing.assert_array_equal(batches[1]["inputs"][0].numpy(), data[5]["inputs"])
