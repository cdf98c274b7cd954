"""Summary of a build: samples, rejected brackets and problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from labelgen.dataset.assemble import parts_of
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.staging import staging_path
from labelgen.pipeline.bugs import BUG, log_path


@dataclass(frozen=True)
class Summary:
    """Contents of a dataset, and the brackets that it lacks."""

    path: Path
    branches: dict[str, int]
    """Number of samples by branch (`labelgen.dataset.columns.BRANCHES`)."""
    used: int
    """Number of brackets that gave samples."""
    rejected: dict[str, str]
    """Why each of the other brackets gave none, by name."""
    bytes: int
    """Size of all files."""
    parts: int
    """Number of files that hold samples."""
    fingerprint: str
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Problems of brackets that were used nevertheless, by name."""

    @staticmethod
    def of(
        out: Path, fingerprint: str, records: Iterable[tuple[str, Mapping[str, Any]]]
    ) -> Summary:
        """Summarise a dataset from pairs of the name and the record of each bracket.

        `records` may be a generator, since thousands of records take much memory.
        """
        branches, used = Counter[str](), 0
        rejected, problems = dict[str, str](), dict[str, tuple[str, ...]]()
        for name, record in records:
            if "rejected" in record:
                rejected[name] = record["rejected"]
                continue
            used += 1
            branches.update(record["branches"])
            if "problems" in record:
                problems[name] = tuple(record["problems"])
        parts = parts_of(out)
        return Summary(
            out,
            {name: branches[name] for name in BRANCHES if branches[name]},
            used,
            rejected,
            sum(path.stat().st_size for path in (out, *parts)),
            len(parts) or 1,
            fingerprint,
            problems,
        )

    @property
    def samples(self) -> int:
        """Number of samples."""
        return sum(self.branches.values())

    @property
    def bugs(self) -> list[str]:
        """Names of the brackets that were rejected because of a bug of labelgen."""
        return [name for name, reason in self.rejected.items() if reason.startswith(BUG)]

    @property
    def bug_log(self) -> str:
        """Name of the file beside the dataset that has the tracebacks of bugs."""
        return log_path(staging_path(self.path)).name
