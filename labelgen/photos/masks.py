"""Masks of what must not get into a dataset: faces, number plates, a clock burnt into the picture.

``STEM.mask.png`` holds for the bracket that has a file of that stem; ``mask.png``, and any other
``*.mask.png``, for all brackets of its folder. What is not black in a mask gets into no sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from labelgen.core.arrays import Mask
from labelgen.core.errors import Rejected
from labelgen.photos.decode import apply_orientation, decode_photo

MASK = "mask.png"


def is_mask(name: str) -> bool:
    """Whether a file is a mask by its name."""
    return name.lower() == MASK or name.lower().endswith(f".{MASK}")


def masked_photo(name: str) -> str:
    """What a mask is called after, in small letters: a stem or a file, or "" for its folder."""
    return name.lower().removesuffix(MASK).removesuffix(".")


def called(names: Iterable[str]) -> set[str]:
    """What masks of files may be called after: their names, with and without suffix."""
    lower = [name.lower() for name in names]
    return {*lower, *(Path(name).stem for name in lower)}


def read_masks(paths: Sequence[Path], size: tuple[int, int]) -> Mask | None:
    """The pixels that must not be used, (H, W) bool, of all masks together; None if there are none.

    Parameters
    ----------
    paths : sequence of Path
        Images: what is not black is masked. Transparency says nothing.
    size : (int, int)
        Height and width of the frames, as they are shown.

    Raises
    ------
    Rejected
        One can't be read, or has another size: rather no bracket than what was to be left out.
    """
    masked = None
    for path in paths:
        photo = decode_photo(path)
        codes = apply_orientation(photo.codes, photo.orientation)
        one = codes > 0 if codes.ndim == 2 else (codes > 0).any(-1)
        if one.shape != size:
            (h, w), (height, width) = one.shape, size
            raise Rejected(
                f"{path.name}: {w}x{h} px, the frames {width}x{height}; a mask covers them"
            )
        masked = one if masked is None else masked | one
    return masked
