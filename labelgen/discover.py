"""Find the brackets below a folder, from file names, headers and lists alone.

A folder that holds images is one bracket. ``ref`` and ``truth`` folders hold no inputs.
"""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from labelgen.bracket import MOST_EV, SAME_EXPOSURE_EV, Bracket, Frame
from labelgen.errors import UserError
from labelgen.exposures import read_exposures
from labelgen.files import IMAGE_SUFFIXES, natural_key
from labelgen.header import read_header
from labelgen.raw import prefer_raw, readable

NO_INPUTS = {"ref", "truth"}
OUR_PICTURES = {"label.png", "weight.png", "cues.png"}


def scan(raw: Path) -> list[Bracket]:
    """Find all brackets below a folder.

    Parameters
    ----------
    raw : Path
        A folder of bracket folders at any depth, or one bracket folder.

    Returns
    -------
    list of Bracket
        In natural order of their names, which are paths relative to `raw`. Brackets that
        cannot be used are among them, with the reason in `problems`.

    Raises
    ------
    UserError
        `raw` is no folder, or no image is below it.
    """
    if not raw.is_dir():
        what = "not a folder" if raw.exists() else "no such folder"
        raise UserError(f"{raw}: {what}; give the folder that holds your brackets")
    brackets, seen = list[Bracket](), set[tuple[int, int]]()

    def unreadable(error: OSError) -> None:
        folder = Path(error.filename)
        name = _printable(folder.relative_to(raw).as_posix())
        brackets.append(Bracket(name, folder, (), problems=("folder cannot be read",)))

    for folder, subfolders, names in os.walk(raw, onerror=unreadable, followlinks=True):
        here = Path(folder)
        stat = here.stat()
        if (stat.st_dev, stat.st_ino) in seen:  # a link to where we have been
            subfolders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        subfolders[:] = sorted(
            (s for s in subfolders if s.lower() not in NO_INPUTS and not s.startswith(".")),
            key=natural_key,
        )
        images = sorted((n for n in names if _is_image(here, n, names)), key=natural_key)
        images, remark = prefer_raw(images, readable())
        if images:
            relative = here.relative_to(raw).as_posix()
            found = _bracket(here, images, raw.resolve().name if relative == "." else relative)
            remarks = (remark,) if remark else ()
            brackets.append(replace(found, problems=remarks + found.problems))
    if not brackets:
        kinds = " ".join(sorted(IMAGE_SUFFIXES))
        raise UserError(f"{raw}: no images below it; expected folders with {kinds}")
    if [b.name for b in brackets].count(brackets[0].name) > 1:
        brackets[0] = replace(brackets[0], name=".")  # RAW itself, named as one of its folders
    return sorted(brackets, key=lambda b: natural_key(b.name))


def _is_image(folder: Path, name: str, beside: list[str]) -> bool:
    """Whether a file may be a frame; pictures that `labelgen label` wrote are none."""
    if name in OUR_PICTURES and "label.json" in beside:
        return False
    suffix = Path(name).suffix.lower()
    return suffix in IMAGE_SUFFIXES and not name.startswith(".") and (folder / name).is_file()


def _bracket(folder: Path, names: list[str], name: str) -> Bracket:
    odd = [n for n in (name, *names) if _printable(n) != n]
    if odd:  # such a name could be stored nowhere
        problem = f"'{_printable(odd[0])}' is not UTF-8 text on one line; rename it"
        return Bracket(_printable(name), folder, (), problems=(problem,))
    return read_bracket([folder / n for n in names], name)


def _printable(name: str) -> str:
    """A name as it can be shown and stored: undecodable bytes and control characters replaced."""
    text = name.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else "?" for c in text)


def read_bracket(images: list[Path], name: str) -> Bracket:
    """One bracket from the images of a folder, their headers and the lists beside them.

    Parameters
    ----------
    images : list of Path
        All in one folder, in natural order.
    name : str
        Name of the bracket.
    """
    headers = [read_header(p) for p in images]
    frames, problems = read_exposures(images, headers)
    for path, header in zip(images, headers, strict=True):
        if header.size is None:
            problems.append(f"{path.name}: {header.problem or 'not a readable image'}")
    sizes = {h.stored for h in headers if h.stored}  # all are turned as one of them is
    profiles = {h.profile for h in headers if h.profile and "srgb" not in h.profile.lower()}
    if profiles:
        problems.append(
            f"colour profile {', '.join(sorted(profiles))}: kept, not converted to sRGB"
        )
    if len(sizes) > 1:
        problems.append("sizes differ: " + ", ".join(f"{w}x{h}" for h, w in sorted(sizes)))
    cameras = sorted({h.camera for h in headers if h.camera})
    if len(cameras) > 1:
        problems.append(f"several cameras: {', '.join(cameras)}")
    bracket = Bracket(
        name,
        images[0].parent,
        tuple(frames),
        headers[len(headers) // 2].size if len(sizes) == 1 else None,
        ", ".join(cameras),
    )
    return by_exposure(bracket, problems)


def by_exposure(bracket: Bracket, problems: list[str]) -> Bracket:
    """Frames shortest first, and what is wrong with their exposures."""
    frames = bracket.frames
    unknown = [f.path.name for f in frames if f.ev is None]
    if len(frames) < 2:
        problems.append(f"{len(frames)} frame; a bracket has at least 2")
    elif unknown:
        problems.append(f"no exposure known for {len(unknown)} of {len(frames)} frames")
    else:
        frames = tuple(sorted(frames, key=lambda f: f.ev or 0.0))  # stable: equal ones by name
        evs = replace(bracket, frames=frames).evs
        if evs[-1] > MOST_EV:
            problems.append(f"exposures span {evs[-1]:.0f} EV; no bracket does, so none is known")
            frames = tuple(replace(f, ev=None) for f in frames)
        repeats = sum(b - a < SAME_EXPOSURE_EV for a, b in pairwise(evs))
        if repeats:
            problems.append(f"{repeats} of {len(frames)} frames repeat an exposure")
    return replace(bracket, frames=frames, problems=tuple(problems))


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
        }
        for b in brackets
    ]


def read_groups(path: Path, raw: Path) -> list[Bracket]:
    """Brackets as a ``groups.json`` lists them, in place of what a scan would find.

    Parameters
    ----------
    path : Path
        JSON as written by ``labelgen scan -o`` and perhaps edited: a list of objects with
        "name" and "frames", each frame with "file" (relative to `raw`) and "ev" (stops).
    raw : Path
        The folder that the files are relative to.

    Raises
    ------
    UserError
        Not of that form, a name occurs twice, or a file is missing or outside of `raw`.
    """
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(groups, list):
            raise ValueError("not a list")
        entries = [(g["name"], [(f["file"], f.get("ev")) for f in g["frames"]]) for g in groups]
    except OSError as e:
        raise UserError(f"{path}: {e.strerror or e}") from e
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise UserError(
            f"{path}: expected a list of groups with name and frames, as 'labelgen scan -o' writes"
        ) from e
    brackets: dict[str, Bracket] = {}
    for name, listed in entries:
        if not isinstance(name, str) or not name or _printable(name) != name or name in brackets:
            raise UserError(f"{path}: every group needs a name of its own, found {name!r}")
        frames = []
        for file, ev in listed:
            if not isinstance(file, str) or not file or not _is_below(file):
                raise UserError(f"{path}: {file!r} is not inside {raw}")
            if not (raw / file).is_file():
                raise UserError(f"{path}: {raw / file} does not exist; edit or make the list anew")
            if ev is not None and (isinstance(ev, bool) or not _is_ev(ev)):
                raise UserError(f"{path}: {file}: ev is {ev!r}, expected a number of stops")
            frames.append(Frame(raw / file, ev, origin=path.name))
        headers = [read_header(f.path) for f in frames]
        sizes = {h.stored for h in headers}
        cameras = ", ".join(sorted({h.camera for h in headers if h.camera}))
        size = headers[len(headers) // 2].size if len(sizes) == 1 else None
        folder = frames[0].path.parent if frames else raw
        brackets[name] = by_exposure(Bracket(name, folder, tuple(frames), size, cameras), [])
    return list(brackets.values())


def _is_below(file: str) -> bool:
    """Whether a relative path stays inside the folder that it is relative to."""
    normal = Path(os.path.normpath(file))
    return "\0" not in file and not normal.is_absolute() and ".." not in normal.parts


def _is_ev(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
