"""Datasets and public bracket sets that can be fetched by name, listed in the folder `datasets`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import labelgen
from labelgen.core.errors import UserError
from labelgen.core.validation import expect_text, one_line, read_toml

ENTRY = "set.toml"


@dataclass(frozen=True)
class CatalogEntry:
    """A dataset of the catalogue: its location and the SHA-256 of its SHA256SUMS."""

    name: str
    title: str
    location: str
    sums_sha256: str


def catalog_folder() -> Path:
    """Return the folder of entries: inside an installed package, but beside it in a checkout."""
    package = Path(labelgen.__file__).parent
    inside = package / "datasets"
    return inside if inside.is_dir() else package.parent / "datasets"


def entry_names() -> list[str]:
    """Return all names in the catalogue, sorted."""
    return sorted(path.parent.name for path in catalog_folder().glob(f"*/{ENTRY}"))


def find_entry(name: str) -> CatalogEntry | None:
    """Return the entry of a name, or None if the text is an address or a path.

    Raises
    ------
    UserError
        Nobody offers this dataset, so it has to be built from the public brackets; or the entry
        is damaged.
    """
    if name not in entry_names():
        return None
    folder = catalog_folder() / name
    try:
        entry = read_toml(folder / ENTRY)
        title = expect_text(entry["title"])
        location, sums_sha256, homepage = (
            expect_text(entry.get(key, "")) for key in ("get", "sums_sha256", "homepage")
        )
    except (ValueError, TypeError, KeyError) as e:
        raise UserError(f"{folder / ENTRY}: not the entry of a dataset ({one_line(e)})") from e
    if not location:
        here = f"; a folder of that name is ./{name}" if Path(name).is_dir() else ""
        raise UserError(
            f"{name}: nobody offers it ready made; its brackets are at {homepage}, and "
            f"'sh {folder / 'build.sh'} DOWNLOAD OUT.h5' makes the dataset of them{here}"
        )
    if "://" not in location:
        location = str(folder / location)
    return CatalogEntry(name, title, location, sums_sha256)
