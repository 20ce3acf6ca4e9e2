"""Columns headed by names that no list holds (organs, regions, land cover), next to a mean of them.

What the columns are is shown by the numbers: they are read as the classes of a mean where the mean is theirs in at least
as many rows as it is not, and where this can hardly be by chance. Then rows in which it is not are faults. Anything less is
a remark, as a table may print some of the classes only.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from segstudy.auditing.headings import CLASS_OF, MEAN_OF, MEANS, SUMMARY, Heading, fold
from segstudy.auditing.printed import Interval, Number, Reading, judge, parse_number
from segstudy.errors import listing

# Powers of ten against a chance agreement of the rows with a mean; fewer where the headings say the measure, too.
CERTAIN, CERTAIN_IF_NAMED = 2.5, 1.5
NO_CLASSES = {"params", "param", "parameters", "flops", "gflops", "mflops", "macs", "gmacs", "fps", "time", "latency"}
NO_CLASSES |= {"speed", "throughput", "memory", "mem", "gpu", "size", "epochs", "epoch", "iters", "iterations", "batch"}
NO_CLASSES |= {"hd", "hd95", "hausdorff", "assd", "asd", "msd", "nsd", "mae", "mse", "rmse", "rank", "kappa", "loss"}
NO_CLASSES |= {"auc", "ap", "map", "year", "seed", "images", "depth", "width", "ms", "gb", "mb", "std", "sd", "ci"}
BACKGROUND = {"background", "bg", "bkg", "clutter", "other", "others", "void"}
Column = Sequence[Number | None]


class Found(NamedTuple):
    """Headings with their classes named, the names, and what was concluded or left out."""

    headings: list[Heading]
    names: tuple[str, ...]
    remarks: tuple[str, ...]


class Fit(NamedTuple):
    """How well a column is the mean of others: rows in which it is, rows with all numbers, powers of ten against chance."""

    mean: int
    members: tuple[int, ...]
    agree: int
    rows: int
    weight: float
    named: bool  # whether the headings of the others say their measure

    @property
    def shown(self) -> bool:
        """Whether the numbers show that the column is the mean of the others."""
        return self.weight >= (CERTAIN_IF_NAMED if self.named else CERTAIN) and 2 * self.agree >= self.rows


def classes_of_mean(
    headings: Sequence[Heading], rows: Sequence[Sequence[str]], number: int | None, measure: str
) -> Found:
    """Name the classes of each mean whose columns are next to it.

    Parameters
    ----------
    headings, rows
        Of the table; cells as printed.
    number
        How many classes there are, where that is said: so many columns need no other proof.
    measure
        What columns hold that are headed by a class alone, where that is said.

    """
    if turned := _classes_below(headings, rows, measure):
        return turned
    columns = [_numbers([row[at] for row in rows]) for at in range(len(headings))]
    fits = [
        _fit(columns, mean, members, headings[members[0]].kind == "value")
        for mean in range(len(headings))
        if _is_mean(headings[mean]) and columns[mean] is not None
        for members in _groups(headings, columns)
        if mean not in members
    ]
    said = [fit for fit in fits if len(fit.members) == number and (fit.agree or fit.rows < 3)]
    done, names, remarks = list(headings), list[str](), list[str]()
    used: set[int] = set()
    for fit in sorted((fit for fit in fits if fit.shown or fit in said), key=lambda fit: (-fit.agree, fit.mean)):
        named = _name(done, columns, fit, measure)
        together = {fit.mean, *fit.members}
        others = {(each.name, each.of) for at, each in enumerate(done) if each.kind == "value" and at not in together}
        if used & together or others & {(each.name, each.of) for each in named}:
            continue  # two columns of one class and measure: a measure that the headings do not say
        used |= together
        for at, heading in zip((fit.mean, *fit.members), named, strict=True):
            done[at] = heading
        names += [heading.of for heading in named[1:]]
        remarks.append(
            f"{headings[fit.mean].text} is read as the mean of {_list(headings, fit)}, which it is in {fit.agree} of "
            f"{fit.rows} rows"
        )
    return Found(done, tuple(dict.fromkeys(names)), (*remarks, *_open(headings, fits, used)))


def _classes_below(headings: Sequence[Heading], rows: Sequence[Sequence[str]], measure: str) -> Found | None:
    """A table with a row for each class, one for their mean, and a column for each network; None if it is no such table."""
    scores = range(1, len(headings))
    means = [at for at, row in enumerate(rows) if row[0].strip().casefold() in MEANS]
    names = {fold(each.text) for each in headings}
    if len(means) != 1 or len(names) < len(headings) or any(headings[at].kind != "unknown" for at in scores):
        return None
    numbers = [_numbers(row[1:]) for row in rows]
    classes = tuple(at for at in range(len(rows)) if at not in means)
    if len(classes) < 2 or not all(numbers) or any(_words(rows[at][0]) & NO_CLASSES for at in classes):
        return None
    fit = _fit(numbers, means[0], classes)
    if not fit.shown:
        return None
    percent = any(number.high > 1 for row in numbers for number in row or () if number)
    known = measure if measure in MEAN_OF else "score"
    done = [replace(headings[0], kind="key", name="class", of="")]
    done += [replace(headings[at], kind="value", name=known, of=headings[at].text, percent=percent) for at in scores]
    remark = (
        f"{rows[means[0]][0]} is read as the mean of the other rows, which it is in {fit.agree} of {fit.rows} columns"
    )
    return Found(done, (), (remark,))


def measure_of_columns(
    headings: Sequence[Heading], rows: Sequence[Sequence[str]], members: Sequence[int]
) -> str | None:
    """The measure of columns headed by classes: that of the mean of which they are the parts; "" if no three rows fit.

    None where the rows do not tell.
    """
    columns = [_numbers([row[at] for row in rows]) for at in range(len(headings))]
    means = [at for at, each in enumerate(headings) if each.name in CLASS_OF and each.kind == "value" and columns[at]]
    if not means or any(columns[at] is None for at in members):
        return None
    best = max((_fit(columns, mean, tuple(members)) for mean in means), key=lambda fit: fit.agree)
    if best.agree:
        return CLASS_OF[headings[best.mean].name]
    return "" if best.rows >= 3 else None


def _numbers(cells: Sequence[str]) -> list[Number | None] | None:
    """A column's numbers; None where it holds anything else, no number, or one that is no score."""
    try:
        numbers = [parse_number(cell) for cell in cells]
    except ValueError:
        return None
    given = [number for number in numbers if number]
    return numbers if given and all(number.low >= 0 and number.high <= 100 for number in given) else None


def _is_mean(heading: Heading) -> bool:
    """Whether a column may hold a mean over classes."""
    if heading.kind == "unknown":
        return _bare(heading.text) in MEANS and "↓" not in heading.text
    return heading.kind == "value" and (
        heading.name in CLASS_OF or (heading.name in MEAN_OF and fold(heading.of) in {"", *map(fold, MEANS)})
    )


def _words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+[0-9]*", text.casefold()))


def _bare(text: str) -> str:
    return re.sub(r"[(\[]?\s*%\s*[)\]]?|[↑↓.]", " ", text).strip().casefold()


def _groups(headings: Sequence[Heading], columns: Sequence[Column | None]) -> Iterator[tuple[int, ...]]:
    """Columns that may be the classes of a mean: neighbours without a known name, or one measure of several things."""
    runs: list[list[int]] = [[]]
    for at, heading in enumerate(headings):
        if heading.kind == "unknown" and columns[at] and not _words(heading.text) & (NO_CLASSES | SUMMARY):
            runs[-1].append(at)
        else:
            runs.append([])
    for name in MEAN_OF:
        runs.append([n for n, each in enumerate(headings) if each.kind == "value" and each.name == name and each.of])
        runs[-1] = [n for n in runs[-1] if columns[n] and not set(fold(headings[n].of).split()) & set(map(fold, MEANS))]
    for run in runs:
        inner = [at for at in run if fold(headings[at].of or headings[at].text) not in BACKGROUND]
        for group in (run, inner) if inner != run else (run,):
            if len(group) >= 2:
                yield tuple(group)


def _fit(columns: Sequence[Column | None], mean: int, members: tuple[int, ...], named: bool = False) -> Fit:
    """Hold a column against the mean of others, row by row; rows with a gap do not count."""
    agree, rows, weight = 0, 0, 0.0
    for printed, *others in zip(columns[mean] or (), *(columns[at] or () for at in members), strict=True):
        classes = [other for other in others if other]
        if printed is None or len(classes) < len(members):
            continue
        rows += 1

        def implied(reading: Reading, classes: list[Number] = classes) -> Interval:
            low, high = zip(*(each.interval(reading) for each in classes), strict=True)
            return sum(low, Fraction(0)) / len(classes), sum(high, Fraction(0)) / len(classes)

        if judge(printed, implied).severity != "contradiction":
            agree += 1
            spread = max(each.high for each in classes) - min(each.low for each in classes)
            weight += max(0.0, math.log10(spread / (2 * printed.step))) if spread else 0.0
    return Fit(mean, members, agree, rows, weight, named)


def _name(headings: Sequence[Heading], columns: Sequence[Column | None], fit: Fit, measure: str) -> list[Heading]:
    """Headings of a mean and its classes, once it is known that they are."""
    mean = headings[fit.mean]
    known = CLASS_OF.get(mean.name, mean.name if mean.name in MEAN_OF else measure if measure in MEAN_OF else "score")
    percent = mean.percent or any(n.high > 1 for at in (fit.mean, *fit.members) for n in columns[at] or () if n)
    named = [replace(mean, kind="value", name=MEAN_OF[known], of="", percent=percent, closes=True)]
    for at in fit.members:
        each = headings[at]
        named.append(
            replace(each, percent=percent)
            if each.of
            else replace(each, kind="value", name=known, of=each.text, percent=percent)
        )
    return named


def _list(headings: Sequence[Heading], fit: Fit) -> str:
    return listing([headings[at].text for at in fit.members], 30)


def _open(headings: Sequence[Heading], fits: Sequence[Fit], used: set[int]) -> Iterator[str]:
    """Means by name next to columns that could be their classes, although no row shows it."""
    for mean in dict.fromkeys(fit.mean for fit in fits):
        near = [
            fit for fit in fits if fit.mean == mean and fit.rows and not fit.shown and not used & {mean, *fit.members}
        ]
        near = [fit for fit in near if {min(fit.members) - 1, max(fit.members) + 1} & {mean}]
        near = [fit for fit in near if all(headings[at].kind == "unknown" for at in fit.members)]
        if near and (headings[mean].name in CLASS_OF or headings[mean].kind == "unknown"):
            fit = max(near, key=lambda fit: len(fit.members))
            yield (
                f"{headings[mean].text} not compared with the columns next to it: it is their mean in {fit.agree} of "
                f"{fit.rows} rows; if they are its classes, say 'classes: {', '.join(headings[at].text for at in fit.members)}'"
            )
