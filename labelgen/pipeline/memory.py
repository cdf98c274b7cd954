"""How many workers a given memory bears."""

from __future__ import annotations

from collections.abc import Sequence

import joblib

from labelgen.core.bracket import Bracket
from labelgen.core.errors import UserError
from labelgen.core.progress import Progress
from labelgen.photos.frame_cache import decoded_depth

PROCESS = 170e6
"""Bytes of a worker that has done nothing yet: Python and its libraries."""
WORKING = 210e6
"""Bytes of a tile and of the reduced frames, of any size."""
LABEL = 20
"""Bytes per pixel of a label and its masks, and to spare."""


def bytes_per_worker(pixels: int, frames: int, depth: int) -> float:
    """Bytes that a worker takes at most for a bracket.

    Parameters
    ----------
    pixels : int
        Of a frame.
    frames : int
        That are used.
    depth : {8, 16}
        Bits per sample of the codes.
    """
    # While the last frame is decoded, there are all of them and the bytes of its file.
    return PROCESS + WORKING + pixels * (3 * depth / 8 * (frames + 1) + LABEL)


def jobs_within_memory(
    memory: float, brackets: Sequence[Bracket], frames: int, jobs: int | None, tell: Progress
) -> int:
    """The number of workers that fit into so many GB, at most `jobs`.

    Raises
    ------
    UserError
        Not even one does.
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
    if not memory * 1e9 >= largest:  # nor is NaN
        raise UserError(
            f"--memory is {memory:g}: '{name}' alone may take {largest / 1e9:.1f} GB; give it, "
            "fewer --frames, or leave it out by --exclude"
        )
    fit = int(min(memory * 1e9 / largest, most))
    if fit < most:
        tell.remark(
            f"{fit} of {most} workers, since '{name}' may take {largest / 1e9:.1f} GB "
            f"and --memory is {memory:g}"
        )
    return fit
