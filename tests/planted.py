"""Errors planted into sound tables, and which of them the audit finds: ``python tests/planted.py`` prints the table of the docs.

Sound tables are made from random confusion matrices, counted here slowly, and printed with four decimals.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median

from segstudy.auditing import Audit, audit_tables

CLASSES = ("background", "road", "car", "tree")
FORMATS = ("csv", "md", "tex")
NUM_TRIALS = 10


@dataclass
class Sheet:
    """One table: notes, headings, rows of text, and the cells in bold."""

    notes: list[str]
    head: list[str]
    rows: list[list[str]]
    bold: set[tuple[int, str]] = field(default_factory=set)

    def get(self, row: int, heading: str) -> str:
        return self.rows[row][self.head.index(heading)]

    def number(self, row: int, heading: str) -> Fraction:
        return Fraction(self.get(row, heading).rstrip("%"))

    def put(self, row: int, heading: str, text: str) -> None:
        self.rows[row][self.head.index(heading)] = text

    def as_csv(self) -> str:
        marked = [
            [f"**{text}**" if (n, head) in self.bold else text for head, text in zip(self.head, row, strict=True)]
            for n, row in enumerate(self.rows)
        ]
        return "".join(f"# {note}\n" for note in self.notes) + "".join(
            ",".join(row) + "\n" for row in [self.head, *marked]
        )

    def as_md(self) -> str:
        lines = self.as_csv().splitlines()
        notes, table = (
            lines[: len(self.notes)],
            [f"| {line.replace(',', ' | ')} |" for line in lines[len(self.notes) :]],
        )
        return "\n".join([*notes, "", table[0], "|" + "---|" * len(self.head), *table[1:]]) + "\n"

    def as_tex(self) -> str:
        rows = [
            [
                rf"\textbf{{{text}}}" if (n, head) in self.bold else text
                for head, text in zip(self.head, row, strict=True)
            ]
            for n, row in enumerate(self.rows)
        ]
        lines = [
            " & ".join(row).replace("%", r"\%").replace("±", r"$\pm$").replace("Δ", r"$\Delta$")
            for row in [self.head, *rows]
        ]
        notes = "".join(f"% {note}\n" for note in self.notes)
        body = f"\\toprule\n{lines[0]} \\\\\n\\midrule\n" + "".join(f"{line} \\\\\n" for line in lines[1:])
        return f"{notes}\\begin{{tabular}}{{l{'c' * (len(self.head) - 1)}}}\n{body}\\bottomrule\n\\end{{tabular}}\n"


def shown(value: Fraction, places: int = 4, sign: bool = False) -> str:
    """Rounded half up, as most programs print."""
    scaled = value * 10**places
    digits = (abs(scaled) + Fraction(1, 2)).__floor__()
    whole, rest = divmod(digits, 10**places)
    return f"{'-' if value < 0 and digits else '+' if sign else ''}{whole}.{rest:0{places}d}"


def mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


@dataclass
class Run:
    """A confusion matrix's scores, class by class."""

    iou: list[Fraction]
    dice: list[Fraction]
    precision: list[Fraction]
    recall: list[Fraction]
    accuracy: Fraction


def run(rng: random.Random, size: int) -> Run:
    """Scores of a network that gets 55 to 95 % of each class right."""
    truth = [rng.randint(20_000, 90_000) for _ in range(size)]
    matrix = []
    for k, pixels in enumerate(truth):
        wrong = int(pixels * rng.uniform(0.05, 0.45))
        cuts = sorted(rng.randint(0, wrong) for _ in range(size - 2))
        others = [b - a for a, b in zip([0, *cuts], [*cuts, wrong], strict=True)]
        matrix.append([*others[:k], pixels - wrong, *others[k:]])
    hits = [matrix[k][k] for k in range(size)]
    predicted = [sum(row[k] for row in matrix) for k in range(size)]
    return Run(
        [Fraction(h, t + p - h) for h, t, p in zip(hits, truth, predicted, strict=True)],
        [Fraction(2 * h, t + p) for h, t, p in zip(hits, truth, predicted, strict=True)],
        [Fraction(h, p) for h, p in zip(hits, predicted, strict=True)],
        [Fraction(h, t) for h, t in zip(hits, truth, strict=True)],
        Fraction(sum(hits), sum(truth)),
    )


NAMES = ("baseline", "wider", "deeper", "longer", "larger")


def sound(rng: random.Random) -> dict[str, Sheet]:
    """Tables without a fault: by class, by run, of two classes, with deviations, and some numbers a second time."""
    one = run(rng, 4)
    scores = (one.iou, one.dice, one.precision, one.recall)
    by_class = [[name, *(shown(each[k]) for each in scores)] for k, name in enumerate(CLASSES)]
    by_class.append(["Mean", shown(mean(one.iou)), shown(mean(one.dice)), "-", shown(mean(one.recall))])
    runs = [run(rng, 4) for _ in NAMES]
    head = ["Experiment", "Dataset", *(f"{c} IoU" for c in CLASSES), *(f"{c} recall" for c in CLASSES)]
    head += ["mIoU", "mDice", "mAcc", "Pixel accuracy", "Δ mIoU", "relative Δ mIoU (%)"]
    rows = []
    for name, each in zip(NAMES, runs, strict=True):
        rows.append([name, "street", *map(shown, each.iou), *map(shown, each.recall)])
        rows[-1] += map(shown, (mean(each.iou), mean(each.dice), mean(each.recall), each.accuracy))
    base = Fraction(rows[0][10])
    for row in rows:
        change = Fraction(row[10]) - base
        row += (
            [shown(change, sign=True), shown(100 * change / base, 1, sign=True)] if row is not rows[0] else ["-", "-"]
        )
    by_run = Sheet([f"classes: {'; '.join(CLASSES).replace(';', ',')}", "level: dataset"], head, rows)
    by_run.bold = {(max(range(5), key=lambda n, h=h: by_run.number(n, h)), h) for h in ("mIoU", "mDice", "mAcc")}
    repeated = Sheet(
        ["level: dataset"], ["Experiment", "Dataset", "mIoU", "mDice"], [[*r[:2], *r[10:12]] for r in rows]
    )
    pairs = [run(rng, 2) for _ in NAMES]
    two = [[n, shown(mean(p.iou)), shown(mean(p.dice)), shown(p.accuracy)] for n, p in zip(NAMES, pairs, strict=True)]
    organs = [[n, *map(shown, e.dice), shown(mean(e.iou))] for n, e in zip(NAMES, runs, strict=True)]
    front = [[n, *map(shown, e.iou), shown(mean(e.iou[1:]))] for n, e in zip(NAMES, runs, strict=True)]
    spread = [
        [
            n,
            f"{shown(mean(e.iou), 3)} ± {rng.uniform(0.002, 0.02):.3f}",
            f"{shown(mean(e.dice), 3)} ± {rng.uniform(0.002, 0.02):.3f}",
        ]
        for n, e in zip(NAMES, runs, strict=True)
    ]
    own = [[n, shown(mean(e.iou)), f"{rng.uniform(0.002, 0.02):.4f}"] for n, e in zip(NAMES, runs, strict=True)]
    percent = [[n, shown(100 * mean(e.iou), 2), shown(100 * mean(e.dice), 2)] for n, e in zip(NAMES, runs, strict=True)]
    return {
        "class": Sheet(["level: dataset"], ["Class", "IoU", "Dice", "Precision", "Recall"], by_class),
        "run": by_run,
        "repeated": repeated,
        "two": Sheet(["classes: 2", "level: dataset"], ["Model", "mIoU", "mDice", "Pixel accuracy"], two),
        "organs": Sheet(
            [f"classes: {', '.join(CLASSES)}", "level: dataset"],
            ["Model", *(f"{c} Dice" for c in CLASSES), "mIoU"],
            organs,
        ),
        "front": Sheet(
            [f"classes: {', '.join(CLASSES[1:])}"], ["Model", *(f"{c} IoU" for c in CLASSES), "mIoU"], front
        ),
        "spread": Sheet([], ["Model", "mIoU", "mDice"], spread),
        "own": Sheet([], ["Model", "mIoU", "mIoU SD"], own),
        "percent": Sheet([], ["Model", "mIoU", "mDice"], percent),
    }


Plant = Callable[[random.Random, Sheet], None]


@dataclass(frozen=True)
class Fault:
    """A kind of error: the sheet that it is planted into, how, and the rules of which one must find it."""

    kind: str
    sheet: str
    plant: Plant
    rules: tuple[str, ...]


def changed(
    heading: str, by: Callable[[Fraction], Fraction], rows: tuple[int, ...] = (1, 2, 3), places: int = 4
) -> Plant:
    """A number of one row altered."""

    def plant(rng: random.Random, sheet: Sheet) -> None:
        row = rng.choice(rows)
        signed = sheet.get(row, heading)[0] in "+-"
        sheet.put(row, heading, shown(by(sheet.number(row, heading)), places, signed))

    return plant


def swapped_headings(one: str, other: str) -> Plant:
    def plant(_: random.Random, sheet: Sheet) -> None:
        a, b = sheet.head.index(one), sheet.head.index(other)
        sheet.head[a], sheet.head[b] = other, one

    return plant


def made(
    heading: str,
    of: Callable[[Sheet, int], Fraction],
    rows: tuple[int, ...] = (1, 2, 3),
    places: int = 4,
    sign: bool = False,
) -> Plant:
    """A number of one row computed wrongly from others."""

    def plant(rng: random.Random, sheet: Sheet) -> None:
        row = rng.choice(rows)
        sheet.put(row, heading, shown(of(sheet, row), places, sign))

    return plant


def written(heading: str, text: str | Callable[[str], str]) -> Plant:
    def plant(rng: random.Random, sheet: Sheet) -> None:
        row = rng.choice((1, 2, 3))
        sheet.put(row, heading, text if isinstance(text, str) else text(sheet.get(row, heading)))

    return plant


def slid(_: random.Random, sheet: Sheet) -> None:
    column = [sheet.get(n, "Dice") for n in range(4)]
    for n in range(4):
        sheet.put(n, "Dice", column[(n + 1) % 4])


def exchanged(rng: random.Random, sheet: Sheet) -> None:
    a, b = rng.sample(range(4), 2)
    one, other = sheet.get(a, "IoU"), sheet.get(b, "IoU")
    sheet.put(a, "IoU", other)
    sheet.put(b, "IoU", one)


def wrong_digit(rng: random.Random, sheet: Sheet) -> None:
    row = rng.randrange(4)
    text = sheet.get(row, "Dice")
    sheet.put(row, "Dice", f"{text[:3]}{(int(text[3]) + rng.randint(2, 8)) % 10}{text[4:]}")


def transposed(_: random.Random, sheet: Sheet) -> None:
    for row in range(4):
        text = sheet.get(row, "Dice")
        if abs(int(text[2]) - int(text[3])) > 1:
            sheet.put(row, "Dice", f"0.{text[3]}{text[2]}{text[4:]}")
            return
    sheet.put(0, "Dice", "0.1234")


def cut_off(_: random.Random, sheet: Sheet) -> None:
    """Differences cut to three digits, or to two where no third shows it; a difference of 0 would be another baseline."""
    for unit in (1000, 100):
        cut = {row: Fraction(int(drop(sheet, row) * unit), unit) for row in range(1, 5)}
        cut = {row: short for row, short in cut.items() if short}
        if any(abs(drop(sheet, row) - short) * unit >= Fraction(3, 5) for row, short in cut.items()):
            break
    for row, short in cut.items():
        sheet.put(row, "Δ mIoU", shown(short, len(str(unit)) - 1, sign=True))


def names_reversed(_: random.Random, sheet: Sheet) -> None:
    for row, name in zip(sheet.rows, NAMES[::-1], strict=True):
        row[0] = name


def copied(_: random.Random, sheet: Sheet) -> None:
    sheet.rows[2][1:] = sheet.rows[1][1:]


def other_best(_: random.Random, sheet: Sheet) -> None:
    [(row, heading)] = [mark for mark in sheet.bold if mark[1] == "mIoU"]
    sheet.bold = {mark for mark in sheet.bold if mark[1] != "mIoU"} | {((row + 1) % 5, heading)}


def of_classes(sheet: Sheet, row: int) -> list[Fraction]:
    return [sheet.number(row, f"{name} IoU") for name in CLASSES]


def unlike(wrong: Fraction, right: Fraction) -> Fraction:
    """A wrong number, moved on where it happens to be almost the right one."""
    return wrong if abs(wrong - right) > Fraction(1, 500) else wrong + Fraction(1, 100)


def in_percent(_: random.Random, sheet: Sheet) -> None:
    sheet.head[1] = "mIoU (%)"


def same_label(_: random.Random, sheet: Sheet) -> None:
    sheet.rows[2][0] = sheet.rows[1][0]


def away(value: Fraction) -> Fraction:
    return value - Fraction(3, 100) if value > Fraction(1, 2) else value + Fraction(3, 100)


def drop(sheet: Sheet, row: int, other: int = 0, heading: str = "mIoU") -> Fraction:
    return sheet.number(row, heading) - sheet.number(other, heading)


FAULTS = (
    Fault("columns swapped (IoU, Dice of classes)", "class", swapped_headings("IoU", "Dice"), ("dice",)),
    Fault("columns swapped (mIoU, mDice)", "two", swapped_headings("mIoU", "mDice"), ("mean-dice", "two-classes")),
    Fault("rows shifted against each other", "class", slid, ("dice",)),
    Fault("two cells of a column exchanged", "class", exchanged, ("dice",)),
    Fault("wrong digit", "class", wrong_digit, ("dice",)),
    Fault("two digits transposed", "class", transposed, ("dice",)),
    Fault("decimal point misplaced", "class", changed("Dice", lambda v: v / 10), ("dice",)),
    Fault("digits cut off instead of rounded", "run", cut_off, ("difference",)),
    Fault(
        "wrong sign of a difference",
        "run",
        written("Δ mIoU", lambda t: ("-" if t[0] == "+" else "+") + t[1:]),
        ("difference",),
    ),
    Fault("difference to another row", "run", made("Δ mIoU", lambda s, n: drop(s, n, 4), sign=True), ("difference",)),
    Fault(
        "difference of another measure",
        "run",
        made("Δ mIoU", lambda s, n: drop(s, n, 0, "mDice"), sign=True),
        ("difference",),
    ),
    Fault(
        "relative change in points",
        "run",
        made("relative Δ mIoU (%)", lambda s, n: 100 * drop(s, n), sign=True, places=1),
        ("relative",),
    ),
    Fault(
        "relative change with a typo", "run", changed("relative Δ mIoU (%)", lambda v: v + 2, places=1), ("relative",)
    ),
    Fault("share among percentages", "percent", written("mIoU", lambda t: shown(Fraction(t) / 100)), ("unit",)),
    Fault("percentage among shares", "two", written("mIoU", lambda t: shown(Fraction(t) * 100, 2)), ("unit",)),
    Fault("shares under a heading in percent", "two", in_percent, ("mean-dice", "two-classes")),
    Fault("mean not that of its classes", "run", changed("mIoU", away), ("mean",)),
    Fault("mean row with a typo", "class", changed("IoU", away, rows=(4,)), ("mean",)),
    Fault(
        "mean leaves background out",
        "run",
        made("mIoU", lambda s, n: unlike(mean(of_classes(s, n)[1:]), s.number(n, "mIoU"))),
        ("mean",),
    ),
    Fault(
        "mean includes background",
        "front",
        made("mIoU", lambda s, n: mean(of_classes(s, n))),
        ("mean",),
    ),
    Fault(
        "mean over another number of classes", "run", made("mIoU", lambda s, n: sum(of_classes(s, n)) / 5), ("mean",)
    ),
    Fault(
        "median in the place of the mean",
        "run",
        made("mIoU", lambda s, n: median(of_classes(s, n))),
        ("mean",),
    ),
    Fault("mIoU does not follow from class Dices", "organs", changed("mIoU", away), ("classes",)),
    Fault("Dice below IoU (means)", "spread", written("mDice", "0.300 ± 0.010"), ("mean-dice",)),
    Fault("mean Dice above 2 IoU / (1 + IoU)", "spread", written("mDice", "0.990 ± 0.004"), ("mean-dice",)),
    Fault(
        "mean Dice of another row (two classes)",
        "two",
        made("mDice", lambda s, n: s.number(n, "mDice") + Fraction(1, 100)),
        ("two-classes", "mean-dice"),
    ),
    Fault(
        "mIoU above pixel accuracy (two classes)",
        "two",
        made("mIoU", lambda s, n: s.number(n, "Pixel accuracy") + Fraction(1, 100)),
        ("two-classes",),
    ),
    Fault(
        "accuracy below its lower bound (two classes)",
        "two",
        made("Pixel accuracy", lambda s, n: s.number(n, "mIoU") - Fraction(1, 100)),
        ("two-classes",),
    ),
    Fault(
        "pixel accuracy outside the classes' recalls", "run", changed("Pixel accuracy", lambda v: v / 2), ("weighted",)
    ),
    Fault(
        "IoU above recall", "class", made("Recall", lambda s, n: s.number(n, "IoU") - Fraction(1, 100)), ("accuracy",)
    ),
    Fault(
        "IoU above precision",
        "class",
        made("Precision", lambda s, n: s.number(n, "IoU") - Fraction(1, 100)),
        ("accuracy",),
    ),
    Fault(
        "mIoU above mean class accuracy",
        "run",
        made("mAcc", lambda s, n: s.number(n, "mIoU") - Fraction(1, 100)),
        ("accuracy",),
    ),
    Fault(
        "mean class accuracy not that of the recalls", "run", changed("mAcc", lambda v: v + Fraction(1, 50)), ("mean",)
    ),
    Fault("Dice is not what precision and recall make", "class", changed("Precision", away), ("precision-recall",)),
    Fault("score above 1", "run", written("mDice", "1.0210"), ("range",)),
    Fault("score above 100 %", "percent", written("mDice", "102.10"), ("range",)),
    Fault("negative score", "run", written("mIoU", lambda t: "-" + t), ("range",)),
    Fault("number printed otherwise in another table", "repeated", changed("mIoU", away), ("repeated",)),
    Fault(
        "another run's number in a second table",
        "repeated",
        made("mDice", lambda s, n: s.number(n + 1, "mDice")),
        ("repeated",),
    ),
    Fault("row copied under another name", "run", copied, ("copy",)),
    Fault("one name for two rows", "two", same_label, ("label",)),
    Fault("best marked wrongly", "run", other_best, ("best",)),
    Fault("impossible deviation", "spread", written("mIoU", lambda t: t[:8] + "0.720"), ("spread",)),
    Fault("deviation larger than the mean allows", "spread", written("mDice", "0.970 ± 0.300"), ("spread",)),
    Fault("impossible deviation in its own column", "own", written("mIoU SD", "0.7500"), ("spread",)),
)

# What arithmetic cannot see: the numbers are still possible.
UNSEEN = (
    Fault("precision and recall swapped", "class", swapped_headings("Precision", "Recall"), ()),
    Fault("names of rows exchanged throughout", "two", names_reversed, ()),
    Fault("wrong but possible deviation", "spread", written("mIoU", lambda t: t[:8] + "0.050"), ()),
    Fault("typo in a score that no other number depends on", "own", changed("mIoU", away), ()),
)


def audited(folder: Path, sheets: list[Sheet], suffix: str) -> Audit:
    """The audit of the sheets, written in one format."""
    paths = [folder / f"t{number}.{suffix}" for number, _ in enumerate(sheets)]
    for path, sheet in zip(paths, sheets, strict=True):
        path.write_text(getattr(sheet, f"as_{suffix}")(), encoding="utf-8")
    return audit_tables([str(path) for path in paths])


def sheets_of(fault: Fault, tables: dict[str, Sheet]) -> list[Sheet]:
    """The sheet of a fault, with the one that it repeats."""
    return [*([tables["run"]] if fault.sheet == "repeated" else []), tables[fault.sheet]]


def trials(fault: Fault, suffix: str, folder: Path, number: int = NUM_TRIALS) -> Iterator[Audit]:
    """Audits of random sound tables with the fault planted into them."""
    for seed in range(number):
        tables = sound(random.Random(seed))
        fault.plant(random.Random(seed), tables[fault.sheet])
        yield audited(folder, sheets_of(fault, tables), suffix)


def found(fault: Fault, audit: Audit) -> bool:
    return bool({each.rule for each in audit.findings} & set(fault.rules))


def table() -> str:
    """How many of the planted errors are found, in Markdown."""
    lines = ["| planted error | CSV | Markdown | LaTeX | rule |", "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        for fault in FAULTS:
            numbers = [sum(found(fault, after) for after in trials(fault, each, Path(name))) for each in FORMATS]
            lines.append(f"| {fault.kind} | {' | '.join(f'{n}/{NUM_TRIALS}' for n in numbers)} | `{fault.rules[0]}` |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
