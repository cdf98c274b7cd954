"""Tables and bars on a terminal, lines elsewhere; JSON, help and completion."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from rich.cells import cell_len

from labelgen.cli import main
from labelgen.cli.help import Command, Group
from labelgen.cli.show import show
from labelgen.cli.tables import Line, Table
from labelgen.cli.terminal import Bar, Commands
from labelgen.cli.text import echo_json
from labelgen.pipeline.build import build
from labelgen.simulate import write_bracket
from tests.conftest import EV, make_scene
from tests.helpers.terminals import in_pty, on_terminal, without_escapes
from trainer.cli import cli as trainer

LABELGEN = [sys.executable, "-c", "from labelgen.cli import main; main(prog_name='labelgen')"]
DRAWN = set("─━╸╺▪")


@pytest.fixture(scope="module")
def dataset(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "out.h5"
    build(raw, out, jobs=1)
    return out


def piped(*arguments: object) -> str:
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def parse_json(text: str) -> Any:
    """Parse standard JSON, which has neither NaN nor Infinity."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


def test_a_pipe_gets_lines_without_anything_drawn(raw: Path, dataset: Path) -> None:
    for command in (("scan", raw), ("info", dataset), ("verify", dataset), ("recipes",)):
        said = piped(*command)
        assert "\x1b" not in said
        assert not DRAWN & set(said)


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_a_table_that_fits(raw: Path, columns: int) -> None:
    status, said = in_pty([*LABELGEN, "scan", str(raw)], columns)
    assert status == 0
    lines = without_escapes(said.decode()).splitlines()
    assert all(cell_len(line) <= columns for line in lines)
    assert any("─" in line for line in lines)
    (row,) = [line for line in lines if line.startswith("five ")]
    evs = [f"+{i}.00" for i in range(5)]
    assert row.split() == ["five", "5", "280x200", *evs, "exposure.txt"]
    assert lines[-1].rstrip() == "4 brackets, 4 with exposures for 3 frames or more"


def test_no_color_and_dumb_terminals(raw: Path, dataset: Path) -> None:
    for command in (["recipes"], ["info", str(dataset)]):
        _, said = in_pty([*LABELGEN, *command], NO_COLOR="1")
        assert b"\x1b" not in said
        assert "─".encode() in said
        _, said = in_pty([*LABELGEN, *command])
        assert b"\x1b[1m" in said
    _, said = in_pty([*LABELGEN, "scan", str(raw)], TERM="dumb")
    assert said.decode().replace("\r", "") == piped("scan", raw)


def test_results_and_progress_stay_apart(raw: Path, tmp_path: Path) -> None:
    """A file gets plain lines even while the bar is on the terminal; JSON is never drawn."""
    out, listed = tmp_path / "out.h5", tmp_path / "listed"
    line = shlex.join([*LABELGEN, "build", str(raw), str(out), "--jobs", "1"])
    status, said = in_pty(["sh", "-c", f"{line} > {shlex.quote(str(listed))}"], 100)
    assert status == 0
    assert re.search(r"build .* 4/4 .* \d+ samples  0 rejected", without_escapes(said.decode()))
    assert "brackets: at most" in said.decode()
    assert "\x1b" not in listed.read_text()
    assert "    4 brackets used, 0 rejected\n" in listed.read_text()
    _, said = in_pty([*LABELGEN, "verify", str(out), "--json"])
    assert parse_json(said.decode()[said.decode().index("{") :])["wrong"] == []


CELLS = [
    "short",
    "a longer text of several words",
    "an_unbroken_name_that_is_longer_than_its_column_" * 2,
    "夜景の写真ブラケット" * 4,
    "[red]no markup[/red]",
    "[/]",
    ":smile:",
]


@pytest.mark.parametrize("columns", [10, 24, 40, 60, 80, 200])
def test_nothing_is_lost_on_narrow_terminals(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    rows = [[cell, str(17**i), (cell[::-1], Line(cell, "red"))] for i, cell in enumerate(CELLS)]
    table = Table(("Name", "Number", ""), rows, no_wrap=(1,), right_aligned=(1,))
    last = Line("x" * 90, "bold")
    lines = [f"{a}: {b} {c} {d.text}" for a, b, (c, d) in rows]
    out, err = on_terminal(
        monkeypatch, lambda: show(table, last, lines=[*lines, last]), columns, NO_COLOR="1"
    )
    given = "".join(f"{a}{b}{c}{d.text}" for a, b, (c, d) in rows) + last.text
    if "─" in out:
        given += "NameNumber"
        assert all(cell_len(line) <= columns for line in out.splitlines()[:-2])
    else:
        assert columns < 60
        given += ":" * len(rows)
    shown = Counter(c for c in out if not c.isspace() and c not in DRAWN)
    assert shown == Counter(c for c in given if not c.isspace())
    assert err == ""


def test_long_tables_come_as_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(("Name",), [[str(i)] for i in range(3000)])
    out, _ = on_terminal(monkeypatch, lambda: show(table, lines=["a", "b"]))
    assert out == "a\nb\n"


def test_a_pipe_gets_the_rows_of_a_table_as_lines(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(
        ("Name", "Why"), [["a", ("b", Line("c", "red"))], ["d", ()]], line="{} <- {}".format
    )
    show(table, None, Line("drawn", "bold", plain="piped"), "last")
    assert capsys.readouterr().out == "a <- b\na <- c\npiped\nlast\n"


HOSTILE = "a\x1b[2J\nout.h5: sound \x9b31m\u202e [red]\udcff"
SHOWN = "a\\x1b[2J\\nout.h5: sound \\x9b31m\\u202e [red]\\udcff"


def test_names_can_not_steer_tables_and_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    def work() -> None:
        show(Line(HOSTILE, "red"), Table((HOSTILE, ""), [[HOSTILE, (HOSTILE, "b")]]))
        with Bar() as bar:
            bar.start("build", 2)
            bar.remark(HOSTILE)
            bar.result(HOSTILE)

    out, err = on_terminal(monkeypatch, work, columns=300)
    assert without_escapes(out).count(SHOWN) == 5
    assert without_escapes(err).count(SHOWN) == 1
    for text in (out, err):
        assert "\x1b[2J" not in text
        assert all(c.isprintable() or c in "\n\r" for c in without_escapes(text))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_names_that_a_locale_can_not_write(tmp_path: Path, encoding: str) -> None:
    write_bracket(tmp_path / "夜景", make_scene(42, (160, 200)), EV)
    env = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    for name in (str(tmp_path), str(tmp_path / "absent é 夜")):
        command = [*LABELGEN, "scan", name]
        done = subprocess.run(command, capture_output=True, env=env, check=False)
        assert b"Traceback" not in done.stderr
        assert b"\\u591c" in done.stdout + done.stderr
        _, said = in_pty(command, **env)
        assert said.replace(b"\r", b"") == done.stdout + done.stderr


def test_ctrl_c_leaves_the_terminal_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.group(cls=Commands)
    def program() -> None:
        pass

    @program.command("build")
    def work() -> None:
        with Bar() as bar:
            bar.start("build", 3)
            bar.step(7, rejected=False)
            raise KeyboardInterrupt

    def run() -> None:
        with pytest.raises(SystemExit, match="130"):
            program(["build"])

    _, err = on_terminal(monkeypatch, run)
    assert "\x1b[?25l" not in err
    assert "7 samples" in without_escapes(err)
    assert err.endswith("\nlabelgen: interrupted; 'build --resume' goes on\n")


def test_a_bar_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def work(total: int) -> None:
        with Bar() as bar:
            bar.start("survey", total)
            for i in range(4):
                bar.step(10, rejected=i == 2)
            bar.remark("something to know")

    for columns in (80, 40):
        _, err = on_terminal(monkeypatch, lambda: work(5), columns)
        lines = [line for line in re.split(r"[\r\n]+", without_escapes(err)) if line]
        assert "something to know" in lines
        assert lines[-1].startswith("survey")
        assert "4/5" in lines[-1]
        assert "left" in lines[-1]
        assert all(cell_len(line) <= columns - 2 for line in lines)
        if columns == 80:
            assert "40 samples  1 rejected" in lines[-1]
    _, err = on_terminal(monkeypatch, lambda: work(0))
    assert "4  0:00:00" in without_escapes(err)
    _, err = on_terminal(monkeypatch, lambda: work(10**18), 120)
    assert "years left" in without_escapes(err)


def test_no_bar_where_there_is_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with Bar() as bar:
        bar.start("survey", 2)
        bar.step(1, rejected=True)
        bar.remark("remark")
        bar.result("result")
        bar.step(1, rejected=True)
    assert capfd.readouterr() == ("result\n", "remark\n")


def test_rich_is_not_imported_for_help_and_pipes(dataset: Path) -> None:
    code = (
        "import sys\nfrom labelgen.cli import main\n"
        "for a in (['--help'], ['build', '--help'], ['recipes'], ['info', sys.argv[1]]):\n"
        "    main(a, standalone_mode=False)\n"
        "sys.exit('rich' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(dataset)], stdout=subprocess.DEVNULL)
    assert done.returncode == 0


def test_every_command_that_says_something_says_it_as_json() -> None:
    for program in (main, trainer):
        for name, command in program.commands.items():
            flags = {flag for option in command.params for flag in option.opts}
            assert ("--json" in flags) == (name != "completion"), name


def test_json_parses(raw: Path, dataset: Path, tmp_path: Path) -> None:
    small = ("--scenes", 1, "--size", 160, 200)
    made = parse_json(piped("simulate", "-", tmp_path / "new", *small, "--json"))
    assert made == {"folder": str(tmp_path / "new"), "brackets": ["000"]}
    assert parse_json(piped("scan", raw, "--json"))[0]["name"] == "five"
    assert set(parse_json(piped("recipes", "--json"))) == {"default", "sshdr", "selfhdr"}
    inside = parse_json(piped("info", dataset, "--json"))
    sound = parse_json(piped("verify", dataset, "--json"))
    assert sound == {
        "wrong": [],
        "samples": inside["samples"],
        "fingerprint": inside["fingerprint"],
    }
    shown = parse_json(piped("demo", tmp_path / "demo", "--json"))
    assert Path(shown["dataset"]).is_file()
    assert shown["rejected"] == {}


def test_json_of_a_damaged_dataset(dataset: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "out.h5"
    data = bytearray(dataset.read_bytes())
    data[len(data) // 2] ^= 255
    damaged.write_bytes(data)
    result = CliRunner().invoke(main, ["verify", str(damaged), "--json"])
    assert result.exit_code == 1
    found = parse_json(result.stdout)
    assert found["wrong"]
    assert found["samples"] is None
    assert found["wrong"] == CliRunner().invoke(main, ["verify", str(damaged)]).stdout.splitlines()


def test_json_has_null_for_what_is_not_finite(capsys: pytest.CaptureFixture[str]) -> None:
    echo_json({"a": [float("inf"), (float("nan"), 1.5)], "é": "\x1b"})
    said = capsys.readouterr().out
    assert parse_json(said) == {"a": [None, [None, 1.5]], "é": "\x1b"}
    assert "\x1b" not in said


def commands(program: click.Group) -> list[tuple[str, click.Command]]:
    return list(program.commands.items())


@pytest.mark.parametrize(
    ("program", "group", "name", "command"),
    [
        pytest.param(program, group, name, command, id=f"{program} {name}")
        for program, group in (("labelgen", main), ("trainer", trainer))
        for name, command in commands(group)
    ],
)
def test_every_command_has_an_example_that_parses(
    program: str, group: click.Group, name: str, command: click.Command
) -> None:
    assert isinstance(command, Command), "made by labelgen.cli.help.command"
    lines = re.findall(rf"\b{program} {name}\b([^|>#)\n]*)", command.example)
    assert lines
    for line in lines:
        with command.make_context(name, shlex.split(line)):
            pass
    flags = {flag for option in command.params for flag in option.opts}
    assert {flag for group in command.groups.values() for flag in group} <= flags
    help_ = CliRunner().invoke(group, [name, "--help"]).stdout
    for line in command.example.strip().splitlines():
        assert f"\n  {line.strip()}\n" in help_
    for option in command.params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help, option.name
            assert help_.count(f"  {option.opts[0]}") >= 1, option.name


def test_commands_stand_under_headings() -> None:
    class Program(Group):
        headings = {"First": ("a", "absent"), "Second": ("absent too",)}  # noqa: RUF012

    program = Program()
    for name in ("unknown", "a"):
        program.add_command(click.Command(name, help=f"What {name} does, {'as said ' * 12}here."))
    said = CliRunner().invoke(program, ["--help"]).stdout
    assert "Second" not in said
    assert "absent" not in said
    assert re.search(r"First:\n  a  .*\n[^:]*More:\n  unknown  ", said)
    assert said.count("here.") == 2


def complete(group: click.Group, *words: str) -> list[str]:
    found = ShellComplete(group, {}, "x", "_X_COMPLETE").get_completions(
        list(words[:-1]), words[-1]
    )
    return [item.value if item.type == "plain" else item.type for item in found]


def test_completion() -> None:
    assert complete(main, "build", "--recipe", "s") == ["sshdr", "selfhdr"]
    assert complete(main, "build", "--recipe", "mine") == ["file"]
    assert complete(main, "recipes", "d") == ["default"]
    assert complete(main, "info", "out") == ["file"]
    assert complete(main, "build", "--response", "g") == ["gamma2.2"]
    assert complete(main, "build", "--backend", "r") == ["ray"]
    assert complete(trainer, "fit", "out") == ["file"]
    assert "--resume" in complete(trainer, "fit", "--")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(("name", "program"), [("labelgen", main), ("trainer", trainer)])
def test_scripts_for_shells(name: str, program: click.Group, shell: str) -> None:
    said = CliRunner().invoke(program, ["completion", shell]).stdout
    assert f"_{name.upper()}_COMPLETE={shell}_complete" in said
    assert "%(" not in said
