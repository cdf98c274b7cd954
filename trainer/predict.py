"""From brackets to HDR pictures: frames of any size, in tiles where they are large."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import nn

from labelgen.align import align as align_frame
from labelgen.arrays import Float
from labelgen.bracket import Bracket, Stack, load
from labelgen.discover import scan
from labelgen.errors import Rejected, UserError
from labelgen.files import tone_mapped, write_exr, write_hdr, write_png
from labelgen.measure import calibrated, responses
from labelgen.progress import Progress, Silent
from labelgen.recipe import Align
from labelgen.response import Response, encode
from labelgen.survey import Selection, Survey, survey
from trainer import device as devices
from trainer.checkpoint import Config, load_model, read_responses
from trainer.data import network_input
from trainer.models import reach, stride

TILE = 1536
"""Side of the tiles in pixels, borders included; with `lean` one takes 1.7 GB."""


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
        As in `labelgen.build.build`; "auto" knows the cameras of the run's dataset, and finds
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
    network, config = load_model(run, devices.pick(device), model)
    failed = {}
    progress = progress or Silent()
    known = known_responses(run, response)
    named = find(brackets)
    found = surveyed(list(named.values()), config, known)
    progress.start("predict", len(found))
    for name, seen in zip(named, found, strict=True):
        try:
            stack = read(seen)
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
            stack = aligned(stack)
        radiance = picture(network, stack, tile)
        folder = out / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UserError(f"{folder}: cannot be made a folder ({e.strerror})") from e
        write_hdr(folder / "pred.hdr", radiance)
        if exr:
            write_exr(folder / "pred.exr", radiance)
        write_png(folder / "pred.png", tone_mapped(radiance))
        note(str(folder / "pred.hdr"))
        progress.step(0, rejected=False)
    return failed


def find(paths: Sequence[Path]) -> dict[str, Bracket]:
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
    given = responses(option)
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
    return calibrated([survey(b, selection) for b in brackets], known)


def read(found: Survey) -> Stack:
    """The frames of a bracket that a run takes, as its dataset took them.

    Raises
    ------
    Rejected
        Too few frames, unknown or wrong exposures, or a frame is damaged.
    """
    if found.rejected:
        raise Rejected(found.rejected)
    return load(found.paths, found.ev, found.reference, found.response)


def aligned(stack: Stack) -> Stack:
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
        codes.append(encode(np.where(frame.seen[..., None], frame.linear, light), 16))
    return replace(stack, codes=tuple(codes))


def picture(model: nn.Module, stack: Stack, tile: int = TILE) -> Float:
    """Radiance of a whole frame.

    Tiles lie on the grid of the network's `stride` and overlap by its `reach`, so that the
    pixels that are kept see all they would see in the whole frame.

    Parameters
    ----------
    model : Module
        In evaluation mode.
    stack : Stack
        As many frames as the network takes.
    tile : int
        Side of the tiles in pixels, for frames of more pixels than two of them.

    Returns
    -------
    (H, W, 3) float32
        Linear radiance, 0 to 1, 1.0 where the shortest frame clips.

    Raises
    ------
    UserError
        Tiles of that size have nothing left without their borders.
    """
    device = next(model.parameters()).device
    ev = torch.tensor(stack.ev, dtype=torch.float32, device=device)[None]
    height, width = stack.size
    step = stride(model)
    border = -(-reach(model) // step) * step
    core = max(height, width) if height * width <= 2 * tile * tile else tile - 2 * border
    core = -(-core // step) * step
    if core <= 0:
        raise UserError(f"--tile {tile}: expected more than {2 * border} for this network")
    padding = ((0, -height % step), (0, -width % step), (0, 0))
    codes = [np.pad(c, padding, "edge") if np.any(padding) else c for c in stack.codes]
    radiance = np.empty((height, width, 3), np.float32)
    for y, x in product(range(0, height, core), range(0, width, core)):
        top, left = max(y - border, 0), max(x - border, 0)
        seen = np.s_[top : y + core + border, left : x + core + border]
        part = torch.from_numpy(np.stack([c[seen] for c in codes]))[None]
        with torch.inference_mode(), devices.autocast(device):
            result = model(network_input(devices.move(part, device), ev))
        kept = np.s_[y - top : y - top + core, x - left : x - left + core]
        target = radiance[y : y + core, x : x + core]
        pixels = result[0].float().clamp(0, 1).movedim(0, -1).cpu().numpy()[kept]
        target[:] = pixels[: target.shape[0], : target.shape[1]]
    return radiance
