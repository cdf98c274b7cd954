"""Fetch a published dataset: resumable, every file checked by size and SHA-256."""

from __future__ import annotations

import shutil
from pathlib import Path

from labelgen.core.errors import UserError
from labelgen.core.files import atomic_rename, sha256, try_lock, write_bytes
from labelgen.core.progress import Progress, Silent
from labelgen.dataset.safe_hdf5 import PART
from labelgen.share import remote
from labelgen.share.manifest import CROISSANT, HDF5, SUMS, UNFINISHED, ManifestEntry
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

    A file takes its name when all of its bytes have the right SHA-256, the dataset's own last.
    What was interrupted lies beside it (``.part``), and the next call goes on with it.

    Parameters
    ----------
    source : str or Offer
        As in `read_remote_manifest`, or what it found.
    out : Path, optional
        The folder; by default one here, called as the dataset is.
    sums_sha256 : str
        As in `read_remote_manifest`.
    overwrite : bool
        Replace files that are there and differ.
    progress : Progress, optional
        Told what happens, in MiB.

    Returns
    -------
    Path
        The dataset, to be opened.

    Raises
    ------
    UserError
        As `read_remote_manifest`; or files that differ are there already, there is no room, the
        connection fails again and again, or a file is not what the lists say.
    """
    offer = (
        source if isinstance(source, RemoteManifest) else read_remote_manifest(source, sums_sha256)
    )
    tell = progress or Silent()
    folder = out if out is not None else default_folder(offer)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: not a folder; give another with -o")
    datasets = [f for f in offer.files if f.name.endswith(HDF5) and not PART.fullmatch(f.name)]
    if len(datasets) != 1:
        raise UserError(f"{offer.place}: offers {len(datasets)} datasets in one folder, expected 1")
    last = datasets[0]
    missing = _missing(offer, folder, overwrite)
    _check_disk(missing, folder)
    folder.mkdir(parents=True, exist_ok=True)
    tell.start("get", max(sum(f.bytes for f in missing) >> 20, 1))
    for file in sorted(missing, key=lambda f: f is last):
        _fetch(offer.place, file, folder, tell)
    for name, data in ((CROISSANT, offer.croissant), (SUMS, offer.sums)):
        if not (folder / name).is_file() or (folder / name).read_bytes() != data:
            write_bytes(folder / name, data)
    return folder / last.name


def _missing(offer: RemoteManifest, folder: Path, overwrite: bool) -> list[ManifestEntry]:
    """The files that are not there yet; those that are there have to be the same."""
    missing = []
    for file in offer.files:
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
    for name, data in ((CROISSANT, offer.croissant), (SUMS, offer.sums)):
        path = folder / name
        if path.exists() and not overwrite and (not path.is_file() or path.read_bytes() != data):
            raise UserError(f"{path}: is there and differs; give --overwrite, or another -o")
    return missing


def _check_disk(missing: list[ManifestEntry], folder: Path) -> None:
    there = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
    begun = [folder / (f.name + UNFINISHED) for f in missing]
    needed = sum(f.bytes for f in missing) - sum(p.stat().st_size for p in begun if p.is_file())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; "
            "take another disk with -o"
        )


def _fetch(place: str, file: ManifestEntry, folder: Path, tell: Progress) -> None:
    """Fetch one file: what came before is gone on with; what is wrong in the end is removed."""
    unfinished = folder / (file.name + UNFINISHED)
    if unfinished.exists() and not unfinished.is_file():
        raise UserError(f"{unfinished}: not a file; move it away")
    begun = unfinished.exists() and unfinished.stat().st_size > 0
    for anew in (False, True):
        if anew:  # what was there may be of another version, or damaged
            tell.remark(f"{file.name}: what was there does not fit; begun anew")
        try:
            _download(remote.file_address(place, file.name), file, unfinished, tell)
        except OSError as e:
            raise UserError(
                f"{unfinished}: {e.strerror or e}; mend that, then give the same command again"
            ) from e
        if sha256(unfinished) == file.sha256:
            atomic_rename(unfinished, folder / file.name)
            return
        unfinished.unlink()
        if not begun:
            break
    raise UserError(
        f"{remote.file_address(place, file.name)}: its bytes are not those that {SUMS} says; nothing of it "
        "was kept; tell who offers it"
    )


def _download(address: str, file: ManifestEntry, unfinished: Path, tell: Progress) -> None:
    with unfinished.open("ab") as target:
        # Another may have ended just now, and what was opened have another name.
        if not try_lock(target.fileno()) or not unfinished.exists():
            raise UserError(f"{unfinished}: another 'labelgen get' is fetching it; wait for it")
        if target.tell() > file.bytes:
            target.truncate(0)
        done = target.tell()
        shown = done >> 20

        def more(position: int, block: bytes) -> None:
            nonlocal done, shown
            if position != done:  # the server began at the start
                target.truncate(position)
                target.seek(position)
            target.write(block[: file.bytes - position])
            done = min(position + len(block), file.bytes)
            while shown < done >> 20:
                shown += 1
                tell.step(0, False)

        remote.read_with_retries(address, lambda: done, more, file.bytes)
