"""Several processes train together, by gloo on the CPU."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from tests.trainer.conftest import SLOW, MakeDataset, metrics, same, wait_for
from trainer import checkpoint
from trainer.training.fit import fit

OPTIONS = ["--batch", "4", "--save-every", "5", "--log-every", "1", "--device", "cpu"]


def begin(
    data: Path, run: Path, *options: str, model: str = "Still", steps: int = 12, pause: float = 0
) -> list[subprocess.Popen[str]]:
    """Start two processes as torchrun does, which itself takes seconds to start."""
    with socket.socket() as s:
        s.bind(("localhost", 0))
        port = s.getsockname()[1]
    own = ["--model", f"tests.trainer.networks:{model}", "--steps", str(steps)]
    command = [sys.executable, "-c", SLOW, str(pause), str(data), "--run", str(run)]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(port)}
    return [
        subprocess.Popen(
            [*command, *OPTIONS, *own, *options],
            env=os.environ | shared | {"RANK": str(k), "LOCAL_RANK": str(k)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for k in range(2)
    ]


def end(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Return exit status and standard error of each process."""
    try:
        return [(p.returncode, e) for p in processes for _, e in [p.communicate(timeout=120)]]
    finally:
        for p in processes:
            p.kill()


def alone(data: Path, run: Path) -> None:
    fit(
        data,
        run,
        model="tests.trainer.networks:Still",
        steps=12,
        batch=4,
        save_every=5,
        log_every=1,
        device="cpu",
    )


def test_two_processes_train_as_one(make_dataset: MakeDataset, tmp_path: Path) -> None:
    data, one, two = make_dataset(), tmp_path / "one", tmp_path / "two"
    alone(data, one)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command = [*torchrun, "--nproc-per-node", "2", "-m", "--", "trainer", "fit", data, "--run", two]
    own = ["--model", "tests.trainer.networks:Still", "--steps", "12"]
    subprocess.run([*command, *OPTIONS, *own], check=True, timeout=120)
    assert [m["step"] for m in metrics(two)] == list(range(1, 13))
    losses = [[m["loss"] for m in metrics(run)] for run in (one, two)]
    np.testing.assert_allclose(*losses, rtol=2e-5)
    weights = [checkpoint.load(run)["model"] for run in (one, two)]
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-5)
    assert not torch.equal(weights[0]["mix.weight"], torch.zeros_like(weights[0]["mix.weight"]))


def test_two_killed_and_resumed_end_in_the_same_bits(
    make_dataset: MakeDataset, tmp_path: Path
) -> None:
    data, whole, killed = make_dataset(), tmp_path / "whole", tmp_path / "killed"
    running = begin(data, killed, model="Small", steps=20, pause=0.05)
    wait_for(7, killed)
    for process in running:
        process.kill()
    end(running)
    assert checkpoint.load(killed)["step"] in (5, 10)
    for run, options in ((killed, ["--resume"]), (whole, [])):
        results = end(begin(data, run, *options, model="Small", steps=20))
        assert [status for status, _ in results] == [0, 0], results
    assert same(checkpoint.load(whole), checkpoint.load(killed))


def test_a_signal_to_either_saves_one_position(make_dataset: MakeDataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    running = begin(make_dataset(), run, "--save-every", "1000", steps=500, pause=0.05)
    wait_for(2, run)
    running[1].send_signal(signal.SIGTERM)
    results = end(running)
    assert [status for status, _ in results] == [143, 143], results
    assert all("SIGTERM at step" in errors.splitlines()[-1] for _, errors in results)
    assert 2 <= checkpoint.load(run)["step"] == metrics(run)[-1]["step"] < 500


def test_a_process_that_dies_ends_the_other(make_dataset: MakeDataset, tmp_path: Path) -> None:
    run = tmp_path / "run"
    results = end(begin(make_dataset(), run, model="Fragile"))
    assert "the second process has had enough" in results[1][1]
    assert results[0][0] == 1
    assert results[0][1].splitlines()[-1] == (
        "process 0: another process of the run is gone; its own message says why"
    )
    assert metrics(run)[-1]["step"] == 3


def test_a_batch_that_cannot_be_shared_out(make_dataset: MakeDataset, tmp_path: Path) -> None:
    results = end(begin(make_dataset(), tmp_path / "run", "--batch", "5"))
    for rank, (status, errors) in enumerate(results):
        assert status == 2
        assert errors.endswith(
            f"process {rank}: --batch 5: expected a multiple of the 2 processes\n"
        )
    assert not (tmp_path / "run").exists()
