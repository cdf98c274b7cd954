"""Names of files, digests, checks before writing, and atomic writes.

A file is written under a temporary name, synced and renamed. So a crash leaves either the complete
file or none under the final name.
"""

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
"""Bytes that are read and digested at once: few enough to stay in the cache of a core."""


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key that puts 2 before 10. Different names have different keys.

    >>> sorted(["img10", "img2", "IMG1"], key=natural_key)
    ['IMG1', 'img2', 'img10']
    """
    parts = re.findall(r"(\d+)|(\D+)", name)
    keys = [(0, int(digits), "") if digits else (1, 0, text.lower()) for digits, text in parts]
    return [*keys, (-1, 0, name)]


def sha256(path: Path) -> str:
    """Return the SHA-256 digest of a file, in hexadecimal."""
    digest, block = hashlib.sha256(), bytearray(READ_BLOCK)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(block):
            digest.update(memoryview(block)[:count])
    return digest.hexdigest()


def short_hash(text: str) -> str:
    """Digest of a text of any length and characters, for use in a file name.

    >>> short_hash("a/b")
    'c14cddc033f64b9dea80ea67'
    """
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def sync(path: Path) -> None:
    """Flush a file or a folder to disk, before steps that rely on it after a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def drop_page_cache(file: int) -> None:
    """Start writing an open file back to disk, and drop what is written from the page cache.

    The final sync then has little left to wait for, and the page cache has room for input files.
    """
    if hasattr(os, "posix_fadvise"):  # not on macOS nor Windows
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)


def check_new(path: Path) -> None:
    """Refuse to overwrite a file or folder, before any work is done.

    Raises
    ------
    UserError
        The path exists.
    """
    if path.exists():
        raise UserError(f"{path}: exists; remove it or give another name")


def check_parent(path: Path) -> None:
    """Refuse a path in a folder that does not exist.

    Raises
    ------
    UserError
        The folder does not exist.
    """
    if not path.parent.is_dir():
        raise UserError(f"{path.parent}: no such folder; make it first")


def free_space(folder: Path) -> int:
    """Return the free bytes on the disk of a folder, which need not exist yet."""
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
        Fewer bytes are free than needed.
    """
    free = free_space(folder)
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 1e9:.1f} GB may be needed and {free / 1e9:.1f} GB are free; "
            f"{remedy}"
        )


def temporary_path(path: Path) -> Path:
    """Return a unique path beside a file, to write it before it is renamed.

    It is unique because a worker that survived a killed build may still be writing to its file.
    """
    return path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def atomic_rename(temporary: Path, final: Path) -> None:
    """Rename a finished file to its final name: sync, rename, sync the folder."""
    sync(temporary)
    temporary.replace(final)
    sync(final.parent)


def try_lock(lock: int) -> bool:
    """Lock an open file until it is closed. The system closes it if the process dies.

    Parameters
    ----------
    lock : int
        File descriptor.

    Returns
    -------
    bool
        False if another process holds the lock.
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
    """Write a file atomically.

    Raises
    ------
    OSError
        It cannot be written. The error names `path`, not the temporary file.
    """
    temporary = temporary_path(path)
    try:
        temporary.write_bytes(data)
        atomic_rename(temporary, path)
    except OSError as e:
        temporary.unlink(missing_ok=True)
        raise OSError(e.errno, e.strerror, str(path)) from e


def write_synced(path: Path, data: bytes) -> None:
    """Write a file through to the disk, for a staging folder that is itself renamed later."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """Write JSON atomically, keys in insertion order.

    Without line breaks (`indent=None`) writing takes a tenth of the time.
    """
    write_bytes(path, (json.dumps(value, indent=indent, ensure_ascii=False) + "\n").encode())
