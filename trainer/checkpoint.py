"""Checkpoints of a run: last.pt has all that training needs to go on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import nn

from labelgen.core.errors import UserError
from labelgen.core.files import atomic_rename, write_bytes
from labelgen.core.validation import (
    expect_integer,
    expect_object,
    one_line,
)
from trainer import models
from trainer.config import Config, read_config

LAST = "last.pt"
State = dict[str, Any]


class Stateful(Protocol):
    """A network or an optimizer."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Replace its state."""


def save(run: Path, state: State, keep: int = 1) -> None:
    """Write last.pt to a temporary file and rename it, so that a kill leaves the previous one.

    Parameters
    ----------
    run : Path
        Folder of the run.
    state : State
        State of the parts that `restore` takes; "step" is the number of steps so far.
    keep : int
        If above 1, that many of the latest checkpoints are kept as step_NNNNNNNN.pt as well.

    Raises
    ------
    UserError
        The file cannot be written.
    """
    temporary = run / (LAST + ".tmp")
    try:
        torch.save(state, temporary)
        atomic_rename(temporary, run / LAST)
        if keep > 1:
            write_bytes(run / f"step_{state['step']:08}.pt", (run / LAST).read_bytes())
            for old in sorted(run.glob("step_*.pt"))[:-keep]:
                old.unlink()
    except (OSError, RuntimeError) as e:  # torch raises the latter if the disk is full
        raise UserError(f"{run}: the position can't be saved ({e}); the one before is whole") from e


def load(run: Path) -> State:
    """Read last.pt, with its tensors on the CPU.

    Raises
    ------
    UserError
        It is missing or damaged.
    """
    path = run / LAST
    if not path.exists():
        raise UserError(f"{path}: nothing saved yet; go on with 'trainer fit --resume'")
    try:
        _check_archive(path)
        # `weights_only` refuses a pickle with anything but tensors and plain values.
        state: State = expect_object(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as e:  # torch raises many types for a damaged file
        raise UserError(f"{path}: not a whole checkpoint; train anew") from e
    return state


def _check_archive(path: Path) -> None:
    """Refuse archives that `torch.save` does not write; torch would inflate them to any size.

    Raises
    ------
    ValueError
        Not an archive, or its records are compressed or overlap.
    """
    if not path.is_file():
        raise ValueError("not a file")
    with ZipFile(path) as archive:
        records = archive.infolist()
    if any(r.compress_type != ZIP_STORED or r.file_size != r.compress_size for r in records):
        raise ValueError("compressed records")
    if sum(r.file_size for r in records) > path.stat().st_size:
        raise ValueError("records that overlap")


def restore(run: Path, state: State, **parts: Stateful) -> int:
    """Load a checkpoint into the parts of a run, and return the number of steps so far.

    Parameters
    ----------
    run : Path
        Folder of the run, for error messages.
    state : State
        The checkpoint.
    **parts : Stateful
        Networks and optimizers by their names in the checkpoint.

    Raises
    ------
    UserError
        The checkpoint is of another network, or has weights that are not finite.
    """
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        weights = [t for name in ("model", "ema") for t in state.get(name, {}).values()]
        if not all(t.isfinite().all() for t in weights if t.is_floating_point()):
            raise ValueError("weights that are not finite")
        return expect_integer(state["step"])
    except Exception as e:  # torch raises many types
        raise UserError(f"{run / LAST}: does not fit ({one_line(e)}); train anew") from e


def load_model(
    run: Path, device: torch.device, own: Sequence[str] = ()
) -> tuple[nn.Module, Config]:
    """Load the network of a run with its averaged weights, for prediction.

    Parameters
    ----------
    run : Path
        Folder of the run.
    device : torch.device
        Device of the network.
    own : sequence of str
        Networks of your own, "package.module:Class", that the run may have. Only these are
        imported, since the run may come from somebody else.

    Returns
    -------
    model : Module
        In evaluation mode on `device`.
    config : Config
        Settings of the run.

    Raises
    ------
    UserError
        Not a run; no checkpoint yet; the network is neither shipped nor among `own`; or the
        weights are of another version of it.
    """
    config = read_config(run)
    if config.model not in (*models.MODELS, *own):
        name = json.dumps(config.model)
        raise UserError(
            f"{run}: its network is code of its own; if you trust it, add --model {name}"
        )
    model, state = models.build(config.model, config.frames, config.reference), load(run)
    try:
        restore(run, state, ema=model)
    except UserError as e:
        raise UserError(f"{run}: its weights do not fit this version of {config.model}") from e
    return model.to(device).eval(), config
