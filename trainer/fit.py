"""Train a network on a dataset: one loop, read from top to bottom."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from labelgen.errors import UserError
from labelgen.files import write_bytes
from trainer import checkpoint, losses, models
from trainer import device as devices
from trainer.checkpoint import Average, Config, State
from trainer.data import Arrays, PatchDataset, batch_rows, prefetch, prepare, turns
from trainer.evaluate import read_scenes, score

CLIP_NORM = 1.0
"""Gradients longer than this are shortened to it; a usual one is ten times smaller."""
FINAL_LR = 0.01
"""Share of the highest learning rate at which the cosine ends."""


class Stopped(Exception):
    """The run ended before its last step; `code` is the exit status for it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def fit(
    data: Path,
    run: Path,
    *,
    val: Path | None = None,
    model: str = "lean",
    loss: str = "mu-l1",
    steps: int = 10_000,
    batch: int = 8,
    lr: float = 1e-3,
    warmup: int = 100,
    weight_decay: float = 1e-4,
    ema: float = 0.999,
    seed: int = 1,
    device: str | None = None,
    resume: bool = False,
    save_every: int = 500,
    log_every: int = 50,
    val_every: int = 2_000,
) -> None:
    """Train a network on a dataset.

    AdamW with warm-up and a cosine, gradients clipped, bfloat16 where CUDA has it, flips and
    quarter turns, a running average of the weights. Samples, order and augmentation depend on
    `seed` and the step alone, so a run that was killed and resumed ends, on the CPU, in the same
    weights bit for bit.

    Parameters
    ----------
    data : Path
        What `labelgen build` wrote.
    run : Path
        Folder for config.json, metrics.jsonl and last.pt.
    val : Path, optional
        Scenes with truth to report figures on, every `val_every` steps and at the end. Nothing
        is chosen by them.
    model : {"lean", "ahdrnet"}
        The network; its number of frames and its reference are those of the dataset.
    loss : {"mu-l1", "l1"}
        See `trainer.losses.loss`.
    steps, batch : int
        How many steps, and samples per step.
    lr, warmup, weight_decay : float, int, float
        Highest learning rate, steps to reach it, and decay of AdamW.
    ema : float
        Highest share that the average of the weights keeps at each step.
    seed : int
        Of first weights, order and augmentation.
    device : str, optional
        "cpu", "cuda", "mps"; the fastest there is if left out.
    resume : bool
        Go on where the run was left; starts where there is nothing yet.
    save_every, log_every, val_every : int
        Steps between checkpoints, lines of metrics, and validations.

    Raises
    ------
    UserError
        Unusable dataset or settings, the folder holds a run and `resume` is False, or it holds
        a run of other settings or of another dataset.
    Stopped
        SIGTERM or SIGINT came (the position is saved), or the loss is not finite.
    """
    if min(save_every, log_every, val_every) < 1:
        raise UserError("--save-every, --log-every, --val-every: expected at least 1")
    target = devices.pick(device)
    with PatchDataset(data) as dataset, Signals() as signals:
        head = dataset.header
        config = Config(
            *(head.fingerprint, len(dataset), head.frames, head.reference, head.patch),
            *(model, loss, steps, batch, lr, warmup, weight_decay, ema, seed),
        )
        torch.manual_seed(seed)
        network = models.build(model, config.frames, config.reference)
        network = network.to(target, memory_format=torch.channels_last).train()
        scenes = read_scenes(val, config) if val else {}
        average = Average(network, ema)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr, betas=(0.9, 0.99), weight_decay=weight_decay
        )
        state = open_run(run, config, resume)
        if state:
            network.load_state_dict(state["model"])
            average.model.load_state_dict(state["ema"])
            optimizer.load_state_dict(state["optimizer"])
        first = int(state["step"]) if state else 0
        log = Log(run, config, first)

        def read(step: int) -> Arrays:
            return dataset.batch(batch_rows(len(dataset), batch, seed, step))

        batches = prefetch(read, range(first, steps))
        for step in range(first, steps):
            began = time.perf_counter()
            arrays = next(batches)
            log.waited += time.perf_counter() - began

            rate = learning_rate(config, step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            samples = prepare(arrays, target, turns(seed, step))
            with devices.autocast(target):
                prediction = network(samples.inputs)
            value = losses.loss(loss, prediction.float(), samples.label, samples.weight)
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), CLIP_NORM)
            optimizer.step()
            average.update(network, step)
            log.losses.append(value.detach())

            done = step + 1
            caught = signals.caught
            if done % log_every == 0 or done == steps or caught:
                devices.synchronize(target)
                log.line(done, rate)
            if done % save_every == 0 or done == steps or caught:
                with log.paused():
                    log.check(done)
                    weights = {"model": network.state_dict(), "ema": average.model.state_dict()}
                    position = {"optimizer": optimizer.state_dict(), "step": done}
                    checkpoint.save(run, weights | position)
            if caught and done < steps:
                where = f"{caught.name} at step {done} of {steps}"
                raise Stopped(f"{run}: {where}, saved; go on with --resume", 128 + caught)
            if scenes and (done % val_every == 0 or done == steps):
                with log.paused():
                    log.write({"step": done, "val": score(average.model, config, scenes, target)})
        log.end()


def learning_rate(config: Config, step: int) -> float:
    """Learning rate of a step (from 0): a linear warm-up under a cosine to a hundredth."""
    warm = min(1.0, (step + 1) / (config.warmup + 1))
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return config.lr * warm * (FINAL_LR + (1 - FINAL_LR) * cosine)


def open_run(run: Path, config: Config, resume: bool) -> State | None:
    """Make the folder of a run, or find in it where to go on.

    Raises
    ------
    UserError
        It holds a run and `resume` is False, or one of other settings.
    """
    if (run / checkpoint.CONFIG).exists():
        if not resume:
            raise UserError(f"{run}: holds a run; go on with --resume or give another --run")
        checkpoint.check_same(run, config)
        return checkpoint.load(run) if (run / checkpoint.LAST).exists() else None
    try:
        run.mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise UserError(f"{run}: cannot be made a folder ({e.strerror})") from e
    checkpoint.write_config(run, config)
    return None


class Log:
    """The lines of metrics.jsonl, and the line on standard error.

    `losses` are those since the last line and stay on the device; `waited` counts the seconds
    since then that the loop waited for data.
    """

    def __init__(self, run: Path, config: Config, first: int) -> None:
        self.run, self.config = run, config
        path = run / checkpoint.METRICS
        lines = path.read_bytes().splitlines(keepends=True) if first and path.exists() else []
        # A killed run has lines beyond its last checkpoint, and perhaps half of one.
        whole = [line for line in lines if line.endswith(b"\n")]
        write_bytes(path, b"".join(line for line in whole if json.loads(line)["step"] <= first))
        self.losses: list[Tensor] = []
        self.waited = self._seconds = 0.0
        self._done, self._since = first, time.perf_counter()

    def line(self, done: int, rate: float) -> None:
        """Write the figures of the steps since the last line and begin anew."""
        self.check(done)
        self._count()
        speed = (done - self._done) * self.config.batch / self._seconds
        mean = float(torch.stack(self.losses).mean())
        share = self.waited / self._seconds
        figures = {"loss": round(mean, 7), "lr": rate, "samples_per_s": round(speed, 2)}
        self.write({"step": done, **figures, "waiting": round(share, 5)})
        left = round((self.config.steps - done) * self.config.batch / speed)
        text = (
            f"step {done}/{self.config.steps}  loss {mean:.5f}  {speed:.1f} samples/s  "
            f"waiting {share:.1%}  left {left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
        )
        sys.stderr.write(f"\r{text}\x1b[K" if sys.stderr.isatty() else f"{text}\n")
        sys.stderr.flush()
        self.losses, self.waited, self._seconds, self._done = [], 0.0, 0.0, done

    def check(self, done: int) -> None:
        """Stop where a loss since the last line is not finite, before that is saved."""
        if not math.isfinite(float(torch.stack(self.losses or [torch.zeros(())]).sum())):
            raise Stopped(
                f"{self.run}: the loss is not finite at step {done}; try --lr {self.config.lr / 3:g}",
                1,
            )

    def write(self, figures: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        with (self.run / checkpoint.METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock: saving and validation are not training."""
        self._count()
        yield
        self._since = time.perf_counter()

    def end(self) -> None:
        """Leave the line of progress as it is."""
        if sys.stderr.isatty():
            sys.stderr.write("\n")

    def _count(self) -> None:
        now = time.perf_counter()
        self._seconds += now - self._since
        self._since = now


class Signals:
    """While open, SIGTERM and SIGINT are only noted in `caught`, so that a step can end.

    A second one of a kind acts as ever. Outside of the main thread nothing is caught.
    """

    def __init__(self) -> None:
        self.caught: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        self.caught = signal.Signals(number)
        signal.signal(number, self._before[self.caught])

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGTERM, signal.SIGINT):
                self._before[kind] = signal.signal(kind, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._before.items():
            signal.signal(kind, handler)
