"""Limit the number of workers to those that fit into a given amount of memory."""

from __future__ import annotations

from collections.abc import Sequence

import joblib

from labelgen.core.bracket import Bracket
from labelgen.core.errors import UserError
from labelgen.core.progress import Progress
from labelgen.photos.frame_cache import decoded_depth

PROCESS = 170e6
"""Bytes of an idle worker: Python and its libraries."""
WORKING = 210e6
"""Bytes of a tile and of the downsampled frames; they do not depend on the size of the frames."""
LABEL = 20
"""Bytes per pixel of a label and its masks, with some margin."""


def bytes_per_worker(pixels: int, frames: int, depth: int) -> float:
    """Estimate the bytes that a worker takes at most for a bracket.

    Parameters
    ----------
    pixels : int
        Number of pixels of a frame.
    frames : int
        Number of frames taken.
    depth : {8, 16}
        Bits per sample of the codes.
    """
    # While the last frame is decoded, the others and the bytes of its file are in memory too.
    return PROCESS + WORKING + pixels * (3 * depth / 8 * (frames + 1) + LABEL)


def jobs_within_memory(
    memory: float, brackets: Sequence[Bracket], frames: int, jobs: int | None, progress: Progress
) -> int:
    """Return the number of workers that fit into `memory` GB, at most `jobs`.

    Raises
    ------
    UserError
        Not even one worker fits.
    """
    most = jobs or joblib.cpu_count()
    sizes = [
        (bytes_per_worker(b.size[0] * b.size[1], frames, decoded_depth(b)), b.name)
        for b in brackets
        if b.size
    ]
    if not sizes:
        return most
    largest, name = max(sizes)
    if not memory * 1e9 >= largest:  # false for NaN, too
        raise UserError(
            f"--memory is {memory:g}: '{name}' alone may take {largest / 1e9:.1f} GB; give it, "
            "fewer --frames, or leave it out by --exclude"
        )
    fit = int(min(memory * 1e9 / largest, most))
    if fit < most:
        progress.remark(
            f"{fit} of {most} workers, since '{name}' may take {largest / 1e9:.1f} GB "
            f"and --memory is {memory:g}"
        )
    return fit
