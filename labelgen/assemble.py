"""From samples of brackets to the dataset: one file, or an index beside numbered parts."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
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
from labelgen.write import Samples, Writer, part_name, write_index

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


class Assembly:
    """A dataset that grows bracket by bracket, while others are made; in the end it gets its name.

    Parameters
    ----------
    out : Path
        The dataset.
    work : Path
        Folder on the same disk for what is unfinished.
    layout : Layout
        Of all samples.
    attributes : dict
        Root attributes, but for `scenes`.
    scene_bytes : int
        Length of the longest name of a bracket, in UTF-8.
    part_bytes : int
        Size above which the dataset is split, between brackets.
    remedy : str
        What to do once a disk that is full has room.

    Raises
    ------
    UserError
        By any method: the disk is full, or fails.
    """

    def __init__(
        self,
        out: Path,
        work: Path,
        layout: Layout,
        attributes: dict[str, Any],
        scene_bytes: int,
        part_bytes: int,
        remedy: str = "--resume",
    ) -> None:
        self.out, self.attributes, self.remedy = out, attributes, remedy
        self._new = partial(Part, work, layout, scene_bytes)
        self._most, self._work = part_bytes // layout.sample_bytes, work
        self._parts: list[dict[str, Any]] = []
        self._part: Part | None = None
        self.rows = 0

    def append(self, source: Samples) -> None:
        """Write the samples of a bracket, in the order of the rows."""
        with self._reported():
            if self._part and self._part.rows + source.rows > self._most:
                self._parts.append(self._part.finish(self.attributes))
                self._part = None
            self._part = self._part or self._new(len(self._parts))
            self._part.append(source)
            self.rows += source.rows

    def finish(self, scenes: dict[str, Any], tell: Progress) -> None:
        """Give all files their names; the one that users pass on comes last."""
        with self._reported():
            assert self._part is not None
            tell.start("join", len(self._parts) + 1)
            whole = self.attributes | {"scenes": scenes}
            if not self._parts:
                publish(self._part.whole(whole), self.out)
                tell.step(0, False)
                return
            self._parts.append(self._part.finish(self.attributes))
            self._name(whole, tell)

    def _name(self, attributes: dict[str, Any], tell: Progress) -> None:
        count, part = len(self._parts), self._part
        assert part is not None
        parts = [
            {"file": part_name(self.out, k, count)} | entry for k, entry in enumerate(self._parts)
        ]
        index = self._work / "index.tmp"
        write_index(index, parts, part.layout, attributes, part.scene_bytes)
        self.out.unlink(missing_ok=True)  # an old index must not stand beside new parts
        for k, entry in enumerate(parts):
            if (made := part_path(self._work, k)).exists():
                publish(made, self.out.with_name(entry["file"]))
            tell.step(0, False)
        publish(index, self.out)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """What is done on a disk; a failure is said on one line."""
        try:
            yield
        except (OSError, RuntimeError) as e:  # h5py has both for a disk that is full
            number = re.search(r"errno = (\d+)", str(e))
            reason = os.strerror(int(number[1])) if number else getattr(e, "strerror", None) or e
            raise UserError(
                f"{self.out}: cannot be written ({reason}); mend that, then {self.remedy}"
            ) from e

    def __enter__(self) -> Assembly:
        return self

    def __exit__(self, *reason: object) -> None:
        if self._part:
            self._part.__exit__(*reason)


def assemble(
    sources: Sequence[Samples],
    out: Path,
    work: Path,
    layout: Layout,
    attributes: dict[str, Any],
    part_bytes: int,
    tell: Progress,
    remedy: str,
) -> None:
    """Write a dataset of samples that are there; parameters as of `Assembly`.

    `sources` are of one bracket each, in the order of the rows; `attributes` are all.
    """
    scene_bytes = max(len(s.scene.encode()) for s in sources)
    own = {name: value for name, value in attributes.items() if name != "scenes"}
    with Assembly(out, work, layout, own, scene_bytes, part_bytes, remedy) as dataset:
        for source in sources:
            dataset.append(source)
        dataset.finish(attributes["scenes"], tell)


def part_path(work: Path, number: int) -> Path:
    """A part that is made, before it gets its name."""
    return work / f"part-{number:05d}.h5"


class Part:
    """One part of a dataset on its way; one that was finished before is not written again.

    Parameters
    ----------
    work : Path
        The folder where it is made.
    layout : Layout
        Of all samples.
    scene_bytes : int
        Length of the longest name of a bracket in the dataset, in UTF-8.
    number : int
        Which part of the dataset it is, from 0.
    """

    def __init__(self, work: Path, layout: Layout, scene_bytes: int, number: int) -> None:
        self.layout, self.scene_bytes, self.number = layout, scene_bytes, number
        self.path = part_path(work, number)
        self.note = self.path.with_suffix(".json")
        self.temporary = self.path.with_suffix(".tmp")
        self.rows, self.sources = 0, list[Samples]()
        done = self.note.exists()
        self._file = None if done else Writer(self.temporary, layout, scene_bytes)

    def append(self, source: Samples) -> None:
        """Write the samples of a bracket."""
        if self._file:
            self._file.append(source)
        self.sources.append(source)
        self.rows += source.rows

    def finish(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Note the part, and free the samples.

        Parameters
        ----------
        attributes : dict
            Root attributes of the dataset, but for `scenes`.

        Returns
        -------
        dict
            What an index says of it, but for its name: "rows", "bytes", "sha256".
        """
        if self._file is None:
            return dict(json.loads(self.note.read_text()))
        self.whole(attributes | {"part": self.number})
        size, digest = self.temporary.stat().st_size, sha256(self.temporary)
        part = {"rows": self.rows, "bytes": size, "sha256": digest}
        publish(self.temporary, self.path)
        write_json(self.note, part)
        for source in self.sources:
            source.free()
        return part

    def whole(self, attributes: dict[str, Any]) -> Path:
        """Write the rest of the file, with just these attributes; where it is."""
        assert self._file is not None
        with self._file as out:
            out.finish(attributes)
        return self.temporary

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:  # an error that ends it tells more than one of closing it
            with contextlib.suppress(OSError, RuntimeError):
                self._file.close()
