from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelgen.core.errors import UserError
from tests.trainer.conftest import MakeDataset, metrics
from trainer.data.dataset import PatchDataset
from trainer.data.mixture import Mixture, MixtureEntry, parse_mixture
from trainer.training.fit import fit


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("a.h5", MixtureEntry(Path("a.h5"))),
        ("a.h5:0.3", MixtureEntry(Path("a.h5"), 0.3)),
        ("a.h5:1", MixtureEntry(Path("a.h5"), 1.0)),
        ("C:/a.h5", MixtureEntry(Path("C:/a.h5"))),
        ("disk:a.h5:.5", MixtureEntry(Path("disk:a.h5"), 0.5)),
    ],
)
def test_a_share_follows_a_colon(text: str, source: MixtureEntry) -> None:
    assert parse_mixture(text) == source


def test_a_file_whose_name_ends_in_a_share_is_that_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a:0.3").touch()
    assert parse_mixture("a:0.3") == MixtureEntry(Path("a:0.3"))


@pytest.mark.parametrize("share", ["0", "-1", "1.5", "nan"])
def test_shares_lie_between_0_and_1(share: str) -> None:
    with pytest.raises(UserError, match="expected a share of more than 0 and at most 1"):
        parse_mixture(f"a.h5:{share}")


def test_rows_of_all_follow_each_other(make_dataset: MakeDataset) -> None:
    paths = [make_dataset("a.h5", samples=8), make_dataset("b.h5", samples=12, parts=2)]
    with Mixture([MixtureEntry(p) for p in paths]) as both:
        assert len(both) == 20
        rows = np.array([7, 8, 0, 19, 8])
        got = both.read(rows)
        scenes = both.scenes()
        for k, row in enumerate(rows):
            with PatchDataset(paths[int(row >= 8)]) as one:
                for name, values in one[row - 8 * (row >= 8)].items():
                    np.testing.assert_array_equal(got[name][k], values)
                assert scenes[row] == one.scenes()[row - 8 * (row >= 8)]
        first, second = both.split_by_dataset(np.array([0, 3, 7, 8, 19]))
        assert (first.tolist(), second.tolist()) == ([0, 3, 7], [8, 19])


def test_8_and_16_bits_go_together(make_dataset: MakeDataset) -> None:
    a, b = make_dataset("a.h5", depth=8), make_dataset("b.h5")
    with Mixture([MixtureEntry(a), MixtureEntry(b)]) as both:
        got = both.read(np.array([3, 15]))["inputs"]  # the same sample, at both depths
    assert got.dtype == np.uint16
    np.testing.assert_array_equal(got[0], got[1])


def test_datasets_of_other_frames_are_refused(make_dataset: MakeDataset) -> None:
    sources = [MixtureEntry(make_dataset("a.h5")), MixtureEntry(make_dataset("b.h5", reference=0))]
    with pytest.raises(UserError, match=r"b.h5: reference 0, but .*a.h5 has 1"):
        Mixture(sources)


def test_a_run_on_two_datasets_knows_both(make_dataset: MakeDataset, tmp_path: Path) -> None:
    a = MixtureEntry(make_dataset("a.h5"))
    b = MixtureEntry(make_dataset("b.h5", depth=8, fingerprint="b" * 64), 0.25)
    options = {"batch": 4, "device": "cpu", "log_every": 1}
    fit([a, b], tmp_path / "run", steps=4, **options)
    assert len(metrics(tmp_path / "run")) == 4
    with pytest.raises(UserError, match="another dataset"):
        fit([a], tmp_path / "run", steps=4, resume=True, **options)
