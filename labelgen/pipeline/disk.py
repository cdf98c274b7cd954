"""How much room a dataset takes on a disk while it is built."""

from __future__ import annotations

from collections.abc import Mapping

from labelgen.core.recipe import Recipe
from labelgen.dataset.columns import SampleLayout
from labelgen.samples.patches import max_samples


def disk_needed(
    sizes: Mapping[tuple[int, int], int], recipe: Recipe, layout: SampleLayout, part_bytes: int
) -> tuple[int, int]:
    """Return the bytes that a dataset may take at most, and those needed while it is joined.

    While it is joined, shards and one part stand side by side. `sizes` counts the brackets by the
    height and width of their frames.
    """
    samples = sum(
        count * max_samples(size, layout.patch, recipe.patches) for size, count in sizes.items()
    )
    expected = samples * layout.sample_bytes
    return expected, expected + min(expected, part_bytes)
