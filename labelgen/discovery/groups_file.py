"""``groups.json``: brackets as a scan listed them and a person may have edited them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from labelgen.core.bracket import Bracket, Frame
from labelgen.core.errors import UserError
from labelgen.core.validation import PARSE_ERRORS, read_json, short_repr
from labelgen.discovery.attach_masks import attach_masks
from labelgen.discovery.folder import sort_by_exposure
from labelgen.discovery.layouts import find_truth
from labelgen.discovery.names import is_bracket_name
from labelgen.discovery.nominal_exposures import exact_ev
from labelgen.photos.header import PhotoHeader, read_photo_header

SAME_EV = 1e-5
"""An EV of ``groups.json`` closer than this (stops) to that of EXIF was not edited. EV are written
with 6 decimals."""


def brackets_as_json(brackets: Sequence[Bracket], raw: Path) -> list[dict[str, Any]]:
    """Brackets in the form of ``scan --json`` and ``groups.json``.

    Parameters
    ----------
    brackets : sequence of Bracket
        As `labelgen.discovery.scan.scan` returns them.
    raw : Path
        The folder that file names are relative to.
    """
    return [
        {
            "name": b.name,
            "frames": [
                {
                    "file": _relative(f.path, raw),
                    "ev": None if f.ev is None else round(f.ev, 6),
                    "time_s": f.time_s,
                    "fnumber": f.fnumber,
                    "iso": f.iso,
                    "origin": f.origin,
                }
                for f in b.frames
            ],
            "problems": list(b.problems),
            "truth": _relative(b.truth, raw) if b.truth else None,
            "masks": [_relative(mask, raw) for mask in b.masks],
        }
        for b in brackets
    ]


def read_groups(path: Path, raw: Path) -> list[Bracket]:
    """Read the brackets of a ``groups.json``, which replace those of a scan.

    Parameters
    ----------
    path : Path
        JSON as written by ``labelgen scan -o`` and perhaps edited: a list of objects with
        "name" and "frames", each frame with "file" (relative to `raw`) and "ev" (stops). "truth",
        if present, is the file of ground truth, or null. "masks", if present, is a list of images
        of the pixels that must not be used.
    raw : Path
        The folder that file names are relative to.

    Returns
    -------
    list of Bracket
        In the order of the file.

    Raises
    ------
    UserError
        The file does not have that form, a name occurs twice, or a file is missing or outside of
        `raw`.
    """
    groups = _parse(path)
    brackets: dict[str, Bracket] = {}
    for group in groups:
        name = group["name"]
        if not is_bracket_name(name) or name in brackets:
            raise UserError(
                f"{path}: every group needs a name of its own, found {short_repr(name)}"
            )
        brackets[name] = _read_group(group, path, raw)
    masked = {b.name: b for b in attach_masks(list(brackets.values()))}
    for group in groups:
        if "masks" in group:
            masks = _read_masks(group, path, raw)
            masked[group["name"]] = replace(masked[group["name"]], masks=masks)
    return list(masked.values())


def _parse(path: Path) -> list[dict[str, Any]]:
    """The groups of a file, each with a name and a list of frames with files."""
    try:
        groups = read_json(path)
        if not isinstance(groups, list):
            raise ValueError("not a list")
        for group in groups:
            _ = group["name"], [(frame["file"], frame.get("ev")) for frame in group["frames"]]
    except PARSE_ERRORS as e:
        raise UserError(
            f"{path}: expected a list of groups with name and frames, as 'labelgen scan -o' writes"
        ) from e
    return groups


def _read_group(group: Mapping[str, Any], path: Path, raw: Path) -> Bracket:
    frames = [_read_frame(frame, path, raw) for frame in group["frames"]]
    headers = [read_photo_header(f.path) for f in frames]
    frames = [_add_header(f, h) for f, h in zip(frames, headers, strict=True)]
    folder = frames[0].path.parent if frames else raw
    if "truth" not in group:
        truth = find_truth(folder)
    elif group["truth"] is None:
        truth = None
    else:
        truth = _existing_file(group["truth"], path, raw)
    sizes = {h.stored for h in headers}
    bracket = Bracket(
        group["name"],
        folder,
        tuple(frames),
        headers[len(headers) // 2].size if len(sizes) == 1 else None,
        ", ".join(sorted({h.camera for h in headers if h.camera})),
        truth=truth,
    )
    problems = [
        f"{f.path.name}: {h.problem or 'not a readable image'}"
        for f, h in zip(frames, headers, strict=True)
        if h.size is None
    ]
    return sort_by_exposure(bracket, problems)


def _read_frame(frame: Mapping[str, Any], path: Path, raw: Path) -> Frame:
    file, ev, origin = frame["file"], frame.get("ev"), frame.get("origin")
    photo = _existing_file(file, path, raw)
    if ev is not None and (isinstance(ev, bool) or not _is_finite(ev)):
        raise UserError(f"{path}: {file}: ev is {short_repr(ev)}, expected a number of stops")
    return Frame(photo, ev, origin=str(origin) if is_bracket_name(origin) else path.name)


def _add_header(frame: Frame, header: PhotoHeader) -> Frame:
    """A frame with time, f-number and ISO, and with the exact exposure if EXIF states its EV."""
    time, fnumber, iso = header.time_s, header.fnumber, header.iso
    frame = replace(frame, time_s=time, fnumber=fnumber, iso=iso)
    if frame.origin != "EXIF" or frame.ev is None or time is None or not fnumber or not iso:
        return frame
    if abs(frame.ev - math.log2(time * iso / fnumber**2)) >= SAME_EV:
        return frame
    return replace(frame, exact_ev=exact_ev(time, fnumber, iso))


def _read_masks(group: Mapping[str, Any], path: Path, raw: Path) -> tuple[Path, ...]:
    masks = group["masks"]
    if not isinstance(masks, list):
        raise UserError(
            f"{path}: {group['name']}: masks is {short_repr(masks)}, expected a list of files"
        )
    return tuple(_existing_file(file, path, raw) for file in masks)


def _relative(file: Path, raw: Path) -> str:
    return Path(os.path.relpath(file, raw)).as_posix()


def _existing_file(file: object, groups: Path, raw: Path) -> Path:
    """A file that `groups` names; refused if it is outside of RAW or does not exist."""
    if not isinstance(file, str) or not file or not _is_below(file):
        raise UserError(f"{groups}: {short_repr(file)} is not inside {raw}")
    path = raw / file
    try:
        exists = path.is_file() or path.is_symlink()
    except OSError:  # the name is too long for the file system
        exists = False
    if not exists:
        raise UserError(
            f"{groups}: {short_repr(file)} does not exist in {raw}; edit or make it anew"
        )
    return path


def _is_below(file: str) -> bool:
    """Whether a relative path stays in the folder that it is relative to."""
    normal = Path(os.path.normpath(file))
    return "\0" not in file and not normal.is_absolute() and ".." not in normal.parts


def _is_finite(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
