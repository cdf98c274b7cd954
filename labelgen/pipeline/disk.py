"""Estimate the room that a dataset takes on the disk while it is built."""

from __future__ import annotations

from collections.abc import Mapping

from labelgen.core.recipe import Recipe
from labelgen.dataset.columns import SampleLayout
from labelgen.samples.patches import max_samples


def disk_needed(
    sizes: Mapping[tuple[int, int], int],
    recipe: Recipe,
    layout: SampleLayout,
    joined_at_once: int,
) -> tuple[int, int]:
    """Return the most bytes that a dataset may take, and that building it may take.

    Parameters
    ----------
    sizes : mapping of (int, int) to int
        Number of brackets by height and width of their frames.
    recipe : Recipe
        Its patches limit the samples per bracket.
    layout : SampleLayout
        Of all samples.
    joined_at_once : int
        Bytes of samples that are both in shards and in a part before the shards are removed.
    """
    samples = sum(
        count * max_samples(size, layout.patch, recipe.patches) for size, count in sizes.items()
    )
    expected = samples * layout.sample_bytes
    return expected, expected + min(expected, joined_at_once)
