from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from labelgen.cli.terminal import Bar
from labelgen.core.bracket import Stack
from labelgen.core.errors import UserError
from labelgen.core.response import CURVE_SAMPLES, Response, mu_law
from labelgen.discovery.scan import scan
from labelgen.photos.pictures import read_hdr, write_hdr, write_png
from tests.helpers.cameras import EV, film, write_stored
from tests.helpers.cameras import scene as simulated
from tests.trainer.conftest import MakeDataset, MakeScene, expose, scene
from tests.trainer.models.test_models import small_network
from trainer import models
from trainer.config import CONFIG, read_config, read_responses
from trainer.evaluation.evaluate import evaluate
from trainer.evaluation.metrics import compute_metrics
from trainer.evaluation.predict import align_stack, predict, read_stack, survey_brackets
from trainer.evaluation.tiling import predict_full
from trainer.training.fit import fit
from trainer.views import show_scenes


def stack(size: tuple[int, int], evs: Sequence[float] = (0, 2, 4)) -> Stack:
    codes = expose(scene(np.random.default_rng(1), *size), evs, 16)
    return Stack(tuple(codes), tuple(evs), 1)


def network(name: str) -> torch.nn.Module:
    """Network with weights away from their initial zeros."""
    torch.manual_seed(0)
    model = small_network(name).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.01 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("name", models.MODELS)
@pytest.mark.parametrize("size", [(64, 64), (33, 50), (17, 71), (1, 1)])
def test_any_size(name: str, size: tuple[int, int]) -> None:
    got = predict_full(network(name), stack(size))
    assert got.shape == (*size, 3)
    assert got.dtype == np.float32
    assert np.isfinite(got).all()
    assert got.min() >= 0
    assert got.max() <= 1


# `lean` decides between two flows, and rounding may decide otherwise at a pixel in thousands.
@pytest.mark.parametrize(("name", "seam", "most"), [("lean", 1e-3, 2e-2), ("ahdrnet", 1e-4, 1e-4)])
def test_tiles_are_as_the_whole_frame(name: str, seam: float, most: float) -> None:
    model = network(name)
    tile = 3 * model.receptive_field
    frame = stack((3 * tile // 2, 3 * tile // 2 - 7))  # of more pixels than two tiles
    whole, tiled = predict_full(model, frame, 2 * tile), predict_full(model, frame, tile)
    apart = np.abs(mu_law(whole) - mu_law(tiled))
    assert np.quantile(apart, 0.9999) < seam
    assert apart.max() < most
    assert whole.std() > 0.01


def test_tiles_without_a_middle_are_refused() -> None:
    with pytest.raises(UserError, match=r"--tile 16: expected more than"):
        predict_full(network("lean"), stack((64, 64)), 16)


def test_results_are_named_by_the_last_component(
    run: Path, make_scene: MakeScene, tmp_path: Path
) -> None:
    one, two = make_scene("x/one"), make_scene("y/two", size=(33, 40))
    noted: list[str] = []
    assert predict(run, [one, two.parent], tmp_path / "out", note=noted.append) == {}
    assert noted == [str(tmp_path / "out" / n / "pred.hdr") for n in ("one", "two")]
    assert read_hdr(tmp_path / "out" / "one" / "pred.hdr").shape == (50, 70, 3)
    png = cv2.imread(str(tmp_path / "out" / "two" / "pred.png"))
    assert png.shape == (33, 40, 3)


def test_a_clash_of_names_is_refused(run: Path, make_scene: MakeScene, tmp_path: Path) -> None:
    one, other = make_scene("x/one"), make_scene("y/one")
    with pytest.raises(
        UserError, match=r"y/one: its result would be named one, as that of .*x/one"
    ):
        predict(run, [one, other], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_short_run_is_near_the_truth(
    make_dataset: MakeDataset, make_scene: MakeScene, tmp_path: Path
) -> None:
    fit(make_dataset(), tmp_path / "run", steps=3, batch=2, device="cpu")
    folder = make_scene()
    predict(tmp_path / "run", [folder], tmp_path / "out")
    got = read_hdr(tmp_path / "out" / "one" / "pred.hdr")
    assert compute_metrics(got, read_hdr(folder / "HDRImg.hdr"))["psnr_mu"] > 20


def test_frames_of_the_run_are_taken_from_longer_brackets(
    run: Path, make_scene: MakeScene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of EV -2 to 6 the middle three are 0, 2, 4: those of a bracket that has no others.
    five, three = make_scene("five", evs=(0, 2, 4, 6, 8)), make_scene("three", evs=(2, 4, 6))
    predict(run, [five, three], tmp_path / "out", progress=Bar())
    pictures = [read_hdr(tmp_path / "out" / n / "pred.hdr") for n in ("five", "three")]
    said = capsys.readouterr().err
    assert said == f"five: 3 of its 5 frames, at EV 0, 2, 4: {run} takes 3\n"
    assert pictures[0].max() > 0.1
    np.testing.assert_array_equal(*pictures)


def test_brackets_that_cannot_be_used_do_not_stop_the_others(
    run: Path, make_scene: MakeScene, tmp_path: Path
) -> None:
    few, good = make_scene("s/few", evs=(0, 2)), make_scene("s/good")
    failed = predict(run, [few, good], tmp_path / "out")
    assert failed == {"few": "2 frames of different exposure, 3 needed; --frames 2 would take it"}
    assert (tmp_path / "out" / "good" / "pred.hdr").exists()


def test_evaluate_is_predict_and_figures(
    run: Path, make_scene: MakeScene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [make_scene("s/one", seed=1), make_scene("s/two", size=(40, 40), seed=2)]
    make_scene("s/blind", truth=False)
    got = evaluate(run, tmp_path / "s", device="cpu")
    assert got["skipped"] == {"blind": "no HDRImg.hdr beside its frames"}
    predict(run, folders, tmp_path / "out")
    for folder in folders:
        want = compute_metrics(
            read_hdr(tmp_path / "out" / folder.name / "pred.hdr"), read_hdr(folder / "HDRImg.hdr")
        )
        # A Radiance file keeps 8 bits of the mantissa.
        assert got["scenes"][folder.name]["psnr_mu"] == pytest.approx(want["psnr_mu"], abs=0.5)
    values = [row["psnr_l"] for row in got["scenes"].values()]
    assert got["mean"]["psnr_l"] == pytest.approx(np.mean(values))
    capsys.readouterr()
    show_scenes(got)
    lines = capsys.readouterr().out.splitlines()
    first = [line.split()[0] for line in lines]
    assert first == ["scene", "one", "two", "mean", "spread", "nothing"]
    assert got["spread"]["psnr_l"] == pytest.approx(np.std(values))


def test_what_moves_is_scored_by_itself(run: Path, make_scene: MakeScene) -> None:
    folder = make_scene()
    truth = read_hdr(folder / "HDRImg.hdr")
    mask = np.zeros(truth.shape[:2], np.uint8)
    mask[10:30, 20:40] = 255
    (folder / "truth").mkdir()
    write_png(folder / "truth" / "moving.png", mask)
    got = evaluate(run, folder, device="cpu")["mean"]
    truth[mask == 0] = 0.0
    write_hdr(folder / "HDRImg.hdr", truth)
    spoilt = evaluate(run, folder, device="cpu")["mean"]
    assert spoilt["psnr_mu_moving"] == pytest.approx(got["psnr_mu_moving"])
    assert spoilt["psnr_mu"] < got["psnr_mu"] - 1
    write_png(folder / "truth" / "moving.png", np.full_like(mask, 255))
    every = evaluate(run, folder, device="cpu")["mean"]
    assert every["psnr_mu_moving"] == pytest.approx(every["psnr_mu"])
    write_png(folder / "truth" / "moving.png", mask[:-1])
    with pytest.raises(UserError, match=r"one: moving.png: expected a mask of 70x50 px"):
        evaluate(run, folder, device="cpu")


def test_a_border_can_be_left_out(run: Path, make_scene: MakeScene) -> None:
    folder = make_scene()
    truth = read_hdr(folder / "HDRImg.hdr")
    spoilt = truth.copy()
    spoilt[:4] = spoilt[-4:] = spoilt[:, :4] = spoilt[:, -4:] = 0.0
    whole = evaluate(run, folder, crop=4, device="cpu")
    write_hdr(folder / "HDRImg.hdr", spoilt)
    assert evaluate(run, folder, crop=4, device="cpu")["mean"] == pytest.approx(whole["mean"])
    assert evaluate(run, folder, device="cpu")["mean"]["psnr_l"] < whole["mean"]["psnr_l"]
    with pytest.raises(UserError, match=r"--crop 20: leaves nothing of one, 70x50 px"):
        evaluate(run, folder, crop=20, device="cpu")


def test_evaluate_without_truth_is_one_line(run: Path, make_scene: MakeScene) -> None:
    folder = make_scene(truth=False)
    with pytest.raises(UserError, match=r"no scene that can be scored \(one: no HDRImg.hdr beside"):
        evaluate(run, folder)


def test_truth_of_another_size_is_one_line(
    run: Path, make_scene: MakeScene, tmp_path: Path
) -> None:
    folder, other = make_scene(), make_scene("other", size=(20, 30))
    (other / "HDRImg.hdr").replace(folder / "HDRImg.hdr")
    with pytest.raises(UserError, match=r"30x20 px, its frames 70x50"):
        evaluate(run, folder)


def test_what_is_no_run_is_one_line(tmp_path: Path, make_scene: MakeScene) -> None:
    with pytest.raises(UserError, match=r"not a run \(config.json is missing\)"):
        predict(tmp_path, [make_scene()], tmp_path / "out")


def test_eight_bits_are_read_as_sixteen() -> None:
    sixteen = stack((40, 40)).to_depth(8).to_depth(16)
    eight = replace(sixteen, codes=sixteen.to_depth(8).codes)
    model = network("lean")
    np.testing.assert_allclose(predict_full(model, eight), predict_full(model, sixteen), atol=1e-6)


def test_cameras_of_the_run_are_known_to_predict_and_evaluate(run: Path, tmp_path: Path) -> None:
    """One bracket does not determine its response; the run's dataset has that of its camera."""
    write_stored(tmp_path / "s" / "one", simulated(20, pieces=0), film)
    [bracket] = [replace(b, camera="Maker X") for b in scan(tmp_path / "s")]
    config = read_config(run)
    [alone] = survey_brackets([bracket], config)
    assert alone.model.assumed
    curve = np.interp(np.linspace(0, 1, CURVE_SAMPLES), film(np.linspace(0, 1, 999) ** 2.2), GAMMAS)
    told = Response("estimated", ((0.0, *curve[1:-1].tolist(), 1.0),) * 3)
    stored = {
        "Maker X, png, 8 bit": told.as_json() | {"brackets": 9, "misfit": 0.1},
        "unknown camera 336x240, png, 8 bit": Response("linear").as_json(),
        "Maker Y, png, 8 bit": {"name": "gamma2.2 (assumed)"},
    }
    values = json.loads((run / CONFIG).read_text())
    (run / CONFIG).write_text(json.dumps(values | {"responses": stored}))
    known = read_responses(run)
    assert known == {"Maker X, png, 8 bit": told}
    assert read_config(run) == config
    [found] = survey_brackets([bracket], config, known)
    assert found.model.response == told
    assert not found.model.assumed
    frames = read_stack(found)
    assert frames.codes[0].dtype == np.uint16
    plain = read_stack(alone)
    assert np.array_equal(frames.codes[1], told.recode(plain.codes[1]))


GAMMAS = np.linspace(0, 1, 999)


def test_a_declared_response_changes_predictions_and_scores(run: Path, tmp_path: Path) -> None:
    write_stored(tmp_path / "s" / "one", simulated(20, pieces=0), film)
    results = []
    for response in ("gamma2.2", "srgb"):
        out = tmp_path / response
        assert predict(run, [tmp_path / "s" / "one"], out, response=response, device="cpu") == {}
        results.append(read_hdr(out / "one" / "pred.hdr"))
    assert np.abs(results[0] - results[1]).max() > 1e-3
    scores = [
        evaluate(run, tmp_path / "s", response=r, device="cpu")["mean"]["psnr_mu"]
        for r in ("gamma2.2", "srgb")
    ]
    assert scores[0] != scores[1]
    with pytest.raises(UserError, match="--response kodak: expected auto"):
        evaluate(run, tmp_path / "s", response="kodak")


def test_aligned_frames_lie_on_the_reference() -> None:
    hands = simulated(5, shake=4.0, pieces=0)
    frames = Stack(hands.codes, EV, 1)
    moved = align_stack(frames)
    truth, middle = np.minimum(hands.truth, 1), np.s_[20:-20, 20:-20]
    for i in (0, 2):
        clip = np.float32(2.0 ** -EV[i])
        shown = np.minimum(truth, clip)[middle]
        before, after = (
            np.abs(np.minimum(s.radiance(i), clip)[middle] - shown).mean() for s in (frames, moved)
        )
        assert after < 0.5 * before
    np.testing.assert_allclose(moved.linear(1), frames.linear(1), atol=1e-4)


def test_predict_aligns_and_writes_exr_when_asked(
    run: Path, make_scene: MakeScene, tmp_path: Path
) -> None:
    scene = make_scene(size=(64, 80))
    predict(run, [scene], tmp_path / "plain", device="cpu")
    assert not (tmp_path / "plain" / "one" / "pred.exr").exists()
    predict(run, [scene], tmp_path / "more", device="cpu", align=True, exr=True)
    exr, hdr = (read_hdr(tmp_path / "more" / "one" / f"pred.{kind}") for kind in ("exr", "hdr"))
    np.testing.assert_allclose(exr, hdr, atol=0.004)
    assert exr.std() > 0.01
