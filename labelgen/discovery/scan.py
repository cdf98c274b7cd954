"""Find the brackets below a folder, from file names, headers and lists alone.

`scan` walks the folder. Every folder that holds images is one bracket, or a flat roll that is split
into brackets (`labelgen.discovery.folder`). Masks are attached at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from labelgen.core.bracket import Bracket
from labelgen.core.disk_list import DiskList
from labelgen.core.errors import UserError
from labelgen.core.files import natural_key
from labelgen.core.progress import Progress, Silent
from labelgen.discovery.attach_masks import attach_masks
from labelgen.discovery.folder import read_folder
from labelgen.discovery.layouts import TRUTH_FOLDERS
from labelgen.discovery.names import make_distinct, printable
from labelgen.photos.formats import IMAGE_SUFFIXES


def scan(raw: Path, *, progress: Progress | None = None) -> list[Bracket]:
    """Find all brackets below a folder.

    Parameters
    ----------
    raw : Path
        A folder of bracket folders at any depth, one bracket folder, or a flat folder of photos
        as it comes from a memory card.
    progress : Progress, optional
        Gets a step for every folder that holds photos. Their number is not known beforehand.

    Returns
    -------
    list of Bracket
        In natural order of their names, which are paths relative to `raw`; those of a flat
        folder end in the stem of their first file. Brackets that cannot be used and photos that
        belong to none are among them, with the reason in `Bracket.problems`.

    Raises
    ------
    UserError
        `raw` is no folder, or no image is below it.
    """
    return list(iterate_brackets(raw, progress=progress))


def iterate_brackets(raw: Path, *, progress: Progress | None = None) -> Iterator[Bracket]:
    """Yield what `scan` returns, one bracket after another.

    A list of many thousand brackets would take more memory than the rest of a build.
    """
    if not raw.is_dir():
        what = "not a folder" if raw.exists() else "no such folder"
        raise UserError(f"{raw}: {what}; give the folder that holds your brackets")
    progress = progress or Silent()
    progress.start("scan", 0)
    found, names, at_root = DiskList[Bracket](), list[str](), set[int]()
    for i, bracket in enumerate(_read_folders(raw, progress)):
        found.append(bracket)
        names.append(bracket.name)
        if bracket.folder == raw:
            at_root.add(i)
    if not found:
        kinds = " ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{raw}: no images below it; expected folders with {kinds}")
    distinct = make_distinct(names, at_root)
    order = sorted(range(len(names)), key=lambda i: natural_key(distinct[i]))
    for i, bracket in zip(order, attach_masks(found.select(order)), strict=True):
        yield replace(bracket, name=distinct[i])


def _read_folders(raw: Path, progress: Progress) -> Iterator[Bracket]:
    """Brackets of all folders; those that cannot be read come last."""
    unreadable = list[Path]()
    for folder, names in _walk(raw, unreadable):
        relative = folder.relative_to(raw).as_posix()
        brackets = read_folder(folder, names, raw.resolve().name if relative == "." else relative)
        yield from brackets
        if brackets:
            progress.step(0, False)
    for folder in unreadable:
        name = printable(folder.relative_to(raw).as_posix())
        yield Bracket(name, folder, (), problems=("folder cannot be read",))


def _walk(raw: Path, unreadable: list[Path]) -> Iterator[tuple[Path, list[str]]]:
    """Every folder that may hold inputs, with the names of its files, in natural order.

    Links are followed, but no folder is visited twice. Folders that cannot be read are appended
    to `unreadable`.
    """
    visited = set[tuple[int, int]]()

    def note(error: OSError) -> None:
        unreadable.append(Path(error.filename))

    for name, subfolders, files in os.walk(raw, onerror=note, followlinks=True):
        folder = Path(name)
        try:
            stat = folder.stat()
        except OSError as e:
            note(e)
            continue
        if (stat.st_dev, stat.st_ino) in visited:
            subfolders.clear()
            continue
        visited.add((stat.st_dev, stat.st_ino))
        subfolders[:] = sorted(
            (s for s in subfolders if s.lower() not in TRUTH_FOLDERS and not s.startswith(".")),
            key=natural_key,
        )
        yield folder, files
