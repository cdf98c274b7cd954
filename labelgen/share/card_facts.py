"""Gather the facts that a dataset's card states, from its header and a sample of its weights."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from labelgen.core.errors import UserError
from labelgen.core.validation import one_line
from labelgen.dataset.columns import BRANCHES, TRUSTED_WEIGHT
from labelgen.dataset.header import DatasetHeader
from labelgen.dataset.reader import Dataset
from labelgen.dataset.safe_hdf5 import DAMAGE
from labelgen.share.card_metadata import PEOPLE, CardMetadata
from labelgen.share.manifest import ManifestEntry
from labelgen.share.text import printable, single_line

MAX_WEIGHT_ROWS = 512
"""Samples whose weights are read, evenly spaced over the dataset."""
HIGH_WEIGHT = 205
"""Weight of pixels that the card counts beside the trusted ones: four fifths of 255."""
MAX_LISTED = 20
"""Cameras, reasons or patterns that are listed."""


def gather_facts(
    data: Dataset, metadata: CardMetadata, files: Sequence[ManifestEntry], has_recipe: bool
) -> dict[str, Any]:
    """Return the variables of the template ``README.md.jinja``; parameters as of `readme`.

    Raises
    ------
    UserError
        A weight can't be read.
    """
    header, layout, name = data.header, data.layout, files[0].name
    used = [scene for scene in header.scenes.values() if "rejected" not in scene]
    counts = np.bincount(data.column("branch"), minlength=len(BRANCHES))
    reproducible = has_recipe and not header.derived
    return {
        "metadata": metadata,
        "people": PEOPLE[metadata.people],
        "consent": single_line(metadata.consent)
        or ("" if metadata.people == "none" else "not stated"),
        "version": " ".join(filter(None, (metadata.version, metadata.date))),
        "name": name,
        "files": files,
        "header": header,
        "layout": layout,
        "samples": len(data),
        "branches": [f"{n} {c}" for n, c in zip(BRANCHES, counts, strict=False) if c],
        "brackets": len(used),
        "exposures": _list_counts(Counter(map(_exposures, used))),
        "cameras": _list_counts(Counter(map(_camera, used))),
        "weights": _weight_shares(data),
        "label_shares": _label_shares(header),
        "masked": sum("masks" in scene for scene in header.scenes.values()),
        "rejected": Counter(
            str(scene["rejected"]) for scene in header.scenes.values() if "rejected" in scene
        ),
        "excluded": _excluded_patterns(header.options, header.derived),
        "recipe_name": str(header.recipe.get("name", "")),
        "labels": str(header.recipe.get("labels", "several")),
        "steps": [_step(step) for step in header.derived],
        "commands": build_command(header, name, layout.compress) if reproducible else [],
        "assumed": [
            camera
            for camera, response in header.responses.items()
            if "assumed" in str(response.get("name"))
        ],
        "noted": sum(bool(scene.get("problems")) for scene in used),
        "max_listed": MAX_LISTED,
    }


def _exposures(scene: dict[str, Any]) -> str:
    return " ".join(f"{float(frame.get('ev', 0)):+.1f}" for frame in scene.get("frames", []))


def _camera(scene: dict[str, Any]) -> str:
    return single_line(scene.get("camera") or "") or "not stated"


def _list_counts(counts: Counter[str]) -> str:
    listed = [f"{key} ({count})" for key, count in counts.most_common(MAX_LISTED)]
    more = f", and {len(counts) - MAX_LISTED} more" if len(counts) > MAX_LISTED else ""
    return ", ".join(listed) + more


def _weight_shares(data: Dataset) -> dict[str, float]:
    """Return the shares of pixels by weight, and of how many rows they are."""
    rows = np.unique(np.linspace(0, len(data) - 1, MAX_WEIGHT_ROWS).round().astype(int))
    counts = np.zeros(256, np.int64)
    try:
        for row in rows.tolist():
            counts += np.bincount(data.image("weight", row).ravel(), minlength=256)
    except DAMAGE as e:
        raise UserError(f"{data.path}: damaged ({one_line(e)}); 'labelgen verify' says more") from e
    shares = counts / counts.sum()
    return {
        "rows": len(rows),
        "trusted": float(shares[TRUSTED_WEIGHT:].sum()),
        "high": float(shares[HIGH_WEIGHT:].sum()),
        "none": float(shares[0]),
    }


def _label_shares(header: DatasetHeader) -> list[str]:
    """Return mean shares of the full frames by kind of pixel, if all brackets have them."""
    labels = [
        scene["label"] for scene in header.scenes.values() if isinstance(scene.get("label"), dict)
    ]
    return [
        f"{kind} {np.mean([label[kind] for label in labels]):.1%}"
        for kind in ("static", "moving", "clipped", "dark")
        if labels and all(isinstance(label.get(kind), int | float) for label in labels)
    ]


def _excluded_patterns(options: dict[str, Any], derived: Sequence[dict[str, Any]]) -> Counter[str]:
    """Count excluded brackets by pattern, also in the datasets that this one was made of."""
    patterns = Counter(options.get("excluded", {}))
    for step in derived[-1:] if not options else ():
        for source in step.get("of", []):
            patterns += _excluded_patterns(source.get("options", {}), source.get("derived", []))
    return patterns


def _step(step: dict[str, Any]) -> dict[str, Any]:
    settings = {key: value for key, value in step.items() if key not in ("by", "of")}
    return {
        "command": f"labelgen {step.get('by', '')}",
        "sources": [
            {"file": source.get("file", ""), "samples": source.get("samples", 0)}
            for source in step.get("of", [])
        ],
        "settings": json.dumps(settings) if settings else "",
    }


def build_command(header: DatasetHeader, name: str, compress: str) -> list[str]:
    """Return shell lines that build a dataset again from its photos, in the folder RAW.

    Parameters
    ----------
    header : DatasetHeader
        Of the dataset.
    name : str
        Its file name.
    compress : str
        Its compression.
    """
    options, recipe = header.options, header.recipe
    words = ["labelgen", "build", "RAW", name, "--recipe", "recipe.toml"]
    words += ["--frames", str(header.frames)]
    words += ["--reference", str(options.get("reference", header.reference))]
    words += ["--seed", str(recipe.get("seed", 0)), "--labels", str(recipe.get("labels", "pseudo"))]
    words += ["--augment"] * bool(options.get("augment"))
    for key in ("groups", "response", "bayer", "limit"):
        words += [f"--{key}", str(options[key])] if key in options else []
    words += ["--compress", compress]
    if isinstance(options.get("part_bytes"), int):
        words += ["--part-size", str(options["part_bytes"] / 2**30)]
    for key, text in (("license", header.license), ("citation", header.citation)):
        words += [f"--{key}", text] if text else []
    lines = []
    excluded = options.get("excluded")
    if isinstance(excluded, dict) and excluded:
        patterns = " ".join(shlex.quote(printable(str(pattern))) for pattern in excluded)
        lines.append(f"printf '%s\\n' {patterns} > exclude.txt")
        words += ["--exclude", "exclude.txt"]
    return [*lines, " ".join(shlex.quote(printable(word)) for word in words)]
