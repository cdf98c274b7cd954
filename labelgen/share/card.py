"""Write the files that a dataset is published with: README.md, croissant.json, SHA256SUMS.

croissant.json describes the files for programs, in the format Croissant [1]_.

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
from labelgen.dataset.reader import Dataset
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

MEDIA_TYPES = {".md": "text/markdown", ".toml": "application/toml"}
HDF5_MEDIA_TYPE = "application/x-hdf5"
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


def card(
    path: Path, metadata: CardMetadata | None = None, *, overwrite: bool = False
) -> list[Path]:
    """Write the files that a dataset is published with, into its folder.

    ``README.md`` states what it holds, where it is from and how to build it again;
    ``croissant.json`` describes its files for programs; ``recipe.toml`` is its recipe;
    ``SHA256SUMS`` lists the digests of all files, for ``sha256sum -c`` and `labelgen.share.get`.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    metadata : CardMetadata, optional
        What the dataset itself does not state: licence, origin, people. A card without licence or
        origin begins with a warning.
    overwrite : bool
        Replace files of these names.

    Returns
    -------
    list of Path
        The written files.

    Raises
    ------
    UserError
        Not a dataset, or files of these names exist.
    """
    metadata, folder = metadata or CardMetadata(), path.parent
    check_card(path, overwrite)
    names = [README, CROISSANT, RECIPE, SUMS]
    with Dataset(path) as data:
        refuse_part(data)
        metadata = metadata.completed(data.header)
        files = [
            ManifestEntry.of(p)
            for p in dict.fromkeys((path, *(Path(f.filename) for f in data.files)))
        ]
        toml = _toml(data)
        text = readme(data, metadata, files, has_recipe=bool(toml))
    (folder / SUMS).unlink(missing_ok=True)  # the old one would be wrong if this is interrupted
    if toml:
        write_bytes(folder / RECIPE, toml.encode("utf-8", "replace"))
    else:  # merged from datasets of several recipes
        (folder / RECIPE).unlink(missing_ok=True)
        names.remove(RECIPE)
    write_bytes(folder / README, text.encode("utf-8", "replace"))
    files += [ManifestEntry.of(folder / name) for name in names if name in (README, RECIPE)]
    write_json(folder / CROISSANT, croissant(metadata, files))
    files.append(ManifestEntry.of(folder / CROISSANT))
    lines = [f"{f.sha256}  {f.name}\n" for f in sorted(files, key=lambda f: f.name)]
    write_bytes(folder / SUMS, "".join(lines).encode())
    return [folder / name for name in names]


def check_card(path: Path, overwrite: bool) -> None:
    """Refuse a dataset whose name can't be fetched, and to replace files unless told to.

    Raises
    ------
    UserError
        One of both is the case.
    """
    _check_name(path)
    folder = path.parent
    if existing := [n for n in (README, CROISSANT, RECIPE, SUMS) if (folder / n).exists()]:
        if not overwrite:
            raise UserError(
                f"{folder / existing[0]}: exists; give --overwrite to replace it, or move the "
                "dataset to a folder of its own"
            )
        if others := [n for n in existing if not (folder / n).is_file()]:
            raise UserError(f"{folder / others[0]}: not a file; move it away")


def _check_name(path: Path) -> None:
    """Refuse a name that `labelgen.share.get` would not fetch."""
    try:
        check_name(path.name)
        if not path.name.endswith(HDF5_SUFFIXES) or PART.fullmatch(path.name):
            raise ValueError(f"expected a name like {path.stem[:20]}.h5, and not that of a part")
    except ValueError as e:
        raise UserError(f"{path}: can't be offered ({e}); 'labelgen pack' it under another") from e


def _toml(data: Dataset) -> str:
    """Return the recipe of a dataset; empty if it has several, or one of another version."""
    settings = {k: v for k, v in data.header.recipe.items() if k not in ("labels", "seed")}
    if len(settings) == len(data.header.recipe):  # merged from several
        return ""
    try:
        return Recipe.from_dict(settings, one_line(Exception(data.path.name))).as_toml()
    except UserError:
        return ""


def croissant(metadata: CardMetadata, files: Sequence[ManifestEntry]) -> dict[str, Any]:
    """Return the description for programs: JSON-LD of Croissant 1.0.

    Parameters
    ----------
    metadata : CardMetadata
        What is known of the dataset.
    files : sequence of ManifestEntry
        All its files.
    """
    optional = {
        "license": metadata.license,
        "citeAs": metadata.citation,
        "url": metadata.url,
        "version": metadata.version,
        "datePublished": metadata.date,
        "creator": {"@type": "Person", "name": metadata.creator} if metadata.creator else "",
        "rai:dataCollection": metadata.origin,
        "rai:personalSensitiveInformation": metadata.about_people,
    }
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": metadata.title,
        "description": metadata.summary,
        **{name: value for name, value in optional.items() if value},
        "keywords": ["HDR imaging", "deghosting", "exposure bracketing"],
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": file.name,
                "name": file.name,
                "contentUrl": file.name,
                "contentSize": f"{file.bytes} B",
                "encodingFormat": MEDIA_TYPES.get(Path(file.name).suffix, HDF5_MEDIA_TYPE),
                "sha256": file.sha256,
            }
            for file in files
        ],
    }
