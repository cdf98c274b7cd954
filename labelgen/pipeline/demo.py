"""The main job on simulated brackets: it needs neither data nor torch."""

from __future__ import annotations

from pathlib import Path

from labelgen.core.progress import Progress
from labelgen.pipeline.build import build
from labelgen.pipeline.summary import Summary
from labelgen.simulate import simulate


def demo(
    folder: Path = Path("demo"), *, overwrite: bool = False, progress: Progress | None = None
) -> Summary:
    """Simulate four brackets into ``folder/raw`` and build ``folder/out.h5`` from them.

    Parameters
    ----------
    folder : Path
        Created if it does not exist.
    overwrite : bool
        Replace an earlier demo.
    progress : Progress, optional
        Receives progress and remarks. By default nothing is shown.

    Raises
    ------
    UserError
        There is a demo already.
    """
    folder.mkdir(parents=True, exist_ok=True)
    simulate(None, folder / "raw", scenes=4, overwrite=overwrite, progress=progress)
    return build(folder / "raw", folder / "out.h5", overwrite=overwrite, progress=progress)
