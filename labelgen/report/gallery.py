"""Brackets as a page shows them: a mosaic of their patches, and some samples with all variants.

The photos are not at hand. What is pasted are patches as they were taken, the one of several
variants whose frames were moved least; patches that are only there under synthetic light or with
moving pieces are pasted below them and marked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from labelgen.arrays import Array, Bytes, Float
from labelgen.format import BRANCHES, Dataset
from labelgen.progress import Progress
from labelgen.report.entries import Entry, Rows
from labelgen.report.pictures import codes_uri, radiance_uri, trust_uri
from labelgen.report.text import even, shown
from labelgen.response import GAMMA, decode, encode, mu_law

PAGE_BYTES = 22 << 20
"""Of all brackets together, so that a page stays below 30 MB."""
READ_BYTES = 4 << 30
"""Of samples that are read for them."""
MOST_BRACKETS, MOST_ROWS = 36, 20_000
LEAST_PIXELS, MOST_PIXELS, MOST_SIDE = 90_000, 420_000, 1200
"""Of a mosaic, by how many brackets share a page; and its longest side."""
BYTES_PER_PIXEL = 4.5
"""Of all pictures of a mosaic, about, as text."""
THUMB = 168
"""px, the wider side of a thumbnail."""
SAMPLES, VARIANTS, SIDE = 3, 6, 128
"""Patches of a bracket that are shown with all variants, how many variants, and px of them."""
MOST_FRAMES = 9
"""Of a bracket that are shown."""
MOST_EV = 60.0
"""Stops: what a damaged column says beyond it is cut."""
PLAIN = tuple(BRANCHES.index(name) for name in ("static", "reference", "truth"))
AUGMENTED_COVER, PLAIN_COVER = 128, 255


@dataclass(frozen=True)
class Patch:
    """One place of a bracket: its rows as they were taken, and the augmented ones."""

    y: int
    x: int
    plain: tuple[int, ...]
    augmented: tuple[int, ...]

    @property
    def rows(self) -> tuple[int, ...]:
        """All rows, by variant."""
        return tuple(sorted(self.plain + self.augmented))


def brackets(
    data: Dataset, rows: Rows, used: Sequence[Entry], tell: Progress
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
    chosen = even(used, MOST_BRACKETS)
    share = PAGE_BYTES / max(len(chosen), 1) / BYTES_PER_PIXEL
    pixels = int(np.clip(share, LEAST_PIXELS, MOST_PIXELS))
    tell.start("report", len(chosen))
    found: dict[int, dict[str, Any]] = {}
    left = PAGE_BYTES
    for k in _spread(len(chosen)):  # whenever the page is full, the choice so far is even
        made = _bracket(data, rows, chosen[k], pixels, READ_BYTES // len(chosen))
        left -= sum(len(text) for text in _texts(made))
        if left < 0 and found:
            break
        found[k] = made
        tell.step(0, False)
    return [found[k] for k in sorted(found)]


def _spread(n: int) -> list[int]:
    """0 to n - 1 in an order of which every beginning is spread evenly."""
    return sorted(range(n), key=lambda k: f"{k:016b}"[::-1])


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item)


def _bracket(data: Dataset, rows: Rows, entry: Entry, pixels: int, most: int) -> dict[str, Any]:
    patches = _patches(rows, *rows.brackets[entry.name])
    mosaic = Mosaic.of(data, rows, entry, patches, pixels)
    mosaic.fill(data, patches, most)
    first = rows.brackets[entry.name][0]
    branch = {"plain": sum(bool(p.plain) for p in patches), "all": len(patches)}
    return {
        "name": shown(entry.name),
        "width": mosaic.label.shape[1],
        "height": mosaic.label.shape[0],
        "zoom": mosaic.zoom,
        "side": data.header.patch,
        "ev": [round(float(v), 3) for v in _ev(data, first)],
        "thumb": mosaic.thumb(),
        "frames": [codes_uri(frame) for frame in mosaic.frames],
        "label": radiance_uri(mosaic.label),
        "trust": trust_uri(mosaic.weight, mosaic.cover),
        "patches": [[p.y, p.x, int(bool(p.plain))] for p in patches],
        "places": branch,
        "samples": [_sample(data, rows, patch) for patch in _most_varied(patches)],
        "facts": _facts(entry, rows),
        "shares": entry.shares,
        "problems": [shown(problem, 300) for problem in entry.problems[:20]],
    }


def _ev(data: Dataset, row: int) -> Array:
    part, local = data.place(row)
    ev = np.nan_to_num(data.files[part]["ev"][local][:MOST_FRAMES])
    return np.clip(ev, -MOST_EV, MOST_EV)


def _patches(rows: Rows, first: int, end: int) -> list[Patch]:
    """The places of a bracket, in the order of its rows."""
    places: dict[tuple[int, int], list[int]] = {}
    for row in range(first, min(end, first + MOST_ROWS)):
        y, x = rows.origin[row].tolist()
        places.setdefault((y, x), []).append(row)
    split = []
    for (y, x), own in places.items():
        plain = tuple(row for row in own if rows.branch[row] in PLAIN)
        split.append(Patch(y, x, plain, tuple(row for row in own if row not in plain)))
    return split


@dataclass(frozen=True)
class Mosaic:
    """A bracket at a fraction of its size: what patches tell of it.

    `frames` are (H, W, 3) uint8, `label` (H, W, 3) float32; `weight` and `cover` (H, W) uint8,
    where 255 is covered by a patch as it was taken, 128 by an augmented one, 0 by none.
    """

    zoom: float
    frames: list[Bytes]
    label: Float
    weight: Bytes
    cover: Bytes

    @staticmethod
    def of(
        data: Dataset, rows: Rows, entry: Entry, patches: Sequence[Patch], pixels: int
    ) -> Mosaic:
        """An empty one of about so many pixels."""
        side = data.header.patch
        ends = max(p.y for p in patches) + side, max(p.x for p in patches) + side
        height, width = entry.size or tuple(int(np.clip(n, side, 2**20)) for n in ends)
        zoom = min(1.0, (pixels / (height * width)) ** 0.5, MOST_SIDE / max(height, width))
        size = max(1, round(height * zoom)), max(1, round(width * zoom))
        return Mosaic(
            zoom,
            [np.zeros((*size, 3), np.uint8) for _ in range(min(data.header.frames, MOST_FRAMES))],
            np.zeros((*size, 3), np.float32),
            np.zeros(size, np.uint8),
            np.zeros(size, np.uint8),
        )

    def fill(self, data: Dataset, patches: Sequence[Patch], most: int) -> None:
        """Paste the patches, reading at most so many bytes, or one sample."""
        images = data.images[0]
        size = sum(int(np.prod(i.shape[1:])) * i.dtype.itemsize for i in images.values())
        left = max(1, most // size)
        for plain in False, True:
            layer = [p for p in patches if bool(p.plain) is plain]
            for patch in even(layer, left):
                spare = max(1, left // max(len(layer), 1))
                self._paste(data, patch, (patch.plain or patch.augmented[:1])[:spare])

    def _paste(self, data: Dataset, patch: Patch, candidates: Sequence[int]) -> None:
        """Paste the one of several samples whose frames agree best with the label."""
        read = [[data.image(n, row) for n in ("inputs", "label", "weight")] for row in candidates]
        ev = _ev(data, candidates[0])
        if len(read) > 1:
            codes, label, weight = min(read, key=lambda images: disagreement(*images, ev))
        else:
            codes, label, weight = read[0]
        for frame, own in zip(self.frames, codes, strict=False):
            self._put(frame, encode_small(own, self._shape(patch, own.shape[0])), patch)
        radiance = np.clip(np.nan_to_num(label.astype(np.float32), posinf=0), 0, 1)
        shape = self._shape(patch, label.shape[0])
        self._put(self.label, resized(radiance, shape), patch)
        self._put(self.weight, np.rint(resized(weight.astype(np.float32), shape)), patch)
        cover = PLAIN_COVER if patch.plain else AUGMENTED_COVER
        self._put(self.cover, np.full(shape, cover, np.uint8), patch)

    def _shape(self, patch: Patch, side: int) -> tuple[int, int]:
        ends = (round((v + side) * self.zoom) - round(v * self.zoom) for v in (patch.y, patch.x))
        height, width = (max(1, n) for n in ends)
        return height, width

    def _put(self, canvas: Array, picture: Array, patch: Patch) -> None:
        """Lay a picture on a canvas where its patch lies, as far as that is inside."""
        y, x = round(patch.y * self.zoom), round(patch.x * self.zoom)
        if 0 <= y < canvas.shape[0] and 0 <= x < canvas.shape[1]:
            here = canvas[y : y + picture.shape[0], x : x + picture.shape[1]]
            here[...] = picture[: here.shape[0], : here.shape[1]]

    def thumb(self) -> str:
        """The label, tone-mapped, small."""
        height, width = self.label.shape[:2]
        zoom = min(1.0, THUMB / max(height, width))
        small = resized(self.label, (max(1, round(height * zoom)), max(1, round(width * zoom))))
        return codes_uri(np.rint(255 * mu_law(small)).astype(np.uint8), 78)


def resized(image: Float, shape: tuple[int, int]) -> Float:
    """A (H, W) or (H, W, 3) float32 image in another size, averaged over what it stands for."""
    if image.shape[:2] == shape:
        return image
    return np.asarray(cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA))


def encode_small(codes: Array, shape: tuple[int, int]) -> Bytes:
    """Codes of a frame in another size and 8 bits, averaged as light."""
    return encode(resized(decode(codes), shape), 8).astype(np.uint8)


def disagreement(codes: Array, label: Array, weight: Array, ev: Array) -> float:
    """How far frames are from showing the label where it is trusted: mean mu-law difference.

    Every second pixel of those that are neither clipped nor dark in the frame.
    """
    step = np.s_[::2, ::2]
    truth, known = label[step].astype(np.float32), weight[step] >= 128
    off, count = 0.0, 0
    for frame, stops in zip(codes, ev, strict=False):
        light = decode(frame[step])
        tells = known & ((light < 0.9) & (light > 0.02**GAMMA)).all(-1)
        difference = np.abs(mu_law(light * np.float32(2.0**-stops)) - mu_law(truth))
        off += float(difference[tells].sum())
        count += int(tells.sum())
    return off / max(count, 1)


def _most_varied(patches: Sequence[Patch]) -> list[Patch]:
    """An even choice of the patches that have most variants."""
    most = max(len(p.rows) for p in patches)
    return even([p for p in patches if len(p.rows) == most], SAMPLES)


def _sample(data: Dataset, rows: Rows, patch: Patch) -> dict[str, Any]:
    """All variants of a patch below each other, its frames beside each other."""
    own = patch.rows[:VARIANTS]
    side = min(SIDE, data.header.patch)
    sheets: dict[str, list[Array]] = {"inputs": [], "label": [], "weight": []}
    for row in own:
        codes = [encode_small(f, (side, side)) for f in data.image("inputs", row)[:MOST_FRAMES]]
        sheets["inputs"].append(np.concatenate(codes, 1))
        for name in "label", "weight":
            image = np.nan_to_num(data.image(name, row).astype(np.float32), posinf=0)
            sheets[name].append(resized(image, (side, side)))
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


def _branch(rows: Rows, row: int) -> str:
    number = int(rows.branch[row])
    return BRANCHES[number] if number < len(BRANCHES) else f"branch {number}"


def _facts(entry: Entry, rows: Rows) -> list[list[str]]:
    """Terms and figures of a bracket, as texts."""
    first, end = rows.brackets[entry.name]
    facts = [["Samples", f"{end - first:,}"]]
    if entry.size:
        facts.append(["Frame", f"{entry.size[1]} × {entry.size[0]} px"])
    for name, share in entry.shares.items():
        facts.append([f"{name.capitalize()} pixels", f"{100 * share:.1f} %"])
    if entry.alignment:
        facts.append(["Shift of frames", " · ".join(f"{px:.1f}" for px in entry.alignment) + " px"])
    facts.append(["Camera", shown(entry.camera or "unknown")])
    misfit = "" if entry.misfit is None else f", off by {entry.misfit:.2f} codes of 255"
    facts.append(["Response", shown(entry.response) + misfit])
    if entry.noise:
        well, read = entry.noise
        facts.append(["Noise", f"full well {well:,.0f} e⁻, read {read:.1f} e⁻"])
    for i, (file, ev, stated) in enumerate(zip(entry.files, entry.ev, entry.stated, strict=True)):
        off = ev - stated
        moved = f" ({off:+.2f} by the pixels)" if abs(off) >= 0.005 else ""
        source = f", {shown(entry.origins[i], 40)}" if entry.origins[i] else ""
        facts.append([f"Frame {i + 1}", f"{shown(file)}: {ev:+.2f} EV{moved}{source}"])
    return facts
