"""What a build will make: all that decides the bytes of a dataset, and their fingerprint."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from labelgen.calibration.cameras import responses_by_camera
from labelgen.calibration.survey import Selection, Survey
from labelgen.calibration.survey_records import survey_record
from labelgen.core.errors import UserError
from labelgen.core.files import short_hash
from labelgen.core.lazy import Each
from labelgen.core.recipe import Recipe
from labelgen.core.versions import generator
from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.header import VERSION
from labelgen.dataset.safe_hdf5 import MAX_TEXT
from labelgen.dataset.shard import ShardSource
from labelgen.pipeline.bracket_task import Task

OF_LABEL = 600
"""Bytes that are noted of a label, about."""


@dataclass(frozen=True)
class Plan:
    """Surveys of all brackets below `raw`, and how to make a dataset of them.

    The recipe is as it is carried out; `labels` is "pseudo" or "truth".
    """

    raw: Path
    surveys: Sequence[Survey]
    recipe: Recipe
    selection: Selection
    layout: SampleLayout
    labels: str
    seed: int

    @staticmethod
    def of(
        raw: Path,
        surveys: Sequence[Survey],
        recipe: Recipe,
        selection: Selection,
        labels: str,
        seed: int,
        compress: str,
    ) -> Plan:
        """A plan for brackets that were surveyed and calibrated.

        Raises
        ------
        UserError
            None of them can be used, or there are too many for one dataset.
        """
        depth = text = 0
        for s in surveys:
            depth = max(depth, 0 if s.rejected else s.codes_depth)
            text += len(str(survey_record(s, [str(p) for p in s.paths]))) + OF_LABEL
        if not depth:
            raise no_usable_brackets(raw, (s.rejected for s in surveys))
        layout = SampleLayout(selection.frames, recipe.patches.size, depth, compress)
        if text > MAX_TEXT:
            raise UserError(
                f"{raw}: what a dataset notes of {len(surveys)} brackets is "
                f"{text / 2**20:.0f} MiB, expected at most {MAX_TEXT >> 20}; build several "
                "datasets (--limit, --exclude) and train on them together"
            )
        return Plan(raw, surveys, recipe, selection, layout, labels, seed)

    @cached_property
    def usable(self) -> Sequence[Survey]:
        """Those that were not rejected."""
        numbers = [i for i, s in enumerate(self.surveys) if not s.rejected]
        return Each(self.surveys.__getitem__, numbers)

    @cached_property
    def responses(self) -> dict[str, Any]:
        """Of all cameras (`labelgen.calibration.cameras.responses_by_camera`)."""
        return responses_by_camera(self.usable)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides what is in the dataset."""
        content = {
            "format": VERSION,
            "generator": generator(),
            "recipe": self.recipe.as_dict(),
            "labels": self.labels,
            "seed": self.seed,
            "frames": self.selection.frames,
            "reference": self.selection.position,
            "depth": self.layout.depth,
            "responses": self.responses,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        for found in self.surveys:
            record = {found.name: survey_record(found, self._files(found))}
            digest.update(json.dumps(record, sort_keys=True).encode())
        return digest.hexdigest()

    def tasks(self, work: Path) -> Sequence[Task]:
        """One task for every usable bracket, with its shard in a folder."""
        return Each(partial(self._task, work=work), self.usable)

    def _task(self, found: Survey, work: Path) -> Task:
        how = self.recipe, self.layout, self.selection.position, self.labels, self.seed
        return Task(found, *how, work / f"{short_hash(found.name)}.shard")

    def attributes(self, license: str, citation: str, options: dict[str, Any]) -> dict[str, Any]:
        """Root attributes of the dataset, but for `scenes`."""
        return {
            "format": "labelgen",
            "format_version": VERSION,
            "frames": self.selection.frames,
            "reference": self.selection.position,
            "patch": self.layout.patch,
            "encoding": "gamma2.2",
            "recipe": self.recipe.as_dict() | {"labels": self.labels, "seed": self.seed},
            "generator": generator(),
            "fingerprint": self.fingerprint,
            "responses": self.responses,
            "license": license,
            "citation": citation,
            "options": options,
        }

    def scenes(self, work: Path) -> bytes:
        """What the dataset says of every bracket, by the records of those that were made: JSON.

        Not as objects, which of thousands would take three times the memory.
        """
        text, before = io.BytesIO(), b"{"
        for found in self.surveys:
            text.write(before + json.dumps({found.name: self._scene(found, work)})[1:-1].encode())
            before = b", "
        text.write(b"}")
        return text.getvalue()  # not copied

    def _scene(self, found: Survey, work: Path) -> dict[str, Any]:
        """What the dataset says of a bracket."""
        entry = survey_record(found, self._files(found))
        if found.rejected:
            return entry
        record = json.loads(self._task(found, work).record.read_text())
        if "rejected" in record:
            return {"rejected": record["rejected"]} | entry
        return entry | {k: v for k, v in record.items() if k != "rows"}

    def _files(self, found: Survey) -> list[str]:
        return [Path(os.path.relpath(p, self.raw)).as_posix() for p in found.paths]


def shard_source(task: Task, record: Mapping[str, Any]) -> ShardSource | None:
    """The shard of a bracket, if it gave samples."""
    if "rows" not in record:
        return None
    return ShardSource(task.shard, task.found.name, record["rows"], task.found.ev)


def no_usable_brackets(raw: Path, reasons: Iterable[str]) -> UserError:
    """The error for brackets of which none can be used, for one reason each."""
    counts = Counter(reasons)
    common = "; ".join(f"{reason} ({n})" for reason, n in counts.most_common(3))
    return UserError(f"{raw}: none of {counts.total()} brackets can be used: {common}")
