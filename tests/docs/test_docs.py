"""Commands and code of the documentation are run, or say why not.

What is run is run on small simulated brackets under the names that the pages use. Pages are read
from top to bottom, each in a folder of its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from labelgen.cli import main as labelgen_program
from tests.helpers.commands import PAGES, ROOT, Block, Command, blocks, commands

torch = pytest.importorskip("torch", reason="half of the commands train")
from trainer.cli import cli as trainer_program  # noqa: E402

PROGRAMS = {"labelgen": labelgen_program, "trainer": trainer_program}
AS_IT_STANDS = {"tutorial.md": "test_tutorial.py runs all of it by bash"}
FASTER = {
    ("labelgen", "build"): ["--jobs", "1"],
    ("labelgen", "label"): ["--jobs", "1"],
    ("trainer", "fit"): ["--steps", "2", "--batch", "2", "--device", "cpu", "--save-every", "2"],
}
"""Arguments that are added, so that a page takes seconds."""
MAKES = {
    "build": (2,),
    "simulate": (2,),
    "pack": (2,),
    "merge": (-1,),
    "split": (2, 3),
    "sample": (2,),
    "export": (2,),
}
"""Which words after the command are what it makes; of others it is --run or -o."""
SCRIPTS = ("docs/figures.py",)
"""Scripts that are run; others need what the project does not have, and say so."""
OF_PYTHON = ("api.md", "format.md", "tutorial-shared.md")
"""Pages whose Python is run here; that of loops.md is in tests/trainer/training/test_loops.py."""
WORLD = "--size 160 208 --shake 0.5 --scenes"
OWN_NETWORK = """
import torch

class Mean(torch.nn.Module):
    stride, receptive_field = 1, 64

    def __init__(self, frames, reference):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(()))

    def forward(self, inputs):
        return self.gain * inputs[:, :, 3:].mean(1)
"""

EVERY = [c for page in PAGES for block in blocks(page) for c in commands(block)]
RUN = [c for c in EVERY if not c.block.why and c.block.page.name not in AS_IT_STANDS]


def ids(found: list[Path]) -> list[str]:
    return [page.name for page in found]


def call(words: list[str] | tuple[str, ...]) -> str:
    """What a command prints."""
    result = CliRunner().invoke(PROGRAMS[words[0]], list(words[1:]))
    said = f"{' '.join(words)}\n{result.output}\n{result.exception or ''}"
    assert result.exit_code == 0, said
    return result.stdout


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Steps of small networks are fastest so, where other things run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the pages name: photos, scenes, datasets, runs."""
    folder = tmp_path_factory.mktemp("world")
    before = Path.cwd()
    os.chdir(folder)
    try:
        call(f"labelgen simulate - photos {WORLD} 2 --no-truth --pieces 1".split())
        Path("photos/000").rename("photos/one")
        Path("photos/001").rename("photos/two")
        call(f"labelgen simulate - scenes {WORLD} 2 --seed 3".split())
        for name, source in {"more": "photos", "Training": "scenes", "Test": "scenes"}.items():
            shutil.copytree(source, name)
        call(["labelgen", "build", "photos", "out.h5", "--jobs", "1", "--part-size", "0.005"])
        call(["labelgen", "build", "photos", "a.h5", "--jobs", "1"])
        for made in ("data/out.h5", "offered/hands.h5"):
            Path(made).parent.mkdir()
            shutil.copy("a.h5", made)
        shutil.copy("a.h5", "b.h5")
        call(["trainer", "fit", "out.h5", "--run", "run", *FASTER["trainer", "fit"]])
        for name in ("one", "other"):
            shutil.copytree("run", name)
        Path("mine.py").write_text(OWN_NETWORK)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the world to work in."""
    folder = tmp_path / "here"
    shutil.copytree(world, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.mark.parametrize("page", sorted({c.block.page for c in RUN}), ids=lambda page: page.name)
def test_commands_run(page: Path, here: Path) -> None:
    for command in [c for c in RUN if c.block.page == page]:
        if command.is_ours:
            run(command)
        else:
            run_script(command, here)


def run(command: Command) -> None:
    """Run a command of ours; what an earlier block has made makes room."""
    words = list(command.words)
    for made in makes(words):
        clear(made)
    said = call(words + FASTER.get((words[0], words[1]), []))
    if command.into:
        Path(command.into).write_text(said)
    for made in makes(words):
        assert made.exists(), f"{command}: did not make {made}"


def clear(made: Path) -> None:
    """Remove a folder, or a dataset with its parts."""
    if made.is_dir():
        shutil.rmtree(made)
    for file in (made, *made.parent.glob(f"{made.stem}-*-of-*.h5")):
        file.unlink(missing_ok=True)


def makes(words: list[str]) -> list[Path]:
    """What a command is asked to make."""
    named = [words[i + 1] for i, word in enumerate(words) if word in ("-o", "--run", "--page")]
    if words[1] in MAKES:
        arguments = words[1:]
        named += [arguments[i] for i in MAKES[words[1]]]
    return [Path(name) for name in named]


def run_script(command: Command, here: Path) -> None:
    program, script, *arguments = command.words
    assert script in SCRIPTS, f"{command}\nis neither run nor says why not: <!-- not run: .. -->"
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *arguments], cwd=here, capture_output=True, text=True
    )
    assert done.returncode == 0, f"{program} {script}: {done.stderr}"


def test_figures_are_light() -> None:
    pictures = [p for p in (ROOT / "docs" / "images").iterdir() if p.is_file()]
    assert len(pictures) > 5
    assert [p.name for p in pictures if p.stat().st_size > 200_000] == []


@pytest.mark.parametrize("command", [c for c in EVERY if c.is_ours], ids=str)
def test_commands_and_options_exist(command: Command) -> None:
    program, name, *arguments = command.words
    found = PROGRAMS[program].commands.get(name)
    if found is None:
        assert f"{program} {name}" in command.block.why, f"{command}\nno such command"
        return
    try:
        found.make_parser(click.Context(found)).parse_args(list(arguments))
    except click.UsageError as e:
        pytest.fail(f"{command}\n{e.message}")


@pytest.mark.parametrize("page", PAGES, ids=ids(PAGES))
def test_commands_in_prose_exist(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for program, name, rest in re.findall(r"`(labelgen|trainer) ([a-z]+)([^`]*)`", text):
        found = PROGRAMS[program].commands.get(name)
        assert found is not None, f"{page.name}: {program} {name}"
        known = {o for p in found.params for o in (*p.opts, *p.secondary_opts)}
        unknown = set(re.findall(r"(?<!\S)--?[a-z][a-z-]*", rest)) - known
        assert not unknown, f"{page.name}: {program} {name} has no {unknown}"


def python_blocks() -> list[Block]:
    found = [b for name in OF_PYTHON for b in blocks(ROOT / "docs" / name)]
    return [b for b in found if b.language == "python"]


@pytest.mark.parametrize("block", python_blocks(), ids=lambda block: block.place)
def test_python_runs(block: Block, here: Path) -> None:
    if "build(" in block.text:
        clear(Path("out.h5"))
    exec(compile(block.text, block.place, "exec"), {})


def test_nothing_is_overlooked() -> None:
    """The parser sees what a plain look for lines sees."""
    plain = [
        (page.name, line.strip())
        for page in PAGES
        for line in page.read_text(encoding="utf-8").splitlines()
        if re.match(r" {4,8}(labelgen|trainer|python docs/\w+\.py) ?[a-z]* ", line)
        or re.match(r"(labelgen|trainer|python docs/\w+\.py) [a-z-]+ .*", line)
    ]
    seen = {(c.block.page.name, c.words[0], c.words[1]) for c in EVERY}
    missed = [
        (page, line)
        for page, line in plain
        if (page, *line.split()[:2]) not in seen and not line.startswith("labelgen: ")
    ]
    assert len(plain) > 50
    assert missed == []
