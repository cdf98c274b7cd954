"""The files of a published dataset: their names, sizes and digests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labelgen.core.files import sha256
from labelgen.core.validation import short_repr

README, CROISSANT, RECIPE, SUMS = "README.md", "croissant.json", "recipe.toml", "SHA256SUMS"
"""Files beside a published dataset."""
HDF5_SUFFIXES = (".h5", ".hdf5")
PARTIAL_SUFFIX = ".part"
"""Suffix of a file that is not completely fetched."""


def check_name(name: str) -> None:
    """Refuse names that lead out of a folder, are hidden, or are invalid on some system.

    Raises
    ------
    ValueError
        The name is not plain.
    """
    is_plain = name.isprintable() and not set(name) & set('/\\:*?"<>|')
    is_plain &= len(name.encode("utf-8", "replace")) <= 200
    if (
        not is_plain
        or name.startswith((".", "-", " "))
        or name.endswith((".", " ", PARTIAL_SUFFIX))
    ):
        raise ValueError(f"{short_repr(name)} is not the plain name of a file")


@dataclass(frozen=True)
class ManifestEntry:
    """A file of a published dataset: its name, bytes and SHA-256."""

    name: str
    bytes: int
    sha256: str

    @staticmethod
    def of(path: Path) -> ManifestEntry:
        """Return the entry of an existing file."""
        return ManifestEntry(path.name, path.stat().st_size, sha256(path))
