from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from labelgen.core.response import encode
from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.sample import Patch, Sample
from labelgen.dataset.shard import Shard, ShardSource
from labelgen.dataset.writer import part_name, write_index
from labelgen.photos.pictures import write_hdr
from tests.helpers.datasets import joined
from trainer.training.fit import fit

MakeDataset = Callable[..., Path]
MakeScene = Callable[..., Path]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Use one thread: the order of sums, and so the last bit, depends on their number."""
    torch.set_num_threads(1)


def scene(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Smooth radiance of three stops around a bright spot, (H, W, 3) float32, at most 1."""
    small = rng.uniform(0.02, 1, (height // 8 + 2, width // 8 + 2, 3)).astype(np.float32)
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), 0.005, 1)


def expose(radiance: np.ndarray, evs: Sequence[float], depth: int) -> np.ndarray:
    """Codes (F, H, W, 3) of a static scene at each exposure."""
    return np.stack([encode(radiance * np.float32(2.0**ev), depth) for ev in evs])


def attributes(frames: int, reference: int, patch: int, fingerprint: str) -> dict[str, object]:
    return {
        "format": "labelgen",
        "format_version": 1,
        "frames": frames,
        "reference": reference,
        "patch": patch,
        "encoding": "gamma2.2",
        "recipe": {"name": "test"},
        "generator": "test",
        "fingerprint": fingerprint,
        "scenes": {},
        "license": "",
        "citation": "",
    }


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Write a dataset of static scenes, which do not depend on `depth` and `parts`."""

    def make(
        name: str = "data.h5",
        samples: int = 12,
        evs: Sequence[float] = (0, 2, 4),
        reference: int = 1,
        patch: int = 32,
        depth: int = 16,
        parts: int = 1,
        fingerprint: str = "f" * 64,
    ) -> Path:
        rng = np.random.default_rng(7)
        layout = SampleLayout(len(evs), patch, depth)
        sources = []
        for i in range(4):
            rows = samples // 4
            shard_path = tmp_path / f"{name}.{i}.shard"
            with Shard(shard_path, layout) as shard:
                for k in range(rows):
                    label = scene(rng, patch, patch)
                    codes = expose(label, evs, 8)
                    if depth == 16:
                        codes = codes.astype(np.uint16) * np.uint16(257)
                    weight = rng.integers(0, 256, (patch, patch)).astype(np.uint8)
                    at = Patch(k, 0, k * patch, 0)
                    shard.append(Sample(codes, label.astype(np.float16), weight, at, 0))
            sources.append(ShardSource(shard_path, f"scene{i}", rows, tuple(evs)))
        path, head = tmp_path / name, attributes(len(evs), reference, patch, fingerprint)
        if parts == 1:
            joined(sources, path, layout, head, 8)
            return path
        listed = []
        for n, group in enumerate(np.array_split(np.arange(4), parts)):
            file = tmp_path / part_name(path, n, parts)
            joined([sources[i] for i in group], file, layout, head, 8)
            rows = sum(sources[i].rows for i in group)
            size = file.stat().st_size
            listed.append({"file": file.name, "rows": rows, "bytes": size, "sha256": ""})
        write_index(path, listed, layout, head, 8)
        return path

    return make


@pytest.fixture
def make_scene(tmp_path: Path) -> MakeScene:
    """Write a bracket of a static scene in the SIGGRAPH'17 layout."""

    def make(
        name: str = "scenes/one",
        size: tuple[int, int] = (50, 70),
        evs: Sequence[float] = (0, 2, 4),
        truth: bool = True,
        seed: int = 3,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        radiance = scene(np.random.default_rng(seed), *size)
        for i, codes in enumerate(expose(radiance, evs, 16)):
            cv2.imwrite(str(folder / f"input_{i + 1}.tif"), codes[..., ::-1])
        (folder / "exposure.txt").write_text("".join(f"{ev}\n" for ev in evs))
        if truth:
            write_hdr(folder / "HDRImg.hdr", radiance)
        return folder

    return make


@pytest.fixture
def run(make_dataset: MakeDataset, tmp_path: Path) -> Path:
    """A run of a few steps."""
    folder = tmp_path / "run"
    fit(make_dataset(), folder, steps=3, batch=2, device="cpu")
    return folder


def metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


SLOW = """
import sys, time, torch
torch.set_num_threads(1)
from trainer.training import averaged_weights as module
add, pause = module.AveragedWeights.update, float(sys.argv[1])
def slowly(*args):
    time.sleep(pause)  # leaves time for a signal between two checkpoints
    add(*args)
module.AveragedWeights.update = slowly
sys.argv = ["trainer", "fit", *sys.argv[2:]]
from trainer.cli import main
main()
"""
"""Program that runs `trainer fit` with a pause after every step. Its arguments are the pause in
seconds and those of `trainer fit`."""


def wait_for(step: int, run: Path) -> None:
    for _ in range(1200):
        if (run / "metrics.jsonl").exists() and any(m["step"] >= step for m in metrics(run)):
            return
        time.sleep(0.05)
    raise AssertionError(f"step {step} was never reached")
