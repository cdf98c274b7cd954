"""Progress of long work. The library prints nothing: it calls whoever listens."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeAlias

Executor: TypeAlias = Callable[..., Generator[tuple[int, Any]]]
"""A function of a task and items: `labelgen.pipeline.executor.parallel_map` with its workers."""


class Progress(Protocol):
    """Gets told what happens."""

    def start(self, stage: str, total: int) -> None:
        """A stage begins, with `total` brackets or files; 0 if nobody knows how many."""

    def step(self, samples: int, rejected: bool) -> None:
        """One of them is done, with so many samples."""

    def remark(self, text: str) -> None:
        """A line that people should read."""


class Silent:
    """Ignores all progress."""

    def start(self, stage: str, total: int) -> None:
        """Say nothing."""

    def step(self, samples: int, rejected: bool) -> None:
        """Say nothing."""

    def remark(self, text: str) -> None:
        """Say nothing."""
