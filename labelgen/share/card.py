"""What goes with a dataset from hand to hand: a card to read, one for machines, checksums.

The machines' card is Croissant [1]_ at the level of files.

References
----------
.. [1] M. Akhtar et al., "Croissant: A Metadata Format for ML-Ready Datasets", DEEM 2024.
       https://doi.org/10.1145/3650203.3663326
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelgen.core.errors import UserError
from labelgen.core.files import write_bytes, write_json
from labelgen.core.recipe import Recipe
from labelgen.core.validation import one_line
from labelgen.dataset.format import Dataset
from labelgen.dataset.safe_hdf5 import PART
from labelgen.share.card_metadata import CardMetadata
from labelgen.share.manifest import (
    CROISSANT,
    HDF5_SUFFIXES,
    README,
    RECIPE,
    SUMS,
    ManifestEntry,
    check_name,
)
from labelgen.share.markdown import readme
from labelgen.share.rows import refuse_part

KINDS = {".md": "text/markdown", ".toml": "application/toml"}
OF_HDF5 = "application/x-hdf5"
SCHEMA = "https://schema.org/"
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": SCHEMA,
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": SCHEMA,
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context that Croissant 1.0 prescribes."""


def card(path: Path, facts: CardMetadata | None = None, *, overwrite: bool = False) -> list[Path]:
    """Write what goes with a dataset into its folder.

    ``README.md`` says what it holds, where it is from and how to build it again;
    ``croissant.json`` says it to machines; ``recipe.toml`` is the recipe; ``SHA256SUMS`` has the
    checksum of each file, for ``sha256sum -c`` and `labelgen.share.get`.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    facts : Facts, optional
        What the file does not know: licence, origin, people. A card without licence or origin says
        so first.
    overwrite : bool
        Replace files of these names.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    UserError
        Not a dataset, or files of these names are there already.
    """
    told, folder = facts or CardMetadata(), path.parent
    check_card(path, overwrite)
    names = [README, CROISSANT, RECIPE, SUMS]
    with Dataset(path) as data:
        refuse_part(data)
        told = told.completed(data.header)
        files = [
            ManifestEntry.of(p)
            for p in dict.fromkeys((path, *(Path(f.filename) for f in data.files)))
        ]
        toml = _toml(data)
        text = readme(data, told, files, has_recipe=bool(toml))
    (folder / SUMS).unlink(missing_ok=True)  # whatever happens now, none that is wrong is left
    if toml:
        write_bytes(folder / RECIPE, toml.encode("utf-8", "replace"))
    else:  # of a dataset that was merged from several
        (folder / RECIPE).unlink(missing_ok=True)
        names.remove(RECIPE)
    write_bytes(folder / README, text.encode("utf-8", "replace"))
    files += [ManifestEntry.of(folder / name) for name in names if name in (README, RECIPE)]
    write_json(folder / CROISSANT, croissant(told, files))
    files.append(ManifestEntry.of(folder / CROISSANT))
    lines = [f"{f.sha256}  {f.name}\n" for f in sorted(files, key=lambda f: f.name)]
    write_bytes(folder / SUMS, "".join(lines).encode())
    return [folder / name for name in names]


def check_card(path: Path, overwrite: bool) -> None:
    """Refuse a dataset that could not be offered so, and files that are there already.

    Raises
    ------
    UserError
        With the reason.
    """
    _check_name(path)
    folder = path.parent
    if there := [n for n in (README, CROISSANT, RECIPE, SUMS) if (folder / n).exists()]:
        if not overwrite:
            raise UserError(
                f"{folder / there[0]}: exists; give --overwrite to replace it, or move the dataset "
                "to a folder of its own"
            )
        if odd := [n for n in there if not (folder / n).is_file()]:
            raise UserError(f"{folder / odd[0]}: not a file; move it away")


def _check_name(path: Path) -> None:
    """Refuse names by which `labelgen.share.get` would not fetch a dataset."""
    try:
        check_name(path.name)
        if not path.name.endswith(HDF5_SUFFIXES) or PART.fullmatch(path.name):
            raise ValueError(f"expected a name like {path.stem[:20]}.h5, and not that of a part")
    except ValueError as e:
        raise UserError(f"{path}: can't be offered ({e}); 'labelgen pack' it under another") from e


def _toml(data: Dataset) -> str:
    """The recipe of a dataset; empty if it has several, or one of another version."""
    settings = {k: v for k, v in data.header.recipe.items() if k not in ("labels", "seed")}
    if len(settings) == len(data.header.recipe):  # merged of several
        return ""
    try:
        return Recipe.from_dict(settings, one_line(Exception(data.path.name))).as_toml()
    except UserError:
        return ""


def croissant(facts: CardMetadata, files: Sequence[ManifestEntry]) -> dict[str, Any]:
    """The card for machines: JSON-LD of Croissant 1.0.

    Parameters
    ----------
    facts : Facts
        What is said of the dataset.
    files : sequence of Listed
        All that belong to it.
    """
    said = {
        "license": facts.license,
        "citeAs": facts.citation,
        "url": facts.url,
        "version": facts.version,
        "datePublished": facts.date,
        "creator": {"@type": "Person", "name": facts.creator} if facts.creator else "",
        "rai:dataCollection": facts.origin,
        "rai:personalSensitiveInformation": facts.about_people,
    }
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": facts.title,
        "description": facts.summary,
        **{name: value for name, value in said.items() if value},
        "keywords": ["HDR imaging", "deghosting", "exposure bracketing"],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file.name,
                "name": file.name,
                "contentUrl": file.name,
                "contentSize": f"{file.bytes} B",
                "encodingFormat": KINDS.get(Path(file.name).suffix, OF_HDF5),
                "sha256": file.sha256,
            }
            for file in files
        ],
    }
