"""A small piece of a dataset that shows what is in all of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from labelgen.core.arrays import Array
from labelgen.core.errors import UserError
from labelgen.core.progress import Progress
from labelgen.dataset.reader import Dataset
from labelgen.share.derive import check_target, write_selection
from labelgen.share.pack import WHOLE
from labelgen.share.rows import OpenDataset

EMPTY, OF_A_SAMPLE = 60_000, 300
"""Bytes of a file that are neither samples nor attributes, and of its index for each sample."""
GOLDEN = (5**0.5 - 1) / 2


def sample(
    path: Path,
    out: Path,
    *,
    megabytes: float = 1.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> int:
    """Write as many samples of a dataset as fit a small file, spread over all that is in it.

    Branches take turns, and each is spread evenly over the brackets. Samples that are stored as
    they are get compressed (gzip).

    Parameters
    ----------
    path : Path
        Dataset file or index.
    out : Path
        The dataset to write.
    megabytes : float
        What the file has at most, in 1e6 bytes.
    overwrite : bool
        Replace a dataset that is there.
    progress : Progress, optional
        Told what happens.

    Returns
    -------
    int
        How many samples it has.

    Raises
    ------
    UserError
        Not even one sample fits; `out` is there already.
    """
    if not megabytes > 0:
        raise UserError(f"--megabytes is {megabytes}, expected more than 0")
    with Dataset(path) as data:
        check_target(out, [data], overwrite)
        source = OpenDataset.of(data)
        stored = source.layout.compress
        layout = replace(source.layout, compress="gzip" if stored == "none" else stored)
        header = data.header
        texts = header.recipe, header.responses, header.options, header.derived
        left = megabytes * 1e6 - EMPTY - 2 * sum(len(json.dumps(text)) for text in texts)
        rows, scenes = list[int](), set[str]()
        for row in round_robin(source.columns["branch"]):
            [one] = source.runs(np.array([row]), layout)
            size = OF_A_SAMPLE + sum(len(c) for s in one.chunks() for _, c in s.values())
            if one.scene not in scenes:
                size += len(json.dumps(header.scenes.get(one.scene)))
            if size > left:
                break
            left -= size
            rows.append(row)
            scenes.add(one.scene)
        if not rows:
            raise UserError(f"{path}: no sample fits {megabytes} MB; give more --megabytes")
        kept = source.runs(np.sort(rows), layout)
        how = {"part_bytes": WHOLE, "overwrite": overwrite, "progress": progress}
        write_selection(kept, out, "sample", {"megabytes": megabytes}, **how)
        return len(rows)


def round_robin(branches: Array) -> Iterator[int]:
    """All rows, those of each branch in turn, so that the first few are spread over the dataset.

    Parameters
    ----------
    branches : (N,) uint8
        The branch of each row.
    """
    spread = [_evenly_spaced(np.flatnonzero(branches == b)) for b in np.unique(branches)]
    while spread:
        for rows in list(spread):
            row = next(rows, None)
            if row is None:
                spread.remove(rows)
            else:
                yield row


def _evenly_spaced(rows: Array) -> Iterator[int]:
    """Rows in an order of which every beginning is spread evenly: by the golden ratio."""
    left, at = dict.fromkeys(range(len(rows))), 0.5
    for _ in range(len(rows)):
        at = (at + GOLDEN) % 1
        # The first few never meet; later ones take whatever is left.
        k = int(at * len(rows))
        if k not in left:
            k = next(iter(left))
        del left[k]
        yield int(rows[k])
