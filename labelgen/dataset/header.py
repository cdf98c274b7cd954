"""Open the files of a dataset, and read its root attributes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py

from labelgen.core.errors import UserError
from labelgen.core.validation import expect_integer, expect_object, expect_text, one_line
from labelgen.dataset.columns import IMAGES, SMALL_COLUMNS
from labelgen.dataset.digests import as_python
from labelgen.dataset.safe_hdf5 import (
    DAMAGE,
    MAX_TEXT,
    Refused,
    check_attributes,
    check_datasets,
    check_part_name,
    load_filters,
    open_hdf5,
)
from labelgen.dataset.schema import check_options, check_response, check_scene, check_step

VERSION = 1
"""Version of the file format; others are refused."""


@dataclass(frozen=True)
class DatasetHeader:
    """Root attributes of a dataset, parsed."""

    frames: int
    reference: int
    patch: int
    recipe: dict[str, Any]
    scenes: dict[str, Any]
    responses: dict[str, Any]
    parts: list[dict[str, Any]]
    generator: str
    fingerprint: str
    license: str
    citation: str
    options: dict[str, Any]
    """Options of the build that were not the defaults."""
    derived: list[dict[str, Any]]
    """Commands that made this dataset from others (`labelgen.share`), oldest first."""


def open_file(path: Path) -> h5py.File:
    """Open a file of a dataset for reading, once its structure is checked.

    Raises
    ------
    UserError
        Missing, not HDF5, not by labelgen, of another version, or malicious: it refers to files
        outside its folder, or claims more than it holds.
    """
    file = open_hdf5(path)
    try:
        check_attributes(file)
        format_name, version = file.attrs.get("format"), file.attrs.get("format_version")
        if format_name != "labelgen":
            raise UserError(f"{path}: not a labelgen dataset (root attribute 'format' is missing)")
        if version != VERSION:
            raise UserError(
                f"{path}: format version {version}, this labelgen reads {VERSION}; update it"
            )
        check_datasets(file, (*IMAGES, *SMALL_COLUMNS), path)
        load_filters(file, IMAGES, path)
    except Refused as e:
        file.close()
        raise UserError(f"{path}: {e}; refused, get it from its maker again") from e
    except DAMAGE as e:
        file.close()
        raise UserError(f"{path}: damaged ({one_line(e)}); copy or build it again") from e
    except UserError:
        file.close()
        raise
    return file


def read_dataset_header(path: Path) -> DatasetHeader:
    """Read the root attributes of a dataset.

    Raises
    ------
    UserError
        Not a dataset, or an attribute is missing or not of its form.
    """
    try:
        with open_file(path) as file:
            attributes = {k: as_python(v) for k, v in file.attrs.items()}
        # The length of a variable-length text is known only after reading it.
        for name, value in attributes.items():
            if isinstance(value, str) and len(value) > MAX_TEXT:
                raise Refused(f"attribute {name!r} is larger than {MAX_TEXT >> 20} MiB")
        header = DatasetHeader(
            expect_integer(attributes["frames"], 1),
            expect_integer(attributes["reference"], 0),
            expect_integer(attributes["patch"], 1),
            expect_object(json.loads(attributes["recipe"])),
            expect_object(json.loads(attributes.get("scenes", "{}"))),
            expect_object(json.loads(attributes.get("responses", "{}"))),
            json.loads(attributes.get("parts", "[]")),
            expect_text(attributes["generator"]),
            expect_text(attributes["fingerprint"]),
            expect_text(attributes.get("license", "")),
            expect_text(attributes.get("citation", "")),
            expect_object(json.loads(attributes.get("options", "{}"))),
            [expect_object(step) for step in json.loads(attributes.get("derived", "[]"))],
        )
        _check_header(header, path)
    except Refused as e:
        raise UserError(f"{path}: {e}; refused") from e
    except DAMAGE as e:
        raise UserError(
            f"{path}: damaged root attributes ({one_line(e)}); copy or build it again"
        ) from e
    return header


def listed_parts(path: Path) -> list[dict[str, Any]]:
    """Return the parts that an index lists; none for a dataset in one file.

    Raises
    ------
    UserError, or one of `DAMAGE`
        Not a dataset, or damaged.
    """
    with open_file(path) as file:
        parts: list[dict[str, Any]] = json.loads(file.attrs.get("parts", "[]"))
    return parts


def _check_header(header: DatasetHeader, path: Path) -> None:
    """Refuse values of the wrong form, and parts outside the folder; raises one of `DAMAGE`."""
    if header.reference >= header.frames:
        raise ValueError(f"reference {header.reference} of {header.frames} frames")
    expect_text(header.recipe.get("name", ""))
    for scene in header.scenes.values():
        check_scene(scene)
    for response in header.responses.values():
        check_response(response)
    check_options(header.options)
    for step in header.derived:
        check_step(step)
    for part in header.parts:
        expect_integer(part["rows"], 0)
        expect_integer(part["bytes"], 0)
        expect_text(part["sha256"])
        if Path(expect_text(part["file"])).name == part["file"]:  # `Dataset` refuses the others
            check_part_name(path, part["file"])
