"""Score finished networks again and compare every count with what the store holds."""

from __future__ import annotations

import numpy as np

from segstudy.errors import SegstudyError
from segstudy.evaluate import count_split, images_of
from segstudy.files import read_arrays
from segstudy.launch.decide import decide
from segstudy.launch.workshop import Workshop
from segstudy.networks.inference import prepare, scored_network
from segstudy.plan import Plan, Run
from segstudy.train.team import make_fabric


def rescore(workshop: Workshop, plan: Plan) -> list[str]:
    """Evaluate every trained run of ``plan`` again, writing nothing; a line for each evaluation whose counts differ."""
    problems = []
    for run in plan.runs:
        folder = workshop.store.run(run.experiment, run.seed)
        if folder.trained:
            try:
                problems += _rescore_run(workshop, run)
            except SegstudyError as error:
                problems.append(f"{run.name}: cannot be scored again: {error}")
    return problems


def _rescore_run(workshop: Workshop, run: Run) -> list[str]:
    folder, problems = workshop.store.run(run.experiment, run.seed), []
    folder.check_best()
    fabric = make_fabric(run.config.recipe)
    network = scored_network(run.config, folder, len(workshop.dataset(run.config.dataset)[0].classes))
    record, rules = folder.record(), workshop.study.scoring
    for wanted in workshop.evaluations(run):
        path = folder.find_counts(record, wanted.dataset, wanted.split, wanted.evaluation_hash)
        if path is None:
            continue
        data = workshop.to_score(run.config, wanted.dataset, wanted.split)
        workshop.progress.task(f"scoring {run.name} again on {wanted.dataset} {wanted.split}", len(data))
        images = images_of(data, fabric.device)
        model = prepare(network, run.config.inference, images, fabric, run.config.folder)
        size = run.config.resolution
        decision = decide(workshop, run, folder, network, fabric)
        progress = workshop.progress
        counts = count_split(
            model, data, fabric.device, size, rules, wanted.table, progress=progress, decision=decision
        )
        stored, _ = read_arrays(path)
        ids = [sample.id for sample in data.samples]
        if stored.get("ids", np.array([])).tolist() != ids:
            problems.append(f"{path}: holds other images than the split has now")
            continue
        wrong = [
            name for name, array in counts.items() if name not in stored or not np.array_equal(stored[name], array)
        ]
        if wrong:
            problems.append(f"{path}: scored again, {', '.join(wrong)} differ")
    return problems
