"""What a dataset notes of its brackets and of how it was made: of its form, or refused.

Whoever reads a note later can rely on it. Each function raises one of `DAMAGE`.
"""

from __future__ import annotations

import re
from typing import Any

from labelgen.core.response import Response
from labelgen.core.validation import a_number, a_table, a_text, a_whole, brief

LOOKS = re.compile(r"([0-9a-f]{16})?")
"""What `labelgen.dataset.scene_hash` says of a picture."""


def check_scene(scene: dict[str, Any]) -> None:
    """A bracket that was used, or the reason why not."""
    a_text(scene.get("rejected", ""))
    for frame in scene.get("frames", ()):
        a_text(frame.get("sha256", ""))
        a_number(frame.get("ev", 0))
    for count in scene.get("branches", {}).values():
        a_whole(count)
    if not LOOKS.fullmatch(a_text(scene.get("looks", ""))):
        raise ValueError(f"{brief(scene['looks'])} is no hash")
    for figure in a_table(scene.get("label", {})).values():
        for value in figure if isinstance(figure, list) else [figure]:
            a_number(value)


def check_response(entry: dict[str, Any]) -> None:
    """The response of a camera."""
    a_text(entry["name"])
    a_whole(entry["brackets"])
    if entry.get("misfit") is not None:
        a_number(entry["misfit"])
    if "curves" in entry:
        Response("estimated", tuple(tuple(map(a_number, curve)) for curve in entry["curves"]))


def check_options(options: dict[str, Any]) -> None:
    """Options of a build."""
    for count in a_table(options.get("excluded", {})).values():
        a_whole(count)
    a_whole(options.get("part_bytes", 1), 1)


def check_step(step: dict[str, Any]) -> None:
    """A step that made a dataset of others."""
    a_text(step.get("by", ""))
    for source in step.get("of", []):
        a_text(source.get("file", ""))
        a_whole(source.get("samples", 0))
        check_options(source.get("options", {}))
        for before in source.get("derived", []):
            check_step(before)
