"""Interface to report the progress of long work. The library prints nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeAlias

Executor: TypeAlias = Callable[..., Generator[tuple[int, Any]]]
"""A function of a task and items: `labelgen.pipeline.executor.parallel_map` with its workers."""


class Progress(Protocol):
    """Object whose methods the library calls while it works, such as a progress bar."""

    def start(self, stage: str, total: int) -> None:
        """Begin a stage of `total` steps: brackets, files or images; 0 if nobody knows how many."""

    def step(self, samples: int, rejected: bool) -> None:
        """Finish a step. A bracket has a number of samples, or is rejected."""

    def remark(self, text: str) -> None:
        """Report one line that the user should read."""


class Silent:
    """Progress that is not reported anywhere."""

    def start(self, stage: str, total: int) -> None:
        """Do nothing."""

    def step(self, samples: int, rejected: bool) -> None:
        """Do nothing."""

    def remark(self, text: str) -> None:
        """Do nothing."""
