"""Write a small sample of a dataset that represents all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.errors import UserError
from labelgen.core.progress import Progress, Silent
from labelgen.dataset.columns import SampleLayout
from labelgen.dataset.reader import Dataset
from labelgen.share.derive import UNLIMITED, WriteOptions, check_target, write_selection
from labelgen.share.rows import OpenDataset

FILE_OVERHEAD, SAMPLE_OVERHEAD = 60_000, 300
"""Bytes of a file without samples and attributes, and of its chunk index and columns a sample."""
GOLDEN_RATIO = (5**0.5 - 1) / 2


def sample(
    path: Path,
    out: Path,
    *,
    megabytes: float = 1.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write as many samples of a dataset as fit a small file, spread over the whole dataset.

    Branches take turns, and the samples of each are spread over its brackets. Samples that are not
    compressed are compressed by gzip.

    Parameters
    ----------
    path : Path
        Dataset file or index.
    out : Path
        The dataset to write.
    megabytes : float
        Largest size of the file, in 1e6 bytes.
    overwrite : bool
        Replace an existing dataset.
    progress : Progress, optional
        Reports the file that is written.

    Returns
    -------
    int
        Number of samples.

    Raises
    ------
    UserError
        Not even one sample fits, or `out` exists.
    """
    if not megabytes > 0:
        raise UserError(f"--megabytes is {megabytes}, expected more than 0")
    with Dataset(path) as data:
        check_target(out, [data], overwrite)
        source = OpenDataset.of(data)
        compress = source.layout.compress
        layout = replace(source.layout, compress="gzip" if compress == "none" else compress)
        rows = _rows_that_fit(source, layout, megabytes * 1e6)
        if not rows:
            raise UserError(f"{path}: no sample fits {megabytes} MB; give more --megabytes")
        selection = source.select(np.sort(rows), layout)
        options = WriteOptions(UNLIMITED, overwrite, progress or Silent())
        write_selection(selection, out, "sample", {"megabytes": megabytes}, options)
        return len(rows)


def _rows_that_fit(source: OpenDataset, layout: SampleLayout, max_bytes: float) -> list[int]:
    """Return the first rows of `round_robin` that fit a file with the records of their brackets."""
    header = source.data.header
    attributes = header.recipe, header.responses, header.options, header.derived
    # The attribute `derived` holds them once more.
    free = max_bytes - FILE_OVERHEAD - 2 * sum(len(json.dumps(a)) for a in attributes)
    rows, scenes = list[int](), set[str]()
    for row in round_robin(source.columns["branch"]):
        [selected] = source.select(np.array([row]), layout)
        [chunks] = selected.chunks()
        size = SAMPLE_OVERHEAD + sum(len(data) for _, data in chunks.values())
        if selected.scene not in scenes:
            size += len(json.dumps(header.scenes.get(selected.scene)))
        if size > free:
            break
        free -= size
        rows.append(row)
        scenes.add(selected.scene)
    return rows


def round_robin(branches: Array) -> Iterator[int]:
    """Yield all rows; branches take turns, and the first rows of each are spread over the dataset.

    Parameters
    ----------
    branches : (N,) uint8
        The column `branch`.
    """
    queues = [_golden_ratio_order(np.flatnonzero(branches == b)) for b in np.unique(branches)]
    while queues:
        for queue in list(queues):
            row = next(queue, None)
            if row is None:
                queues.remove(queue)
            else:
                yield row


def _golden_ratio_order(rows: Array) -> Iterator[int]:
    """Yield rows in steps of the golden ratio of their number, so that any first few are spread.

    Steps that meet a row a second time, which happens late, take the first row that remains.
    """
    remaining, position = dict.fromkeys(range(len(rows))), 0.5
    for _ in range(len(rows)):
        position = (position + GOLDEN_RATIO) % 1
        k = int(position * len(rows))
        if k not in remaining:
            k = next(iter(remaining))
        del remaining[k]
        yield int(rows[k])
