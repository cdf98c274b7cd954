"""What a run says while it trains: metrics.jsonl, TensorBoard, and standard error."""

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
from labelgen.core.files import write_bytes
from trainer import distributed
from trainer.checkpoint import EVENTS, METRICS, Config, read_metrics
from trainer.interrupt import Stopped


class Log:
    """The lines of metrics.jsonl, TensorBoard's where it is installed, and those on standard error.

    `losses` are those since the last line and stay on the device; `waited` counts the seconds
    since then that the loop waited for data. Of processes that train together all have one, and
    the first one writes. A terminal has a bar, anything else a line each time.
    """

    def __init__(self, run: Path, config: Config, first: int) -> None:
        self.run, self.config = run, config
        self._writes = distributed.rank() == 0
        self._board = _tensorboard(run, first) if self._writes else None
        if self._writes:
            self._forget_after(first)
        self.losses: list[Tensor] = []
        self.waited = self._seconds = 0.0
        self._done, self._since = first, time.perf_counter()
        self._bar, self._said = Bar(), ""
        if self._writes:
            self._bar.start("fit", config.steps, first, rate=False)

    def step(self, done: int) -> None:
        """So many steps are done."""
        self._bar.reach(done, self._said)

    def line(self, done: int, rate: float) -> None:
        """Write the figures of the steps since the last line and begin anew."""
        self.check(done)
        self._count()
        speed = (done - self._done) * self.config.batch / self._seconds
        mean = float(distributed.mean_over_processes(torch.stack(self.losses).mean()))
        share = self.waited / self._seconds
        figures = {"loss": round(mean, 7), "lr": rate, "samples_per_s": round(speed, 2)}
        self.write({"step": done, **figures, "waiting": round(share, 5)})
        left = round((self.config.steps - done) * self.config.batch / speed)
        self._said = f"loss {mean:.4f}  {speed:.1f} samples/s  waiting {share:.0%}"
        if self._bar.bar:
            self.step(done)
        else:
            self._say(
                f"step {done}/{self.config.steps}  loss {mean:.5f}  {speed:.1f} samples/s  "
                f"waiting {share:.1%}  left {left // 3600}:{left // 60 % 60:02}:{left % 60:02}"
            )
        self.losses, self.waited, self._seconds, self._done = [], 0.0, 0.0, done

    def held(self, done: int, figures: dict[str, float]) -> None:
        """Write how the average of the weights does on brackets that are held out, and say so."""
        self.write({"step": done, "held_out": figures})
        count, quality = int(figures["samples"]), figures["psnr_mu"]
        text = f"PSNR-mu {quality:.2f} dB of {count} samples where trusted"
        self._say(f"step {done}  held out: {text}")

    def check(self, done: int) -> None:
        """Stop where a loss since the last line is not finite, before that is saved."""
        if self.losses and not math.isfinite(
            float(distributed.mean_over_processes(torch.stack(self.losses).sum()))
        ):
            advice = f"try --lr {self.config.lr / 3:g}"
            raise Stopped(f"{self.run}: the loss is not finite at step {done}; {advice}", 1)

    def write(self, figures: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl, and its figures to TensorBoard's."""
        if not self._writes:
            return
        with (self.run / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
        if self._board:
            for name, value in _flatten_metrics(figures):
                self._board.add_scalar(name, value, figures["step"])

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the clock: saving and validation are not training."""
        self._count()
        yield
        self._since = time.perf_counter()

    def end(self) -> None:
        """Leave the bar as it is."""
        self._bar.close()
        if self._board:
            self._board.close()

    def _forget_after(self, step: int) -> None:
        """Leave out what a killed run wrote after its last checkpoint; half a line perhaps."""
        path = self.run / METRICS
        known = read_metrics(self.run) if step and path.exists() else []
        write_bytes(path, b"".join(line for line, figures in known if figures["step"] <= step))

    def _say(self, text: str) -> None:
        """Write a line, above the bar if there is one."""
        if self._writes:
            self._bar.remark(text)

    def _count(self) -> None:
        now = time.perf_counter()
        self._seconds += now - self._since
        self._since = now


def _tensorboard(run: Path, first: int) -> Any:
    """TensorBoard's writer, if that is installed; what came after step `first` is forgotten."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    module = importlib.import_module("torch.utils.tensorboard")
    return module.SummaryWriter(run / EVENTS, purge_step=first + 1)


def _flatten_metrics(figures: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    """Figures of a line by their names; those of single scenes are left out."""
    for name, value in figures.items():
        if isinstance(value, Mapping) and name not in ("scenes", "skipped"):
            yield from _flatten_metrics(value, f"{above}{name}/")
        elif isinstance(value, int | float) and above + name != "step":
            yield above + name, value
