"""Exact values of nominal shutter times and f-numbers: a shutter marked 1/60 runs at 1/64 s."""

from __future__ import annotations

import math
from functools import lru_cache

MARK_TOLERANCE = 0.01
"""A value within 1 % of a mark is that mark; f-numbers are marked 12 % apart and times 26 %."""

FRACTION_MARKS = """1 1.25 1.6 2 2.5 3.2 4 5 6 8 10 13 15 20 25 30 40 50 60 80 100 125 160 200 250
320 400 500 640 800 1000 1250 1600 2000 2500 3200 4000 5000 6400 8000 10000 12800 16000 20000 25600
32000"""
SECOND_MARKS = "1 1.3 1.6 2 2.5 3.2 4 5 6 8 10 13 15 20 25 30"
FNUMBER_MARKS = """1 1.1 1.25 1.4 1.6 1.8 2 2.2 2.5 2.8 3.2 3.5 4 4.5 5 5.6 6.3 7.1 8 9 10 11 13 14
16 18 20 22 25 29 32"""
"""Marks in thirds of a stop: denominators of fractions of a second, seconds, and f-numbers."""

TIMES = {1 / float(mark): -k / 3 for k, mark in enumerate(FRACTION_MARKS.split())}
TIMES |= {float(mark): k / 3 for k, mark in enumerate(SECOND_MARKS.split())}
# Fractions of a second that are displayed with one digit; Nikon writes 1/1.3.
TIMES |= {0.8: -1 / 3, 1 / 1.3: -1 / 3, 0.6: -2 / 3, 0.3: -5 / 3}
FNUMBERS = {float(mark): k / 6 for k, mark in enumerate(FNUMBER_MARKS.split())}
"""Both map a mark to the logarithm (base 2) of its exact value."""


@lru_cache(maxsize=1024)
def exact_time(nominal: float) -> float | None:
    """Exact exposure time of a mark of the third-stop shutter series.

    Shutters run at powers of two: 1/60 means 1/64 s, and 15 s means 16 s [1]_.

    Parameters
    ----------
    nominal : float
        Seconds as marked on a camera or stated by EXIF.

    Returns
    -------
    float or None
        Seconds, 2^(k/3); None if `nominal` is not within 1 % of a mark from 1/32000 to 30 s, or of
        its exact value.

    References
    ----------
    .. [1] ISO 516, Camera shutters - Timing.

    Examples
    --------
    >>> exact_time(1 / 60), exact_time(15), exact_time(1 / 117)
    (0.015625, 16.0, None)
    """
    return _snap(nominal, TIMES, 3)


@lru_cache(maxsize=1024)
def exact_fnumber(nominal: float) -> float | None:
    """Exact f-number of a mark of the third-stop aperture series: 5.6 means 2^2.5.

    Parameters
    ----------
    nominal : float
        f-number as marked on a lens or stated by EXIF.

    Returns
    -------
    float or None
        2^(k/6); None if `nominal` is not within 1 % of a mark from 1 to 32, or of its exact value.

    Examples
    --------
    >>> exact_fnumber(8), exact_fnumber(1.73)
    (8.0, None)
    """
    return _snap(nominal, FNUMBERS, 6)


def _snap(nominal: float, marks: dict[float, float], steps: int) -> float | None:
    """2^(k / steps) for a value that is a mark or such a power; `marks` are the tables above."""
    if not (math.isfinite(nominal) and nominal > 0):
        return None
    mark = min(marks, key=lambda m: abs(math.log(m / nominal)))
    if abs(nominal / mark - 1) <= MARK_TOLERANCE:
        return float(2 ** marks[mark])
    power = float(2 ** (round(steps * math.log2(nominal)) / steps))
    within = min(marks) * 0.9 <= nominal <= max(marks) * 1.1
    return power if within and abs(nominal / power - 1) <= MARK_TOLERANCE else None


def exact_ev(time_s: float, fnumber: float, iso: float) -> float | None:
    """EV by the exact values of nominal time and f-number.

    Parameters
    ----------
    time_s, fnumber, iso : float
        As EXIF states them.

    Returns
    -------
    float or None
        log2(time * ISO / f-number^2) in stops; None if neither time nor f-number is a mark.

    Examples
    --------
    >>> round(exact_ev(1 / 60, 8, 100) - exact_ev(1 / 15, 8, 100), 6)
    -2.0
    """
    time, aperture = exact_time(time_s), exact_fnumber(fnumber)
    if time is None and aperture is None:
        return None
    return math.log2((time or time_s) * iso / (aperture or fnumber) ** 2)
