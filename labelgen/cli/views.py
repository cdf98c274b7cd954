"""How results look: each as plain lines and as what is drawn on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelgen.cli.show import show
from labelgen.cli.tables import Cell, Line, Table

if TYPE_CHECKING:
    from labelgen.core.bracket import Bracket
    from labelgen.pipeline.build import Summary

BAR = 30
"""Columns of the bar of everything."""


def show_brackets(
    brackets: Sequence[Bracket], findings: Sequence[dict[str, Any]], frames: int
) -> None:
    """What a scan found, and what the pixels said if they were asked."""
    measured = {b.name: _measured(f) for b, f in zip(brackets, findings, strict=False)}
    lines, rows = list[str](), list[list[Cell]]()
    for b in brackets:
        if len(b.frames) < 2:
            lines.append(f"{b.name}: ! {'; '.join(b.problems)}")
            continue
        size = f"{b.size[1]}x{b.size[0]}" if b.size else "-"
        evs = " ".join(f"{ev:+.2f}" for ev in b.evs)
        origins = ", ".join(dict.fromkeys(f.origin for f in b.frames if f.origin))
        lines.append(f"{b.name}: {len(b.frames)} x {size}{f', {b.camera}' if b.camera else ''}")
        lines.append(f"    EV {evs or 'unknown'} ({origins or '-'})")
        seen = measured.get(b.name)
        if seen:
            lines.append(f"    EV {seen[0]} (pixels; {seen[1]})")
        masked = f"masked by {', '.join(m.name for m in b.masks)}" if b.masks else ""
        lines += [f"    {masked}"] if masked else []
        lines += [f"    ! {problem}" for problem in b.problems]
        below = (b.camera, "dim"), (masked, "magenta")
        about = [Line(text, style) for text, style in below if text]
        name: Cell = (b.name, *about) if about else b.name
        stated = evs or Line("unknown", "yellow")
        rows.append(
            [
                name,
                str(len(b.frames)),
                size,
                (stated, Line(seen[0], "cyan")) if seen else stated,
                (origins or "-", Line(f"pixels; {seen[1]}", "cyan")) if seen else origins or "-",
            ]
        )
    usable = sum(len(b.evs) >= frames for b in brackets)
    whole = sum(len(b.frames) > 1 for b in brackets)
    left = f", {len(brackets) - whole} single or unusable" if whole < len(brackets) else ""
    last = f"{whole} brackets, {usable} with exposures for {frames} frames or more{left}"
    show(
        [*lines, last],
        Table(("Bracket", "Frames", "Size", "EV", "From"), rows, whole=(1, 2), right=(1, 2))
        if rows
        else None,
        reasons("Problems", {b.name: b.problems for b in brackets if b.problems}, "yellow"),
        Line(last, "bold"),
    )


def _measured(finding: dict[str, Any]) -> tuple[str, str] | None:
    """What the pixels said of a bracket, for people: exposures, and the response."""
    if not finding["response"]:
        return None
    known = [ev for ev in finding["measured_ev"] if ev is not None]
    evs = " ".join("?" if ev is None else f"{ev - known[0]:+.2f}" for ev in finding["measured_ev"])
    fit = "" if finding["misfit"] is None else f", codes off it by {finding['misfit']:.1f} of 255"
    return evs, f"response {finding['response']}{fit}"


def show_summary(summary: Summary, first: str = "") -> None:
    """What a build made, after the line `first`."""
    parts = f" in {summary.parts} parts" if summary.parts > 1 else ""
    head = f"{summary.path}: {summary.samples} samples, {summary.bytes / 1e6:.1f} MB{parts}"
    count = f"{summary.used} brackets used, {len(summary.rejected)} rejected"
    remarks = {name: tuple(problems) for name, problems in summary.problems.items()}
    lines = [first] if first else []
    lines += [head, *(f"    {branch:13s} {n:7d}" for branch, n in summary.branches.items())]
    lines.append(f"    {count}")
    lines += [f"    ! {name}: {reason}" for name, reason in summary.rejected.items()]
    lines += [f"    ? {name}: {p} (used)" for name, problems in remarks.items() for p in problems]
    show(
        lines,
        Line(first) if first else None,
        Line(head, "bold"),
        branch_shares(summary.branches),
        Line(count),
        reasons("Rejected", summary.rejected),
        reasons("Used, but", remarks, "yellow"),
    )


def branch_shares(branches: Mapping[str, int]) -> Table:
    """Samples by how their labels were made."""
    everything = max(sum(branches.values()), 1)
    rows: list[list[Cell]] = [
        [name, str(n), f"{n / everything:.1%}", Line("▪" * round(BAR * n / everything), "cyan")]
        for name, n in branches.items()
    ]
    return Table(("Label", "Samples", "Share", ""), rows, whole=(1, 2, 3), right=(1, 2))


def reasons(
    head: str, why: Mapping[str, str | tuple[str, ...]], style: str = "red"
) -> Table | None:
    """Names and one reason or several for each; None where there is none."""
    rows: list[list[Cell]] = []
    for name, said in why.items():
        texts = (said,) if isinstance(said, str) else said
        rows.append([name, tuple(Line(text, style) for text in texts)])
    return Table((head, ""), rows) if rows else None


def show_inside(
    dataset: Path, table: Mapping[str, Any], responses: Mapping[str, Sequence[str]]
) -> None:
    """What is inside a dataset; what is known of responses as lines of text, by camera."""
    lines = [line for camera, said in responses.items() for line in (_of(camera), *said)]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [f"{key}:", *(f"    {name}: {entry}" for name, entry in value.items())]
        else:
            lines.append(f"{key}: {value}")
    single = {k: str(v) for k, v in table.items() if not isinstance(v, dict)}
    single["bytes"] += f" ({table['bytes'] / 1e6:.1f} MB)"
    plots = [
        Line(text, style)
        for camera, said in responses.items()
        for text, style in [(_of(camera), "bold"), *((line, "") for line in said)]
    ]
    show(
        lines,
        Line(str(dataset), "bold"),
        fields(single),
        branch_shares(table["branches"]),
        reasons("Rejected", table["rejected"]),
        *plots,
    )


def _of(camera: str) -> str:
    return f"response of {camera}:"


def fields(values: Mapping[str, str]) -> Table:
    """Names and what belongs to them."""
    return Table(("", ""), [[Line(name, "dim"), value or "-"] for name, value in values.items()])


def show_label(out: Path, record: Mapping[str, Any]) -> None:
    """What is known of a bracket that was labelled."""
    head = f"{out}: label.hdr, label.png, weight.png, cues.png, label.json"
    keys = ["frames", "ev", "response", "trusted", "static", "reference"]
    keys += ["moving", "clipped", "dark"]
    problems = [f"! {problem}" for problem in record["problems"]]
    show(
        [
            head,
            *(f"    {key:10s} {record[key]}" for key in keys),
            *(f"    {problem}" for problem in problems),
        ],
        Line(head, "bold"),
        fields({key: _said(record[key]) for key in keys}),
        *(Line(problem, "yellow") for problem in problems),
    )


def _said(value: Any) -> str:
    """A value of a record for people: shares as per cent, lists without brackets."""
    if isinstance(value, float):
        return f"{value:.1%}"
    if isinstance(value, list | tuple):
        return ", ".join(f"{v:g}" if isinstance(v, float) else str(v) for v in value)
    return str(value)
