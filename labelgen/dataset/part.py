"""One part of a dataset, from its first sample to its finished file."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from labelgen.core.files import atomic_rename, sha256, write_json
from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.writer import SampleSource, Writer


class Part:
    """One part of a dataset in the staging folder.

    A part that an interrupted command finished is not written again; its entry is read instead.

    Parameters
    ----------
    staging : Path
        The folder where it is written.
    layout : SampleLayout
        Layout of all samples.
    scene_bytes : int
        Length of the longest name of a bracket in the dataset, in UTF-8.
    number : int
        Number of the part, from 0.
    """

    def __init__(self, staging: Path, layout: SampleLayout, scene_bytes: int, number: int) -> None:
        self.layout, self.scene_bytes, self.number = layout, scene_bytes, number
        self.path = staging / f"part-{number:05d}.h5"
        self.temporary = self.path.with_suffix(".tmp")
        self.entry_path = self.path.with_suffix(".json")
        self.rows, self.sources = 0, list[SampleSource]()
        self._file: Writer | None = None

    def begin(self) -> None:
        """Open the file, and write the samples appended so far. Later ones are written at once."""
        if not self._file and not self.entry_path.exists():
            self._file = Writer(self.temporary, self.layout, self.scene_bytes)
            for source in self.sources:
                self._file.append(source)

    def append(self, source: SampleSource) -> None:
        """Add the samples of a bracket."""
        if self._file:
            self._file.append(source)
        self.sources.append(source)
        self.rows += source.rows

    def finish(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Complete the part, save its entry, and free the samples.

        Parameters
        ----------
        attributes : dict
            Root attributes of the dataset, except `scenes`.

        Returns
        -------
        dict
            Its entry in the index, without the name: "rows", "bytes", "sha256".
        """
        if not self.entry_path.exists():
            self.write(attributes | {"part": self.number})
            size, digest = self.temporary.stat().st_size, sha256(self.temporary)
            atomic_rename(self.temporary, self.path)
            write_json(self.entry_path, {"rows": self.rows, "bytes": size, "sha256": digest})
            for source in self.sources:
                source.free()
        return dict(json.loads(self.entry_path.read_text()))

    def write(self, attributes: dict[str, Any]) -> Path:
        """Complete the file with exactly these root attributes, and return its temporary path."""
        self.begin()
        assert self._file is not None
        with self._file as out:
            out.finish(attributes)
        return self.temporary

    def __enter__(self) -> Part:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:  # an error of closing the file would hide the first one
            with contextlib.suppress(OSError, RuntimeError):
                self._file.close()
