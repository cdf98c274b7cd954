"""Find the masks of brackets in the folders of their frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from labelgen.core.bracket import Bracket
from labelgen.photos.masks import is_mask, mask_target, possible_targets


def attach_masks(brackets: Sequence[Bracket]) -> Iterator[Bracket]:
    """Give brackets the masks in the folders of their frames.

    A mask that is named after no frame of any bracket applies to all brackets of its folder: a
    superfluous mask only costs pixels, a missing one would publish what it should hide.

    Parameters
    ----------
    brackets : sequence of Bracket
        All brackets of a scan, read twice. Those of one folder should follow each other.

    Yields
    ------
    Bracket
        Each bracket with its masks, in the same order.
    """
    masks, targets = dict[Path, list[str]](), dict[Path, set[str]]()
    without_masks: Path | None = None  # the last folder without masks, so that it is read once
    for bracket in brackets:
        for path in (f.path for f in bracket.frames if len(bracket.frames) > 1):
            folder = path.parent
            if folder == without_masks:
                continue
            if folder not in masks:
                names = sorted(_masks_in(folder))
                if not names:
                    without_masks = folder
                    continue
                masks[folder] = names
            targets.setdefault(folder, set()).update(possible_targets([path.name]))

    def masks_of(bracket: Bracket) -> Iterator[Path]:
        paths = [f.path for f in bracket.frames]
        own = possible_targets(path.name for path in paths)
        for folder in dict.fromkeys(path.parent for path in paths):
            for name in masks.get(folder, ()):
                if mask_target(name) in own or mask_target(name) not in targets[folder]:
                    yield folder / name

    for bracket in brackets:
        yield replace(bracket, masks=tuple(masks_of(bracket)))


def _masks_in(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir() if is_mask(path.name)]
    except OSError:  # reported when the frames are read
        return []
