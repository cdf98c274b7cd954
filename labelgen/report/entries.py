"""What a dataset notes of its brackets, and which rows are theirs: all without reading a sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labelgen.core.arrays import Array
from labelgen.core.validation import expect_integer, expect_number, expect_object, expect_text
from labelgen.dataset.reader import Dataset, scene_runs

SHARES = ("trusted", "static", "reference", "moving", "clipped", "dark")
"""Figures of a label that are shares of the frame (`labelgen.labels.label.Label.figures`)."""


@dataclass(frozen=True)
class BracketRecord:
    """One bracket as the attribute `scenes` has it; `rejected` is the reason, or empty.

    `files`, `ev`, `stated` and `origins` are of the frames used, shortest first; `size` is height
    and width in px; `noise` is full well and read noise in electrons; `shares` are those of
    `SHARES` that are noted, 0 to 1; `alignment` is the mean shift of each frame in px; `moving` the
    sizes of the median and of the largest thing that moves, in px.
    """

    name: str
    rejected: str = ""
    files: tuple[str, ...] = ()
    ev: tuple[float, ...] = ()
    stated: tuple[float, ...] = ()
    origins: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    camera: str = ""
    response: str = ""
    misfit: float | None = None
    noise: tuple[float, float] | None = None
    shares: dict[str, float] = field(default_factory=dict)
    alignment: tuple[float, ...] = ()
    moving: tuple[float, ...] = ()
    problems: tuple[str, ...] = ()

    @staticmethod
    def of(name: str, table: dict[str, Any]) -> BracketRecord:
        """From JSON; raises TypeError, KeyError or ValueError for what is not of its form."""
        frames = [expect_object(frame) for frame in table.get("frames", ())]
        noise, misfit = table.get("noise"), table.get("misfit")
        figures = expect_object(table.get("label", {}))
        size = tuple(expect_integer(n, 1, 2**20) for n in table.get("size", ()))
        return BracketRecord(
            name,
            expect_text(table.get("rejected", "")),
            tuple(expect_text(frame["file"]) for frame in frames),
            tuple(expect_number(frame["ev"]) for frame in frames),
            tuple(expect_number(frame.get("stated", frame["ev"])) for frame in frames),
            tuple(expect_text(frame.get("origin", "")) for frame in frames),
            (size[0], size[1]) if len(size) == 2 else None,
            expect_text(table.get("camera", "")),
            expect_text(table.get("response", "")),
            None if misfit is None else expect_number(misfit),
            (expect_number(noise["full_well"]), expect_number(noise["read"])) if noise else None,
            {key: expect_number(figures[key]) for key in SHARES if key in figures},
            tuple(expect_number(px) for px in figures.get("alignment_px", ())),
            tuple(expect_number(px) for px in figures.get("moving_px", ())),
            tuple(expect_text(problem) for problem in table.get("problems", ())),
        )


@dataclass(frozen=True)
class SampleColumns:
    """Rows of a dataset: of each bracket the first and the one after the last, and the columns.

    `origin` is (N, 2) int32, `branch` (N,) uint8, `variant` (N,) uint16.
    """

    brackets: dict[str, tuple[int, int]]
    origin: Array
    branch: Array
    variant: Array

    @staticmethod
    def of(data: Dataset) -> SampleColumns:
        """From the columns of a dataset, where the rows of a bracket lie together."""
        brackets: dict[str, tuple[int, int]] = {}
        for name, first, end in scene_runs(data.column("scene")):
            brackets.setdefault(name, (first, end))
        columns = (data.column(name) for name in ("origin", "branch", "variant"))
        return SampleColumns(brackets, *columns)
