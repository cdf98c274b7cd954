"""The loops of the documentation are run as they stand."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.trainer.conftest import MakeDataset
from trainer.models.lean import Lean

LOOPS = Path(__file__).parents[3] / "docs" / "loops.md"


def test_loops_of_ones_own(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dataset("out.h5", samples=8)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    blocks = re.findall(r"```python\n(.*?)```", LOOPS.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert isinstance(names["network"], Lean)
    assert float(names["loss"].detach()) > 0
    assert names["batch"].inputs.shape == (4, 3, 6, 32, 32)
    module = SimpleNamespace(device=names["device"], network=names["network"].eval())
    stored = next(iter(names["DataLoader"](names["dataset"], batch_size=2)))
    assert float(names["training_step"](module, stored, 0)) > 0
    sample = names["Brackets"]({"dataroot": str(data)})[3]
    assert sample["lq"].shape == (3, 6, 32, 32)
    assert sample["gt"].shape == (3, 32, 32)
    assert 0 <= sample["weight"].min() <= sample["weight"].max() <= 1
