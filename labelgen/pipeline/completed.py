"""What a build that has ended leaves beside its dataset: what it was asked for, how long it took.

By that the same command knows, without a look at any pixel, that there is nothing to do.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from labelgen.core.bracket import Bracket
from labelgen.core.errors import UserError
from labelgen.core.files import write_json
from labelgen.core.validation import PARSE_ERRORS, expect_object, read_json
from labelgen.core.versions import generator
from labelgen.dataset.header import read_dataset_header
from labelgen.dataset.info import build_times_path


def request_digest(brackets: Sequence[Bracket], *settings: Any) -> str:
    """A digest of brackets and settings, as far as they are known from outside.

    Parameters
    ----------
    brackets : sequence of Bracket
        With names, exposures and files; of the files size and time of change count, as they do
        when an interrupted build goes on (`labelgen.calibration.survey_records.survey_cached`).
    *settings
        Whatever else decides the dataset, each with a `repr` that tells it.
    """
    digest = hashlib.sha256()

    def add(*facts: str) -> None:
        digest.update("".join(f"{fact}\n" for fact in facts).encode("utf-8", "replace"))

    add(generator(), *map(repr, settings))
    for bracket in brackets:
        files = [*(f.path for f in bracket.frames), bracket.truth, *bracket.masks]
        add(repr(bracket), *(_from_outside(path) for path in files if path))
    return digest.hexdigest()


def _from_outside(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "absent"
    return f"{stat.st_size} {stat.st_mtime_ns}"


def write_build_times(
    out: Path, asked: str, fingerprint: str, resumed: bool, seconds: dict[str, float]
) -> None:
    """Write what a build was asked for, and its times, beside the dataset that it made."""
    noted = {"fingerprint": fingerprint, "asked": asked, "resumed": resumed}
    write_json(build_times_path(out), noted | seconds)


def is_completed(out: Path, asked: str) -> bool:
    """Whether a dataset is there that was made for just this."""
    try:
        noted = expect_object(read_json(build_times_path(out)))
        return (
            noted["asked"] == asked and noted["fingerprint"] == read_dataset_header(out).fingerprint
        )
    except (UserError, *PARSE_ERRORS):
        return False
