"""What a run says while it trains: metrics.jsonl, and a line on standard error."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from labelgen.files import write_bytes
from trainer.checkpoint import METRICS, Config
from trainer.stop import Stopped


class Log:
    """The lines of metrics.jsonl, and the line on standard error.

    `losses` are those since the last line and stay on the device; `waited` counts the seconds
    since then that the loop waited for data.
    """

    def __init__(self, run: Path, config: Config, first: int) -> None:
        self.run, self.config = run, config
        path = run / METRICS
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
        self._say(text, last=False)
        self.losses, self.waited, self._seconds, self._done = [], 0.0, 0.0, done

    def held(self, done: int, figures: dict[str, float]) -> None:
        """Write how the average of the weights does on brackets that are held out, and say so."""
        self.write({"step": done, "held_out": figures})
        count, quality = int(figures["samples"]), figures["psnr_mu"]
        text = f"PSNR-mu {quality:.2f} dB of {count} samples where trusted"
        self._say(f"step {done}  held out: {text}")

    def check(self, done: int) -> None:
        """Stop where a loss since the last line is not finite, before that is saved."""
        if not math.isfinite(float(torch.stack(self.losses or [torch.zeros(())]).sum())):
            advice = f"try --lr {self.config.lr / 3:g}"
            raise Stopped(f"{self.run}: the loss is not finite at step {done}; {advice}", 1)

    def write(self, figures: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        with (self.run / METRICS).open("a", encoding="utf-8") as file:
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

    @staticmethod
    def _say(text: str, last: bool = True) -> None:
        """Write a line over the one of progress; that of progress itself isn't the `last`."""
        terminal = sys.stderr.isatty()
        start, end = ("\r", "\x1b[K") if terminal else ("", "")
        sys.stderr.write(f"{start}{text}{end}" + ("\n" if last or not terminal else ""))
        sys.stderr.flush()

    def _count(self) -> None:
        now = time.perf_counter()
        self._seconds += now - self._since
        self._since = now
