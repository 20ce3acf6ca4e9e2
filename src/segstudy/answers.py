"""Results of the functions for notebooks: objects that can be printed, show a table, and have a data frame."""

from __future__ import annotations

import html
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segstudy.arguments import as_text, require_path
from segstudy.errors import SpecError

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
        table = self.to_frame().to_html(index=False, border=0, na_rep="–", float_format="{:.4f}".format)
        return f"<p>{html.escape(self._headline())}</p>{table}"

    def _headline(self) -> str:
        return str(self).partition("\n")[0]


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
        """Write the counts to a ``.npz``, for :func:`segstudy.compare`; raises :class:`SpecError` for another suffix."""
        from segstudy.counts.countset import write_counts

        require_path("path", path, "a path that ends in .npz")
        target = Path(as_text(path))
        if target.suffix != ".npz":
            raise SpecError(f"path {path}: must end in .npz")
        write_counts(target, self.counts)
        return target

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

    def _headline(self) -> str:
        from segstudy.overview import verdict_lines

        (line,) = verdict_lines({self.comparison.a.name: self.comparison})
        return line.removeprefix("verdict  ")

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
        return f"<p>{html.escape(self._headline())}</p>{table}"
