"""Views of results: each result is described once (see `labelgen.cli.tables`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelgen.cli.show import show
from labelgen.cli.tables import Block, Cell, Line, Table

if TYPE_CHECKING:
    from labelgen.core.bracket import Bracket
    from labelgen.pipeline.summary import Summary

BAR_WIDTH = 30
"""Characters of a bar that stands for all samples."""


def show_brackets(
    brackets: Sequence[Bracket], findings: Sequence[dict[str, Any]], min_frames: int
) -> None:
    """Show the brackets of a scan, with the findings of `check_brackets` unless these are empty."""
    lines, rows = list[Block](), list[list[Cell]]()
    for bracket, finding in zip_longest(brackets, findings):
        count, camera = len(bracket.frames), bracket.camera
        if count < 2:
            lines.append(f"{bracket.name}: ! {'; '.join(bracket.problems)}")
            continue
        size = f"{bracket.size[1]}x{bracket.size[0]}" if bracket.size else "-"
        masked = f"masked by {', '.join(m.name for m in bracket.masks)}" if bracket.masks else ""
        evs = " ".join(f"{ev:+.2f}" for ev in bracket.evs)
        origins = ", ".join(dict.fromkeys(f.origin for f in bracket.frames if f.origin))
        exposures = [(Line(evs) if evs else Line("unknown", "yellow"), Line(origins or "-"))]
        if finding and finding["response"]:
            exposures.append(_measured_exposures(finding))
        lines.append(f"{bracket.name}: {count} x {size}{f', {camera}' if camera else ''}")
        lines += [f"    EV {ev.text} ({origin.text})" for ev, origin in exposures]
        lines += [f"    {masked}"] if masked else []
        lines += [f"    ! {problem}" for problem in bracket.problems]
        notes = [
            Line(text, style) for text, style in ((camera, "dim"), (masked, "magenta")) if text
        ]
        rows.append([(bracket.name, *notes), str(count), size, *zip(*exposures, strict=True)])
    usable = sum(len(b.evs) >= min_frames for b in brackets)
    single = (
        f", {len(brackets) - len(rows)} single or unusable" if len(rows) < len(brackets) else ""
    )
    total = f"{len(rows)} brackets, {usable} with exposures for {min_frames} frames or more{single}"
    heads, numbers = ("Bracket", "Frames", "Size", "EV", "From"), (1, 2)
    show(
        Table(heads, rows, no_wrap=numbers, right_aligned=numbers) if rows else None,
        reason_table(
            "Problems", {b.name: b.problems for b in brackets if b.problems}, style="yellow"
        ),
        Line(total, "bold"),
        lines=[*lines, total],
    )


def _measured_exposures(finding: dict[str, Any]) -> tuple[Line, Line]:
    """Exposures of a bracket by its pixels, relative to the first known one, and their origin."""
    first = next((ev for ev in finding["measured_ev"] if ev is not None), 0.0)
    evs = " ".join("?" if ev is None else f"{ev - first:+.2f}" for ev in finding["measured_ev"])
    fit = "" if finding["misfit"] is None else f", codes off it by {finding['misfit']:.1f} of 255"
    response = _named_response(finding)
    local = ", local tone mapping" if finding["local_tone_mapping"] else ""
    return Line(evs, "cyan"), Line(f"pixels; response {response}{local}{fit}", "cyan")


def _named_response(record: Mapping[str, Any]) -> str:
    """Name of a response, and how its camera mixes channels, if it does."""
    from labelgen.core.mixing import describe_response  # it imports NumPy, most commands need not

    return describe_response(record["response"], record.get("mixing"))


def show_summary(summary: Summary, first: str | None = None) -> None:
    """Show the summary of a build, below the line `first`."""
    parts = f" in {summary.parts} parts" if summary.parts > 1 else ""
    size = f"{summary.samples} samples, {summary.bytes / 1e6:.1f} MB{parts}"
    count = f"{summary.used} brackets used, {len(summary.rejected)} rejected"
    if summary.bugs:
        count += f", {len(summary.bugs)} of them by a bug of labelgen: {summary.bug_log}"
    show(
        first,
        Line(f"{summary.path}: {size}", "bold"),
        share_table(summary.branches, "    {:13s} {:>7s}".format),
        Line(count, plain=f"    {count}"),
        reason_table("Rejected", summary.rejected, "    ! {}: {}".format),
        reason_table("Used, but", summary.problems, "    ? {}: {} (used)".format, "yellow"),
    )


def share_table(branches: Mapping[str, int], line: Callable[..., str]) -> Table:
    """Return the table of samples by the branch that made their labels."""
    total = max(sum(branches.values()), 1)
    rows: list[list[Cell]] = [
        [name, str(n), f"{n / total:.1%}", Line("▪" * round(BAR_WIDTH * n / total), "cyan")]
        for name, n in branches.items()
    ]
    heads = "Label", "Samples", "Share", ""
    return Table(heads, rows, no_wrap=(1, 2, 3), right_aligned=(1, 2), line=line)


def reason_table(
    head: str,
    reasons_by_name: Mapping[str, str | Sequence[str]],
    line: Callable[..., str] = "{}: {}".format,
    style: str = "red",
) -> Table | None:
    """Return the table of names with their reasons; None if there are no names."""
    rows: list[list[Cell]] = []
    for name, reasons in reasons_by_name.items():
        texts = (reasons,) if isinstance(reasons, str) else reasons
        rows.append([name, tuple(Line(text, style) for text in texts)])
    return Table((head, ""), rows, line=line) if rows else None


def show_info(
    dataset: Path, info: Mapping[str, Any], responses: Mapping[str, Sequence[str]]
) -> None:
    """Show what `labelgen.dataset.info.info` says, and the responses of cameras as text."""
    tables = {
        "branches": share_table(info["branches"], "    {}: {}".format),
        "rejected": reason_table("Rejected", info["rejected"], "    {}: {}".format),
    }
    plots = list[Block]()
    for camera, plot in responses.items():
        plots += [Line(f"response of {camera}:", "bold"), *plot]
    lines: list[Block | None] = [*plots]
    for key, value in info.items():
        lines += [f"{key}:", tables[key]] if key in tables else [f"{key}: {value}"]
    values = {key: str(value) for key, value in info.items() if key not in tables}
    values["bytes"] += f" ({info['bytes'] / 1e6:.1f} MB)"
    show(Line(str(dataset), "bold"), field_table(values), *tables.values(), *plots, lines=lines)


def field_table(
    values: Mapping[str, str | Line], line: Callable[..., str] = "{}: {}".format
) -> Table:
    """Return the table of values by their names."""
    rows = [[Line(name, "dim"), value or "-"] for name, value in values.items()]
    return Table(("", ""), rows, line=line)


def show_label(out: Path, record: Mapping[str, Any]) -> None:
    """Show the record of a bracket that was labelled into the folder `out`."""
    keys = ["frames", "ev", "response", "trusted", "static", "reference"]
    keys += ["moving", "clipped", "dark"]
    shown = {**record, "response": _named_response(record)}
    values = {key: Line(_readable(shown[key]), plain=str(shown[key])) for key in keys}
    show(
        Line(f"{out}: label.hdr, label.png, weight.png, cues.png, label.json", "bold"),
        field_table(values, "    {:10s} {}".format),
        *(Line(f"! {problem}", "yellow", f"    ! {problem}") for problem in record["problems"]),
    )


def show_labels(out: Path, result: Mapping[str, Any]) -> None:
    """Show what became of the brackets that were labelled into folders in `out`."""
    keys = ["trusted", "static", "reference", "moving", "clipped", "dark"]
    labels, rejected = result["labels"], result["rejected"]
    rows = [(Line(name), [f"{record[key]:.1%}" for key in keys]) for name, record in labels.items()]
    table = _number_table("Bracket", keys, rows)
    count = Line(f"{out}: {len(labels)} brackets labelled, {len(rejected)} rejected", "bold")
    reasons = reason_table("Rejected", rejected, "! {}: {}".format)
    show(table, reasons, count, lines=[_heads(table), table, reasons, count])


def _readable(value: Any) -> str:
    """Value of a record for people: floats as percentages, lists without brackets."""
    if isinstance(value, float):
        return f"{value:.1%}"
    if isinstance(value, list | tuple):
        return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)
    return str(value)


SCORE_COLUMNS = {
    "trusted": "trusted",
    "trusted_moving": "moving",
    "trusted_still": "still",
    "ghost": "ghost",
    "ghost_205": "of 205+",
    "psnr_mu": "psnr-mu",
    "psnr_mu_still": "still dB",
    "psnr_mu_dark": "dark dB",
    "psnr_mu_knowable": "knowable",
}
"""Figures of a score that tables show, and their heads."""


def show_scores(result: Mapping[str, Any]) -> None:
    """Show figures by scene, and how wrong pixels are by weight, from `labelgen.scoring.score`."""
    rows = [(Line(name), figures) for name, figures in result["scenes"].items()]
    rows.append((Line("mean", "bold"), result["mean"]))
    heads = tuple(SCORE_COLUMNS.values())
    figures = _number_table(
        "Scene", heads, [(name, [_figure(f, key) for key in SCORE_COLUMNS]) for name, f in rows]
    )
    bins = [
        (Line(f"{low}-{high}"), [_figure(one, key) for key in ("share", "wrong", "error")])
        for (low, high), one in zip(result["bins"], result["mean"]["reliability"], strict=True)
    ]
    by_weight = _number_table("Weight", ("share", "wrong", "error"), bins)
    note = Line("colours fitted to the truth" if result["fit"] else "colours as they are", "dim")
    skipped = reason_table("Not scored", result["skipped"], "! {}: {}".format)
    lines: list[Block | None] = [_heads(figures), figures, _heads(by_weight), by_weight]
    lines += [note, skipped]
    show(figures, by_weight, note, skipped, lines=lines)


def _number_table(
    head: str, heads: Sequence[str], rows: Sequence[tuple[Line, Sequence[str]]]
) -> Table:
    """Return a table of numbers; its plain lines have columns of equal width."""
    width = max(len(text) for text in (head, *(name.text for name, _ in rows)))

    def line(name: str, *numbers: str) -> str:
        return name.ljust(width) + "".join(number.rjust(10) for number in numbers)

    cells = [[name, *(Line(number, name.style) for number in numbers)] for name, numbers in rows]
    columns = range(1, len(heads) + 1)
    return Table((head, *heads), cells, no_wrap=columns, right_aligned=columns, line=line)


def _heads(table: Table) -> str:
    """Heads of a table as a plain line."""
    return table.line(table.heads[0].lower(), *table.heads[1:])


def _figure(figures: Mapping[str, float | None], key: str) -> str:
    """Format a figure: dB with two digits, shares with four; "-" if it is missing."""
    value = figures[key]
    return "-" if value is None else f"{value:.{2 if key.startswith('psnr') else 4}f}"
