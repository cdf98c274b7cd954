"""Find the brackets below a folder, from file names, headers and lists alone.

A folder that holds images is one bracket, or a flat roll that is split into brackets.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelgen.bracket import Bracket, Frame
from labelgen.errors import UserError
from labelgen.files import IMAGE_SUFFIXES, natural_key
from labelgen.folder import NO_INPUTS, by_exposure, inputs, read_folder, truth_of, with_masks
from labelgen.header import Header, read_header
from labelgen.marks import exact_ev
from labelgen.progress import Progress, Silent
from labelgen.raw import prefer_raw, readable
from labelgen.shelf import Each, Shelf
from labelgen.untrusted import NOT_JSON, brief, read_json


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
    return list(found_below(raw, progress=progress))


def found_below(raw: Path, *, progress: Progress | None = None) -> Sequence[Bracket]:
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
    names, masked = _distinct(called, own), with_masks(found)

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
        images, remark = prefer_raw(inputs(here, names), readable())
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


def as_json(brackets: list[Bracket], raw: Path) -> list[dict[str, Any]]:
    """The brackets in the form of ``scan --json`` and ``groups.json``; files relative to `raw`."""
    return [
        {
            "name": b.name,
            "frames": [
                {
                    "file": Path(os.path.relpath(f.path, raw)).as_posix(),
                    "ev": None if f.ev is None else round(f.ev, 6),
                    "time_s": f.time_s,
                    "fnumber": f.fnumber,
                    "iso": f.iso,
                    "origin": f.origin,
                }
                for f in b.frames
            ],
            "problems": list(b.problems),
            "truth": Path(os.path.relpath(b.truth, raw)).as_posix() if b.truth else None,
            "masks": [Path(os.path.relpath(m, raw)).as_posix() for m in b.masks],
        }
        for b in brackets
    ]


def read_groups(path: Path, raw: Path) -> list[Bracket]:
    """Brackets as a ``groups.json`` lists them, in place of what a scan would find.

    Parameters
    ----------
    path : Path
        JSON as written by ``labelgen scan -o`` and perhaps edited: a list of objects with
        "name" and "frames", each frame with "file" (relative to `raw`) and "ev" (stops); where it
        has "truth", that is the file of ground truth, or null; where it has "masks", those are
        the images of what must not be used.
    raw : Path
        The folder that the files are relative to.

    Raises
    ------
    UserError
        Not of that form, a name occurs twice, or a file is missing or outside of `raw`.
    """
    try:
        groups = read_json(path)
        if not isinstance(groups, list):
            raise ValueError("not a list")
        entries = [
            (g["name"], [(f["file"], f.get("ev"), f.get("origin")) for f in g["frames"]], g)
            for g in groups
        ]
    except NOT_JSON as e:
        raise UserError(
            f"{path}: expected a list of groups with name and frames, as 'labelgen scan -o' writes"
        ) from e
    brackets: dict[str, Bracket] = {}
    for name, listed, group in entries:
        if not _is_name(name) or name in brackets:
            raise UserError(f"{path}: every group needs a name of its own, found {brief(name)}")
        frames = []
        for file, ev, origin in listed:
            _check_file(path, raw, file)
            if ev is not None and (isinstance(ev, bool) or not _is_ev(ev)):
                raise UserError(f"{path}: {file}: ev is {brief(ev)}, expected a number of stops")
            origin = origin if _is_name(origin) else path.name
            frames.append(Frame(raw / file, ev, origin=origin))
        headers = [read_header(f.path) for f in frames]
        frames = [_completed(f, h) for f, h in zip(frames, headers, strict=True)]
        sizes = {h.stored for h in headers}
        cameras = ", ".join(sorted({h.camera for h in headers if h.camera}))
        size = headers[len(headers) // 2].size if len(sizes) == 1 else None
        folder = frames[0].path.parent if frames else raw
        truth = truth_of(folder)
        if "truth" in group:
            truth = None if group["truth"] is None else _listed(path, raw, group["truth"])
        bracket = Bracket(name, folder, tuple(frames), size, cameras, truth=truth)
        problems = [
            f"{f.path.name}: {h.problem or 'not a readable image'}"
            for f, h in zip(frames, headers, strict=True)
            if h.size is None
        ]
        brackets[name] = by_exposure(bracket, problems)
    found = {b.name: b for b in with_masks(list(brackets.values()))}
    for name, _, group in entries:
        if "masks" in group:
            if not isinstance(group["masks"], list):
                odd = brief(group["masks"])
                raise UserError(f"{path}: {name}: masks is {odd}, expected a list of files")
            masks = tuple(_listed(path, raw, file) for file in group["masks"])
            found[name] = replace(found[name], masks=masks)
    return list(found.values())


def _listed(groups: Path, raw: Path, file: object) -> Path:
    """A file that `groups.json` names beside the frames."""
    _check_file(groups, raw, file)
    return raw / str(file)


def _check_file(groups: Path, raw: Path, file: object) -> None:
    """Refuse a file of `groups.json` that is outside of RAW or not there."""
    if not isinstance(file, str) or not file or not _is_below(file):
        raise UserError(f"{groups}: {brief(file)} is not inside {raw}")
    try:
        there = (raw / file).is_file() or (raw / file).is_symlink()
    except OSError:  # its name is longer than any
        there = False
    if not there:
        raise UserError(f"{groups}: {brief(file)} does not exist in {raw}; edit or make it anew")


def _completed(frame: Frame, header: Header) -> Frame:
    """A listed frame with what its header says, and exact exposure if its EV is that of EXIF."""
    time, fnumber, iso = header.time_s, header.fnumber, header.iso
    frame = replace(frame, time_s=time, fnumber=fnumber, iso=iso)
    if frame.origin != "EXIF" or frame.ev is None or time is None or not fnumber or not iso:
        return frame
    stated = math.log2(time * iso / fnumber**2)
    return (
        replace(frame, exact_ev=exact_ev(time, fnumber, iso))
        if abs(frame.ev - stated) < 1e-5
        else frame
    )


def _is_below(file: str) -> bool:
    """Whether a relative path stays inside the folder that it is relative to."""
    normal = Path(os.path.normpath(file))
    return "\0" not in file and not normal.is_absolute() and ".." not in normal.parts


def _is_name(value: object) -> bool:
    """Whether a value can be the name of a bracket: text on one line, no longer than a path."""
    return isinstance(value, str) and 0 < len(value) <= 1024 and _printable(value) == value


def _is_ev(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
