"""The staging folder: ``OUT.h5.partial`` holds the unfinished files of a dataset.

Only one command at a time may write to it. It remains after an interrupted build, so that
``--resume`` can continue from there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelgen.core.errors import UserError
from labelgen.core.files import check_parent, try_lock, write_json

SETTINGS = "build.json"
"""File of the staging folder that holds the settings of the build."""


def check_output_name(out: Path) -> None:
    """Refuse a name for a dataset that is a folder, or in a folder that does not exist."""
    if out.is_dir():
        raise UserError(f"{out}: is a folder; give the name of a file, such as {out / 'out.h5'}")
    check_parent(out)


def staging_path(out: Path) -> Path:
    """Return the staging folder of a dataset."""
    return out.with_name(out.name + ".partial")


@dataclass(frozen=True)
class OutputState:
    """What earlier commands left at the name of a dataset."""

    out: Path
    has_dataset: bool
    has_staging: bool
    """Whether the staging folder exists, whatever is in it."""
    is_begun: bool
    """Whether the staging folder holds an unfinished build."""

    @staticmethod
    def of(out: Path) -> OutputState:
        """Read the state from the disk."""
        staging = staging_path(out)
        return OutputState(out, out.exists(), staging.exists(), (staging / SETTINGS).exists())

    @property
    def is_empty(self) -> bool:
        """Whether there is neither a dataset nor a staging folder."""
        return not self.has_dataset and not self.has_staging

    @property
    def is_complete(self) -> bool:
        """Whether there is a dataset, and no unfinished build that would replace it."""
        return self.has_dataset and not self.is_begun

    def refuse_to_overwrite(self, resume: bool, overwrite: bool) -> None:
        """Refuse to replace a dataset or an unfinished build, unless an option says so.

        Raises
        ------
        UserError
            There is one and no option, both options, or a file that is not HDF5.
        """
        if resume and overwrite:
            raise UserError(
                "--resume goes on with what is there, --overwrite throws it away: take one"
            )
        if self.has_dataset and not _is_hdf5(self.out):
            raise UserError(
                f"{self.out}: is no HDF5 file, so not ours to replace; give another name"
            )
        if resume or overwrite:
            return
        if self.has_dataset:
            raise UserError(f"{self.out}: exists; give --overwrite to replace it, or another name")
        if self.has_staging:
            raise UserError(
                f"{staging_path(self.out)}: left by a build that was interrupted; "
                "give --resume to go on, or --overwrite to start anew"
            )


def _is_hdf5(path: Path) -> bool:
    """Whether a path is an HDF5 file, perhaps a damaged one."""
    if not path.is_file():
        return False
    with path.open("rb") as f:
        return f.read(8) == b"\x89HDF\r\n\x1a\n"


@contextlib.contextmanager
def staging_folder(out: Path, overwrite: bool) -> Iterator[Path]:
    """Make and lock the staging folder of a dataset, for one command at a time.

    If a `UserError` ends the command before any shard or part was made, the folder is removed.
    Otherwise it remains, and the command that completes the dataset removes it.

    Parameters
    ----------
    out : Path
        The dataset.
    overwrite : bool
        Remove files of an earlier command; by default only its temporary files.

    Raises
    ------
    UserError
        The folder cannot be written, or another command has locked it.
    """
    staging = staging_path(out)
    try:
        staging.mkdir(exist_ok=True)
        lock = os.open(staging / "lock", os.O_CREAT | os.O_RDWR)
    except OSError as e:
        raise UserError(f"{out.parent}: cannot be written ({e.strerror})") from e
    try:
        if not try_lock(lock):
            raise UserError(f"{out}: another command is writing it; wait for it or stop it")
        for path in staging.iterdir():
            if path.name != "lock" and (overwrite or path.suffix == ".tmp"):
                path.unlink()
        try:
            yield staging
        except UserError:
            if not any(path.suffix in (".shard", ".h5") for path in staging.iterdir()):
                shutil.rmtree(staging)
            raise
    finally:
        os.close(lock)


def check_same_settings(staging: Path, settings: dict[str, Any]) -> None:
    """Refuse to resume a build that had other settings; save the settings of a new one."""
    path = staging / SETTINGS
    if path.exists() and json.loads(path.read_text()) != settings:
        raise UserError(
            f"{staging}: brackets, recipe, options or versions differ from those of the "
            "interrupted build; give --overwrite to start anew"
        )
    write_json(path, settings)
