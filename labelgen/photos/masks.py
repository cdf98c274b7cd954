"""Masks of pixels that must not get into a dataset: faces, number plates, burnt-in clocks.

``STEM.mask.png`` applies to the bracket with a file of that stem. ``mask.png``, and any other
``*.mask.png``, applies to all brackets of its folder. Pixels that are not black are masked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from labelgen.core.arrays import Mask
from labelgen.core.errors import Rejected
from labelgen.photos.decode import decode_photo
from labelgen.photos.orientation import apply_orientation

MASK = "mask.png"


def is_mask(name: str) -> bool:
    """Whether a file is a mask by its name."""
    return name.lower() == MASK or name.lower().endswith(f".{MASK}")


def mask_target(name: str) -> str:
    """Stem or file name, in lower case, that a mask is named after; "" for its whole folder.

    Examples
    --------
    >>> mask_target("IMG_1.mask.png"), mask_target("IMG_1.JPG.mask.png"), mask_target("mask.png")
    ('img_1', 'img_1.jpg', '')
    """
    return name.lower().removesuffix(MASK).removesuffix(".")


def possible_targets(names: Iterable[str]) -> set[str]:
    """Every `mask_target` that matches one of these files: their names with and without suffix."""
    lower = [name.lower() for name in names]
    return {*lower, *(Path(name).stem for name in lower)}


def read_masks(paths: Sequence[Path], size: tuple[int, int]) -> Mask | None:
    """Read the union of the masks of a bracket.

    Parameters
    ----------
    paths : sequence of Path
        Images. Pixels that are not black are masked; alpha is ignored.
    size : (int, int)
        Height and width of the frames as displayed.

    Returns
    -------
    (H, W) bool or None
        True where pixels must not be used; None without masks.

    Raises
    ------
    Rejected
        A mask cannot be read or has another size. Its bracket must then not be used, since masked
        pixels would get into the dataset.
    """
    masked = None
    for path in paths:
        photo = decode_photo(path)
        codes = apply_orientation(photo.codes, photo.orientation)
        mask = codes > 0 if codes.ndim == 2 else (codes > 0).any(-1)
        if mask.shape != size:
            (h, w), (height, width) = mask.shape, size
            raise Rejected(
                f"{path.name}: {w}x{h} px, the frames {width}x{height}; a mask covers them"
            )
        masked = mask if masked is None else masked | mask
    return masked
