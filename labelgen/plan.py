"""What a build will make: all that decides the bytes of a dataset, and their fingerprint."""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import repeat
from pathlib import Path
from typing import Any, TypeAlias

from labelgen.bracket import Bracket
from labelgen.discover import read_groups, scan
from labelgen.engine import Engine
from labelgen.errors import UserError
from labelgen.files import key_of, write_json
from labelgen.format import VERSION, Layout
from labelgen.kept import places
from labelgen.make import Task, make
from labelgen.measure import calibrated, found_responses
from labelgen.progress import Progress
from labelgen.recipe import Recipe
from labelgen.response import Response
from labelgen.safe_hdf5 import MOST_TEXT
from labelgen.shard import Source
from labelgen.survey import Selection, Survey, as_record, survey_cached
from labelgen.untrusted import read_text
from labelgen.versions import generator

Records: TypeAlias = Mapping[str, dict[str, Any]]
"""What came of every bracket that was made (`labelgen.make.make`), by name."""
OF_LABEL = 600
"""Bytes that are noted of a label, about."""
DIED = "its worker died twice, the second time alone: out of memory? try fewer --jobs"


@dataclass(frozen=True)
class Plan:
    """Surveys of all brackets below `raw`, and how to make a dataset of them.

    The recipe is as it is carried out; `labels` is "pseudo" or "truth".
    """

    raw: Path
    surveys: Sequence[Survey]
    recipe: Recipe
    selection: Selection
    layout: Layout
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
        depths = [s.codes_depth for s in surveys if not s.rejected]
        if not depths:
            raise nothing(raw, {s.name: s.rejected for s in surveys})
        layout = Layout(selection.frames, recipe.patches.size, max(depths), compress)
        text = sum(len(str(as_record(s, [str(p) for p in s.paths]))) + OF_LABEL for s in surveys)
        if text > MOST_TEXT:
            raise UserError(
                f"{raw}: what a dataset notes of {len(surveys)} brackets is "
                f"{text / 2**20:.0f} MiB, expected at most {MOST_TEXT >> 20}; build several "
                "datasets (--limit, --exclude) and train on them together"
            )
        return Plan(raw, surveys, recipe, selection, layout, labels, seed)

    @property
    def usable(self) -> list[Survey]:
        """Those that were not rejected."""
        return [s for s in self.surveys if not s.rejected]

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
            "responses": found_responses(self.usable),
        }
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        for found in self.surveys:  # one by one: of thousands, all at once would take much memory
            record = {found.name: as_record(found, self._files(found))}
            digest.update(json.dumps(record, sort_keys=True).encode())
        return digest.hexdigest()

    def tasks(self, work: Path) -> list[Task]:
        """One task for every usable bracket, with its shard in a folder."""
        how = self.recipe, self.layout, self.selection.position, self.labels, self.seed
        return [Task(s, *how, work / f"{key_of(s.name)}.shard") for s in self.usable]

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
            "responses": found_responses(self.usable),
            "license": license,
            "citation": citation,
            "options": options,
        }

    def scenes(self, records: Records) -> str:
        """What the dataset says of every bracket, by what came of those that were made: JSON.

        Not as objects, which of thousands would take three times the memory.
        """
        scenes = (
            f"{json.dumps(s.name)}: {json.dumps(self._scene(s, records.get(s.name, {})))}"
            for s in self.surveys
        )
        return f"{{{', '.join(scenes)}}}"

    def _scene(self, found: Survey, record: dict[str, Any]) -> dict[str, Any]:
        """What the dataset says of a bracket."""
        entry = as_record(found, self._files(found))
        if "rejected" in record:
            return {"rejected": record["rejected"]} | entry
        return entry | {k: v for k, v in record.items() if k != "rows"}

    def _files(self, found: Survey) -> list[str]:
        return [Path(os.path.relpath(p, self.raw)).as_posix() for p in found.paths]


def find_brackets(
    raw: Path, groups: Path | None, exclude: Path | None, limit: int | None, tell: Progress
) -> tuple[list[Bracket], dict[str, int]]:
    """The brackets below RAW, or as listed, less those that are excluded; the first so many.

    Returns
    -------
    brackets : list of Bracket
        Those that are left.
    excluded : dict
        How many were left out by each name or pattern of the list `exclude`.
    """
    brackets, excluded = read_groups(groups, raw) if groups else scan(raw), dict[str, int]()
    for pattern in _patterns(exclude) if exclude else ():
        kept = [b for b in brackets if not _is_called(b.name, pattern)]
        excluded[pattern] = len(brackets) - len(kept)
        if not excluded[pattern]:
            tell.remark(f"{exclude}: '{pattern}' matches no bracket")
        brackets = kept
    if not brackets:
        raise UserError(f"{raw}: no bracket is left to build from")
    names = Counter(b.name for b in brackets)
    if len(names) < len(brackets):
        raise UserError(f"{raw}: two brackets are named '{names.most_common(1)[0][0]}'; rename one")
    return brackets[:limit], excluded


def _patterns(exclude: Path) -> list[str]:
    """Names and patterns of a list, one a line; # begins a comment."""
    try:
        lines = read_text(exclude).splitlines()
    except ValueError as e:
        raise UserError(f"{exclude}: cannot be read as a list of bracket names ({e})") from e
    return [name for line in lines if (name := line.split("#")[0].strip())]


def _is_called(name: str, pattern: str) -> bool:
    """Whether a bracket is, or lies in a folder that is, called so; as people write folders."""
    pattern = pattern.removeprefix("./").rstrip("/")
    return any(fnmatch.fnmatchcase(name, p) for p in (pattern, f"{pattern}/*"))


def survey_all(
    brackets: Sequence[Bracket],
    selection: Selection,
    known: Mapping[str, Response] | None,
    work: Path,
    engine: Engine,
    tell: Progress,
    keep: bool = False,
) -> list[Survey]:
    """All brackets surveyed, and calibrated together, with the responses that are known, if any.

    Decoded frames are kept if that is asked for, as many as there is room for (`labelgen.kept`).
    """
    tell.start("survey", len(brackets))
    kept = places(brackets, selection.frames, work) if keep else repeat(None)
    task = partial(_surveyed, selection=selection, folder=work)
    found: dict[int, Survey] = {}
    for i, result in engine(task, list(zip(brackets, kept, strict=False))):
        found[i] = result or Survey(brackets[i].name, rejected=DIED)
        tell.step(0, bool(found[i].rejected))
    return calibrated([found[i] for i in range(len(brackets))], known)


def _surveyed(item: tuple[Bracket, Path | None], selection: Selection, folder: Path) -> Survey:
    bracket, kept = item
    return survey_cached(bracket, selection, folder, kept)


def make_all(
    tasks: Sequence[Task], work: Path, engine: Engine, tell: Progress
) -> Generator[tuple[Task, dict[str, Any]]]:
    """Every task with its record, in order, each as soon as those before it are made.

    What an earlier run finished is not made again.
    """
    done = {i: json.loads(t.record.read_text()) for i, t in enumerate(tasks) if t.record.exists()}
    left = [i for i in range(len(tasks)) if i not in done]
    if done:
        tell.remark(f"{len(done)} brackets are finished already, {len(left)} are left")
    tell.start("build", len(left))
    with closing(engine(make, [tasks[i] for i in left])) as made:
        for i, task in enumerate(tasks):
            while i not in done:
                k, record = next(made)
                done[left[k]] = record = record or {"rejected": DIED}
                if "stopped" in record:
                    raise UserError(f"{work}: {record['stopped']}; mend that, then give --resume")
                if not (path := tasks[left[k]].record).exists():
                    write_json(path, record)  # or --resume might find more in a part that is noted
                tell.step(record.get("rows", 0), "rejected" in record)
            yield task, done.pop(i)


def source_of(task: Task, record: Mapping[str, Any]) -> Source | None:
    """The shard of a bracket, if it gave samples."""
    if "rows" not in record:
        return None
    return Source(task.shard, task.found.name, record["rows"], task.found.ev)


def nothing(raw: Path, reasons: dict[str, str]) -> UserError:
    """The error for brackets of which none can be used, by their reasons."""
    common = "; ".join(f"{reason} ({n})" for reason, n in Counter(reasons.values()).most_common(3))
    return UserError(f"{raw}: none of {len(reasons)} brackets can be used: {common}")
