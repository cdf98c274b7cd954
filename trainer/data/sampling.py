"""Which samples a step takes: a pure function of the seed and the step.

It depends neither on the number of processes nor on who reads ahead, so that a run that was killed
goes on as if it had not been.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from labelgen.core.errors import UserError

RowIndices = NDArray[np.int64]

# What the draws of a seed are for; none of them may share another's.
SHUFFLE, TURN, TAKE, NETWORK = 0, 1, 2, 3


class Order:
    """The order of rows over all epochs, which follow each other without a gap.

    Parameters
    ----------
    groups : sequence of (N_k,) int64
        The rows of each dataset that are trained on.
    shares : sequence of float or None
        Share of each dataset in the samples of an epoch, as `epoch_counts` understands them.
    seed : int
        Of the shuffles.

    Raises
    ------
    UserError
        A group is empty, or the shares make no sense.
    """

    def __init__(
        self, groups: Sequence[RowIndices], shares: Sequence[float | None], seed: int
    ) -> None:
        self.counts = epoch_counts([len(rows) for rows in groups], shares)
        self._groups, self._seed = list(groups), seed
        self._epochs: dict[int, RowIndices] = {}

    def epoch(self, number: int) -> RowIndices:
        """All rows of an epoch, in order."""
        if number not in self._epochs:
            taken = [self._taken(k, number) for k in range(len(self._groups))]
            shuffle = np.random.default_rng([self._seed, SHUFFLE, number])
            # A batch lies in two epochs at most.
            self._epochs = {k: v for k, v in self._epochs.items() if k == number - 1}
            self._epochs[number] = shuffle.permutation(np.concatenate(taken))
        return self._epochs[number]

    def batch(self, step: int, size: int) -> RowIndices:
        """The rows of a step (from 0) of that many samples, which may be more than there are."""
        at = np.arange(step * size, (step + 1) * size)
        epochs, places = np.divmod(at, sum(self.counts))
        rows = [self.epoch(int(e))[places[epochs == e]] for e in np.unique(epochs)]
        return np.concatenate(rows)

    def _taken(self, k: int, epoch: int) -> RowIndices:
        """What an epoch takes of group k: all, or the next of an endless shuffle of it."""
        group, count = self._groups[k], self.counts[k]
        if count == len(group):
            return group
        rounds, places = np.divmod(np.arange(epoch * count, (epoch + 1) * count), len(group))
        rows = np.empty(count, np.int64)
        for turn in np.unique(rounds):
            shuffle = np.random.default_rng([self._seed, TAKE, k, int(turn)]).permutation(group)
            rows[rounds == turn] = shuffle[places[rounds == turn]]
        return rows


def epoch_counts(sizes: Sequence[int], shares: Sequence[float | None]) -> list[int]:
    """How many samples of each dataset an epoch takes.

    Parameters
    ----------
    sizes : sequence of int
        Samples of each.
    shares : sequence of float or None
        Share of each in an epoch. Those without one are taken whole, and the others fill up;
        where all have one, an epoch is as many samples as there are.

    Raises
    ------
    UserError
        A dataset has no samples, or the shares add up to too much or, where all have one, to
        anything but 1.
    """
    if not all(sizes):
        raise UserError(
            f"dataset {list(sizes).index(0) + 1} of {len(sizes)}: no sample left to train on"
        )
    given = sum(share for share in shares if share is not None)
    whole = sum(size for size, share in zip(sizes, shares, strict=True) if share is None)
    if whole and given >= 1:
        raise UserError(f"shares of datasets add up to {given:g}: nothing left for the others")
    if not whole and abs(given - 1) > 1e-6:
        raise UserError(f"shares of datasets add up to {given:g}: expected 1, or leave one out")
    total = whole / (1 - given) if whole else sum(sizes)
    return [
        size if share is None else max(1, round(share * total))
        for size, share in zip(sizes, shares, strict=True)
    ]


def draw_symmetries(seed: int, step: int, batch: int) -> NDArray[np.bool_]:
    """Flips and quarter turns of a step, (3, batch) bool, as `dihedral` takes them."""
    draws = np.random.default_rng([seed, TURN, step]).integers(0, 2, (3, batch), np.uint8)
    return draws.astype(bool)


def network_seed(seed: int, step: int, rank: int) -> int:
    """What a network draws from in a step, as dropout does, in one of the processes."""
    state = np.random.SeedSequence([seed, NETWORK, step, rank]).generate_state(1, np.uint64)
    return int(state[0])
