"""The exact values that nominal shutter times and f-numbers stand for."""

from __future__ import annotations

import math
from functools import lru_cache

MARK_TOLERANCE = 0.01
"""A stated value within 1 % of a mark is that mark; marks are 12 % (f-numbers) or 26 % apart."""


FASTER = """1 1.25 1.6 2 2.5 3.2 4 5 6 8 10 13 15 20 25 30 40 50 60 80 100 125 160 200 250 320 400
500 640 800 1000 1250 1600 2000 2500 3200 4000 5000 6400 8000 10000 12800 16000 20000 25600 32000"""
SLOWER = "1 1.3 1.6 2 2.5 3.2 4 5 6 8 10 13 15 20 25 30"
STOPS = """1 1.1 1.25 1.4 1.6 1.8 2 2.2 2.5 2.8 3.2 3.5 4 4.5 5 5.6 6.3 7.1 8 9 10 11 13 14 16 18 20
22 25 29 32"""
"""Marks in thirds of a stop: denominators of a second, seconds, f-numbers."""

TIMES = {1 / float(mark): -k / 3 for k, mark in enumerate(FASTER.split())}
TIMES |= {float(mark): k / 3 for k, mark in enumerate(SLOWER.split())}
# Shown with one digit below a second; Nikon writes 1/1.3.
TIMES |= {0.8: -1 / 3, 1 / 1.3: -1 / 3, 0.6: -2 / 3, 0.3: -5 / 3}
FNUMBERS = {float(mark): k / 6 for k, mark in enumerate(STOPS.split())}
"""Marks and the logarithms (base 2) of what they stand for."""


@lru_cache(maxsize=1024)
def exact_time(nominal: float) -> float | None:
    """Exposure time that a mark of the third-stop shutter series stands for.

    Shutters run at powers of two: 1/60 stands for 1/64 s, 15 s for 16 s [1]_.

    Parameters
    ----------
    nominal : float
        Seconds as marked on a camera or stated by EXIF.

    Returns
    -------
    float or None
        Seconds, 2^(k/3); None if `nominal` is within 1 % neither of a mark from 1/32000 to 30 s
        nor of the power that it stands for.

    References
    ----------
    .. [1] ISO 516, Camera shutters - Timing.

    Examples
    --------
    >>> exact_time(1 / 60), exact_time(15), exact_time(1 / 117)
    (0.015625, 16.0, None)
    """
    return _snapped(nominal, TIMES, 3)


@lru_cache(maxsize=1024)
def exact_fnumber(nominal: float) -> float | None:
    """f-number that a mark of the third-stop aperture series stands for: 5.6 is 2^2.5.

    Parameters
    ----------
    nominal : float
        f-number as marked on a lens or stated by EXIF.

    Returns
    -------
    float or None
        2^(k/6); None if `nominal` is within 1 % neither of a mark from 1 to 32 nor of the power
        that it stands for.
    """
    return _snapped(nominal, FNUMBERS, 6)


def _snapped(nominal: float, marks: dict[float, float], steps: int) -> float | None:
    """2^(k / steps) for a value that is one of the marks (with their logarithms) or that power."""
    if not (math.isfinite(nominal) and nominal > 0):
        return None
    mark = min(marks, key=lambda m: abs(math.log(m / nominal)))
    if abs(nominal / mark - 1) <= MARK_TOLERANCE:
        return float(2 ** marks[mark])
    power = float(2 ** (round(steps * math.log2(nominal)) / steps))
    within = min(marks) * 0.9 <= nominal <= max(marks) * 1.1
    return power if within and abs(nominal / power - 1) <= MARK_TOLERANCE else None


def exact_ev(time_s: float, fnumber: float, iso: float) -> float | None:
    """EV by the exact values that nominal time and f-number stand for.

    Parameters
    ----------
    time_s, fnumber, iso : float
        As EXIF states them.

    Returns
    -------
    float or None
        log2(time * ISO / f-number^2) in stops; None if neither time nor f-number is a mark.
    """
    time, aperture = exact_time(time_s), exact_fnumber(fnumber)
    if time is None and aperture is None:
        return None
    return math.log2((time or time_s) * iso / (aperture or fnumber) ** 2)
