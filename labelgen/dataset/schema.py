"""Check the form of the JSON in root attributes, so that later code can rely on it.

Each function raises one of `DAMAGE` for a value of another form.
"""

from __future__ import annotations

import re
from typing import Any

from labelgen.core.mixing import NO_MIXING, Mixing
from labelgen.core.response import Response
from labelgen.core.validation import (
    expect_integer,
    expect_number,
    expect_object,
    expect_text,
    short_repr,
)

SCENE_HASH = re.compile(r"([0-9a-f]{16})?")
"""A hash as `labelgen.dataset.scene_hash` makes it, or nothing."""


def check_scene(scene: dict[str, Any]) -> None:
    """Check the record of a bracket, whether it was used or rejected."""
    expect_text(scene.get("rejected", ""))
    for frame in scene.get("frames", ()):
        expect_text(frame.get("sha256", ""))
        expect_number(frame.get("ev", 0))
    for count in scene.get("branches", {}).values():
        expect_integer(count)
    if not SCENE_HASH.fullmatch(expect_text(scene.get("looks", ""))):
        raise ValueError(f"{short_repr(scene['looks'])} is no hash")
    for statistic in expect_object(scene.get("label", {})).values():
        for value in statistic if isinstance(statistic, list) else [statistic]:
            expect_number(value)


def check_response(entry: dict[str, Any]) -> None:
    """Check the response of a camera."""
    expect_text(entry["name"])
    expect_integer(entry["brackets"])
    if entry.get("misfit") is not None:
        expect_number(entry["misfit"])
    mixing = Mixing.from_json(expect_object(entry["mixing"])) if "mixing" in entry else NO_MIXING
    if "curves" in entry or mixing:
        curves = tuple(tuple(map(expect_number, curve)) for curve in entry.get("curves", ()))
        Response("estimated", curves, mixing)


def check_options(options: dict[str, Any]) -> None:
    """Check the options of a build."""
    for count in expect_object(options.get("excluded", {})).values():
        expect_integer(count)
    expect_integer(options.get("part_bytes", 1), 1)


def check_step(step: dict[str, Any]) -> None:
    """Check an entry of `derived`: a command that made a dataset from others."""
    expect_text(step.get("by", ""))
    for source in step.get("of", []):
        expect_text(source.get("file", ""))
        expect_integer(source.get("samples", 0))
        check_options(source.get("options", {}))
        for earlier_step in source.get("derived", []):
            check_step(earlier_step)
