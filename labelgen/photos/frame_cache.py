"""Decoded frames, kept on disk from the survey of a bracket until its samples are made.

Decoding them again would take a tenth of the time of a build from compressed 16-bit TIFFs. The
cache is small enough for the page cache of the machine. A build never reads that of another one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from labelgen.core.bracket import Bracket
from labelgen.core.files import short_hash
from labelgen.photos.formats import is_lossy
from labelgen.photos.frames import Frames

MAX_CACHED = 2e9
"""Size of the cache in bytes."""
MIN_DECODE_TIME = 1e-9
"""Seconds per byte. Frames that decode faster, such as uncompressed TIFF, are not kept: writing and
reading them takes as long."""
MIN_FREE = 20
"""The disk must have this many times the size of the cache free."""


def cache_paths(brackets: Sequence[Bracket], frames: int, folder: Path) -> Iterator[Path | None]:
    """For each bracket the file for its decoded frames, None where the cache is full."""
    room = min(MAX_CACHED, shutil.disk_usage(folder).free / MIN_FREE)
    for bracket in brackets:
        size = decoded_bytes(bracket, frames)
        fits = size is not None and size <= room
        room -= size if fits and size else 0
        yield cache_path(folder, bracket.name) if fits else None


def cache_path(folder: Path, name: str) -> Path:
    """File for the decoded frames of a bracket; a build removes all such files when it starts."""
    return folder / f"{short_hash(name)}.frames.tmp"


def store_frames(frames: Frames, path: Path) -> None:
    """Write frames to a file; if that fails, there is no file."""
    try:
        with path.open("wb") as file:
            masked = frames.no_data is not None
            np.save(file, np.array([frames.linear, *frames.sampling, masked]))
            for codes in frames.codes:
                np.save(file, codes)
            if frames.no_data is not None:
                np.save(file, frames.no_data)
    except OSError:
        path.unlink(missing_ok=True)


def pop_frames(path: Path, count: int) -> Frames | None:
    """Read and remove `count` stored frames; None if the file is absent or incomplete."""
    try:
        with path.open("rb") as file:
            linear, down, across, masked = np.load(file).tolist()
            codes = tuple(np.load(file) for _ in range(count))
            no_data = np.load(file) if masked else None
        path.unlink()
    except (OSError, EOFError, ValueError):  # incomplete if a worker was killed
        return None
    return Frames(codes, bool(linear), (down, across), no_data=no_data)


def decoded_bytes(bracket: Bracket, frames: int) -> float | None:
    """Bytes that `frames` decoded frames of a bracket take; None if their size is unknown."""
    if bracket.size is None:
        return None
    return bracket.size[0] * bracket.size[1] * 3 * decoded_depth(bracket) / 8 * frames


def decoded_depth(bracket: Bracket) -> int:
    """Bits per code of the decoded frames, 8 or 16, as estimated from the names of the files."""
    return 8 if all(is_lossy(f.path) for f in bracket.frames) else 16
