"""What long work tells while it runs; the library is silent unless someone listens."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeAlias

Executor: TypeAlias = Callable[..., Generator[tuple[int, Any]]]
"""`run` for some workers: of a task and items."""


class Progress(Protocol):
    """What a build tells while it works."""

    def start(self, stage: str, total: int) -> None:
        """A stage begins, with that many brackets (or files); 0 where nobody knows how many."""

    def step(self, samples: int, rejected: bool) -> None:
        """One of them is done."""

    def remark(self, text: str) -> None:
        """Something people should know."""


class Silent:
    """Progress for nobody."""

    def start(self, stage: str, total: int) -> None:
        """Say nothing."""

    def step(self, samples: int, rejected: bool) -> None:
        """Say nothing."""

    def remark(self, text: str) -> None:
        """Say nothing."""
