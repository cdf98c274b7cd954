"""From samples of brackets to the dataset: one file, or an index beside numbered parts."""

from __future__ import annotations

import glob
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelgen.errors import UserError
from labelgen.files import publish, sha256, write_json
from labelgen.format import Layout, read_header
from labelgen.patches import most_samples
from labelgen.progress import Progress
from labelgen.recipe import Recipe
from labelgen.safe_hdf5 import PART
from labelgen.shard import COMPRESSION
from labelgen.write import Samples, join, part_name, write_index

PART_BYTES = 8 << 30
"""Size above which a dataset is split."""


@dataclass(frozen=True)
class Storage:
    """How a dataset is stored, and the texts it carries; none of it changes what is inside."""

    compress: str = "none"
    part_bytes: int = PART_BYTES
    license: str = ""
    citation: str = ""

    def __post_init__(self) -> None:
        if self.compress not in COMPRESSION:
            choices = " or ".join(COMPRESSION)
            raise UserError(f"--compress is '{self.compress}', expected {choices}")
        if self.part_bytes < 1:
            raise UserError(f"--part-size is {self.part_bytes} bytes, expected at least 1")
        for name, text in (("--license", self.license), ("--citation", self.citation)):
            if text != text.encode("utf-8", "replace").decode():
                raise UserError(f"{name} is not UTF-8 text")


def disk_needed(
    sizes: Sequence[tuple[int, int]], recipe: Recipe, layout: Layout, part_bytes: int
) -> tuple[int, int]:
    """Bytes that a dataset may take at most, and while shards and a part stand side by side."""
    samples = sum(most_samples(size, layout.patch, recipe.patches) for size in sizes)
    expected = samples * layout.sample_bytes
    return expected, expected + min(expected, part_bytes)


def parts_of(out: Path) -> set[Path]:
    """The parts that an existing dataset has beside it; none if it is one file or not there."""
    try:
        names = [Path(p["file"]).name for p in read_header(out).parts]
    except UserError:
        return set()
    # A copied index names the parts of the dataset that it was copied from.
    return {out.with_name(name) for name in names if name.startswith(f"{out.stem}-")}


def check_parts(out: Path) -> None:
    """Refuse the name of a dataset whose parts would stand among those of another.

    Raises
    ------
    UserError
        Files that are called as its parts are not its own.
    """
    own = parts_of(out)
    others = out.parent.glob(f"{glob.escape(out.stem)}-*-of-*{out.suffix}")
    for path in sorted(others):
        if PART.fullmatch(path.name) and path not in own:
            raise UserError(f"{path}: a part of another dataset; move it, or give another name")


def assemble(
    sources: Sequence[Samples],
    out: Path,
    work: Path,
    layout: Layout,
    attributes: dict[str, Any],
    part_bytes: int,
    tell: Progress,
    remedy: str = "--resume",
) -> None:
    """Join samples under their final names; the one that users pass on comes last.

    Parameters
    ----------
    sources : sequence of Samples
        Of one bracket each, in the order of the rows.
    out : Path
        The dataset.
    work : Path
        Folder on the same disk for what is unfinished.
    layout : Layout
        Of all samples.
    attributes : dict
        Root attributes.
    part_bytes : int
        Size above which the dataset is split, between brackets.
    tell : Progress
        Told what happens.
    remedy : str
        What to do once a disk that is full has room.
    """
    try:
        _assemble(sources, out, work, layout, attributes, part_bytes, tell)
    except (OSError, RuntimeError) as e:  # h5py has both for a disk that is full
        number = re.search(r"errno = (\d+)", str(e))
        reason = os.strerror(int(number[1])) if number else getattr(e, "strerror", None) or e
        raise UserError(f"{out}: cannot be written ({reason}); mend that, then {remedy}") from e


def _assemble(
    sources: Sequence[Samples],
    out: Path,
    work: Path,
    layout: Layout,
    attributes: dict[str, Any],
    part_bytes: int,
    tell: Progress,
) -> None:
    groups = _split(sources, layout.sample_bytes, part_bytes)
    scene_bytes = max(len(s.scene.encode()) for s in sources)
    tell.start("join", len(groups))
    if len(groups) == 1:
        join(sources, work / "joined.tmp", layout, attributes, scene_bytes)
        publish(work / "joined.tmp", out)
        tell.step(0, False)
        return
    parts = []
    for k, group in enumerate(groups):
        name = part_name(out, k, len(groups))
        parts.append(join_part(group, k, name, work, layout, attributes, scene_bytes))
        tell.step(0, False)
    write_index(work / "index.tmp", parts, layout, attributes, scene_bytes)
    out.unlink(missing_ok=True)  # an old index must not stand beside new parts
    for part in parts:
        if (work / part["file"]).exists():
            publish(work / part["file"], out.with_name(part["file"]))
    publish(work / "index.tmp", out)


def _split(sources: Sequence[Samples], sample_bytes: int, limit: int) -> list[list[Samples]]:
    """Consecutive brackets of at most that many bytes together (or a single larger one)."""
    groups: list[list[Samples]] = [[]]
    filled = 0
    for source in sources:
        size = source.rows * sample_bytes
        if groups[-1] and filled + size > limit:
            groups.append([])
            filled = 0
        groups[-1].append(source)
        filled += size
    return groups


def join_part(
    group: Sequence[Samples],
    number: int,
    name: str,
    work: Path,
    layout: Layout,
    attributes: dict[str, Any],
    scene_bytes: int,
) -> dict[str, Any]:
    """Join one part, note it, and free the samples; a part that is noted is not joined again.

    Parameters
    ----------
    group : sequence of Samples
        Its samples by bracket, in the order of the rows.
    number, name : int, str
        Which part of the dataset it is, from 0, and the name of its file.
    work : Path
        The folder where it is made.
    layout : Layout
        Of all samples.
    attributes : dict
        Root attributes of the dataset.
    scene_bytes : int
        Length of the longest name of a bracket in the dataset, in UTF-8.

    Returns
    -------
    dict
        What an index says of it: "file", "rows", "bytes", "sha256".
    """
    note = work / f"{name}.json"
    if note.exists():
        return dict(json.loads(note.read_text()))
    own = {k: v for k, v in attributes.items() if k != "scenes"} | {"part": number}
    temporary = work / f"{name}.tmp"
    join(group, temporary, layout, own, scene_bytes)
    part = {
        "file": name,
        "rows": sum(s.rows for s in group),
        "bytes": temporary.stat().st_size,
        "sha256": sha256(temporary),
    }
    publish(temporary, work / name)
    write_json(note, part)
    for source in group:
        source.free()
    return part
