"""The main job from end to end: what is used, what is rejected, and that the bytes never differ."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import h5py
import numpy as np
import pytest

from labelgen.calibration.survey_records import Survey
from labelgen.core.errors import UserError
from labelgen.core.progress import Silent
from labelgen.core.recipe import DEFAULT, SSHDR
from labelgen.core.response import decode
from labelgen.dataset.columns import BRANCHES
from labelgen.dataset.info import info
from labelgen.dataset.reader import Dataset
from labelgen.dataset.sample import Sample
from labelgen.dataset.shard import Shard, StoredShard
from labelgen.dataset.verify import verify
from labelgen.dataset.writer import Writer, write_column
from labelgen.discovery.scan import scan
from labelgen.pipeline.bracket_task import BracketTask, make_bracket
from labelgen.pipeline.build import build
from labelgen.pipeline.executor import parallel_map
from labelgen.pipeline.summary import Summary
from labelgen.simulate import write_bracket
from tests.conftest import EV, make_scene


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_frames(folder: Path, frames: list[np.ndarray], evs: str = "0\n2\n4\n") -> None:
    folder.mkdir(parents=True)
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{i}.png"), frame)
    if evs:
        (folder / "exposure.txt").write_text(evs)


@pytest.fixture(scope="module")
def built(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "out.h5"
    build(raw, out, jobs=1)
    return out


def test_the_file_is_readable_with_h5py_alone(built: Path, raw: Path) -> None:
    with h5py.File(built) as f:
        n = len(f["label"])
        shapes = {k: (f[k].shape, f[k].dtype.str) for k in f}
        assert shapes == {
            "inputs": ((n, 3, 128, 128, 3), "<u2"),
            "label": ((n, 128, 128, 3), "<f2"),
            "weight": ((n, 128, 128), "|u1"),
            "ev": ((n, 3), "<f4"),
            "scene": ((n,), f"|S{len('trip 1/é 2'.encode())}"),
            "origin": ((n, 2), "<i4"),
            "branch": ((n,), "|u1"),
            "variant": ((n,), "<u2"),
        }
        assert f.attrs["format"] == "labelgen"
        assert f.attrs["format_version"] == 1
        assert (f.attrs["frames"], f.attrs["reference"], f.attrs["patch"]) == (3, 1, 128)
        assert f.attrs["encoding"] == "gamma2.2"
        assert list(f["branch"].attrs["names"]) == list(BRANCHES)
        assert json.loads(f.attrs["recipe"])["name"] == "default"
        scenes = json.loads(f.attrs["scenes"])
        assert set(scenes) == {"five", "moving", "static", "trip 1/é 2"}
        rows = {name: sum(scene["branches"].values()) for name, scene in scenes.items()}
        assert dict(Counter(f["scene"].asstr()[:])) == rows
        for name in ("inputs", "label", "weight"):
            assert f[name].chunks == (1, *f[name].shape[1:])
            assert f[name].fletcher32
        assert set(f["scene"].asstr()[:]) == set(scenes)
        frame = scenes["trip 1/é 2"]["frames"][0]
        assert frame["sha256"] == digest(raw / frame["file"])
        everything = json.dumps({k: str(v) for k, v in f.attrs.items()})
        assert str(raw) not in everything
        assert os.uname().nodename not in everything


def test_readable_by_hdf5_1_8(built: Path) -> None:
    """Superblock version 0 is what HDF5 1.8 and older read."""
    assert built.read_bytes()[:9] == b"\x89HDF\r\n\x1a\n\x00"


def test_real_inputs_and_labels_are_those_of_the_brackets(built: Path, raw: Path) -> None:
    """The reference is as it was taken, others too unless warped; the label is near the truth."""
    seen = plain = 0
    with Dataset(built) as data:
        branches, scenes = data.column("branch"), data.column("scene")
        for row in np.flatnonzero(
            (branches == BRANCHES.index("reference")) & (scenes == b"moving")
        ):
            y, x = data.column("origin")[row]
            at = np.s_[y : y + 128, x : x + 128]
            files = [raw / "moving" / f"input_{i}.tif" for i in (1, 2, 3)]
            codes = [cv2.imread(str(f), cv2.IMREAD_UNCHANGED)[at][..., ::-1] for f in files]
            short, reference, long = map(np.array_equal, data.image("inputs", row), codes)
            assert reference
            assert short == long
            plain += short
            truth = cv2.imread(str(raw / "moving" / "HDRImg.hdr"), cv2.IMREAD_UNCHANGED)[at]
            label, weight = data.image("label", row), data.image("weight", row)
            error = np.abs(label - np.clip(truth[..., ::-1], 0, 1))[weight > 0]
            assert np.median(error) < 0.01
            seen += 1
        five = np.flatnonzero(scenes == b"five")
        assert np.allclose(data.column("ev")[five], [0, 1, 2])
    assert 0 < plain < seen


def test_the_dataset_is_sound(built: Path) -> None:
    assert verify(built) == []
    inside = info(built)
    assert inside["samples"] == sum(inside["branches"].values())
    assert inside["scenes"] == 4
    assert inside["recipe"] == "default"


@pytest.mark.parametrize(("jobs", "backend"), [(2, "loky"), (2, "threading")])
def test_bytes_do_not_depend_on_workers(
    built: Path, raw: Path, tmp_path: Path, jobs: int, backend: str
) -> None:
    build(raw, tmp_path / "out.h5", jobs=jobs, backend=backend)
    assert digest(tmp_path / "out.h5") == digest(built)


def digests(folder: Path) -> dict[str, str]:
    return {path.name: digest(path) for path in folder.glob("*.h5")}


@pytest.mark.parametrize(("jobs", "backend"), [(1, "loky"), (2, "loky"), (2, "threading")])
def test_parts_are_the_same_by_whichever_process_they_are_joined(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int, backend: str
) -> None:
    """Where there are many workers, the parts but the first are theirs."""
    one, other = tmp_path / "one", tmp_path / "other"
    for few, folder in ((12, one), (0, other)):
        folder.mkdir()
        monkeypatch.setattr("labelgen.pipeline.executor.MAX_FOR_ONE_JOINER", few)
        build(raw, folder / "out.h5", jobs=jobs, backend=backend, part_bytes=8 << 20)
    assert len(digests(one)) > 3
    assert digests(one) == digests(other)


def test_a_part_that_a_worker_cannot_write_is_written_by_the_next_build(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelgen.pipeline.executor.MAX_FOR_ONE_JOINER", 0)
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        folder.mkdir()
    with monkeypatch.context() as patch:
        write = Writer.finish

        def full(writer: Writer, attributes: dict[str, Any]) -> None:
            if attributes.get("part") == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(writer, attributes)

        patch.setattr(Writer, "finish", full)
        with pytest.raises(
            UserError, match=r"\(No space left on device\); mend that, then --resume"
        ):
            build(raw, one / "out.h5", jobs=1, part_bytes=8 << 20)
    assert not (one / "out.h5").exists()
    build(raw, one / "out.h5", jobs=1, part_bytes=8 << 20, resume=True)
    build(raw, other / "out.h5", jobs=1, part_bytes=8 << 20)
    assert digests(one) == digests(other)


def test_parts_hold_what_a_single_file_holds(built: Path, raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    summary = build(raw, out, jobs=1, part_bytes=8 << 20)
    assert summary.parts > 1
    parts = {f"out-{k:05d}-of-{summary.parts:05d}.h5" for k in range(summary.parts)}
    assert {p.name for p in tmp_path.iterdir()} == {"out.h5", "out.times.json", *parts}
    assert verify(out) == []
    with h5py.File(out) as file:  # as people with h5py alone see an index
        shown = {name: file[name][:] for name in file}
    with Dataset(built) as one, Dataset(out) as many:
        assert len(one) == len(many) == len(shown["label"])
        assert one.header.fingerprint == many.header.fingerprint
        assert one.header.scenes == many.header.scenes
        for column in ("ev", "scene", "origin", "branch", "variant"):
            assert np.array_equal(one.column(column), many.column(column))
            assert np.array_equal(one.column(column), shown[column])
        for name in ("inputs", "label", "weight"):
            for row in range(len(one)):
                assert np.array_equal(one.image(name, row), many.image(name, row))
            assert np.array_equal(one.image(name, 5), shown[name][5])


@pytest.mark.parametrize("compress", ["gzip", "bitshuffle"])
def test_compression_changes_nothing_but_the_size(
    built: Path, raw: Path, tmp_path: Path, compress: str
) -> None:
    if compress == "bitshuffle":
        pytest.importorskip("hdf5plugin", reason="needs the extra 'codecs'")
    out = tmp_path / "out.h5"
    build(raw, out, jobs=1, compress=compress)
    assert out.stat().st_size < 0.9 * built.stat().st_size
    assert verify(out) == []
    assert info(out)["compress"] == compress
    with Dataset(built) as plain, Dataset(out) as packed:
        assert plain.header.fingerprint == packed.header.fingerprint
        for name in ("inputs", "label", "weight"):
            assert all(
                np.array_equal(a, b)
                for a, b in zip(plain.rows(name), packed.rows(name), strict=True)
            )


def test_an_output_that_exists_is_refused(built: Path, raw: Path) -> None:
    before = digest(built)
    with pytest.raises(UserError, match="exists; give --overwrite"):
        build(raw, built, jobs=1)
    assert digest(built) == before


def test_resume_with_nothing_to_do_looks_at_no_pixel(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = tmp_path / "raw", tmp_path / "out.h5"
    shutil.copytree(raw, photos)
    build(photos, out, jobs=1, limit=2)
    before = out.read_bytes()

    def looked(*_: object, **__: object) -> None:
        raise AssertionError("a survey")

    with monkeypatch.context() as patch:
        patch.setattr("labelgen.pipeline.build.survey_brackets", looked)
        again = build(photos, out, jobs=1, limit=2, resume=True)
        assert (again.samples, again.path) == (info(out)["samples"], out)
        assert not out.with_name("out.h5.partial").exists()
        for change in ({"seed": 1}, {"limit": 1}, {"license": "MIT"}, {"response": "srgb"}):
            with pytest.raises(AssertionError, match="a survey"):
                build(photos, out, jobs=1, **({"limit": 2, "resume": True} | change))
        touched = next((photos / "five").glob("*.tif"))
        touched.touch()
        with pytest.raises(AssertionError, match="a survey"):
            build(photos, out, jobs=1, limit=2, resume=True)
    build(photos, out, jobs=1, limit=2, resume=True)  # the same bytes, so the same dataset
    assert out.read_bytes() == before


def test_resume_with_nothing_to_do_and_with_other_settings(built: Path, raw: Path) -> None:
    before = digest(built)
    assert build(raw, built, jobs=1, resume=True).samples == info(built)["samples"]
    assert not built.with_name("out.h5.partial").exists()
    for other in ({"seed": 5}, {"compress": "gzip"}, {"license": "MIT"}):
        with pytest.raises(UserError, match="other brackets, settings or versions"):
            build(raw, built, jobs=1, resume=True, **other)
    assert digest(built) == before
    assert not built.with_name("out.h5.partial").exists()


def test_overwrite_replaces_parts_by_a_single_file(raw: Path, tmp_path: Path, built: Path) -> None:
    out = tmp_path / "out.h5"
    build(raw, out, jobs=1, part_bytes=8 << 20)
    build(raw, out, jobs=1, overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {"out.h5", "out.times.json"}
    assert digest(out) == digest(built)


def test_brackets_are_joined_while_others_are_made(raw: Path, tmp_path: Path) -> None:
    """The file grows with every bracket, in its folder of what is unfinished."""
    sizes = []

    class Tell(Silent):
        def step(self, samples: int, rejected: bool) -> None:
            if samples:
                joined = tmp_path / "out.h5.partial" / "part-00000.tmp"
                sizes.append(joined.stat().st_size if joined.exists() else 0)

    summary = build(raw, tmp_path / "out.h5", jobs=1, progress=Tell())
    assert len(sizes) == summary.used == 4
    assert sizes[0] == 0
    assert all(after - before > 1e6 for before, after in pairwise(sizes))
    assert sizes[-1] > summary.bytes / 3


KILLED = """
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from labelgen.pipeline.build import build
class Tell:
    def start(self, stage, total):
        print(stage, flush=True)
        self.stage = stage
    def step(self, samples, rejected):
        print("done", flush=True)
        time.sleep(self.stage == "join")  # the next step takes no time
    def remark(self, text): pass
build(Path(sys.argv[1]), Path(sys.argv[2]), jobs=int(sys.argv[3]),
      part_bytes=int(sys.argv[4]), resume=True, progress=Tell())
"""


@pytest.mark.parametrize(
    ("stage", "steps", "jobs", "part_bytes"),
    [
        ("survey", 2, 1, 8 << 30),
        ("build", 2, 1, 8 << 30),
        ("build", 1, 2, 8 << 30),
        ("join", 1, 1, 8 << 20),
    ],
)
def test_killed_and_resumed_gives_the_same_bytes(
    raw: Path, built: Path, tmp_path: Path, stage: str, steps: int, jobs: int, part_bytes: int
) -> None:
    """kill -9 in the middle, --resume, and the file of a build that nobody disturbed."""
    out = tmp_path / "out.h5"
    command = [sys.executable, "-c", KILLED, str(raw), str(out), str(jobs), str(part_bytes)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert running.stdout is not None
    here, done = "", 0
    for line in running.stdout:
        here, done = (here, done + 1) if line == "done\n" else (line.strip(), 0)
        if (here, done) == (stage, steps):
            break
    os.killpg(running.pid, signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not out.exists()
    finished = {
        p.name: p.stat().st_mtime_ns for p in tmp_path.rglob("*") if p.suffix in (".h5", ".json")
    }
    assert finished

    with pytest.raises(UserError, match="--resume to go on"):
        build(raw, out, jobs=1, part_bytes=part_bytes)
    build(raw, out, jobs=jobs, part_bytes=part_bytes, resume=True)
    assert verify(out) == []
    if part_bytes > 1 << 30:
        assert digest(out) == digest(built)
        assert {p.name for p in tmp_path.iterdir()} == {"out.h5", "out.times.json"}
    else:
        whole = tmp_path / "undisturbed" / "out.h5"
        whole.parent.mkdir()
        build(raw, whole, jobs=1, part_bytes=part_bytes)
        for path in whole.parent.glob("*.h5"):
            assert digest(path) == digest(tmp_path / path.name)


class Killed(BaseException):
    """Ends a build as a signal does."""


class UntilTheJoin(Silent):
    def start(self, stage: str, total: int) -> None:
        if stage == "join":
            raise Killed


@pytest.mark.parametrize("compress", ["none", "gzip"])
@pytest.mark.parametrize("whole", [False, True])
def test_shards_that_a_power_cut_took_are_made_again(
    raw: Path, tmp_path: Path, whole: bool, compress: str
) -> None:
    """They are not brought to the disk when they are written; records are.

    What was never written, within a chunk or a sample as a whole, is zeros.
    """
    build(raw, tmp_path / "whole.h5", jobs=1, compress=compress)
    out, work, remarks = tmp_path / "out.h5", tmp_path / "out.h5.partial", list[str]()
    with pytest.raises(Killed):
        build(raw, out, jobs=1, compress=compress, progress=UntilTheJoin())
    cut, holed, gone, _ = sorted(work.glob("*.shard"))
    os.truncate(cut, cut.stat().st_size // 2)
    with StoredShard(holed) as shard:
        sample = sum(size for _, size, _ in shard.chunks[0])
    with holed.open("r+b") as file:
        start, size = (0, sample) if whole else (4096, 4096)
        file.seek(start)
        file.write(bytes(size))
    gone.unlink()

    stages = list[tuple[str, int]]()

    class Tell(Silent):
        def start(self, stage: str, total: int) -> None:
            stages.append((stage, total))

        def remark(self, text: str) -> None:
            remarks.append(text)

    build(raw, out, jobs=1, compress=compress, resume=True, progress=Tell())
    assert "1 brackets are finished already, 3 are left" in remarks
    assert stages[-3:] == [("check", 4), ("build", 3), ("join", 1)]
    assert digest(out) == digest(tmp_path / "whole.h5")


def test_a_killed_overwrite_is_resumed_and_not_taken_for_the_old_dataset(
    raw: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.h5"
    build(raw, out, jobs=1, limit=1)
    build(raw, tmp_path / "wanted.h5", jobs=1, limit=1, seed=4)
    work = tmp_path / "out.h5.partial"

    with pytest.raises(Killed):
        build(raw, out, jobs=1, limit=1, seed=4, overwrite=True, progress=UntilTheJoin())
    assert work.exists()
    build(raw, out, jobs=1, limit=1, seed=4, resume=True)
    assert digest(out) == digest(tmp_path / "wanted.h5")
    assert not work.exists()


def test_what_killed_its_worker_stays_out_of_a_build_that_is_resumed(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part may be noted already, and its samples gone, in which it would have had a place."""

    def deadly(
        task: Callable[..., Any], items: Sequence[Any], **options: Any
    ) -> Iterator[tuple[int, Any]]:
        first = getattr(task, "func", None) is make_bracket
        if first:
            yield 0, None
        for i, result in parallel_map(task, list(items)[first:], **options):
            yield i + first, result

    out = tmp_path / "out.h5"
    with monkeypatch.context() as patch:
        patch.setattr("labelgen.pipeline.build.parallel_map", deadly)
        with pytest.raises(Killed):
            build(raw, out, jobs=1, part_bytes=8 << 20, progress=UntilTheJoin())
    build(raw, out, jobs=1, part_bytes=8 << 20, resume=True)
    assert verify(out) == []
    [(name, reason)] = info(out)["rejected"].items()
    assert name == "five"
    assert "its worker died twice" in reason


def test_only_datasets_are_overwritten_and_only_their_own_parts(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="is no HDF5 file, so not ours to replace"):
        build(raw, tmp_path / "thesis.txt", jobs=1, overwrite=True)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
    build(raw, tmp_path / "a.h5", jobs=1, part_bytes=8 << 20)
    shutil.copy(tmp_path / "a.h5", tmp_path / "b.h5")
    build(raw, tmp_path / "b.h5", jobs=1, overwrite=True)
    assert verify(tmp_path / "a.h5") == []


def test_brackets_of_one_name_are_refused(raw: Path, tmp_path: Path) -> None:
    twice = scan(raw)[:1] * 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("labelgen.discovery.select.iterate_brackets", lambda _: twice)
        with pytest.raises(UserError, match="two brackets are named 'five'"):
            build(raw, tmp_path / "out.h5", jobs=1)


def test_the_fingerprint_knows_what_a_truth_refers_to(raw: Path, tmp_path: Path) -> None:
    """A longer span below the frames used scales the truth, and has to change the fingerprint."""
    folder, prints = tmp_path / "raw", []
    shutil.copytree(raw / "five", folder / "five")
    for darkest in ("0.0", "-2.0"):
        evs = f"{darkest}\n1\n2\n3\n4\n"
        (folder / "five" / "exposure.txt").write_text(evs)
        out = tmp_path / f"{darkest}.h5"
        build(folder, out, jobs=1, labels="truth")
        prints.append(info(out)["fingerprint"])
    assert prints[0] != prints[1]


def test_finished_brackets_are_not_made_again(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelgen.pipeline import stages as module

    made: list[str] = []
    real, stop = module.make_bracket, 2

    def counted(survey: Survey, task: BracketTask) -> object:
        if len(made) == stop:
            raise KeyboardInterrupt
        made.append(survey.name)
        return real(survey, task)

    monkeypatch.setattr(module, "make_bracket", counted)
    with pytest.raises(KeyboardInterrupt):
        build(raw, tmp_path / "out.h5", jobs=1)
    first = list(made)
    made.clear()
    stop = 9
    build(raw, tmp_path / "out.h5", jobs=1, resume=True)
    assert len(first) == 2
    assert len(made) == 2
    assert not set(first) & set(made)


def test_a_full_disk_stops_the_build_and_costs_no_bracket(
    raw: Path, built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, real, samples = tmp_path / "out.h5", Shard.append, 0

    def full(shard: Shard, sample: Sample) -> None:
        nonlocal samples
        samples += 1
        if samples > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(shard, sample)

    with monkeypatch.context() as patch:
        patch.setattr(Shard, "append", full)
        with pytest.raises(UserError, match="No space left on device; mend that, then give"):
            build(raw, out, jobs=1)
    assert not out.exists()
    build(raw, out, jobs=1, resume=True)
    assert digest(out) == digest(built)


@pytest.mark.parametrize(("limit", "jobs"), [(20_000, 1), (1_000_000, 2), (20_000_000, 1)])
def test_files_that_may_not_grow_stop_the_build_in_one_line(
    raw: Path, built: Path, tmp_path: Path, limit: int, jobs: int
) -> None:
    """As on a disk that is full: surveys, shards and the join fail in turn."""
    pytest.importorskip("resource", reason="limits of processes are of Unix")
    out = tmp_path / "out.h5"
    code = (
        "import resource, sys; from labelgen.cli import main;"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, resource.RLIM_INFINITY)); main()"
    )
    command = [sys.executable, "-c", code, "build", str(raw), str(out), "--jobs", str(jobs)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 2
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("labelgen: ")
    assert re.search(r"File too large\)?; mend that, then", last)
    assert not out.exists()
    build(raw, out, jobs=1, resume=True)
    assert digest(out) == digest(built)
    assert {p.name for p in tmp_path.iterdir()} == {"out.h5", "out.times.json"}


def test_changed_inputs_are_noticed_on_resume(raw: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "raw", tmp_path / "out.h5"
    shutil.copytree(raw, folder)
    build(folder, out, jobs=1)
    lines = (folder / "static" / "exposure.txt").read_text().replace("4.0", "4.1")
    (folder / "static" / "exposure.txt").write_text(lines)
    with pytest.raises(UserError, match="other brackets, settings or versions"):
        build(folder, out, jobs=1, resume=True)


def test_two_builds_of_one_output_at_once(raw: Path, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl", reason="locks need a POSIX system")
    out = tmp_path / "out.h5"
    work = tmp_path / "out.h5.partial"
    work.mkdir()
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="another command is writing it"):
            build(raw, out, jobs=1, resume=True)
        assert (work / "lock").exists()
    build(raw, out, jobs=1, resume=True)
    assert verify(out) == []


def bad_brackets(folder: Path) -> dict[str, str]:
    """One bracket for every way to be unusable, and what the reason has to say."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(10, 240, 160 * 160 * 3).reshape(160, 160, 3)
    good = [
        np.clip(ramp * 0.5**k + rng.normal(0, 1, ramp.shape), 0, 255).astype(np.uint8)
        for k in (2, 1, 0)
    ]
    write_frames(folder / "damaged", good)
    (folder / "damaged" / "1.png").write_bytes((folder / "damaged" / "1.png").read_bytes()[:500])
    write_frames(folder / "sizes", [good[0], good[1][:150], good[2]])
    write_frames(folder / "few", good[:2], "0\n2\n")
    write_frames(folder / "one", good[:1], "0\n")
    write_frames(folder / "silent", good[:2], "")  # too few for an estimate
    write_frames(folder / "black", [np.zeros((160, 160, 3), np.uint8)] * 3)
    write_frames(folder / "white", [np.full((160, 160, 3), 255, np.uint8)] * 3)
    write_frames(folder / "small", [g[:100] for g in good])
    write_frames(folder / "lies", [good[2]] * 3)
    write_frames(folder / "repeats", good, "0\n0\n2\n")
    return {
        "damaged": "1.png: cannot be decoded",
        "sizes": "frames differ in size",
        "few": "2 frames of different exposure, 3 needed",
        "one": "at least 2",
        "silent": "no exposure known",
        "black": "black",
        "white": "white",
        "small": "smaller than a patch",
        "lies": "exposures contradict the pixels",
        "repeats": "2 frames of different exposure (3 with repeats)",
    }


def test_bad_brackets_are_rejected_with_their_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder, out = tmp_path / "raw", tmp_path / "out.h5"
    reasons = bad_brackets(folder)
    write_bracket(folder / "good", make_scene(30, (160, 200)), EV)
    summary = build(folder, out, jobs=1)
    assert summary.used == 1
    assert set(summary.rejected) == set(reasons)
    for name, reason in reasons.items():
        assert reason in summary.rejected[name]
        assert "\n" not in summary.rejected[name]
    assert verify(out) == []


def test_nothing_usable_leaves_nothing_behind(tmp_path: Path) -> None:
    bad_brackets(tmp_path / "raw")
    with pytest.raises(UserError, match="none of 10 brackets can be used"):
        build(tmp_path / "raw", tmp_path / "out.h5", jobs=1)
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_truth_labels(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.h5"
    summary = build(raw, out, jobs=1, labels="truth")
    assert set(summary.branches) == {"truth"}
    with Dataset(out) as data:
        assert len(data) == summary.samples == 4 * 2 * 3
        scenes, origins = data.column("scene"), data.column("origin")
        for row in range(len(data)):
            assert (data.image("weight", row) == 255).all()
        row = int(np.flatnonzero(scenes == b"five")[2])
        y, x = origins[row]
        at = np.s_[y : y + 128, x : x + 128]
        # Frames 1, 2, 3 of five are used, so 1.0 is where frame 1 clips, one stop lower.
        truth = cv2.imread(str(raw / "five" / "HDRImg.hdr"), cv2.IMREAD_UNCHANGED)[at][..., ::-1]
        assert np.allclose(data.image("label", row), np.clip(2 * truth, 0, 1), rtol=2e-3, atol=1e-6)
        linear = decode(data.image("inputs", row)[1]) / 2
        unclipped = (linear < 0.45) & (linear > 0.05)
        ratio = linear[unclipped] / data.image("label", row).astype(np.float32)[unclipped]
        assert np.median(ratio) == pytest.approx(1, abs=0.02)


def test_truth_labels_augmented(raw: Path, tmp_path: Path) -> None:
    summary = build(raw, tmp_path / "out.h5", jobs=1, labels="truth", augment=True)
    assert set(summary.branches) == {"truth", "illumination"}
    assert summary.samples > 4 * 2 * 3


def test_truth_that_is_missing_rejects(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    shutil.copytree(raw, folder)
    (folder / "static" / "HDRImg.hdr").unlink()
    summary = build(folder, tmp_path / "out.h5", jobs=1, labels="truth")
    assert "no HDRImg.hdr" in summary.rejected["static"]


def test_exclude_limit_and_groups(raw: Path, tmp_path: Path) -> None:
    from labelgen.discovery.groups_file import brackets_as_json

    (tmp_path / "skip.txt").write_text("# not these\nfive\ntrip*\n")
    summary = build(raw, tmp_path / "a.h5", jobs=1, exclude=tmp_path / "skip.txt", recipe=SSHDR)
    assert used(summary) | set(summary.rejected) == {"moving", "static"}
    assert used(build(raw, tmp_path / "b.h5", jobs=1, limit=1)) == {"five"}
    groups = brackets_as_json(scan(raw), raw)[:1]
    (tmp_path / "groups.json").write_text(json.dumps(groups))
    summary = build(raw, tmp_path / "c.h5", jobs=1, groups=tmp_path / "groups.json")
    assert used(summary) == {"five"}


def used(summary: Summary) -> set[str]:
    with Dataset(summary.path) as data:
        return {s.decode() for s in data.column("scene")}


def test_two_frames_and_another_reference(raw: Path, tmp_path: Path) -> None:
    build(raw, tmp_path / "pairs.h5", jobs=1, frames=2)
    inside = info(tmp_path / "pairs.h5")
    assert (inside["frames"], inside["reference"]) == (2, 1)
    build(raw, tmp_path / "short.h5", jobs=1, reference=0)
    assert info(tmp_path / "short.h5")["reference"] == 0
    assert verify(tmp_path / "short.h5") == []


def test_the_best_exposed_frame_as_reference(raw: Path, tmp_path: Path) -> None:
    """Of five frames the brighter ones clip nearly all of this scene."""
    folder = tmp_path / "raw"
    scene = make_scene(6, (200, 280), ev=(0.0, 1.0, 2.0, 5.0, 8.0), shake=0.0)
    write_bracket(folder / "a", scene, (0.0, 1.0, 2.0, 5.0, 8.0))
    build(folder, tmp_path / "auto.h5", jobs=1, reference="auto", labels="truth")
    build(folder, tmp_path / "middle.h5", jobs=1, labels="truth")
    shares = []
    for name in ("auto", "middle"):
        with Dataset(tmp_path / f"{name}.h5") as data:
            codes = np.stack([data.image("inputs", i)[1] for i in range(len(data))]) / 65535
        shares.append(((codes > 0.1) & (codes < 0.95)).mean())
    assert shares[0] >= shares[1]


def test_8_bit_brackets_stay_8_bit_and_one_of_16_widens_all(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    scene = make_scene(31, (160, 200), pieces=0, shake=0.0)
    write_frames(
        folder / "narrow", [(c[..., ::-1] / 257).round().astype(np.uint8) for c in scene.codes]
    )
    build(folder, tmp_path / "8.h5", jobs=1)
    assert info(tmp_path / "8.h5")["depth"] == 8
    write_bracket(folder / "wide", make_scene(32, (160, 200)), EV)
    build(folder, tmp_path / "16.h5", jobs=1)
    assert info(tmp_path / "16.h5")["depth"] == 16
    with Dataset(tmp_path / "16.h5") as data:
        narrow = np.flatnonzero((data.column("scene") == b"narrow") & (data.column("branch") == 0))
        assert any((data.image("inputs", int(i)) % 257 == 0).all() for i in narrow)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frames": 1}, "--frames is 1"),
        ({"reference": 3}, "--reference is 3, expected 0 to 2, or auto"),
        ({"reference": "middle"}, "--reference is middle"),
        ({"labels": "best"}, "--labels is 'best', expected pseudo or truth"),
        ({"compress": "zip"}, "--compress is 'zip'"),
        ({"backend": "mpi"}, "--backend is 'mpi'"),
        ({"augment": True}, "--augment goes with --labels truth"),
        ({"part_bytes": 0}, "--part-size is 0 bytes"),
        ({"license": "\udcff"}, "--license is not UTF-8"),
        ({"jobs": 0}, "--jobs is 0"),
        ({"limit": 0}, "--limit is 0"),
        ({"resume": True, "overwrite": True}, "take one"),
        ({"recipe": "none"}, "no recipe 'none'"),
    ],
)
def test_unusable_arguments(raw: Path, tmp_path: Path, options: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(UserError) as error:
        build(raw, tmp_path / "out.h5", **options)
    assert message in str(error.value)
    assert not list(tmp_path.iterdir())


def test_more_brackets_than_one_dataset_notes(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("labelgen.pipeline.plan.MAX_TEXT", 2000)
    with pytest.raises(UserError, match=r"notes of \d+ brackets is .*; build several"):
        build(raw, tmp_path / "out.h5", jobs=1)
    assert not list(tmp_path.iterdir())


def test_no_room_on_the_disk(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(UserError, match=r"GB may be needed and 0\.0 GB are free"):
        build(raw, tmp_path / "out.h5", jobs=1)


def test_the_expected_size_is_an_upper_bound(built: Path) -> None:
    from labelgen.dataset.columns import SampleLayout
    from labelgen.pipeline.disk import disk_needed

    expected, needed = disk_needed({(200, 280): 4}, DEFAULT, SampleLayout(3, 128, 16), 8 << 30)
    assert built.stat().st_size <= 1.05 * expected
    assert needed == 2 * expected


def test_bytes_do_not_depend_on_a_profiler_that_looks_on(tmp_path: Path) -> None:
    """One that holds on to frames keeps datasets open for longer, as that of Dask's does."""
    columns = {name: np.arange(20, dtype=np.int32) * k for k, name in enumerate("abcde")}
    looking = threading.Event()

    def look() -> None:
        held: list[object] = []
        while not looking.is_set():
            held = [*held[-40:], sys._current_frames()]
            time.sleep(0)

    def written() -> str:
        with h5py.File(tmp_path / "x.h5", "w", libver=("earliest", "v108")) as file:
            for name, values in columns.items():
                write_column(file, name, values)
        return digest(tmp_path / "x.h5")

    alone, interval = written(), sys.getswitchinterval()
    profiler = threading.Thread(target=look)
    profiler.start()
    sys.setswitchinterval(1e-5)
    try:
        watched = {written() for _ in range(60)}
    finally:
        sys.setswitchinterval(interval)
        looking.set()
        profiler.join()
    assert watched == {alone}


def test_time_is_not_in_the_file(raw: Path, tmp_path: Path) -> None:
    build(raw, tmp_path / "a.h5", jobs=1, limit=1)
    time.sleep(1.1)
    build(raw, tmp_path / "b.h5", jobs=1, limit=1)
    assert digest(tmp_path / "a.h5") == digest(tmp_path / "b.h5")
