"""Choose the samples of a step: a pure function of the seed and the step.

The choice depends neither on the number of processes nor on prefetching. A run that was killed and
resumed takes the same samples as one that was not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelgen.core.errors import UserError

RowIndices = NDArray[np.int64]

# Each kind of draw has a random stream of its own.
SHUFFLE, SYMMETRY, SUBSET, NETWORK = 0, 1, 2, 3


class Order:
    """The order of rows over all epochs. A batch may cross from one epoch to the next.

    Parameters
    ----------
    groups : sequence of (N_k,) int64
        Rows of each dataset that are trained on.
    shares : sequence of float or None
        Share of each dataset in the samples of an epoch, see `epoch_counts`.
    seed : int
        Seed of the shuffles.

    Raises
    ------
    UserError
        A group is empty, or the shares add up to a wrong sum.

    Examples
    --------
    >>> order = Order([np.arange(4)], [None], seed=1)
    >>> sorted(int(row) for step in (0, 1) for row in order.rows(step, 2))
    [0, 1, 2, 3]
    """

    def __init__(
        self, groups: Sequence[RowIndices], shares: Sequence[float | None], seed: int
    ) -> None:
        self.counts = epoch_counts([len(rows) for rows in groups], shares)
        self._groups, self._seed = list(groups), seed
        self._epochs: dict[int, RowIndices] = {}

    def epoch(self, number: int) -> RowIndices:
        """Return all rows of an epoch in order."""
        if number not in self._epochs:
            subsets = [self._subset(k, number) for k in range(len(self._groups))]
            shuffle = np.random.default_rng([self._seed, SHUFFLE, number])
            # Keep the epoch before: a batch may begin in it.
            self._epochs = {k: v for k, v in self._epochs.items() if k == number - 1}
            self._epochs[number] = shuffle.permutation(np.concatenate(subsets))
        return self._epochs[number]

    def rows(self, step: int, batch: int) -> RowIndices:
        """Return the rows of a step (from 0), `batch` of them; an epoch may have fewer."""
        positions = np.arange(step * batch, (step + 1) * batch)
        epochs, places = np.divmod(positions, sum(self.counts))
        rows = [self.epoch(int(e))[places[epochs == e]] for e in np.unique(epochs)]
        return np.concatenate(rows)

    def _subset(self, k: int, epoch: int) -> RowIndices:
        """Rows of group k in an epoch: all, or the next ones of an endless series of shuffles."""
        group, count = self._groups[k], self.counts[k]
        if count == len(group):
            return group
        rounds, places = np.divmod(np.arange(epoch * count, (epoch + 1) * count), len(group))
        rows = np.empty(count, np.int64)
        for turn in np.unique(rounds):
            shuffle = np.random.default_rng([self._seed, SUBSET, k, int(turn)]).permutation(group)
            rows[rounds == turn] = shuffle[places[rounds == turn]]
        return rows


def epoch_counts(sizes: Sequence[int], shares: Sequence[float | None]) -> list[int]:
    """Return how many samples of each dataset an epoch takes.

    Parameters
    ----------
    sizes : sequence of int
        Samples of each dataset.
    shares : sequence of float or None
        Share of each dataset in an epoch. Datasets without a share are taken whole. If all have
        one, an epoch has as many samples as all datasets together.

    Raises
    ------
    UserError
        A dataset has no samples; or the shares leave nothing for datasets without one; or all
        have one, and their sum is not 1.

    Examples
    --------
    >>> epoch_counts([70, 1000], [None, 0.3])
    [70, 30]
    """
    if not all(sizes):
        raise UserError(
            f"dataset {list(sizes).index(0) + 1} of {len(sizes)}: no sample left to train on"
        )
    total_share = sum(share for share in shares if share is not None)
    whole = sum(size for size, share in zip(sizes, shares, strict=True) if share is None)
    if whole and total_share >= 1:
        raise UserError(
            f"shares of datasets add up to {total_share:g}: nothing left for the others"
        )
    if not whole and abs(total_share - 1) > 1e-6:
        raise UserError(
            f"shares of datasets add up to {total_share:g}: expected 1, or leave one out"
        )
    total = whole / (1 - total_share) if whole else sum(sizes)
    return [
        size if share is None else max(1, round(share * total))
        for size, share in zip(sizes, shares, strict=True)
    ]


def draw_symmetries(seed: int, step: int, batch: int) -> NDArray[np.bool_]:
    """Draw the flips and quarter turns of a step, (3, batch) bool, see `dihedral`."""
    draws = np.random.default_rng([seed, SYMMETRY, step]).integers(0, 2, (3, batch), np.uint8)
    return draws.astype(bool)


def network_seed(seed: int, step: int, rank: int) -> int:
    """Return the seed of a network's own draws, such as dropout, in a step and a process."""
    state = np.random.SeedSequence([seed, NETWORK, step, rank]).generate_state(1, np.uint64)
    return int(state[0])
