"""Datasets and public bracket sets that are known by name: the folder ``datasets``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import labelgen
from labelgen.core.errors import UserError
from labelgen.core.validation import expect_text, one_line, read_toml

ENTRY = "set.toml"


@dataclass(frozen=True)
class CatalogEntry:
    """An entry: where the dataset is (address or folder), and the SHA-256 of its SHA256SUMS."""

    name: str
    title: str
    place: str
    sums_sha256: str


def catalog_folder() -> Path:
    """The folder of entries: in an installed package inside of it, in a checkout beside it."""
    package = Path(labelgen.__file__).parent
    inside = package / "datasets"
    return inside if inside.is_dir() else package.parent / "datasets"


def entry_names() -> list[str]:
    """All names that are known."""
    return sorted(path.parent.name for path in catalog_folder().glob(f"*/{ENTRY}"))


def find_entry(name: str) -> CatalogEntry | None:
    """The dataset of a name; None if it is no name but an address or a path.

    Raises
    ------
    UserError
        It is the name of a bracket set whose dataset nobody offers, so that it has to be built.
    """
    if name not in entry_names():
        return None
    folder = catalog_folder() / name
    try:
        entry = read_toml(folder / ENTRY)
        title, place = expect_text(entry["title"]), expect_text(entry.get("get", ""))
        sums, homepage = (
            expect_text(entry.get("sums_sha256", "")),
            expect_text(entry.get("homepage", "")),
        )
    except (ValueError, TypeError, KeyError) as e:
        raise UserError(f"{folder / ENTRY}: not the entry of a dataset ({one_line(e)})") from e
    if not place:
        here = f"; a folder of that name is ./{name}" if Path(name).is_dir() else ""
        raise UserError(
            f"{name}: nobody offers it ready made; its brackets are at {homepage}, and "
            f"'sh {folder / 'build.sh'} DOWNLOAD OUT.h5' makes the dataset of them{here}"
        )
    if "://" not in place:
        place = str(folder / place)
    return CatalogEntry(name, title, place, sums)
