"""Train on several datasets as if they were one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelgen.core.errors import UserError
from trainer.data.dataset import Arrays, PatchDataset


@dataclass(frozen=True)
class MixtureEntry:
    """A dataset and its share of the samples of an epoch."""

    path: Path
    share: float | None = None
    """0 to 1; None takes the whole dataset, see `trainer.data.sampling.epoch_counts`."""


def parse_mixture(text: str) -> MixtureEntry:
    """Parse a dataset of the command line: a path, or ``path:share``.

    Raises
    ------
    UserError
        The share is not between 0 and 1.

    Examples
    --------
    >>> parse_mixture("b.h5:0.3").share
    0.3
    """
    path, _, share = text.rpartition(":")
    if not path or Path(text).exists():
        return MixtureEntry(Path(text))
    try:
        value = float(share)
    except ValueError:
        return MixtureEntry(Path(text))
    if not 0 < value <= 1:
        raise UserError(f"{text}: expected a share of more than 0 and at most 1 after the colon")
    return MixtureEntry(Path(path), value)


class Mixture:
    """Several datasets as one: its rows are their rows, one dataset after the other.

    Parameters
    ----------
    sources : sequence of MixtureEntry
        At least one.

    Raises
    ------
    UserError
        A dataset is unusable, or they differ in the frames, the reference or the patch.

    Attributes
    ----------
    datasets : list of PatchDataset
        In the order of the sources.
    shares : list of float or None
        Shares of the sources.
    frames, reference, patch : int
        Common to all datasets.
    """

    def __init__(self, sources: Sequence[MixtureEntry]) -> None:
        self.shares = [source.share for source in sources]
        with ExitStack() as stack:
            self.datasets = [stack.enter_context(PatchDataset(s.path)) for s in sources]
            for dataset in self.datasets:
                self._check_alike(dataset)
            self._close = stack.pop_all().close
        header = self.datasets[0].header
        self.frames, self.reference, self.patch = header.frames, header.reference, header.patch
        self._depth = max(dataset.depth for dataset in self.datasets)
        self._offsets = np.cumsum([0, *(len(dataset) for dataset in self.datasets)])

    def _check_alike(self, dataset: PatchDataset) -> None:
        """Raise an error if a dataset has other frames or patches than the first one."""
        first = self.datasets[0]
        for name in ("frames", "reference", "patch"):
            expected, value = getattr(first.header, name), getattr(dataset.header, name)
            if value != expected:
                raise UserError(
                    f"{dataset.path}: {name} {value}, but {first.path} has {expected}; "
                    f"train on them apart, or build one again"
                )

    def __len__(self) -> int:
        return int(self._offsets[-1])

    @property
    def fingerprint(self) -> str:
        """Fingerprints and shares of the datasets, which together decide the samples."""
        return "+".join(
            dataset.header.fingerprint + ("" if share is None else f":{share:g}")
            for dataset, share in zip(self.datasets, self.shares, strict=True)
        )

    @property
    def responses(self) -> dict[str, Any]:
        """Responses by camera. The first dataset that has a camera counts."""
        return {
            camera: entry
            for dataset in reversed(self.datasets)
            for camera, entry in dataset.header.responses.items()
        }

    def split_by_dataset(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Split rows in ascending order by dataset."""
        return np.split(rows, np.searchsorted(rows, self._offsets[1:-1]))

    def allocate(self, count: int) -> Arrays:
        """Return arrays for `count` samples."""
        return self.datasets[0].allocate(count, self._depth)

    def read_into(self, rows: NDArray[np.int64], out: Arrays) -> None:
        """Read rows into arrays that `allocate` made."""
        indices = np.searchsorted(self._offsets, rows, "right") - 1
        for k, (index, row) in enumerate(zip(indices, rows - self._offsets[indices], strict=True)):
            sample = {name: values[k : k + 1] for name, values in out.items()}
            self.datasets[index].read_into([row], sample)

    def read(self, rows: NDArray[np.int64]) -> Arrays:
        """Return the samples of some rows, each array with a leading axis."""
        out = self.allocate(len(rows))
        self.read_into(rows, out)
        return out

    def scenes(self) -> NDArray[np.bytes_]:
        """Return the bracket of each row, (N,) bytes, UTF-8."""
        return np.concatenate([dataset.scenes() for dataset in self.datasets])

    def check_unchanged(self) -> None:
        """Raise an error if a file was modified since it was opened."""
        for dataset in self.datasets:
            dataset.check_unchanged()

    def __enter__(self) -> Mixture:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
