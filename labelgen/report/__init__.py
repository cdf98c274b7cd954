"""Write a self-contained HTML page that shows what a build made and why; needs no photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from labelgen.core.errors import UserError
from labelgen.core.files import check_parent, write_bytes
from labelgen.core.progress import Progress, Silent
from labelgen.core.validation import one_line
from labelgen.dataset.info import info
from labelgen.dataset.reader import Dataset
from labelgen.dataset.safe_hdf5 import DAMAGE
from labelgen.report.gallery import choose_brackets
from labelgen.report.overview import build_times, chart_data, group_rejects
from labelgen.report.records import BracketRecord, SampleColumns
from labelgen.report.render import render_page

__all__ = ["Report", "report"]

FIRST_BYTES = b"<!doctype html>"
"""Of every page; no other existing file is replaced."""


@dataclass(frozen=True)
class Report:
    """A page that was written."""

    path: Path
    shown: int
    """Brackets in its gallery."""
    used: int
    """Brackets that gave samples."""
    bytes: int


def report(
    dataset: Path, out: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> Report:
    """Write a self-contained HTML page about a dataset.

    The gallery shows all brackets of a small dataset, and evenly spaced ones of a large dataset:
    the page stays below 30 MB. The same dataset gives the same page.

    Parameters
    ----------
    dataset : Path
        Dataset file or index. If a build left ``.times.json`` beside it, its times are shown.
    out : Path
        The page.
    overwrite : bool
        Replace an existing page.
    progress : Progress, optional
        Reports every bracket of the gallery.

    Raises
    ------
    UserError
        Not a dataset, or damaged; the page exists and may not be replaced, or has no folder.
    """
    _check_out(out, overwrite)
    try:
        about = info(dataset)
        with Dataset(dataset) as data:
            records = {
                name: BracketRecord.of(name, record) for name, record in data.header.scenes.items()
            }
            columns = SampleColumns.of(data)
            used = [records.get(name, BracketRecord(name)) for name in columns.brackets]
            if not used:
                raise UserError(f"{dataset}: no samples to show")
            plots = chart_data(data, columns, used)
            plots["times"] = build_times(dataset, about["fingerprint"])
            gallery = choose_brackets(data, columns, used, progress or Silent())
            rejects = group_rejects(list(records.values()))
            html = render_page(dataset.name, about, data.header, used, rejects, plots, gallery)
    except DAMAGE as e:
        raise UserError(f"{dataset}: damaged ({one_line(e)}); 'labelgen verify' says more") from e
    write_bytes(out, html.encode())
    return Report(out, len(gallery), len(used), out.stat().st_size)


def _check_out(out: Path, overwrite: bool) -> None:
    """Refuse to replace a file; one that is not a page, such as the dataset, in any case."""
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
        return file.read(len(FIRST_BYTES)) == FIRST_BYTES
