"""Export networks of many architectures by three ways, and count the pixels that differ from the network in PyTorch.

    python bench/exports.py [--out DIR] [ARCHITECTURE ...]

Every network is trained for one epoch on synthetic scenes of people, so that its outputs vary over the image. Each file is
compared on the reported split at the training size and at another size; a file that takes one size only is written for
both. The table is printed as Markdown. Call it again with the same ``--out`` to go on after an interruption.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path

import torch

from segstudy.errors import SegstudyError
from segstudy.evaluate import images_of
from segstudy.exporting import PROOF, export_folder, export_run
from segstudy.exporting.proof import CPU, Watched
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.networks.export import FORMATS, Sizes, save_file, whole_network
from segstudy.networks.inference import scored_network
from segstudy.plan import Run, make_plan
from segstudy.progress import showing
from segstudy.spec import parse_study
from segstudy.store import Store

NETWORKS = {
    "unet": "resnet18",
    "unetplusplus": "resnet18",
    "manet": "resnet18",
    "linknet": "resnet18",
    "fpn": "resnet18",
    "pan": "resnet18",
    "pspnet": "resnet18",
    "upernet": "resnet18",
    "deeplabv3": "resnet18",
    "deeplabv3plus": "resnet18",
    "segformer": "mit_b0",
}
SIDE, OTHER_SIDE = 64, 96
STUDY = """
name: exports
data: {people: {reader: supervisely, root: people, synthetic: {num_images: 20, size: [80, 96]}}}
recipe: {epochs: 1, batch_size: 4, input_size: 64, precision: float32, optimizer: {lr: 0.001}}
experiments:
EXPERIMENTS
"""


def study_of(networks: list[str]) -> str:
    lines = [
        f"  {arch}: {{data: people, model: {{arch: {arch}, encoder: {NETWORKS[arch]}, weights: none}}}}"
        for arch in networks
    ]
    return STUDY.replace("EXPERIMENTS", "\n".join(lines))


def at_fixed_size(workshop: Workshop, run: Run, kind: str) -> dict[str, object]:
    """The same comparison for a file that takes images of the other size alone."""
    split = workshop.evaluations(run)[0].split
    data = workshop.cached(run.config.dataset, split, SIDE, native_labels=True)
    folder = workshop.store.run(run.experiment, run.seed)
    network = whole_network(scored_network(run.config, folder, len(data.dataset.classes)), run.config.inference)
    with tempfile.TemporaryDirectory() as scratch:
        for sizes in (Sizes(OTHER_SIDE), Sizes(OTHER_SIDE, 1)):
            try:
                exported = save_file(kind, network, Path(scratch) / FORMATS[kind].file, sizes, OTHER_SIDE, {})
                watched = Watched(exported, network)
                for images in images_of(data, CPU)():
                    watched(torch.nn.functional.interpolate(images, (OTHER_SIDE, OTHER_SIDE), mode="bilinear"))
                return {"size": watched.seen.size, "pixels": watched.pixels, "differing": watched.differing}
            except SegstudyError as error:
                print(f"  {kind} {sizes}: {error}", flush=True)
    return {"size": "none", "pixels": 0, "differing": 0}


def compare(workshop: Workshop, run: Run, kind: str) -> dict[str, object]:
    """What was compared of one network and one kind of file; read back if it was done before."""
    plan = make_plan(workshop.study)
    target = export_folder(workshop, run, kind)
    second = target.with_name(f"{target.name}-second.json")
    if not (target / PROOF).is_file():
        try:
            export_run(workshop, plan, run, kind)
        except SegstudyError as error:
            return {"takes": f"not possible: {error}", "against_pytorch": []}
    proof = json.loads((target / PROOF).read_text())
    if len(proof["against_pytorch"]) == 1:
        if not second.is_file():
            second.write_text(json.dumps(at_fixed_size(workshop, run, kind)))
        proof["against_pytorch"].append(json.loads(second.read_text()))
    return proof


def line(arch: str, kind: str, proof: dict[str, object]) -> str:
    cells = [f"{each['differing']:,} of {each['pixels']:,} at {each['size']}" for each in proof["against_pytorch"]]
    logits = max((each.get("logits", 0.0) for each in proof["against_pytorch"]), default=float("nan"))
    return f"| {arch} | {kind} | {proof['takes']} | {' | '.join(cells) or '– | –'} | {logits:.0e} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", metavar="ARCHITECTURE", default=list(NETWORKS))
    parser.add_argument("--out", type=Path, help="folder for the study; by default a temporary one")
    given = parser.parse_args()
    out = given.out or Path(tempfile.mkdtemp())
    study, store = parse_study(study_of(list(NETWORKS))), Store(out)
    lines = ["| network | file | takes | pixels that differ | at another size | logits |", "|---|---|---|---|---|---|"]
    with showing(quiet=True) as progress:
        workshop, plan = Workshop(study, store, None, progress), make_plan(study)
        assert not execute(workshop, plan.select(given.networks)).failures
        for run in plan.select(given.networks).runs:
            for kind in FORMATS:
                proof = compare(workshop, run, kind)
                lines.append(line(run.experiment, kind, proof))
                print(lines[-1], *proof.get("notes", []), sep="\n  ", flush=True)
    print("\n".join(lines))
    if given.out is None:
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
