"""Readers of the text and NumPy files in which datasets list the exposures of a bracket.

A reader (`ListReader`) takes the path of a list and the frames of its folder in natural order. It
returns the frames with their exposures, and remarks on the list for the user. It raises `UserError`
or `ValueError` for a list that does not fit the frames. `labelgen.discovery.layouts` maps each file
name to its reader.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.bracket import MAX_EV, READ_AS_EV, Frame
from labelgen.core.errors import UserError
from labelgen.core.validation import one_line
from labelgen.discovery.nominal_exposures import exact_time
from labelgen.photos.exif import positive_number

ListReader: TypeAlias = Callable[[Path, list[Frame]], tuple[list[Frame], list[str]]]

MIN_EV_ABOVE_ZERO = 0.25
"""The lowest EV of a list is 0 or less, or at least this. A list whose lowest value is between them
holds times."""
MAX_RELATIVE_DEVIATION = 0.1
"""Steps are equal if they differ by at most this share of their mean."""


def read_ev_list(path: Path, frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """Read a list of EV, one per line or all on one line.

    Values are read as times in seconds if they are written as fractions, or if `_are_times`.
    Header lines are skipped. So is the first of two lines of equal length: in Gallo 2009 it holds
    denominators of seconds.
    """
    rows, fractions = list[list[float]](), False
    for fields in _read_lines(path):
        try:
            rows.append([_number(field) for field in fields])
        except ValueError:
            if rows:
                raise UserError(f"'{' '.join(fields)[:40]}' is not a number") from None
            continue  # a header line
        fractions |= any("/" in field for field in fields)
    count = len(frames)
    if len(rows) == 2 and len(rows[0]) == len(rows[1]) == count > 1:
        rows = rows[1:]
    values = [value for row in rows for value in row]
    if len(values) != count:
        raise UserError(f"{len(values)} values for {count} images")
    if (fractions or _are_times(values)) and min(values) > 0:
        evs = [math.log2(v) for v in values]
        return _with_evs(frames, evs, f"{path.name} (times)"), ["read as times, not as EV"]
    remarks = [READ_AS_EV] if _are_geometric(values) else []
    listed = _with_evs(frames, values, path.name)
    if _may_be_times(values):
        listed = [replace(f, time_ev=math.log2(v)) for f, v in zip(listed, values, strict=True)]
    return listed, remarks


def read_time_list(path: Path, frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """Read a list of times in seconds, one per line or all on one line."""
    values = [_number(field) for fields in _read_lines(path) for field in fields]
    if len(values) != len(frames):
        raise UserError(f"{len(values)} values for {len(frames)} images")
    if min(values) <= 0:
        raise UserError(f"{min(values):g} is not a time in seconds")
    timed = [replace(f, time_s=v) for f, v in zip(frames, values, strict=True)]
    return _with_evs(timed, [math.log2(v) for v in values], path.name), []


def read_npy_list(path: Path, frames: list[Frame]) -> tuple[list[Frame], list[str]]:
    """Read EV from a NumPy file. Pickled objects are refused, since they can run code."""
    try:
        # Mapped: a header that claims a huge array takes no memory.
        values = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as e:  # the header is parsed as Python, which raises many kinds of errors
        raise UserError(f"not an array of numbers ({one_line(e)})") from e
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iuf":
        raise UserError("not an array of numbers")
    if values.size != len(frames):
        raise UserError(f"{values.size} values for {len(frames)} images")
    return _with_evs(frames, values.astype(np.float64).ravel().tolist(), path.name), []


def read_file_list(
    path: Path, frames: list[Frame], inverse: bool = False
) -> tuple[list[Frame], list[str]]:
    """Read lines of a file name and a time; frames without a line are dropped.

    Parameters
    ----------
    path : Path
        The list. A comment such as ``# filename 1/shutter_speed`` states whether the numbers are
        seconds or 1/seconds. File names may contain blanks.
    frames : list of Frame
        All frames of the folder.
    inverse : bool
        Whether the numbers are 1/seconds in a list without such a comment.
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    head = re.search(r"^#.*file\s?names?\s+(\S+)", text, re.IGNORECASE | re.MULTILINE)
    if head:
        inverse = head.group(1).startswith("1/")
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


def _number(text: str) -> float:
    """Parse a number such as 0.5, -2 or 1/60."""
    above, slash, below = text.partition("/")
    return float(above) / float(below) if slash and float(below) else float(text)


def _read_lines(path: Path) -> list[list[str]]:
    """Fields of each line that has any, separated by blanks, commas or semicolons.

    A comment begins with "#".
    """
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    stripped = (line.split("#")[0] for line in text.splitlines())
    return [fields for line in stripped if (fields := re.split(r"[\s,;]+", line.strip())) != [""]]


def _with_evs(frames: Sequence[Frame], evs: Sequence[float], origin: str) -> list[Frame]:
    """Frames with these exposures, which come from `origin`."""
    if not all(map(math.isfinite, evs)) or max(evs) - min(evs) > MAX_EV:
        raise UserError(f"{min(evs):g} to {max(evs):g} are not exposures in EV")
    return [replace(f, ev=float(ev), origin=origin) for f, ev in zip(frames, evs, strict=True)]


def _are_times(values: Sequence[float]) -> bool:
    """Whether the numbers of a list are seconds, not EV.

    Values in equal steps are EV, and so are whole numbers. Other positive values are seconds if
    they have equal ratios, or if the lowest is below `MIN_EV_ABOVE_ZERO`.
    """
    ordered = np.sort(np.asarray(values))
    if len(ordered) < 2 or ordered[0] <= 0:
        return False
    if len(ordered) > 2 and _are_equal(np.diff(ordered)):
        return False
    whole = all(v == round(v) for v in values)
    return not whole and (_are_geometric(values) or bool(ordered[0] < MIN_EV_ABOVE_ZERO))


def _may_be_times(values: Sequence[float]) -> bool:
    """Whether three or more numbers that are read as EV may be seconds.

    They are above 0, and not in equal steps.
    """
    ordered = np.sort(np.asarray(values))
    return len(ordered) > 2 and bool(ordered[0] > 0) and not _are_equal(np.diff(ordered))


def _are_geometric(values: Sequence[float]) -> bool:
    """Whether three or more values have equal ratios, not equal steps, as times do (Tursun 2016).

    Nominal times such as 1/60 are replaced by exact ones.
    """
    ordered = np.sort(np.asarray([(exact_time(v) or v) if v > 0 else v for v in values]))
    if len(ordered) < 3 or ordered[0] <= 0:
        return False
    return _are_equal(np.diff(np.log2(ordered))) and not _are_equal(np.diff(ordered))


def _are_equal(steps: Array) -> bool:
    """Whether rising values have equal steps, but for `MAX_RELATIVE_DEVIATION`."""
    return bool(np.ptp(steps) <= MAX_RELATIVE_DEVIATION * steps.mean())
