"""Find out whether a camera mixes its channels, and how.

Curves alone are the simplest model of a camera (Debevec and Malik 1997,
doi:10.1145/258734.258884). Lin et al. 2011 (doi:10.1109/ICCV.2011.6126278) and Kim et al. 2012
(doi:10.1109/TPAMI.2012.58) show that most cameras do more. A richer model always fits better. So it
is chosen only if it predicts frames better that it was not fitted to: each place of a longer frame
predicts the code of the same place in the shorter one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from labelgen.calibration.bracket_exposures import correct_exposures
from labelgen.calibration.response_curve import View, free_response
from labelgen.core.arrays import Array, stride
from labelgen.core.mixing import NO_MIXING, Mixing, decode_srgb, encode_srgb, keep_hue
from labelgen.core.response import GAMMA, Response

MAX_BRACKETS = 12
"""The mixing of a camera is chosen by at most this many brackets, evenly spaced among all."""
SATURATIONS = (1.12, 1.25, 1.4, 1.6)
"""Saturations that are tried first."""
FINER_STEPS = (-0.06, 0.06)
"""Differences to the best of them that are tried then."""
HUE_SPACES = (0.5, 1.0)
"""Spaces that are tried for a curve that keeps the hue (`Mixing.amount`)."""
MIN_GAIN, MIN_GAIN_OF_FEW, FEW_BRACKETS = 0.02, 0.16, 4
"""A richer model has to lower the error of prediction by at least this share. The second is for
fewer than FEW_BRACKETS brackets: moving objects in one of them are a good part of the error, and
plain curves then seem to gain up to 0.15 by saturation."""
MAX_ERROR = 5.0
"""Errors of prediction count up to this many codes of 255: moving objects cause larger ones."""
BLACK_CODE = 2 / 255
"""A channel with at most this code (0..1) is black."""
MIN_PLACES = 200
"""Brackets with fewer places are left out."""
INVERSE_SAMPLES = 4096


def fit_mixing(views: Sequence[View], simple: Response) -> Response:
    """Choose between the curves of a camera alone and curves with mixed channels.

    Parameters
    ----------
    views : sequence of View
        Brackets of one camera.
    simple : Response
        The response without mixing.

    Returns
    -------
    Response
        `simple`, or an estimated response with a mixing.
    """
    views = [view for view in views if len(view.places) >= MIN_PLACES]
    views = views[:: stride(len(views), MAX_BRACKETS)]
    if not views:
        return simple
    halves = _halves([_inside_gamut(view) for view in views])
    errors = {m: _held_out_error(halves, m) for m in (NO_MIXING, *_first_candidates())}
    best = min(errors, key=errors.__getitem__)
    if best.kind == "saturation":
        finer = [Mixing("saturation", round(best.amount + d, 3)) for d in FINER_STEPS]
        errors |= {m: _held_out_error(halves, m) for m in finer}
        best = min(errors, key=errors.__getitem__)
    least_gain = MIN_GAIN if len(views) >= FEW_BRACKETS else MIN_GAIN_OF_FEW
    if errors[best] > (1 - least_gain) * errors[NO_MIXING]:
        return simple
    return _fit_curves([view.with_ridges_of_places(best) for view in views], best)


def _inside_gamut(view: View) -> View:
    """Leave out places with a black channel: their colour may lie outside of the gamut."""
    inside = view.places[:, 1:].min(1, initial=1) > BLACK_CODE
    return replace(view, places=view.places[inside])


def _first_candidates() -> list[Mixing]:
    saturations = [Mixing("saturation", amount) for amount in SATURATIONS]
    return saturations + [Mixing("hue", amount) for amount in HUE_SPACES]


def _halves(views: Sequence[View]) -> tuple[list[View], list[View]]:
    """Brackets to fit and others to predict; of a single bracket, two halves of its places."""
    if len(views) > 1:
        return list(views[::2]), list(views[1::2])
    [view] = views
    first, second = ([replace(view, places=view.places[k::2])] for k in (0, 1))
    return first, second


def _held_out_error(halves: Sequence[Sequence[View]], mixing: Mixing) -> float:
    """Root mean square error (codes of 255) of the predictions of frames not fitted to.

    Each half is fitted, and predicts the other one.
    """
    separated = [[view.with_ridges_of_places(mixing) for view in half] for half in halves]
    squares = []
    for fitted, held_out in ((0, 1), (1, 0)):
        response = _fit_curves(separated[fitted], mixing)
        # Without mixing, exposures are known better by the ridges of all places.
        views = separated[held_out] if mixing else halves[held_out]
        squares += [_squared_errors(view, response) for view in views]
    return float(np.sqrt(np.concatenate(squares).mean()))


def _fit_curves(separated: Sequence[View], mixing: Mixing) -> Response:
    """Fit the curves of channels that a mixing separates, to their ridges."""
    response = free_response(separated)
    curves = (response.curves[0],) * 3 if mixing.kind == "hue" else response.curves
    return Response("estimated", curves, mixing)


def _squared_errors(view: View, response: Response) -> Array:
    """Squared errors (codes of 255) of the codes that longer frames predict for shorter ones."""
    calibration = correct_exposures(view, response)
    ev = np.add(view.ev, calibration.offset)
    steps = np.diff(ev)[view.places[:, 0].astype(int)]
    predicted = predict_codes(view.places[:, 4:], steps, response)
    errors = np.abs(predicted - view.places[:, 1:4]) * 255
    return np.square(np.minimum(errors, MAX_ERROR)).ravel()


def predict_codes(codes: Array, stops: Array, response: Response) -> Array:
    """Predict the codes of a shorter exposure.

    Parameters
    ----------
    codes : (N, 3) float64
        Camera codes, 0..1.
    stops : (N,) float64
        How much shorter the other exposure is.
    response : Response
        Response of the camera.

    Returns
    -------
    (N, 3) float64
        Camera codes, 0..1.
    """
    gain = 2.0 ** -np.asarray(stops)[:, None]
    grid = np.linspace(0, 1, INVERSE_SAMPLES)
    # Flat parts of a curve have no inverse: a little slope gives them one.
    curves = response.gamma_code(grid[:, None].repeat(3, 1)) + 1e-9 * grid[:, None]

    def shorten(channel_codes: Array) -> Array:
        """Shorten channels that have the curves of the response, in order."""
        light = response.gamma_code(channel_codes) ** GAMMA * gain
        inverse = [
            np.interp(light[:, c] ** (1 / GAMMA), curves[:, c], grid) for c in range(light.shape[1])
        ]
        return np.stack(inverse, -1)

    def shorten_light(light: Array) -> Array:
        return decode_srgb(shorten(encode_srgb(light).repeat(3, -1)))[:, :1]

    separated = response.mixing.separate(codes)
    if response.mixing.kind != "hue":
        return response.mixing.combine(shorten(separated))
    return response.mixing.combine(encode_srgb(keep_hue(decode_srgb(separated), shorten_light)))
