"""Several datasets, trained on as one."""

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
    """A dataset, and its share of the samples that are trained on; None is what others leave."""

    path: Path
    share: float | None = None


def parse_mixture(text: str) -> MixtureEntry:
    """A dataset as the command line names it: a path, or ``path:share``.

    Raises
    ------
    UserError
        The share is not between 0 and 1.
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
    """Several datasets as one, whose rows are those of all of them, one after the other.

    Parameters
    ----------
    sources : sequence of Source
        At least one.

    Raises
    ------
    UserError
        One is unusable, or they differ in the frames, the reference or the patch.

    Attributes
    ----------
    datasets : list of PatchDataset
        Those of the sources.
    frames, reference, patch : int
        What they have in common.
    """

    def __init__(self, sources: Sequence[MixtureEntry]) -> None:
        self.shares = [source.share for source in sources]
        with ExitStack() as stack:
            self.datasets = [stack.enter_context(PatchDataset(s.path)) for s in sources]
            heads = [dataset.header for dataset in self.datasets]
            for dataset, head in zip(self.datasets, heads, strict=True):
                for what in ("frames", "reference", "patch"):
                    one, other = getattr(heads[0], what), getattr(head, what)
                    if one != other:
                        raise UserError(
                            f"{dataset.path}: {what} {other}, but {self.datasets[0].path} has "
                            f"{one}; train on them apart, or build one again"
                        )
            self._close = stack.pop_all().close
        self.frames, self.reference, self.patch = (
            heads[0].frames,
            heads[0].reference,
            heads[0].patch,
        )
        self._depth = max(dataset.depth for dataset in self.datasets)
        self._first = np.cumsum([0, *(len(dataset) for dataset in self.datasets)])

    def __len__(self) -> int:
        return int(self._first[-1])

    @property
    def fingerprint(self) -> str:
        """What decides the samples: the fingerprints of the datasets, and their shares."""
        return "+".join(
            dataset.header.fingerprint + ("" if share is None else f":{share:g}")
            for dataset, share in zip(self.datasets, self.shares, strict=True)
        )

    @property
    def responses(self) -> dict[str, Any]:
        """What the datasets know of cameras; of the first that knows one."""
        return {
            camera: entry
            for dataset in reversed(self.datasets)
            for camera, entry in dataset.header.responses.items()
        }

    def groups(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Some rows, in ascending order, by the dataset they are of."""
        return np.split(rows, np.searchsorted(rows, self._first[1:-1]))

    def empty(self, count: int) -> Arrays:
        """Arrays for `fill`."""
        return self.datasets[0].empty(count, self._depth)

    def fill(self, rows: NDArray[np.int64], out: Arrays) -> None:
        """Read some rows into arrays as `empty` makes them."""
        which = np.searchsorted(self._first, rows, "right") - 1
        for k, (part, row) in enumerate(zip(which, rows - self._first[which], strict=True)):
            one = {name: values[k : k + 1] for name, values in out.items()}
            self.datasets[part].fill([row], one)

    def batch(self, rows: NDArray[np.int64]) -> Arrays:
        """Some rows, each array with a leading axis."""
        out = self.empty(len(rows))
        self.fill(rows, out)
        return out

    def scenes(self) -> NDArray[np.bytes_]:
        """The bracket that each row came from, (N,) bytes, UTF-8."""
        return np.concatenate([dataset.scenes() for dataset in self.datasets])

    def check_unchanged(self) -> None:
        """Refuse to go on with files that were written to since they were opened."""
        for dataset in self.datasets:
            dataset.check_unchanged()

    def __enter__(self) -> Mixture:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
