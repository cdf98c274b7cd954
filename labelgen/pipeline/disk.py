"""How much room a dataset takes on a disk while it is built."""

from __future__ import annotations

from collections.abc import Sequence

from labelgen.core.recipe import Recipe
from labelgen.dataset.columns import SampleLayout
from labelgen.samples.patches import max_samples


def disk_needed(
    sizes: Sequence[tuple[int, int]], recipe: Recipe, layout: SampleLayout, part_bytes: int
) -> tuple[int, int]:
    """Bytes that a dataset may take at most, and while shards and a part stand side by side."""
    samples = sum(max_samples(size, layout.patch, recipe.patches) for size in sizes)
    expected = samples * layout.sample_bytes
    return expected, expected + min(expected, part_bytes)
