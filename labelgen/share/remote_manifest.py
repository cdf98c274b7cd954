"""What there is to fetch: the two lists of a published dataset, looked at before all else."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from labelgen.core.errors import UserError
from labelgen.core.validation import PARSE_ERRORS, expect_object, expect_text, one_line, short_repr
from labelgen.share import remote
from labelgen.share.catalog import find_entry
from labelgen.share.manifest import CROISSANT, HDF5, SUMS, ManifestEntry, check_name

MAX_SUMS, MAX_CROISSANT = 1 << 20, 1 << 24
"""Bytes of the lists."""
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
SIZE = re.compile(r"(\d{1,18}) B")


@dataclass(frozen=True)
class RemoteManifest:
    """A dataset that can be fetched: where it is, its files, and what is said of it."""

    place: str
    name: str
    files: tuple[ManifestEntry, ...]
    croissant: bytes
    sums: bytes
    license: str

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(f.bytes for f in self.files)


def read_remote_manifest(source: str, sums_sha256: str = "") -> RemoteManifest:
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
    known = find_entry(source)
    place = remote.dataset_location(known.place if known else source)
    sums_sha256 = sums_sha256.lower() or (known.sums_sha256 if known else "")
    sums = _list(place, SUMS, MAX_SUMS)
    if sums_sha256 and hashlib.sha256(sums).hexdigest() != sums_sha256:
        raise UserError(f"{place}{SUMS}: has another SHA-256 than expected; not the same dataset")
    digests = _parsed_sums(place, sums)
    croissant = _list(place, CROISSANT, MAX_CROISSANT)
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
                f"{place}: {CROISSANT} and {SUMS} differ about {short_repr(name)}; "
                "tell who offers it"
            )
        files.append(ManifestEntry(name, size, digest))
    asked = Path(unquote(urlsplit(source).path)).name
    if asked.endswith(HDF5) and not known and asked not in digests:
        raise UserError(f"{place}: {SUMS} does not list '{asked}'; 'labelgen card' it first")
    name = known.name if known else Path(unquote(urlsplit(place).path)).name
    return RemoteManifest(place, name or "dataset", tuple(files), croissant, sums, license)


def default_folder(offer: RemoteManifest) -> Path:
    """The folder here that is called as a dataset is on its server, as far as that is safe."""
    kept = "".join(c if c.isalnum() or c in "-_. " else "-" for c in offer.name).strip(". -")
    return Path(kept[:100] or "dataset")


def _list(place: str, name: str, most: int) -> bytes:
    """A list of the dataset, which is small."""
    address, data = remote.file_address(place, name), bytearray()

    def more(position: int, block: bytes) -> None:
        del data[position:]
        data.extend(block)
        if len(data) > most:
            raise UserError(f"{address}: larger than {most >> 20} MiB, which no such list is")

    remote.read_with_retries(address, lambda: len(data), more, None)
    return bytes(data)


def _parsed_sums(place: str, sums: bytes) -> dict[str, str]:
    """SHA-256 by the name of the file, all of which lie in one folder."""
    digests, seen = dict[str, str](), {SUMS.lower()}
    try:
        for line in _text(sums).splitlines():
            found = LINE.fullmatch(line)
            if not found:
                raise ValueError(f"{short_repr(line)} is no checksum and name")
            digest, name = found.groups()
            check_name(name)
            if name.lower() in seen:
                raise ValueError(f"{short_repr(name)} is listed twice")
            seen.add(name.lower())
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


def _parsed_croissant(place: str, croissant: bytes) -> tuple[dict[str, tuple[int, str]], str]:
    """Bytes and SHA-256 by the name of the file, and the licence."""
    try:
        told = expect_object(json.loads(croissant))
        files = {}
        for entry in told["distribution"]:
            size = SIZE.fullmatch(expect_text(entry["contentSize"]))
            if not size:
                raise ValueError(
                    f"contentSize is {short_repr(entry['contentSize'])}, expected '123 B'"
                )
            files[expect_text(entry["name"])] = int(size[1]), expect_text(entry["sha256"])
        return files, expect_text(told.get("license", ""))
    except PARSE_ERRORS as e:
        raise UserError(
            f"{place}{CROISSANT}: not as 'labelgen card' writes it ({one_line(e)})"
        ) from e
