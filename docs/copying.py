#!/usr/bin/env python3
"""Measure copying the samples of a dataset as they are stored, and encoding them again.

    python docs/copying.py DATASET WORK

Processor seconds of one process, including reading, checking, writing, digests and sync.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from labelgen.dataset.reader import Dataset
from labelgen.share.derive import UNLIMITED, WriteOptions, copy_attributes, write_rows
from labelgen.share.pack import pack
from labelgen.share.rows import OpenDataset


def seconds(work: Callable[[], None]) -> float:
    """Return the processor time of a function."""
    began = time.process_time()
    work()
    return time.process_time() - began


def reencode(path: Path, out: Path, compress: str) -> None:
    """Write a dataset with another filter: every sample is decoded and encoded."""
    with Dataset(path) as data:
        source = OpenDataset.of(data)
        selection = source.select_all(replace(source.layout, compress=compress))
        write_rows(selection, out, copy_attributes(data), WriteOptions(UNLIMITED, overwrite=True))


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("work", type=Path)
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    made = {c: args.work / f"{c}.h5" for c in ("none", "gzip")}
    reencode(args.dataset, made["none"], "none")
    size = made["none"].stat().st_size / 1e6
    steps = {
        "none to gzip, encoded": lambda: reencode(made["none"], made["gzip"], "gzip"),
        "gzip to none, decoded": lambda: reencode(made["gzip"], made["none"], "none"),
        "none, copied": lambda: pack(made["none"], args.work / "copy.h5", overwrite=True),
        "gzip, copied": lambda: pack(made["gzip"], args.work / "copy.h5", overwrite=True),
    }
    print("| | processor s | MB/s of samples |\n|---|---|---|")
    for name, work in steps.items():
        taken = seconds(work)
        print(f"| {name} | {taken:.1f} | {size / taken:.0f} |", flush=True)


if __name__ == "__main__":
    main()
