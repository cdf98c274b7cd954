"""Fetch a published dataset: resumable, every file checked by size and SHA-256."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from labelgen.core.errors import UserError
from labelgen.core.files import atomic_rename, check_free_space, sha256, try_lock, write_bytes
from labelgen.core.progress import Progress, Silent
from labelgen.dataset.safe_hdf5 import PART
from labelgen.share.manifest import HDF5_SUFFIXES, PARTIAL_SUFFIX, SUMS, ManifestEntry
from labelgen.share.remote import file_address, read_with_retries
from labelgen.share.remote_manifest import RemoteManifest, default_folder, read_remote_manifest


def get(
    source: str | RemoteManifest,
    out: Path | None = None,
    *,
    sums_sha256: str = "",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Path:
    """Fetch a dataset into a folder.

    Files are fetched under another name (``.part``) and renamed once their SHA-256 is right; the
    dataset itself comes last. An interrupted download is resumed by the next call.

    Parameters
    ----------
    source : str or RemoteManifest
        Address, path or name as in `read_remote_manifest`, or the manifest that it returned.
    out : Path, optional
        The folder. By default it is named after the dataset and made in the current folder.
    sums_sha256 : str
        As in `read_remote_manifest`.
    overwrite : bool
        Replace existing files that differ.
    progress : Progress, optional
        Reports every MiB that arrived.

    Returns
    -------
    Path
        The dataset file, ready to open.

    Raises
    ------
    UserError
        As `read_remote_manifest`. Also if existing files differ, the disk has no room, the
        connection fails again and again, or a file has another SHA-256 than listed.
    """
    manifest = (
        source if isinstance(source, RemoteManifest) else read_remote_manifest(source, sums_sha256)
    )
    progress = progress or Silent()
    folder = out if out is not None else default_folder(manifest)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: not a folder; give another with -o")
    datasets = [
        f for f in manifest.files if f.name.endswith(HDF5_SUFFIXES) and not PART.fullmatch(f.name)
    ]
    if len(datasets) != 1:
        raise UserError(
            f"{manifest.location}: offers {len(datasets)} datasets in one folder, expected 1"
        )
    dataset = datasets[0]
    missing = _missing_files(manifest, folder, overwrite)
    partial = [folder / (f.name + PARTIAL_SUFFIX) for f in missing]
    fetched = sum(path.stat().st_size for path in partial if path.is_file())
    check_free_space(folder, sum(f.bytes for f in missing) - fetched, "take another disk with -o")
    folder.mkdir(parents=True, exist_ok=True)
    progress.start("get", max(sum(f.bytes for f in missing) >> 20, 1))
    for file in sorted(missing, key=lambda f: f is dataset):
        _fetch(manifest.location, file, folder, progress)
    for name, content in manifest.lists.items():
        if not _holds(folder / name, content):
            write_bytes(folder / name, content)
    return folder / dataset.name


def _missing_files(manifest: RemoteManifest, folder: Path, overwrite: bool) -> list[ManifestEntry]:
    """Return the files to fetch; refuse to replace existing ones that differ."""
    missing = []
    for file in manifest.files:
        path = folder / file.name
        if not path.exists():
            missing.append(file)
        elif not path.is_file():
            raise UserError(f"{path}: not a file; move it away, or give another folder with -o")
        elif path.stat().st_size != file.bytes or sha256(path) != file.sha256:
            if not overwrite:
                raise UserError(
                    f"{path}: is there and differs from what is offered; give --overwrite to "
                    "replace it, or another folder with -o"
                )
            missing.append(file)
    for name, content in manifest.lists.items():
        path = folder / name
        if path.exists() and not overwrite and not _holds(path, content):
            raise UserError(f"{path}: is there and differs; give --overwrite, or another -o")
    return missing


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _fetch(location: str, file: ManifestEntry, folder: Path, progress: Progress) -> None:
    """Fetch one file, resuming an earlier download; bytes with a wrong SHA-256 are removed."""
    address = file_address(location, file.name)
    partial = folder / (file.name + PARTIAL_SUFFIX)
    if partial.exists() and not partial.is_file():
        raise UserError(f"{partial}: not a file; move it away")
    is_resumed = partial.exists() and partial.stat().st_size > 0
    for attempt in range(1 + is_resumed):
        if attempt:  # the earlier bytes may be of another version, or damaged
            progress.remark(f"{file.name}: what was there does not fit; begun anew")
        try:
            with partial.open("ab") as target:
                _download(address, file, partial, target, progress)
        except OSError as e:
            raise UserError(
                f"{partial}: {e.strerror or e}; mend that, then give the same command again"
            ) from e
        if sha256(partial) == file.sha256:
            atomic_rename(partial, folder / file.name)
            return
        partial.unlink()
    raise UserError(
        f"{address}: its bytes are not those that {SUMS} says; nothing of it was kept; tell who "
        "offers it"
    )


def _download(
    address: str, file: ManifestEntry, partial: Path, target: BinaryIO, progress: Progress
) -> None:
    """Append what is missing to a partial file, opened as `target` for appending."""
    # Another process may have renamed the file after it was opened here.
    if not try_lock(target.fileno()) or not partial.exists():
        raise UserError(f"{partial}: another 'labelgen get' is fetching it; wait for it")
    end = target.tell()
    if end > file.bytes:
        end = target.truncate(0)
    mebibytes = end >> 20
    for position, block in read_with_retries(address, end, file.bytes):
        if position != end:  # the server began at the start
            target.truncate(position)
        target.write(block)
        end = position + len(block)
        while mebibytes < end >> 20:
            mebibytes += 1
            progress.step(0, False)
