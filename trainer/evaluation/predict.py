"""From brackets to HDR pictures: frames of any size, in tiles where they are large."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from labelgen.alignment.align import align_frame as align_frame
from labelgen.calibration.cameras import calibrate_surveys, load_responses
from labelgen.calibration.survey import Selection, survey
from labelgen.calibration.survey_records import Survey
from labelgen.core.bracket import Bracket, Stack
from labelgen.core.errors import Rejected, UserError
from labelgen.core.progress import Progress, Silent
from labelgen.core.response import Response, encode
from labelgen.core.settings import Align
from labelgen.discovery.scan import scan
from labelgen.photos.pictures import tone_map, write_exr, write_hdr, write_png
from labelgen.photos.stack import load_stack
from trainer import device as devices
from trainer.checkpoint import Config, load_model, read_responses
from trainer.evaluation.tiling import TILE, predict_full


def predict(
    run: Path,
    brackets: Sequence[Path],
    out: Path,
    *,
    device: str | None = None,
    response: str = "auto",
    tile: int = TILE,
    align: bool = False,
    exr: bool = False,
    model: Sequence[str] = (),
    note: Callable[[str], None] = print,
    progress: Progress | None = None,
) -> dict[str, str]:
    """Turn brackets into HDR pictures with the averaged weights of a run.

    Parameters
    ----------
    run : Path
        What `trainer fit` wrote.
    brackets : sequence of Path
        Folders of one bracket each, or folders of such folders.
    out : Path
        Where to write ``<name>/pred.hdr``, linear radiance of 0 to 1, where 1.0 is the clip of
        the shortest frame in use, and ``<name>/pred.png``, its mu-law. The name is that of the
        bracket's folder.
    device : str, optional
        "cpu", "cuda", "mps"; the fastest there is if left out.
    response : str
        As in `build`; "auto" knows the cameras of the run's dataset, and finds
        that of others from these brackets.
    tile : int
        Side of the tiles in pixels. Frames of more pixels than two tiles are made in tiles,
        others at once; the result is the same.
    align : bool
        Whether to align the frames with the reference by a homography first, where one makes
        them agree better. Networks that align frames, as `lean`, need it where hands moved by
        more than they reach.
    exr : bool
        Whether to write ``<name>/pred.exr`` as well, in half floats.
    model : sequence of str
        Networks of your own, "package.module:Class", that the run may have been trained with.
    note : callable
        Is given each file name when the file is there.
    progress : Progress, optional
        Told of every bracket.

    Returns
    -------
    dict of str to str
        The brackets that could not be used, by name, and why.

    Raises
    ------
    UserError
        Not a run, no bracket, or two of one name.
    """
    network, config = load_model(run, devices.pick_device(device), model)
    failed = {}
    progress = progress or Silent()
    known = known_responses(run, response)
    named = find_brackets(brackets)
    found = surveyed(list(named.values()), config, known)
    progress.start("predict", len(found))
    for name, seen in zip(named, found, strict=True):
        try:
            stack = read_stack(seen)
        except Rejected as e:
            failed[name] = str(e)
            progress.step(0, rejected=True)
            continue
        given, used = len(named[name].frames), len(stack.ev)
        if given > used:
            evs = ", ".join(f"{ev:g}" for ev in stack.ev)
            text = f"{name}: {used} of its {given} frames, at EV {evs}: {run} takes {used}"
            progress.remark(text)
        if align:
            stack = align_stack(stack)
        radiance = predict_full(network, stack, tile)
        folder = out / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UserError(f"{folder}: cannot be made a folder ({e.strerror})") from e
        write_hdr(folder / "pred.hdr", radiance)
        if exr:
            write_exr(folder / "pred.exr", radiance)
        write_png(folder / "pred.png", tone_map(radiance))
        note(str(folder / "pred.hdr"))
        progress.step(0, rejected=False)
    return failed


def find_brackets(paths: Sequence[Path]) -> dict[str, Bracket]:
    """The brackets at or below some folders, by the last component of their path.

    Raises
    ------
    UserError
        No bracket there, or two of one name.
    """
    found: dict[str, Bracket] = {}
    for path in paths:
        below = scan(path)
        here = [b for b in below if b.folder == path]
        for bracket in here or below:
            folder = bracket.folder
            name = folder.name if folder.name not in ("", "..") else folder.resolve().name
            if name in found:
                raise UserError(
                    f"{bracket.folder}: its result would be named {name}, as that of "
                    f"{found[name].folder}; predict it into another folder"
                )
            found[name] = bracket
    return found


def known_responses(run: Path, option: str) -> dict[str, Response]:
    """What ``--response`` means to a run: "auto" are the cameras that its dataset knew by name."""
    given = load_responses(option)
    return read_responses(run) if given is None else given


def surveyed(
    brackets: Sequence[Bracket],
    config: Config,
    known: Mapping[str, Response] | None = None,
    truth: bool = False,
) -> list[Survey]:
    """Look at brackets as a build of the run's dataset would: frames, exposures, response.

    Parameters
    ----------
    brackets : sequence of Bracket
        As found by a scan.
    config : Config
        Of the run.
    known : mapping of str to Response, optional
        Responses of cameras that are known already; others are found from these brackets.
    truth : bool
        Whether a bracket without its truth is rejected.
    """
    selection = Selection(config.frames, config.reference, patch=1, truth=truth)
    return list(calibrate_surveys([survey(b, selection) for b in brackets], known))


def read_stack(found: Survey) -> Stack:
    """The frames of a bracket that a run takes, as its dataset took them.

    Raises
    ------
    Rejected
        Too few frames, unknown or wrong exposures, or a frame is damaged.
    """
    if found.rejected:
        raise Rejected(found.rejected)
    return load_stack(found.paths, found.ev, found.reference, found.model.response)


def align_stack(stack: Stack) -> Stack:
    """The frames in the geometry of the reference, by the homographies that labels are made with.

    Parameters
    ----------
    stack : Stack
        The frames as they were taken.

    Returns
    -------
    Stack
        With codes of 16 bits. Where a frame doesn't reach it shows what the reference does.
    """
    codes = []
    for i, ev in enumerate(stack.ev):
        frame = align_frame(stack, i, Align())
        light = stack.linear(stack.reference) * np.float32(2.0 ** (ev - stack.ev[stack.reference]))
        codes.append(encode(np.where(frame.valid[..., None], frame.linear, light), 16))
    return replace(stack, codes=tuple(codes))
