"""Fetch a published dataset: resumable, every file checked by size and SHA-256."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from labelgen.errors import UserError
from labelgen.files import publish, sha256, write_bytes
from labelgen.progress import Progress, Silent
from labelgen.safe_hdf5 import PART
from labelgen.share import remote
from labelgen.share.card import CROISSANT, README, RECIPE, SUMS
from labelgen.share.catalog import find
from labelgen.share.listed import Listed
from labelgen.untrusted import NOT_JSON, a_table, a_text, brief, one_line

MOST_SUMS, MOST_CROISSANT = 1 << 20, 1 << 24
"""Bytes of the lists."""
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
SIZE = re.compile(r"(\d{1,18}) B")
UNFINISHED = ".part"
PAUSES_S = 0.5, 2.0, 8.0
"""Seconds before a connection that was lost is tried again; anew whenever bytes have arrived."""


@dataclass(frozen=True)
class Offer:
    """A dataset that can be fetched: where it is, its files, and what is said of it."""

    place: str
    name: str
    files: tuple[Listed, ...]
    croissant: bytes
    sums: bytes
    license: str

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(f.bytes for f in self.files)


def look(source: str, sums_sha256: str = "") -> Offer:
    """What there is to fetch; nothing but its two lists is fetched for that.

    Parameters
    ----------
    source : str
        http(s) address or path of the folder of a dataset, or of a file in it; or a name that
        `labelgen.share.catalog` knows.
    sums_sha256 : str
        SHA-256 that its SHA256SUMS has to have, where somebody told it on another way.

    Raises
    ------
    UserError
        It can't be reached, is no published dataset, or its lists contradict each other.
    """
    known = find(source)
    place = remote.place_of(known.place if known else source)
    sums_sha256 = sums_sha256.lower() or (known.sums_sha256 if known else "")
    sums = _list(place, SUMS, MOST_SUMS)
    if sums_sha256 and hashlib.sha256(sums).hexdigest() != sums_sha256:
        raise UserError(f"{place}{SUMS}: has another SHA-256 than expected; not the same dataset")
    digests = _parsed_sums(place, sums)
    croissant = _list(place, CROISSANT, MOST_CROISSANT)
    if hashlib.sha256(croissant).hexdigest() != digests.get(CROISSANT):
        raise UserError(f"{place}{CROISSANT}: is not what {SUMS} says; tell who offers it")
    sizes, license = _parsed_croissant(place, croissant)
    files = []
    for name, digest in digests.items():
        if name == CROISSANT:
            continue
        size, other = sizes.get(name, (0, ""))
        if other != digest:
            raise UserError(
                f"{place}: {CROISSANT} and {SUMS} differ about {brief(name)}; tell who offers it"
            )
        files.append(Listed(name, size, digest))
    name = known.name if known else Path(unquote(urlsplit(place).path)).name
    return Offer(place, name or "dataset", tuple(files), croissant, sums, license)


def get(
    source: str | Offer,
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
        As in `look`, or what it found.
    out : Path, optional
        The folder; by default one here, called as the dataset is.
    sums_sha256 : str
        As in `look`.
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
        As `look`; or files that differ are there already, there is no room, the connection fails
        again and again, or a file is not what the lists say.
    """
    offer = source if isinstance(source, Offer) else look(source, sums_sha256)
    tell = progress or Silent()
    folder = out if out is not None else folder_of(offer)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: not a folder; give another with -o")
    datasets = [
        f for f in offer.files if f.name not in (README, RECIPE) and not PART.fullmatch(f.name)
    ]
    if len(datasets) != 1:
        raise UserError(f"{offer.place}: offers {len(datasets)} datasets in one folder, expected 1")
    last = datasets[0]
    missing = _missing(offer, folder, overwrite)
    _check_disk(missing, folder)
    folder.mkdir(parents=True, exist_ok=True)
    tell.start("get", max(sum(f.bytes for f in missing) >> 20, 1))
    for file in sorted(missing, key=lambda f: f is last):
        _fetch(offer.place, file, folder, tell)
    write_bytes(folder / CROISSANT, offer.croissant)
    write_bytes(folder / SUMS, offer.sums)
    return folder / last.name


def folder_of(offer: Offer) -> Path:
    """The folder here that is called as a dataset is on its server, as far as that is safe."""
    kept = "".join(c if c.isalnum() or c in "-_. " else "-" for c in offer.name).strip(". -")
    return Path(kept[:100] or "dataset")


def _list(place: str, name: str, most: int) -> bytes:
    """A list of the dataset, which is small."""
    address, data = remote.join(place, name), bytearray()

    def more(position: int, block: bytes) -> None:
        del data[position:]
        data.extend(block)
        if len(data) > most:
            raise UserError(f"{address}: larger than {most >> 20} MiB, which no such list is")

    _persist(address, lambda: len(data), more, None)
    return bytes(data)


def _parsed_sums(place: str, sums: bytes) -> dict[str, str]:
    """SHA-256 by the name of the file, all of which lie in one folder."""
    digests: dict[str, str] = {}
    try:
        for line in _text(sums).splitlines():
            found = LINE.fullmatch(line)
            if not found:
                raise ValueError(f"{brief(line)} is no checksum and name")
            digest, name = found.groups()
            _check_name(name)
            if name.lower() in (n.lower() for n in (SUMS, *digests)):
                raise ValueError(f"{brief(name)} is listed twice")
            digests[name] = digest
    except ValueError as e:
        raise UserError(f"{place}{SUMS}: {e}; refused") from e
    if CROISSANT not in digests:
        raise UserError(f"{place}{SUMS}: lists no {CROISSANT}; 'labelgen card' makes both")
    return digests


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise ValueError("is no text") from e


def _check_name(name: str) -> None:
    """Refuse names that lead out of a folder, hide, or could not be told on a terminal."""
    plain = name.isprintable() and not set(name) & set('/\\:*?"<>|') and len(name.encode()) <= 200
    if not plain or name.startswith((".", "-", " ")) or name.endswith((".", " ", UNFINISHED)):
        raise ValueError(f"{brief(name)} is not the plain name of a file")


def _parsed_croissant(place: str, croissant: bytes) -> tuple[dict[str, tuple[int, str]], str]:
    """Bytes and SHA-256 by the name of the file, and the licence."""
    try:
        told = a_table(json.loads(croissant))
        files = {}
        for entry in told["distribution"]:
            size = SIZE.fullmatch(a_text(entry["contentSize"]))
            if not size:
                raise ValueError(f"contentSize is {brief(entry['contentSize'])}, expected '123 B'")
            files[a_text(entry["name"])] = int(size[1]), a_text(entry["sha256"])
        return files, a_text(told.get("license", ""))
    except NOT_JSON as e:
        raise UserError(
            f"{place}{CROISSANT}: not as 'labelgen card' writes it ({one_line(e)})"
        ) from e


def _missing(offer: Offer, folder: Path, overwrite: bool) -> list[Listed]:
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


def _check_disk(missing: list[Listed], folder: Path) -> None:
    there = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
    begun = [folder / (f.name + UNFINISHED) for f in missing]
    needed = sum(f.bytes for f in missing) - sum(p.stat().st_size for p in begun if p.is_file())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"{folder}: {needed / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB free; "
            "take another disk with -o"
        )


def _fetch(place: str, file: Listed, folder: Path, tell: Progress) -> None:
    """Fetch one file: what came before is gone on with; what is wrong in the end is removed."""
    unfinished = folder / (file.name + UNFINISHED)
    if unfinished.exists() and not unfinished.is_file():
        raise UserError(f"{unfinished}: not a file; move it away")
    begun = unfinished.exists() and unfinished.stat().st_size > 0
    for anew in (False, True):
        if anew:  # what was there may be of another version, or damaged
            tell.remark(f"{file.name}: what was there does not fit; begun anew")
        _download(remote.join(place, file.name), file, unfinished, tell)
        if sha256(unfinished) == file.sha256:
            publish(unfinished, folder / file.name)
            return
        unfinished.unlink()
        if not begun:
            break
    raise UserError(
        f"{remote.join(place, file.name)}: its bytes are not those that {SUMS} says; nothing of it "
        "was kept; tell who offers it"
    )


def _download(address: str, file: Listed, unfinished: Path, tell: Progress) -> None:
    with unfinished.open("ab") as target:
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

        _persist(address, lambda: done, more, file.bytes)


def _persist(
    address: str,
    done: Callable[[], int],
    more: Callable[[int, bytes], None],
    size: int | None,
) -> None:
    """Read a file to its end, or to so many bytes; go on where a connection was lost.

    Raises
    ------
    UserError
        It is not there, or several tries in a row brought nothing new.
    """
    failed, most = 0, -1
    while size is None or done() < size:
        try:
            for position, block in remote.read(address, done()):
                more(position, block)
                if size is not None and done() >= size:
                    return
            if size is None:
                return
            raise remote.Unreachable(f"it ends after {done():,} of {size:,} bytes")
        except remote.Gone as e:
            raise UserError(f"{address}: {e}") from e
        except remote.Unreachable as e:
            failed = 0 if done() > most >= 0 else failed + 1
            most = max(most, done())
            if failed > len(PAUSES_S):
                kept = "; the same command goes on from there" if size and done() else ""
                raise UserError(f"{address}: {e}{kept}") from e
            time.sleep(PAUSES_S[max(failed - 1, 0)])
