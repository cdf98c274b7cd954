"""The response of a camera and the true exposures of its frames, from all of its brackets.

The logarithm of the inverse response is a smooth curve. Along a ridge it rises by the difference of
two exposures (Debevec and Malik 1997, doi:10.1145/258734.258884; Mann 2000 for the comparagrams).
Curve and exposures cannot both be free: any power of a response fits as well, with all exposures
scaled by that power (Grossberg and Nayar 2003, doi:10.1109/TPAMI.2003.1240119). So the stated
exposures of all frames together fix the scale, and pixels correct single frames.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from labelgen.calibration.bracket_exposures import Calibration, correct_exposures
from labelgen.calibration.mixing_fit import fit_mixing
from labelgen.calibration.response_curve import View, free_response
from labelgen.calibration.ridge_fit import huber_weights, weighted_mean
from labelgen.core.arrays import Array, median, stride
from labelgen.core.response import GAMMA22, Response

Values: TypeAlias = Sequence[float] | Array
"""Exposures or offsets (F,) in stops."""

MAX_BRACKETS = 100
"""The curve of a camera is fitted to at most this many brackets, evenly spaced among all."""
MIN_BINS = 60
"""Bins that the ridges of a camera need together, or no curve is fitted."""
POWER_EV = 0.06
"""Standard deviation (stops) of the errors of stated exposures, where it is decided whether a named
response fits them. It is smaller than `NOMINAL_EV`: that a camera has another gamma is likelier
than that all stated exposures are off in proportion."""
MAX_MISFIT_RATIO, MAX_MISFIT_EXCESS = 1.5, 0.1
"""A named response is preferred to the free curve if its misfit is at most this ratio of the free
curve's, plus the excess (codes of 255)."""
OUTLIER_RATIO, OUTLIER_CODES = 3.0, 0.3
"""A bracket is an outlier of its camera if its misfit to the common curve exceeds OUTLIER_CODES (of
255) and OUTLIER_RATIO times the median misfit. It gets a curve of its own if that lowers the misfit
by OUTLIER_RATIO: it was processed differently."""


def calibrate(
    views: Sequence[View], known: Mapping[str, Response] | None = None
) -> list[Calibration]:
    """Find the response of each camera, and correct the exposures of every bracket.

    Parameters
    ----------
    views : sequence of View
        All brackets. At most `MAX_BRACKETS` of them are held in memory at a time, so the sequence
        may read them from a disk.
    known : mapping of str to Response, optional
        Known responses by camera; "*" stands for every other camera.

    Returns
    -------
    list of Calibration
        One for each view.
    """
    known, calibrations, groups = known or {}, dict[int, Calibration](), dict[str, list[int]]()
    for i, view in enumerate(views):
        groups.setdefault(view.key, []).append(i)
    for key, group in groups.items():
        response = known.get(key, known.get("*"))
        calibrations |= _calibrate_camera(views, group, response)
    return [calibrations[i] for i in range(len(views))]


def _calibrate_camera(
    views: Sequence[View], group: Sequence[int], known: Response | None
) -> dict[int, Calibration]:
    """Calibrate the brackets of one camera, by their indices in `views`.

    A bracket that the common curve does not fit gets a curve of its own.
    """
    if known is not None:
        return {i: correct_exposures(views[i], known) for i in group}
    common = _fit_camera(_evenly_spaced(views, group))
    if common is None:
        return {i: correct_exposures(views[i], GAMMA22, assumed=True) for i in group}
    calibrations = {i: correct_exposures(views[i], common) for i in group}
    misfits = sorted(c.misfit for c in calibrations.values() if c.misfit is not None)
    limit = max(OUTLIER_CODES, OUTLIER_RATIO * misfits[(len(misfits) - 1) // 2])
    outliers = [i for i, c in calibrations.items() if (c.misfit or 0) > limit]
    own = {i: _own_curve(views[i], calibrations[i]) for i in outliers}
    own = {i: c for i, c in own.items() if c.response != common}
    if own:  # these brackets bent the common curve: fit it again without them
        rest = [i for i in group if i not in own]
        common = _fit_camera(_evenly_spaced(views, rest)) or common
        calibrations |= {i: correct_exposures(views[i], common) for i in rest}
    return calibrations | own


def _fit_camera(views: Sequence[View]) -> Response | None:
    """Fit the response of a camera, and how it mixes channels; None without enough evidence."""
    response = fit_response(views)
    if response is None or not response.curves:  # named responses fit well already
        return response
    return fit_mixing(views, response)


def _evenly_spaced(views: Sequence[View], group: Sequence[int]) -> list[View]:
    """Return at most `MAX_BRACKETS` of a group, evenly spaced among those that have a ridge."""
    useful = [i for i in group if len(views[i].ridge.pair)]
    return [views[i] for i in useful[:: stride(len(useful), MAX_BRACKETS)]]


def _own_curve(view: View, common: Calibration) -> Calibration:
    """Calibrate a bracket by a curve of its own, if that fits much better than the common one."""
    response = fit_response([view])
    if response is None or common.misfit is None:
        return common
    own = correct_exposures(view, response)
    better = own.misfit is not None and own.misfit * OUTLIER_RATIO < common.misfit
    return own if better else common


def fit_response(views: Sequence[View]) -> Response | None:
    """Fit the response of the camera that took these brackets.

    A free curve is fitted first. Gamma 2.2 or sRGB is preferred if it fits as well, and if it does
    not need all stated exposures to be scaled by one factor.

    Parameters
    ----------
    views : sequence of View
        Brackets of one camera and processing.

    Returns
    -------
    Response or None
        None if the ridges have too few bins.
    """
    if sum(len(v.ridge.pair) for v in views) < MIN_BINS:
        return None
    free, named = free_response(views), (GAMMA22, Response("srgb"))
    fits = {r: _misfit(views, r) for r in (*named, free)}
    variation = sum(float(np.square(np.subtract(v.ev, np.mean(v.ev))).sum()) for v in views)
    tolerance = 0.01 + 3 * POWER_EV / np.sqrt(variation)
    limit = MAX_MISFIT_RATIO * fits[free][0] + MAX_MISFIT_EXCESS
    for response in named:
        misfit, power = fits[response]
        if misfit <= limit and abs(power - 1) <= tolerance:
            return response
    return free


def _misfit(views: Sequence[View], response: Response) -> tuple[float, float]:
    """Median misfit (codes of 255) of brackets under a response, and the result of `_fit_power`."""
    calibrations = [correct_exposures(v, response) for v in views]
    misfits = [c.misfit for c in calibrations if c.misfit is not None]
    power = _fit_power([v.ev for v in views], [c.offset for c in calibrations])
    return float(np.median(misfits)), power


def _fit_power(evs: Sequence[Values], offsets: Sequence[Values]) -> float:
    """Fit the factor on measured exposures that brings them nearest to the stated ones (Huber)."""
    power = 1.0
    for _ in range(10):
        numerator = denominator = 0.0
        for ev, offset in zip(evs, offsets, strict=True):
            stated, measured = np.asarray(ev), np.add(ev, offset)
            residual = power * measured - stated
            weight = huber_weights(residual - median(residual))
            stated = stated - weighted_mean(stated, weight)
            measured = measured - weighted_mean(measured, weight)
            numerator += float((weight * measured * stated).sum())
            denominator += float((weight * measured * measured).sum())
        power = numerator / max(denominator, 1e-9)
    return power
