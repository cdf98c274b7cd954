"""How figures look: each as plain lines and as what is drawn on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from labelgen.cli.show import show
from labelgen.cli.tables import Cell, Line, Table
from trainer.evaluation.evaluate import as_comparison, as_table, figure, gains, how


def show_scenes(result: dict[str, Any]) -> None:
    """The figures of `trainer.evaluation.evaluate.evaluate`, scene by scene."""
    names = list(result["mean"])
    rows = [[scene, *_figures(names, row)] for scene, row in result["scenes"].items()]
    rows.append([Line("mean", "bold"), *_figures(names, result["mean"], "bold")])
    rows.append([Line("spread", "dim"), *_figures(names, result["spread"], "dim")])
    _show(as_table(result), _table("Scene", names, rows), result)


def show_comparison(results: dict[str, dict[str, Any]]) -> None:
    """The means of `compare`, and how far each run is from the first."""
    first = next(iter(results))
    names = list(results[first]["mean"])
    means = [[run, *_figures(names, result["mean"])] for run, result in results.items()]
    rows: list[list[Cell]] = []
    for gain in gains(results):
        colour = "green" if gain.mean > 0 else "red" if gain.mean < 0 else ""
        rows.append(
            [
                gain.run,
                gain.name,
                Line(f"{gain.mean:+.4g}", colour),
                f"{gain.spread:.3g}",
                f"{gain.better} of {gain.scenes}",
            ]
        )
    heads = (f"Gain over {first}", "", "Mean", "Spread", "Better in")
    apart = Table(heads, rows, whole=(1, 2, 3, 4), right=(2, 3, 4))
    _show(as_comparison(results), _table("Run", names, means), results[first], apart)


def show_rates(found: Mapping[str, Any]) -> None:
    """What `trainer.training.bench.bench` measured."""
    how_fast = {
        "loader": f"{found['loader']:.1f} samples/s",
        "model": f"{found['model']:.1f} samples/s, forward and backward on {found['device']}",
    }
    bound = f"The {found['bound']} bounds."
    rows = [[name, text] for name, text in how_fast.items()]
    show(
        [*(f"{name:6s} {text}" for name, text in how_fast.items()), bound],
        Table(("", ""), rows, whole=(0,)),
        Line(bound, "bold"),
    )


def _figures(names: Sequence[str], row: Mapping[str, float], style: str = "") -> list[Cell]:
    return [Line(figure(name, row), style) for name in names]


def _table(head: str, names: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    numbers = range(1, len(names) + 1)
    return Table((head, *names), rows, whole=numbers, right=numbers)


def _show(text: str, table: Table, result: dict[str, Any], more: Table | None = None) -> None:
    show(text.split("\n"), table, more, Line(how(result), "dim"))
