"""Nominal shutter times and f-numbers, and what they stand for."""

from __future__ import annotations

import math

import pytest

from labelgen.discovery.nominal_exposures import exact_ev, exact_fnumber, exact_time


@pytest.mark.parametrize(
    ("nominal", "exact"),
    [
        (1 / 60, 1 / 64),
        (1 / 30, 1 / 32),
        (0.0333, 1 / 32),
        (1 / 15, 1 / 16),
        (1 / 125, 1 / 128),
        (1 / 8000, 2**-13),
        (1 / 320, 2 ** (-25 / 3)),
        (15, 16),
        (30, 32),
        (10, 2 ** (10 / 3)),
        (0.8, 2 ** (-1 / 3)),
        (0.76923076, 2 ** (-1 / 3)),
        (0.3, 2 ** (-5 / 3)),
        (1 / 64, 1 / 64),
        (32, 32),
        (1, 1),
    ],
)
def test_marks_of_the_shutter_stand_for_powers_of_two(nominal: float, exact: float) -> None:
    assert exact_time(nominal) == pytest.approx(exact)


def test_the_series_of_marks_rises_by_thirds_of_a_stop() -> None:
    marks = [1 / m for m in (8000, 6400, 5000, 4000, 3200, 2500, 2000, 1600, 1250, 1000, 800, 640)]
    marks += [1 / m for m in (500, 400, 320, 250, 200, 160, 125, 100, 80, 60, 50, 40, 30, 25, 20)]
    marks += [1 / m for m in (15, 13, 10, 8, 6, 5, 4)]
    marks += [0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.3, 1.6, 2, 2.5, 3.2, 4, 5, 6, 8, 10, 13, 15, 20, 25, 30]
    logs = [math.log2(exact_time(m) or 0) for m in marks]
    assert logs == pytest.approx([(k - 39) / 3 for k in range(len(marks))])
    fnumbers = [1, 1.1, 1.4, 1.6, 1.8, 2, 2.2, 2.5, 2.8, 3.2, 3.5, 4, 4.5, 5, 5.6, 6.3, 7.1, 8, 9]
    fnumbers += [10, 11, 13, 14, 16, 18, 20, 22, 25, 29, 32]
    thirds = [0, 1, *range(3, 31)]
    found = [6 * math.log2(exact_fnumber(f) or 0) for f in fnumbers]
    assert found == pytest.approx(thirds, abs=1e-9)


def test_nothing_moves_by_more_than_marks_are_rounded() -> None:
    """At most a sixth of a stop, half of the distance of marks."""
    for nominal in [*(1 / n for n in range(1, 9000)), *(n / 10 for n in range(1, 330))]:
        exact = exact_time(nominal)
        assert exact is None or abs(math.log2(exact / nominal)) < 1 / 6


@pytest.mark.parametrize("value", [1 / 117, 0.7, 1 / 90, 90.0, 1e-6, 0.0, -1.0, math.nan, math.inf])
def test_what_is_no_mark_stays_unknown(value: float) -> None:
    assert exact_time(value) is None


def test_exact_exposure_of_time_aperture_and_iso_together() -> None:
    assert exact_ev(1 / 60, 5.6, 100) == pytest.approx(-6 - 5 + math.log2(100))
    assert exact_ev(1 / 117, 5.6, 100) == pytest.approx(math.log2(100 / 117) - 5)
    assert exact_ev(1 / 117, 1.73, 100) is None
