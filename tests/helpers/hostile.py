"""Hostile files, made as the tests run: datasets that reach out of their folder, and bombs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.sample import Patch, Sample
from labelgen.dataset.shard import Shard, ShardSource
from labelgen.dataset.writer import part_name, write_index
from tests.helpers.datasets import joined

MEMORY = 3 << 30
ROWS = 4


def dataset(folder: Path, compress: str = "none", parts: int = 1) -> Path:
    """A small valid dataset of two frames, 16 px."""
    rng, layout = np.random.default_rng(3), SampleLayout(2, 16, 8, compress)
    head: dict[str, Any] = {"format": "labelgen", "format_version": 1, "frames": 2, "reference": 1}
    head |= {"patch": 16, "encoding": "gamma2.2", "recipe": {"name": "default"}, "license": ""}
    head |= {"generator": "test", "fingerprint": "f" * 64, "scenes": {}, "citation": ""}
    sources, listed = [], []
    for k in range(parts):
        with Shard(folder / f"{k}.shard", layout) as shard:
            for row in range(ROWS):
                codes = rng.integers(0, 256, (2, 16, 16, 3)).astype(np.uint8)
                label = rng.random((16, 16, 3)).astype(np.float16)
                trust = np.full((16, 16), 255, np.uint8)
                shard.append(Sample(codes, label, trust, Patch(row, 0, 0, 0), 0))
        sources.append(ShardSource(folder / f"{k}.shard", f"scene{k}", ROWS, (0.0, 2.0)))
    path = folder / "out.h5"
    if parts == 1:
        joined(sources, path, layout, head, 8)
        return path
    for k, source in enumerate(sources):
        file = folder / part_name(path, k, parts)
        joined([source], file, layout, head, 8)
        size = file.stat().st_size
        listed.append({"file": file.name, "rows": ROWS, "bytes": size, "sha256": ""})
    write_index(path, listed, layout, head, 8)
    return path


def edited(path: Path, edit: Callable[[h5py.File], object]) -> Path:
    """The same dataset, changed."""
    with h5py.File(path, "r+") as file:
        edit(file)
    return path


def replaced(file: h5py.File, name: str, **how: Any) -> None:
    """A dataset in place of one."""
    del file[name]
    file.create_dataset(name, **how)


def external_link(file: h5py.File) -> None:
    del file["label"]
    file["label"] = h5py.ExternalLink("/etc/passwd", "/label")


def soft_link(file: h5py.File) -> None:
    del file["label"]
    file["label"] = h5py.SoftLink("/weight")


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((ROWS, 16, 16, 3), np.float16)
    layout[:] = h5py.VirtualSource("/data/private.h5", "label", (ROWS, 16, 16, 3))
    del file["label"]
    file.create_virtual_dataset("label", layout)


def external_storage(file: h5py.File) -> None:
    size = ROWS * 16 * 16
    replaced(
        file,
        "weight",
        shape=(ROWS, 16, 16),
        dtype=np.uint8,
        external=[("/etc/passwd", 0, size)],
    )


def references(file: h5py.File) -> None:
    replaced(file, "weight", shape=(ROWS, 16, 16), dtype=h5py.ref_dtype)


def long_texts(file: h5py.File) -> None:
    replaced(file, "scene", shape=(ROWS,), dtype=h5py.string_dtype())


def unknown_filter(file: h5py.File) -> None:
    replaced(file, "weight", shape=(ROWS, 16, 16), dtype=np.uint8, chunks=True, compression="lzf")


def filter_twice(file: h5py.File) -> None:
    """Each deflate makes up to 1,032 times as much of what it is given."""
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_chunk((1, 16, 16))
    settings.set_deflate(1)
    settings.set_deflate(1)
    del file["weight"]
    space = h5py.h5s.create_simple((ROWS, 16, 16))
    h5py.h5d.create(file.id, b"weight", h5py.h5t.STD_U8LE, space, settings)


def many_rows(file: h5py.File) -> None:
    replaced(file, "label", shape=(2**40, 16, 16, 3), dtype="<f2", chunks=(1, 16, 16, 3))


def large_chunk(file: h5py.File) -> None:
    how = {"chunks": (1, 30_000, 30_000), "compression": "gzip", "shuffle": True}
    replaced(file, "weight", shape=(1, 30_000, 30_000), dtype="u4", fletcher32=True, **how)


def many_objects(file: h5py.File) -> None:
    for k in range(100):
        file.create_group(f"g{k}")


def many_attributes(file: h5py.File) -> None:
    for k in range(100):
        file.attrs[f"a{k}"] = k


def attribute_of_many(file: h5py.File) -> None:
    file.attrs["scenes"] = ["{}"] * 100


def wrong_type(file: h5py.File) -> None:
    replaced(file, "label", shape=(ROWS, 16, 16, 3), dtype="<f8", data=np.zeros((ROWS, 16, 16, 3)))


def group(file: h5py.File) -> None:
    del file["weight"]
    file.create_group("weight")


def other_frames(file: h5py.File) -> None:
    file.attrs["frames"] = 2**40


def deep_json(file: h5py.File) -> None:
    file.attrs["scenes"] = "[" * 50_000 + "]" * 50_000


def deep_name(file: h5py.File) -> None:
    file.attrs["recipe"] = json.dumps({"name": json.loads("[" * 800 + "]" * 800)})


def response_of_texts(file: h5py.File) -> None:
    entry = {"name": "estimated", "brackets": 1, "curves": [["0"] * 256] * 3}
    file.attrs["responses"] = json.dumps({"a": entry})


DATASETS: dict[Callable[[h5py.File], None], str] = {
    external_link: "'label' is a link; a dataset holds none; refused",
    soft_link: "'label' is a link; a dataset holds none; refused",
    virtual: "part '/data/private.h5' is not a file beside it; refused",
    external_storage: "'weight' lies in another file; refused",
    references: "'weight' holds neither numbers nor short texts; refused",
    long_texts: "'scene' holds neither numbers nor short texts; refused",
    unknown_filter: "'weight' is stored with filters [32000], which no dataset has; refused",
    filter_twice: "'weight' is stored with filters [1, 1], which no dataset has; refused",
    many_rows: "'label' claims 1,688,849,860,263,936 bytes, which 0 stored ones can't hold",
    large_chunk: "a sample or chunk of 'weight' has more than 256 MiB; refused",
    many_objects: "108 objects, expected at most 64; refused",
    many_attributes: "attributes, expected at most 64; refused",
    attribute_of_many: "attribute 'scenes' is neither one text nor one number; refused",
    deep_json: "damaged root attributes (maximum recursion depth exceeded",
    deep_name: "is no text); copy or build it again",
    response_of_texts: "damaged root attributes ('0' is no number); copy or build it again",
}
"""What is made of a dataset, and what every reader says then."""
SHAPES: dict[Callable[[h5py.File], None], str] = {
    wrong_type: "label is (4, 16, 16, 3) <f8, expected (4, 16, 16, 3)",
    group: "damaged (no dataset weight)",
    other_frames: "inputs is (4, 2, 16, 16, 3) |u1, expected (4, 1099511627776, 16, 16, 3)",
}
"""The same, where `verify` returns a list."""


def bomb(folder: Path, gigabytes: int = 4) -> Path:
    """A gzip dataset whose first label inflates to so much."""
    path = dataset(folder, "gzip")
    packer, block = zlib.compressobj(), bytes(1 << 20)
    first, other = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    packed = first + other * (1024 * gigabytes) + packer.flush()
    with h5py.File(path, "r+") as file:
        file["label"].id.write_direct_chunk((0, 0, 0, 0), packed + bytes(4), 0b100)
    return path


def copied(path: Path, folder: Path) -> Path:
    """A dataset with all its parts in another folder."""
    folder.mkdir(exist_ok=True)
    for file in path.parent.glob("*.h5"):
        shutil.copy(file, folder)
    return folder / path.name


LIMITED = """
import resource, sys
from pathlib import Path
def now(name):  # MB; 0 where the system does not tell: there the limit alone is tested
    own = Path("/proc/self/status")
    text = own.read_text().split(name)[1] if own.exists() else "0"
    return int(text.split()[0]) // 1024
import {library}
mapped, before = (now("VmSize:"), now("VmHWM:")) if "{library}" != "sys" else (0, 0)
most = {memory} + (mapped << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
from labelgen.core.errors import Rejected, UserError
path = Path(sys.argv[1])
try:
    {code}
except (UserError, Rejected) as e:
    print(f"{{type(e).__name__}}: {{e}}")
print(now("VmHWM:") - before)
"""


def limited(code: str, path: Path, seconds: float = 30, beyond: str = "") -> tuple[str, int]:
    """Run code in a process that gets 3 GiB at most: what it printed, and MB that it took.

    Or 2 GiB, and MB, `beyond` a library: torch with CUDA maps 3 GiB to begin with.
    """
    memory = MEMORY - (1 << 30) if beyond else MEMORY
    program = LIMITED.format(memory=memory, code=code, library=beyond or "sys")
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    *said, megabytes = done.stdout.splitlines()
    return "\n".join(said), int(megabytes)
