"""The functions for notebooks and scripts: one for each question. Paths may be strings.

import segstudy

segstudy.check("my-images")
segstudy.run("study.yaml").verdict
segstudy.compare("study.yaml:unet", "study.yaml:unet-noimagenet").verdict
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import Any

from segstudy.answers import AuditedTables, CheckedData, ComparedResults, PathLike, Results, Scores
from segstudy.arguments import as_path, as_text, require, require_folders, require_list, require_path
from segstudy.errors import DataError, SpecError, StoreError


def run(
    study: PathLike,
    out: PathLike | None = None,
    data: PathLike | None = None,
    settings: Sequence[str] = (),
    report: bool = True,
    quiet: bool = False,
) -> Results:
    """Train and score the missing runs of a study, write its report, and return its results; safe to repeat.

    Parameters
    ----------
    study
        A study file, or the name of a built-in study: ``demo``, ``review``.
    out
        The output folder; by default ``./<study name>``.
    data
        The folder of the datasets.
    settings
        Values that replace those of the file: ``["recipe.epochs=3"]``.
    report
        Whether to write the report.
    quiet
        Whether to hide the progress.

    Raises
    ------
    SegstudyError
        If the study or its data are invalid, or every run failed.

    """
    from segstudy.errors import SegstudyError
    from segstudy.launch.work import execute_until_decided
    from segstudy.launch.workshop import Workshop
    from segstudy.plan import open_plan
    from segstudy.progress import showing
    from segstudy.report.build import build_report
    from segstudy.results import read_results

    require_path("study", study, "a study file, or the name of a built-in study")
    require_folders(out=out, data=data)
    require_list("settings", settings, str, "a list such as ['recipe.epochs=3']")
    root = as_path(data)
    plan, store = open_plan(as_text(study), as_path(out), settings, root)
    with showing(quiet) as progress:
        outcome, plan = execute_until_decided(Workshop(plan.study, store, root, progress), plan)
    failures = outcome.failures
    if len(failures) == len(plan.runs):
        raise SegstudyError("\n".join([f"{len(failures)} run{'s' * (len(failures) > 1)} failed:", *failures]))
    if report:
        build_report(store, plan, root)
    return Results(read_results(store, plan))


def score(
    predictions: PathLike,
    truth: PathLike,
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    ignore: Sequence[int] = (),
    groups: str | None = None,
    quiet: bool = False,
) -> Scores:
    """Score masks from any framework against true masks with the same names.

    Parameters
    ----------
    predictions, truth
        Folders of masks. Files are paired by name, without the suffix.
    num_classes, classes
        Number or names of the classes; by default, they are found from the masks.
    ignore
        Values of the true masks to exclude, in addition to 255.
    groups
        Regular expression whose first group finds an image's group in its name.
    quiet
        Whether to hide the progress.

    Raises
    ------
    SegstudyError
        If masks cannot be paired, read or understood.

    """
    from segstudy.progress import showing
    from segstudy.scoring import score_masks

    for name, given in (("predictions", predictions), ("truth", truth)):
        require_path(name, given, "a folder of masks; write arrays to .npy or .png files of the same names first")
    require("num_classes", num_classes, (Integral, NoneType), "a whole number")
    require_list("classes", () if classes is None else classes, str, "a list of names")
    require("groups", groups, (str, NoneType), "a regular expression")
    require_list("ignore", ignore, Integral, "a list of values of the true masks")
    with showing(quiet) as progress:
        folders = as_text(predictions), as_text(truth)
        counted = score_masks(*folders, num_classes, classes, ignore, groups=groups, progress=progress)
    return Scores(counted)


def compare(
    a: PathLike | Scores,
    b: PathLike | Scores,
    measure: str | None = None,
    on: str | None = None,
    out: PathLike | None = None,
    margin: float | None = None,
) -> ComparedResults:
    """Compare two results on the same images.

    Parameters
    ----------
    a, b
        ``STUDY:EXPERIMENT``, ``STUDY:EXPERIMENT/seedN``, a ``.npz`` of counts, or what :func:`score` returned; the
        difference is ``a`` minus ``b``.
    measure
        The measure over the whole set; by default the primary measure of the study, or mIoU.
    on
        Dataset of a cross-evaluation; by default each side's own dataset.
    out
        The studies' output folder.
    margin
        Tests equivalence: the largest difference that does not matter, such as 0.01. By default the study's margin.

    Raises
    ------
    SegstudyError
        If a name is not that of a result, the two cannot be compared, or the margin is not above 0.

    """
    from segstudy.comparison import Side
    from segstudy.results import compare_results

    for name, given in (("a", a), ("b", b)):
        if not isinstance(given, Scores):
            require_path(name, given, "STUDY:EXPERIMENT, a .npz of counts, or what segstudy.score returned")
    require("measure", measure, (str, NoneType), "the name of a measure")
    require("on", on, (str, NoneType), "the name of a dataset")
    require("margin", margin, (Real, NoneType), "a number above 0, such as 0.01")
    require_folders(out=out)
    sides = [
        Side(f"{letter} ({side.counts.name})", [side.counts]) if isinstance(side, Scores) else as_text(side)
        for letter, side in (("A", a), ("B", b))
    ]
    return ComparedResults(compare_results(sides[0], sides[1], measure, on, as_path(out), (), margin))


def audit(table: PathLike | Sequence[PathLike], notes: Sequence[str] = ()) -> AuditedTables:
    """Check the tables of one publication by arithmetic.

    Parameters
    ----------
    table
        A file, or a list of files of one publication, or ``review``.
    notes
        How to read columns: ``["column FPS: ignore", "classes: 19"]``.

    Raises
    ------
    SegstudyError
        If a file holds no table.

    """
    from segstudy.auditing import audit_tables

    names: Sequence[Any] = table if isinstance(table, list | tuple) else [table]
    if not names:
        raise SpecError("table: is an empty list; must be a file with a table, or a list of files")
    for given in names:
        require_path("table", given, "a file with a table, or a list of files; write a frame with to_csv first")
    require_list("notes", notes, str, "a list such as ['classes: 19']")
    return AuditedTables(audit_tables([as_text(name) for name in names], notes))


def check(
    target: PathLike, out: PathLike | None = None, data: PathLike | None = None, quiet: bool = False
) -> CheckedData:
    """Find all problems of a folder of images and masks, or of a study and its data.

    Parameters
    ----------
    target
        A folder of images and masks, a study file, or the name of a built-in study.
    out
        The study's output folder.
    data
        The folder of the datasets.
    quiet
        Whether to hide the progress.

    Raises
    ------
    SegstudyError
        If the folder or the study file cannot be understood.

    """
    from segstudy.checking import check_study
    from segstudy.init import write_study_file
    from segstudy.launch.workshop import Workshop
    from segstudy.plan import open_plan
    from segstudy.progress import showing

    require_path("target", target, "a folder of images and masks, a study file, or the name of a built-in study")
    require_folders(out=out, data=data)
    with tempfile.TemporaryDirectory() as scratch, showing(quiet) as progress:
        study, place, root = as_text(target), as_path(out), as_path(data)
        is_folder = Path(study).is_dir()
        if is_folder:
            write_study_file(Path(study), Path(scratch) / "study.yaml")
            study, place = str(Path(scratch) / "study.yaml"), Path(scratch) / "out"
        plan, store = open_plan(study, place, (), root)
        workshop = Workshop(plan.study, store, root, progress, inspecting=True)
        runs = () if is_folder else plan.runs
        return CheckedData(check_study(workshop, runs, list(plan.study.data)))


def load_results(out: PathLike) -> Results:
    """Read the results in a study's output folder.

    Parameters
    ----------
    out
        The output folder of ``segstudy run``.

    Raises
    ------
    SegstudyError
        If the folder is not that of a study, or is damaged.

    """
    from segstudy.plan import open_plan
    from segstudy.results import due, read_results

    require_path("out", out, "the output folder of a study")
    root = Path(as_text(out))
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the output folder of a study")
    if not (root / "study.yaml").is_file():
        raise StoreError(f"{root}: is not the output folder of a study (it has no study.yaml)")
    plan, store = open_plan(str(root / "study.yaml"), root)
    return Results(read_results(store, due(plan, store)))
