"""Select the brackets of a build: those that are found or listed, without those excluded."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from labelgen.core.bracket import Bracket
from labelgen.core.disk_list import DiskList
from labelgen.core.errors import UserError
from labelgen.core.progress import Progress
from labelgen.core.validation import read_text
from labelgen.discovery.groups_file import read_groups
from labelgen.discovery.scan import iterate_brackets


def find_brackets(
    raw: Path, groups: Path | None, exclude: Path | None, limit: int | None, progress: Progress
) -> tuple[Sequence[Bracket], dict[str, int]]:
    """Find the brackets that a build uses.

    Parameters
    ----------
    raw : Path
        Folder to scan.
    groups : Path, optional
        A ``groups.json`` (`labelgen.discovery.groups_file`), which replaces the scan.
    exclude : Path, optional
        Text file with a name or pattern of brackets on each line.
    limit : int, optional
        Use at most this many brackets, the first ones.
    progress : Progress
        Gets a remark for each pattern that matches no bracket.

    Returns
    -------
    brackets : sequence of Bracket
        Their names are distinct.
    excluded : dict
        Number of brackets that each name or pattern of `exclude` left out.

    Raises
    ------
    UserError
        No bracket remains, or two have the same name.
    """
    brackets = DiskList(read_groups(groups, raw) if groups else iterate_brackets(raw))
    names, excluded = [b.name for b in brackets], dict[str, int]()
    remaining = list(range(len(names)))
    for pattern in _patterns(exclude) if exclude else ():
        matching = {i for i in remaining if _matches(names[i], pattern)}
        remaining = [i for i in remaining if i not in matching]
        excluded[pattern] = len(matching)
        if not matching:
            progress.remark(f"{exclude}: '{pattern}' matches no bracket")
    if not remaining:
        raise UserError(f"{raw}: no bracket is left to build from")
    name, count = Counter(names[i] for i in remaining).most_common(1)[0]
    if count > 1:
        raise UserError(f"{raw}: two brackets are named '{name}'; rename one")
    return brackets.select(remaining[:limit]), excluded


def _patterns(exclude: Path) -> list[str]:
    """Names and patterns, one per line; # begins a comment."""
    try:
        lines = read_text(exclude).splitlines()
    except ValueError as e:
        raise UserError(f"{exclude}: cannot be read as a list of bracket names ({e})") from e
    return [name for line in lines if (name := line.split("#")[0].strip())]


def _matches(name: str, pattern: str) -> bool:
    """Whether a pattern matches the name of a bracket or of a folder that holds it."""
    pattern = pattern.removeprefix("./").rstrip("/")
    return any(fnmatch.fnmatchcase(name, p) for p in (pattern, f"{pattern}/*"))
