"""The folder beside a dataset that holds what is unfinished: whose it is, and when it may go."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labelgen.core.errors import UserError
from labelgen.core.files import check_parent, try_lock, write_json

SETTINGS = "build.json"
"""What a build was begun with."""


def check_output_name(out: Path) -> None:
    """Refuse the name of a dataset that no file can have."""
    if out.is_dir():
        raise UserError(f"{out}: is a folder; give the name of a file, such as {out / 'out.h5'}")
    check_parent(out)


def refuse_to_overwrite(out: Path, work: Path, resume: bool, overwrite: bool) -> None:
    """Refuse to touch a dataset or an unfinished build that is there, unless asked to."""
    if resume and overwrite:
        raise UserError("--resume goes on with what is there, --overwrite throws it away: take one")
    if out.exists() and not _is_hdf5(out):
        raise UserError(f"{out}: is no HDF5 file, so not ours to replace; give another name")
    if resume or overwrite:
        return
    if out.exists():
        raise UserError(f"{out}: exists; give --overwrite to replace it, or another name")
    if work.exists():
        raise UserError(
            f"{work}: left by a build that was interrupted; "
            "give --resume to go on, or --overwrite to start anew"
        )


def _is_hdf5(path: Path) -> bool:
    """Whether a file is a dataset, if perhaps a damaged one; devices and other files are not."""
    if not path.is_file():
        return False
    with path.open("rb") as f:
        return f.read(8) == b"\x89HDF\r\n\x1a\n"


def is_unfinished(work: Path) -> bool:
    """Whether a build was begun in this folder and has not ended."""
    return (work / SETTINGS).exists()


@contextlib.contextmanager
def staging_folder(work: Path, out: Path, overwrite: bool) -> Iterator[None]:
    """The folder of what is unfinished, for one build at a time; gone if nothing was made."""
    try:
        work.mkdir(exist_ok=True)
        lock = os.open(work / "lock", os.O_CREAT | os.O_RDWR)
    except OSError as e:
        raise UserError(f"{out.parent}: cannot be written ({e.strerror})") from e
    try:
        if not try_lock(lock):
            raise UserError(f"{out}: another command is writing it; wait for it or stop it")
        for path in work.iterdir():
            if path.name != "lock" and (overwrite or path.suffix == ".tmp"):
                path.unlink()
        try:
            yield
        except UserError:
            if not any(path.suffix in (".shard", ".h5") for path in work.iterdir()):
                shutil.rmtree(work)
            raise
    finally:
        os.close(lock)


def check_same_settings(work: Path, settings: dict[str, Any]) -> None:
    """Refuse to go on with a build that had other settings; note those of a new one."""
    path = work / SETTINGS
    if path.exists() and json.loads(path.read_text()) != settings:
        raise UserError(
            f"{work}: brackets, recipe, options or versions differ from those of the interrupted "
            "build; give --overwrite to start anew"
        )
    write_json(path, settings)
