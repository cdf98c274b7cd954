"""Find the brackets below a folder, from file names, headers and lists alone.

A folder that holds images is one bracket, or a flat roll that is split into brackets.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from labelgen.core.bracket import Bracket
from labelgen.core.errors import UserError
from labelgen.core.files import natural_key
from labelgen.core.lazy import Each, Shelf
from labelgen.core.progress import Progress, Silent
from labelgen.discovery.folder import NO_INPUTS, attach_masks, input_files, prefer_raw, read_folder
from labelgen.photos.formats import IMAGE_SUFFIXES
from labelgen.photos.raw import is_raw_readable


def scan(raw: Path, *, progress: Progress | None = None) -> list[Bracket]:
    """Find all brackets below a folder.

    Parameters
    ----------
    raw : Path
        A folder of bracket folders at any depth, one bracket folder, or a flat folder of photos
        as it comes from a memory card.
    progress : Progress, optional
        Told of every folder that holds photos; how many there are nobody knows before.

    Returns
    -------
    list of Bracket
        In natural order of their names, which are paths relative to `raw`; those of a flat
        folder end in the stem of their first file. Brackets that cannot be used and photos that
        belong to none are among them, with the reason in `problems`.

    Raises
    ------
    UserError
        `raw` is no folder, or no image is below it.
    """
    return list(scan_lazily(raw, progress=progress))


def scan_lazily(raw: Path, *, progress: Progress | None = None) -> Sequence[Bracket]:
    """What `scan` finds, in its order, each bracket read from a file whenever it is asked for.

    Of thousands, the list takes more memory than all the rest of a build. Parameters and errors
    are those of `scan`.
    """
    if not raw.is_dir():
        what = "not a folder" if raw.exists() else "no such folder"
        raise UserError(f"{raw}: {what}; give the folder that holds your brackets")
    tell = progress or Silent()
    tell.start("scan", 0)
    found, called, own = Shelf[Bracket](), list[str](), set[int]()
    for i, bracket in enumerate(_below(raw, tell)):
        found.append(bracket)
        called.append(bracket.name)
        if bracket.folder == raw:
            own.add(i)
    if not found:
        kinds = " ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{raw}: no images below it; expected folders with {kinds}")
    names, masked = _distinct(called, own), attach_masks(found)

    def named(i: int) -> Bracket:
        return replace(masked[i], name=names[i])

    return Each(named, sorted(range(len(names)), key=lambda i: natural_key(names[i])))


def _below(raw: Path, tell: Progress) -> Iterator[Bracket]:
    """All brackets, folder by folder."""
    seen, unreadable = set[tuple[int, int]](), list[Bracket]()

    def note(error: OSError) -> None:
        folder = Path(error.filename)
        name = _printable(folder.relative_to(raw).as_posix())
        unreadable.append(Bracket(name, folder, (), problems=("folder cannot be read",)))

    for folder, subfolders, names in os.walk(raw, onerror=note, followlinks=True):
        here = Path(folder)
        try:
            stat = here.stat()
        except OSError as e:
            note(e)
            continue
        if (stat.st_dev, stat.st_ino) in seen:  # a link to where we have been
            subfolders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        subfolders[:] = sorted(
            (s for s in subfolders if s.lower() not in NO_INPUTS and not s.startswith(".")),
            key=natural_key,
        )
        images, remark = prefer_raw(input_files(here, names), is_raw_readable())
        if images:
            relative = here.relative_to(raw).as_posix()
            found = _brackets(here, images, raw.resolve().name if relative == "." else relative)
            if remark:
                found[0] = replace(found[0], problems=(remark, *found[0].problems))
            yield from found
            tell.step(0, False)
    yield from unreadable


def _brackets(folder: Path, names: list[str], name: str) -> list[Bracket]:
    """The brackets in a folder; names that could be stored nowhere are a problem of theirs."""
    odd = [n for n in (name, *names) if _printable(n) != n]
    if odd and (odd[0] == name or len(names) - len(odd) < 2):
        return [Bracket(_printable(name), folder, (), problems=(_rename(odd[0]),))]
    found = read_folder([folder / n for n in names if n not in odd], name)
    unnamed = (Bracket(f"{name}/{_printable(n)}", folder, (), problems=(_rename(n),)) for n in odd)
    return [*found, *unnamed]


def _rename(name: str) -> str:
    return f"'{_printable(name)}' is not UTF-8 text on one line; rename it"


def _printable(name: str) -> str:
    """A name as it can be shown and stored: undecodable bytes and control characters replaced."""
    text = name.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else "?" for c in text)


def _distinct(names: Sequence[str], at_root: Container[int]) -> list[str]:
    """Names that differ: RAW itself, where those of some numbers are, may be called as a folder."""
    seen, used, distinct = Counter(names), set(names), list[str]()
    for i, name in enumerate(names):
        if seen[name] > 1:
            seen[name] -= 1
            if i in at_root and "/" not in name:
                name = "."
            while name in used:
                name += "~"
            used.add(name)
        distinct.append(name)
    return distinct


def _is_name(value: object) -> bool:
    """Whether a value can be the name of a bracket: text on one line, no longer than a path."""
    return isinstance(value, str) and 0 < len(value) <= 1024 and _printable(value) == value
