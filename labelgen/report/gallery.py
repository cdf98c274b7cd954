"""Gather the gallery of a page: a mosaic of each bracket, and some samples with all variants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.progress import Progress
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.reader import Dataset
from labelgen.report.mosaic import (
    MAX_FRAMES,
    PLAIN_COVER,
    Mosaic,
    MosaicPatch,
    encode_small,
    patch_positions,
    resize,
    shown_exposures,
)
from labelgen.report.pictures import codes_uri, radiance_uri, trust_uri
from labelgen.report.records import BracketRecord, SampleColumns
from labelgen.report.text import ellipsize, evenly_spaced

PAGE_BYTES = 21 << 20
"""Size of the gallery: the page stays below 30 MB."""
READ_BYTES = 4 << 30
"""Bytes of samples that are read for the gallery."""
MAX_BRACKETS = 36
MIN_PIXELS, MAX_PIXELS = 90_000, 420_000
"""Pixels of a mosaic; fewer if more brackets share the page."""
BYTES_PER_PIXEL, SAMPLE_BYTES = 4.5, 250_000
"""Approximate size in the page of a mosaic, per pixel, and of all samples of a bracket."""
SAMPLES, VARIANTS, SIDE = 3, 6, 128
"""Patches of a bracket that are shown with variants, variants of each, and their side (px)."""


def choose_brackets(
    data: Dataset, columns: SampleColumns, used: Sequence[BracketRecord], progress: Progress
) -> list[dict[str, Any]]:
    """Return evenly spaced brackets for `viewer.js`, as many as fit the page.

    Parameters
    ----------
    data : Dataset
        Samples of the chosen brackets are read from it.
    columns : SampleColumns
        Of the dataset.
    used : sequence of BracketRecord
        The brackets that gave samples, in the order of the dataset.
    progress : Progress
        Reports every bracket.
    """
    chosen = evenly_spaced(used, MAX_BRACKETS)
    share = (PAGE_BYTES / max(len(chosen), 1) - SAMPLE_BYTES) / BYTES_PER_PIXEL
    pixels = int(np.clip(share, MIN_PIXELS, MAX_PIXELS))
    progress.start("report", len(chosen))
    shown: dict[int, dict[str, Any]] = {}
    free = PAGE_BYTES
    for k in _bit_reversed_order(len(chosen)):
        bracket = _bracket(data, columns, chosen[k], pixels, READ_BYTES // len(chosen))
        free -= len(json.dumps(bracket))
        if free < 0 and shown:
            break
        shown[k] = bracket
        progress.step(0, False)
    return [shown[k] for k in sorted(shown)]


def _bit_reversed_order(n: int) -> list[int]:
    """Return 0 to n - 1 in an order of which any first few are spread evenly."""
    return sorted(range(n), key=lambda k: f"{k:016b}"[::-1])


def _bracket(
    data: Dataset, columns: SampleColumns, record: BracketRecord, pixels: int, max_bytes: int
) -> dict[str, Any]:
    patches = patch_positions(columns, *columns.brackets[record.name])
    mosaic = Mosaic.of(data, record, patches, pixels)
    mosaic.fill(data, patches, max_bytes)
    ev = shown_exposures(data, columns.brackets[record.name][0])
    reference_ev = float(ev[min(data.header.reference, len(ev) - 1)])
    return {
        "name": ellipsize(record.name),
        "width": mosaic.label.shape[1],
        "height": mosaic.label.shape[0],
        "zoom": mosaic.zoom,
        "side": data.header.patch,
        "ev": [round(float(v), 3) for v in ev],
        "thumb": codes_uri(mosaic.thumbnail(reference_ev), 78),
        "frames": [codes_uri(mosaic.with_background(frame)) for frame in mosaic.frames],
        "label": radiance_uri(mosaic.label),
        "trust": trust_uri(mosaic.weight, mosaic.cover),
        "patches": [[p.y, p.x, int(bool(p.plain))] for p in patches],
        "places": {"plain": sum(bool(p.plain) for p in patches), "all": len(patches)},
        "samples": [_sample(data, columns, patch) for patch in _most_varied(patches)],
        "facts": _facts(record, columns),
        "shares": record.shares,
        "problems": [ellipsize(problem, 300) for problem in record.problems[:20]],
    }


def _most_varied(patches: Sequence[MosaicPatch]) -> list[MosaicPatch]:
    """Return evenly spaced patches among those with the most variants."""
    variants = max(len(patch.rows) for patch in patches)
    return evenly_spaced([patch for patch in patches if len(patch.rows) == variants], SAMPLES)


def _sample(data: Dataset, columns: SampleColumns, patch: MosaicPatch) -> dict[str, Any]:
    """Return the variants of a patch in sheets, one variant per row and one frame per column."""
    rows = patch.rows[:VARIANTS]
    side = min(SIDE, data.header.patch)
    sheets: dict[str, list[Array]] = {"inputs": [], "label": [], "weight": []}
    for row in rows:
        frames = data.image("inputs", row)[:MAX_FRAMES]
        codes = [encode_small(frame, (side, side)) for frame in frames]
        sheets["inputs"].append(np.concatenate(codes, 1))
        for name in "label", "weight":
            image = np.nan_to_num(data.image(name, row).astype(np.float32), posinf=0)
            sheets[name].append(resize(image, (side, side)))
    inputs, label, weight = (np.concatenate(sheet) for sheet in sheets.values())
    trust = np.rint(weight).astype(np.uint8)
    return {
        "y": patch.y,
        "x": patch.x,
        "side": side,
        "more": len(patch.rows) - len(rows),
        "variants": [[_branch_name(columns, row), int(columns.variant[row])] for row in rows],
        "frames": codes_uri(inputs),
        "label": radiance_uri(label),
        "trust": trust_uri(trust, np.full_like(trust, PLAIN_COVER)),
    }


def _branch_name(columns: SampleColumns, row: int) -> str:
    number = int(columns.branch[row])
    return BRANCHES[number] if number < len(BRANCHES) else f"branch {number}"


def _facts(record: BracketRecord, columns: SampleColumns) -> list[list[str]]:
    """Return the facts of a bracket as pairs of term and text."""
    first, end = columns.brackets[record.name]
    facts = [["Samples", f"{end - first:,}"]]
    if record.size:
        facts.append(["Frame", f"{record.size[1]} \u00d7 {record.size[0]} px"])
    for name, share in record.shares.items():
        facts.append([f"{name.capitalize()} pixels", f"{100 * share:.1f} %"])
    if record.moving:
        facts.append(["Moving things", " · ".join(f"{px:.0f}" for px in record.moving) + " px"])
    if record.alignment:
        facts.append(
            ["Shift of frames", " · ".join(f"{px:.1f}" for px in record.alignment) + " px"]
        )
    facts.append(["Camera", ellipsize(record.camera or "unknown")])
    misfit = "" if record.misfit is None else f", off by {record.misfit:.2f} codes of 255"
    facts.append(["Response", ellipsize(record.response) + misfit])
    if record.noise:
        well, read = record.noise
        facts.append(["Noise", f"full well {well:,.0f} e⁻, read {read:.1f} e⁻"])
    frames = zip(record.files, record.ev, record.stated, record.origins, strict=True)
    for number, (file, ev, stated, origin) in enumerate(frames, 1):
        correction = f" ({ev - stated:+.2f} by the pixels)" if abs(ev - stated) >= 0.005 else ""
        source = f", {ellipsize(origin, 40)}" if origin else ""
        facts.append([f"Frame {number}", f"{ellipsize(file)}: {ev:+.2f} EV{correction}{source}"])
    return facts
