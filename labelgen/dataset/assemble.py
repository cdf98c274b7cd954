"""Assemble a dataset from the samples of its brackets: one file, or an index beside parts."""

from __future__ import annotations

import contextlib
import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from labelgen.core.errors import UserError
from labelgen.core.files import atomic_rename
from labelgen.core.progress import Executor, Progress
from labelgen.dataset.chunks import COMPRESSION
from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.header import listed_parts
from labelgen.dataset.part import Part
from labelgen.dataset.safe_hdf5 import DAMAGE, PART
from labelgen.dataset.writer import SampleSource, part_name, write_index

PART_BYTES = 8 << 30
"""Default size above which a dataset is split into parts."""


@dataclass(frozen=True)
class StorageOptions:
    """How a dataset is stored, and the texts that it carries; its samples do not depend on them."""

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
    """Return the parts beside an existing dataset; none if it is one file, damaged or missing."""
    try:
        names = [Path(part["file"]).name for part in listed_parts(out)]
    except (UserError, *DAMAGE):
        return set()
    # The copy of an index lists the parts of the original, which have its name.
    return {out.with_name(name) for name in names if name.startswith(f"{out.stem}-")}


def check_parts(out: Path) -> None:
    """Refuse the name of a dataset if files beside it look like its parts and are not.

    Raises
    ------
    UserError
        They are parts of another dataset.
    """
    own = parts_of(out)
    similar = out.parent.glob(f"{glob.escape(out.stem)}-*-of-*{out.suffix}")
    for path in sorted(similar):
        if PART.fullmatch(path.name) and path not in own:
            raise UserError(f"{path}: a part of another dataset; move it, or give another name")


class Assembly:
    """A dataset that grows bracket by bracket in the staging folder, and is renamed when complete.

    Parameters
    ----------
    out : Path
        The dataset.
    staging : Path
        Folder on the same disk for unfinished files.
    layout : SampleLayout
        Of all samples.
    attributes : dict
        Root attributes, except `scenes`.
    scene_bytes : int
        Length of the longest name of a bracket, in UTF-8.
    part_bytes : int
        Size above which the dataset is split into parts, between brackets.
    remedy : str
        What the user should do after a failure of the disk, for the message.
    executor : Executor, optional
        Writes all parts but the first at the end, in parallel. By default each part is written
        while its samples are appended. The bytes are the same.

    Raises
    ------
    UserError
        By any method: the disk is full, or fails.
    """

    def __init__(
        self,
        out: Path,
        staging: Path,
        layout: SampleLayout,
        attributes: dict[str, Any],
        scene_bytes: int,
        part_bytes: int,
        remedy: str = "--resume",
        executor: Executor | None = None,
    ) -> None:
        self.out, self.attributes, self.remedy, self.rows = out, attributes, remedy, 0
        self._staging, self._layout, self._scene_bytes = staging, layout, scene_bytes
        self._max_part_rows, self._executor = part_bytes // layout.sample_bytes, executor
        self._parts: list[Part] = []

    def append(self, source: SampleSource) -> None:
        """Add the samples of a bracket."""
        with self._reporting_disk_errors():
            if not self._parts or self._parts[-1].rows + source.rows > self._max_part_rows:
                self._add_part()
            self._parts[-1].append(source)
            self.rows += source.rows

    def _add_part(self) -> None:
        if self._parts and not self._executor:
            self._parts[-1].finish(self.attributes)
        part = Part(self._staging, self._layout, self._scene_bytes, len(self._parts))
        # An executor writes the others later. The first is always begun: it may stay the only one.
        if not self._parts or not self._executor:
            part.begin()
        self._parts.append(part)

    def finish(self, scenes: dict[str, Any] | bytes, progress: Progress) -> None:
        """Complete all files and give them their names; the file that users open comes last.

        Parameters
        ----------
        scenes : dict or bytes
            Records of all brackets, or JSON of them.
        progress : Progress
            Reports every part.
        """
        all_attributes = self.attributes | {"scenes": scenes}
        with self._reporting_disk_errors():
            progress.start("join", len(self._parts))
            if len(self._parts) == 1:
                atomic_rename(self._parts[0].write(all_attributes), self.out)
                progress.step(0, False)
                return
            for part in self._parts[:1] if self._executor else self._parts:
                part.finish(self.attributes)
                progress.step(0, False)
            if self._executor:
                task = partial(_finish_part, attributes=self.attributes)
                for _, failure in self._executor(task, self._parts[1:]):
                    if failure != "":
                        raise OSError(failure or "a worker died")
                    progress.step(0, False)
            self._name_files(all_attributes)

    def _name_files(self, all_attributes: dict[str, Any]) -> None:
        """Write the index, and move parts and index to their names."""
        entries = [part.finish(self.attributes) for part in self._parts]
        parts = [
            {"file": part_name(self.out, number, len(entries))} | entry
            for number, entry in enumerate(entries)
        ]
        index = self._staging / "index.tmp"
        write_index(index, parts, self._layout, all_attributes, self._scene_bytes)
        self.out.unlink(missing_ok=True)  # an old index must not stand beside new parts
        for part, entry in zip(self._parts, parts, strict=True):
            if part.path.exists():
                atomic_rename(part.path, self.out.with_name(entry["file"]))
        atomic_rename(index, self.out)

    @contextlib.contextmanager
    def _reporting_disk_errors(self) -> Iterator[None]:
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
    """Return why a file cannot be written; h5py raises either error if the disk is full."""
    number = re.search(r"errno = (\d+)", str(error))
    return os.strerror(int(number[1])) if number else getattr(error, "strerror", None) or str(error)


def _finish_part(part: Part, attributes: dict[str, Any]) -> str:
    """Finish a part in a worker; return why it failed, or nothing."""
    try:
        with part:
            part.finish(attributes)
    except (OSError, RuntimeError) as e:
        return _reason(e)
    return ""


def assemble(
    sources: Sequence[SampleSource],
    out: Path,
    staging: Path,
    layout: SampleLayout,
    attributes: dict[str, Any],
    part_bytes: int,
    progress: Progress,
    remedy: str,
) -> None:
    """Write a dataset from samples that all exist.

    Parameters
    ----------
    sources : sequence of SampleSource
        Each of one bracket, in the order of the rows.
    attributes : dict
        All root attributes.
    out, staging, layout, part_bytes, remedy
        As in `Assembly`.
    progress : Progress
        Reports every part.
    """
    scene_bytes = max(len(source.scene.encode()) for source in sources)
    others = {name: value for name, value in attributes.items() if name != "scenes"}
    with Assembly(out, staging, layout, others, scene_bytes, part_bytes, remedy) as dataset:
        for source in sources:
            dataset.append(source)
        dataset.finish(attributes["scenes"], progress)
