"""The functions for notebooks and scripts: one for each question. Paths may be strings.

import segstudy

segstudy.check("my-images")
segstudy.run("study.yaml").verdict
segstudy.compare("study.yaml:unet", "study.yaml:unet-noimagenet").verdict
"""

from __future__ import annotations

import html
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from segstudy.arguments import require, require_folders, require_list, require_path
from segstudy.errors import DataError, SpecError, StoreError

if TYPE_CHECKING:
    import pandas as pd

    from segstudy.auditing import Audit
    from segstudy.checking import Checked
    from segstudy.comparison import Comparison
    from segstudy.counts.countset import CountSet
    from segstudy.results import StudyResults

PathLike = str | os.PathLike[str]


class Shown:
    """How an answer is displayed: text in a terminal, a heading and a table in a notebook."""

    def to_frame(self) -> pd.DataFrame:
        """The answer as a data frame."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        first = str(self).splitlines()[0] if str(self) else ""
        table = self.to_frame().to_html(index=False, border=0, na_rep="–", float_format="{:.4f}".format)
        return f"<p>{html.escape(first)}</p>{table}"


@dataclass(frozen=True, repr=False)
class Scores(Shown):
    """Scores of predicted masks against true ones.

    Attributes
    ----------
    counts
        The counts of every image; see :class:`segstudy.counts.countset.CountSet`.

    """

    counts: CountSet

    @property
    def record(self) -> dict[str, Any]:
        """Every score of the whole set and of each class, with intervals and the contract, as plain data."""
        from segstudy.scorecard import as_record

        return as_record(self.counts)

    @property
    def verdict(self) -> str:
        """The score in a few words."""
        from segstudy.scorecard import shown

        num_images = len(self.counts.ids)
        return f"mIoU {shown(self.record['miou'])} over {num_images} image{'s' * (num_images > 1)}"

    def to_frame(self) -> pd.DataFrame:
        """One row per score: measure, class (empty for the whole set), value, low, high."""
        import pandas as pd

        record = self.record
        parts = [("", record), *((row["class"], row) for row in record["classes"])]
        rows = [
            {"measure": key, "class": name, "value": part[key], "low": found["low"], "high": found["high"]}
            for name, part in parts
            for key, found in part["intervals"].items()
        ]
        return pd.DataFrame(rows, columns=["measure", "class", "value", "low", "high"])

    def images(self) -> pd.DataFrame:
        """The scores of every image: one row per image, one column per measure."""
        import io

        import pandas as pd

        from segstudy.scorecard import image_csv

        return pd.read_csv(io.StringIO(image_csv(self.counts)))

    def save(self, path: PathLike) -> Path:
        """Write the counts to a ``.npz``, for :func:`compare`; raises :class:`SpecError` for another suffix."""
        from segstudy.counts.countset import write_counts

        require_path("path", path, "a path that ends in .npz")
        if Path(path).suffix != ".npz":
            raise SpecError(f"path {path}: must end in .npz")
        write_counts(Path(path), self.counts)
        return Path(path)

    def __str__(self) -> str:
        from segstudy.scorecard import as_text

        return as_text(self.counts)


@dataclass(frozen=True, repr=False)
class ComparedResults(Shown):
    """``a`` minus ``b``: difference, interval, test, verdict, effects by class."""

    comparison: Comparison

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``not distinguishable``, ``not comparable``, or an empty string if there is no test."""
        return self.comparison.verdict

    @property
    def record(self) -> dict[str, Any]:
        """The whole comparison as plain data."""
        from segstudy.scorecard import comparison_record

        return comparison_record(self.comparison)

    def to_frame(self) -> pd.DataFrame:
        """One row per difference: the whole set first (class empty), then each class."""
        import pandas as pd

        columns = ["class", "measure", "difference", "low", "high", "p_value", "p_holm", "verdict"]
        found = self.comparison.difference
        if found is None:
            return pd.DataFrame(columns=columns)
        whole = {"class": "", "measure": self.comparison.measure.key, "difference": found.value, "low": found.low}
        whole |= {"high": found.high, "p_value": found.p_value, "p_holm": self.comparison.p_holm}
        rows = [whole | {"verdict": self.verdict}, *self.record["classes"]]
        return pd.DataFrame(rows)[columns]

    def __str__(self) -> str:
        from segstudy.scorecard import comparison_text

        if self.comparison.difference is None:
            return "\n".join([self.verdict or "no result yet", *map(str, self.comparison.problems)])
        return comparison_text(self.record)


@dataclass(frozen=True, repr=False)
class AuditedTables(Shown):
    """The findings about published tables."""

    audited: Audit

    @property
    def verdict(self) -> str:
        """Whether any number contradicts the others."""
        return "contradictions found" if self.audited.contradicts else "no contradiction found"

    def to_frame(self) -> pd.DataFrame:
        """One row per finding."""
        import pandas as pd

        from segstudy.auditing.findings import Finding

        return pd.DataFrame([asdict(each) for each in self.audited.findings], columns=list(Finding.__annotations__))

    def __str__(self) -> str:
        from segstudy.auditing import as_text

        return as_text(self.audited)


@dataclass(frozen=True, repr=False)
class CheckedData(Shown):
    """All problems of a study and its data."""

    checked: Checked

    @property
    def ok(self) -> bool:
        """Whether there is no error, that is, nothing that would stop a run or falsify its result."""
        return self.checked.number("error") == 0

    @property
    def verdict(self) -> str:
        """The number of problems, in one line."""
        from segstudy.checking.text import verdict

        return verdict(self.checked)

    def to_frame(self) -> pd.DataFrame:
        """One row per problem."""
        import pandas as pd

        columns = ["severity", "dataset", "split", "sample", "kind", "message", "file"]
        return pd.DataFrame([finding.record() for finding in self.checked.findings], columns=columns)

    def __str__(self) -> str:
        from segstudy.checking.text import findings_text

        return "\n".join([self.verdict, *findings_text(self.checked)])


@dataclass(frozen=True, repr=False)
class Results(Shown):
    """The results in a study's output folder."""

    study: StudyResults

    @property
    def comparisons(self) -> Mapping[str, ComparedResults]:
        """The comparison of each variant with its base, by the variant's name."""
        return {name: ComparedResults(found) for name, found in self.study.comparisons.items()}

    @property
    def verdict(self) -> Mapping[str, str]:
        """The verdict of each variant, by its name; empty if there is no result yet."""
        return {name: found.verdict for name, found in self.study.comparisons.items()}

    @property
    def page(self) -> Path:
        """Path of the report's page."""
        return self.study.store.page

    def to_frame(self) -> pd.DataFrame:
        """All numbers in long form, as in ``results.csv``."""
        from segstudy.report.long import results_frame

        return results_frame(self.study.plan, self.study.sets)

    def effects(self) -> pd.DataFrame:
        """One row per comparison of a variant with its base."""
        from segstudy.report.frames import effects_frame

        return effects_frame(self.study).drop(columns="components")

    def __str__(self) -> str:
        from segstudy.overview import verdict_lines

        done = sum(result.state == "done" for result in self.study.runs)
        lines = [f"{self.study.plan.study.name}: {done} of {len(self.study.runs)} runs done"]
        lines += [line.removeprefix("verdict  ") for line in verdict_lines(self.study.comparisons)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        columns = ["experiment", "base", "variant", "value", "low", "high", "p_holm", "verdict", "flags"]
        table = self.effects()[columns].to_html(index=False, border=0, na_rep="–", float_format=lambda v: f"{v:.4f}")
        return f"<p>{html.escape(str(self).splitlines()[0])}</p>{table}"


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
    root = None if data is None else Path(data)
    plan, store = open_plan(os.fspath(study), None if out is None else Path(out), settings, root)
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
        counted = score_masks(predictions, truth, num_classes, classes, ignore, groups=groups, progress=progress)
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
        Side(f"{letter} ({side.counts.name})", [side.counts]) if isinstance(side, Scores) else os.fspath(side)
        for letter, side in (("A", a), ("B", b))
    ]
    place = None if out is None else Path(out)
    return ComparedResults(compare_results(sides[0], sides[1], measure, on, place, (), margin))


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
    for given in names:
        require_path("table", given, "a file with a table, or a list of files; write a frame with to_csv first")
    require_list("notes", notes, str, "a list such as ['classes: 19']")
    return AuditedTables(audit_tables([os.fspath(name) for name in names], notes))


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
        study, root = os.fspath(target), None if data is None else Path(data)
        place = None if out is None else Path(out)
        if Path(study).is_dir():
            study, place = str(Path(scratch) / "study.yaml"), Path(scratch) / "out"
            write_study_file(Path(target), Path(study))
        plan, store = open_plan(study, place, (), root)
        workshop = Workshop(plan.study, store, root, progress, inspecting=True)
        runs = () if Path(os.fspath(target)).is_dir() else plan.runs
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
    root = Path(out)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; give the output folder of a study")
    if not (root / "study.yaml").is_file():
        raise StoreError(f"{root}: is not the output folder of a study (it has no study.yaml)")
    plan, store = open_plan(str(root / "study.yaml"), root)
    return Results(read_results(store, due(plan, store)))
