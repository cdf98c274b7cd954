"""What a build will make: all that decides the bytes of a dataset, and their fingerprint."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import repeat
from pathlib import Path
from typing import Any

from labelgen.bracket import Bracket
from labelgen.discover import found_below, read_groups
from labelgen.engine import Engine
from labelgen.errors import UserError
from labelgen.files import key_of, write_json
from labelgen.format import VERSION, Layout
from labelgen.kept import places
from labelgen.make import Task, is_made, make
from labelgen.measure import calibrated, found_responses
from labelgen.progress import Progress
from labelgen.recipe import Recipe
from labelgen.response import Response
from labelgen.safe_hdf5 import MOST_TEXT
from labelgen.shard import Source
from labelgen.shelf import Each, Shelf
from labelgen.survey import Selection, Survey, as_record, survey_cached
from labelgen.untrusted import read_text
from labelgen.versions import generator

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
        depth = text = 0
        for s in surveys:
            depth = max(depth, 0 if s.rejected else s.codes_depth)
            text += len(str(as_record(s, [str(p) for p in s.paths]))) + OF_LABEL
        if not depth:
            raise nothing(raw, (s.rejected for s in surveys))
        layout = Layout(selection.frames, recipe.patches.size, depth, compress)
        if text > MOST_TEXT:
            raise UserError(
                f"{raw}: what a dataset notes of {len(surveys)} brackets is "
                f"{text / 2**20:.0f} MiB, expected at most {MOST_TEXT >> 20}; build several "
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
        """Of all cameras (`labelgen.measure.found_responses`)."""
        return found_responses(self.usable)

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
            record = {found.name: as_record(found, self._files(found))}
            digest.update(json.dumps(record, sort_keys=True).encode())
        return digest.hexdigest()

    def tasks(self, work: Path) -> Sequence[Task]:
        """One task for every usable bracket, with its shard in a folder."""
        return Each(partial(self._task, work=work), self.usable)

    def _task(self, found: Survey, work: Path) -> Task:
        how = self.recipe, self.layout, self.selection.position, self.labels, self.seed
        return Task(found, *how, work / f"{key_of(found.name)}.shard")

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
        entry = as_record(found, self._files(found))
        if found.rejected:
            return entry
        record = json.loads(self._task(found, work).record.read_text())
        if "rejected" in record:
            return {"rejected": record["rejected"]} | entry
        return entry | {k: v for k, v in record.items() if k != "rows"}

    def _files(self, found: Survey) -> list[str]:
        return [Path(os.path.relpath(p, self.raw)).as_posix() for p in found.paths]


def find_brackets(
    raw: Path, groups: Path | None, exclude: Path | None, limit: int | None, tell: Progress
) -> tuple[Sequence[Bracket], dict[str, int]]:
    """The brackets below RAW, or as listed, less those that are excluded; the first so many.

    Returns
    -------
    brackets : sequence of Bracket
        Those that are left.
    excluded : dict
        How many were left out by each name or pattern of the list `exclude`.
    """
    brackets = Shelf.of(read_groups(groups, raw)) if groups else found_below(raw)
    names, excluded = [b.name for b in brackets], dict[str, int]()
    left = list(range(len(names)))
    for pattern in _patterns(exclude) if exclude else ():
        out = {i for i in left if _is_called(names[i], pattern)}
        left, excluded[pattern] = [i for i in left if i not in out], len(out)
        if not out:
            tell.remark(f"{exclude}: '{pattern}' matches no bracket")
    if not left:
        raise UserError(f"{raw}: no bracket is left to build from")
    name, times = Counter(names[i] for i in left).most_common(1)[0]
    if times > 1:
        raise UserError(f"{raw}: two brackets are named '{name}'; rename one")
    return Each(brackets.__getitem__, left[:limit]), excluded


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
) -> Sequence[Survey]:
    """All brackets surveyed, and calibrated together, with the responses that are known, if any.

    Decoded frames are kept if that is asked for, as many as there is room for (`labelgen.kept`).
    """
    tell.start("survey", len(brackets))
    kept = places(brackets, selection.frames, work) if keep else repeat(None)
    task = partial(_surveyed, selection=selection, folder=work)
    found = Shelf[Survey]()
    for i, result in engine(task, Shelf.of(zip(brackets, kept, strict=False))):
        survey = result or Survey(brackets[i].name, rejected=DIED)
        found.put(i, survey)
        tell.step(0, bool(survey.rejected))
    return calibrated(found, known)


def _surveyed(item: tuple[Bracket, Path | None], selection: Selection, folder: Path) -> Survey:
    bracket, kept = item
    return survey_cached(bracket, selection, folder, kept)


def make_all(
    tasks: Sequence[Task], work: Path, engine: Engine, tell: Progress
) -> Generator[tuple[Task, dict[str, Any]]]:
    """Every task with its record, in order, each as soon as those before it are made.

    What an earlier run finished is not made again, if it is whole.
    """
    done = _made_before(tasks, engine, tell)
    left = [i for i in range(len(tasks)) if i not in done]
    if done:
        tell.remark(f"{len(done)} brackets are finished already, {len(left)} are left")
    tell.start("build", len(left))
    with closing(engine(make, Each(tasks.__getitem__, left))) as made:
        for i, task in enumerate(tasks):
            while i not in done:
                k, record = next(made)
                done.add(left[k])
                record = record or {"rejected": DIED}
                if "stopped" in record:
                    raise UserError(f"{work}: {record['stopped']}; mend that, then give --resume")
                if not (path := tasks[left[k]].record).exists():
                    write_json(path, record)  # or --resume might find more in a part that is noted
                tell.step(record.get("rows", 0), "rejected" in record)
            yield task, json.loads(task.record.read_text())


def _made_before(tasks: Sequence[Task], engine: Engine, tell: Progress) -> set[int]:
    """Which brackets an earlier run finished; what is not whole of one is as if it had not."""
    done, noted = set[int](), [i for i, task in enumerate(tasks) if task.record.exists()]
    if not noted:
        return done
    tell.start("check", len(noted))
    for k, whole in engine(is_made, Each(tasks.__getitem__, noted)):
        if whole:
            done.add(noted[k])
        else:
            tasks[noted[k]].record.unlink()
        tell.step(0, False)
    return done


def source_of(task: Task, record: Mapping[str, Any]) -> Source | None:
    """The shard of a bracket, if it gave samples."""
    if "rows" not in record:
        return None
    return Source(task.shard, task.found.name, record["rows"], task.found.ev)


def nothing(raw: Path, reasons: Iterable[str]) -> UserError:
    """The error for brackets of which none can be used, for one reason each."""
    counts = Counter(reasons)
    common = "; ".join(f"{reason} ({n})" for reason, n in counts.most_common(3))
    return UserError(f"{raw}: none of {counts.total()} brackets can be used: {common}")
