from __future__ import annotations

import numpy as np
import pytest

from labelgen.core.errors import UserError
from trainer.data.sampling import Order, draw_symmetries, epoch_counts, network_seed


def whole(samples: int, seed: int = 5) -> Order:
    return Order([np.arange(samples)], [None], seed)


def test_every_epoch_is_another_shuffle_of_all_rows() -> None:
    first, second, other = whole(50).epoch(0), whole(50).epoch(1), whole(50, 6).epoch(0)
    assert sorted(first) == sorted(second) == list(range(50))
    assert (first != second).any()
    assert (first != other).any()


@pytest.mark.parametrize(("samples", "batch"), [(50, 8), (3, 8), (8, 8), (1, 4)])
def test_steps_follow_the_epochs_without_a_gap(samples: int, batch: int) -> None:
    order = whole(samples)
    steps = [order.rows(s, batch) for s in range(20)]
    epochs = np.concatenate([order.epoch(e) for e in range(20 * batch // samples + 1)])
    np.testing.assert_array_equal(np.concatenate(steps), epochs[: 20 * batch])


def test_rows_of_a_step_do_not_depend_on_what_was_asked_before() -> None:
    groups, shares = [np.arange(9), np.arange(9, 40)], [None, 0.4]
    forward = [Order(groups, shares, 5).rows(s, 4) for s in range(12)]
    order = Order(groups, shares, 5)
    backward = [order.rows(s, 4) for s in reversed(range(12))][::-1]
    np.testing.assert_array_equal(forward, backward)


def test_processes_share_the_batch_of_one() -> None:
    order = whole(30)
    for step in range(10):
        batch = order.rows(step, 6)
        mine = [order.rows(step, 6)[rank::3] for rank in range(3)]
        assert sorted(np.concatenate(mine)) == sorted(batch)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.9])
def test_a_dataset_has_its_share_in_every_epoch(share: float) -> None:
    order = Order([np.arange(100), np.arange(100, 137)], [None, share], 1)
    for epoch in range(3):
        rows = order.epoch(epoch)
        assert set(range(100)) <= set(rows.tolist())  # those without a share are taken whole
        assert abs((rows >= 100).mean() - share) < 0.005


def test_a_share_goes_through_all_rows_before_it_begins_again() -> None:
    order = Order([np.arange(100), np.arange(100, 200)], [None, 0.2], 1)
    taken = np.concatenate([order.epoch(e) for e in range(12)])
    seen = np.bincount(taken[taken >= 100] - 100)
    assert seen.min() == seen.max() == 3


def test_shares_of_all_make_an_epoch_of_as_many_as_there_are() -> None:
    assert epoch_counts([100, 300], [0.5, 0.5]) == [200, 200]
    assert epoch_counts([100, 300], [None, None]) == [100, 300]
    assert epoch_counts([100, 300], [None, 0.5]) == [100, 100]


@pytest.mark.parametrize(
    ("sizes", "shares", "message"),
    [
        ([10, 10], [None, 1.0], "add up to 1: nothing left for the others"),
        ([10, 10], [0.2, 0.3], "add up to 0.5: expected 1"),
        ([10, 0], [None, None], "dataset 2 of 2: no sample left"),
    ],
)
def test_shares_that_make_no_sense(
    sizes: list[int], shares: list[float | None], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        epoch_counts(sizes, shares)


def test_draws_of_different_things_differ() -> None:
    assert not (draw_symmetries(1, 4, 64) == draw_symmetries(1, 5, 64)).all()
    np.testing.assert_array_equal(draw_symmetries(1, 4, 64), draw_symmetries(1, 4, 64))
    seeds = {network_seed(1, step, rank) for step in range(20) for rank in range(4)}
    assert len(seeds) == 80
