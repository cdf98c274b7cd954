"""A file of a dataset that is shared, as its lists have it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labelgen.files import sha256


@dataclass(frozen=True)
class Listed:
    """A file of a published dataset: its name, bytes and SHA-256."""

    name: str
    bytes: int
    sha256: str

    @staticmethod
    def of(path: Path) -> Listed:
        """A file that is there."""
        return Listed(path.name, path.stat().st_size, sha256(path))
