"""Three frames of each bracket, about so many stops apart, as a groups.json.

`labelgen build` takes neighbours in exposure. Where these are one stop apart, three of them span
two stops only; this takes the middle frame and the ones nearest to a step from it.

    labelgen scan photos/ --json | python3 spread.py groups.json --step 2
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def spread(group: dict[str, Any], step: float) -> dict[str, Any]:
    """A group with three of its frames; as it is where fewer have different exposures.

    Parameters
    ----------
    group : dict
        As ``labelgen scan --json`` prints it, frames shortest first.
    step : float
        Stops between the frames.
    """
    frames = [f for f in group["frames"] if f["ev"] is not None]
    if len(frames) < 3:
        return group
    middle = frames[len(frames) // 2]

    def nearest(ev: float, among: list[dict[str, Any]]) -> dict[str, Any] | None:
        return min(among, key=lambda f: abs(f["ev"] - ev), default=None)

    shorter = nearest(middle["ev"] - step, [f for f in frames if f["ev"] < middle["ev"]])
    longer = nearest(middle["ev"] + step, [f for f in frames if f["ev"] > middle["ev"]])
    if shorter is None or longer is None:
        return group
    return group | {"frames": [shorter, middle, longer]}


def main() -> int:
    """Read the scan from standard input, write the groups."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("groups", type=Path, help="file to write; must not be there")
    parser.add_argument("--step", type=float, default=2.0, help="stops between frames")
    args = parser.parse_args()
    try:
        found = json.load(sys.stdin)
    except ValueError:
        print("standard input: expected what 'labelgen scan --json' prints", file=sys.stderr)
        return 2
    try:
        with args.groups.open("x", encoding="utf-8") as file:
            json.dump([spread(group, args.step) for group in found], file, indent=1)
    except OSError as e:
        print(f"{args.groups}: {e.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
