"""Rules about what is printed: values that cannot be, units that mix, labels and numbers that are printed twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction

from segstudy.auditing.claims import Claim, Claims, Place
from segstudy.auditing.findings import Finding, finding
from segstudy.auditing.printed import Verdict, judge


def impossible_values(claims: Claims) -> Iterator[Finding]:
    """A score lies between 0 and 1, a difference of scores between -1 and 1; a share may be anything."""
    for claim in claims.all:
        if _impossible(claim) and not claim.stray:
            number, lowest = claim.printed, 0 if claim.kind == "value" else -1
            implied = f"{lowest * number.unit} to {number.unit}"
            hint = ", or say 'unit: percent'" if number.unit == 1 < number.high else ""
            message = f"{claim.heading.text} {number.text} is outside {implied}{hint}"
            yield finding(claim, "range", implied, Verdict("contradiction"), message)


def _impossible(claim: Claim) -> bool:
    """Whether no score, or no difference of scores, can be this."""
    if claim.number is None or (claim.kind != "value" and claim.may_be_share):
        return False
    return not (0 if claim.kind == "value" else -1) <= claim.number.low <= claim.number.high <= 1


def mixed_units(claims: Claims) -> Iterator[Finding]:
    """A column holds fractions or percentages, not both."""
    for claim in claims.all:
        if claim.stray:
            number, in_percent = claim.printed, claim.printed.unit == 100
            factor, places = (Fraction(100), -2) if in_percent else (Fraction(1, 100), 2)
            implied = f"{float(number.low * number.unit * factor):.{max(number.places + places, 0)}f}"
            looks, other, unit = (
                ("fraction", "percentage", "in percent") if in_percent else ("percentage", "fraction", "as a fraction")
            )
            message = (
                f"{claim.heading.text} {number.text} looks like a {looks}, {claim.stray} like a {other}; "
                f"{unit} it would be {implied}"
            )
            yield finding(claim, "unit", implied, Verdict("contradiction"), message)


def repeated_labels(claims: Claims) -> Iterator[Finding]:
    """No two rows of a table are called the same in everything that they say."""
    for table in claims.tables:
        rows = defaultdict(list)
        for index, row in enumerate(table.rows):
            if row.keys:
                rows[tuple(sorted({**row.keys, **row.asides}.items()))].append(index)
        for same in rows.values():
            if len(same) > 1:
                label = table.rows[same[0]].label
                which = " and ".join(str(index + 1) for index in same)
                message = f"rows {which} are all called '{label}', and say nothing that tells them apart."
                yield Finding(table.name, label, "", "label", label, "another label", "contradiction", message)


def repeated_values(claims: Claims) -> Iterator[Finding]:
    """A number that is printed twice is the same both times; the printing that fewest others agree with is the fault."""
    groups: dict[object, list[Claim]] = defaultdict(list)
    for claim in claims.scores:
        groups[claim.subject, claim.measure, claim.pooled, claim.printed.averaged].append(claim)
    for claim in claims.all:
        between = {(own.subject, other.subject) for own, other in claim.operands}
        if claim.number and len(between) == 1 and not (claim.heading.guessed or _impossible(claim)):
            groups[between.pop(), claim.measure, claim.kind].append(claim)
    for group in groups.values():
        trusted = _most_agreed(group)
        for claim in group:
            elsewhere = claim.place.table != trusted.place.table
            same_row = claim is not trusted and claim.place[:2] == trusted.place[:2]
            in_row = same_row and claim.heading.of == trusted.heading.of  # recall is class accuracy
            if (elsewhere or in_row) and _compare(claim, trusted).severity:
                yield _disagreement(claims, claim, trusted, group)


def _compare(one: Claim, other: Claim) -> Verdict:
    """Whether two numbers can be printings of one; of differences the size alone, as tables subtract either way."""
    return judge(one.printed.magnitude(), other.printed.magnitude().interval)


def _most_agreed(group: list[Claim]) -> Claim:
    """The printing to hold others against: one that half of them agree with, of these one with the most digits."""

    def trust(claim: Claim) -> tuple[bool, Fraction, int, Place]:
        support = sum(_compare(claim, other).severity is None for other in group)
        width = claim.printed.step + claim.printed.high - claim.printed.low
        return 2 * support < len(group), width, -support, claim.place

    return min(group, key=trust)


def _disagreement(claims: Claims, claim: Claim, trusted: Claim, group: list[Claim]) -> Finding:
    verdict = _compare(claim, trusted)
    agreed = len({c.table for c in group if not _compare(c, trusted).severity}) - 1
    place = f"in {trusted.table}" if claim.place.table != trusted.place.table else f"as {trusted.heading.text}"
    message = f"{claim.heading.text} is {claim.printed.text} here, {trusted.printed.text} {place}"
    message += f", with which {agreed} more agree{'s' * (agreed == 1)}" if agreed else ""
    if verdict.severity == "contradiction" and claim.kind == "value":
        owners = (c for c in claims.scores if c.measure == claim.measure and c.printed.text == claim.printed.text)
        owners = (c for c in owners if c.subject.run != claim.subject.run and c.subject[1:] == claim.subject[1:])
        if owner := next(owners, None):
            message += f"; {claim.printed.text} is what {owner.table} prints for {owner.run_name or owner.row}"
    elif verdict.severity == "rounding":
        verdict = Verdict("rounding", "one of them is cut off, or rounded the other way")
    implied = claim.printed.printing_of(trusted.printed.interval("printed"))
    return finding(claim, "repeated", implied, verdict, message)
