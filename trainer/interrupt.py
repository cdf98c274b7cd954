"""End a run before its last step."""

from __future__ import annotations

import signal
import threading
import time
from types import FrameType
from typing import Any


class Stopped(Exception):
    """A run ended before its last step; `code` is the exit status."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Signals:
    """Catch the first SIGTERM or SIGINT as `caught`, so that the current step can end.

    A later signal has its usual effect. Python handles signals in the main thread only, so other
    threads catch nothing.
    """

    def __init__(self) -> None:
        self.caught: signal.Signals | None = None
        self._caught_at = 0.0
        self._previous: dict[signal.Signals, Any] = {}

    def _catch(self, number: int, _: FrameType | None) -> None:
        if self.caught is None:
            self.caught, self._caught_at = signal.Signals(number), time.monotonic()
        # A terminal and torchrun may both send the same signal.
        elif time.monotonic() - self._caught_at > 1:
            signal.signal(number, self._previous[signal.Signals(number)])
            signal.raise_signal(number)

    def __enter__(self) -> Signals:
        if threading.current_thread() is threading.main_thread():
            for kind in (signal.SIGTERM, signal.SIGINT):
                self._previous[kind] = signal.signal(kind, self._catch)
        return self

    def __exit__(self, *_: object) -> None:
        for kind, handler in self._previous.items():
            signal.signal(kind, handler)
