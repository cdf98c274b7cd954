"""Build a dataset: survey all brackets, make each one, join.

Everything unfinished lives in ``OUT.h5.partial`` beside the output: the surveys, a shard and a
record per finished bracket. What is there is whole, so a killed build goes on where it was.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from labelgen.assemble import PART_BYTES, Storage, assemble, disk_needed, parts_of
from labelgen.bracket import Bracket
from labelgen.cluster import CLUSTERS
from labelgen.discover import read_groups, scan
from labelgen.engine import BACKENDS, run
from labelgen.errors import UserError
from labelgen.files import write_json
from labelgen.format import VERSION, Layout, info
from labelgen.make import Task, make
from labelgen.measure import calibrated, found_responses, responses
from labelgen.memory import within
from labelgen.progress import Progress, Silent
from labelgen.recipe import Recipe, load_recipe
from labelgen.survey import Selection, Survey, as_record, survey_cached
from labelgen.versions import generator
from labelgen.workplace import refuse_to_overwrite, same_settings, unfinished, workplace
from labelgen.write import Source

LABELS = ("pseudo", "truth")
Engine: TypeAlias = Callable[..., Iterator[tuple[int, Any]]]
DIED = "its worker died twice, the second time alone: out of memory? try fewer --jobs"


@dataclass(frozen=True)
class Summary:
    """What a build made: samples by branch, brackets used, and the others with the reason."""

    path: Path
    branches: dict[str, int]
    used: int
    rejected: dict[str, str]
    bytes: int
    parts: int
    fingerprint: str
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """Number of samples."""
        return sum(self.branches.values())


def build(
    raw: Path,
    out: Path,
    *,
    recipe: str | Recipe = "default",
    frames: int = 3,
    reference: int | str | None = None,
    groups: Path | None = None,
    response: str = "auto",
    bayer: str = "",
    labels: str = "pseudo",
    augment: bool = False,
    exclude: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    compress: str = "none",
    jobs: int | None = None,
    backend: str = "loky",
    scheduler: str = "",
    memory: float | None = None,
    resume: bool = False,
    overwrite: bool = False,
    part_bytes: int = PART_BYTES,
    license: str = "",
    citation: str = "",
    progress: Progress | None = None,
) -> Summary:
    """Make a dataset from a folder of brackets.

    Parameters
    ----------
    raw : Path
        A folder of bracket folders, or one bracket folder.
    out : Path
        The dataset file; above `part_bytes` an index beside numbered parts.
    recipe : str or Recipe
        Name, TOML file, or the recipe itself.
    frames : int
        Frames of a sample; brackets with fewer are rejected.
    reference : int or "auto", optional
        Index of the reference among the frames used (shortest first, from 0). The default is
        `frames // 2`, in the middle of the bracket; "auto" looks for the best exposed frame.
    groups : Path, optional
        Brackets as ``labelgen scan -o`` listed them, in place of a scan.
    response : str
        How codes stand for light: "auto" finds it from the brackets, by camera; "gamma2.2",
        "srgb" or "linear" declare it; or a dataset or .json file whose responses are used again.
    bayer : {"", "RGGB", "BGGR", "GRBG", "GBRG"}
        Colour filters of images with a single channel, which are demosaiced.
    labels : {"pseudo", "truth"}
        Labels by the recipe, or from the HDRImg.hdr of each bracket.
    augment : bool
        With "truth": augment by the recipe. Pseudo-labels always are.
    exclude : Path, optional
        Text file with a bracket name or pattern (``*``) a line.
    limit : int, optional
        Take the first so many brackets.
    seed : int
        Of all random draws.
    compress : {"none", "gzip", "bitshuffle"}
        Filter of the images.
    jobs : int, optional
        Workers; all cores, or all of a cluster, by default. The bytes of the result do not depend
        on it.
    backend : {"loky", "threading", "dask", "ray"}
        Processes or threads; or a cluster that is running and shares the file system.
    scheduler : str
        Address of the cluster: tcp://host:8786 (Dask), host:6379 (Ray).
    memory : float, optional
        GB that all workers of this machine may take: there are fewer of them, if need be.
    resume, overwrite : bool
        Go on with a build that was interrupted; or throw away what is there.
    part_bytes : int
        Size above which a dataset is split.
    license, citation : str
        Stored in the dataset.
    progress : Progress, optional
        Told what happens.

    Returns
    -------
    Summary
        What was made, and which brackets were rejected for which reason.

    Raises
    ------
    UserError
        Unusable arguments; the output exists; no room on the disk; no bracket could be used.
    """
    plan = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    storage = Storage(compress, part_bytes, license, citation)
    _check(out, labels, augment, backend, jobs, limit, seed)
    if backend in CLUSTERS:  # workers stand in other folders
        raw, out = raw.absolute(), out.absolute()
    selection = Selection.of(frames, reference, plan.patches.size, labels == "truth", bayer)
    given = responses(response)
    if labels == "truth" and not augment:
        plan = _unaugmented(plan)
    tell = progress or Silent()
    work = out.with_name(out.name + ".partial")
    refuse_to_overwrite(out, work, resume, overwrite)
    brackets = _brackets(raw, groups, exclude, limit, tell)
    if memory is not None:
        jobs = within(memory, brackets, frames, jobs, tell)
    engine = partial(run, jobs=jobs, backend=backend, scheduler=scheduler, folder=work)
    with workplace(work, out, overwrite):
        surveys = _survey_all(brackets, selection, work, engine, tell)
        surveys = calibrated(surveys, given)
        usable = [s for s in surveys if not s.rejected]
        if not usable:
            raise _nothing(raw, {s.name: s.rejected for s in surveys})
        layout = Layout(frames, plan.patches.size, max(s.codes_depth for s in usable), compress)
        content = _content(surveys, raw, plan, layout, selection, labels, seed)
        fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        if out.exists() and not overwrite and not unfinished(work):
            summary = _finished(out, fingerprint, storage)
            shutil.rmtree(work)
            return summary
        same_settings(work, asdict(storage) | {"fingerprint": fingerprint})
        _check_disk(usable, plan, layout, out, work, part_bytes, tell)
        tasks = [
            Task(s, plan, layout, selection.position, labels, seed, work / f"{_key(s.name)}.h5")
            for s in usable
        ]
        records = _make_all(tasks, work, engine, tell)
        sources = [
            Source(t.shard, t.found.name, records[t.found.name]["rows"], t.found.ev)
            for t in tasks
            if "rows" in records[t.found.name]
        ]
        if not sources:
            raise _nothing(raw, {name: r["rejected"] for name, r in records.items()})
        scenes = {s.name: _scene(s, raw, records.get(s.name, {})) for s in surveys}
        attributes: dict[str, Any] = {
            "format": "labelgen",
            "format_version": VERSION,
            "frames": frames,
            "reference": selection.position,
            "patch": layout.patch,
            "encoding": "gamma2.2",
            "recipe": plan.as_dict() | {"labels": labels, "seed": seed},
            "generator": generator(),
            "fingerprint": fingerprint,
            "scenes": scenes,
            "responses": found_responses(usable),
            "license": license,
            "citation": citation,
        }
        old = parts_of(out)
        assemble(sources, out, work, layout, attributes, part_bytes, tell)
        if any("curves" in entry for entry in attributes["responses"].values()):
            write_json(out.with_name(f"{out.stem}.responses.json"), attributes["responses"])
        for path in old - parts_of(out):
            path.unlink(missing_ok=True)
    shutil.rmtree(work)
    problems = {s.name: s.problems for s in surveys if s.problems and not s.rejected}
    return replace(_summary(out), problems=problems)


def _check(
    out: Path,
    labels: str,
    augment: bool,
    backend: str,
    jobs: int | None,
    limit: int | None,
    seed: int,
) -> None:
    """Refuse arguments that make no sense, each in one line."""
    for name, value, allowed in (("--labels", labels, LABELS), ("--backend", backend, BACKENDS)):
        if value not in allowed:
            raise UserError(f"{name} is '{value}', expected {' or '.join(allowed)}")
    if augment and labels != "truth":
        raise UserError("--augment goes with --labels truth; pseudo-labels are always augmented")
    for name, number, least in (("--jobs", jobs, 1), ("--limit", limit, 1), ("--seed", seed, 0)):
        if number is not None and number < least:
            raise UserError(f"{name} is {number}, expected at least {least}")
    if out.is_dir():
        raise UserError(f"{out}: is a folder; give the name of a file, such as {out / 'out.h5'}")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder; make it first")


def _unaugmented(plan: Recipe) -> Recipe:
    return replace(
        plan,
        patches=replace(plan.patches, variants=1, hard_variants=1),
        illumination=replace(plan.illumination, share=0.0),
        warp=replace(plan.warp, share=0.0),
        pieces=replace(plan.pieces, share=0.0),
    )


def _brackets(
    raw: Path, groups: Path | None, exclude: Path | None, limit: int | None, tell: Progress
) -> list[Bracket]:
    brackets = read_groups(groups, raw) if groups else scan(raw)
    if exclude:
        try:
            lines = exclude.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as e:
            raise UserError(f"{exclude}: cannot be read as a list of bracket names ({e})") from e
        for pattern in filter(None, (line.split("#")[0].strip() for line in lines)):
            kept = [b for b in brackets if not fnmatch.fnmatchcase(b.name, pattern)]
            if len(kept) == len(brackets):
                tell.remark(f"{exclude}: '{pattern}' matches no bracket")
            brackets = kept
    if not brackets:
        raise UserError(f"{raw}: no bracket is left to build from")
    names = Counter(b.name for b in brackets)
    if len(names) < len(brackets):
        raise UserError(f"{raw}: two brackets are named '{names.most_common(1)[0][0]}'; rename one")
    return brackets[:limit]


def _survey_all(
    brackets: Sequence[Bracket],
    selection: Selection,
    work: Path,
    engine: Engine,
    tell: Progress,
) -> list[Survey]:
    tell.start("survey", len(brackets))
    task = partial(survey_cached, selection=selection, folder=work)
    found: dict[int, Survey] = {}
    for i, result in engine(task, brackets):
        found[i] = result or Survey(brackets[i].name, rejected=DIED)
        tell.step(0, bool(found[i].rejected))
    return [found[i] for i in range(len(brackets))]


def _make_all(
    tasks: Sequence[Task], work: Path, engine: Engine, tell: Progress
) -> dict[str, dict[str, Any]]:
    """The record of every bracket; those that an earlier run finished are not made again."""
    records: dict[str, dict[str, Any]] = {}
    for task in tasks:
        if task.record.exists():
            records[task.found.name] = json.loads(task.record.read_text())
    left = [t for t in tasks if t.found.name not in records]
    if records:
        tell.remark(f"{len(records)} brackets are finished already, {len(left)} are left")
    tell.start("build", len(left))
    for i, record in engine(make, left):
        records[left[i].found.name] = record = record or {"rejected": DIED}
        if "stopped" in record:
            raise UserError(f"{work}: {record['stopped']}; mend that, then give --resume")
        tell.step(record.get("rows", 0), "rejected" in record)
    return records


def _scene(found: Survey, raw: Path, record: dict[str, Any]) -> dict[str, Any]:
    """What the dataset says of a bracket."""
    entry = as_record(found, _relative(found, raw))
    if "rejected" in record:
        return {"rejected": record["rejected"]} | entry
    return entry | {k: v for k, v in record.items() if k != "rows"}


def _relative(found: Survey, raw: Path) -> list[str]:
    return [Path(os.path.relpath(p, raw)).as_posix() for p in found.paths]


def _content(
    surveys: Sequence[Survey],
    raw: Path,
    plan: Recipe,
    layout: Layout,
    selection: Selection,
    labels: str,
    seed: int,
) -> dict[str, Any]:
    """All that decides what is in the dataset: its hash is the fingerprint."""
    return {
        "format": VERSION,
        "generator": generator(),
        "recipe": plan.as_dict(),
        "labels": labels,
        "seed": seed,
        "frames": selection.frames,
        "reference": selection.position,
        "depth": layout.depth,
        "scenes": {s.name: as_record(s, _relative(s, raw)) for s in surveys},
        "responses": found_responses([s for s in surveys if not s.rejected]),
    }


def _finished(out: Path, fingerprint: str, storage: Storage) -> Summary:
    """The dataset that is there, if it is what was asked for."""
    inside = info(out)
    wanted = asdict(storage) | {"fingerprint": fingerprint}
    if any(inside[name] != value for name, value in wanted.items() if name != "part_bytes"):
        raise UserError(
            f"{out}: was built from other brackets, settings or versions; "
            "give --overwrite to replace it, or another name"
        )
    return _summary(out)


def _check_disk(
    usable: Sequence[Survey],
    plan: Recipe,
    layout: Layout,
    out: Path,
    work: Path,
    part_bytes: int,
    tell: Progress,
) -> None:
    expected, needed = disk_needed([s.size for s in usable], plan, layout, part_bytes)
    needed -= sum(shard.stat().st_size for shard in work.glob("*.h5"))
    free = shutil.disk_usage(out.parent).free
    tell.remark(
        f"{len(usable)} brackets: at most {expected / 1e9:.2f} GB, "
        f"{needed / 1e9:.2f} GB while joining; {free / 1e9:.1f} GB free"
    )
    if needed > free:
        raise UserError(
            f"{out.parent}: {needed / 1e9:.1f} GB may be needed and {free / 1e9:.1f} GB are free; "
            "take another disk, --limit, or fewer patches.variants in the recipe"
        )


def _key(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:24]


def _nothing(raw: Path, reasons: dict[str, str]) -> UserError:
    common = "; ".join(f"{reason} ({n})" for reason, n in Counter(reasons.values()).most_common(3))
    return UserError(f"{raw}: none of {len(reasons)} brackets can be used: {common}")


def _summary(out: Path) -> Summary:
    inside = info(out)
    return Summary(
        out,
        inside["branches"],
        inside["scenes"],
        inside["rejected"],
        inside["bytes"],
        inside["parts"] or 1,
        inside["fingerprint"],
    )
