"""The files of a run: config.json, and last.pt with all that is needed to go on."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol
from zipfile import ZIP_STORED, ZipFile

import torch
from torch import nn

from labelgen.core.errors import UserError
from labelgen.core.files import atomic_rename, write_bytes, write_json
from labelgen.core.response import Response
from labelgen.core.validation import (
    MAX_JSON_BYTES,
    PARSE_ERRORS,
    expect_bool,
    expect_integer,
    expect_number,
    expect_object,
    expect_text,
    one_line,
    read_json,
    read_text,
)
from trainer import models

LOSSES = ("mu-l1", "l1")


CONFIG, LAST, METRICS = "config.json", "last.pt", "metrics.jsonl"
CURVES, PICTURES, EVENTS = "curves.png", "pictures", "events"
State = dict[str, Any]
SETTING_CHECKS: dict[str, Callable[[Any], Any]] = {
    "str": expect_text,
    "int": expect_integer,
    "float": expect_number,
    "bool": expect_bool,
}
"""What a setting of each type has to be in config.json."""


class Stateful(Protocol):
    """A network or an optimizer."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> Any:
        """Take over a state."""


MAX_NAME = 200
"""Characters of the name of a network."""


@dataclass(frozen=True)
class Config:
    """All that decides the weights of a run; the defaults are those of `trainer.training.fit.fit`.

    `frames`, `reference`, `patch`, `samples` and `fingerprint` are those of the dataset; `lr` is
    the highest learning rate, reached after `warmup` steps.
    """

    fingerprint: str
    samples: int
    frames: int
    reference: int
    patch: int
    model: str
    loss: str
    steps: int
    batch: int
    lr: float
    warmup: int
    weight_decay: float
    ema: float
    seed: int
    align: float = 0.0
    gradient: float = 0.0
    teacher: float = 0.0
    hold_out: float = 0.0
    compile: bool = False

    def __post_init__(self) -> None:
        least = {"steps": 1, "batch": 1, "warmup": 0, "weight_decay": 0, "seed": 0}
        for name, limit in least.items():
            if getattr(self, name) < limit:
                option = "--" + name.replace("_", "-")
                raise UserError(f"{option} {getattr(self, name)}: expected at least {limit}")
        if self.loss not in LOSSES:
            raise UserError(f"--loss {self.loss[:60]}: expected one of {', '.join(LOSSES)}")
        if len(self.model) > MAX_NAME:
            raise UserError(f"--model {self.model[:60]}: expected a name")
        if not 0 < self.lr < 1:
            raise UserError(f"--lr {self.lr}: expected more than 0 and less than 1")
        for name in ("align", "gradient", "teacher"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise UserError(f"--{name} {getattr(self, name)}: expected at least 0")
        if not 0 <= self.hold_out < 1:
            raise UserError(f"--hold-out {self.hold_out}: expected 0 (none) to less than 1")
        if not 0 <= self.ema < 1:
            raise UserError(f"--ema {self.ema}: expected 0 (none) to less than 1")


def write_config(run: Path, config: Config, responses: dict[str, Any]) -> None:
    """Write config.json, with versions and the cameras of the dataset as notes."""
    versions = {"labelgen": version("labelgen"), "torch": torch.__version__}
    notes = {"versions": versions, "responses": responses}
    write_json(run / CONFIG, asdict(config) | notes)


def read_responses(run: Path) -> dict[str, Response]:
    """Responses of the cameras that the dataset of a run knew by name."""
    from labelgen.calibration.cameras import named_camera_responses

    try:
        return named_camera_responses(read_json(run / CONFIG).get("responses", {}))
    except (UserError, *PARSE_ERRORS) as e:
        raise UserError(f"{run / CONFIG}: damaged ({one_line(e)}); train anew") from e


def read_config(run: Path) -> Config:
    """The settings of a run.

    Raises
    ------
    UserError
        Not the folder of a run.
    """
    path = run / CONFIG
    if not path.exists():
        raise UserError(f"{run}: not a run ({CONFIG} is missing); 'trainer fit' makes one")
    try:
        stored = expect_object(read_json(path))
        types = {f.name: str(f.type) for f in fields(Config)}
        # What earlier versions didn't know has the default that stands for how they trained.
        asked = [f.name for f in fields(Config) if f.name in stored or f.default is MISSING]
        return Config(**{name: SETTING_CHECKS[types[name]](stored[name]) for name in asked})
    except KeyError as e:
        raise UserError(f"{path}: damaged ({e} is missing); train anew") from e
    except PARSE_ERRORS as e:
        raise UserError(f"{path}: damaged ({one_line(e)}); train anew") from e


def read_metrics(run: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """The whole lines of metrics.jsonl, as they lie there and parsed; a kill may leave half a one.

    Raises
    ------
    UserError
        One is not what a run writes.
    """
    path = run / METRICS
    try:
        lines = read_text(path, MAX_JSON_BYTES).encode().splitlines(keepends=True)
        parsed = [(line, expect_object(json.loads(line))) for line in lines if line.endswith(b"\n")]
        for _, figures in parsed:
            expect_integer(figures["step"])
    except PARSE_ERRORS as e:
        raise UserError(f"{path}: damaged ({one_line(e)}); remove it to go on") from e
    return parsed


def last_metrics(run: Path) -> dict[str, Any]:
    """The latest of all figures in metrics.jsonl: of training, "held_out" and "val"."""
    latest: dict[str, Any] = {}
    for _, figures in read_metrics(run):
        latest |= figures
    return latest


def check_same_config(run: Path, config: Config) -> None:
    """Refuse to go on with a run under other settings or with another dataset.

    Raises
    ------
    UserError
        A setting differs.
    """
    stored = read_config(run)
    if stored.fingerprint != config.fingerprint:
        raise UserError(
            f"{run}: was trained on another dataset (fingerprint {stored.fingerprint[:12]}, "
            f"this one has {config.fingerprint[:12]}); give another --run"
        )
    for field in fields(Config):
        was, wanted = getattr(stored, field.name), getattr(config, field.name)
        if was != wanted:
            raise UserError(
                f"{run}: was begun with {field.name} {was}, not {wanted}; "
                f"resume with the same or give another --run"
            )


def save(run: Path, state: State, keep: int = 1) -> None:
    """Write last.pt beside its place and rename it, so that a kill leaves the one before.

    Parameters
    ----------
    run : Path
        Folder of the run.
    state : State
        What to save; "step" is how many there were so far.
    keep : int
        Above 1, that many of the latest are kept as step_NNNNNNNN.pt as well.

    Raises
    ------
    UserError
        It can't be written.
    """
    temporary = run / (LAST + ".tmp")
    try:
        torch.save(state, temporary)
        atomic_rename(temporary, run / LAST)
        if keep > 1:
            write_bytes(run / f"step_{state['step']:08}.pt", (run / LAST).read_bytes())
            for old in sorted(run.glob("step_*.pt"))[:-keep]:
                old.unlink()
    except (OSError, RuntimeError) as e:  # the latter by torch, where the disk is full
        raise UserError(f"{run}: the position can't be saved ({e}); the one before is whole") from e


def load(run: Path) -> State:
    """What `save` wrote, on the CPU.

    Raises
    ------
    UserError
        Missing or damaged.
    """
    path = run / LAST
    if not path.exists():
        raise UserError(f"{path}: nothing saved yet; go on with 'trainer fit --resume'")
    try:
        _check_archive(path)
        # Tensors and plain values alone: a pickle that names anything else is refused.
        state: State = expect_object(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as e:  # torch raises many kinds for a damaged file
        raise UserError(f"{path}: not a whole checkpoint; train anew") from e
    return state


def _check_archive(path: Path) -> None:
    """Refuse what `torch.save` does not write: torch would inflate an archive to any size.

    Raises
    ------
    ValueError
        No archive, or its records are compressed or overlap.
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
    """Put a saved position into a network, its average and an optimizer; steps done so far.

    Raises
    ------
    UserError
        It is of another network, or not of finite numbers.
    """
    try:
        for name, part in parts.items():
            part.load_state_dict(state[name])
        weights = [t for name in ("model", "ema") for t in state.get(name, {}).values()]
        if not all(t.isfinite().all() for t in weights if t.is_floating_point()):
            raise ValueError("weights that are not finite")
        return expect_integer(state["step"])
    except Exception as e:  # by torch, of many kinds
        raise UserError(f"{run / LAST}: does not fit ({one_line(e)}); train anew") from e


def load_model(
    run: Path, device: torch.device, own: Sequence[str] = ()
) -> tuple[nn.Module, Config]:
    """The network of a run with its averaged weights, for prediction.

    Parameters
    ----------
    run : Path
        Its folder.
    device : torch.device
        Where to.
    own : sequence of str
        Networks of one's own, "package.module:Class", that the run may have. A run from somebody
        else must not decide what is imported here.

    Returns
    -------
    model : Module
        In evaluation mode on `device`.
    config : Config
        Of the run.

    Raises
    ------
    UserError
        Not a run, nothing saved yet, of another version of the network, or of a network that is
        neither shipped nor among `own`.
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


class Average:
    """Exponential moving average (EMA) of the weights of a network.

    Parameters
    ----------
    model : Module
        The network; the average starts as a copy of it.
    decay : float
        Share of the average that one step keeps. Early it is lower, so that the average covers
        about the last tenth of the steps so far and forgets how the network started.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False).eval()
        self.decay = decay

    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after step `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        with torch.no_grad():
            for average, now in zip(self.model.parameters(), model.parameters(), strict=True):
                average.lerp_(now, 1 - decay)
            for kept, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
                kept.copy_(buffer)  # statistics of batches are averages already
