"""Fuzz every reader with damaged and hostile inputs; see docs/security.md.

    python tests/programs/fuzz.py [--minutes 30] [--only NAME ...] [--keep FOLDER] [--seed N]

A finding is any exception but `UserError` and `Rejected`, an input that takes more than 10 s, or a
process that dies, for example because it allocates more than 4 GiB. Inputs are mutations of valid
files (flipped bytes, extreme numbers, truncations, splices), and random bytes and texts from
hypothesis.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from labelgen.core.errors import Rejected, UserError
from tests.programs.fuzz_targets import TARGETS

MAX_MEMORY = 4 << 30
TIMEOUT_S = 10
MAX_DEATHS = 20
"""Processes of one reader that may die before the others get their turn."""
EXTREME_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF)
TOKENS = (
    *(b"nan", b"inf", b"-inf", b"1e400", b"-0", b"null", b"true", b"{}", b"[]", b'""', b"/"),
    *(b"[" * 3000, b"9" * 5000, b"0x" + b"f" * 6000, b"../", b"\x00", b"\x1b[2J", b"\n", b"\xff"),
)


def mutate(seed: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """Return a valid input with one to four changes."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(7)
        if kind == 0 and data:
            data[at % len(data)] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[at % len(data)] = rng.randrange(256)
        elif kind == 2:
            size = rng.choice((1, 2, 4, 8))
            number = rng.choice(EXTREME_NUMBERS) & (256**size - 1)
            data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            del data[at : at + rng.randrange(64)]
        elif kind == 5:
            data[at : at + rng.choice((0, 1, 4))] = rng.choice(TOKENS)
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            data[at:at] = other[start : start + rng.randrange(400)]
    return bytes(data)


class Timeout(BaseException):
    """An input took too long. Readers catch Exception, so this is none."""


def on_alarm(number: int, frame: FrameType | None) -> None:
    raise Timeout


def work(name: str, seconds: float, seed: int, keep: Path) -> None:
    """Fuzz one reader; print a line of JSON for each finding, and one at the end."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    signal.signal(signal.SIGALRM, on_alarm)
    warnings.simplefilter("ignore")
    tried, until, rng = 0, time.monotonic() + seconds, random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch:
        target = TARGETS[name](Path(scratch))
        place = Path(scratch) / "input"
        place.mkdir()

        def attempt(data: bytes) -> None:
            nonlocal tried
            tried += 1
            (keep / f"{name}.last").write_bytes(data)  # kept if the process dies
            path = place / target.name
            path.write_bytes(data)
            signal.alarm(TIMEOUT_S)
            try:
                target.read(path)
            except (UserError, Rejected) as e:
                if len(str(e)) > 2000:
                    report("a long line", data)
            except Timeout:
                report("hangs", data)
            except Exception as e:
                report(f"{type(e).__name__}: {str(e)[:200]}", data)
            finally:
                signal.alarm(0)
                for left in place.iterdir():
                    left.unlink()

        def report(what: str, data: bytes) -> None:
            saved = keep / f"{name}-{seed}-{tried}"
            saved.write_bytes(data)
            trace = [line[:120] for line in traceback.format_exc().splitlines()[-8:]]
            print(json.dumps({"what": what, "input": str(saved), "trace": trace}), flush=True)

        def attempt_random() -> None:
            inputs = st.binary(max_size=200) | st.text(max_size=200).map(str.encode)
            limits = settings(
                max_examples=200,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            limits(given(inputs)(attempt))()

        for data in target.seeds:
            attempt(data)
        attempt_random()
        while time.monotonic() < until:
            data = rng.choice(target.seeds)
            head = target.head if rng.random() < 0.7 else 0  # most of the parsing is in headers
            if head:
                mutant = mutate(data[:head], target.seeds, rng)
                attempt(mutant + data[head:])
            else:
                attempt(mutate(data, target.seeds, rng))
    print(json.dumps({"tried": tried}), flush=True)


def fuzz(name: str, seconds: float, keep: Path, seed: int) -> int:
    """Fuzz one reader in processes of its own, started again when one dies; count the findings."""
    start, tried, findings, last_seed = time.monotonic(), 0, [], seed + MAX_DEATHS
    while (remaining := seconds - (time.monotonic() - start)) > 0 and seed < last_seed:
        command = [sys.executable, __file__, "--worker", name, str(remaining), str(seed), str(keep)]
        quiet = os.environ | {"OPENCV_LOG_LEVEL": "SILENT"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
        for line in done.stdout.splitlines():
            report = json.loads(line) if line.startswith("{") else {}
            tried += report.get("tried", 0)
            findings += [report] if "what" in report else []
        if done.returncode:
            last = keep / f"{name}.last"
            died = last.rename(keep / f"{name}-{seed}-died") if last.exists() else last
            trace = done.stderr.splitlines()[-5:]
            findings.append(
                {"what": f"died: {done.returncode}", "input": str(died), "trace": trace}
            )
        seed += 1
    elapsed = time.monotonic() - start
    print(f"{name:10s} {tried:9,d} inputs  {elapsed:6.0f} s  {len(findings)} findings", flush=True)
    for finding in {f["what"]: f for f in findings}.values():
        print(f"    {finding['what']}\n    {finding['input']}")
        print("      " + "\n      ".join(finding["trace"]))
    (keep / f"{name}.last").unlink(missing_ok=True)
    return len(findings)


def main() -> None:
    """Fuzz all readers, or those named."""
    if sys.argv[1:2] == ["--worker"]:
        name, seconds, seed, keep = sys.argv[2:6]
        work(name, float(seconds), int(seed), Path(keep))
        return
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="for all readers together")
    parser.add_argument("--only", nargs="*", choices=list(TARGETS), default=list(TARGETS))
    parser.add_argument("--keep", type=Path, help="folder for the inputs with findings")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations")
    args = parser.parse_args()
    keep = args.keep or Path(tempfile.mkdtemp(prefix="fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    seconds = 60 * args.minutes / len(args.only)
    findings = sum(fuzz(name, seconds, keep, args.seed) for name in args.only)
    print(f"inputs with findings: {keep}")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()
