"""Views of metrics: each result is described once (see `labelgen.cli.tables`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelgen.cli.show import show
from labelgen.cli.tables import Cell, Line, Table
from trainer.evaluation.evaluate import gains


def show_scenes(result: Mapping[str, Any]) -> None:
    """Show the metrics of one run by scene, from `trainer.evaluation.evaluate.evaluate`."""
    rows = [(Line(name), metrics) for name, metrics in result["scenes"].items()]
    rows += [(Line("mean", "bold"), result["mean"]), (Line("spread", "dim"), result["spread"])]
    _show(_metric_table("Scene", list(result["mean"]), rows), settings=result)


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

    def line(run: str, metric: str, mean: str, spread: str, better: str) -> str:
        return f"{run} - {first}: {metric} {mean}, spread {spread}, better in {better} scenes"

    heads = f"Gain over {first}", "", "Mean", "Spread", "Better in"
    gained = Table(heads, rows, no_wrap=(1, 2, 3, 4), right_aligned=(2, 3, 4), line=line)
    table = _metric_table("Run", list(results[first]["mean"]), means)
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


def _metric_table(
    head: str, names: Sequence[str], rows: Sequence[tuple[Line, Mapping[str, float]]]
) -> Table:
    """Return the table of metrics; its plain lines have columns as wide as the names."""
    width = max(len(text) for text in [head, *(first.text for first, _ in rows)])

    def line(first: str, *values: str) -> str:
        columns = zip(values, names, strict=True)
        return first.ljust(width) + "".join(v.rjust(len(name) + 2) for v, name in columns)

    cells = [[first, *(Line(_value(n, m), first.style) for n in names)] for first, m in rows]
    numbers = range(1, len(names) + 1)
    return Table((head, *names), cells, no_wrap=numbers, right_aligned=numbers, line=line)


def _value(name: str, metrics: Mapping[str, float]) -> str:
    """Format a metric; "-" if it is missing."""
    digits = 2 if name.startswith("psnr") else 4
    return f"{metrics[name]:.{digits}f}" if name in metrics else "-"


def _show(table: Table, *more: Table, settings: Mapping[str, Any]) -> None:
    """Show tables above the settings of an evaluation. Plain lines keep the heads of the first."""
    crop = settings["crop"]
    cropped = f"{crop} px cropped on all sides" if crop else "nothing cropped"
    note = f"{cropped}; PU21 with 1.0 shown at {settings['peak_nits']:g} cd/m2"
    name, *metrics = table.heads
    heads = table.line(name.lower(), *metrics)
    show(table, *more, Line(note, "dim"), lines=[heads, table, *more, note])
