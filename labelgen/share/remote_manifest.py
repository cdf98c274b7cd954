"""Read and check the two lists of a published dataset, before any of its files is fetched."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from labelgen.core.errors import UserError
from labelgen.core.validation import PARSE_ERRORS, expect_object, expect_text, one_line, short_repr
from labelgen.share.catalog import find_entry
from labelgen.share.manifest import CROISSANT, HDF5_SUFFIXES, SUMS, ManifestEntry, check_name
from labelgen.share.remote import dataset_location, file_address, read_with_retries

MAX_SUMS, MAX_CROISSANT = 1 << 20, 1 << 24
"""Largest size of the lists, in bytes."""
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
SIZE = re.compile(r"(\d{1,18}) B")


@dataclass(frozen=True)
class RemoteManifest:
    """A dataset that can be fetched: its location, files, licence, and lists as published."""

    location: str
    name: str
    files: tuple[ManifestEntry, ...]
    croissant: bytes
    sums: bytes
    license: str

    @property
    def total_bytes(self) -> int:
        """Size of all files together."""
        return sum(f.bytes for f in self.files)

    @property
    def lists(self) -> dict[str, bytes]:
        """Contents of the two lists by the name of the file."""
        return {CROISSANT: self.croissant, SUMS: self.sums}


def read_remote_manifest(source: str, sums_sha256: str = "") -> RemoteManifest:
    """Return the files that a published dataset consists of; only its two lists are fetched.

    Parameters
    ----------
    source : str
        http(s) address or path of the folder of a dataset, or of a file in it; or a name that
        `labelgen.share.catalog` knows.
    sums_sha256 : str
        Expected SHA-256 of its SHA256SUMS, if known from another source than its server.

    Raises
    ------
    UserError
        It can't be reached, is not a published dataset, or its lists contradict each other.
    """
    entry = find_entry(source)
    location = dataset_location(entry.location if entry else source)
    sums_sha256 = sums_sha256.lower() or (entry.sums_sha256 if entry else "")
    sums = _read_list(location, SUMS, MAX_SUMS)
    if sums_sha256 and hashlib.sha256(sums).hexdigest() != sums_sha256:
        raise UserError(
            f"{location}{SUMS}: has another SHA-256 than expected; not the same dataset"
        )
    digests = _parse_sums(location, sums)
    croissant = _read_list(location, CROISSANT, MAX_CROISSANT)
    if hashlib.sha256(croissant).hexdigest() != digests.get(CROISSANT):
        raise UserError(f"{location}{CROISSANT}: is not what {SUMS} says; tell who offers it")
    sizes, license = _parse_croissant(location, croissant)
    files = []
    for name, digest in digests.items():
        if name == CROISSANT:
            continue
        size, other_digest = sizes.get(name, (0, ""))
        if other_digest != digest:
            raise UserError(
                f"{location}: {CROISSANT} and {SUMS} differ about {short_repr(name)}; "
                "tell who offers it"
            )
        files.append(ManifestEntry(name, size, digest))
    requested = Path(unquote(urlsplit(source).path)).name
    if requested.endswith(HDF5_SUFFIXES) and not entry and requested not in digests:
        raise UserError(f"{location}: {SUMS} does not list '{requested}'; 'labelgen card' it first")
    name = entry.name if entry else Path(unquote(urlsplit(location).path)).name
    return RemoteManifest(location, name or "dataset", tuple(files), croissant, sums, license)


def default_folder(manifest: RemoteManifest) -> Path:
    """Return a folder named after a dataset; characters that may be unsafe are replaced."""
    safe = "".join(c if c.isalnum() or c in "-_. " else "-" for c in manifest.name).strip(". -")
    return Path(safe[:100] or "dataset")


def _read_list(location: str, name: str, max_bytes: int) -> bytes:
    address, data = file_address(location, name), bytearray()
    for position, block in read_with_retries(address):
        data[position:] = block
        if len(data) > max_bytes:
            raise UserError(f"{address}: larger than {max_bytes >> 20} MiB, which no such list is")
    return bytes(data)


def _parse_sums(location: str, sums: bytes) -> dict[str, str]:
    """Return SHA-256 by file name; names that differ only in case are refused."""
    digests, seen = dict[str, str](), {SUMS.lower()}
    try:
        for line in _text(sums).splitlines():
            match = LINE.fullmatch(line)
            if not match:
                raise ValueError(f"{short_repr(line)} is no checksum and name")
            digest, name = match.groups()
            check_name(name)
            if name.lower() in seen:
                raise ValueError(f"{short_repr(name)} is listed twice")
            seen.add(name.lower())
            digests[name] = digest
    except ValueError as e:
        raise UserError(f"{location}{SUMS}: {e}; refused") from e
    if CROISSANT not in digests:
        raise UserError(f"{location}{SUMS}: lists no {CROISSANT}; 'labelgen card' makes both")
    return digests


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as e:
        raise ValueError("is no text") from e


def _parse_croissant(location: str, croissant: bytes) -> tuple[dict[str, tuple[int, str]], str]:
    """Return size and SHA-256 by file name, and the licence."""
    try:
        card = expect_object(json.loads(croissant))
        files = {}
        for entry in card["distribution"]:
            size = SIZE.fullmatch(expect_text(entry["contentSize"]))
            if not size:
                raise ValueError(
                    f"contentSize is {short_repr(entry['contentSize'])}, expected '123 B'"
                )
            files[expect_text(entry["name"])] = int(size[1]), expect_text(entry["sha256"])
        return files, expect_text(card.get("license", ""))
    except PARSE_ERRORS as e:
        raise UserError(
            f"{location}{CROISSANT}: not as 'labelgen card' writes it ({one_line(e)})"
        ) from e
