"""Which brackets a build takes: those found or listed, less those excluded."""

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
    raw: Path, groups: Path | None, exclude: Path | None, limit: int | None, tell: Progress
) -> tuple[Sequence[Bracket], dict[str, int]]:
    """The brackets below RAW, or as listed, less those that are excluded; the first so many.

    Returns
    -------
    brackets : sequence of Bracket
        Those that are left.
    excluded : dict
        How many were left out by each name or pattern of the list `exclude`.
    """
    brackets = DiskList(read_groups(groups, raw) if groups else iterate_brackets(raw))
    names, excluded = [b.name for b in brackets], dict[str, int]()
    left = list(range(len(names)))
    for pattern in _patterns(exclude) if exclude else ():
        out = {i for i in left if _matches(names[i], pattern)}
        left, excluded[pattern] = [i for i in left if i not in out], len(out)
        if not out:
            tell.remark(f"{exclude}: '{pattern}' matches no bracket")
    if not left:
        raise UserError(f"{raw}: no bracket is left to build from")
    name, times = Counter(names[i] for i in left).most_common(1)[0]
    if times > 1:
        raise UserError(f"{raw}: two brackets are named '{name}'; rename one")
    return brackets.select(left[:limit]), excluded


def _patterns(exclude: Path) -> list[str]:
    """Names and patterns of a list, one a line; # begins a comment."""
    try:
        lines = read_text(exclude).splitlines()
    except ValueError as e:
        raise UserError(f"{exclude}: cannot be read as a list of bracket names ({e})") from e
    return [name for line in lines if (name := line.split("#")[0].strip())]


def _matches(name: str, pattern: str) -> bool:
    """Whether a bracket is, or lies in a folder that is, called so; as people write folders."""
    pattern = pattern.removeprefix("./").rstrip("/")
    return any(fnmatch.fnmatchcase(name, p) for p in (pattern, f"{pattern}/*"))
