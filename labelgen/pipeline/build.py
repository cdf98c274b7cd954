"""Build a dataset: survey all brackets, make each one, join.

Everything unfinished lives in ``OUT.h5.partial`` beside the output: the surveys, a shard and a
record per finished bracket, so that a killed build goes on where it was.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

from labelgen.calibration.cameras import load_responses
from labelgen.calibration.survey import Selection
from labelgen.core.errors import UserError
from labelgen.core.files import check_free_space, write_json
from labelgen.core.progress import Executor, Progress, Silent
from labelgen.core.recipe import Recipe, load_recipe
from labelgen.dataset.assemble import PART_BYTES, Assembly, StorageOptions, check_parts, parts_of
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.info import info
from labelgen.dataset.staging import (
    check_output_name,
    check_same_settings,
    is_unfinished,
    refuse_to_overwrite,
    staging_folder,
)
from labelgen.discovery.select import find_brackets
from labelgen.pipeline.cluster import CLUSTERS
from labelgen.pipeline.completed import is_completed, request_digest, write_build_times
from labelgen.pipeline.disk import disk_needed
from labelgen.pipeline.executor import BACKENDS, has_many_workers, parallel_map, shut_down_workers
from labelgen.pipeline.memory import jobs_within_memory
from labelgen.pipeline.plan import Plan, no_usable_brackets, shard_source
from labelgen.pipeline.stages import make_all, survey_all

LABELS = ("pseudo", "truth")


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
    storage = StorageOptions(compress, part_bytes, license, citation)
    _check(out, labels, augment, backend, jobs, limit, seed)
    how = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    if labels == "truth" and not augment:
        how = _unaugmented(how)
    selection = Selection.of(frames, reference, how.patches.size, labels == "truth", bayer)
    tell = progress or Silent()
    if backend in CLUSTERS:  # workers stand in other folders
        raw, out = raw.absolute(), out.absolute()
    work = out.with_name(out.name + ".partial")
    refuse_to_overwrite(out, work, resume, overwrite)
    if not is_unfinished(work):
        check_parts(out)
    brackets, excluded = find_brackets(raw, groups, exclude, limit, tell)
    known = load_responses(response)
    asked = request_digest(brackets, how, selection, storage, known, labels, seed)
    if resume and not is_unfinished(work) and is_completed(out, asked):
        return _summary(out)
    if memory is not None:
        jobs = jobs_within_memory(memory, brackets, frames, jobs, tell)
    engine = partial(parallel_map, jobs=jobs, backend=backend, scheduler=scheduler, folder=work)
    resumed = resume and work.exists()
    with staging_folder(work, out, overwrite):
        clock = [time.monotonic()]
        surveys = survey_all(brackets, selection, known, work, engine, tell, keep=True)
        clock.append(time.monotonic())
        plan = Plan.of(raw, surveys, how, selection, labels, seed, compress)
        if out.exists() and not overwrite and not is_unfinished(work):
            summary = _finished(out, plan.fingerprint, storage)
            shutil.rmtree(work)
            return summary
        check_same_settings(work, asdict(storage) | {"fingerprint": plan.fingerprint})
        joiners = engine if has_many_workers(backend, jobs) else None
        # Many workers join many parts at once.
        _check_disk(plan, out, work, sys.maxsize if joiners else part_bytes, tell)
        given = {
            "reference": "auto" if reference == "auto" else "",
            "groups": groups.name if groups else "",
            "response": "" if response == "auto" else Path(response).name,
            "bayer": bayer,
            "augment": augment,
            "excluded": excluded,
            "limit": limit,
            "part_bytes": part_bytes if part_bytes != PART_BYTES else None,
        }
        options = {name: value for name, value in given.items() if value}
        attributes = plan.attributes(license, citation, options)
        old, longest = parts_of(out), max(len(s.name.encode()) for s in plan.usable)
        dataset = Assembly(out, work, plan.layout, attributes, longest, part_bytes, engine=joiners)
        with dataset:
            branches, reasons = _make(plan, work, engine, dataset, tell)
            clock.append(time.monotonic())
            dataset.finish(plan.scenes(work), tell)
        shut_down_workers(jobs, backend)
        if any("curves" in entry for entry in attributes["responses"].values()):
            write_json(out.with_name(f"{out.stem}.responses.json"), attributes["responses"])
        parts = parts_of(out)
        for path in old - parts:
            path.unlink(missing_ok=True)
        seconds = [round(b - a, 3) for a, b in pairwise([*clock, time.monotonic()])]
        times = dict(zip(("survey", "make", "join"), seconds, strict=True))
        write_build_times(out, asked, plan.fingerprint, resumed, times)
    shutil.rmtree(work)
    return _summed_up(out, parts, plan, branches, reasons)


def _make(
    plan: Plan, work: Path, engine: Executor, dataset: Assembly, tell: Progress
) -> tuple[Counter[str], dict[str, str]]:
    """Make all brackets and join them: samples by branch, and of which brackets there are none."""
    branches, reasons = Counter[str](), dict[str, str]()
    with closing(make_all(plan.tasks(work), work, engine, tell)) as made:
        for task, record in made:
            if source := shard_source(task, record):
                dataset.append(source)
                branches.update(record["branches"])
            else:
                reasons[task.found.name] = record["rejected"]
    if not dataset.rows:
        raise no_usable_brackets(plan.raw, reasons.values())
    return branches, reasons


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
    check_output_name(out)


def _unaugmented(plan: Recipe) -> Recipe:
    return replace(
        plan,
        patches=replace(plan.patches, variants=1, hard_variants=1),
        illumination=replace(plan.illumination, share=0.0),
        warp=replace(plan.warp, share=0.0),
        pieces=replace(plan.pieces, share=0.0),
    )


def _finished(out: Path, fingerprint: str, storage: StorageOptions) -> Summary:
    """The dataset that is there, if it is what was asked for."""
    inside = info(out)
    wanted = asdict(storage) | {"fingerprint": fingerprint}
    if any(inside[name] != value for name, value in wanted.items() if name != "part_bytes"):
        raise UserError(
            f"{out}: was built from other brackets, settings or versions; "
            "give --overwrite to replace it, or another name"
        )
    return _summary(out)


def _check_disk(plan: Plan, out: Path, work: Path, part_bytes: int, tell: Progress) -> None:
    sizes = [s.size for s in plan.usable]
    expected, needed = disk_needed(sizes, plan.recipe, plan.layout, part_bytes)
    needed -= sum(shard.stat().st_size for shard in work.glob("*.shard"))
    free = shutil.disk_usage(out.parent).free
    tell.remark(
        f"{len(sizes)} brackets: at most {expected / 1e9:.2f} GB, "
        f"{needed / 1e9:.2f} GB while joining; {free / 1e9:.1f} GB free"
    )
    remedy = "take another disk, --limit, or fewer patches.variants in the recipe"
    check_free_space(out.parent, needed, remedy)


def _summed_up(
    out: Path, parts: set[Path], plan: Plan, branches: Counter[str], reasons: dict[str, str]
) -> Summary:
    """What `_summary` would say, without reading again what a dataset notes of all brackets."""
    rejected, problems = dict[str, str](), dict[str, tuple[str, ...]]()
    for found in plan.surveys:
        if reason := found.rejected or reasons.get(found.name):
            rejected[found.name] = reason
        elif found.problems:
            problems[found.name] = found.problems
    return Summary(
        out,
        {name: branches[name] for name in BRANCHES if branches[name]},
        len(plan.surveys) - len(rejected),
        rejected,
        sum(path.stat().st_size for path in (out, *parts)),
        len(parts) or 1,
        plan.fingerprint,
        problems,
    )


def _summary(out: Path) -> Summary:
    """What a dataset says of itself."""
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
