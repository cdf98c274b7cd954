"""Pages about datasets: what they show, what they let in, and what a browser makes of them."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from labelgen.cli import main
from labelgen.core.errors import UserError
from labelgen.dataset.columns import BRANCHES, SampleLayout
from labelgen.dataset.reader import Dataset
from labelgen.dataset.sample import Patch, Sample
from labelgen.dataset.shard import Shard, ShardSource
from labelgen.photos.pictures import read_hdr
from labelgen.pipeline.build import build
from labelgen.report import gallery, report
from labelgen.report.mosaic import AUGMENTED_COVER, PLAIN_COVER, Mosaic, patch_positions
from labelgen.report.overview import group_rejects
from labelgen.report.pictures import radiance_uri
from labelgen.report.records import BracketRecord, SampleColumns
from labelgen.report.text import ellipsize, evenly_spaced
from tests.conftest import psnr_mu
from tests.helpers.datasets import joined

SIDE = 32
EV = (0.0, 2.0, 4.0)
HOSTILE = "<script>alert(1)</script>"
NAMES = (HOSTILE, "</script><img src=x onerror=alert(2)>", "\u202egnp.exe", "day 2/é 3", "x" * 5000)


def radiance_of(seed: int) -> np.ndarray:
    """(32, 32, 3) float16 from 2^-10 at the left to 1 at the right, with some texture."""
    rng = np.random.default_rng(seed)
    stops = np.linspace(-10, 0, SIDE)[None, :, None] - rng.uniform(0, 0.3, (SIDE, SIDE, 3))
    return (2.0**stops).astype(np.float16)


def fake(path: Path, names: tuple[str, ...], rejected: dict[str, str] | None = None) -> Path:
    """A dataset of 2 patches of 2 variants a bracket; the lower half of each is trusted in full.

    Of the upper half a quarter each has weights of 0, 100, 200 and 255.
    """
    layout, sources, scenes = SampleLayout(3, SIDE, 8, "none"), [], {}
    weight = np.full((SIDE, SIDE), 255, np.uint8)
    weight[: SIDE // 2] = np.repeat(np.uint8([0, 100, 200, 255]), SIDE // 4)
    for k, name in enumerate(names):
        shard_path = path.with_suffix(f".{k}.shard")
        with Shard(shard_path, layout) as shard:
            for row in range(4):
                label = radiance_of(k + row // 2)
                lit = np.minimum(label * np.float16(4), 1) if row % 2 else label
                codes = [255 * np.clip(lit.astype(float) * 2**e, 0, 1) ** (1 / 2.2) for e in EV]
                branch = BRANCHES.index("illumination" if row % 2 else "static")
                patch = Patch(row // 2, 0, SIDE * (row // 2), branch)
                shard.append(Sample(np.rint(codes).astype(np.uint8), lit, weight, patch, row % 2))
        sources.append(ShardSource(shard_path, name, 4, EV))
        frames = [{"file": f"{name}/{e}.jpg", "ev": e, "stated": e, "sha256": ""} for e in EV]
        label_figures = {
            "trusted": 1 / (1 + k),
            "moving": 0.1 * (k % 10),
            "alignment_px": [1, 0, 2],
            "moving_px": [20.5, 60.0],
        }
        scenes[name] = {"frames": frames, "size": [SIDE + 8, 2 * SIDE], "camera": name}
        scenes[name] |= {"label": label_figures, "noise": {"full_well": 9e3, "read": 3}}
        scenes[name] |= {"problems": [f"{name}: is odd"]}
    scenes |= {name: {"rejected": reason} for name, reason in (rejected or {}).items()}
    head: dict[str, Any] = {"format": "labelgen", "format_version": 1, "frames": 3, "reference": 1}
    head |= {"patch": SIDE, "encoding": "gamma2.2", "recipe": {"name": names[0]}, "scenes": scenes}
    head |= {"license": names[0], "citation": "", "generator": "test", "fingerprint": "f" * 64}
    head |= {"responses": {names[0]: {"name": "gamma2.2", "brackets": 1, "misfit": None}}}
    joined(sources, path, layout, head, max(len(name.encode()) for name in names))
    return path


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a dataset whose names mean harm."""
    folder = tmp_path_factory.mktemp("report")
    reasons = {HOSTILE * 2: f"0.png: {HOSTILE} 3 times", "bad": f"1.png: {HOSTILE} 5 times"}
    dataset = fake(folder / "out.h5", NAMES, reasons)
    times = {"fingerprint": "f" * 64, "resumed": False, "survey": 1.5, "make": 20.0, "join": 0.2}
    (folder / "out.times.json").write_text(json.dumps(times))
    return report(dataset, folder / "report.html").path


class Page(HTMLParser):
    """The elements of a page, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type") or "", ""))

    def handle_data(self, data: str) -> None:
        if self.scripts and self.elements[-1][0] == "script" and data.strip():
            kind, text = self.scripts[-1]
            self.scripts[-1] = kind, text + data


# --- what is in a page ------------------------------------------------------------------------


def test_only_own_scripts_can_run(hostile: Path) -> None:
    text = hostile.read_text("utf-8")
    assert HOSTILE not in text
    page = Page(text)
    code = [script for kind, script in page.scripts if not kind]
    assert len(code) == 4
    policy = next(a["content"] for tag, a in page.elements if a.get("http-equiv")) or ""
    for element in re.findall(r"<script>(.*?)</script>", text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(element.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in re.search(r"script-src [^;]*", policy)[0]  # type: ignore[index]
    data = [json.loads(script) for kind, script in page.scripts if kind == "application/json"]
    assert len(data) == 2 + len(NAMES)
    assert data[1][0]["name"] == HOSTILE


def test_nothing_is_loaded_from_elsewhere(hostile: Path) -> None:
    page = Page(hostile.read_text("utf-8"))
    for tag, attributes in page.elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name)
            assert not value or value.startswith(("#", "data:")), (tag, value)
        assert not any(name.startswith("on") for name in attributes)


def test_same_dataset_same_page(hostile: Path, tmp_path: Path) -> None:
    again = report(hostile.with_name("out.h5"), tmp_path / "again.html").path
    assert again.read_bytes() == hostile.read_bytes()


@pytest.mark.parametrize("text", ["a\u202eb", "a\x1b[2Jb", "a\nb", "a\ud800b", "y" * 10**6])
def test_texts_are_short_and_printable(text: str) -> None:
    assert len(ellipsize(text)) <= 161
    assert ellipsize(text).isprintable()
    assert ellipsize(text).encode()


def test_radiance_survives_its_picture() -> None:
    light = np.float32(2.0) ** np.random.default_rng(0).uniform(-15, 0, (20, 30, 3)).astype("f4")
    light[0, 0] = 0
    uri = radiance_uri(light)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))), np.uint16)
    high, low = picture[:20], picture[20:, :, 0]
    code = high << 2 | np.stack([low >> s & 3 for s in (0, 2, 4)], -1)
    back = np.where(code > 0, 2.0 ** ((code - 1023.0) / 68), 0)
    assert back[0, 0].max() == 0
    assert np.abs(back[1:] / light[1:] - 1).max() < 0.006


def test_mosaic_shows_the_bracket(raw: Path, tmp_path: Path) -> None:
    build(raw, tmp_path / "out.h5", jobs=1)
    truth = read_hdr(raw / "static" / "HDRImg.hdr")
    files = sorted((raw / "static").glob("*.tif"))
    frames = [cv2.imread(str(f), cv2.IMREAD_UNCHANGED)[..., ::-1] / 65535 for f in files]
    with Dataset(tmp_path / "out.h5") as data:
        rows = SampleColumns.of(data)
        patches = patch_positions(rows, *rows.brackets["static"])
        entry = BracketRecord.of("static", data.header.scenes["static"])
        mosaic = Mosaic.of(data, entry, patches, 10**6)
        mosaic.fill(data, patches, 1 << 30)
    assert mosaic.label.shape == truth.shape
    taken, side = np.zeros(truth.shape[:2], bool), 128
    for patch in patches:
        taken[patch.y : patch.y + side, patch.x : patch.x + side] |= bool(patch.plain)
    assert taken.mean() > 0.5
    assert np.array_equal(mosaic.cover == PLAIN_COVER, taken)
    trusted = taken & (mosaic.weight >= 128)
    assert psnr_mu(mosaic.label[trusted], truth[trusted]) > 35
    off = [np.abs(m[taken] / 255 - f[taken]) for m, f in zip(mosaic.frames, frames, strict=True)]
    # Half of the variants have frames that were moved by 10 px; these are pasted only where there
    # is no other.
    assert max(o.mean() for o in off) < 0.03


def test_augmented_patches_lie_below_plain_ones(tmp_path: Path) -> None:
    dataset = fake(tmp_path / "out.h5", ("a",))
    with h5py.File(dataset, "r+") as file:
        file["origin"][3] = 8, SIDE // 2  # a lit patch of its own, over both others and below them
    with Dataset(dataset) as data:
        rows = SampleColumns.of(data)
        patches = patch_positions(rows, *rows.brackets["a"])
        mosaic = Mosaic.of(data, BracketRecord.of("a", data.header.scenes["a"]), patches, 10**6)
        mosaic.fill(data, patches, 1 << 30)
    assert (mosaic.cover[:SIDE] == PLAIN_COVER).all()
    expected = np.concatenate([radiance_of(0), radiance_of(1)], 1)
    assert np.array_equal(mosaic.label[:SIDE], expected.astype(np.float32))
    below = mosaic.cover[SIDE:]
    assert (below[:, SIDE // 2 : 3 * SIDE // 2] == AUGMENTED_COVER).all()
    assert (below == AUGMENTED_COVER).mean() == 0.5
    assert (below == 0).mean() == 0.5


def test_evenly_spaced_brackets_are_read_of_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(f"{k:04d}" for k in range(400))
    dataset = fake(tmp_path / "out.h5", names)
    read = []
    image = Dataset.image
    monkeypatch.setattr(
        Dataset, "image", lambda self, name, row: read.append(row) or image(self, name, row)
    )
    made = report(dataset, tmp_path / "report.html")
    assert (made.shown, made.used) == (36, 400)
    assert len(read) <= 2 * 256 + 36 * 4 * 6
    index = json.loads(Page(made.path.read_text()).scripts[1][1])
    steps = np.diff([int(entry["name"]) for entry in index])
    assert steps.min() >= 11
    assert steps.max() <= 12


def test_a_page_that_is_full_shows_fewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = fake(tmp_path / "out.h5", tuple(f"{k:04d}" for k in range(40)))
    whole = report(dataset, tmp_path / "whole.html")
    monkeypatch.setattr(gallery, "PAGE_BYTES", whole.bytes // 8)
    small = report(dataset, tmp_path / "small.html")
    assert 1 <= small.shown < whole.shown
    index = json.loads(Page(small.path.read_text()).scripts[1][1])
    numbers = [int(entry["name"]) for entry in index]
    assert numbers == sorted(numbers)
    assert max(np.diff([0, *numbers, 40])) <= 2 * 40 / small.shown + 3


def test_evenly_spaced_keeps_few_and_spreads_many() -> None:
    assert evenly_spaced([1, 2, 3], 5) == [1, 2, 3]
    assert evenly_spaced(range(100), 4) == [12, 37, 62, 87]
    assert evenly_spaced([], 4) == []


def test_rejects_are_grouped_whatever_numbers_are_in_them() -> None:
    reasons = ["no patch is trusted: 3 % trusted", "no patch is trusted: 4 % trusted"]
    reasons += ["a.png: not a readable image (1)", "b.tif: not a readable image (2)", "other"]
    groups = group_rejects([BracketRecord(str(k), reason) for k, reason in enumerate(reasons)])
    assert [(group.kind, group.count) for group in groups] == [
        ("no patch is trusted", 2),
        ("not a readable image (…)", 2),
        ("other", 1),
    ]


def test_lists_of_rejects_are_cut_to_the_size_of_a_page(tmp_path: Path) -> None:
    dataset = fake(
        tmp_path / "out.h5", ("a",), {f"{k}{'&' * 200}": "<" * 400 for k in range(20_000)}
    )
    page = report(dataset, tmp_path / "report.html")
    assert page.bytes < 6_500_000
    text = page.path.read_text()
    assert "20,000" in text
    assert "more, for which there is no room here" in text


# --- times ------------------------------------------------------------------------------------


def test_a_build_says_beside_its_dataset_how_long_it_took(raw: Path, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    shutil.copytree(raw / "static", tmp_path / "raw" / "static")
    out = tmp_path / "out.h5"
    summary = build(tmp_path / "raw", out, jobs=1)
    times = json.loads((tmp_path / "out.times.json").read_text())
    assert times["fingerprint"] == summary.fingerprint
    assert all(times[stage] >= 0 for stage in ("survey", "make", "join"))
    assert times["resumed"] is False

    def shown_times(name: str) -> Any:
        page = Page(report(out, tmp_path / name).path.read_text())
        return json.loads(page.scripts[0][1])["times"]

    assert shown_times("a.html")["stages"]["make"] == times["make"]
    (tmp_path / "out.times.json").write_text(json.dumps(times | {"fingerprint": "of another"}))
    assert shown_times("b.html") == {}
    (tmp_path / "out.times.json").write_text(json.dumps(times | {"make": "long"}))
    with pytest.raises(UserError, match=r"out\.times\.json: not what a build writes; remove it"):
        report(out, tmp_path / "c.html")


# --- what is refused --------------------------------------------------------------------------


def test_command(hostile: Path, tmp_path: Path) -> None:
    dataset, page = hostile.with_name("out.h5"), tmp_path / "page.html"

    def run(*arguments: object) -> Any:
        return CliRunner().invoke(main, ["report", *map(str, arguments)])

    first = run(dataset, "-o", page)
    assert first.exit_code == 0
    assert "5 of 5 brackets" in first.stdout
    before = page.read_bytes()
    page.write_bytes(before + b"noted")
    refused = run(dataset, "-o", page)
    assert (refused.exit_code, page.read_bytes()) == (2, before + b"noted")
    assert (
        refused.stderr
        == f"labelgen: {page}: exists; give --overwrite to replace it, or another name\n"
    )
    assert run(dataset, "-o", page, "--overwrite").exit_code == 0
    assert page.read_bytes() == before
    (tmp_path / "notes.txt").write_text("mine")
    for wrong in (tmp_path, tmp_path / "no" / "page.html", tmp_path / "notes.txt", dataset):
        assert run(dataset, "-o", wrong, "--overwrite").exit_code == 2
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with Dataset(dataset) as data:
        assert len(data) == 4 * len(NAMES)
    assert "no such file" in run(tmp_path / "no.h5", "-o", tmp_path / "p.html").stderr
    assert not (tmp_path / "p.html").exists()


@pytest.mark.parametrize(
    "scene",
    [
        {"frames": 3},
        {"frames": [{"file": "a", "ev": "1"}]},
        {"label": {"trusted": "much"}},
        {"size": [10**9, 10**9]},
        {"noise": [1]},
        {"camera": {}},
    ],
)
def test_damaged_notes_are_one_line(tmp_path: Path, scene: dict[str, Any]) -> None:
    dataset = fake(tmp_path / "out.h5", ("a",))
    with h5py.File(dataset, "r+") as file:
        file.attrs["scenes"] = json.dumps({"a": scene})
    with pytest.raises(UserError, match=r"out\.h5: damaged .*\(.*\); "):
        report(dataset, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_values_out_of_range_are_harmless(tmp_path: Path) -> None:
    dataset = fake(tmp_path / "out.h5", ("a", "b"))
    with h5py.File(dataset, "r+") as file:
        file["label"][0] = np.nan
        file["label"][2] = np.inf
        file["ev"][:] = np.float32([[-1e30, np.nan, np.inf]])
        file["origin"][0] = -(2**31), 2**31 - 1
        file["origin"][5] = 2**30, 0
        file["branch"][1] = 200
        file.attrs["scenes"] = "{}"
    assert report(dataset, tmp_path / "report.html").shown == 2


# --- in a browser -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium of the system, by playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium is installed: apt-get install chromium")
    with playwright.sync_playwright() as started:
        running = started.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-gpu"]
        )
        yield running
        running.close()


@pytest.fixture
def visit(browser: Any, hostile: Path) -> Iterator[Any]:
    """Opens the page; at the end nothing was said, asked for or thrown."""
    wrong: list[str] = []
    contexts = []

    def opened(path: Path = hostile, **options: Any) -> Any:
        context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | options))
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        own = path.as_uri()
        page.on(
            "request",
            lambda r: (
                r.url.split("#")[0] == own or r.url.startswith("data:") or wrong.append(r.url)
            ),
        )
        page.goto(own)
        page.wait_for_selector("#viewer[data-shown]")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


PIXELS = """() => {
    const canvas = document.getElementById("canvas");
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return [canvas.height, canvas.width, Array.from(data)];
}"""


def pixels(page: Any) -> np.ndarray:
    """(H, W, 3) float of the large picture."""
    height, width, data = page.evaluate(PIXELS)
    return np.reshape(data, (height, width, 4))[..., :3].astype(float)


def expose(page: Any, ev: float) -> np.ndarray:
    page.locator("#exposure").fill(str(ev))
    return pixels(page)


def test_slider_exposes_radiance(visit: Any) -> None:
    page = visit()
    truth = np.concatenate([radiance_of(0), radiance_of(1)], 1).astype(float)
    for ev in (-2, 0, 3, 9):
        expected = 255 * np.clip(truth * 2.0**ev, 0, 1) ** (1 / 2.2)
        assert np.abs(expose(page, ev)[:SIDE] - expected).max() <= 2
    dark, bright = expose(page, -2), expose(page, 12)
    assert dark[:SIDE].max() < 140
    assert (bright[:SIDE] >= 254).mean() > 0.95
    page.check("#mu")
    expected = 255 * np.log1p(5000 * truth) / np.log(5001)
    assert np.abs(pixels(page)[:SIDE] - expected).max() <= 2


def test_label_looks_like_a_frame_at_its_exposure(visit: Any) -> None:
    page = visit()
    for i in range(3):
        page.click(f"text=as frame {i + 1}")
        label = pixels(page)[:SIDE]
        page.check(f"input[name=view][value='{i}']", force=True)
        assert np.median(np.abs(pixels(page)[:SIDE] - label)) < 3  # frames are JPEG in the page
        page.check("input[name=view][value=label]", force=True)


def test_overlay_colours_what_is_not_trusted_and_nothing_else(visit: Any) -> None:
    page = visit()
    plain = pixels(page)
    page.check("#overlay")
    changed = np.abs(pixels(page) - plain).max(-1)
    quarter = SIDE // 4
    assert changed[SIDE // 2 : SIDE].max() == 0  # full trust
    assert changed[: SIDE // 2, 3 * quarter : SIDE].max() == 0
    for k in range(3):  # none, a guess, in part
        assert changed[: SIDE // 2, k * quarter : (k + 1) * quarter].min() > 0
    assert changed[SIDE:].max() == 0  # no patch is there
    assert len(np.unique(pixels(page)[SIDE:])) == 2  # hatched
    page.uncheck("#overlay")
    assert np.array_equal(pixels(page), plain)


def test_every_control_works_by_keyboard(visit: Any) -> None:
    page = visit()
    focused = "document.activeElement.{}"
    order = []
    for _ in range(60):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id || document.activeElement.name"))
        style = page.evaluate(
            "(() => { const e = document.activeElement; return getComputedStyle(e).outlineStyle"
            " + getComputedStyle(e.nextElementSibling ?? e).outlineStyle })()"
        )
        assert "solid" in style or "dashed" in style or order[-1] in ("", "view"), order[-1]
        if order[-1] == "exposure":
            break
    assert order.index("theme") < order.index("order") < order.index("view")
    before = float(page.locator("#exposure").input_value())
    page.keyboard.press("ArrowRight")
    assert float(page.locator("#exposure").input_value()) == pytest.approx(before + 0.1)
    assert page.get_attribute("#exposure", "aria-valuetext") == f"+{before + 0.1:.1f} EV"

    page.focus("#strip [aria-selected=true]")
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("#viewer[data-shown='1']")
    assert page.inner_text("#bracket-name") == NAMES[1]
    page.keyboard.press("End")
    page.wait_for_selector(f"#viewer[data-shown='{len(NAMES) - 1}']")
    assert page.evaluate(focused.format("getAttribute('aria-selected')")) == "true"
    assert page.locator("#strip [tabindex='0']").count() == 1


def test_pages_turn_and_orders_change(visit: Any, tmp_path: Path) -> None:
    dataset = fake(tmp_path / "out.h5", tuple(f"bracket {k}" for k in range(30)))
    page = visit(report(dataset, tmp_path / "report.html").path)
    assert page.inner_text("#where") == "1\u201312 of 30"
    page.click("#next")
    page.click("#next")
    assert page.inner_text("#where") == "25\u201330 of 30"
    assert page.is_disabled("#next")
    assert page.locator("#strip button").count() == 6
    page.select_option("#order", "trusted")
    page.wait_for_selector("#viewer[data-shown='29']")
    page.focus("#strip button")
    for _ in range(12):
        page.keyboard.press("ArrowRight")
    assert page.inner_text("#where") == "13\u201324 of 30"
    assert page.inner_text("#strip [aria-selected=true] span") == "bracket 17"


@pytest.mark.parametrize("width", [320, 360, 768])
def test_no_sideways_scroll(visit: Any, width: int) -> None:
    page = visit(viewport={"width": width, "height": 740})
    for details in page.locator("details").all():
        details.evaluate("element => { element.open = true; }")
    page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    out = page.evaluate(
        """width => [...document.querySelectorAll("main *, header *, footer *")]
            .filter((e) => e.getBoundingClientRect().right > width + 1 && !e.closest("svg")
                && getComputedStyle(e).position !== "absolute")
            .map((e) => e.outerHTML.slice(0, 80))""",
        width,
    )
    assert out == []


def test_dark_and_light(visit: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('.plot text')).fill"
    seen = {s: visit(color_scheme=s) for s in ("dark", "light")}
    colours = {scheme: (page.evaluate(ground), page.evaluate(ink)) for scheme, page in seen.items()}
    assert colours["dark"] != colours["light"]
    assert len({*colours["dark"], *colours["light"]}) == 4
    page = seen["light"]
    page.check("input[name=theme][value=dark]", force=True)
    assert (page.evaluate(ground), page.evaluate(ink)) == colours["dark"]


def test_names_of_strangers_are_text(visit: Any) -> None:
    page = visit()
    assert page.inner_text("#bracket-name") == HOSTILE
    assert page.locator("#brackets img[src=x]").count() == 0
    assert HOSTILE in page.inner_text("#rejected")
    assert page.locator("[data-plot] svg").count() >= 9
    assert page.locator("img").evaluate_all("all => all.every((i) => i.naturalWidth > 0)")


def test_policy_forbids_network_and_foreign_scripts(browser: Any, hostile: Path) -> None:
    page = browser.new_page()
    page.goto(hostile.as_uri())
    asked: list[str] = []
    page.on("requestfinished", lambda request: asked.append(request.url))
    assert (
        page.evaluate("fetch('data:text/plain,x').then(() => 'let', () => 'forbidden')")
        == "forbidden"
    )
    page.evaluate(
        """() => { const s = document.createElement("script"); s.textContent = "window.ran = 1";
        document.body.append(s); const i = new Image(); i.src = "http://127.0.0.1:9/x.png"; }"""
    )
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    assert asked == []
    page.close()
