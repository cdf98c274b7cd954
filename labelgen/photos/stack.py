"""Load the frames of a bracket as a `Stack`, in gamma 2.2."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from labelgen.core.bracket import Stack, black_out
from labelgen.core.errors import Rejected
from labelgen.core.response import GAMMA22, Response, SourceFormat, bit_depth
from labelgen.photos.formats import is_lossy
from labelgen.photos.frames import Frames, read_frames
from labelgen.photos.masks import read_masks


def load_stack(
    paths: Sequence[Path],
    ev: Sequence[float],
    reference: int,
    response: Response = GAMMA22,
    bayer: str = "",
    noise: tuple[float, float] | None = None,
    masks: Sequence[Path] = (),
    frames: Frames | None = None,
    mask_no_data: bool = True,
) -> Stack:
    """Decode the frames of a bracket, and recode them from the camera response to gamma 2.2.

    Parameters
    ----------
    paths : sequence of Path
        F files, shortest exposure first.
    ev : sequence of float
        Stated exposures in stops relative to the shortest.
    reference : int
        Index of the reference among them.
    response : Response
        Response of the camera. Linear frames (`Frames.linear`) need none.
    bayer : str
        Colour filter array of single-channel images, see `labelgen.photos.frames.read_frames`.
    noise : tuple of float, optional
        Full well and read noise of the camera in electrons, if known.
    masks : sequence of Path
        Images of the pixels that must not be used (`labelgen.photos.masks`).
    frames : Frames, optional
        The decoded frames. By default they are read from `paths`.
    mask_no_data : bool
        Whether pixels that any frame has no data of (`Frames.no_data`) are masked, too.

    Returns
    -------
    Stack
        All frames with the same bit depth, in gamma 2.2.

    Raises
    ------
    Rejected
        A frame or a mask is damaged, or sizes differ.
    """
    frames = frames or read_frames(paths, reference, bayer)
    codes, response = frames.codes, Response("linear") if frames.linear else response
    sizes = {c.shape[:2] for c in codes}
    if len(sizes) > 1:
        listed = ", ".join(
            f"{p.name} {c.shape[1]}x{c.shape[0]}" for p, c in zip(paths, codes, strict=True)
        )
        raise Rejected(f"frames differ in size: {listed}")
    bits = max(bit_depth(c) for c in codes)
    recoded = tuple(response.recode(c) for c in codes)
    lossy = any(map(is_lossy, paths))
    source = SourceFormat(response, bits, lossy, noise, frames.sampling)
    masked = read_masks(masks, sizes.pop())
    if mask_no_data and frames.no_data is not None:
        masked = frames.no_data if masked is None else masked | frames.no_data
    if masked is not None:
        recoded = tuple(black_out(c, masked) for c in recoded)
    stack = Stack(recoded, tuple(map(float, ev)), reference, source, masked)
    return stack.to_depth(max(bit_depth(c) for c in recoded))
