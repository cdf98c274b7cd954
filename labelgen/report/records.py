"""Records of brackets, and columns by bracket: what a page needs besides images."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from labelgen.core.arrays import Array
from labelgen.core.mixing import describe_response
from labelgen.core.validation import expect_integer, expect_number, expect_object, expect_text
from labelgen.dataset.reader import Dataset, scene_runs

SHARES = ("trusted", "static", "reference", "moving", "clipped", "dark")
"""Statistics of a label that are shares of its pixels (`labelgen.labels.label.Label.figures`)."""


@dataclass(frozen=True)
class BracketRecord:
    """One bracket of the attribute `scenes`. Tuples by frame have the shortest frame first."""

    name: str
    rejected: str = ""
    """The reason; empty if it was used."""
    files: tuple[str, ...] = ()
    """File names of its frames."""
    ev: tuple[float, ...] = ()
    """Exposures of its frames, in stops relative to the shortest."""
    stated: tuple[float, ...] = ()
    """Exposures that metadata or a list stated, in stops."""
    origins: tuple[str, ...] = ()
    """Where each stated exposure comes from."""
    size: tuple[int, int] | None = None
    """Height and width (px)."""
    camera: str = ""
    response: str = ""
    """Its name, and how the camera mixes channels, if it does."""
    misfit: float | None = None
    """Misfit of the response, in codes of 255."""
    noise: tuple[float, float] | None = None
    """Full well and read noise, in electrons."""
    shares: dict[str, float] = field(default_factory=dict)
    """Recorded statistics among `SHARES`, 0 to 1."""
    alignment: tuple[float, ...] = ()
    """Mean displacement of each frame (px)."""
    moving: tuple[float, ...] = ()
    """Sizes of the median and the largest moving region (px)."""
    problems: tuple[str, ...] = ()

    @staticmethod
    def of(name: str, record: dict[str, Any]) -> BracketRecord:
        """Parse JSON; raises TypeError, KeyError or ValueError if it is not of its form."""
        frames = [expect_object(frame) for frame in record.get("frames", ())]
        noise, misfit = record.get("noise"), record.get("misfit")
        figures = expect_object(record.get("label", {}))
        size = tuple(expect_integer(n, 1, 2**20) for n in record.get("size", ()))
        return BracketRecord(
            name,
            expect_text(record.get("rejected", "")),
            tuple(expect_text(frame["file"]) for frame in frames),
            tuple(expect_number(frame["ev"]) for frame in frames),
            tuple(expect_number(frame.get("stated", frame["ev"])) for frame in frames),
            tuple(expect_text(frame.get("origin", "")) for frame in frames),
            (size[0], size[1]) if len(size) == 2 else None,
            expect_text(record.get("camera", "")),
            describe_response(expect_text(record.get("response", "")), record.get("mixing")),
            None if misfit is None else expect_number(misfit),
            (expect_number(noise["full_well"]), expect_number(noise["read"])) if noise else None,
            {key: expect_number(figures[key]) for key in SHARES if key in figures},
            tuple(expect_number(px) for px in figures.get("alignment_px", ())),
            tuple(expect_number(px) for px in figures.get("moving_px", ())),
            tuple(expect_text(problem) for problem in record.get("problems", ())),
        )


@dataclass(frozen=True)
class SampleColumns:
    """Small columns of a dataset, and the rows of each bracket."""

    brackets: dict[str, tuple[int, int]]
    """First row, and row after the last, by the name of the bracket."""
    origin: Array
    """Upper left pixels (N, 2) int32."""
    branch: Array
    """Indices into `BRANCHES` (N,) uint8."""
    variant: Array
    """Numbers within a patch (N,) uint16."""

    @staticmethod
    def of(data: Dataset) -> SampleColumns:
        """Read the columns of a dataset, in which the rows of a bracket are adjacent."""
        brackets: dict[str, tuple[int, int]] = {}
        for name, first, end in scene_runs(data.column("scene")):
            brackets.setdefault(name, (first, end))
        columns = (data.column(name) for name in ("origin", "branch", "variant"))
        return SampleColumns(brackets, *columns)
