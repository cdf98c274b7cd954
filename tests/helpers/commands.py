"""Shell commands of README.md and docs/*.md, as a reader finds them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PROGRAMS = ("labelgen", "trainer")
NOT_RUN = re.compile(r"<!-- not run: (.+) -->")
INDENT = "    "


@dataclass(frozen=True)
class Block:
    """A block of code; `why` it is not run, if it says so in a comment before it."""

    page: Path
    line: int
    language: str
    text: str
    why: str

    @property
    def place(self) -> str:
        """File and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@dataclass(frozen=True)
class Command:
    """One command of ours: program, arguments, and the file that its output goes to, if any."""

    block: Block
    words: tuple[str, ...]
    into: str = ""

    def __str__(self) -> str:
        return f"{self.block.place}: {shlex.join(self.words)}"

    @property
    def is_ours(self) -> bool:
        """Whether it is labelgen or trainer, with a command of it."""
        return self.words[0] in PROGRAMS and len(self.words) > 1


def blocks(page: Path) -> Iterator[Block]:
    """All blocks of code of a page: fenced, or indented by four spaces after an empty line."""
    lines = page.read_text(encoding="utf-8").splitlines()
    why, at = "", 0
    while at < len(lines):
        line, first = lines[at], at
        at += 1
        if comment := NOT_RUN.fullmatch(line):
            why = comment[1]
        elif line.startswith("```"):
            while at < len(lines) and not lines[at].startswith("```"):
                at += 1
            yield Block(page, first + 2, line[3:], "\n".join(lines[first + 1 : at]), why)
            why, at = "", at + 1
        elif line.startswith(INDENT) and not (first and lines[first - 1]):
            while at < len(lines) and lines[at].startswith(INDENT):
                at += 1
            code = "\n".join(found[len(INDENT) :] for found in lines[first:at])
            yield Block(page, first + 1, "", code, why)
            why = ""
        elif line:
            why = ""


def commands(block: Block) -> list[Command]:
    """The commands of ours in a block of shell, also those in loops and behind `torchrun`."""
    if block.language not in ("", "sh"):
        return []
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        if line.startswith(tuple(f"{program}:" for program in PROGRAMS)):
            continue  # what they print
        for words in _simple(re.sub(r"\$\([^)]*\)", "SUBSTITUTED", line)):
            at = words.index(">") if ">" in words else len(words)
            if ours := _ours(words[:at]):
                found.append(Command(block, tuple(ours), "".join(words[at + 1 :])))
    return found


def _simple(line: str) -> Iterator[list[str]]:
    """A line of shell, cut at what ends a simple command."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";&|<>()")
    lexer.whitespace_split = True
    words: list[str] = []
    try:
        for word in [*lexer, ";"]:
            if set(word) <= set(";&|()"):
                yield words
                words = []
            else:
                words.append(word)
    except ValueError:  # prose or output, with an apostrophe
        return


def _ours(words: list[str]) -> list[str]:
    """The part of a simple command from our program on, if it is one of ours."""
    while words and (words[0] in ("do", "then") or re.fullmatch(r"\w+=\S*", words[0])):
        words = words[1:]
    if words[:1] == ["torchrun"]:
        words = words[words.index("--") + 1 :]
    if words[:1] == ["python"] and len(words) > 1 and words[1].startswith(("docs/", "tests/")):
        return words
    return words if words and words[0] in PROGRAMS and len(words) > 1 else []
