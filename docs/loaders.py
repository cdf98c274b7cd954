#!/usr/bin/env python3
"""How fast the trainer reads a dataset, beside what others make of the same samples.

    pip install webdataset litdata mosaicml-streaming
    python docs/loaders.py out.h5 WORK [--samples 1024] [--batch 8] [--rounds 3]

All deliver batches as torch tensors, as stored, in a shuffled order, from the page cache. WORK
holds the copies that the others read, made where they are missing. Loaders take turns within a
round, and the figure is the median over rounds. The first pass of each is not counted.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from trainer.data.dataset import PatchDataset
from trainer.data.prefetch import prefetch_batches
from trainer.data.sampling import Order

NAMES = ("inputs", "label", "weight")
MEMCPY = "memcpy of the same bytes"
Batches = Callable[[], Iterable[Any]]


class Plain(Dataset[dict[str, torch.Tensor]]):
    """What most people would write: h5py, opened where it is read."""

    def __init__(self, path: Path, samples: int) -> None:
        self.path, self.samples, self.file = path, samples, None

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        if self.file is None:
            self.file = h5py.File(self.path, locking=False)
        return {name: torch.from_numpy(self.file[name][row]) for name in (*NAMES, "ev")}


def ours(path: Path, samples: int, batch: int) -> Batches:
    """What `trainer fit` does."""
    data = PatchDataset(path)
    order = Order([np.arange(samples)], [None], 1)
    steps = range(samples // batch)
    return lambda: prefetch_batches(
        data, lambda step: order.rows(step, batch), steps, batch, torch.device("cpu")
    )


def plain(path: Path, samples: int, batch: int, workers: int) -> Batches:
    """A `DataLoader` over h5py."""
    return lambda: DataLoader(
        Plain(path, samples), batch, shuffle=True, num_workers=workers, drop_last=True
    )


def webdataset(path: Path, samples: int, batch: int, workers: int, work: Path) -> Batches:
    """Shards of WebDataset, a numpy array a file."""
    import webdataset as wds

    folder = work / "webdataset"
    if not folder.exists():
        folder.mkdir(parents=True)
        with wds.ShardWriter(str(folder / "%04d.tar"), maxcount=128, verbose=0) as sink:
            for k, sample in enumerate(stored(path, samples)):
                arrays = {f"{name}.npy": array for name, array in sample.items()}
                sink.write({"__key__": f"{k:06}", **{n: raw(a) for n, a in arrays.items()}})
    urls = sorted(map(str, folder.glob("*.tar")))
    keys = [f"{name}.npy" for name in (*NAMES, "ev")]

    def batches() -> Iterator[Any]:
        pipeline = (
            wds.WebDataset(urls, shardshuffle=len(urls), empty_check=False)
            .shuffle(100)
            .decode()
            .to_tuple(*keys)
            .map_tuple(*[torch.from_numpy] * 4)
            .batched(batch, partial=False)
        )
        return iter(wds.WebLoader(pipeline, batch_size=None, num_workers=workers))

    return batches


def raw(array: np.ndarray[Any, Any]) -> bytes:
    """Return an array as the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def litdata(path: Path, samples: int, batch: int, workers: int, work: Path) -> Batches:
    """Chunks of LitData."""
    import litdata as ld

    folder = work / "litdata"
    if not folder.exists():
        ld.optimize(
            partial(sample_of, path), list(range(samples)), str(folder), chunk_bytes="64MB",
            num_workers=1,
        )  # fmt: skip
    return lambda: ld.StreamingDataLoader(
        ld.StreamingDataset(str(folder), shuffle=True),
        batch_size=batch,
        num_workers=workers,
        drop_last=True,
    )


def sample_of(path: Path, row: int) -> dict[str, torch.Tensor]:
    """Return a sample in the form that LitData expects."""
    with PatchDataset(path) as data:
        return {name: torch.from_numpy(array) for name, array in data[row].items()}


def mosaic(path: Path, samples: int, batch: int, workers: int, work: Path) -> Batches:
    """Shards of MosaicML Streaming."""
    import streaming

    folder = work / "mosaic"
    if not folder.exists():
        columns = dict.fromkeys((*NAMES, "ev"), "ndarray")
        with streaming.MDSWriter(out=str(folder), columns=columns, size_limit=1 << 26) as sink:
            for sample in stored(path, samples):
                sink.write(sample)
    data = streaming.StreamingDataset(local=str(folder), shuffle=True, batch_size=batch)
    return lambda: DataLoader(data, batch, num_workers=workers, drop_last=True)


def memcpy(path: Path, samples: int, batch: int) -> Batches:
    """Copy the same bytes within memory: the upper bound for any loader."""
    with PatchDataset(path) as data:
        source, target = data.read(range(min(256, samples))), data.allocate(batch)
    rows = np.random.default_rng(0).integers(0, len(source["ev"]), samples)

    def batches() -> Iterator[None]:
        for step in range(samples // batch):
            for k, row in enumerate(rows[step * batch : (step + 1) * batch]):
                for name in target:
                    target[name][k] = source[name][row]
            yield

    return batches


def stored(path: Path, samples: int) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """Yield the samples of a dataset."""
    with PatchDataset(path) as data:
        for row in range(samples):
            yield data[row]


def pass_over(batches: Batches, batch: int) -> float:
    """Return the samples/s of one pass."""
    began, count = time.perf_counter(), 0
    for _ in batches():
        count += batch
    return count / (time.perf_counter() - began)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    common = options.data, options.samples, options.batch
    loaders: dict[str, Batches] = {
        MEMCPY: memcpy(*common),
        "trainer": ours(*common),
        "DataLoader over h5py": plain(*common, 0),
        "DataLoader over h5py, 2 workers": plain(*common, 2),
    }
    others = {"webdataset": webdataset, "litdata": litdata, "streaming": mosaic}
    for name, make in others.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name}: not installed, left out")
            continue
        for workers in (0, 2):
            label = f"{name}, {workers} workers" if workers else name
            loaders[label] = make(*common, workers, options.work)
    for batches in loaders.values():
        pass_over(batches, options.batch)
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(options.rounds):
        for name, batches in loaders.items():
            rates[name].append(pass_over(batches, options.batch))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best = max(
        v for name, v in medians.items() if name not in ("trainer", "memcpy of the same bytes")
    )
    print("| loader | samples/s | of memcpy | of the fastest other |\n|---|---|---|---|")
    for name, rate in medians.items():
        share = rate / medians[MEMCPY]
        print(f"| {name} | {rate:,.0f} | {share:.0%} | {rate / best:.2f} |")


if __name__ == "__main__":
    main()
