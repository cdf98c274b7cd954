"""Exposures of the frames of one folder, from the lists beside them or from EXIF.

Read in this order, the first that covers the frames wins: ``exposure.txt`` / ``exposures.txt`` /
``ev.txt`` / ``input_exp.txt`` / ``ExpoBias.txt`` (SIGGRAPH'17, Tel, Sen, Tursun,
Karaduzovic-Hadziabdic, Gallo, Hu, Prabhakar), ``exposures.npy`` (NTIRE), ``image_list.txt`` /
``list.txt`` (Debevec, OpenCV), EXIF, and last bare lists of times such as ``shutterspeed.txt``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from labelgen.core.bracket import MAX_EV, Frame
from labelgen.core.errors import UserError
from labelgen.core.validation import MAX_TEXT_BYTES, one_line
from labelgen.discovery.nominal_exposures import exact_ev, exact_time
from labelgen.photos.exif import positive_number
from labelgen.photos.header import PhotoHeader

EV_LISTS = ("exposure.txt", "exposures.txt", "ev.txt", "input_exp.txt", "expobias.txt")
FILE_LISTS = ("image_list.txt", "list.txt")
TIME_LISTS = ("shutterspeed.txt", "shutterspeeds.txt", "exposure_times.txt", "times.txt")
"""Names are compared without regard to case."""

MAX_DISSENT_EV = 0.34
"""Lists and EXIF may differ by a third of a stop: shutter times are nominal."""

SHORTEST_EV_IN_A_LIST = 0.25
"""Lists of EV count from 0 or below; a list whose least value is in between holds times."""


def read_exposures(
    files: Sequence[Path], headers: Sequence[PhotoHeader]
) -> tuple[list[Frame], list[str]]:
    """Frames with the exposures of the first source that covers them.

    Parameters
    ----------
    files : sequence of Path
        The images of one folder, in natural order.
    headers : sequence of Header
        Their headers.

    Returns
    -------
    frames : list of Frame
        In the order of the files; `ev` is None where nothing says it. Files that a list of
        names leaves out are not among them.
    problems : list of str
        What was found odd on the way, one line each.
    """
    folder, problems = files[0].parent, list[str]()
    bare = [Frame(f, None, h.time_s, h.fnumber, h.iso) for f, h in zip(files, headers, strict=True)]
    lists = {path.name.lower(): path for path in sorted(folder.iterdir(), reverse=True)}
    sources: tuple[tuple[str, Reader], ...] = (
        *((name, _from_ev_list) for name in EV_LISTS),
        ("exposures.npy", _from_npy),
        *((name, _from_file_list) for name in FILE_LISTS),
    )
    listed = _first_list(lists, sources, bare, problems)
    if listed:
        named = {frame.path for frame in listed}
        left_out = [f.name for f in files if f not in named]
        if left_out:
            shown = ", ".join(left_out[:3]) + " ..." * (len(left_out) > 3)
            problems.append(
                f"{listed[0].origin.removesuffix(' (times)')}: does not name {shown}; left out"
            )
        return listed, problems + _contradiction(listed, bare)
    frames, odd = _from_exif(bare)
    if any(f.ev is None for f in frames):
        times = _first_list(lists, tuple((n, _from_time_list) for n in TIME_LISTS), bare, problems)
        if times:
            return times, problems
    return frames, problems + odd


def read_exif(
    files: Sequence[Path], headers: Sequence[PhotoHeader]
) -> tuple[list[Frame], list[str]]:
    """Frames with exposures from EXIF alone, and what is odd about it; as `read_exposures`."""
    return _from_exif(
        [Frame(f, None, h.time_s, h.fnumber, h.iso) for f, h in zip(files, headers, strict=True)]
    )


Reader: TypeAlias = Callable[[Path, list[Frame]], tuple[list[Frame], list[str]]]


def _first_list(
    lists: dict[str, Path],
    sources: Sequence[tuple[str, Reader]],
    bare: list[Frame],
    problems: list[str],
) -> list[Frame]:
    """Frames by the first list that can be used, or none; what is odd is added to `problems`."""
    for name, read in sources:
        path = lists.get(name)
        if path is None or not path.is_file():
            continue
        try:
            if path.stat().st_size > MAX_TEXT_BYTES:
                raise UserError("larger than any list of exposures")
            frames, remarks = read(path, bare)
        except (UserError, OSError, ValueError, TypeError, EOFError, ArithmeticError) as e:
            problems.append(f"{path.name}: {one_line(e)}; not used")
            continue
        problems += [f"{path.name}: {remark}" for remark in remarks]
        return frames
    return []


def _number(text: str) -> float:
    """A number as lists write it: 0.5, -2 or 1/60."""
    above, slash, below = text.partition("/")
    return float(above) / float(below) if slash and float(below) else float(text)


def _lines(path: Path) -> list[list[str]]:
    """Fields of the lines of a list, without comments; separated by blanks, commas, semicolons."""
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    stripped = (line.split("#")[0] for line in text.splitlines())
    return [fields for line in stripped if (fields := re.split(r"[\s,;]+", line.strip())) != [""]]


def _with_evs(frames: Sequence[Frame], evs: Sequence[float], origin: str) -> list[Frame]:
    if not all(map(math.isfinite, evs)) or max(evs) - min(evs) > MAX_EV:
        raise UserError(f"{min(evs):g} to {max(evs):g} are not exposures in EV")
    return [replace(f, ev=float(ev), origin=origin) for f, ev in zip(frames, evs, strict=True)]


def _from_ev_list(path: Path, frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """EV per line or on one line; a first line of denominators (1/s) before them is passed over."""
    rows, fractions = list[list[float]](), False
    for fields in _lines(path):
        try:
            rows.append([_number(field) for field in fields])
        except ValueError:
            if rows:
                raise UserError(f"'{' '.join(fields)[:40]}' is not a number") from None
            continue  # a header line
        fractions |= any("/" in field for field in fields)
    count = len(frames)
    if len(rows) == 2 and len(rows[0]) == len(rows[1]) == count > 1:
        rows = rows[1:]  # Gallo 2009: denominators of seconds, then EV
    values = [value for row in rows for value in row]
    if len(values) != count:
        raise UserError(f"{len(values)} values for {count} images")
    times = fractions or _are_times(values)
    if times and min(values) > 0:
        evs = [math.log2(v) for v in values]
        return _with_evs(frames, evs, f"{path.name} (times)"), ["read as times, not as EV"]
    doubt = ["read as EV; if these are times, write 1/1, 1/2 ..."] if _are_geometric(values) else []
    return _with_evs(frames, values, path.name), doubt


def _from_time_list(path: Path, frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """Seconds, one per line or all on one."""
    values = [_number(field) for fields in _lines(path) for field in fields]
    if len(values) != len(frames):
        raise UserError(f"{len(values)} values for {len(frames)} images")
    if min(values) <= 0:
        raise UserError(f"{min(values):g} is not a time in seconds")
    timed = [replace(f, time_s=v) for f, v in zip(frames, values, strict=True)]
    return _with_evs(timed, [math.log2(v) for v in values], path.name), []


def _are_times(values: Sequence[float]) -> bool:
    """Whether the numbers of a list are seconds, not EV.

    They are if all are positive and either rise by equal ratios and are not all whole, or start
    so low as no list of EV does; equal steps always are EV.
    """
    ordered = np.sort(np.asarray(values))
    if len(ordered) < 2 or ordered[0] <= 0:
        return False
    if len(ordered) > 2 and np.ptp(np.diff(ordered)) <= 0.1 * np.diff(ordered).mean():
        return False
    whole = all(v == round(v) for v in values)
    return not whole and (_are_geometric(values) or bool(ordered[0] < SHORTEST_EV_IN_A_LIST))


def _are_geometric(values: Sequence[float]) -> bool:
    """Whether values have equal ratios and unequal steps, as times have (Tursun 2016)."""
    ordered = np.sort(np.asarray([(exact_time(v) or v) if v > 0 else v for v in values]))
    if len(ordered) < 3 or ordered[0] <= 0:
        return False
    steps, ratios = np.diff(ordered), np.diff(np.log2(ordered))
    return bool(np.ptp(ratios) <= 0.1 * ratios.mean() and np.ptp(steps) > 0.1 * steps.mean())


def _from_npy(path: Path, frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # a claimed size takes no memory
    except Exception as e:  # its header is parsed as Python, which raises many kinds
        raise UserError(f"not an array of numbers ({one_line(e)})") from e
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        raise UserError("not an array of numbers")
    if values.size != len(frames):
        raise UserError(f"{values.size} values for {len(frames)} images")
    return _with_evs(frames, values.astype(np.float64).ravel().tolist(), path.name), []


def _from_file_list(path: Path, frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """Lines of file name and seconds, or 1/seconds where the head of the column says so.

    Without a head, ``list.txt`` holds 1/seconds as in OpenCV's tutorial, ``image_list.txt``
    seconds as in Debevec's. Names may hold blanks.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    head = re.search(r"^#.*file\s?names?\s+(\S+)", text, re.IGNORECASE | re.MULTILINE)
    inverse = head.group(1).startswith("1/") if head else path.name == "list.txt"
    by_name = {f.path.name: f for f in frames}
    listed = []
    for line in text.splitlines():
        name = max(
            (n for n in by_name if line.startswith(n) and re.match(r"[\s,;]", line[len(n) :])),
            key=len,
            default="",
        )
        rest = line[len(name) :].split("#")[0].replace(",", " ").replace(";", " ").split()
        if not name or not rest:
            continue
        value = positive_number(_number(rest[0]))
        if value is None:
            raise UserError(f"{name}: '{rest[0][:20]}' is not a time in seconds")
        seconds = 1 / value if inverse else value
        listed.append(replace(by_name[name], time_s=seconds, origin=path.name))
    if len(listed) < 2:
        raise UserError("names fewer than 2 of the images here")
    return _with_evs(listed, [math.log2(f.time_s or 1.0) for f in listed], path.name), []


def _contradiction(frames: list[Frame], bare: list[Frame]) -> list[str]:
    """A remark if the EXIF of the frames (`bare`) states other exposures than the list used."""
    name = frames[0].origin.removesuffix(" (times)")
    used = {f.path: f.ev or 0.0 for f in frames}
    stated, _ = _from_exif([b for b in bare if b.path in used])
    if any(f.ev is None for f in stated):
        return []
    gaps = [used[f.path] - (f.ev or 0.0) for f in stated]
    if max(gaps) - min(gaps) <= MAX_DISSENT_EV:
        return []
    return [f"EXIF contradicts {name} by {max(gaps) - min(gaps):.1f} EV; {name} is used"]


def _from_exif(frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """EV = log2(time * ISO / f-number^2); what no frame states is taken as equal."""
    found, problems = [], []
    for what in ("fnumber", "iso"):
        stated = [getattr(f, what) is not None for f in frames]
        if any(stated) and not all(stated):
            without = [f.path.name for f, s in zip(frames, stated, strict=True) if not s]
            problems.append(f"EXIF: no {what} in {', '.join(without[:3])}; taken as in the others")
    fallback = {
        what: next((v for f in frames if (v := getattr(f, what)) is not None), 1.0)
        for what in ("fnumber", "iso")
    }
    for frame in frames:
        if frame.time_s is None:
            found.append(frame)
            continue
        fnumber = frame.fnumber or fallback["fnumber"]
        iso = frame.iso or fallback["iso"]
        ev = math.log2(frame.time_s * iso / fnumber**2)
        exact = exact_ev(frame.time_s, fnumber, iso)
        found.append(replace(frame, ev=ev, exact_ev=exact, origin="EXIF"))
    return found, problems
