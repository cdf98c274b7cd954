"""The plan of a build: everything that the bytes of a dataset depend on, and its fingerprint."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from labelgen.calibration.known_responses import responses_by_camera
from labelgen.calibration.survey_records import Survey, dataset_record
from labelgen.core.disk_list import DiskList
from labelgen.core.errors import UserError
from labelgen.core.versions import generator
from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.header import VERSION
from labelgen.dataset.safe_hdf5 import MAX_TEXT
from labelgen.dataset.shard import ShardSource
from labelgen.pipeline.bracket_task import BracketTask
from labelgen.pipeline.options import BuildOptions

LABEL_TEXT = 600
"""Estimate of the bytes that the record of a bracket holds about its label."""


@dataclass(frozen=True)
class Plan:
    """The surveys of all brackets, and how to make a dataset from them.

    Everything that depends on all brackets together is fixed here. Brackets are then made
    independently of each other.
    """

    raw: Path
    """Folder of the brackets; the dataset stores paths relative to it."""
    surveys: DiskList[Survey]
    """Surveys of all brackets, calibrated."""
    usable: DiskList[Survey]
    """Surveys of the brackets that were not rejected."""
    layout: SampleLayout
    options: BuildOptions

    @staticmethod
    def of(raw: Path, surveys: DiskList[Survey], options: BuildOptions) -> Plan:
        """Plan a dataset from calibrated surveys.

        Parameters
        ----------
        raw : Path
            Folder of the brackets.
        surveys : DiskList of Survey
            Of all brackets, also of those that were rejected.
        options : BuildOptions
            How to build the dataset.

        Raises
        ------
        UserError
            No bracket can be used, or there are too many for one dataset.
        """
        usable = surveys.select([i for i, s in enumerate(surveys) if not s.rejected])
        if not usable:
            raise no_usable_brackets(raw, (s.rejected for s in surveys))
        text = sum(len(str(dataset_record(s, [str(p) for p in s.paths]))) for s in surveys)
        text += LABEL_TEXT * len(surveys)
        if text > MAX_TEXT:
            raise UserError(
                f"{raw}: what a dataset notes of {len(surveys)} brackets is "
                f"{text / 2**20:.0f} MiB, expected at most {MAX_TEXT >> 20}; build several "
                "datasets (--limit, --exclude) and train on them together"
            )
        layout = SampleLayout(
            options.frames,
            options.effective_recipe.patches.size,
            max(s.stored_bits for s in usable),
            options.compress,
        )
        return Plan(raw, surveys, usable, layout, options)

    @cached_property
    def responses(self) -> dict[str, Any]:
        """Responses of all cameras (`labelgen.calibration.known_responses.responses_by_camera`)."""
        return responses_by_camera(self.usable)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of everything that the samples depend on, as 64 hexadecimal digits."""
        content = {
            "format": VERSION,
            "generator": generator(),
            "recipe": self.options.effective_recipe.as_dict(),
            "labels": self.options.labels,
            "seed": self.options.seed,
            "frames": self.options.frames,
            "reference": self.options.selection.position,
            "depth": self.layout.depth,
            "responses": self.responses,
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        for survey in self.surveys:
            record = {survey.name: self._record(survey)}
            digest.update(json.dumps(record, sort_keys=True).encode())
        return digest.hexdigest()

    def task(self, staging: Path) -> BracketTask:
        """Task of the workers, which write shards and records to the staging folder."""
        recipe, seed = self.options.effective_recipe, self.options.seed
        return BracketTask(recipe, self.layout, seed, staging)

    def attributes(self, license: str, citation: str, options: dict[str, Any]) -> dict[str, Any]:
        """Root attributes of the dataset, except `scenes`."""
        recipe = self.options.effective_recipe.as_dict()
        return {
            "format": "labelgen",
            "format_version": VERSION,
            "frames": self.options.frames,
            "reference": self.options.selection.position,
            "patch": self.layout.patch,
            "encoding": "gamma2.2",
            "recipe": recipe | {"labels": self.options.labels, "seed": self.options.seed},
            "generator": generator(),
            "fingerprint": self.fingerprint,
            "responses": self.responses,
            "license": license,
            "citation": citation,
            "options": options,
        }

    def scene_records(self, staging: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the name and the record of every bracket, after all of them are made."""
        task = self.task(staging)
        for survey in self.surveys:
            record = self._record(survey)
            if not survey.rejected:
                result = json.loads(task.record(survey.name).read_text())
                if "rejected" in result:
                    record = {"rejected": result["rejected"]} | record
                else:
                    record |= {k: v for k, v in result.items() if k != "rows"}
            yield survey.name, record

    def _record(self, survey: Survey) -> dict[str, Any]:
        """The part of the record of a bracket that its survey decides."""
        files = [Path(os.path.relpath(path, self.raw)).as_posix() for path in survey.paths]
        return dataset_record(survey, files)


def scenes_attribute(records: Iterable[tuple[str, dict[str, Any]]]) -> bytes:
    """JSON of the attribute `scenes`: an object that maps names of brackets to their records.

    It is written record by record, since thousands of records as Python objects would take three
    times the memory.

    Examples
    --------
    >>> scenes_attribute([("a", {"rows": 1}), ("b", {})])
    b'{"a": {"rows": 1}, "b": {}}'
    """
    text, separator = io.BytesIO(), b"{"
    for name, record in records:
        text.write(separator + json.dumps({name: record})[1:-1].encode())
        separator = b", "
    text.write(b"}")
    return text.getvalue()  # shares the bytes of the buffer


def shard_source(
    survey: Survey, record: Mapping[str, Any], task: BracketTask
) -> ShardSource | None:
    """Source of the samples of a bracket; None if its record has no samples."""
    if "rows" not in record:
        return None
    return ShardSource(task.shard(survey.name), survey.name, record["rows"], survey.ev)


def no_usable_brackets(raw: Path, reasons: Iterable[str]) -> UserError:
    """Return the error for a set without a usable bracket, with its most common reasons.

    Parameters
    ----------
    raw : Path
        Folder of the brackets.
    reasons : iterable of str
        Why each bracket was rejected.
    """
    counts = Counter(reasons)
    common = "; ".join(f"{reason} ({n})" for reason, n in counts.most_common(3))
    return UserError(f"{raw}: none of {counts.total()} brackets can be used: {common}")
