"""One page to look at a dataset: what a build did and why. No network, no photos needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labelgen.core.errors import UserError
from labelgen.core.files import check_parent, write_bytes
from labelgen.core.progress import Progress, Silent
from labelgen.core.validation import one_line
from labelgen.dataset.info import info as inside
from labelgen.dataset.reader import Dataset
from labelgen.dataset.safe_hdf5 import DAMAGE
from labelgen.report.entries import SampleColumns, BracketRecord
from labelgen.report.gallery import choose_brackets
from labelgen.report.overview import chart_data, group_rejects, build_times
from labelgen.report.render import render_page

__all__ = ["Report", "report"]

START = b"<!doctype html>"
"""Of every page."""


@dataclass(frozen=True)
class Report:
    """A page that was made: brackets it shows, of how many that gave samples; bytes."""

    path: Path
    shown: int
    used: int
    bytes: int


def report(
    dataset: Path, out: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> Report:
    """Write a self-contained HTML page about a dataset.

    Of small datasets all brackets are shown, of large ones an even choice; the page stays below
    30 MB. The same dataset gives the same page.

    Parameters
    ----------
    dataset : Path
        Dataset file or index. The ``.times.json`` that a build left beside it is shown as well.
    out : Path
        The page.
    overwrite : bool
        Replace what is there.
    progress : Progress, optional
        Told what happens.

    Raises
    ------
    UserError
        Not a dataset, or a damaged one; there is something at the name of the page that may not be
        replaced, or no folder for it.
    """
    _check_out(out, overwrite)
    try:
        about = inside(dataset)
        with Dataset(dataset) as data:
            entries = [BracketRecord.of(name, table) for name, table in data.header.scenes.items()]
            rows = SampleColumns.of(data)
            known = {entry.name: entry for entry in entries}
            used = [known.get(name, BracketRecord(name)) for name in rows.brackets]
            if not used:
                raise UserError(f"{dataset}: no samples to show")
            plots = chart_data(data, rows, used) | {"times": build_times(dataset, about["fingerprint"])}
            shown = choose_brackets(data, rows, used, progress or Silent())
            text = render_page(dataset.name, about, data.header, used, group_rejects(entries), plots, shown)
    except DAMAGE as e:
        raise UserError(f"{dataset}: damaged ({one_line(e)}); 'labelgen verify' says more") from e
    write_bytes(out, text.encode())
    return Report(out, len(shown), len(used), out.stat().st_size)


def _check_out(out: Path, overwrite: bool) -> None:
    """Refuse a name that is taken; no option replaces what is no page, such as the dataset."""
    check_parent(out)
    if not out.exists():
        return
    if not _is_page(out):
        raise UserError(f"{out}: is no page, so not ours to replace; give another name")
    if not overwrite:
        raise UserError(f"{out}: exists; give --overwrite to replace it, or another name")


def _is_page(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(START)) == START
