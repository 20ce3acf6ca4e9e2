"""Checks of published tables by arithmetic, and comparison with a study's own results.

Tables become claims (a printed number, with the run, data, class and measure that it is about), and each rule of
:data:`RULES` is a function from claims to findings. Rules know no table, row or value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from segstudy.auditing.claims import Claims, make_claims
from segstudy.auditing.differences import differences
from segstudy.auditing.findings import Finding
from segstudy.auditing.identities import (
    accuracy_bounds,
    accuracy_is_weighted,
    averages_bound,
    classes_fix_means,
    dice_between,
    dice_from_iou,
    dice_from_precision,
    means_of_classes,
    two_classes,
)
from segstudy.auditing.printed import Verdict
from segstudy.auditing.printings import impossible_values, mixed_units, repeated_labels, repeated_values
from segstudy.auditing.repeats import deviations, means_of_rows
from segstudy.auditing.suspicions import copied_rows, impossible_spreads, outside_own_interval, wrong_best
from segstudy.auditing.tables import read_tables

RULES: tuple[Callable[[Claims], Iterable[Finding]], ...] = (
    impossible_values,
    mixed_units,
    repeated_labels,
    dice_from_iou,
    dice_from_precision,
    dice_between,
    averages_bound,
    means_of_classes,
    means_of_rows,
    deviations,
    classes_fix_means,
    accuracy_bounds,
    accuracy_is_weighted,
    two_classes,
    repeated_values,
    copied_rows,
    impossible_spreads,
    outside_own_interval,
    wrong_best,
    differences,
)


@dataclass(frozen=True)
class Audit:
    """The claims of a publication and everything found in them, contradictions first in each table."""

    claims: Claims
    findings: tuple[Finding, ...]

    @property
    def contradicts(self) -> bool:
        """Whether anything is wrong beyond rounding."""
        return any(finding.severity == "contradiction" for finding in self.findings)


def audit_tables(names: Sequence[str], notes: Sequence[str] = ()) -> Audit:
    """Check published tables by arithmetic alone.

    Parameters
    ----------
    names
        CSV, Markdown or LaTeX files of one publication, or the name of one that comes with the package: ``review``.
    notes
        What to read columns as, and what holds for all tables: ``column FPS: ignore``, ``classes: 19``.

    Raises
    ------
    TableError
        If a file is no table, or a note fits nothing.

    """
    claims = make_claims(read_tables(names, notes))
    tables = {table.name: index for index, table in enumerate(claims.tables)}
    rows = {(table.name, row.label): index for table in claims.tables for index, row in enumerate(table.rows)}
    found = [finding for rule in RULES for finding in rule(claims)]
    found.sort(key=lambda each: (tables[each.table], -Verdict(each.severity).rank, rows[each.table, each.row]))
    return Audit(claims, tuple(found))


def as_text(audit: Audit) -> str:
    """Findings for people, table by table."""
    lines = []
    for table in audit.claims.tables:
        found = [finding for finding in audit.findings if finding.table == table.name]
        remarks = [remark for name, remark in audit.claims.remarks if name == table.name]
        if found or remarks:
            lines += [f"{table.name}{f': {table.caption}' if table.caption else ''}"]
            lines += [f"  {each.severity:13}  {each.row}: {each.message}" for each in found]
            lines += [f"  {'note':13}  {remark}" for remark in remarks]
    numbers = sum(claim.number is not None for claim in audit.claims.all)
    contradictions = sum(finding.severity == "contradiction" for finding in audit.findings)
    undecided = sum(finding.severity == "undecided" for finding in audit.findings)
    rounding = len(audit.findings) - contradictions - undecided
    lines.append(
        f"tables: {len(audit.claims.tables)}, numbers: {numbers}, contradictions: {contradictions}, of rounding: {rounding}"
        + (f", undecided: {undecided}" if undecided else "")
    )
    return "\n".join(lines)
