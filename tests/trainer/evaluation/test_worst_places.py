from __future__ import annotations

import base64
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from labelgen.core.errors import UserError
from tests.trainer.conftest import MakeScene, scene
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.worst_places import (
    MAX_PLACES,
    SIDE,
    ScenePrediction,
    worst_places,
    write_page,
)


def view(
    wrong_at: tuple[int, int], amount: float, size: tuple[int, int] = (300, 250)
) -> ScenePrediction:
    """Prediction that equals the truth except in one square."""
    truth = scene(np.random.default_rng(0), *size) * np.float32(0.5)
    predicted = truth.copy()
    y, x = wrong_at
    predicted[y : y + 20, x : x + 20] += np.float32(amount)
    return ScenePrediction(truth, predicted, truth, None)


def test_the_worst_place_of_any_run_comes_first() -> None:
    views = {"good": view((10, 10), 0.01), "bad": view((230, 130), 0.3)}
    first, second = worst_places("room", views)
    assert (first.y // SIDE, first.x // SIDE) == (230 // SIDE, 130 // SIDE)
    assert (second.y, second.x) == (0, 0)
    assert first.error > second.error > 0
    assert list(first.pictures) == ["reference", "truth", "good", "bad"]


def decoded(page: str) -> list[np.ndarray]:
    data = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    raw = [np.frombuffer(base64.b64decode(d), np.uint8) for d in data]
    return [cv2.imdecode(r, cv2.IMREAD_UNCHANGED) for r in raw]


def test_the_page_shows_the_pictures_and_needs_nothing_else(tmp_path: Path) -> None:
    places = worst_places("<b>room</b>", {"run & more": view((0, 0), 0.2)})
    write_page(tmp_path / "page.html", places, ["run & more"])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    pictures = decoded(text)
    assert len(pictures) == 2 * 4  # two places: reference, truth, what the run makes, its error
    assert all(p.shape[:2] == (SIDE, SIDE) for p in pictures[:4])
    error = pictures[3]
    assert error[:20, :20].min() > 0
    assert error[20:].max() == 0
    assert "<b>room" not in text
    assert "run &amp; more" in text
    assert "http" not in text


def test_many_places_are_cut_to_the_worst(tmp_path: Path) -> None:
    places = [
        place
        for i in range(MAX_PLACES)
        for place in worst_places(f"s{i}", {"run": view((0, 0), 0.01 * (i + 1))})
    ]
    write_page(tmp_path / "page.html", places, ["run"])
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert text.count("<section>") == MAX_PLACES
    assert text.index(f"s{MAX_PLACES - 1},") < text.index("s3,")
    assert "s0," in text or "s1," in text


def test_evaluate_writes_it_once(run: Path, make_scene: MakeScene, tmp_path: Path) -> None:
    scene, page = make_scene(), tmp_path / "page.html"
    evaluate(run, scene, device="cpu", page=page)
    assert len(decoded(page.read_text(encoding="utf-8"))) == 4
    with pytest.raises(UserError, match=r"page.html: exists; remove it"):
        evaluate(run, scene, device="cpu", page=page)
