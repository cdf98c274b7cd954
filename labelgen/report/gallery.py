"""Brackets as a page shows them: a mosaic of their patches, and some samples with all variants."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.progress import Progress
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.reader import Dataset
from labelgen.report.entries import SampleColumns, BracketRecord
from labelgen.report.mosaic import (
    MAX_FRAMES,
    PLAIN_COVER,
    Mosaic,
    MosaicPatch,
    encode_small,
    shown_exposures,
    patch_positions,
    resize,
)
from labelgen.report.pictures import codes_uri, radiance_uri, trust_uri
from labelgen.report.text import ellipsize, evenly_spaced

PAGE_BYTES = 21 << 20
"""Of all brackets together, so that a page stays below 30 MB."""
READ_BYTES = 4 << 30
"""Of samples that are read for them."""
MAX_BRACKETS = 36
MIN_PIXELS, MAX_PIXELS = 90_000, 420_000
"""Of a mosaic, by how many brackets share a page."""
BYTES_PER_PIXEL, SAMPLE_BYTES = 4.5, 250_000
"""Of all pictures of a mosaic, and of all samples of a bracket, about, as text."""
SAMPLES, VARIANTS, SIDE = 3, 6, 128
"""Patches of a bracket that are shown with all variants, how many variants, and px of them."""


def choose_brackets(
    data: Dataset, rows: SampleColumns, used: Sequence[BracketRecord], tell: Progress
) -> list[dict[str, Any]]:
    """An even choice of brackets for `viewer.js`, as many as a page holds.

    Parameters
    ----------
    data : Dataset
        Whose samples are read, of the chosen brackets alone.
    rows : Rows
        Its columns.
    used : sequence of Entry
        The brackets that gave samples, in their order.
    tell : Progress
        Told of every bracket.
    """
    chosen = evenly_spaced(used, MAX_BRACKETS)
    share = (PAGE_BYTES / max(len(chosen), 1) - SAMPLE_BYTES) / BYTES_PER_PIXEL
    pixels = int(np.clip(share, MIN_PIXELS, MAX_PIXELS))
    tell.start("report", len(chosen))
    found: dict[int, dict[str, Any]] = {}
    left = PAGE_BYTES
    for k in _evenly_spaced_order(
        len(chosen)
    ):  # whenever the page is full, the choice so far is even
        made = _bracket(data, rows, chosen[k], pixels, READ_BYTES // len(chosen))
        left -= len(json.dumps(made))
        if left < 0 and found:
            break
        found[k] = made
        tell.step(0, False)
    return [found[k] for k in sorted(found)]


def _evenly_spaced_order(n: int) -> list[int]:
    """0 to n - 1 in an order of which every beginning is spread evenly."""
    return sorted(range(n), key=lambda k: f"{k:016b}"[::-1])


def _bracket(
    data: Dataset, rows: SampleColumns, entry: BracketRecord, pixels: int, most: int
) -> dict[str, Any]:
    patches = patch_positions(rows, *rows.brackets[entry.name])
    mosaic = Mosaic.of(data, entry, patches, pixels)
    mosaic.fill(data, patches, most)
    ev = shown_exposures(data, rows.brackets[entry.name][0])
    branch = {"plain": sum(bool(p.plain) for p in patches), "all": len(patches)}
    return {
        "name": ellipsize(entry.name),
        "width": mosaic.label.shape[1],
        "height": mosaic.label.shape[0],
        "zoom": mosaic.zoom,
        "side": data.header.patch,
        "ev": [round(float(v), 3) for v in ev],
        "thumb": codes_uri(mosaic.thumb(float(ev[min(data.header.reference, len(ev) - 1)])), 78),
        "frames": [codes_uri(mosaic.grounded(frame)) for frame in mosaic.frames],
        "label": radiance_uri(mosaic.label),
        "trust": trust_uri(mosaic.weight, mosaic.cover),
        "patches": [[p.y, p.x, int(bool(p.plain))] for p in patches],
        "places": branch,
        "samples": [_sample(data, rows, patch) for patch in _most_varied(patches)],
        "facts": _facts(entry, rows),
        "shares": entry.shares,
        "problems": [ellipsize(problem, 300) for problem in entry.problems[:20]],
    }


def _most_varied(patches: Sequence[MosaicPatch]) -> list[MosaicPatch]:
    """An even choice of the patches that have most variants."""
    most = max(len(p.rows) for p in patches)
    return evenly_spaced([p for p in patches if len(p.rows) == most], SAMPLES)


def _sample(data: Dataset, rows: SampleColumns, patch: MosaicPatch) -> dict[str, Any]:
    """All variants of a patch below each other, its frames beside each other."""
    own = patch.rows[:VARIANTS]
    side = min(SIDE, data.header.patch)
    sheets: dict[str, list[Array]] = {"inputs": [], "label": [], "weight": []}
    for row in own:
        codes = [encode_small(f, (side, side)) for f in data.image("inputs", row)[:MAX_FRAMES]]
        sheets["inputs"].append(np.concatenate(codes, 1))
        for name in "label", "weight":
            image = np.nan_to_num(data.image(name, row).astype(np.float32), posinf=0)
            sheets[name].append(resize(image, (side, side)))
    frames, label, weight = (np.concatenate(sheet) for sheet in sheets.values())
    trust = np.rint(weight).astype(np.uint8)
    return {
        "y": patch.y,
        "x": patch.x,
        "side": side,
        "more": len(patch.rows) - len(own),
        "variants": [[_branch(rows, row), int(rows.variant[row])] for row in own],
        "frames": codes_uri(frames),
        "label": radiance_uri(label),
        "trust": trust_uri(trust, np.full_like(trust, PLAIN_COVER)),
    }


def _branch(rows: SampleColumns, row: int) -> str:
    number = int(rows.branch[row])
    return BRANCHES[number] if number < len(BRANCHES) else f"branch {number}"


def _facts(entry: BracketRecord, rows: SampleColumns) -> list[list[str]]:
    """Terms and figures of a bracket, as texts."""
    first, end = rows.brackets[entry.name]
    facts = [["Samples", f"{end - first:,}"]]
    if entry.size:
        facts.append(["Frame", f"{entry.size[1]} \u00d7 {entry.size[0]} px"])
    for name, share in entry.shares.items():
        facts.append([f"{name.capitalize()} pixels", f"{100 * share:.1f} %"])
    if entry.moving:
        facts.append(["Moving things", " · ".join(f"{px:.0f}" for px in entry.moving) + " px"])
    if entry.alignment:
        facts.append(["Shift of frames", " · ".join(f"{px:.1f}" for px in entry.alignment) + " px"])
    facts.append(["Camera", ellipsize(entry.camera or "unknown")])
    misfit = "" if entry.misfit is None else f", off by {entry.misfit:.2f} codes of 255"
    facts.append(["Response", ellipsize(entry.response) + misfit])
    if entry.noise:
        well, read = entry.noise
        facts.append(["Noise", f"full well {well:,.0f} e⁻, read {read:.1f} e⁻"])
    for i, (file, ev, stated) in enumerate(zip(entry.files, entry.ev, entry.stated, strict=True)):
        off = ev - stated
        moved = f" ({off:+.2f} by the pixels)" if abs(off) >= 0.005 else ""
        source = f", {ellipsize(entry.origins[i], 40)}" if entry.origins[i] else ""
        facts.append([f"Frame {i + 1}", f"{ellipsize(file)}: {ev:+.2f} EV{moved}{source}"])
    return facts
