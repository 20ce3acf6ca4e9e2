"""Write a study's whole report: every number in long form, tables, figures, the page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import partial
from importlib import metadata
from pathlib import Path

import pandas as pd

from segstudy.data.core import IGNORE
from segstudy.errors import SegstudyError
from segstudy.files import read_json, write_bytes, write_text
from segstudy.plan import Plan
from segstudy.report.class_tables import class_effects_table, class_scores_table, class_table
from segstudy.report.contract import LEVELS, contract
from segstudy.report.contrasts import (
    Frames,
    baseline_pairs,
    collect_frames,
    image_frame,
    quartiles,
    variant_groups,
)
from segstudy.report.diagnosis import diagnosis_tables, lost_frame, reliability_frame
from segstudy.report.evidence import NOT_COMPARABLE
from segstudy.report.evidence_figures import draw_effects, draw_lost, draw_reliability
from segstudy.report.evidence_tables import comparisons_table, estimates_table, selection_table
from segstudy.report.figures import Drawing, assign_colours, draw_classes, draw_cost, draw_images, draw_training
from segstudy.report.mosaic import PER_BAND, draw_pictures
from segstudy.report.page import render_page
from segstudy.report.pictures import SHOWN_PX, collect_pictures
from segstudy.report.tables import (
    Table,
    baselines_table,
    configurations_table,
    cost_table,
    cross_table,
    crosses,
    csv_text,
    latex_text,
    markdown_text,
    scores_of,
    variants_table,
)
from segstudy.store import Store

Group = list[Callable[[int], Table]]  # makers of tables that share a number, which they are given


def build_report(store: Store, plan: Plan) -> Path:
    """Write the report of what the store holds for ``plan`` and return the page's path.

    Missing, partial and failed runs are gaps that name their state.

    Raises
    ------
    SegstudyError
        When no run has a result yet.

    """
    frames = collect_frames(store, plan)
    if not frames.evaluations:
        raise SegstudyError(_nothing(store, frames))
    clear_old(store)
    write_text(store.results, frames.results.to_csv(index=False, lineterminator="\n"))
    tables = every_table(frames)
    for table in tables:
        for suffix, text in (("csv", csv_text(table)), ("md", markdown_text(table)), ("tex", latex_text(table))):
            write_text(store.report / "tables" / f"{table.name}.{suffix}", text)
    drawings, absent = make_drawings(store, frames)
    for drawing in drawings:
        write_text(store.report / "figures" / f"{drawing.name}.svg", drawing.svg)
        write_bytes(store.report / "figures" / f"{drawing.name}.png", drawing.png())
    note = store.root / "environment.json"
    environment = read_json(note) if note.is_file() else {}
    version = metadata.version("segstudy")
    write_text(store.page, render_page(frames, tables, drawings, absent, environment, version))
    return store.page


def every_table(frames: Frames) -> list[Table]:
    """The paper's tables, with its numbers where the study is the paper's; then how sure they are, and what went wrong.

    Tables of one group share a number.
    """
    shared, pairs = frames.comparison, baseline_pairs(frames.comparison)
    alone = {pair: sum(other[0] == pair[0] for other in pairs) == 1 for pair in pairs}
    effects, known = frames.effects, frames.effects.dropna(subset=["value"])
    fair = known[known["verdict"] != NOT_COMPARABLE]
    variants: list[Group] = [[partial(variants_table, frames, *group)] for group in variant_groups(shared).items()]
    transfers: list[Group] = [[partial(cross_table, frames, cross)] for cross in crosses(frames)]
    groups: list[Group] = [
        [partial(baselines_table, frames)],
        [partial(configurations_table, frames)],
        *variants,
        *transfers,
        [partial(class_table, frames, pair, alone[pair]) for pair in pairs],
        [partial(cost_table, frames)],
        [partial(estimates_table, frames)],
        [partial(class_scores_table, frames, data) for data in dict.fromkeys(frames.classes["test_data"])],
        [partial(comparisons_table, frames)] if len(effects) else [],
        [partial(class_effects_table, frames, base) for base in dict.fromkeys(fair["base"])],
        [partial(selection_table, frames)],
    ]
    groups = [group for group in groups if group]
    tables = [make(number) for number, group in enumerate(groups, 1) for make in group]
    return tables + diagnosis_tables(frames, len(groups) + 1)


def clear_old(store: Store) -> None:
    """Remove the tables and figures of a former report, so that none with other numbers stays beside the new ones."""
    for folder, suffixes in (("tables", ("csv", "md", "tex")), ("figures", ("svg", "png"))):
        for path in (store.report / folder).glob("*"):
            if re.fullmatch(rf"(\d+|figure\d+)-.*\.({'|'.join(suffixes)})", path.name):
                path.unlink()


def _nothing(store: Store, frames: Frames) -> str:
    study = frames.plan.study
    states = ", ".join(f"{n} {state}" for state, n in Counter(frames.runs["state"]).items())
    name = study.source if study.folder else study.name
    return (
        f"{store.root}: no run of the study '{study.name}' has a result yet ({states}); "
        f"do them with: segstudy run {name} --out {store.root}"
    )


def make_drawings(store: Store, frames: Frames) -> tuple[list[Drawing], dict[str, list[str]]]:
    """Every figure that the data allow, and for sections of the page why others are absent."""
    colours = assign_colours(frames.comparison)
    absent: dict[str, list[str]] = {}
    drawings = _class_figures(frames, colours)
    pictures = _picture_figures(store, frames)
    if not pictures:
        absent["pictures"] = ["Not drawn: the predicted masks or the cached images are no longer in the store."]
    drawings += pictures + _training_figures(frames, colours) + _image_figures(frames, colours)
    drawings += _cost_figure(frames, colours)
    return drawings + _evidence_figures(frames, colours), absent


def _gaps(frames: Frames, names: list[str], drawn: list[str]) -> str:
    """Experiments that a figure should show and cannot, with their states."""
    rows = frames.comparison[frames.comparison["experiment"].isin(names)]
    missing = [f"{r.experiment} ({r.state})" for r in rows.itertuples() if r.experiment not in drawn]
    return f" Not drawn: {', '.join(missing)}." if missing else ""


def _of(frames: Frames, dataset: str) -> list[str]:
    return [str(n) for n in frames.comparison.loc[frames.comparison["dataset"] == dataset, "experiment"]]


def _class_figures(frames: Frames, colours: dict[str, str]) -> list[Drawing]:
    """Figure 1 for every dataset with more than two classes."""
    drawings = []
    baselines = frames.comparison[frames.comparison["base"] == ""]
    for dataset, group in baselines.groupby("dataset", sort=False):
        names = group["experiment"].tolist()
        classes = frames.classes[frames.classes["experiment"].isin(names)]
        if classes["class"].nunique() <= 2:
            continue
        gaps = _gaps(frames, names, classes["experiment"].tolist())
        caption = (
            "IoU and Dice of each class for the baselines, with 95 % intervals. Before each class its index, in brackets the "
            "number of images that hold it; a stub at the axis is a score of zero. "
            f"{contract(scores_of(frames, names), 'class')}"
        )
        drawings.append(draw_classes(f"figure1-per-class-{dataset}", str(dataset), classes, colours, caption + gaps))
    return drawings


def _picture_figures(store: Store, frames: Frames) -> list[Drawing]:
    """Figure 2 for every pair of training and test data."""
    drawings = []
    for pictures in collect_pictures(store, frames):
        where = pictures.test_data
        if pictures.train_data != pictures.test_data:
            where = f"{pictures.train_data}-to-{pictures.test_data}"
        title = f"Figure 2: Pictures of {pictures.test_data}"
        title += f", trained on {pictures.train_data}" if "-to-" in where else ""
        shares = ", ".join(f"{example.percentile}th ({example.id.rsplit('/', 1)[-1]})" for example in pictures.examples)
        names = [panel.experiment for panel in pictures.examples[0].panels]
        wanted = _of(frames, pictures.test_data) if "-to-" not in where else names
        seen = f"squares as the network sees them ({pictures.size} × {pictures.size} pixels)"
        if pictures.size is None:
            seen = f"not resized for the network, reduced here to {SHOWN_PX} pixels at most"
        caption = (
            f"Images at the {shares} percentile of per-image mIoU of {pictures.basis} on {pictures.test_data} "
            f"{pictures.split}, so chosen by rule, not by eye; {seen}. Below each prediction its wrong pixels; "
            f"hatched pixels are ignored. First seed.{_gaps(frames, wanted, names)} "
            f"{contract(scores_of(frames, names, pictures.test_data).drop_duplicates('experiment'), 'image')}"
        )
        for band, start in enumerate(range(0, len(names), PER_BAND), 1):
            name = f"figure2-pictures-{where}" + (f"-{band}" if band > 1 else "")
            drawings.append(draw_pictures(name, title, pictures, slice(start, start + PER_BAND), caption))
    return drawings


def _training_figures(frames: Frames, colours: dict[str, str]) -> list[Drawing]:
    """Figure 3 for every dataset that was trained on."""
    if frames.curves.empty:
        return []
    keys = ["experiment", "seed", "dataset", "chosen_epoch"]
    curves = frames.curves.merge(frames.runs[keys], on=["experiment", "seed"])
    curves = curves.assign(chosen=curves["epoch"] == curves["chosen_epoch"])
    drawings = []
    for dataset, group in curves.groupby("dataset", sort=False):
        caption = (
            "Every epoch of every run, unsmoothed; a dot marks the chosen epoch. The right panel's split is the one that "
            f"chooses the epoch, scored at the network's input size, {LEVELS['dataset']}; pixels labelled {IGNORE} are "
            f"ignored.{_gaps(frames, _of(frames, str(dataset)), group['experiment'].tolist())}"
        )
        drawings.append(draw_training(f"figure3-training-{dataset}", str(dataset), group, colours, caption))
    return drawings


def _image_figures(frames: Frames, colours: dict[str, str]) -> list[Drawing]:
    """Figure 4 for every pair of training and test data."""
    drawings = []
    images = image_frame(frames.reported)
    for key, group in images.groupby(["train_data", "test_data", "split"], sort=False):
        train, test, split = map(str, key)
        where, label = (test, test) if train == test else (f"{train}-to-{test}", f"{test}, trained on {train}")
        names = _of(frames, test) if train == test else list(dict.fromkeys(group["experiment"]))
        caption = (
            f"Every image of {test} {split} is a dot at its own mIoU (over the classes in that image); a dot's height in "
            "its row means nothing. Thick line: median; thin lines: quartiles. With several seeds, each image stands "
            f"once for every seed.{_gaps(frames, names, group['experiment'].tolist())} "
            f"{contract(scores_of(frames, list(dict.fromkeys(group['experiment'])), test), 'image')}"
        )
        drawing = draw_images(f"figure4-per-image-{where}", label, group, quartiles(group), colours, caption)
        drawings.append(drawing)
    return drawings


def _cost_figure(frames: Frames, colours: dict[str, str]) -> list[Drawing]:
    """Figure 5: accuracy against operations."""
    points: pd.DataFrame = frames.comparison.merge(frames.cost[["experiment", "gflops"]], on="experiment")
    points = points.dropna(subset=["miou", "gflops"])
    if points.empty:
        return []
    caption = (
        "mIoU on each experiment's own dataset against the operations of one image forward (a multiply-add is two; "
        "unlike latency, the same on every machine). Up and left is better; panels do not compare with each other. "
        f"{contract(scores_of(frames, points['experiment'].tolist()))}"
    )
    drawn = points["experiment"].tolist()
    return [draw_cost("figure5-cost", points, colours, caption + _gaps(frames, frames.plan.experiments, drawn))]


def _evidence_figures(frames: Frames, colours: dict[str, str]) -> list[Drawing]:
    """Figures 6 to 8: differences with intervals, kinds of lost IoU, confidence; each where it has something to show."""
    drawings = []
    effects = frames.effects.dropna(subset=["value"])
    if len(effects):
        caption = (
            "Variant minus base on the same images, with 95 % interval; grey: differences too small for this study to see "
            "four times in five, corrected for its number of comparisons."
            f"{_gaps(frames, frames.effects['experiment'].tolist(), effects['experiment'].tolist())} "
            f"{contract(scores_of(frames, [*effects['experiment'], *effects['base']]))}"
        )
        drawings.append(draw_effects("figure6-effects", effects, caption))
    lost = lost_frame(frames.reported)
    if len(lost):
        caption = (
            "Where the missing IoU went, mean over classes and seeds: pixels missed and pixels invented away from the true "
            f"outline, and wrong pixels at the outline. {contract(frames.scores)}"
        )
        drawings.append(draw_lost("figure7-lost", lost, caption))
    for dataset, bins in reliability_frame(frames.evaluations).groupby("test_data", sort=False):
        caption = (
            "Of the pixels of one confidence (the greatest softmax probability), how many are right. On the dashed line "
            "confidence is what it says; below it, networks are too sure. Seeds merged. "
            f"{contract(scores_of(frames, list(dict.fromkeys(bins['experiment']))))}"
        )
        drawings.append(draw_reliability(f"figure8-confidence-{dataset}", str(dataset), bins, colours, caption))
    return drawings
