"""What the trainer shows on a terminal, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.helpers.terminals import on_terminal, without_escapes
from tests.trainer.conftest import MakeDataset, MakeScene
from trainer import cli, models
from trainer.training.fit import fit
from trainer.views import show_comparison, show_rates, show_scenes


def as_json(*arguments: object) -> Any:
    result = CliRunner().invoke(cli.cli, [*map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_models_that_a_shell_completes_are_those_that_ship() -> None:
    assert tuple(cli.MODELS) == models.MODELS


def test_a_terminal_shows_a_bar_of_steps(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, err = on_terminal(
        monkeypatch,
        lambda: fit(make_dataset(), tmp_path / "run", steps=4, batch=2, log_every=2, device="cpu"),
    )
    assert out == ""
    assert "step 2/4" not in err
    assert "\x1b[?25l" not in err
    assert err.endswith("\n")
    last = without_escapes(err).splitlines()[-1]
    assert last.startswith("fit ")
    assert all(text in last for text in ("4/4", "loss ", " samples/s", "waiting "))
    assert len(last) <= 78


def test_json(make_dataset: MakeDataset, make_scene: MakeScene, tmp_path: Path) -> None:
    run, scene, out, data = tmp_path / "run", make_scene(), tmp_path / "out", make_dataset()
    on_cpu = ("--device", "cpu")
    trained = as_json("fit", data, "--run", run, "--steps", 2, "--batch", 2, *on_cpu)
    assert {"run", "step", "loss", "samples_per_s"} <= trained.keys()
    assert trained["step"] == 2
    made = as_json("predict", run, scene, "-o", out, *on_cpu)
    assert made == {"pictures": {"one": str(out / "one" / "pred.hdr")}, "failed": {}}
    assert as_json("bench", data, "--seconds", 0.01, *on_cpu).keys() == {
        "loader",
        "model",
        "bound",
        "device",
    }


RESULT: dict[str, Any] = {
    "scenes": {
        "[red]x[/]": {"psnr_mu": 30.0, "ssim_mu": 0.9},
        "\x1b[2J": {"psnr_mu": 32.0, "ssim_mu": 0.8},
    },
    "mean": {"psnr_mu": 31.0, "ssim_mu": 0.85},
    "spread": {"psnr_mu": 1.0, "ssim_mu": 0.05},
    "crop": 0,
    "peak_nits": 1000.0,
    "skipped": {},
}


def test_tables_say_what_lines_say(monkeypatch: pytest.MonkeyPatch) -> None:
    better = {s: {n: v + 0.5 for n, v in row.items()} for s, row in RESULT["scenes"].items()}
    out, _ = on_terminal(monkeypatch, lambda: show_scenes(RESULT))
    rows = [line.split() for line in without_escapes(out).splitlines() if line]
    assert ["[red]x[/]", "30.00", "0.9000"] in rows
    assert ["\\x1b[2J", "32.00", "0.8000"] in rows
    assert ["mean", "31.00", "0.8500"] in rows
    both = {"one": RESULT, "[two]": RESULT | {"scenes": better}}
    out, _ = on_terminal(monkeypatch, lambda: show_comparison(both))
    rows = [line.split() for line in without_escapes(out).splitlines() if line]
    assert ["one", "31.00", "0.8500"] in rows
    assert ["[two]", "psnr_mu", "+0.5", "0", "2", "of", "2"] in rows
    rates = {"loader": 10.0, "model": 2.0, "bound": "model", "device": "cpu"}
    out, _ = on_terminal(monkeypatch, lambda: show_rates(rates))
    assert "10.0 samples/s" in out
    assert "The model bounds." in out
