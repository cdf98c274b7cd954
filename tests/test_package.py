from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import labelgen
import trainer
from labelgen.cli import main

ROOT = Path(__file__).parents[1]


def test_nothing_of_labelgen_imports_torch_or_trainer() -> None:
    package = Path(labelgen.__file__).parent
    files = [path.relative_to(package.parent).with_suffix("") for path in package.rglob("*.py")]
    modules = [".".join(file.parts).removesuffix(".__init__") for file in files]
    code = (
        f"import sys; [__import__(m) for m in {modules!r}]; "
        "sys.exit(any(m.split('.')[0] in ('torch', 'trainer') for m in sys.modules))"
    )
    assert len(modules) > 15
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = "import labelgen.cli, sys; sys.exit('numpy' in sys.modules or 'cv2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("package", [labelgen, trainer], ids=["labelgen", "trainer"])
def test_names_in_the_docstring_of_a_package_exist(package: ModuleType) -> None:
    if package is trainer:
        pytest.importorskip("torch")
    names = re.findall(rf"`({package.__name__}(?:\.\w+)+)`", package.__doc__ or "")
    assert len(names) > 5
    for name in names:
        module, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(module), attribute), name


def test_folders_in_the_docstring_of_labelgen_are_those_there_are() -> None:
    listed = re.findall(r"`(\w+)`", (labelgen.__doc__ or "").split("The folders")[1])
    assert set(listed) == {
        path.parent.name for path in Path(labelgen.__file__).parent.glob("*/__init__.py")
    }


def test_the_docstring_of_labelgen_names_every_command() -> None:
    named = re.findall(r"\.(\w+)`", labelgen.__doc__ or "")
    assert set(main.commands) - {"completion", "recipes"} <= set(named)


def test_readme_has_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/labelgen demo" in readme
    assert (
        "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest" in readme
    )


def test_one_version_everywhere() -> None:
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md"):
        assert labelgen.__version__ in (ROOT / name).read_text(), name
