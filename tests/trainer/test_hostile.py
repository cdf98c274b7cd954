"""Runs and datasets from strangers: no code runs, nothing outside is read, memory stays bounded."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from labelgen.core.errors import UserError
from tests.helpers import hostile
from trainer.checkpoint import load, load_model, restore
from trainer.config import Config, read_config, read_responses, write_config
from trainer.data import dataset as module
from trainer.data.dataset import PatchDataset
from trainer.models import build
from trainer.training.log import read_metrics

CPU = torch.device("cpu")


def line_of(command: Callable[[], object]) -> str:
    """Return the message of a refusal, which is one line."""
    with pytest.raises(UserError) as error:
        command()
    line = str(error.value)
    assert "\n" not in line
    assert len(line) < 1000
    return line


@pytest.mark.parametrize("edit", [*hostile.DATASETS, *hostile.SHAPES], ids=lambda e: e.__name__)
def test_datasets_that_training_does_not_read(
    tmp_path: Path, edit: Callable[[h5py.File], None]
) -> None:
    path = hostile.edited(hostile.dataset(tmp_path), edit)
    said = (hostile.DATASETS | hostile.SHAPES)[edit]
    assert said in line_of(lambda: PatchDataset(path))


def test_a_chunk_that_inflates_to_gigabytes_is_not_inflated(tmp_path: Path) -> None:
    path = hostile.bomb(tmp_path)
    said, megabytes = hostile.limited(
        "import trainer.data.dataset as m; m.RETRY_PAUSES_S = (); d = m.PatchDataset(path)\n"
        "    print(len(d[1])); d[0]",
        path,
        60,
        beyond="torch",
    )
    assert said.splitlines()[0] == "4"
    assert f"{path}: row 0 can't be read (a chunk of 1537 bytes or more, expected 1536)" in said
    assert megabytes < 400


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_exposures_that_are_not_finite(tmp_path: Path, value: float) -> None:
    path = hostile.edited(hostile.dataset(tmp_path), lambda f: f["ev"].__setitem__((0, 0), value))
    assert "exposures that are not finite" in line_of(lambda: PatchDataset(path))


@pytest.mark.parametrize("compress", ["none", "gzip", "bitshuffle"])
def test_damaged_rows_are_one_line_whatever_the_storage(
    tmp_path: Path, compress: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_PAUSES_S", ())
    path = hostile.dataset(tmp_path, compress)
    with PatchDataset(path) as data:
        first, again = data[1], data[1]
        assert all(np.array_equal(first[name], again[name]) for name in first)
    with h5py.File(path, "r+") as file:
        _, stored = file["label"].id.read_direct_chunk((1, 0, 0, 0))
        wrong = b"\x00\x00\x01" + stored[3:]
        file["label"].id.write_direct_chunk((1, 0, 0, 0), wrong, 0)
    with PatchDataset(path) as data:
        assert "row 1 can't be read" in line_of(lambda: data[1])


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = Config("f", 3, 2, 1, 16, "lean", "mu-l1", 9, 2, 1e-3, 1, 0.0, 0.9, 1)
    write_config(tmp_path, config, {})
    torch.save({"ema": build("lean", 2, 1).state_dict(), "step": 3}, tmp_path / "last.pt")
    load_model(tmp_path, CPU)
    return tmp_path


class Evil:
    """Function that unpickling would call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("legacy", [False, True])
def test_checkpoints_run_no_code(run: Path, legacy: bool) -> None:
    evil = {"ema": Evil(run / "ran"), "step": 3}
    torch.save(evil, run / "last.pt", _use_new_zipfile_serialization=not legacy)
    assert line_of(lambda: load_model(run, CPU)) == (
        f"{run / 'last.pt'}: not a whole checkpoint; train anew"
    )
    assert not (run / "ran").exists()
    torch.load(run / "last.pt", weights_only=False)  # else the test would not test anything
    assert (run / "ran").exists()


def rezipped(path: Path, **how: Any) -> None:
    """Rewrite the archive of a checkpoint."""
    with zipfile.ZipFile(path) as archive:
        records = {i.filename: archive.read(i) for i in archive.infolist()}
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, data in records.items():
            archive.writestr(name, data)


def test_checkpoints_that_inflate_are_not_inflated(run: Path) -> None:
    torch.save({"ema": {"w": torch.zeros(1 << 26)}}, run / "last.pt")
    rezipped(run / "last.pt", compression=zipfile.ZIP_DEFLATED)
    assert (run / "last.pt").stat().st_size < 1 << 20
    code = "from trainer.checkpoint import load; load(path)"
    said, megabytes = hostile.limited(code, run, 60, beyond="torch")
    assert said == f"UserError: {run / 'last.pt'}: not a whole checkpoint; train anew"
    assert megabytes < 250  # 256 more would be the tensor


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"", b""), (b"K\x04tq", b"J\x00\x00\x00\x10tq"), (b"K\x04\x85", b"J\x00\x00\x00\x10\x85")],
    ids=["nothing", "storage", "tensor"],
)
def test_checkpoints_that_claim_more_than_they_hold(run: Path, old: bytes, new: bytes) -> None:
    path = run / "last.pt"
    torch.save({"w": torch.arange(4.0)}, path)
    with zipfile.ZipFile(path) as archive:
        records = {i.filename: archive.read(i) for i in archive.infolist()}
    assert old in records["last/data.pkl"]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data.replace(old, new) if name.endswith(".pkl") else data)
    if old:
        assert line_of(lambda: load(run)).endswith("not a whole checkpoint; train anew")
    else:
        assert load(run)["w"].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"ema": 3},
        {"ema": {}},
        {"ema": {"a": torch.ones(3)}},
        {"ema": [torch.ones(3)]},
        {"ema": {3: torch.ones(2)}},
        {"ema": {"w": torch.ones(3).to_sparse()}},
    ],
    ids=range(7),
)
def test_checkpoints_of_other_tensors(run: Path, state: dict[str, Any]) -> None:
    torch.save(state | {"step": 3}, run / "last.pt")
    assert line_of(lambda: load_model(run, CPU)).endswith(
        "its weights do not fit this version of lean"
    )
    model = build("lean", 2, 1)
    optimizer = torch.optim.AdamW(model.parameters())
    with pytest.raises(UserError, match="does not fit"):
        restore(run, state | {"step": 3, "optimizer": 3}, ema=model, optimizer=optimizer)


@pytest.mark.parametrize("step", [None, "3", -1, 1.5, float("nan"), 2**70])
def test_steps_that_are_no_number(run: Path, step: object) -> None:
    model = build("lean", 2, 1)
    state = {"ema": model.state_dict(), "step": step}
    assert "is no whole number" in line_of(lambda: restore(run, state, ema=model))


def test_weights_that_are_not_finite(run: Path) -> None:
    state = load(run)
    next(iter(state["ema"].values())).view(-1)[0] = float("nan")
    assert "weights that are not finite" in line_of(
        lambda: restore(run, state, ema=build("lean", 2, 1))
    )
    torch.save(state, run / "last.pt")
    assert "do not fit" in line_of(lambda: load_model(run, CPU))


def test_what_is_no_archive(run: Path) -> None:
    (run / "last.pt").unlink()
    os.mkfifo(run / "last.pt")
    assert "not a whole checkpoint" in line_of(lambda: load(run))
    (run / "last.pt").unlink()
    for data in (b"", b"PK\x03\x04", b"\x80\x02cos\nabort\n)R.", b"PK\x05\x06" + bytes(18)):
        (run / "last.pt").write_bytes(data)
        assert "not a whole checkpoint" in line_of(lambda: load(run))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"steps": "9"}, "'9' is no whole number"),
        ({"steps": True}, "True is no whole number"),
        ({"steps": 10**30}, "a number of more than 18 digits is no whole number"),
        ({"lr": float("nan")}, "nan is no number"),
        ({"model": ["lean"]}, "['lean'] is no text"),
        ({"model": None}, "None is no text"),
        ({"compile": 1}, "1 is neither true nor false"),
        ({"loss": ["mu-l1"]}, "['mu-l1'] is no text"),
        ({"fingerprint": {}}, "{} is no text"),
    ],
    ids=range(9),
)
def test_settings_of_other_types(run: Path, change: dict[str, Any], said: str) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | change))
    line = line_of(lambda: read_config(run))
    assert line.startswith(f"{run / 'config.json'}: damaged (")
    assert said in line


@pytest.mark.parametrize("name", ["model", "loss"])
def test_names_as_long_as_a_book(run: Path, name: str) -> None:
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {name: "lean" + "9" * 5000}))
    line = line_of(lambda: load_model(run, CPU))
    assert line.startswith(f"--{name} lean999")
    assert len(line) < 200


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "3", "\xff", "{}", "", "9" * 5000])
def test_config_of_another_form(run: Path, text: str) -> None:
    (run / "config.json").write_text(text, encoding="latin-1")
    assert "damaged" in line_of(lambda: read_config(run))
    if text != "{}":
        assert "damaged" in line_of(lambda: read_responses(run))


def test_frames_and_networks_of_others_are_not_made(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    for change, said in (
        ({"frames": 10**9}, "expected 2 to 9"),
        ({"reference": 7}, "count from 0"),
        ({"model": "os:abort"}, 'its network is code of its own; if you trust it, add --model "os'),
    ):
        (run / "config.json").write_text(json.dumps(config | change))
        assert said in line_of(lambda: load_model(run, CPU))


@pytest.mark.parametrize("line", ["[]", "3", '{"step": "a"}', "{}", "[" * 100_000, "nan"])
def test_metrics_of_another_form(run: Path, line: str) -> None:
    (run / "metrics.jsonl").write_text('{"step": 1}\n' + line + "\n")
    assert "damaged" in line_of(lambda: read_metrics(run))
