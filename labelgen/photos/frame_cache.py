"""Frames that were decoded for the survey, kept until their bracket is made.

Decoding them again takes a tenth of the time of a build of compressed 16-bit TIFFs. No more is
kept than a machine's cache of files has room for; what an earlier build kept is never read.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from labelgen.core.bracket import LOSSY_SUFFIXES, Bracket
from labelgen.core.files import short_hash
from labelgen.photos.frames import Frames

MAX_CACHED = 2e9
"""Bytes of all that is kept."""
MIN_DECODE_TIME = 1e-9
"""Seconds a byte that decoding has to take: less, as of TIFF that is not compressed, is no more
than writing and reading again."""
MIN_FREE = 20
"""So many times what is kept has to be free on the disk."""


def cache_paths(brackets: Sequence[Bracket], frames: int, folder: Path) -> Iterator[Path | None]:
    """For each bracket the file to keep `frames` of it in; None where there is no more room."""
    room = min(MAX_CACHED, shutil.disk_usage(folder).free / MIN_FREE)
    for bracket in brackets:
        size = decoded_bytes(bracket, frames)
        fits = size is not None and size <= room
        room -= size if fits and size else 0
        yield cache_path(folder, bracket.name) if fits else None


def cache_path(folder: Path, name: str) -> Path:
    """The file that keeps the frames of a bracket; all such are removed when a build begins."""
    return folder / f"{short_hash(name)}.frames.tmp"


def store_frames(frames: Frames, path: Path) -> None:
    """Write frames to a file, or not if that fails."""
    try:
        with path.open("wb") as file:
            np.save(file, np.array([frames.linear, *frames.sampling]))
            for codes in frames.codes:
                np.save(file, codes)
    except OSError:
        path.unlink(missing_ok=True)


def pop_frames(path: Path, count: int) -> Frames | None:
    """So many frames that were kept, and are no longer; None if they are not there and whole."""
    try:
        with path.open("rb") as file:
            linear, down, across = np.load(file).tolist()
            codes = tuple(np.load(file) for _ in range(count))
        path.unlink()
    except (OSError, EOFError, ValueError):  # as one who died while keeping them leaves them
        return None
    return Frames(codes, bool(linear), (down, across))


def decoded_bytes(bracket: Bracket, frames: int) -> float | None:
    """Bytes of so many decoded frames of a bracket; None if their size is not known."""
    if bracket.size is None:
        return None
    return bracket.size[0] * bracket.size[1] * 3 * _depth(bracket) / 8 * frames


def _depth(bracket: Bracket) -> int:
    """Bits of the codes as a worker holds them, as far as the names of the files tell."""
    return 8 if all(f.path.suffix.lower() in LOSSY_SUFFIXES for f in bracket.frames) else 16
