from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from labelgen.core.errors import UserError
from labelgen.core.response import decode
from tests.trainer.conftest import MakeDataset
from trainer.data.dataset import PatchDataset, dihedral, network_input, to_batch
from trainer.data.reader import RowReader
from trainer.data.sampling import draw_symmetries

CPU = torch.device("cpu")


def test_integers_travel_as_stored(make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset()) as data:
        batch = data.read([1, 2])
    assert batch["inputs"].dtype == np.uint16
    assert batch["inputs"].shape == (2, 3, 32, 32, 3)
    assert (batch["label"].dtype, batch["weight"].dtype) == (np.float16, np.uint8)


def test_both_depths_give_the_same_input(make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset("a.h5", depth=8)) as a, PatchDataset(make_dataset("b.h5")) as b:
        eight, sixteen = (to_batch(d.read(range(4)), CPU, draw_symmetries(1, 0, 4)) for d in (a, b))
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
        arrays = data.read(range(12))
    # A frame that shows the label, and a weight that does, must still do so when turned.
    plain = to_batch(arrays, CPU)
    turned = to_batch(arrays, CPU, draw_symmetries(1, 0, 12))
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
        arrays = data.read(range(8))
    one, again, other = (to_batch(arrays, CPU, draw_symmetries(1, s, 8)).inputs for s in (4, 4, 5))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_plain_data_loader_takes_it(workers: int, make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset()) as data:
        data[0]  # the files are open when workers are made
        loader = torch.utils.data.DataLoader(data, batch_size=5, num_workers=workers)
        batches = list(loader)
        assert [len(b["label"]) for b in batches] == [5, 5, 2]
        assert batches[0]["inputs"].dtype == torch.uint16
        np.testing.assert_array_equal(batches[1]["inputs"][0].numpy(), data[5]["inputs"])
        plain, loaded = to_batch(data.read(range(5)), CPU), to_batch(batches[0], CPU)
        assert torch.equal(plain.inputs, loaded.inputs)
        assert torch.equal(plain.label, loaded.label)


def test_it_can_be_pickled(make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset()) as data, pickle.loads(pickle.dumps(data)) as other:
        np.testing.assert_array_equal(data[3]["label"], other[3]["label"])


def _row_in_child(data: PatchDataset, path: Path) -> None:
    np.save(path, data[4]["label"])
    os._exit(0)


def test_it_outlives_a_fork(make_dataset: MakeDataset, tmp_path: Path) -> None:
    with PatchDataset(make_dataset()) as data:
        data[4]
        context = multiprocessing.get_context("fork")
        child = context.Process(target=_row_in_child, args=(data, tmp_path / "row.npy"))
        child.start()
        child.join()
        np.testing.assert_array_equal(np.load(tmp_path / "row.npy"), data[4]["label"])


def test_rows_read_again_are_the_same(make_dataset: MakeDataset) -> None:
    # The second time they come straight from the file, not through HDF5.
    for options in ({}, {"parts": 3}):
        path = make_dataset(f"of{len(options)}.h5", **options)
        with PatchDataset(path) as data:
            first, second = data.read(range(12)), data.read(range(12))
            assert data._rows._descriptors
        for name, values in first.items():
            np.testing.assert_array_equal(values, second[name])


def test_compressed_rows_are_read_by_hdf5_alone(make_dataset: MakeDataset) -> None:
    plain, packed = make_dataset("plain.h5"), make_dataset("packed.h5")
    with h5py.File(packed, "r+") as file:
        for name in ("inputs", "label", "weight"):
            values, chunks = file[name][:], file[name].chunks
            del file[name]
            file.create_dataset(
                name, data=values, chunks=chunks, compression="gzip", shuffle=True, fletcher32=True
            )
    with PatchDataset(plain) as one, PatchDataset(packed) as other:
        for _ in range(2):
            for name, values in one.read(range(12)).items():
                np.testing.assert_array_equal(values, other.read(range(12))[name])


def flip(path: Path, row: int) -> None:
    """Flip a bit of a label in a dataset."""
    with h5py.File(path, locking=False) as file:
        at = file["label"].id.get_chunk_info_by_coord((row, 0, 0, 0)).byte_offset
    with path.open("r+b") as f:
        f.seek(at + 100)
        byte = f.read(1)[0]
        f.seek(at + 100)
        f.write(bytes([byte ^ 1]))


def test_storage_that_stumbles_is_asked_again(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, failures = (
        RowReader.read,
        [OSError(5, "Input/output error"), OSError(116, "Stale file handle")],
    )

    def stumble(self: RowReader, *what: Any) -> None:
        if failures:
            raise failures.pop()
        real(self, *what)

    monkeypatch.setattr("trainer.data.dataset.RETRY_PAUSES_S", (0.0, 0.0, 0.0))
    with PatchDataset(make_dataset()) as data:
        expected = data.read([3])
        monkeypatch.setattr(RowReader, "read", stumble)
        for name, values in data.read([3]).items():
            assert np.array_equal(values, expected[name])
        assert not failures


def test_a_flipped_bit_is_found(make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.data.dataset.RETRY_PAUSES_S", ())
    path = make_dataset()
    flip(path, 5)
    with PatchDataset(path) as data:
        data.read([4, 6])
        with pytest.raises(UserError, match=r"data.h5: row 5 can't be read .*labelgen verify"):
            data.read([4, 5])


def test_a_file_that_shrank_is_named(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.data.dataset.RETRY_PAUSES_S", ())
    path = make_dataset()
    with PatchDataset(path) as data:
        data.read(range(12))
        os.truncate(path, 8_000)
        with pytest.raises(UserError, match=r"data.h5: row 11 can't be read \(.*ends before"):
            data.read([11])


def test_a_dataset_that_changes_is_noticed(make_dataset: MakeDataset) -> None:
    path = make_dataset(parts=3)
    part = path.parent / "data-00001-of-00003.h5"
    with PatchDataset(path) as data:
        data.check_unchanged()
        flip(part, 0)
        with pytest.raises(UserError, match=r"-of-00003.h5: changed while it was trained"):
            data.check_unchanged()
    with PatchDataset(path) as data:
        part.unlink()
        with pytest.raises(UserError, match=r"data-00001-of-00003.h5: changed"):
            data.check_unchanged()


def test_codes_of_8_bits_become_those_of_16(make_dataset: MakeDataset) -> None:
    with PatchDataset(make_dataset("a.h5", depth=8)) as a, PatchDataset(make_dataset("b.h5")) as b:
        out = a.allocate(4, 16)
        a.read_into(range(4), out)
        np.testing.assert_array_equal(out["inputs"], b.read(range(4))["inputs"])
