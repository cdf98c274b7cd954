"""Surveys as JSON: remembered between runs, and noted in a dataset."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import labelgen
from labelgen.calibration.survey import Seen, Selection, Survey, response_name, survey
from labelgen.core.arrays import pack_rows
from labelgen.core.bracket import Bracket
from labelgen.core.files import short_hash, write_json
from labelgen.core.versions import installed_version
from labelgen.photos.formats import is_raw


def survey_cached(
    bracket: Bracket, selection: Selection, folder: Path, kept: Path | None = None
) -> Survey:
    """`survey`, remembered in a folder for as long as no file of the bracket changes."""
    stats = [f.path.stat() for f in bracket.frames if f.path.exists()]
    if selection.truth and bracket.truth and bracket.truth.exists():
        stats.append(bracket.truth.stat())
    stats += [mask.stat() for mask in bracket.masks if mask.exists()]
    facts = [
        repr(bracket),
        repr(selection),
        labelgen.__version__,
        *(installed_version(name) for name in ("pillow", "pillow-heif", "rawpy")),
        *(f"{s.st_size} {s.st_mtime_ns}" for s in stats),
    ]
    key = short_hash("\n".join(facts))
    memory = folder / f"survey-{key}.json"
    if memory.exists():
        return from_json(json.loads(memory.read_text()))
    found = survey(bracket, selection, kept)
    write_json(memory, to_json(found), indent=None)
    return found


def to_json(found: Survey) -> dict[str, Any]:
    """A survey, not calibrated yet, as JSON values."""
    values = asdict(found) | {"paths": [str(p) for p in found.paths]}
    del values["response"]
    if found.seen:
        seen = values["seen"]
        seen["rows"] = list(seen["rows"])
        for name in ("noise", "steps"):
            seen[name] = [list(values) for values in seen[name]]
    values["masks"] = [str(path) for path in found.masks]
    return values | {"truth": str(found.truth) if found.truth else None}


def from_json(values: dict[str, Any]) -> Survey:
    """The inverse of `to_json`."""
    lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    paths = tuple(Path(p) for p in values["paths"])
    truth = Path(values["truth"]) if values["truth"] else None
    masks = tuple(Path(p) for p in values["masks"])
    seen = values["seen"]
    if seen:
        seen = {k: v if k == "key" else tuple(v) for k, v in seen.items()}
        seen["rows"] = pack_rows([seen["rows"]])
        for name in ("noise", "steps"):
            seen[name] = tuple(pack_rows([values]) for values in seen.get(name, ()))
        seen = Seen(**seen)
    return Survey(**lists | {"paths": paths, "truth": truth, "masks": masks, "seen": seen or None})


def noise_record(found: Survey) -> dict[str, float] | None:
    """Full well and read noise (electrons) of a bracket, where its camera's brackets tell."""
    return dict(zip(("full_well", "read"), found.noise, strict=True)) if found.noise else None


def survey_record(found: Survey, relative: Sequence[str]) -> dict[str, Any]:
    """A survey for the dataset: JSON, with files by their path relative to RAW."""
    if found.rejected:
        return {"rejected": found.rejected} | (
            {"problems": list(found.problems)} if found.problems else {}
        )
    frames = [
        {"file": file, "ev": round(ev, 6), "stated": round(stated, 6)}
        | {"origin": origin, "sha256": digest}
        for file, ev, stated, origin, digest in zip(
            relative, found.ev, found.stated, found.origins, found.sha256, strict=True
        )
    ]
    record: dict[str, Any] = {"frames": frames, "size": list(found.size), "depth": found.depth}
    record |= {"camera": found.camera, "response": response_name(found.response, found.assumed)}
    if found.misfit is not None:
        record["misfit"] = found.misfit
    if found.noise:
        record["noise"] = noise_record(found)
    if found.bayer:
        record["bayer"] = found.bayer
    if any(map(is_raw, found.paths)):
        record["developed"] = f"rawpy {installed_version('rawpy')}"
    if found.truth_sha256:
        record |= {"truth_sha256": found.truth_sha256, "truth_ev": round(found.darker, 6)}
    if found.masks:
        record["masks"] = [
            {"file": path.name, "sha256": digest}
            for path, digest in zip(found.masks, found.masks_sha256, strict=True)
        ]
    if found.problems:
        record["problems"] = list(found.problems)
    return record
