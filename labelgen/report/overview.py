"""Gather the data of the charts of a page, and group rejected brackets by reason."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import escape

from labelgen.core.arrays import Array
from labelgen.core.errors import UserError
from labelgen.core.mixing import describe_response
from labelgen.core.validation import PARSE_ERRORS, expect_number, read_json
from labelgen.dataset.columns import BRANCHES, TRUSTED_WEIGHT, count_branches
from labelgen.dataset.info import build_times_path
from labelgen.dataset.reader import Dataset
from labelgen.report.records import SHARES, BracketRecord, SampleColumns
from labelgen.report.text import MAX_CHARACTERS, ellipsize, evenly_spaced

MAX_SAMPLES, MAX_BYTES = 256, 1 << 30
"""Limits of the samples whose labels and weights are read: their number, and bytes of images."""
MAX_DOTS = 1500
"""Brackets that a chart has a dot for."""
MAX_CAMERAS = 8
"""Cameras whose response is shown."""
REJECTS_BYTES, REMARKS_BYTES, MARKUP_BYTES = 4_000_000, 1_000_000, 70
"""Sizes of the lists of rejected brackets and remarks; and of the HTML of a line without text."""
MAX_KINDS = 200
"""Kinds of reasons that are shown."""
DARKEST = -14.0
"""Lower end of the histogram of radiance, in stops relative to the clip of the shortest frame."""
BIN = 0.5
"""Width of a bin, in stops."""
STAGES = ("survey", "make", "join")


def chart_data(
    data: Dataset, columns: SampleColumns, used: Sequence[BracketRecord]
) -> dict[str, Any]:
    """Return the data of the charts of a page.

    Parameters
    ----------
    data : Dataset
        Labels and weights of at most 256 samples are read from it.
    columns : SampleColumns
        Of the dataset.
    used : sequence of BracketRecord
        The brackets that gave samples.

    Returns
    -------
    dict
        For `charts.js`. "read" is the number of samples that were read, "dots" the number of
        brackets in the scatter plots.
    """
    dots = evenly_spaced(used, MAX_DOTS)
    return {
        "branches": [
            {"name": name, "samples": count}
            for name, count in count_branches(columns.branch).items()
        ],
        "brackets": [_dot(record) for record in dots],
        "exposures": [
            {"name": ellipsize(record.name, 40), "frame": i, "ev": ev, "off": round(ev - stated, 3)}
            for record in dots
            for i, (ev, stated) in enumerate(zip(record.ev, record.stated, strict=True))
        ],
        "reference": data.header.reference,
        "responses": _responses(data.header.responses),
        "noise": _noise(used),
        "dots": len(dots),
    } | _image_histograms(data, columns)


def _dot(record: BracketRecord) -> dict[str, Any]:
    shares = {key: record.shares.get(key) for key in SHARES}
    shift = max(record.alignment, default=None)
    sizes = dict(zip(("median", "largest"), record.moving, strict=False))
    return {"name": ellipsize(record.name, 40), "shift": shift, "sizes": sizes} | shares


def _image_histograms(data: Dataset, columns: SampleColumns) -> dict[str, Any]:
    """Return histograms of weights by branch, and of radiance, over evenly spaced samples."""
    images = data.images[0].values()
    size = sum(int(np.prod(image.shape[1:])) * image.dtype.itemsize for image in images)
    rows = evenly_spaced(range(len(data)), max(1, min(MAX_SAMPLES, MAX_BYTES // max(size, 1))))
    weights = np.zeros((256, 256), np.int64)  # branches x weights; damaged branches included
    radiances = np.zeros((2, int(-DARKEST / BIN)), np.int64)  # not trusted, trusted x bins
    for row in rows:
        weight = data.image("weight", row)
        radiance = np.nan_to_num(data.image("label", row).astype(np.float32), posinf=0, neginf=0)
        weights[columns.branch[row]] += np.bincount(weight.ravel(), minlength=256)
        stops = np.log2(np.maximum(radiance.mean(-1), 2.0 ** (DARKEST - 1)))
        bins = np.clip((stops - DARKEST) / BIN, 0, radiances.shape[1] - 1).astype(int)
        trusted = weight >= TRUSTED_WEIGHT
        for k, mask in enumerate((~trusted, trusted)):
            radiances[k] += np.bincount(bins[mask], minlength=radiances.shape[1])
    pixels = max(int(weights.sum()), 1)
    return {
        "read": len(rows),
        "trust": [
            {"name": name, "pixels": int(counts.sum())} | _weight_classes(counts)
            for name, counts in zip(("all", *BRANCHES), (weights.sum(0), *weights), strict=False)
            if counts.sum()
        ],
        "radiance": [
            {"stops": DARKEST + k * BIN, "trusted": trusted, "share": count / pixels}
            for trusted, counts in zip((False, True), radiances.tolist(), strict=True)
            for k, count in enumerate(counts)
        ],
        "bin": BIN,
    }


def _weight_classes(counts: Array) -> dict[str, float]:
    """Return shares of pixels by class of weight, from counts (256,) of weights."""
    classes = {"none": (0, 1), "guess": (1, 128), "part": (128, 255), "full": (255, 256)}
    return {
        name: round(float(counts[first:end].sum() / counts.sum()), 5)
        for name, (first, end) in classes.items()
    }


def _responses(responses: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the responses of the cameras with most brackets; curves at every fourth code."""
    by_brackets = sorted(responses.items(), key=lambda item: -item[1]["brackets"])
    return [
        {
            "camera": ellipsize(camera, 60),
            "name": ellipsize(describe_response(response["name"], response.get("mixing")), 60),
            "brackets": response["brackets"],
            "misfit": response.get("misfit"),
            "curves": [[*curve[::4], curve[-1]] for curve in response.get("curves", ())],
        }
        for camera, response in by_brackets[:MAX_CAMERAS]
    ]


def _noise(used: Sequence[BracketRecord]) -> list[dict[str, Any]]:
    """Return the distinct noise models, with the number of brackets that have each."""
    models = Counter((record.camera, *record.noise) for record in used if record.noise)
    return [
        {
            "camera": ellipsize(camera or "unknown camera", 40),
            "well": well,
            "read": read,
            "brackets": n,
        }
        for (camera, well, read), n in models.most_common(200)
    ]


@dataclass(frozen=True)
class BracketGroup:
    """Brackets that were rejected for the same kind of reason, or have remarks."""

    kind: str
    count: int
    listed: list[tuple[str, str]]
    """Names with their own text, as many as fit. The text is empty if `kind` says it all."""


def group_rejects(records: Sequence[BracketRecord]) -> list[BracketGroup]:
    """Group rejected brackets by reason, ignoring numbers and file names; the largest first."""
    by_kind: dict[str, list[BracketRecord]] = {}
    for record in records:
        if record.rejected:
            by_kind.setdefault(_reason_kind(record.rejected), []).append(record)
    free, groups = REJECTS_BYTES, []
    for kind, members in sorted(by_kind.items(), key=lambda item: -len(item[1]))[:MAX_KINDS]:
        reason = members[0].rejected
        is_common = len(reason) <= MAX_CHARACTERS and all(m.rejected == reason for m in members)
        lines = ((m.name, "" if is_common else m.rejected) for m in members)
        listed, free = _list_lines(lines, free)
        groups.append(BracketGroup(ellipsize(reason) if is_common else kind, len(members), listed))
    return groups


def group_remarks(used: Sequence[BracketRecord]) -> BracketGroup:
    """Return the brackets that were used in spite of problems."""
    lines = [(record.name, "; ".join(record.problems[:8])) for record in used if record.problems]
    listed, _ = _list_lines(iter(lines), REMARKS_BYTES)
    return BracketGroup("used, with a remark", len(lines), listed)


def _list_lines(lines: Iterator[tuple[str, str]], free: int) -> tuple[list[tuple[str, str]], int]:
    """Shorten as many lines as fit into some bytes of a page, and return the bytes that remain."""
    listed = []
    for name, text in lines:
        line = ellipsize(name), ellipsize(text, 300)
        free -= MARKUP_BYTES + sum(len(escape(part).encode()) for part in line)
        if free < 0:
            break
        listed.append(line)
    return listed, max(free, 0)


def _reason_kind(reason: str) -> str:
    """Return a reason without file names, details and numbers."""
    text = re.sub(r"^[^:]{1,200}\.\w{2,5}: ", "", reason[:400]).split(": ")[0].split(";")[0]
    return ellipsize(re.sub(r"\d+(?:[.,]\d+)*", "…", text))


def build_times(path: Path, fingerprint: str) -> dict[str, Any]:
    """Read how long a build took, from the file that it left beside the dataset.

    Parameters
    ----------
    path : Path
        The dataset.
    fingerprint : str
        Of the dataset.

    Returns
    -------
    dict
        "stages" (seconds by stage) and "resumed". Empty without the file, or if it is of another
        build.

    Raises
    ------
    UserError
        The file is not of its form.
    """
    times_path = build_times_path(path)
    if not times_path.is_file():
        return {}
    try:
        times = read_json(times_path)
        if times["fingerprint"] != fingerprint:
            return {}
        seconds = {stage: max(expect_number(times[stage]), 0.0) for stage in STAGES}
        return {"stages": seconds, "resumed": times["resumed"] is True}
    except PARSE_ERRORS as e:
        raise UserError(f"{times_path}: not what a build writes; remove it") from e
