#!/usr/bin/env python3
"""Kill builds at random moments, resume them, and compare with an undisturbed build.

    python tests/programs/faults.py WORK [--kills 50] [--seed 0]

SIGKILL goes to the process that was started, to one of its workers, or to all of them at once, as
in a power cut that the page cache survives. After it, the path of the dataset must hold nothing or
the complete dataset. `--resume` must end with the same bytes, and with no other files beside them.
A killed worker must cost the build nothing: it continues by itself.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from labelgen.core.errors import UserError
from labelgen.dataset.verify import verify
from labelgen.simulate import simulate

LABELGEN = Path(sys.executable).with_name("labelgen")
VICTIMS = "parent", "worker", "all"


def start(raw: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start a build of small parts with two workers, in a process group of its own."""
    command = [LABELGEN, "build", raw, out, "--jobs", "2", "--part-size", "0.01", "--resume"]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def worker_pids(pid: int) -> list[int]:
    """Return the pids of the workers of a build."""
    listed = subprocess.run(["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True)
    lines = [line.split(None, 1) for line in listed.stdout.decode().splitlines()]
    return [int(pid) for pid, args in lines if "popen_loky" in args or "LokyProcess" in args]


def kill(running: subprocess.Popen[bytes], victim: str, rng: random.Random) -> bool:
    """Kill a process of a build; return whether there was one."""
    if running.poll() is not None:
        return False
    with contextlib.suppress(ProcessLookupError):
        if victim == "all":
            os.killpg(running.pid, signal.SIGKILL)
        elif victim == "parent":
            running.kill()
        elif workers := worker_pids(running.pid):
            os.kill(rng.choice(workers), signal.SIGKILL)
        else:
            return False
        return True
    return False


def digests(out: Path) -> dict[str, str]:
    """Return the SHA-256 of every file that a build leaves, except the file of its times."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "a folder"
        for path in sorted(out.parent.iterdir())
        if path.name != "out.times.json"
    }


def find_problem(out: Path, whole: dict[str, str]) -> str:
    """Return what is wrong with the files of a dataset after a kill, or an empty text."""
    if not out.exists():
        return ""
    try:
        lines = verify(out)
    except UserError as e:
        lines = [str(e)]
    left = digests(out)
    if lines:
        return f"{out.name} is there and is damaged: {lines[0]}"
    return "" if whole.items() <= left.items() else f"{out.name} is there and has other bytes"


def main() -> None:
    """Print the counts; exit 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    shutil.rmtree(args.work, ignore_errors=True)
    raw, rng = args.work / "raw", random.Random(args.seed)
    simulate(None, raw, scenes=8, size=(200, 300), truth=False)
    (args.work / "whole").mkdir()
    began = time.monotonic()
    assert start(raw, args.work / "whole" / "out.h5").wait() == 0
    length, whole = time.monotonic() - began, digests(args.work / "whole" / "out.h5")
    print(f"a build takes {length:.1f} s and leaves {len(whole)} files")
    counts: Counter[str] = Counter()
    failures, folder, number = [], args.work / "killed", 0
    while counts["kills"] < args.kills:
        number += 1
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        out, victim = folder / "out.h5", VICTIMS[number % 3]
        # Some builds are killed again while they resume.
        for _ in range(rng.choice((1, 1, 2, 3))):
            running = start(raw, out)
            time.sleep(rng.uniform(0.3, 1.02) * length)
            if kill(running, victim, rng):
                counts["kills"] += 1
                counts[f"of {victim}"] += 1
            code = running.wait()
            if problem := find_problem(out, whole):
                failures.append(problem)
            counts["complete at once" if code == 0 else "nothing there yet, resumed"] += 1
            if code == 0:
                break
        if start(raw, out).wait() != 0 or digests(out) != whole:
            failures.append(f"{victim}: resumed, it leaves {digests(out)}")
        if counts["kills"] % 10 < 2:
            print(dict(counts), f"wrong: {len(failures)}", flush=True)
    for failure in failures:
        print(failure)
    print(f"{counts['kills']} kills: " + ", ".join(f"{v} {k}" for k, v in counts.items()))
    print(f"wrong: {len(failures)}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
