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

from labelgen.core.errors import UserError
from labelgen.core.files import atomic_rename, sha256, write_json
from labelgen.core.progress import Executor, Progress
from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.header import listed_parts
from labelgen.dataset.safe_hdf5 import DAMAGE, PART
from labelgen.dataset.shard import COMPRESSION
from labelgen.dataset.writer import SampleSource, Writer, part_name, write_index

PART_BYTES = 8 << 30
"""Size above which a dataset is split."""


@dataclass(frozen=True)
class StorageOptions:
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


def parts_of(out: Path) -> set[Path]:
    """The parts that an existing dataset has beside it; none if it is one file or not there."""
    try:
        names = [Path(p["file"]).name for p in listed_parts(out)]
    except (UserError, *DAMAGE):
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
    executor : Engine, optional
        Workers that write all parts but the first, once everything is made: when there are so many
        that one process would be longer about it. The bytes are the same.

    Raises
    ------
    UserError
        By any method: the disk is full, or fails.
    """

    def __init__(
        self,
        out: Path,
        work: Path,
        layout: SampleLayout,
        attributes: dict[str, Any],
        scene_bytes: int,
        part_bytes: int,
        remedy: str = "--resume",
        executor: Executor | None = None,
    ) -> None:
        self.out, self.attributes, self.remedy, self.rows = out, attributes, remedy, 0
        self._work, self._layout, self._scene_bytes = work, layout, scene_bytes
        self._most, self._executor = part_bytes // layout.sample_bytes, executor
        self._parts: list[Part] = []

    def append(self, source: SampleSource) -> None:
        """Write the samples of a bracket, in the order of the rows."""
        with self._reported():
            if not self._parts or self._parts[-1].rows + source.rows > self._most:
                self._begin_part()
            self._parts[-1].append(source)
            self.rows += source.rows

    def _begin_part(self) -> None:
        """Go on with another part, written here if it is the first, or workers don't write them."""
        if self._parts and not self._executor:
            self._parts[-1].finish(self.attributes)
        part = Part(self._work, self._layout, self._scene_bytes, len(self._parts))
        if not self._parts or not self._executor:
            part.begin()
        self._parts.append(part)

    def finish(self, scenes: dict[str, Any] | bytes, tell: Progress) -> None:
        """Give all files their names; the one that users pass on comes last.

        `scenes` is the root attribute, as it is or as JSON.
        """
        whole = self.attributes | {"scenes": scenes}
        with self._reported():
            tell.start("join", len(self._parts))
            if len(self._parts) == 1:
                atomic_rename(self._parts[0].whole(whole), self.out)
                tell.step(0, False)
                return
            for part in self._parts[:1] if self._executor else self._parts:
                part.finish(self.attributes)
                tell.step(0, False)
            if self._executor:
                task = partial(_finish, attributes=self.attributes)
                for _, failure in self._executor(task, self._parts[1:]):
                    if failure != "":
                        raise OSError(failure or "a worker died")
                    tell.step(0, False)
            self._name([part.finish(self.attributes) for part in self._parts], whole)

    def _name(self, entries: Sequence[dict[str, Any]], attributes: dict[str, Any]) -> None:
        parts = [
            {"file": part_name(self.out, k, len(entries))} | entry
            for k, entry in enumerate(entries)
        ]
        index = self._work / "index.tmp"
        write_index(index, parts, self._layout, attributes, self._scene_bytes)
        self.out.unlink(missing_ok=True)  # an old index must not stand beside new parts
        for part, entry in zip(self._parts, parts, strict=True):
            if part.path.exists():
                atomic_rename(part.path, self.out.with_name(entry["file"]))
        atomic_rename(index, self.out)

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """What is done on a disk; a failure is said on one line."""
        try:
            yield
        except (OSError, RuntimeError) as e:
            raise UserError(
                f"{self.out}: cannot be written ({_reason(e)}); mend that, then {self.remedy}"
            ) from e

    def __enter__(self) -> Assembly:
        return self

    def __exit__(self, *reason: object) -> None:
        for part in self._parts:
            part.__exit__(*reason)


def _reason(error: OSError | RuntimeError) -> str:
    """Why a file cannot be written; h5py has both errors for a disk that is full."""
    number = re.search(r"errno = (\d+)", str(error))
    return os.strerror(int(number[1])) if number else getattr(error, "strerror", None) or str(error)


def _finish(part: Part, attributes: dict[str, Any]) -> str:
    """`Part.finish` as a task of workers: why it failed, or nothing."""
    try:
        with part:
            part.finish(attributes)
    except (OSError, RuntimeError) as e:
        return _reason(e)
    return ""


def assemble(
    sources: Sequence[SampleSource],
    out: Path,
    work: Path,
    layout: SampleLayout,
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

    def __init__(self, work: Path, layout: SampleLayout, scene_bytes: int, number: int) -> None:
        self.layout, self.scene_bytes, self.number = layout, scene_bytes, number
        self.path = work / f"part-{number:05d}.h5"
        self.temporary, self.note = (self.path.with_suffix(s) for s in (".tmp", ".json"))
        self.rows, self.sources = 0, list[SampleSource]()
        self._file: Writer | None = None

    def begin(self) -> None:
        """Write samples as they come from now on, and those that have come."""
        if not self._file and not self.note.exists():
            self._file = Writer(self.temporary, self.layout, self.scene_bytes)
            for source in self.sources:
                self._file.append(source)

    def append(self, source: SampleSource) -> None:
        """Add the samples of a bracket, in the order of the rows."""
        if self._file:
            self._file.append(source)
        self.sources.append(source)
        self.rows += source.rows

    def finish(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Write and note the part, and free the samples.

        Parameters
        ----------
        attributes : dict
            Root attributes of the dataset, but for `scenes`.

        Returns
        -------
        dict
            What an index says of it, but for its name: "rows", "bytes", "sha256".
        """
        if not self.note.exists():
            self.whole(attributes | {"part": self.number})
            size, digest = self.temporary.stat().st_size, sha256(self.temporary)
            atomic_rename(self.temporary, self.path)
            write_json(self.note, {"rows": self.rows, "bytes": size, "sha256": digest})
            for source in self.sources:
                source.free()
        return dict(json.loads(self.note.read_text()))

    def whole(self, attributes: dict[str, Any]) -> Path:
        """Write all of the file, with just these attributes; where it is."""
        self.begin()
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
