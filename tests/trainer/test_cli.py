from __future__ import annotations

import inspect
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from tests.trainer.conftest import MakeDataset, MakeScene
from trainer import cli
from trainer.evaluation import evaluate, export, predict
from trainer.training import bench, fit

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # import torch raises ModuleNotFoundError
from trainer.cli import main
main()
"""


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli.cli, [str(a) for a in arguments])


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", "x.h5", "--run", "r"],
        ["predict", "r", "b", "-o", "o"],
        ["evaluate", "r", "s"],
        ["export", "r", "o.onnx"],
        ["bench", "x.h5"],
    ],
)
def test_without_torch_every_command_says_how_to_get_it(arguments: list[str]) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "pip install 'labelgen[trainer]'" in done.stderr


def test_help_needs_no_torch() -> None:
    for command in ([], ["fit"], ["predict"], ["evaluate"], ["export"], ["bench"]):
        arguments = [sys.executable, "-c", WITHOUT_TORCH, *command, "--help"]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert "Usage:" in done.stdout


def test_another_package_of_the_name_is_noticed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr("trainer.DISTRIBUTION")
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert "not the 'trainer' of labelgen" in line
    assert "pip uninstall trainer" in line


def test_labelgen_does_not_need_the_trainer() -> None:
    modules = "labelgen.dataset.reader, labelgen.discovery.scan, labelgen.dataset.writer"
    source = f"import sys, {modules}; print([*sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert "'torch'" not in done.stdout
    assert "'trainer'" not in done.stdout


@pytest.mark.parametrize(
    ("command", "required", "function"),
    [
        (cli.fit, ["data.h5", "--run", "run"], fit.fit),
        (cli.predict, ["run", "bracket", "-o", "out"], predict.predict),
        (cli.evaluate, ["run", "scenes"], evaluate.compare),
        (cli.export, ["run", "out.onnx"], export.export),
        (cli.bench, ["data.h5"], bench.bench),
    ],
)
def test_options_are_the_arguments_of_the_function(
    command: click.Command, required: list[str], function: Callable[..., object]
) -> None:
    arguments = inspect.signature(function).parameters
    options = command.make_context("x", required).params
    assert options.keys() - {"as_json"} == arguments.keys() - {"note", "progress"}
    defaults = {n: a.default for n, a in arguments.items() if a.default is not inspect._empty}
    assert {n: options.get(n, d) for n, d in defaults.items()} == defaults


def test_from_dataset_to_picture(
    make_dataset: MakeDataset, make_scene: MakeScene, tmp_path: Path
) -> None:
    run, scene, out = tmp_path / "run", make_scene(), tmp_path / "out"
    small = ["--steps", 2, "--batch", 2, "--device", "cpu"]
    done = call("fit", make_dataset(), "--run", run, *small)
    assert done.exit_code == 0, done.output
    assert done.stdout == ""
    assert "samples/s" in done.stderr
    assert "waiting" in done.stderr
    done = call("predict", run, scene, "-o", out, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{out / 'one' / 'pred.hdr'}\n"
    done = call("evaluate", run, scene, "--json", "--device", "cpu")
    assert json.loads(done.stdout)["scenes"]["one"].keys() == {
        "psnr_mu",
        "psnr_l",
        "ssim_mu",
        "ssim_l",
        "psnr_pu21",
    }
    done = call("evaluate", run, scene, "--crop", 2)
    assert "mean" in done.stdout
    assert "2 px cropped on all sides; PU21 with 1.0 shown at 1000 cd/m2" in done.stdout


def test_several_runs_are_compared(run: Path, make_scene: MakeScene, tmp_path: Path) -> None:
    scene, again = make_scene(), tmp_path / "again"
    shutil.copytree(run, again)
    done = call("evaluate", run, again, scene, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert f"{again} - {run}: psnr_mu +0, spread 0, better in 0 of 1 scenes" in done.stdout
    both = json.loads(call("evaluate", run, again, scene, "--json", "--device", "cpu").stdout)
    alone = json.loads(call("evaluate", run, scene, "--json", "--device", "cpu").stdout)
    assert both["runs"] == {str(run): alone, str(again): alone}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fit", "{tmp}/none.h5", "--run", "{tmp}/r"], "none.h5: no such file"),
        (["fit", "{tmp}/text.h5", "--run", "{tmp}/r"], "text.h5: not a whole HDF5 file"),
        (["predict", "{tmp}/none", "{tmp}", "-o", "{tmp}/o"], "none: not a run"),
        (["predict", "{run}", "{tmp}/none", "-o", "{tmp}/o"], "none: no such folder"),
        (["evaluate", "{run}", "{tmp}/none"], "none: no such folder"),
        (["evaluate", "{run}", "{run}", "{tmp}/none"], "given twice"),
        (["evaluate", "{run}", "{tmp}/none", "--crop", "-1"], "--crop -1: expected at least 0"),
        (["evaluate", "{run}", "{tmp}/none", "--peak-nits", "0"], "--peak-nits 0.0: expected"),
        (["fit", "{tmp}/data.h5", "--run", "{run}"], "holds a run"),
        (["fit", "{tmp}/data.h5", "--run", "{tmp}/text.h5"], "cannot be made a folder"),
    ],
)
def test_errors_are_one_line(arguments: list[str], words: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "text.h5").write_text("no dataset")
    done = call(*(a.format(tmp=tmp_path, run=run) for a in arguments))
    assert done.exit_code == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_rejected_bracket_is_exit_status_1(
    run: Path, make_scene: MakeScene, tmp_path: Path
) -> None:
    few, good = make_scene("s/few", evs=(0, 2)), make_scene("s/good")
    done = call("predict", run, few, good, "-o", tmp_path / "out", "--device", "cpu")
    assert done.exit_code == 1
    assert "few: 2 frames" in done.stderr
    assert "good" in done.stdout


OWN = """
import torch

class Mean(torch.nn.Module):
    def __init__(self, frames, reference):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, inputs):
        return self.scale * inputs[:, :, 3:].mean(1)
"""


def test_a_network_of_ones_own_is_imported_only_when_asked(
    make_dataset: MakeDataset,
    make_scene: MakeScene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "my_networks.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    run, scene = tmp_path / "run", make_scene()
    own = ["--model", "my_networks:Mean", "--device", "cpu"]
    done = call("fit", make_dataset(), "--run", run, "--steps", 2, "--batch", 2, *own)
    assert done.exit_code == 0, done.output
    for command in (["predict", run, scene, "-o", tmp_path / "out"], ["evaluate", run, scene]):
        monkeypatch.delitem(sys.modules, "my_networks")
        done = call(*command, "--device", "cpu")
        assert done.exit_code == 2
        assert 'if you trust it, add --model "my_networks:Mean"' in done.stderr
        assert done.stderr.count("\n") == 1
        assert "my_networks" not in sys.modules
        done = call(*command, *own)
        assert done.exit_code == 0, done.output


def test_without_cvvdp_one_line_says_how_to_get_it(
    run: Path, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pycvvdp", None)
    done = call("evaluate", run, make_scene(), "--cvvdp", "--device", "cpu")
    assert done.exit_code == 2
    assert "pip install cvvdp" in done.stderr
    assert done.stderr.count("\n") == 1


def test_cvvdp_is_asked_in_nits_of_the_peak(
    run: Path, make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    class Metric:
        def __init__(self, **options: Any) -> None:
            asked.update(options)

        def predict(self, test: Any, reference: Any, dim_order: str) -> tuple[float, None]:
            asked.update(top=float(reference.max()), dim_order=dim_order, shape=test.shape)
            return 9.5, None

    monkeypatch.setitem(sys.modules, "pycvvdp", SimpleNamespace(cvvdp=Metric))
    scene = make_scene()
    done = call("evaluate", run, scene, "--cvvdp", "--peak-nits", 400, "--json", "--device", "cpu")
    assert json.loads(done.stdout)["mean"]["cvvdp"] == 9.5
    assert asked["display_name"] == "standard_hdr_linear"
    assert asked["dim_order"] == "HWC"
    assert asked["shape"] == (50, 70, 3)
    assert 300 < asked["top"] <= 400


def test_bench_says_which_of_loader_and_model_bounds(make_dataset: MakeDataset) -> None:
    data = make_dataset()
    options = ["--seconds", 0.05, "--batch", 2, "--device", "cpu"]
    done = call("bench", data, *options)
    assert done.exit_code == 0, done.output
    assert "The model bounds." in done.stdout
    found = json.loads(call("bench", data, *options, "--json").stdout)
    assert found.keys() == {"loader", "model", "bound", "device"}
    assert found["loader"] > found["model"] > 0
    assert (found["bound"], found["device"]) == ("model", "cpu")
