"""How many workers a given memory bears."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from labelgen.core.bracket import Bracket, Frame
from labelgen.core.errors import UserError
from labelgen.core.progress import Silent
from labelgen.pipeline.memory import bytes_per_worker, jobs_within_memory


class Remarks(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def remark(self, text: str) -> None:
        self.said.append(text)


def bracket(name: str, size: tuple[int, int] | None) -> Bracket:
    frames = tuple(Frame(Path(f"{i}.tif"), float(i)) for i in range(3))
    return Bracket(name, Path(name), frames, size)


LARGE = [bracket("small", (400, 600)), bracket("large", (4000, 6000)), bracket("odd", None)]


def test_workers_are_fewer_where_memory_is_short() -> None:
    tell = Remarks()
    one = bytes_per_worker(24_000_000, 3, 16) / 1e9
    assert jobs_within_memory(2.5 * one, LARGE, 3, 8, tell) == 2
    assert tell.said == [
        f"2 of 8 workers, since 'large' may take {one:.1f} GB and --memory is {2.5 * one:g}"
    ]


def test_workers_are_as_asked_for_where_there_is_enough() -> None:
    tell = Remarks()
    assert jobs_within_memory(100, LARGE, 3, 4, tell) == 4
    assert jobs_within_memory(float("inf"), LARGE, 3, 4, tell) == 4
    assert jobs_within_memory(0.001, LARGE[2:], 3, 4, tell) == 4
    assert not tell.said


@pytest.mark.parametrize("memory", [0.5, 0.0, -1.0, float("nan")])
def test_a_bracket_that_never_fits_is_refused(memory: float) -> None:
    with pytest.raises(UserError, match=rf"--memory is {memory:g}: 'large' alone may take 1.* GB"):
        jobs_within_memory(memory, LARGE, 3, 4, Silent())


FAULTS = """
import resource
import numpy as np
from labelgen.pipeline.worker_setup import set_up_worker

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    held = [np.ones(1 << 21) for _ in range(4)]  # 16 MB each
    del held
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

PREPARE
faults()
print(sum(faults() for _ in range(4)))
"""


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc",
    reason="no C library but glibc can be told to keep what is freed",
)
def test_what_a_worker_frees_stays_at_hand() -> None:
    def pages(prepared: str) -> int:
        code = FAULTS.replace("PREPARE", prepared)
        # Not in large pages, of which there are few anyway.
        environment = os.environ | {"NUMPY_MADVISE_HUGEPAGE": "0"}
        told = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env=environment,
            check=True,
        )
        return int(told.stdout)

    assert pages("set_up_worker()") < 0.1 * pages("")
