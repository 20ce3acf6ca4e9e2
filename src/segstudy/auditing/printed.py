"""Printed numbers: the values that their digits may stand for, and whether a printed number agrees with others.

All arithmetic is exact, in fractions. A number printed as 0.517 stands for an interval: from 0.5165 to 0.5175 if it was
rounded, from 0.517 to 0.518 if its digits were cut off. Ends belong to no interval; a tie could have gone either way.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, NamedTuple

from segstudy.auditing import markup

Interval = tuple[Fraction, Fraction]
Reading = Literal[
    "printed", "rounded", "truncated"
]  # how digits are taken: as they stand, or as made from more of them
Implied = Callable[[Reading], Interval]  # what other numbers make of one, their digits taken in this way
Severity = Literal["rounding", "undecided", "contradiction"]
Mark = Literal["", "percent", "points"]

GAPS = {"", "-", "--", "---", "n/a", "n.a.", "na", "nan", "none", "/"}
MAX_LENGTH = 60
CUT_OFF = "digits seem cut off instead of rounded"
DASHES = str.maketrans(
    dict.fromkeys("−–—‐‑‒", "-")
    | {"％": "%"}
    | dict.fromkeys("\u00a0\u202f\u2009", " ")
    | dict.fromkeys("\u200b\ufeff", "")
)
DIGITS = r"(?:\d+(?:[.,]\d*)?|[.,]\d+)"
MARK = r"%|percent(?:age\s+points?)?|pp|p\.p\.|points?"
PRINTED = re.compile(
    rf"""(?:(?:≈|~|∼|≃|ca\.?|about)\s*)?
    (?P<sign>[+-]?)\s*(?P<low>{DIGITS})\s*(?P<mark>{MARK})?
    (?:\s*(?:-|to)\s*(?P<high>{DIGITS}))?\s*(?P<end>{MARK})?
    (?P<interval>\s*[(\[]\s*{DIGITS}\s*%?\s*(?:[,;-]|to)\s*{DIGITS}\s*%?\s*[)\]])?
    (?P<spread>\s*(?:±|\+/-)\s*{DIGITS}\s*%?|\s*\(\s*±?\s*{DIGITS}\s*%?\s*\))?
    (?P<aside>\s*\(\s*[-+↑↓]\s*{DIGITS}\s*%?\s*\)|\s*[+↑↓]\s*{DIGITS}\s*%?)?""",
    re.VERBOSE | re.ASCII | re.IGNORECASE,
)


@dataclass(frozen=True)
class Number:
    """One printed number, or a range such as 26–28 %.

    ``low`` and ``high`` are equal unless it is a range; ``step`` is one in its last digit. All three are in the unit
    that the text is printed in until :meth:`as_fraction` brings them to fractions of one.
    """

    text: str
    low: Fraction
    high: Fraction
    step: Fraction
    places: int
    mark: Mark = ""
    averaged: bool = False  # printed with a spread, so the mean of several scores
    aside: str = ""  # a signed number that follows, in brackets or not: often the difference to another row
    unit: int = 1  # what one is printed as: 1, or 100 for percent
    spread: Fraction | None = None  # what follows ±, or stands in brackets
    bounds: Interval | None = None  # ends of an interval that is printed behind it

    def as_fraction(self, percent: bool) -> Number:
        """The same number as a fraction of one, printed in percent or not."""
        unit = 100 if percent else 1
        spread = None if self.spread is None else self.spread / unit
        bounds = None if self.bounds is None else (self.bounds[0] / unit, self.bounds[1] / unit)
        low, high, step = self.low / unit, self.high / unit, self.step / unit
        return replace(self, low=low, high=high, step=step, unit=unit, spread=spread, bounds=bounds)

    def interval(self, reading: Reading) -> Interval:
        """The values that the digits may stand for.

        >>> [str(end) for end in Number("0.5", Fraction(1, 2), Fraction(1, 2), Fraction(1, 10), 1).interval("rounded")]
        ['9/20', '11/20']
        """
        if reading == "printed":
            return self.low, self.high
        if reading == "rounded":
            return self.low - self.step / 2, self.high + self.step / 2
        return (self.low - self.step if self.low <= 0 else self.low), (
            self.high + self.step if self.high >= 0 else self.high
        )

    def score(self, reading: Reading) -> Interval:
        """The same for a score as a fraction of one, which cannot lie outside 0 and 1."""
        low, high = self.interval(reading)
        return max(low, Fraction(0)), min(high, Fraction(1))

    def magnitude(self) -> Number:
        """The number without its sign."""
        return self if self.low >= 0 else replace(self, low=-self.high, high=-self.low)

    def printing(self, value: Fraction) -> str:
        """``value`` printed like this number: with its digits, unit and sign."""
        digits = round(value * self.unit * 10**self.places)
        whole, rest = divmod(abs(digits), 10**self.places)
        sign = "-" if digits < 0 else "+" if self.text.startswith("+") else ""
        text = f"{sign}{whole}" + (f".{rest:0{self.places}d}" if self.places else "")
        return text + ("%" if "%" in self.text else "")

    def printing_of(self, implied: Interval) -> str:
        """The same of an interval: one number where both ends print alike."""
        ends = [self.printing(end) for end in implied]
        return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"


def parse_number(text: str) -> Number | None:
    """Read a cell; None for a gap.

    Understood are signs of all kinds, a decimal comma, ``%``, ``pp``, ``≈``, ranges (``26–28 %``), spreads
    (``0.88 ± 0.01``, ``0.88 (0.01)``) and the marks that printing adds (``**``, ``†``).

    >>> number = parse_number("88,30 %")
    >>> str(number.low), number.places, number.mark
    ('883/10', 2, 'percent')
    >>> parse_number("–") is None
    True

    Raises
    ------
    ValueError
        If the cell holds anything else.

    """
    plain = markup.plain(text).translate(DASHES).strip(" *_$`†‡§^").strip().replace("\\pm", "±").replace("\\%", "%")
    if plain[:1] in ("↑", "↓"):
        plain = "+-"["↑↓".index(plain[0])] + plain[1:]
    if plain.casefold() in GAPS:
        return None
    match = PRINTED.fullmatch(plain) if len(plain) <= MAX_LENGTH else None
    if match is None:
        raise ValueError(f"'{text}' is not a number")
    ends = [part.replace(",", ".") for part in (match["low"], match["high"] or match["low"])]
    sign = -1 if match["sign"] == "-" else 1
    low, high = (sign * Fraction(end) for end in ends)
    if low > high or (match["high"] and sign < 0):
        raise ValueError(f"'{text}' is not a range from a lower to a higher number")
    places = min(len(end.partition(".")[2]) for end in ends)
    mark = (match["mark"] or match["end"] or "").casefold()
    return Number(
        text.strip(),
        low,
        high,
        Fraction(1, 10**places),
        places,
        "percent" if mark in ("%", "percent") else "points" if mark else "",
        match["spread"] is not None or match["interval"] is not None,
        (match["aside"] or "").strip(" ()"),
        spread=_spread(match["spread"]),
        bounds=_bounds(match["interval"]),
    )


def _spread(text: str | None) -> Fraction | None:
    """The number in a spread as it is printed: 0.01 of ± 0.01, of (0.01), of (±0.01)."""
    digits = re.search(DIGITS, text or "")
    return Fraction(digits[0].replace(",", ".")) if digits else None


def _bounds(text: str | None) -> Interval | None:
    """The ends of an interval as they are printed."""
    if text is None:
        return None
    low, high = (Fraction(end.rstrip(",").replace(",", ".")) for end in re.findall(DIGITS, text))
    return low, high


class Verdict(NamedTuple):
    """The distance of a printed number from what others imply; ``severity`` is None where it agrees."""

    severity: Severity | None
    because: str = ""

    @property
    def rank(self) -> int:
        """0 for agreement, 1 for rounding, 2 for what an assumption decides, 3 for a contradiction."""
        return (None, "rounding", "undecided", "contradiction").index(self.severity)


def judge(printed: Number, implied: Implied) -> Verdict:
    """Hold a printed number against what other printed numbers imply.

    Parameters
    ----------
    printed
        The number that is checked.
    implied
        For each reading of the other numbers' digits, the values that follow from them.

    Returns
    -------
    Verdict
        Agreement if values exist that all numbers are rounded from. ``rounding`` if they exist once digits are cut off
        instead, or if the number is off by one in its last digit. Otherwise no values can have been printed so.

    Examples
    --------
    >>> half = parse_number("0.50")
    >>> judge(half, lambda reading: (Fraction(49, 100), Fraction(49, 100)))
    Verdict(severity='rounding', because='it is off by one in the last digit')

    """
    if overlap(printed.interval("rounded"), implied("rounded")):
        return Verdict(None)
    cut = printed.interval("truncated")
    if (
        overlap(cut, implied("rounded"))
        or overlap(cut, implied("truncated"))
        or overlap(printed.interval("rounded"), implied("truncated"))
    ):
        return Verdict("rounding", CUT_OFF)
    if distance(printed, implied("printed")) <= printed.step * 3 / 2:
        return Verdict("rounding", "it is off by one in the last digit")
    return Verdict("contradiction")


def overlap(one: Interval, other: Interval) -> bool:
    """Whether two intervals without their ends share a value."""
    return max(one[0], other[0]) < min(one[1], other[1])


def distance(printed: Number, implied: Interval) -> Fraction:
    """The distance of the printed number itself from an interval."""
    return max(Fraction(0), implied[0] - printed.high, printed.low - implied[1])


def dice_of(iou: Fraction) -> Fraction:
    """Dice = 2 IoU / (1 + IoU).

    >>> str(dice_of(Fraction(1, 3)))
    '1/2'
    """
    return 2 * iou / (1 + iou)


def iou_of(dice: Fraction) -> Fraction:
    """IoU = Dice / (2 - Dice).

    >>> str(iou_of(Fraction(1, 2)))
    '1/3'
    """
    return dice / (2 - dice)


def increasing(function: Callable[[Fraction], Fraction], score: Number) -> Implied:
    """The bounds that follow from a score by an increasing function."""

    def implied(reading: Reading) -> Interval:
        low, high = score.score(reading)
        return function(low), function(high)

    return implied
