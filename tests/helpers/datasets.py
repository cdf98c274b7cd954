"""Datasets of samples that no build has made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.writer import SampleSource, Writer


def joined(
    sources: Sequence[SampleSource],
    path: Path,
    layout: SampleLayout,
    attributes: dict[str, Any],
    scene_bytes: int,
) -> None:
    """One file of samples, in the order of the rows; parameters as of `Writer`."""
    with Writer(path, layout, scene_bytes) as out:
        for source in sources:
            out.append(source)
        out.finish(attributes)
