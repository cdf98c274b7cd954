"""Ending a run before its last step."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any


class Stopped(Exception):
    """The run ended before its last step; `code` is the exit status for it."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Signals:
    """While open, SIGTERM and SIGINT are only noted in `caught`, so that a step can end.

    A later one acts as ever. Outside of the main thread nothing is caught.
    """

    def __init__(self) -> None:
        self.caught: signal.Signals | None = None
        self._at = 0.0
        self._before: dict[signal.Signals, Any] = {}

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.caught is None:
            self.caught, self._at = signal.Signals(number), time.monotonic()
        # A terminal and torchrun may both send the same one.
        elif time.monotonic() - self._at > 1:
            signal.signal(number, self._before[signal.Signals(number)])
            signal.raise_signal(number)

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGTERM, signal.SIGINT):
                self._before[kind] = signal.signal(kind, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._before.items():
            signal.signal(kind, handler)
