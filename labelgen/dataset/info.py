"""Summarise a dataset for people and scripts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from labelgen.core.errors import UserError
from labelgen.dataset.columns import count_branches
from labelgen.dataset.reader import Dataset
from labelgen.dataset.safe_hdf5 import DAMAGE


def info(path: Path) -> dict[str, Any]:
    """Summarise a dataset.

    Parameters
    ----------
    path : Path
        Dataset file or index.

    Returns
    -------
    dict
        "samples", "frames", "reference", "patch", "depth", "branches" (samples by branch),
        "scenes" (brackets used), "rejected" (reasons by bracket), "responses" (by camera),
        "recipe", "compress", "parts", "bytes", "fingerprint", "generator", "license", "citation",
        "derived" (commands that made it from other datasets, if any).

    Raises
    ------
    UserError
        Not a dataset, or a part is missing.
    """
    try:
        with Dataset(path) as data:
            return _info(data, path)
    except DAMAGE as e:
        raise UserError(f"{path}: damaged ({e}); 'labelgen verify' says more") from e


def build_times_path(dataset: Path) -> Path:
    """Return the file beside a dataset that notes how long its build took."""
    return dataset.with_name(f"{dataset.stem}.times.json")


def _info(data: Dataset, path: Path) -> dict[str, Any]:
    header, layout = data.header, data.layout
    files = {path, *(Path(f.filename) for f in data.files)}
    return {
        "samples": len(data),
        "frames": header.frames,
        "reference": header.reference,
        "patch": header.patch,
        "depth": layout.depth,
        "branches": count_branches(data.column("branch")),
        "scenes": sum("rejected" not in s for s in header.scenes.values()),
        "rejected": {n: s["rejected"] for n, s in header.scenes.items() if "rejected" in s},
        "responses": header.responses,
        "recipe": header.recipe.get("name"),
        "compress": layout.compress,
        "parts": len(header.parts),
        "bytes": sum(f.stat().st_size for f in files),
        "fingerprint": header.fingerprint,
        "generator": header.generator,
        "license": header.license,
        "citation": header.citation,
        "derived": "; then ".join(map(_step_text, header.derived)),
    }


def _step_text(step: dict[str, Any]) -> str:
    return f"{step.get('by', '')} of {', '.join(s.get('file', '') for s in step.get('of', []))}"
