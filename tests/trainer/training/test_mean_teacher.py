from __future__ import annotations

from pathlib import Path

import torch

from tests.trainer.conftest import MakeDataset
from tests.trainer.training.test_fit import same
from trainer import checkpoint
from trainer.models.mu_law import mu_law
from trainer.training.fit import fit
from trainer.training.mean_teacher import teacher_output


class Sided(torch.nn.Module):
    """A network that answers alike to an image and its mirror image, except for red: it is brighter
    on the left."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        light = torch.linspace(0, 1, inputs.shape[-1]).expand_as(inputs[:, 0, 3:4])
        return torch.cat([inputs[:, 0, 3:4] + light, inputs[:, 0, 4:]], 1)


def test_a_teacher_is_sure_where_it_agrees_with_itself() -> None:
    inputs = torch.full((2, 3, 6, 4, 9), 0.1)
    target, trust = teacher_output(Sided(), inputs)
    assert target.shape == (2, 3, 4, 9)
    assert trust.shape == (2, 1, 4, 9)
    assert (trust[..., 4] == 1).all()  # in the middle both see the same light
    assert (trust[..., [0, -1]] < 0.05).all()
    torch.testing.assert_close(target[:, 1:], mu_law(torch.full((2, 2, 4, 9), 0.1)))


def test_a_teacher_changes_what_is_learned_and_resumes_bit_for_bit(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    data = make_dataset()
    options = {"steps": 6, "batch": 2, "device": "cpu", "gradient": 0.5}
    fit(data, tmp_path / "alone", **options)
    fit(data, tmp_path / "taught", teacher=1.0, **options)
    states = [checkpoint.load(tmp_path / name) for name in ("alone", "taught")]
    assert not same(states[0]["model"], states[1]["model"])
    fit(data, tmp_path / "again", teacher=1.0, **options)
    assert same(checkpoint.load(tmp_path / "again"), states[1])
