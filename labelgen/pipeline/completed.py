"""The JSON file beside a complete dataset: the digest of the request, and times of the stages.

The digest shows a repeated command that the dataset is complete, without a look at any pixel.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from labelgen.core.bracket import Bracket
from labelgen.core.errors import UserError
from labelgen.core.files import write_json
from labelgen.core.response import Response
from labelgen.core.validation import PARSE_ERRORS, expect_object, read_json
from labelgen.core.versions import generator
from labelgen.dataset.header import read_dataset_header
from labelgen.dataset.info import build_times_path
from labelgen.pipeline.options import BuildOptions


def request_digest(
    brackets: Sequence[Bracket], options: BuildOptions, known: Mapping[str, Response] | None
) -> str:
    """SHA-256 of all inputs of a build that are known without decoding pixels.

    Parameters
    ----------
    brackets : sequence of Bracket
        All brackets. Their files count by size and time of change, as they do when a build is
        resumed (`labelgen.calibration.survey.survey_cached`).
    options : BuildOptions
        The options that decide the contents of the dataset count; others, such as `jobs`, do not.
    known : mapping of str to Response, optional
        Responses that `options.response` names, by camera.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()

    def add(*facts: str) -> None:
        digest.update("".join(f"{fact}\n" for fact in facts).encode("utf-8", "replace"))

    decides = options.effective_recipe, options.selection, options.storage, known
    add(generator(), *map(repr, decides), options.labels, str(options.seed))
    for bracket in brackets:
        files = [*(frame.path for frame in bracket.frames), bracket.truth, *bracket.masks]
        add(repr(bracket), *(_size_and_time(path) for path in files if path))
    return digest.hexdigest()


def _size_and_time(path: Path) -> str:
    try:
        stat = path.stat()
    except OSError:
        return "absent"
    return f"{stat.st_size} {stat.st_mtime_ns}"


def write_build_times(
    out: Path, request: str, fingerprint: str, resumed: bool, seconds: dict[str, float]
) -> None:
    """Write the digest of the request and the times of the stages beside a dataset."""
    record = {"fingerprint": fingerprint, "asked": request, "resumed": resumed}
    write_json(build_times_path(out), record | seconds)


def was_made_for(out: Path, request: str) -> bool:
    """Whether a dataset is there that was made for just this request."""
    try:
        record = expect_object(read_json(build_times_path(out)))
        fingerprint = read_dataset_header(out).fingerprint
        return record["asked"] == request and record["fingerprint"] == fingerprint
    except (UserError, *PARSE_ERRORS):
        return False
