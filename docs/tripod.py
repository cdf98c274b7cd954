#!/usr/bin/env python3
"""Label tripod brackets of nine frames from three of them, and compare with the fusion of all nine.

    python docs/tripod.py FOLDER [START OF NAMES]

The label is made from frames 2, 5 and 8. All nine frames, aligned and assumed static, are fused by
inverse variance, and the result serves as truth. Responses and exposures are calibrated on all
brackets together.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from joblib import Parallel, delayed

from labelgen.alignment.align import align_frame
from labelgen.calibration.cameras import calibrate_surveys
from labelgen.calibration.survey import Selection, survey
from labelgen.calibration.survey_records import Survey
from labelgen.core.bracket import Stack
from labelgen.core.recipe import DEFAULT
from labelgen.core.response import mu_law
from labelgen.discovery.scan import scan
from labelgen.labels.cues import Cues
from labelgen.labels.fusion import fuse_variance
from labelgen.labels.label import make_label
from labelgen.photos.stack import load_stack
from labelgen.pipeline.bracket_task import discount_weight

FRAMES, MIDDLE, TAKEN = 9, 4, (1, 4, 7)


def compare(found: Survey) -> tuple[str, float, float]:
    """Return the name, the trusted fraction, and PSNR-mu (dB) where the label is trusted."""
    cv2.setNumThreads(1)
    nine = load_stack(found.paths, found.ev, MIDDLE, found.model.response, noise=found.model.noise)
    clip = nine.source_format.response.clip(DEFAULT.exposure.clip)
    plain = replace(
        DEFAULT,
        exposure=replace(DEFAULT.exposure, clip=clip),
        fusion=replace(DEFAULT.fusion, misplaced=0.0, denoise=0.0),
    )
    every = np.ones(nine.size, bool)
    frames = tuple(align_frame(nine, i, DEFAULT.align) for i in range(FRAMES))
    cues = Cues(frames, (every,) * FRAMES, ~every, ~every, MIDDLE)
    fused = fuse_variance(cues, nine, plain).radiance
    first = found.ev[TAKEN[0]]
    stack = Stack(
        tuple(nine.codes[i] for i in TAKEN),
        tuple(found.ev[i] - first for i in TAKEN),
        TAKEN.index(MIDDLE),
        nine.source,
    )
    label = make_label(stack, DEFAULT)
    sure = discount_weight(label.weight, found, DEFAULT) >= 128
    truth = np.clip(fused * np.float32(2.0**first), 0, 1)
    error = np.square(mu_law(label.radiance) - mu_law(truth))[sure].mean()
    return found.name, float(sure.mean()), float(-10 * np.log10(error))


def survey_tripod(bracket: object) -> Survey:
    """Survey one bracket of nine frames."""
    cv2.setNumThreads(1)
    return survey(bracket, Selection(FRAMES, MIDDLE, 1))  # type: ignore[arg-type]


def main() -> None:
    """Print a table in Markdown."""
    start = sys.argv[2] if len(sys.argv) > 2 else ""
    brackets = [b for b in scan(Path(sys.argv[1])) if b.name.startswith(start)]
    surveys = Parallel(-1)(delayed(survey_tripod)(b) for b in brackets)
    usable = [s for s in calibrate_surveys(surveys) if not s.rejected]
    rows = Parallel(-1)(delayed(compare)(s) for s in usable)
    print("| bracket | trusted | PSNR-mu where trusted |\n|---|---|---|")
    for name, share, quality in [*rows, ("mean", *np.mean([r[1:] for r in rows], 0))]:
        print(f"| {name} | {share:.3f} | {quality:.1f} |")


if __name__ == "__main__":
    main()
