"""The files of a dataset that is shared, as its lists have them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labelgen.core.files import sha256
from labelgen.core.validation import short_repr

README, CROISSANT, RECIPE, SUMS = "README.md", "croissant.json", "recipe.toml", "SHA256SUMS"
"""What lies beside a dataset that is shared."""
HDF5 = (".h5", ".hdf5")
"""What the name of a dataset ends in."""
UNFINISHED = ".part"
"""What the name of a file ends in that has not come whole."""


def check_name(name: str) -> None:
    """Refuse names that lead out of a folder, hide, or are none everywhere.

    Raises
    ------
    ValueError
        It is one.
    """
    plain = name.isprintable() and not set(name) & set('/\\:*?"<>|')
    plain &= len(name.encode("utf-8", "replace")) <= 200 and name.isprintable()
    if not plain or name.startswith((".", "-", " ")) or name.endswith((".", " ", UNFINISHED)):
        raise ValueError(f"{short_repr(name)} is not the plain name of a file")


@dataclass(frozen=True)
class ManifestEntry:
    """A file of a published dataset: its name, bytes and SHA-256."""

    name: str
    bytes: int
    sha256: str

    @staticmethod
    def of(path: Path) -> ManifestEntry:
        """A file that is there."""
        return ManifestEntry(path.name, path.stat().st_size, sha256(path))
