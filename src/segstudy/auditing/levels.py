"""Ties that hold over all pixels at once only: whether a table that does not say so may be of means over images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from segstudy.auditing.claims import Claim
from segstudy.auditing.printed import Implied, Verdict, judge

UNDECIDED = (
    "; this cannot be decided unless scores are over the pixels of all images at once, as means over images can be printed "
    "so: say 'level: dataset' or 'level: image'"
)
ASSUMED = ", over the pixels of all images at once (level: dataset)"


@dataclass(frozen=True)
class Tie:
    """The bounds that other numbers imply for one, over all pixels (``pooled``) and as a mean over images (``averaged``)."""

    claim: Claim
    pooled: Implied
    averaged: Implied
    others: tuple[Claim, ...]
    name: str = ""


def judged(ties: Iterable[Tie]) -> Iterator[tuple[Tie, Verdict]]:
    """Each tie with its verdict, ``undecided`` where only the level, which is not said, makes it a contradiction.

    The level counts as said where numbers of the same table show it: where as many ties hold as are broken, although
    means over images need not keep one of them.
    """
    tables: dict[int, list[tuple[Tie, Verdict]]] = defaultdict(list)
    for tie in ties:
        tables[tie.claim.place.table].append((tie, judge(tie.claim.printed, tie.pooled)))
    for found in tables.values():
        broken = sum(verdict.severity == "contradiction" for _, verdict in found)
        kept = sum(verdict.severity is None and _telling(tie) for tie, verdict in found)
        shown = kept >= max(1, broken)
        for tie, verdict in found:
            open_ = verdict.severity == "contradiction" and not (tie.claim.level or shown)
            if open_ and judge(tie.claim.printed, tie.averaged).severity != "contradiction":
                verdict = Verdict("undecided")
            yield tie, verdict


def _telling(tie: Tie) -> bool:
    """Whether a tie could hardly hold by chance: it leaves a fifth at most of what means over images may be."""
    (low, high), (from_, to) = tie.averaged("rounded"), tie.pooled("rounded")
    return 5 * max(tie.claim.printed.step, to - from_) <= high - low


def assumed(verdict: Verdict) -> str:
    """The basis of a verdict, as the end of a sentence."""
    if verdict.severity == "undecided":
        return UNDECIDED
    return ASSUMED if verdict.severity == "contradiction" else ""
