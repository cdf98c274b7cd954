"""Files that are there whole or not at all: pictures out, radiance in and out, atomic writes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from labelgen.core.errors import UserError

READ_BLOCK = 2**17
"""Bytes of a file that are digested at once: they stay in the cache."""


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 2 before 10; names that differ at all have different keys."""
    parts = re.findall(r"(\d+)|(\D+)", name)
    keys = [(0, int(digits), "") if digits else (1, 0, text.lower()) for digits, text in parts]
    return [*keys, (-1, 0, name)]


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest, block = hashlib.sha256(), bytearray(READ_BLOCK)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(memoryview(block)[:count])
    return digest.hexdigest()


def short_hash(text: str) -> str:
    """What stands for a text, of any length and with any characters, in the name of a file."""
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def sync(path: Path) -> None:
    """Force a file or a folder to disk, so that a power cut can't undo what follows."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def drop_page_cache(file: int) -> None:
    """Begin to bring an open file to disk, and forget what is there: nobody reads it again soon.

    Then there is little left to wait for when it is done, and the machine's cache of files has
    room for what is read.
    """
    if hasattr(os, "posix_fadvise"):  # not on macOS nor Windows
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def check_new(path: Path) -> None:
    """Refuse to write over something, before the work for it is done.

    Raises
    ------
    UserError
        There is something already.
    """
    if path.exists():
        raise UserError(f"{path}: exists; remove it or give another name")


def check_parent(path: Path) -> None:
    """Refuse a name in a folder that is not there.

    Raises
    ------
    UserError
        It is in none.
    """
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder; make it first")


def free_space(folder: Path) -> int:
    """Free bytes on the disk of a folder, which need not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.is_dir())
    return shutil.disk_usage(existing).free


def check_free_space(folder: Path, needed: int, remedy: str = "take another disk") -> None:
    """Refuse to start work whose files may not fit the disk.

    Parameters
    ----------
    folder : Path
        Where the files will be written; it need not exist yet.
    needed : int
        Size of the files in bytes, at most.
    remedy : str
        What the user can do about it, for the message.

    Raises
    ------
    UserError
        Fewer bytes are free than may be needed.
    """
    free = free_space(folder)
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 1e9:.1f} GB may be needed and {free / 1e9:.1f} GB are free; "
            f"{remedy}"
        )


def temporary_path(path: Path) -> Path:
    """A name beside a file, for what is to become it.

    No other process has the same: a worker that outlives a killed build may still be writing.
    """
    return path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def atomic_rename(temporary: Path, final: Path) -> None:
    """Give a finished file its name: sync, rename, sync the folder."""
    sync(temporary)
    temporary.replace(final)
    sync(final.parent)


def try_lock(lock: int) -> bool:
    """Hold the lock of an open file until it is closed, which the system does for who dies.

    Returns
    -------
    bool
        False if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file beside its place and rename it, so that it is never half there.

    Raises
    ------
    OSError
        It can't be; with the name of the file.
    """
    temporary = temporary_path(path)
    try:
        temporary.write_bytes(data)
        atomic_rename(temporary, path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise OSError(e.errno, e.strerror, str(path)) from e


def write_synced(path: Path, data: bytes) -> None:
    """Write a file of a folder that is nobody's yet, through to the disk."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write JSON (keys in order of insertion) atomically; a tenth of the time if not indented."""
    write_bytes(path, (json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode())
