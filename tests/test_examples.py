"""Examples in docstrings print what they say."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for package in ("labelgen", "trainer")
    for path in sorted((ROOT / package).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


def test_core_has_examples() -> None:
    assert sum(name.startswith("labelgen.core.") for name in MODULES) >= 5


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    if name.startswith("trainer"):
        pytest.importorskip("torch")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        failed, run = doctest.testmod(importlib.import_module(name))
    assert run
    assert not failed, output.getvalue()
