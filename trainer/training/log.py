"""The log of a run: metrics.jsonl, TensorBoard, and lines or a bar on standard error."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labelgen.cli.terminal import Bar
from labelgen.core.errors import UserError
from labelgen.core.files import write_bytes
from labelgen.core.validation import (
    MAX_JSON_BYTES,
    PARSE_ERRORS,
    expect_integer,
    expect_object,
    one_line,
    read_text,
)
from trainer import distributed
from trainer.config import Config
from trainer.interrupt import Stopped

METRICS = "metrics.jsonl"
EVENTS = "events"
"""Folder of TensorBoard's files."""


class Log:
    """Writes the metrics of a run, and shows progress: a bar on a terminal, else lines.

    Each process has a log; the first process writes.

    Parameters
    ----------
    run : Path
        Folder of the run.
    config : Config
        Settings of the run.
    first : int
        Steps so far. Lines of metrics.jsonl after that step are dropped: a killed run wrote them
        after its last checkpoint.

    Attributes
    ----------
    losses : list of Tensor
        Losses since the last line, on the device.
    waited_s : float
        Seconds since the last line that the loop waited for data.
    """

    def __init__(self, run: Path, config: Config, first: int) -> None:
        self.run, self.config = run, config
        self._writes = distributed.rank() == 0
        self._board = _tensorboard(run, first) if self._writes else None
        if self._writes:
            self._drop_lines_after(first)
        self.losses: list[Tensor] = []
        self.waited_s = self._trained_s = 0.0
        self._last_line, self._clock_start = first, time.perf_counter()
        self._bar, self._bar_text = Bar(), ""
        if self._writes:
            self._bar.start("fit", config.steps, first, rate=False)

    def step(self, done: int) -> None:
        """Show that `done` steps are done."""
        self._bar.reach(done, self._bar_text)

    def line(self, done: int, rate: float) -> None:
        """Write the metrics of the steps since the last line; `rate` is the learning rate."""
        self.check_losses(done)
        self._stop_clock()
        speed = (done - self._last_line) * self.config.batch / self._trained_s
        loss = float(distributed.mean_over_processes(torch.stack(self.losses).mean()))
        waiting = self.waited_s / self._trained_s
        metrics = {"loss": round(loss, 7), "lr": rate, "samples_per_s": round(speed, 2)}
        self.write({"step": done, **metrics, "waiting": round(waiting, 5)})
        self._bar_text = f"loss {loss:.4f}  {speed:.1f} samples/s  waiting {waiting:.0%}"
        if self._bar.bar:
            self.step(done)
        else:
            left = round((self.config.steps - done) * self.config.batch / speed)
            self._print(
                f"step {done}/{self.config.steps}  loss {loss:.5f}  {speed:.1f} samples/s  "
                f"waiting {waiting:.1%}  left {left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
            )
        self.losses, self.waited_s, self._trained_s, self._last_line = [], 0.0, 0.0, done

    def held_out(self, done: int, metrics: dict[str, float]) -> None:
        """Write and print the metrics of the averaged weights on held-out brackets."""
        self.write({"step": done, "held_out": metrics})
        count, psnr_mu = int(metrics["samples"]), metrics["psnr_mu"]
        text = f"PSNR-mu {psnr_mu:.2f} dB of {count} samples where trusted"
        self._print(f"step {done}  held out: {text}")

    def check_losses(self, done: int) -> None:
        """Stop the run if a loss since the last line is not finite, before that is saved."""
        if self.losses and not math.isfinite(
            float(distributed.mean_over_processes(torch.stack(self.losses).sum()))
        ):
            advice = f"try --lr {self.config.lr / 3:g}"
            raise Stopped(f"{self.run}: the loss is not finite at step {done}; {advice}", 1)

    def write(self, metrics: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl, and its numbers to TensorBoard."""
        if not self._writes:
            return
        with (self.run / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")
        if self._board:
            for name, value in _flatten_metrics(metrics):
                self._board.add_scalar(name, value, metrics["step"])

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock, since saving and validation are not training."""
        self._stop_clock()
        yield
        self._clock_start = time.perf_counter()

    def close(self) -> None:
        """Close TensorBoard's files, and leave the bar as it is."""
        self._bar.close()
        if self._board:
            self._board.close()

    def _drop_lines_after(self, step: int) -> None:
        """Drop lines of metrics.jsonl after a step, and a last line that is not whole."""
        path = self.run / METRICS
        lines = read_metrics(self.run) if step and path.exists() else []
        write_bytes(path, b"".join(line for line, metrics in lines if metrics["step"] <= step))

    def _print(self, text: str) -> None:
        """Print a line to standard error, above the bar if there is one."""
        if self._writes:
            self._bar.remark(text)

    def _stop_clock(self) -> None:
        """Add the time since the clock was started, and start it again."""
        now = time.perf_counter()
        self._trained_s += now - self._clock_start
        self._clock_start = now


def read_metrics(run: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """Return the lines of metrics.jsonl as bytes and parsed, without a last one cut by a kill.

    Raises
    ------
    UserError
        A line is not one that a run writes.
    """
    path = run / METRICS
    try:
        lines = read_text(path, MAX_JSON_BYTES).encode().splitlines(keepends=True)
        parsed = [(line, expect_object(json.loads(line))) for line in lines if line.endswith(b"\n")]
        for _, metrics in parsed:
            expect_integer(metrics["step"])
    except PARSE_ERRORS as e:
        raise UserError(f"{path}: damaged ({one_line(e)}); remove it to go on") from e
    return parsed


def last_metrics(run: Path) -> dict[str, Any]:
    """Return the latest value of each metric: those of training, "held_out" and "val"."""
    latest: dict[str, Any] = {}
    for _, metrics in read_metrics(run):
        latest |= metrics
    return latest


def _tensorboard(run: Path, first: int) -> Any:
    """Return TensorBoard's writer if that is installed; it hides events after step `first`."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    module = importlib.import_module("torch.utils.tensorboard")
    return module.SummaryWriter(run / EVENTS, purge_step=first + 1)


def _flatten_metrics(metrics: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of a line by their paths, such as "val/mean/psnr_l", without scenes."""
    for name, value in metrics.items():
        if isinstance(value, Mapping) and name not in ("scenes", "skipped"):
            yield from _flatten_metrics(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and prefix + name != "step":
            yield prefix + name, value
