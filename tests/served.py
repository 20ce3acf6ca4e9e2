"""A finished run of two convolutions, for tests of what uses one."""

from __future__ import annotations

from pathlib import Path

from fakes import fake_folder
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.plan import Run, make_plan
from segstudy.progress import showing
from segstudy.spec import load_study
from segstudy.store import RunFolder, Store

NETWORKS = '''
from torch import nn


def tiny(num_classes):
    """Two convolutions."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, num_classes, 1))
'''
STUDY = """
name: served
data: {spot: {reader: folder, root: shapes, classes: [ground, spot]}}
recipe: {epochs: 1, batch_size: 4, input_size: 32, precision: float32, optimizer: {lr: 0.01}}
experiments:
  tiny: {data: spot, model: {arch: "networks:tiny", weights: none}}
seeds: [1, 2]
"""


def finished(folder: Path) -> tuple[Run, RunFolder]:
    """A run of two convolutions, finished."""
    fake_folder(folder / "shapes", num_images=8, size=(48, 40))
    (folder / "networks.py").write_text(NETWORKS)
    (folder / "study.yaml").write_text(STUDY)
    study, store = load_study(str(folder / "study.yaml")), Store(folder / "out")
    with showing(quiet=True) as progress:
        plan = make_plan(study).select(["tiny"], 1)
        assert execute(Workshop(study, store, None, progress), plan).failures == []
    return plan.runs[0], store.run("tiny", 1)
