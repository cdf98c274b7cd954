"""Write brackets of moving scenes with known truth, as an ideal or a real camera would take them.

A hand-held camera sees a scene-linear background with objects moving in front of it. The demo and
the tests use such brackets, and anyone can measure with them how good labels are.
"""

from __future__ import annotations

from labelgen.simulate.brackets import MARKER, simulate
from labelgen.simulate.expose import expose
from labelgen.simulate.invent import invent_scene
from labelgen.simulate.scene import render
from labelgen.simulate.settings import MARGIN, SceneSettings, SimulatedBracket
from labelgen.simulate.write import write_bracket

__all__ = [
    "MARGIN",
    "MARKER",
    "SceneSettings",
    "SimulatedBracket",
    "expose",
    "invent_scene",
    "render",
    "simulate",
    "write_bracket",
]
