"""How figures look, each result described once (see `labelgen.cli.tables`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelgen.cli.show import show
from labelgen.cli.tables import Cell, Line, Table
from trainer.evaluation.evaluate import gains


def show_scenes(result: Mapping[str, Any]) -> None:
    """Show the figures of one run, as `trainer.evaluation.evaluate.evaluate` returns them."""
    rows = [(Line(name), figures) for name, figures in result["scenes"].items()]
    rows += [(Line("mean", "bold"), result["mean"]), (Line("spread", "dim"), result["spread"])]
    _show(_figure_table("Scene", list(result["mean"]), rows), settings=result)


def show_comparison(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Show the means of several runs, and what each gains over the first."""
    means = [(Line(run), result["mean"]) for run, result in results.items()]
    first = next(iter(results))
    rows: list[list[Cell]] = []
    for gain in gains(results):
        colour = "green" if gain.mean > 0 else "red" if gain.mean < 0 else ""
        mean = Line(f"{gain.mean:+.4g}", colour)
        better = f"{gain.better} of {gain.scenes}"
        rows.append([gain.run, gain.metric, mean, f"{gain.spread:.3g}", better])

    def line(run: str, name: str, mean: str, spread: str, better: str) -> str:
        return f"{run} - {first}: {name} {mean}, spread {spread}, better in {better} scenes"

    heads = f"Gain over {first}", "", "Mean", "Spread", "Better in"
    gained = Table(heads, rows, no_wrap=(1, 2, 3, 4), right_aligned=(2, 3, 4), line=line)
    table = _figure_table("Run", list(results[first]["mean"]), means)
    _show(table, gained, settings=results[first])


def show_rates(rates: Mapping[str, Any]) -> None:
    """Show the rates that `trainer.training.bench.bench` measured."""
    rows = [
        ("loader", f"{rates['loader']:.1f} samples/s"),
        ("model", f"{rates['model']:.1f} samples/s, forward and backward on {rates['device']}"),
    ]
    show(
        Table(("", ""), rows, no_wrap=(0,), line="{:6s} {}".format),
        Line(f"The {rates['bound']} bounds.", "bold"),
    )


def _figure_table(
    head: str, names: Sequence[str], rows: Sequence[tuple[Line, Mapping[str, float]]]
) -> Table:
    """Return the table of figures under their names; so are its plain lines."""
    width = max(len(text) for text in [head, *(first.text for first, _ in rows)])

    def line(first: str, *figures: str) -> str:
        columns = zip(figures, names, strict=True)
        return first.ljust(width) + "".join(f.rjust(len(name) + 2) for f, name in columns)

    cells = [[first, *(Line(_figure(n, f), first.style) for n in names)] for first, f in rows]
    numbers = range(1, len(names) + 1)
    return Table((head, *names), cells, no_wrap=numbers, right_aligned=numbers, line=line)


def _figure(name: str, figures: Mapping[str, float]) -> str:
    """Figure of a row for people; "-" if the row lacks it."""
    digits = 2 if name.startswith("psnr") else 4
    return f"{figures[name]:.{digits}f}" if name in figures else "-"


def _show(figures: Table, *more: Table, settings: Mapping[str, Any]) -> None:
    """Show tables, the settings of the figures below them; plain lines keep the first's heads."""
    crop = settings["crop"]
    cropped = f"{crop} px cropped on all sides" if crop else "nothing cropped"
    note = f"{cropped}; PU21 with 1.0 shown at {settings['peak_nits']:g} cd/m2"
    name, *others = figures.heads
    heads = figures.line(name.lower(), *others)
    show(figures, *more, Line(note, "dim"), lines=[heads, figures, *more, note])
