from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from labelgen.core.errors import UserError
from tests.trainer.conftest import MakeDataset, metrics
from trainer.data.dataset import PatchDataset
from trainer.data.mixture import Mixture, MixtureEntry
from trainer.models.mu_law import inverse_mu_law, mu_law
from trainer.training.fit import fit
from trainer.training.holdout import score_held_out, split_scenes


class FromLabel(torch.nn.Module):
    """A network that returns the label of a static scene plus a step in the mu-law domain."""

    def __init__(self, off: float) -> None:
        super().__init__()
        self.off = off

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inverse_mu_law(mu_law(inputs[:, 0, 3:]) + self.off)


def test_whole_brackets_are_held_out() -> None:
    scenes = np.repeat(np.array([f"scene{i}".encode() for i in range(20)]), 3)
    training, held = split_scenes(scenes, 0.25)
    assert np.array_equal(np.sort(np.concatenate([training, held])), np.arange(60))
    assert len(np.unique(scenes[held])) == 5
    assert not np.isin(scenes[training], scenes[held]).any()


def test_the_same_brackets_are_held_out_of_any_dataset_of_them() -> None:
    names = np.array([f"scene{i}".encode() for i in range(40)])
    other = np.random.default_rng(0).permutation(np.repeat(names, 2))
    assert set(names[split_scenes(names, 0.2)[1]]) == set(other[split_scenes(other, 0.2)[1]])


def test_a_few_brackets_are_all_trained_on() -> None:
    scenes = np.array([b"a", b"b", b"c"])
    assert split_scenes(scenes, 0.05)[1].size == split_scenes(scenes, 0)[1].size == 0
    with pytest.raises(UserError, match=r"--hold-out 0.9: leaves none of 3 brackets"):
        split_scenes(scenes, 0.9)


@pytest.mark.parametrize("off", [0.003, 0.03])
def test_the_figure_is_the_error_against_the_labels(off: float, make_dataset: MakeDataset) -> None:
    with Mixture([MixtureEntry(make_dataset(evs=(0, 2, 4), reference=0))]) as dataset:
        rows = np.arange(len(dataset))
        got = score_held_out(FromLabel(off), dataset, rows, 5, torch.device("cpu"))
    # What lies within a step of the clip errs by less; there is little of it.
    assert got["psnr_mu"] == pytest.approx(-20 * np.log10(off), abs=0.5)
    assert got["samples"] == 12


def test_pixels_without_trust_are_not_scored(
    make_dataset: MakeDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Mixture([MixtureEntry(make_dataset(reference=0))]) as dataset:
        read, cpu = dataset.read, torch.device("cpu")

        def spoiled(rows: np.ndarray) -> dict[str, np.ndarray]:
            arrays = read(rows)
            label = np.where(arrays["weight"][..., None] < 128, np.float16(0), arrays["label"])
            weight = np.where(arrays["weight"] < 128, 0, arrays["weight"])
            return arrays | {"label": label, "weight": weight}

        rows = np.arange(len(dataset))
        monkeypatch.setattr(dataset, "read", spoiled)
        assert score_held_out(FromLabel(0.01), dataset, rows, 4, cpu)["psnr_mu"] > 39


def test_fit_reports_what_it_never_saw(make_dataset: MakeDataset, tmp_path: Path) -> None:
    data, run = make_dataset(), tmp_path / "run"
    fit(data, run, steps=4, batch=2, device="cpu", hold_out=0.25, val_every=2)
    lines = [m for m in metrics(run) if "held_out" in m]
    assert [m["step"] for m in lines] == [2, 4]
    assert all(m["held_out"]["samples"] == 3 for m in lines)
    assert all(10 < m["held_out"]["psnr_mu"] < 60 for m in lines)


def test_fit_never_reads_what_is_held_out_to_train_on_it(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dataset()
    read: list[int] = []
    fill = PatchDataset.read_into
    monkeypatch.setattr(
        PatchDataset,
        "read_into",
        lambda self, rows, out: read.extend(rows) or fill(self, rows, out),
    )
    with PatchDataset(data) as dataset:
        held = set(split_scenes(dataset.scenes(), 0.5)[1].tolist())
    monkeypatch.setattr(
        "trainer.training.fit.score_held_out", lambda *_: {"psnr_mu": 0.0, "samples": 0.0}
    )
    monkeypatch.setattr("trainer.training.gallery.draw_samples", lambda *_: None)
    fit(data, tmp_path / "run", steps=6, batch=4, device="cpu", hold_out=0.5)
    assert set(map(int, read)) == set(range(12)) - held
