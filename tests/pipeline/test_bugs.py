"""Unexpected exceptions reject their bracket, and do not pass for a fault of its photos."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from labelgen.cli import main
from labelgen.dataset.info import info
from labelgen.discovery.scan import scan
from labelgen.pipeline.build import build
from labelgen.simulate import simulate

LOG = "out.h5.errors.log"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bugs") / "raw"
    simulate(None, folder, scenes=2, size=(160, 200))
    return folder


@pytest.mark.parametrize("step", ["bracket_task.make_label", "stages.survey_cached"])
def test_a_bug_rejects_its_bracket_and_leaves_its_traceback(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    module, name = step.split(".")
    broken, calls = __import__(f"labelgen.pipeline.{module}", fromlist=[name]), 0
    real = getattr(broken, name)

    def fails_once(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise IndexError("list index out of range")
        return real(*arguments)

    monkeypatch.setattr(broken, name, fails_once)
    summary = build(raw, tmp_path / "out.h5", jobs=1)
    [(bracket, reason)] = summary.rejected.items()
    assert summary.used == 1
    assert summary.bugs == [bracket]
    assert reason == (
        "a bug of labelgen, not of the photos: IndexError: list index out of range; "
        f"please report the traceback in {LOG}"
    )
    assert info(tmp_path / "out.h5")["rejected"] == {bracket: reason}
    log = (tmp_path / LOG).read_text()
    assert log.startswith(f"{bracket}\nTraceback (most recent call last)")
    assert "in fails_once" in log
    # The next build has no bugs, and takes the log of the last one away.
    build(raw, tmp_path / "out.h5", jobs=1, overwrite=True)
    assert not (tmp_path / LOG).exists()


def test_strict_says_that_it_was_no_fault_of_the_photos(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from labelgen.pipeline import bracket_task

    hashes = iter(["0" * 16])  # the second bracket meets its end
    monkeypatch.setattr(bracket_task, "scene_hash", lambda _: next(hashes))
    arguments = ["build", str(raw), str(tmp_path / "out.h5"), "--jobs", "1", "--strict"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 1
    assert f"1 brackets used, 1 rejected, 1 of them by a bug of labelgen: {LOG}" in done.stdout
    assert "labelgen: 1 bracket was rejected by a bug of labelgen" in done.stderr
    hashes = iter(["0" * 16])
    done = CliRunner().invoke(main, [*arguments, "--overwrite", "--json"])
    assert len(json.loads(done.stdout)["bugs"]) == 1


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (IndexError("out of range"), "a bug of labelgen, not of the photos: IndexError"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_check_goes_on_after_a_bug_and_tells_it_from_want_of_memory(
    raw: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, problem: str
) -> None:
    from labelgen.pipeline import check_brackets

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(check_brackets, "survey", fail)
    checked, _ = check_brackets.check_brackets(scan(raw), jobs=1)
    assert all(bracket.problems[-1].startswith(problem) for bracket in checked)
