from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from labelgen.core.errors import UserError
from tests.trainer.conftest import SLOW, MakeDataset, MakeScene, metrics, same, wait_for
from trainer import checkpoint
from trainer.config import Config, read_config
from trainer.data.dataset import Batch
from trainer.data.prefetch import prefetch_batches
from trainer.data.reader import RowReader
from trainer.interrupt import Stopped
from trainer.models.output import Output
from trainer.training.averaged_weights import AveragedWeights
from trainer.training.fit import fit
from trainer.training.learner import learning_rate, objective


def begin(data: Path, run: Path, *options: str) -> subprocess.Popen[str]:
    """Start training in another process: a checkpoint every 5 steps, about 10 steps a second."""
    settings = ["--batch", "4", "--steps", "20", "--save-every", "5", "--device", "cpu"]
    command = [
        sys.executable,
        "-c",
        SLOW,
        "0.05",
        str(data),
        "--run",
        str(run),
        *settings,
        *options,
    ]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_killed_and_resumed_ends_in_the_same_bits(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    data = make_dataset()  # 12 samples: a kill at step 7 or later is inside of the third epoch
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    options = {"batch": 4, "steps": 20, "save_every": 5, "device": "cpu"}
    process = begin(data, killed, "--log-every", "1")
    wait_for(7, killed)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert checkpoint.load(killed)["step"] in (5, 10)
    process = begin(data, killed, "--log-every", "1", "--resume")
    assert process.wait() == 0
    fit(data, whole, log_every=1, **options)
    assert same(checkpoint.load(whole), checkpoint.load(killed))
    assert [m["step"] for m in metrics(killed)] == list(range(1, 21))
    for one, other in zip(metrics(whole), metrics(killed), strict=True):
        assert (one["loss"], one["lr"]) == (other["loss"], other["lr"])


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_position(
    kind: signal.Signals, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = begin(make_dataset(), run, "--log-every", "1", "--save-every", "100")
    wait_for(2, run)
    os.kill(process.pid, kind)
    _, errors = process.communicate()
    assert process.returncode == 128 + kind
    assert f"{kind.name} at step" in errors.splitlines()[-1]
    assert "Traceback" not in errors
    assert 2 <= checkpoint.load(run)["step"] == metrics(run)[-1]["step"] < 20


def test_a_little_training_lowers_the_loss(make_dataset: MakeDataset, tmp_path: Path) -> None:
    fit(
        make_dataset(evs=(0, 3, 6), reference=2, samples=8),
        tmp_path / "run",
        steps=60,
        batch=4,
        warmup=5,
        log_every=10,
        device="cpu",
    )
    losses = [m["loss"] for m in metrics(tmp_path / "run")]
    assert losses[-1] < 0.7 * losses[0]


def test_the_order_of_samples_is_not_that_of_the_reader(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dataset()
    fit(data, tmp_path / "a", steps=4, batch=3, device="cpu")
    monkeypatch.setattr("trainer.training.fit.prefetch_batches", partial(prefetch_batches, ahead=1))
    fit(data, tmp_path / "b", steps=4, batch=3, device="cpu")
    assert same(checkpoint.load(tmp_path / "a"), checkpoint.load(tmp_path / "b"))


def test_a_dataset_smaller_than_a_batch(make_dataset: MakeDataset, tmp_path: Path) -> None:
    fit(make_dataset(samples=4), tmp_path / "run", steps=2, batch=6, device="cpu")
    assert checkpoint.load(tmp_path / "run")["step"] == 2


def test_resume_starts_where_there_is_nothing(make_dataset: MakeDataset, tmp_path: Path) -> None:
    data, run = make_dataset(), tmp_path / "deep" / "run"
    fit(data, run, steps=2, batch=2, device="cpu", resume=True)
    before = checkpoint.load(run)
    fit(data, run, steps=2, batch=2, device="cpu", resume=True)  # at its end already
    assert same(before, checkpoint.load(run))


def test_resume_from_a_kill_before_the_first_checkpoint(
    make_dataset: MakeDataset, run: Path
) -> None:
    before = checkpoint.load(run)
    (run / "last.pt").unlink()
    fit(run.parent / "data.h5", run, steps=3, batch=2, device="cpu", resume=True)
    assert same(before, checkpoint.load(run))
    assert [m["step"] for m in metrics(run)] == [3]


def test_a_run_is_not_overwritten(run: Path) -> None:
    with pytest.raises(UserError, match=r"holds a run; go on with --resume or give another"):
        fit(run.parent / "data.h5", run, steps=3, batch=2, device="cpu")


def test_resume_refuses_other_settings(run: Path) -> None:
    with pytest.raises(UserError, match=r"was begun with batch 2, not 4"):
        fit(run.parent / "data.h5", run, steps=3, batch=4, device="cpu", resume=True)


def test_resume_refuses_another_dataset(run: Path, make_dataset: MakeDataset) -> None:
    other = make_dataset("other.h5", fingerprint="e" * 64)
    with pytest.raises(UserError, match=r"another dataset \(fingerprint ffffffffffff, .*eeee"):
        fit(other, run, steps=3, batch=2, device="cpu", resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "--steps 0: expected at least 1"),
        ({"batch": -1}, "--batch -1"),
        ({"lr": 0.0}, "--lr 0.0: expected more than 0"),
        ({"ema": 1.0}, "--ema 1.0"),
        ({"model": "unet"}, "--model unet: expected one of"),
        ({"loss": "l7"}, "--loss l7: expected one of"),
        ({"device": "abacus"}, "--device abacus"),
        ({"save_every": 0}, "--save-every"),
        ({"keep": 0}, "--keep: expected at least 1"),
        ({"teacher": -1.0}, "--teacher -1.0: expected at least 0"),
        ({"align": float("nan")}, "--align nan"),
        ({"hold_out": 1.0}, "--hold-out 1.0"),
        ({"hold_out": 0.9}, "--hold-out 0.9: leaves none of 4 brackets"),
    ],
)
def test_unusable_settings_leave_no_run(
    options: dict[str, Any], message: str, make_dataset: MakeDataset, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        fit(make_dataset(), tmp_path / "run", **({"device": "cpu"} | options))
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_ends_the_run(make_dataset: MakeDataset, tmp_path: Path) -> None:
    with pytest.raises(Stopped, match=r"not finite at step \d+; try --lr 0.3") as caught:
        fit(
            make_dataset(),
            tmp_path / "run",
            steps=60,
            batch=2,
            lr=0.9,
            warmup=0,
            weight_decay=1e30,
            log_every=1,
            device="cpu",
        )
    assert caught.value.code == 1
    assert not (tmp_path / "run" / "last.pt").exists()


def test_files_of_a_run(run: Path) -> None:
    names = {"config.json", "metrics.jsonl", "last.pt", "curves.png", "pictures", "events"}
    assert {p.name for p in run.iterdir()} == names
    config = json.loads((run / "config.json").read_text())
    assert (config["model"], config["frames"], config["fingerprint"]) == ("lean", 3, "f" * 64)
    (line,) = metrics(run)
    assert line.keys() == {"step", "loss", "lr", "samples_per_s", "waiting"}
    assert 0 <= line["waiting"] < 1
    state = torch.load(run / "last.pt", weights_only=True)
    assert state.keys() == {"model", "ema", "optimizer", "step"}


def test_validation_reports_and_changes_nothing(
    make_dataset: MakeDataset, make_scene: MakeScene, tmp_path: Path
) -> None:
    data, scene = make_dataset(), make_scene()
    fit(data, tmp_path / "a", steps=4, batch=2, device="cpu")
    fit(data, tmp_path / "b", steps=4, batch=2, device="cpu", val=scene, val_every=2)
    assert same(checkpoint.load(tmp_path / "a"), checkpoint.load(tmp_path / "b"))
    lines = [m for m in metrics(tmp_path / "b") if "val" in m]
    assert [m["step"] for m in lines] == [2, 4]
    expected = {"psnr_mu", "psnr_l", "ssim_mu", "ssim_l", "psnr_pu21"}
    assert lines[0]["val"]["mean"].keys() == expected


def test_learning_rate_warms_up_and_falls(run: Path) -> None:
    config = Config("f", 1, 3, 1, 32, "lean", "mu-l1", 1000, 8, 1e-3, 100, 0, 0.9, 1)
    rates = [learning_rate(config, s) for s in range(1000)]
    top = max(range(1000), key=rates.__getitem__)
    assert top in range(95, 110)
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[0] < 2e-5
    assert 1e-5 <= rates[-1] < 1.2e-5


def test_the_average_forgets_how_a_short_run_began() -> None:
    model = torch.nn.Linear(1, 1, bias=False)
    model.weight.data.fill_(100.0)
    average = AveragedWeights(model, 0.999)
    for step in range(300):
        model.weight.data.fill_(1.0)
        average.update(model, step)
    assert abs(float(average.model.weight.detach()) - 1) < 1e-3


def test_a_damaged_checkpoint_is_one_line(run: Path) -> None:
    whole = (run / "last.pt").read_bytes()
    (run / "last.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"last.pt: not a whole checkpoint"):
        checkpoint.load(run)


def test_a_run_of_an_earlier_version_trained_without_what_came_later(run: Path) -> None:
    config = json.loads((run / "config.json").read_text())
    later = {"align", "gradient", "teacher", "hold_out"}
    (run / "config.json").write_text(
        json.dumps({k: v for k, v in config.items() if k not in later})
    )
    read = read_config(run)
    assert {name: getattr(read, name) for name in later} == dict.fromkeys(later, 0.0)
    del config["steps"]
    (run / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config.json: damaged \('steps' is missing\)"):
        read_config(run)


def test_terms_of_the_objective_are_added_by_their_weights() -> None:
    torch.manual_seed(0)
    frames, label, weight = (
        torch.rand(2, 2, 3, 8, 8),
        torch.rand(2, 3, 8, 8),
        torch.rand(2, 1, 8, 8),
    )
    output = Output(torch.rand(2, 3, 8, 8), frames, torch.ones(2, 2, 1, 8, 8))
    samples = Batch(torch.zeros(2, 3, 6, 8, 8), label, weight)
    base = Config("f", 1, 3, 1, 32, "lean", "mu-l1", 1000, 8, 1e-3, 100, 0, 0.9, 1)
    plain = objective(base, output, samples)
    torch.testing.assert_close(objective(base, output.radiance, samples), plain)
    for name in ("align", "gradient"):
        one, two = (objective(replace(base, **{name: w}), output, samples) for w in (1.0, 2.0))
        assert one > plain
        torch.testing.assert_close(two - plain, 2 * (one - plain))
    # A network that aligns nothing has no such term.
    alone = objective(replace(base, align=1.0), output.radiance, samples)
    torch.testing.assert_close(alone, plain)


OWN = "tests.trainer.networks:"


def test_a_network_that_draws_goes_on_as_if_it_had_not_been_stopped(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dataset()
    options = {"model": OWN + "Small", "steps": 8, "batch": 4, "save_every": 3, "device": "cpu"}
    fit(data, tmp_path / "whole", **options)
    update = AveragedWeights.update

    def fail(self: AveragedWeights, model: torch.nn.Module, step: int) -> None:
        if step == 5:
            raise KeyboardInterrupt
        update(self, model, step)

    with monkeypatch.context() as patched:
        patched.setattr(AveragedWeights, "update", fail)
        with pytest.raises(KeyboardInterrupt):
            fit(data, tmp_path / "killed", **options)
    fit(data, tmp_path / "killed", resume=True, **options)
    whole, killed = (checkpoint.load(tmp_path / name) for name in ("whole", "killed"))
    assert same(whole, killed)
    # What batch normalisation has seen belongs to the averaged network as well.
    assert whole["ema"]["norm.num_batches_tracked"] == 8


def test_out_of_memory_says_which_batch_fits(make_dataset: MakeDataset, tmp_path: Path) -> None:
    options = {"model": OWN + "Hungry", "steps": 2, "device": "cpu"}
    with pytest.raises(Stopped, match=r"out of memory with --batch 12; --batch 3 fits") as caught:
        fit(make_dataset(), tmp_path / "run", batch=12, **options)
    assert caught.value.code == 1
    fit(make_dataset("other.h5"), tmp_path / "other", batch=3, **options)


def test_the_latest_checkpoints_are_kept(make_dataset: MakeDataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = {"model": OWN + "Small", "batch": 4, "device": "cpu"}
    fit(make_dataset(), run, steps=7, save_every=2, keep=2, **options)
    kept = {p.name: torch.load(p, weights_only=True)["step"] for p in run.glob("*.pt")}
    assert kept == {"last.pt": 7, "step_00000006.pt": 6, "step_00000007.pt": 7}


def test_a_read_that_fails_for_good_stops_a_run_that_goes_on_in_the_same_bits(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run, whole = make_dataset(), tmp_path / "run", tmp_path / "whole"
    settings = {"model": OWN + "Small", "steps": 8, "batch": 4, "device": "cpu"}
    fit(data, whole, **settings)
    real, reads = RowReader.read, 0

    def fail(self: RowReader, *what: Any) -> None:
        nonlocal reads
        reads += 1
        if reads > 70:  # 12 a step, and three batches ahead
            raise OSError(5, "Input/output error")
        real(self, *what)

    with monkeypatch.context() as patch:
        patch.setattr(RowReader, "read", fail)
        patch.setattr("trainer.data.dataset.RETRY_PAUSES_S", (0.0,))
        with pytest.raises(UserError, match=r"row \d+ can't be read .*; step 5 is saved, go on"):
            fit(data, run, **settings)
    fit(data, run, resume=True, **settings)
    ends = [checkpoint.load(folder)["model"] for folder in (run, whole)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[1])


def test_a_dataset_that_changes_under_a_run_stops_it(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, run = make_dataset(), tmp_path / "run"
    update = AveragedWeights.update

    def meddle(self: AveragedWeights, model: torch.nn.Module, step: int) -> None:
        if step == 4:
            os.utime(data)
        update(self, model, step)

    monkeypatch.setattr(AveragedWeights, "update", meddle)
    with pytest.raises(UserError, match=r"data.h5: changed while it was trained on"):
        fit(data, run, model=OWN + "Small", steps=8, batch=4, save_every=3, device="cpu")
    assert checkpoint.load(run)["step"] == 3


def test_pictures_show_the_same_samples_each_time(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fit(make_dataset(), run, model=OWN + "Small", steps=4, batch=4, val_every=2, device="cpu")
    one, other = (cv2.imread(str(run / "pictures" / f"step_0000000{k}.png")) for k in (2, 4))
    assert one.shape == (6 * 32, 4 * 32, 3)
    np.testing.assert_array_equal(one[:, :96], other[:, :96])  # reference, label, trust
    assert (one[:, 96:] != other[:, 96:]).any()
    curves = cv2.imread(str(run / "curves.png"))
    assert curves.std() > 0


def test_a_run_without_matplotlib_has_no_curves(
    make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name: None if name == "matplotlib" else find(name)
    )
    run = tmp_path / "run"
    fit(make_dataset(), run, model=OWN + "Small", steps=2, batch=4, device="cpu")
    assert (run / "last.pt").exists()
    assert not (run / "curves.png").exists()


def test_tensorboard_has_the_figures_of_the_metrics(
    make_dataset: MakeDataset, make_scene: MakeScene, tmp_path: Path
) -> None:
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run, options = tmp_path / "run", {"model": OWN + "Small", "batch": 4, "device": "cpu"}
    fit(make_dataset(), run, steps=4, log_every=2, hold_out=0.25, val=make_scene(), **options)
    events = module.EventAccumulator(str(run / "events")).Reload()
    shown = {(e.step, round(e.value, 5)) for e in events.Scalars("loss")}
    assert shown == {(m["step"], round(m["loss"], 5)) for m in metrics(run) if "loss" in m}
    assert {"held_out/psnr_mu", "val/mean/psnr_mu", "waiting"} <= set(events.Tags()["scalars"])


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_trains_as_well(make_dataset: MakeDataset, tmp_path: Path) -> None:
    options = {"model": OWN + "Still", "steps": 6, "batch": 4, "log_every": 1, "device": "cpu"}
    fit(make_dataset(), tmp_path / "plain", **options)
    fit(make_dataset("other.h5"), tmp_path / "compiled", compile=True, **options)
    losses = [[m["loss"] for m in metrics(tmp_path / name)] for name in ("plain", "compiled")]
    np.testing.assert_allclose(*losses, rtol=1e-4)
    assert checkpoint.load(tmp_path / "compiled")["model"].keys() == {
        *checkpoint.load(tmp_path / "plain")["model"]
    }
