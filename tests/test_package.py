from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import labelgen

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


def test_readme_has_the_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/labelgen demo" in readme
    assert (
        "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest" in readme
    )


def test_one_version_everywhere() -> None:
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md"):
        assert labelgen.__version__ in (ROOT / name).read_text(), name
