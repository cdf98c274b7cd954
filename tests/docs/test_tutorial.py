"""The tutorial is run as it stands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labelgen.photos.pictures import read_hdr
from tests.helpers.commands import ROOT, blocks

TUTORIAL = ROOT / "docs" / "tutorial.md"


def test_the_tutorial_runs_from_brackets_to_pictures(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the tutorial trains, which needs the extra 'trainer'")
    shell = [block.text for block in blocks(TUTORIAL) if block.language == "sh"]
    assert len(shell) >= 7
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for block in shell:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=tmp_path,
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    picture = read_hdr(tmp_path / "pictures" / "001" / "pred.hdr")
    assert picture.shape == (256, 384, 3)
    assert 0 <= picture.min() < picture.max() <= 1
    assert (tmp_path / "look-mine" / "cues.png").stat().st_size > 1000
