from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from labelgen.alignment.homography import UNIT_SIZE, find_homography, scale_homography
from labelgen.calibration.survey import (
    Selection,
    check_pixels,
    load_surveyed,
    survey,
    survey_cached,
)
from labelgen.calibration.survey_records import from_json, to_json
from labelgen.core.bracket import Bracket
from labelgen.core.errors import Rejected
from labelgen.core.settings import Align
from labelgen.discovery.scan import scan
from labelgen.simulate import write_bracket
from tests.conftest import EV, make_scene


def ramp(ev: float, tone: float = 1.0) -> np.ndarray:
    """A frame of all levels, in linear light as gamma 2.2 reads it; `tone` steepens its curve."""
    level = np.geomspace(1e-3, 8, 64 * 64, dtype=np.float32).reshape(64, 64, 1)
    return np.minimum(level * np.float32(2.0**ev), 1).repeat(3, -1) ** np.float32(tone)


@pytest.mark.parametrize("tone", [1.0, 1.25, 1.5])
@pytest.mark.parametrize("step", [0.5, 1.0, 2.0, 3.0])
def test_exposures_that_pixels_bear_out(step: float, tone: float) -> None:
    evs = [0.0, step, 2 * step]
    check_pixels(["a", "b", "c"], evs, [ramp(ev - 2 * step, tone) for ev in evs])


@pytest.mark.parametrize(("true", "stated"), [(0.0, 1.0), (0.1, 2.0), (4.0, 1.0), (-2.0, 2.0)])
def test_exposures_that_pixels_contradict(true: float, stated: float) -> None:
    with pytest.raises(Rejected, match=rf"a to b is {stated:.2f} EV by the metadata"):
        check_pixels(["a", "b"], [0.0, stated], [ramp(-4.0), ramp(true - 4.0)])


def test_what_moves_does_not_contradict_exposures() -> None:
    """A dark thing stands in a bright scene that the long frame clips."""
    short, long = ramp(-1.0), ramp(1.0)
    short[:30] = 0.4
    long[:30] = 1.0
    long[:18] = 0.35
    check_pixels(["a", "b"], [0.0, 2.0], [short, long])


@pytest.mark.parametrize("seed", range(6))
def test_simulated_brackets_are_never_called_wrong(tmp_path: Path, seed: int) -> None:
    write_bracket(tmp_path / "b", make_scene(50 + seed, (160, 200), shake=6.0, pieces=5), EV)
    assert survey(scan(tmp_path)[0], Selection()).rejected == ""


def test_what_a_survey_knows_of_the_geometry_is_where_labels_begin(tmp_path: Path) -> None:
    write_bracket(tmp_path / "b", make_scene(62, (300, 420), shake=6.0, pieces=0), EV)
    found = survey(scan(tmp_path / "b")[0], Selection())
    stack = load_surveyed(found)
    alone = replace(stack, homographies=())
    assert stack.homographies[1] is None
    for i in (0, 2):
        known = stack.homographies[i]
        beside = find_homography(alone, i, Align())
        begun = find_homography(stack, i, Align())
        assert known is not None
        assert beside is not None
        assert begun is not None
        assert np.allclose(begun, scale_homography(known, UNIT_SIZE, stack.size))
        here = np.array([[[40.0, 40], [380, 40], [40, 260], [380, 260]]])
        one, two = (cv2.perspectiveTransform(here, m) for m in (beside, begun))
        assert np.abs(one - two).max() < 1.5


def test_a_survey_survives_json_and_is_remembered_until_a_file_changes(tmp_path: Path) -> None:
    write_bracket(tmp_path / "b", make_scene(60, (160, 200)), EV)
    memory = tmp_path / "memory"
    memory.mkdir()
    bracket: Bracket = scan(tmp_path / "b")[0]
    found = survey_cached(bracket, Selection(), memory)
    assert found == survey(bracket, Selection()) == from_json(to_json(found))
    assert survey_cached(bracket, Selection(), memory) == found
    assert len(list(memory.iterdir())) == 1
    (tmp_path / "b" / "input_1.tif").write_bytes(b"damaged")
    assert "input_1.tif" in survey_cached(bracket, Selection(), memory).rejected
