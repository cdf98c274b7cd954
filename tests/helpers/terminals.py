"""A terminal for the tests: what a program writes to it, and what then stands there."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import select
import struct
import subprocess
import termios
from collections.abc import Callable

import pytest

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def on_terminal(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], object], columns: int = 80, **env: str
) -> tuple[str, str]:
    """Standard output and standard error of something that believes both are terminals."""
    out, err = Terminal(), Terminal()
    with monkeypatch.context() as patch:
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
            patch.delenv(name, raising=False)
        for name, value in ({"COLUMNS": str(columns), "TERM": "xterm"} | env).items():
            patch.setenv(name, value)
        patch.setattr("sys.stdout", out)
        patch.setattr("sys.stderr", err)
        work()
    return out.getvalue(), err.getvalue()


def in_pty(command: list[str], columns: int = 80, **env: str) -> tuple[int, bytes]:
    """Exit status and all that a program wrote, run in a real terminal."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    left = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"}
    inherited = {k: v for k, v in os.environ.items() if k not in left}
    running = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**inherited, "TERM": "xterm", **env},
        start_new_session=True,
    )
    os.close(theirs)
    said = b""
    while running.poll() is None or select.select([ours], [], [], 0)[0]:
        if select.select([ours], [], [], 0.05)[0]:
            try:
                said += os.read(ours, 1 << 16)
            except OSError:  # Linux says so when the other end is closed
                break
    os.close(ours)
    return running.wait(), said


def without_escapes(text: str) -> str:
    """A text without its escape sequences."""
    return ESCAPE.sub("", text)
