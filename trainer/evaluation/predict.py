"""Turn brackets into HDR images. Frames may have any size; large ones are split into tiles."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from labelgen.alignment.align import align_frame
from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.known_responses import load_responses
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
from trainer.checkpoint import load_model
from trainer.config import Config, read_responses
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
    """Turn brackets into HDR images with the averaged weights of a run.

    Parameters
    ----------
    run : Path
        Folder that `trainer fit` wrote.
    brackets : sequence of Path
        Folders of one bracket each, or folders of such folders.
    out : Path
        Folder for ``<name>/pred.hdr``, linear radiance of 0 to 1, where 1.0 is the clip of the
        shortest frame in use, and ``<name>/pred.png``, its mu-law. The name is that of the
        bracket's folder.
    device : str, optional
        "cpu", "cuda", "mps"; by default the fastest available one.
    response : str
        As in `labelgen.pipeline.build.build`. "auto" takes the responses of cameras that the run's
        dataset knows, and estimates others from these brackets.
    tile : int
        Side of the tiles in pixels. Frames of at most two tiles' pixels are not split; the result
        is the same.
    align : bool
        Whether to align the frames with the reference by a homography first, if that makes them
        agree better. Networks that align frames themselves, such as `lean`, need it if the camera
        moved by more than their receptive field.
    exr : bool
        Whether to write ``<name>/pred.exr`` as well, in half floats.
    model : sequence of str
        Networks of your own, "package.module:Class", that the run may have been trained with.
    note : callable
        Receives the name of each file once it is written.
    progress : Progress, optional
        Receives every bracket.

    Returns
    -------
    dict of str to str
        Reasons by name of the brackets that could not be used.

    Raises
    ------
    UserError
        Not a run, no bracket, or two brackets of one name.
    """
    network, config = load_model(run, devices.pick_device(device), model)
    failed = {}
    progress = progress or Silent()
    known = known_responses(run, response)
    named = find_brackets(brackets)
    surveys = survey_brackets(list(named.values()), config, known)
    progress.start("predict", len(surveys))
    for name, surveyed in zip(named, surveys, strict=True):
        try:
            stack = read_stack(surveyed)
        except Rejected as e:
            failed[name] = str(e)
            progress.step(0, rejected=True)
            continue
        available, used = len(named[name].frames), len(stack.ev)
        if available > used:
            evs = ", ".join(f"{ev:g}" for ev in stack.ev)
            text = f"{name}: {used} of its {available} frames, at EV {evs}: {run} takes {used}"
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
    """Return the brackets at or below some folders by the last component of their path.

    Raises
    ------
    UserError
        A folder has no bracket, or two brackets have one name.
    """
    named: dict[str, Bracket] = {}
    for path in paths:
        below = scan(path)
        here = [b for b in below if b.folder == path]
        for bracket in here or below:
            folder = bracket.folder
            name = folder.name if folder.name not in ("", "..") else folder.resolve().name
            if name in named:
                raise UserError(
                    f"{bracket.folder}: its result would be named {name}, as that of "
                    f"{named[name].folder}; predict it into another folder"
                )
            named[name] = bracket
    return named


def known_responses(run: Path, option: str) -> dict[str, Response]:
    """Return the responses by camera for ``--response``; "auto" are those of the run's dataset."""
    responses = load_responses(option)
    return read_responses(run) if responses is None else responses


def survey_brackets(
    brackets: Sequence[Bracket],
    config: Config,
    known: Mapping[str, Response] | None = None,
    truth: bool = False,
) -> list[Survey]:
    """Survey brackets as the build of the run's dataset did: frames, exposures, response.

    Parameters
    ----------
    brackets : sequence of Bracket
        Brackets of a scan.
    config : Config
        Settings of the run.
    known : mapping of str to Response, optional
        Known responses by camera; others are estimated from these brackets.
    truth : bool
        Whether a bracket without its truth is rejected.
    """
    selection = Selection(config.frames, config.reference, patch=1, truth=truth)
    return list(calibrate_surveys([survey(b, selection) for b in brackets], known))


def read_stack(survey: Survey) -> Stack:
    """Load the frames of a bracket that the survey selected.

    Raises
    ------
    Rejected
        Too few frames, unknown or wrong exposures, or a frame is damaged.
    """
    if survey.rejected:
        raise Rejected(survey.rejected)
    return load_stack(
        survey.paths,
        survey.ev,
        survey.reference,
        survey.model.response,
        mask_no_data=False,
    )


def align_stack(stack: Stack) -> Stack:
    """Align frames with the reference by homographies, as labels do.

    Parameters
    ----------
    stack : Stack
        Frames as they were taken.

    Returns
    -------
    Stack
        Frames in the geometry of the reference, 16 bits. Where a frame has no pixels, it has those
        of the reference.
    """
    codes = []
    for i, ev in enumerate(stack.ev):
        frame = align_frame(stack, i, Align())
        light = stack.linear(stack.reference) * np.float32(2.0 ** (ev - stack.ev[stack.reference]))
        codes.append(encode(np.where(frame.valid[..., None], frame.linear, light), 16))
    return replace(stack, codes=tuple(codes))
