"""The settings of a run, stored in its config.json."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from labelgen.core.errors import UserError
from labelgen.core.files import write_json
from labelgen.core.response import Response
from labelgen.core.validation import (
    PARSE_ERRORS,
    expect_bool,
    expect_integer,
    expect_number,
    expect_object,
    expect_text,
    one_line,
    read_json,
)

LOSSES = ("mu-l1", "l1")
CONFIG = "config.json"
SETTING_CHECKS: dict[str, Callable[[Any], Any]] = {
    "str": expect_text,
    "int": expect_integer,
    "float": expect_number,
    "bool": expect_bool,
}
"""Check of a value in config.json by the type of its setting."""
MAX_NAME = 200
"""Longest name of a network in characters."""


@dataclass(frozen=True)
class Config:
    """All settings that decide the weights of a run, described in `trainer.training.fit.fit`.

    `frames`, `reference`, `patch`, `samples` and `fingerprint` are those of the dataset. Defaults
    are for config.json files that lack a setting: they stand for how such a run was trained.

    Raises
    ------
    UserError
        A setting is out of its range.
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
        minima = {"steps": 1, "batch": 1, "warmup": 0, "weight_decay": 0, "seed": 0}
        for name, limit in minima.items():
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
    """Write config.json, with the versions of packages and the responses of the dataset."""
    versions = {"labelgen": version("labelgen"), "torch": torch.__version__}
    notes = {"versions": versions, "responses": responses}
    write_json(run / CONFIG, asdict(config) | notes)


def read_responses(run: Path) -> dict[str, Response]:
    """Return the responses of the cameras in the dataset of a run, by camera.

    Raises
    ------
    UserError
        config.json is damaged.
    """
    from labelgen.calibration.known_responses import named_camera_responses

    try:
        return named_camera_responses(read_json(run / CONFIG).get("responses", {}))
    except (UserError, *PARSE_ERRORS) as e:
        raise UserError(f"{run / CONFIG}: damaged ({one_line(e)}); train anew") from e


def read_config(run: Path) -> Config:
    """Read the settings of a run.

    Raises
    ------
    UserError
        Not the folder of a run, or config.json is damaged.
    """
    path = run / CONFIG
    if not path.exists():
        raise UserError(f"{run}: not a run ({CONFIG} is missing); 'trainer fit' makes one")
    try:
        stored = expect_object(read_json(path))
        types = {f.name: str(f.type) for f in fields(Config)}
        names = [f.name for f in fields(Config) if f.name in stored or f.default is MISSING]
        return Config(**{name: SETTING_CHECKS[types[name]](stored[name]) for name in names})
    except KeyError as e:
        raise UserError(f"{path}: damaged ({e} is missing); train anew") from e
    except PARSE_ERRORS as e:
        raise UserError(f"{path}: damaged ({one_line(e)}); train anew") from e


def check_same_config(run: Path, config: Config) -> None:
    """Check that a run was begun with these settings and this dataset.

    Raises
    ------
    UserError
        A setting or the dataset differs.
    """
    stored = read_config(run)
    if stored.fingerprint != config.fingerprint:
        raise UserError(
            f"{run}: was trained on another dataset (fingerprint {stored.fingerprint[:12]}, "
            f"this one has {config.fingerprint[:12]}); give another --run"
        )
    for field in fields(Config):
        begun, requested = getattr(stored, field.name), getattr(config, field.name)
        if requested != begun:
            raise UserError(
                f"{run}: was begun with {field.name} {begun}, not {requested}; "
                f"resume with the same or give another --run"
            )
