#!/usr/bin/env python3
"""Measure how fast `labelgen build` is, how much memory it takes, and what a cluster adds.

    python docs/speed.py WORK [--brackets 24]
           [--only speed floor stages jobs sizes memory many dask]

Brackets are simulated and written to WORK as 16-bit TIFF, or as 8-bit PNG where a table says so.
Seconds are processor time (user and system) of one core, measured from outside. The reference is
AlignMTB and MergeDebevec of OpenCV, which ghost, on the same frames in the same run.
"""

from __future__ import annotations

import argparse
import cProfile
import hashlib
import os
import pstats
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from labelgen.alignment.align import working_size
from labelgen.core.arrays import Float
from labelgen.core.progress import Silent
from labelgen.core.recipe import DEFAULT
from labelgen.pipeline.build import build
from labelgen.simulate import simulate

LABELGEN = Path(sys.executable).with_name("labelgen")
SIZE = 1000, 1500
EV = 0.0, 2.0, 4.0
ROUNDS = 3
STAGES = {
    "survey": "survey.py:survey_cached",
    "decode": "stack.py:load_stack",
    "align": "align.py:find_displacements",
    "label": "label.py:make_label",
    "choose patches": "patches.py:choose_patches",
    "augment": "augment.py:make_samples",
    "write": "shard.py:append",
    "join": "assemble.py:append",
}


def brackets(folder: Path, count: int, size: tuple[int, int]) -> Path:
    """Simulate brackets, unless the folder exists."""
    if not folder.exists():
        simulate(None, folder, scenes=count, size=size, ev=EV, truth=False)
    return folder


def enlarged(source: Path, folder: Path, size: tuple[int, int], frames: int, suffix: str) -> Path:
    """Make a bracket of any size: enlarge a small one, and expose it again with a little noise."""
    if folder.exists():
        return folder
    (folder / "0").mkdir(parents=True)
    first = cv2.imread(str(sorted(source.glob("*/*.tif"))[1]), cv2.IMREAD_UNCHANGED)
    light = cv2.resize((first / np.float32(65535)) ** 2.2 / 4, size[::-1]).astype(np.float32)
    rng, depth = np.random.default_rng(0), np.uint16 if suffix == "tif" else np.uint8
    evs, top = np.linspace(0, 4, frames), np.iinfo(depth).max
    for i, ev in enumerate(evs):
        codes = np.minimum(light * np.float32(2**ev), 1) ** np.float32(1 / 2.2) * top
        codes += rng.standard_normal(codes.shape, np.float32) * (top * 0.002)
        codes = np.rint(np.clip(np.roll(codes, (i, 2 * i), (0, 1)), 0, top)).astype(depth)
        cv2.imwrite(str(folder / "0" / f"{i}.{suffix}"), codes, [cv2.IMWRITE_TIFF_COMPRESSION, 1])
    (folder / "0" / "exposure.txt").write_text("".join(f"{ev:.4f}\n" for ev in evs))
    return folder


def recipe(folder: Path, variants: int) -> Path:
    """Write the default recipe with another number of samples per patch."""
    path = folder / f"{variants}.toml"
    text = subprocess.run([LABELGEN, "recipes", "default"], capture_output=True, text=True).stdout
    lines = text.splitlines()
    for i, line in enumerate(lines):
        name = line.split(" = ")[0]
        if name in ("variants", "hard_variants"):
            lines[i] = f"{name} = {variants}"
    path.write_text("\n".join(lines))
    return path


def begin(raw: Path, out: Path, *options: object) -> subprocess.Popen[bytes]:
    """Start a build."""
    command = [str(LABELGEN), "build", str(raw), str(out), "--overwrite", *map(str, options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else every process compiles all modules
    return subprocess.Popen(command, env=environment, stdout=-3, stderr=-3)


def run(raw: Path, out: Path, *options: object) -> tuple[float, float, float]:
    """Build; return processor seconds, wall seconds, and the peak memory of a process in MB."""
    began = time.monotonic()
    process = begin(raw, out, *options)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, process.args
    return used.ru_utime + used.ru_stime, time.monotonic() - began, used.ru_maxrss / 1e3


def yardstick(raw: Path) -> float:
    """Return the seconds of AlignMTB and MergeDebevec for a bracket."""
    spent = []
    cv2.setNumThreads(1)
    for folder in sorted({p.parent for p in raw.glob("*/*.tif")}):
        frames = [
            (cv2.imread(str(p), cv2.IMREAD_UNCHANGED) / 257).astype(np.uint8)
            for p in sorted(folder.glob("*.tif"))
        ]
        began = time.process_time()
        aligned = [f.copy() for f in frames]
        cv2.createAlignMTB().process(frames, aligned)
        cv2.createMergeDebevec().process(aligned, np.exp2(np.float32(EV)))
        spent.append(time.process_time() - began)
    return float(np.median(spent))


def speed(work: Path, count: int) -> None:
    """Print seconds per bracket, by samples per patch and by filter."""
    raw = brackets(work / "raw", count, SIZE)
    stored = sum(p.stat().st_size for p in raw.glob("*/*.tif"))
    unit = yardstick(raw)
    print(f"\nAlignMTB and MergeDebevec: {unit:.3f} s a bracket\n")
    print("| samples of a patch | filter | s a bracket | ratio | bytes a sample | dataset / raw |")
    print("|---|---|---|---|---|---|")
    for variants, compress in ((1, "none"), (4, "none"), (1, "gzip")):
        out = work / "out.h5"
        spent, *_ = run(
            raw, out, "--jobs", 1, "--recipe", recipe(work, variants), "--compress", compress
        )
        size, samples = out.stat().st_size, _samples(out)
        print(
            f"| {variants} | {compress} | {spent / count:.2f} | {spent / count / unit:.1f} "
            f"| {size / samples / 1e3:.0f} k | {size / stored:.2f} |",
            flush=True,
        )


def floor(work: Path, count: int) -> None:
    """Print a lower bound: decoding, one flow per pair, one mean, and writing."""
    raw = brackets(work / "raw", count, SIZE)
    unit, spent = yardstick(raw), []
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    size = working_size(SIZE, DEFAULT.align.megapixels) or SIZE[::-1]
    for folder in sorted({p.parent for p in raw.glob("*/*.tif")}):
        began = time.process_time()
        frames = [cv2.imread(str(p), cv2.IMREAD_UNCHANGED) for p in sorted(folder.glob("*.tif"))]
        grey = [
            cv2.convertScaleAbs(cv2.cvtColor(f, cv2.COLOR_BGR2GRAY), alpha=1 / 257) for f in frames
        ]
        small = [cv2.resize(g, size, interpolation=cv2.INTER_AREA) for g in grey]
        ys, xs = np.mgrid[0 : SIZE[0], 0 : SIZE[1]].astype(np.float32)
        total = frames[1] / np.float32(3 * 65535)
        for i in (0, 2):
            flow: Float = np.asarray(dis.calc(small[1], small[i], None)) * (SIZE[0] / size[1])
            x, y = np.dsplit(cv2.resize(flow, SIZE[::-1]), 2)
            x, y = x[..., 0] + xs, y[..., 0] + ys
            total += cv2.remap(frames[i], x, y, cv2.INTER_CUBIC) / np.float32(3 * 65535)
        with (work / "floor").open("wb") as file:
            for data in (*frames, total.astype(np.float16)):
                file.write(data)
            os.fsync(file.fileno())
        spent.append(time.process_time() - began)
    print(f"\nThe floor: {np.median(spent):.2f} s a bracket, {np.median(spent) / unit:.1f} times")


def _samples(out: Path) -> int:
    found = subprocess.run([LABELGEN, "info", str(out), "--json"], capture_output=True, text=True)
    return int(found.stdout.split('"samples":')[1].split(",")[0])


def stages(work: Path, count: int) -> None:
    """Print the share of each stage."""
    raw = brackets(work / "raw", count, SIZE)
    cv2.setNumThreads(1)
    profile = cProfile.Profile(time.process_time)
    profile.runcall(
        build, raw, work / "out.h5", recipe=DEFAULT, jobs=1, overwrite=True, progress=Silent()
    )
    table = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    spent = {f"{Path(f).name}:{name}": row[3] for (f, _, name), row in table.items()}
    whole = spent["build.py:build"]
    seconds = {stage: spent[name] for stage, name in STAGES.items()}
    seconds["label"] -= seconds["align"]
    seconds["survey, decoding among it"] = seconds.pop("survey")
    print("\n| stage | share |\n|---|---|")
    for stage, part in seconds.items():
        print(f"| {stage} | {100 * part / whole:.0f} % |")


def jobs(work: Path, count: int) -> None:
    """Compare two workers with one, and with two independent builds side by side."""
    raw, one = brackets(work / "raw", count, SIZE), recipe(work, 1)
    print("\n| alone, s | two side by side, s | --jobs 2, s | times as fast | side by side |")
    print("|---|---|---|---|---|")

    def wall(*workers: int) -> float:
        os.sync()  # so that no earlier writes are measured
        began = time.monotonic()
        builds = [
            begin(raw, work / f"out{k}.h5", "--jobs", n, "--recipe", one)
            for k, n in enumerate(workers)
        ]
        ended = [build.wait() for build in builds]
        assert not any(ended)
        return time.monotonic() - began

    for _ in range(ROUNDS):
        alone, beside, two = wall(1), wall(1, 1), wall(2)
        print(
            f"| {alone:.1f} | {beside:.1f} | {two:.1f} | {alone / two:.2f} "
            f"| {2 * alone / beside:.2f} |",
            flush=True,
        )


def sizes(work: Path, _: int) -> None:
    """Print megapixels of frames per second, by the size of the frames."""
    small = brackets(work / "raw", 24, SIZE)
    print("\n| frames | s a bracket | ratio | megapixels of frames a second |\n|---|---|---|---|")
    one = recipe(work, 1)
    for size in ((1000, 1500), (2828, 4242), (4000, 6000), (5774, 8660)):
        pixels = size[0] * size[1] / 1e6
        raw = small if size == SIZE else enlarged(small, work / f"{pixels:.0f}", size, 3, "tif")
        number = len({p.parent for p in raw.glob("*/*.tif")})
        spent, *_ = run(raw, work / "out.h5", "--jobs", 1, "--recipe", one)
        seconds = spent / number
        print(
            f"| 3 x {pixels:.1f} MP | {seconds:.1f} | {seconds / yardstick(raw):.1f} "
            f"| {3 * pixels / seconds:.2f} |",
            flush=True,
        )


def memory(work: Path, _: int) -> None:
    """Peak of the resident memory of a worker."""
    small = brackets(work / "raw", 24, SIZE)
    print("\n| bracket | peak, GB |\n|---|---|")
    for name, size, frames, suffix in (
        ("3 x 24 MP, 16 bit", (4000, 6000), 3, "tif"),
        ("9 x 50 MP, 8 bit", (5774, 8660), 9, "png"),
    ):
        folder = work / (f"{size[0] * size[1] / 1e6:.0f}" + f"x{frames}" * (frames > 3))
        with ProcessPoolExecutor(1) as other:  # likewise, as said in `main`
            raw = other.submit(enlarged, small, folder, size, frames, suffix).result()
        *_, peak = run(raw, work / "out.h5", "--jobs", 1, "--frames", frames)
        print(f"| {name} | {peak / 1e3:.2f} |", flush=True)


def many(work: Path, _: int) -> None:
    """Memory by the number of brackets."""
    print("\n| tiny brackets | peak, MB |\n|---|---|")
    scenes = sorted(p for p in brackets(work / "tiny", 100, (128, 192)).iterdir() if p.is_dir())
    for count in (100, 1000, 10_000):
        raw = work / f"tiny{count}"
        for k in range(0 if raw.exists() else count):  # the same files again, under other names
            (raw / f"{k:05d}").mkdir(parents=True)
            for path in scenes[k % len(scenes)].iterdir():
                os.link(path, raw / f"{k:05d}" / path.name)
        *_, peak = run(raw, work / "out.h5", "--jobs", 1, "--recipe", recipe(work, 1))
        print(f"| {count} | {peak:.0f} |", flush=True)


def dask(work: Path, count: int) -> None:
    """Two workers of Dask on this machine against two of loky."""
    raw = brackets(work / "raw", count, SIZE)
    address = work / "scheduler.json"
    address.unlink(missing_ok=True)
    kept = {"stdout": -3, "stderr": -3}
    options = ["--scheduler-file", str(address), "--no-dashboard"]
    start = [sys.executable, "-m", "dask"]
    processes = [
        subprocess.Popen([*start, "scheduler", "--host", "127.0.0.1", *options], **kept),
        subprocess.Popen(
            [*start, "worker", "--nworkers", "2", "--nthreads", "1", *options], **kept
        ),
    ]
    try:
        while not address.exists():
            time.sleep(0.1)
        where = address.read_text().split('"address": "')[1].split('"')[0]
        time.sleep(5)
        outs = [work / "loky.h5", work / "dask.h5"]
        ratios = []
        for _ in range(ROUNDS):
            loky = run(raw, outs[0], "--jobs", 2)[1]
            ratios.append(run(raw, outs[1], "--backend", "dask", "--scheduler", where)[1] / loky)
    finally:
        for process in processes:
            process.terminate()
    digests = [hashlib.sha256(out.read_bytes()).hexdigest() for out in outs]
    listed = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(f"\nDask takes {listed} of the time of loky, two workers each; the files")
    print(f"are {'the same' if digests[0] == digests[1] else 'NOT THE SAME'}")


def main(
    parts: Sequence[str] = ("speed", "floor", "stages", "jobs", "sizes", "memory", "many", "dask"),
) -> None:
    """Print tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--brackets", type=int, default=24)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    for part in args.only:
        # Each by itself: the peak of a child begins with what its parent holds.
        with ProcessPoolExecutor(1) as alone:
            alone.submit(globals()[part], args.work, args.brackets).result()


if __name__ == "__main__":
    main()
