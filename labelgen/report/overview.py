"""The figures of a whole dataset, for the plots of a page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import escape

from labelgen.core.errors import UserError
from labelgen.core.validation import PARSE_ERRORS, expect_number, read_json
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.info import build_times_path
from labelgen.dataset.reader import Dataset
from labelgen.report.entries import SHARES, SampleColumns, BracketRecord
from labelgen.report.text import MAX_CHARACTERS, ellipsize, evenly_spaced

MAX_SAMPLES, MAX_BYTES = 256, 1 << 30
"""Samples whose labels and weights are read for the plots, and bytes of them."""
MAX_DOTS = 1500
"""Brackets that a plot has a dot for."""
MAX_CAMERAS = 8
REJECTS_BYTES, REMARKS_BYTES, MARKUP_BYTES = 4_000_000, 1_000_000, 70
"""Of a page, for lists of brackets that were rejected, or are odd; and of a line without text."""
MAX_KINDS = 200
"""Reasons that are shown."""
DARKEST = -14.0
"""Stops below the clip of the shortest frame, at the foot of the histogram of radiance."""
BIN = 0.5
"""Stops."""
STAGES = ("survey", "make", "join")


def chart_data(data: Dataset, rows: SampleColumns, used: Sequence[BracketRecord]) -> dict[str, Any]:
    """What the plots of a page show.

    Parameters
    ----------
    data : Dataset
        Of which at most 256 labels and weights are read.
    rows : Rows
        Its columns.
    used : sequence of Entry
        The brackets that gave samples.

    Returns
    -------
    dict
        For `chart_data.js`; "read" is how many samples were read, "dots" how many brackets have one.
    """
    counts = np.bincount(rows.branch, minlength=256)[: len(BRANCHES)].tolist()
    dots = evenly_spaced(used, MAX_DOTS)
    return {
        "branches": [{"name": n, "samples": c} for n, c in zip(BRANCHES, counts, strict=True) if c],
        "brackets": [_dot(entry) for entry in dots],
        "exposures": [
            {"name": ellipsize(e.name, 40), "frame": i, "ev": ev, "off": round(ev - stated, 3)}
            for e in dots
            for i, (ev, stated) in enumerate(zip(e.ev, e.stated, strict=True))
        ],
        "reference": data.header.reference,
        "responses": _responses(data.header.responses),
        "noise": _noise(used),
        "dots": len(dots),
    } | _sampled(data, rows)


def _dot(entry: BracketRecord) -> dict[str, Any]:
    shares = {key: entry.shares.get(key) for key in SHARES}
    shift = max(entry.alignment, default=None)
    sizes = dict(zip(("median", "largest"), entry.moving, strict=False))
    return {"name": ellipsize(entry.name, 40), "shift": shift, "sizes": sizes} | shares


def _sampled(data: Dataset, rows: SampleColumns) -> dict[str, Any]:
    """Trust by branch, and radiance, of an even choice of samples."""
    images = data.images[0]
    size = sum(int(np.prod(images[n].shape[1:])) * images[n].dtype.itemsize for n in images)
    chosen = evenly_spaced(range(len(data)), max(1, min(MAX_SAMPLES, MAX_BYTES // max(size, 1))))
    trust = np.zeros((256, 256), np.int64)
    light = np.zeros((2, int(-DARKEST / BIN)), np.int64)
    for row in chosen:
        weight = data.image("weight", row)
        radiance = np.nan_to_num(data.image("label", row).astype(np.float32), posinf=0, neginf=0)
        trust[rows.branch[row]] += np.bincount(weight.ravel(), minlength=256)
        stops = np.log2(np.maximum(radiance.mean(-1), 2.0 ** (DARKEST - 1)))
        bins = np.clip((stops - DARKEST) / BIN, 0, light.shape[1] - 1).astype(int)
        for k, mask in enumerate((weight < 128, weight >= 128)):
            light[k] += np.bincount(bins[mask], minlength=light.shape[1])
    pixels = max(int(trust.sum()), 1)
    return {
        "read": len(chosen),
        "trust": [
            {"name": name, "pixels": int(t.sum())} | _classes(t)
            for name, t in zip(("all", *BRANCHES), (trust.sum(0), *trust), strict=False)
            if t.sum()
        ],
        "radiance": [
            {"stops": DARKEST + k * BIN, "trusted": trusted, "share": count / pixels}
            for trusted, row in zip((False, True), light.tolist(), strict=True)
            for k, count in enumerate(row)
        ],
        "bin": BIN,
    }


def _classes(counts: Any) -> dict[str, float]:
    """Shares of weights that mean nothing, a guess, trust in part, and trust in full."""
    edges = {"none": (0, 1), "guess": (1, 128), "part": (128, 255), "full": (255, 256)}
    return {k: round(float(counts[a:b].sum() / counts.sum()), 5) for k, (a, b) in edges.items()}


def _responses(table: dict[str, Any]) -> list[dict[str, Any]]:
    """Of the cameras with most brackets; curves at every fourth code."""
    most = sorted(table.items(), key=lambda item: -item[1]["brackets"])[:MAX_CAMERAS]
    return [
        {
            "camera": ellipsize(camera, 60),
            "name": ellipsize(entry["name"], 30),
            "brackets": entry["brackets"],
            "misfit": entry.get("misfit"),
            "curves": [[*curve[::4], curve[-1]] for curve in entry.get("curves", ())],
        }
        for camera, entry in most
    ]


def _noise(used: Sequence[BracketRecord]) -> list[dict[str, Any]]:
    """Noise models that the brackets told, each with how many have it."""
    found = Counter((e.camera, *e.noise) for e in used if e.noise)
    return [
        {
            "camera": ellipsize(camera or "unknown camera", 40),
            "well": well,
            "read": read,
            "brackets": n,
        }
        for (camera, well, read), n in found.most_common(200)
    ]


@dataclass(frozen=True)
class BracketGroup:
    """Brackets of which the same is to be said: what, how many, and those that are listed.

    `listed` are names and texts, as many as a page has room for; texts that all say `kind` are
    left out.
    """

    kind: str
    count: int
    listed: list[tuple[str, str]]


def group_rejects(entries: Sequence[BracketRecord]) -> list[BracketGroup]:
    """Rejected brackets grouped by reason, whatever numbers and files are in it; the most first."""
    groups: dict[str, list[BracketRecord]] = {}
    for entry in entries:
        if entry.rejected:
            groups.setdefault(_kind(entry.rejected), []).append(entry)
    room, made = REJECTS_BYTES, []
    for kind, group in sorted(groups.items(), key=lambda item: -len(item[1]))[:MAX_KINDS]:
        reason = group[0].rejected
        alike = len(reason) <= MAX_CHARACTERS and all(e.rejected == reason for e in group)
        listed, room = _listed(((e.name, "" if alike else e.rejected) for e in group), room)
        made.append(BracketGroup(ellipsize(reason) if alike else kind, len(group), listed))
    return made


def group_remarks(used: Sequence[BracketRecord]) -> BracketGroup:
    """Brackets that were used although something is odd about them."""
    odd = [(e.name, "; ".join(e.problems[:8])) for e in used if e.problems]
    return BracketGroup("used, with a remark", len(odd), _listed(iter(odd), REMARKS_BYTES)[0])


def _listed(pairs: Iterator[tuple[str, str]], room: int) -> tuple[list[tuple[str, str]], int]:
    """Names and texts as far as there is room in a page, and the room that is left."""
    listed = []
    for name, text in pairs:
        line = ellipsize(name), ellipsize(text, 300)
        room -= MARKUP_BYTES + sum(len(escape(part).encode()) for part in line)
        if room < 0:
            break
        listed.append(line)
    return listed, max(room, 0)


def _kind(reason: str) -> str:
    text = re.sub(r"^[^:]{1,200}\.\w{2,5}: ", "", reason[:400]).split(": ")[0].split(";")[0]
    return ellipsize(re.sub(r"\d+(?:[.,]\d+)*", "…", text))


def build_times(path: Path, fingerprint: str) -> dict[str, Any]:
    """Seconds by stage, and "resumed", from the file that a build left beside its dataset.

    Nothing if there is none, or it is of another build.

    Raises
    ------
    UserError
        It is not of its form.
    """
    beside = build_times_path(path)
    if not beside.is_file():
        return {}
    try:
        table = read_json(beside)
        if table["fingerprint"] != fingerprint:
            return {}
        seconds = {stage: max(expect_number(table[stage]), 0.0) for stage in STAGES}
        return {"stages": seconds, "resumed": table["resumed"] is True}
    except PARSE_ERRORS as e:
        raise UserError(f"{beside}: not what a build writes; remove it") from e
