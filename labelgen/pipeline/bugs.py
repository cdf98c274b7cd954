"""Report unexpected exceptions, which reject their bracket, as bugs of labelgen.

The traceback goes to ``OUT.h5.errors.log`` beside the dataset. The reason of the rejection names
that file, so nobody looks for the fault in the photos.
"""

from __future__ import annotations

import traceback
from pathlib import Path

from labelgen.core.validation import one_line

BUG = "a bug of labelgen"
"""Start of the reason of such a rejection."""


def log_path(staging: Path) -> Path:
    """Path of the log beside the staging folder ``OUT.h5.partial``."""
    return staging.with_name(staging.name.removesuffix(".partial") + ".errors.log")


def describe_bug(error: Exception) -> str:
    """Describe an unexpected exception in one line."""
    return f"{BUG}, not of the photos: {type(error).__name__}: {one_line(error)}"


def bug_reason(error: Exception, staging: Path) -> str:
    """Reason of a rejection by an unexpected exception, with the name of the log."""
    return f"{describe_bug(error)}; please report the traceback in {log_path(staging).name}"


def traceback_of(error: Exception) -> str:
    """The traceback of an exception, as Python prints it."""
    return "".join(traceback.format_exception(error))


def log_bug(staging: Path, bracket: str, text: str) -> None:
    """Append the traceback of a bracket to the log."""
    with log_path(staging).open("a", encoding="utf-8", errors="replace") as log:
        log.write(f"{bracket}\n{text}\n")
