"""Lists that were laid beside the photos: seconds or EV, typing errors, and who is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.comparagram import Ridge
from labelgen.calibration.list_check import decide_reading, find_typo
from labelgen.calibration.survey import Selection, survey
from labelgen.calibration.survey_records import Survey
from labelgen.discovery.scan import scan
from tests.helpers.cameras import Curve, film, gamma22, scene, view, write_stored

TYPOS = [
    ((0.0, 2.0, 6.0), 2, 4.0),
    ((0.0, 1.0, 4.0), 1, 2.0),
    ((-4.0, 2.0, 4.0), 0, 0.0),
    ((0.0, 3.0, 4.0), 1, 2.0),
]
"""Lists of frames 0, 2 and 4 EV; the frame that is wrong, and its EV."""


def bracket(folder: Path, text: str, ev: tuple[float, ...], curve: Curve = gamma22) -> Survey:
    """Survey a bracket of exposures `ev` whose list has this text, alone."""
    write_stored(folder / "b", scene(0, ev=ev), curve)
    (folder / "b" / "exposure.txt").write_text(text)
    [found] = calibrate_surveys([survey(scan(folder)[0], Selection(3, 1))])
    return found


@pytest.mark.parametrize("curve", [gamma22, film])
@pytest.mark.parametrize(
    ("text", "ev"),
    [("1 2 4", (0.0, 1.0, 2.0)), ("1 4 16", (0.0, 2.0, 4.0)), ("2 8 30", (0.0, 2.0, 4.0))],
)
def test_whole_seconds_are_read_as_times_where_the_pixels_show_it(
    tmp_path: Path, text: str, ev: tuple[float, ...], curve: Curve
) -> None:
    found = bracket(tmp_path, text.replace(" ", "\n"), ev, curve)
    assert not found.rejected
    assert np.subtract(found.ev, found.ev[0]) == pytest.approx(ev, abs=0.1)
    assert {f.origin for f in found.frames} == {"exposure.txt (times)"}
    assert "read as times, not as EV, which the pixels contradict" in "".join(found.problems)
    assert "read as EV;" not in "".join(found.problems)


def test_ev_in_equal_ratios_stay_ev_where_the_pixels_show_it(tmp_path: Path) -> None:
    found = bracket(tmp_path, "1\n2\n4\n", (1.0, 2.0, 4.0))
    assert found.ev == (0.0, 1.0, 3.0)
    assert {f.origin for f in found.frames} == {"exposure.txt"}
    assert "read as EV; if these are times" in "".join(found.problems)


def test_where_the_pixels_do_not_tell_the_list_is_read_as_before(tmp_path: Path) -> None:
    """Frames without anything in common."""
    import cv2

    (tmp_path / "b").mkdir()
    for i, level in enumerate((2, 120, 255)):
        cv2.imwrite(str(tmp_path / "b" / f"{i}.png"), np.full((160, 160, 3), level, np.uint8))
    (tmp_path / "b" / "exposure.txt").write_text("1\n2\n4\n")
    [listed] = scan(tmp_path)
    assert decide_reading(listed) == listed


@pytest.mark.parametrize("curve", [gamma22, film])
@pytest.mark.parametrize(("stated", "frame", "read"), TYPOS)
def test_the_entry_that_is_wrong_is_found_in_a_bracket_alone(
    stated: tuple[float, ...], frame: int, read: float, curve: Curve
) -> None:
    found = find_typo(stated, view(scene(0), curve).ridge)
    assert found is not None
    assert found[0] == frame
    assert found[1] == pytest.approx(read, abs=0.35)


@pytest.mark.parametrize("curve", [gamma22, film])
@pytest.mark.parametrize(
    "stated",
    [
        (0.0, 2.0, 4.0),
        (0.0, 2.0, 4.5),  # less than a typing error
        (0.0, 3.0, 6.0),  # in proportion: nothing tells
        (0.0, 2.5, 4.0),
    ],
)
def test_lists_that_fit_or_leave_doubt_are_left(stated: tuple[float, ...], curve: Curve) -> None:
    assert find_typo(stated, view(scene(0), curve).ridge) is None


def test_nothing_is_found_without_pixels_or_with_a_single_step() -> None:
    assert find_typo((0.0, 2.0, 6.0), Ridge.of([])) is None
    assert find_typo((0.0, 6.0), view(scene(0, ev=(0.0, 2.0)), gamma22, (0.0, 2.0)).ridge) is None


def test_a_typing_error_is_named_and_bends_no_curve(tmp_path: Path) -> None:
    found = bracket(tmp_path, "0\n2\n6\n", (0.0, 2.0, 4.0))
    assert found.model.response.name == "gamma2.2"
    assert found.ev == pytest.approx((0, 2, 4), abs=0.05)
    assert [f.stated_ev for f in found.frames] == [0, 2, 6]
    [remark] = found.problems
    assert remark.startswith("input_3.png: exposure.txt says 6.00 EV, where 4.0")
    assert remark.endswith("would fit the others and the pixels; corrected")
    # The reference keeps what is stated, whether or not it is the one that is wrong.
    middle = bracket(tmp_path / "middle", "0\n1\n4\n", (0.0, 2.0, 4.0))
    assert middle.ev == pytest.approx((-1, 1, 3), abs=0.05)
    assert "input_2.png: exposure.txt says 1.00 EV, where 2.0" in "".join(middle.problems)
