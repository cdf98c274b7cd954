"""Plot response curves as text."""

from __future__ import annotations

from typing import Any

import numpy as np

from labelgen.core.response import GAMMA, Response

COLUMNS, ROWS = 60, 13
DARKEST = -12.0
"""Lowest value of the vertical axis, in stops relative to the clip."""


def response_lines(entry: dict[str, Any]) -> list[str]:
    """Return a summary of a response, and a plot if it was estimated.

    Parameters
    ----------
    entry : dict
        A response as datasets store it: "name", "brackets", "misfit", optionally "curves".

    Returns
    -------
    list of str
        The plot shows stops of light over codes: R, G and B for the curves, * where they meet,
        dots for gamma 2.2.
    """
    misfit = entry.get("misfit")
    fit = "" if misfit is None else f", codes off it by {misfit:.1f} of 255"
    lines = [f"{entry['name']}, {entry['brackets']} brackets{fit}"]
    if "curves" not in entry:
        return lines
    response = Response("estimated", tuple(tuple(c) for c in entry["curves"]))
    code = (np.arange(COLUMNS) + 0.5) / COLUMNS
    stops = GAMMA * np.log2(np.maximum(response.gamma_code(code[:, None].repeat(3, 1)), 1e-6))
    canvas = np.full((ROWS, COLUMNS), " ")
    for column in range(COLUMNS):
        canvas[_row(GAMMA * np.log2(code[column])), column] = "."
        for channel, letter in enumerate("RGB"):
            place = _row(stops[column, channel]), column
            canvas[place] = letter if canvas[place] in " ." else "*"
    for row, cells in enumerate(canvas):
        lines.append(f"{row * DARKEST / (ROWS - 1):6.0f} EV |{''.join(cells)}")
    return [*lines, " " * 10 + f"0{'code':^{COLUMNS - 2}}255"]


def _row(stops: float) -> int:
    return int(np.clip(np.rint(stops / DARKEST * (ROWS - 1)), 0, ROWS - 1))
