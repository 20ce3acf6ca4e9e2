"""Rules that tie measures to each other and means to their classes: what no set of masks can break.

Where scores may be averages over images, seeds or classes, less is certain than where a score is one class's over all
pixels at once; each rule says what it rests on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from segstudy.auditing.claims import Claim, Claims
from segstudy.auditing.findings import Finding, finding, pairs, quote
from segstudy.auditing.headings import CLASS_OF
from segstudy.auditing.levels import Tie, assumed, judged
from segstudy.auditing.printed import Implied, Interval, Reading, Verdict, dice_of, increasing, iou_of, judge


def dice_from_iou(claims: Claims) -> Iterator[Finding]:
    """One class's Dice over all pixels is 2 IoU / (1 + IoU); so is a class's F1, which is another name for Dice.

    Means over images may have any Dice from the IoU to that.
    """
    ties = [
        Tie(claim, increasing(dice_of, iou.printed), _from_iou_to_dice(iou), (iou,))
        for claim, iou in (*pairs(claims, "dice", "iou"), *pairs(claims, "f1", "iou"))
        if claim.exact and iou.exact
    ]
    broken: dict[tuple[int, str], list[tuple[Claim, Claim]]] = defaultdict(list)
    for tie, verdict in judged(ties):
        if verdict.severity == "contradiction":
            broken[tie.claim.place.table, tie.claim.subject.run].append((tie.claim, tie.others[0]))
        elif verdict.severity:
            yield _not_dice(tie.claim, tie.others[0], verdict, "")
    for together in broken.values():
        hint = _shift(together)
        for claim, iou in together:
            yield _not_dice(claim, iou, Verdict("contradiction"), hint)


def _from_iou_to_dice(iou: Claim) -> Implied:
    """The bounds of a Dice that is averaged over the same things as an IoU, by Jensen's inequality."""

    def implied(reading: Reading) -> Interval:
        low, high = iou.printed.score(reading)
        return low, dice_of(high)

    return implied


def _not_dice(claim: Claim, iou: Claim, verdict: Verdict, hint: str) -> Finding:
    implied = claim.printed.printing(dice_of(iou.printed.low))
    message = (
        f"{quote(iou, claim)} makes {claim.heading.text} {implied}, not {claim.printed.text}{hint}{assumed(verdict)}"
    )
    return finding(claim, "dice", implied, verdict, message)


def _shift(broken: list[tuple[Claim, Claim]]) -> str:
    """Whether the rows that break look like columns that slid against each other."""
    if len(broken) < 2:
        return ""
    iou_at = {claim.place.row: iou for claim, iou in broken}
    for shift in (1, -1, 2, -2):
        moved = [(claim, iou_at[claim.place.row + shift]) for claim, _ in broken if claim.place.row + shift in iou_at]
        if len(moved) > 1 and all(
            judge(c.printed, increasing(dice_of, iou.printed)).severity is None for c, iou in moved
        ):
            return f" (each Dice fits the IoU {abs(shift)} row{'s' * (abs(shift) > 1)} {'below' if shift > 0 else 'above'})"
    if _nearer_shifted(broken):
        names = f"{broken[0][0].row} to {broken[-1][0].row}"
        return f" (no row from {names} fits: the two columns seem to be shifted against each other)"
    return ""


def _nearer_shifted(broken: list[tuple[Claim, Claim]]) -> bool:
    """Whether rows that follow each other agree far better once one of their columns is moved by a row, its end going round.

    Far better: every higher IoU then has the higher Dice, as it must, and the Dice are off by less than half as much. Two
    rows can be swapped only, which proves no shift. Three rows of any numbers pass about one time in eight, four one in
    thirty, so it is said of no fewer, and only as what it seems to be.
    """
    rows = [claim.place.row for claim, _ in broken]
    if len(rows) < 3 or rows != list(range(rows[0], rows[0] + len(rows))):
        return False
    printed = [claim.printed.low for claim, _ in broken]
    made = [dice_of(iou.printed.low) for _, iou in broken]
    return any(
        _ordered(moved, printed) and 2 * _off(moved, printed) < _off(made, printed)
        for moved in (made[1:] + made[:1], made[-1:] + made[:-1])
    )


def _ordered(made: list[Fraction], printed: list[Fraction]) -> bool:
    """Whether the larger of two has the larger printed number."""
    ordered = [dice for _, dice in sorted(zip(made, printed, strict=True))]
    return ordered == sorted(ordered)


def _off(made: list[Fraction], printed: list[Fraction]) -> Fraction:
    """The distance of printed numbers from the values that others imply, all together."""
    return sum((abs(one - other) for one, other in zip(made, printed, strict=True)), Fraction(0))


def averages_bound(claims: Claims) -> Iterator[Finding]:
    """Means over classes, images or seeds: IoU <= Dice <= 2 IoU / (1 + IoU), as the curve bends down (Jensen).

    A mean F1 that is made of mean precision and mean recall may be higher than the mean Dice, so only the first holds.
    """
    for dice, iou in (("mdice", "miou"), ("dice", "iou"), ("mf1", "miou"), ("f1", "iou")):
        for claim, other in pairs(claims, dice, iou):
            if claim.exact and other.exact:
                continue

            def bounds(reading: Reading, claim: Claim = claim, other: Claim = other) -> Interval:
                low, high = other.printed.score(reading)
                return low, dice_of(high) if claim.measure.endswith("dice") else Fraction(1)

            verdict = judge(claim.printed, bounds)
            if verdict.severity:
                implied = claim.printed.printing_of(bounds("printed"))
                message = f"{quote(other, claim)} allows {claim.heading.text} {implied}, not {claim.printed.text}"
                yield finding(claim, "mean-dice", implied, verdict, message)


def dice_from_precision(claims: Claims) -> Iterator[Finding]:
    """One class's Dice over all pixels is the harmonic mean of its precision and recall.

    Each image's lies between their product and their mean, so means over images lie between P + R - 1 and (P + R) / 2.
    """
    ties = []
    for claim, precision in (*pairs(claims, "dice", "precision"), *pairs(claims, "f1", "precision")):
        recall = claims.partner(claim, "class_accuracy")
        if claim.exact and precision.exact and recall and recall.exact:
            ties.append(Tie(claim, *_harmonic(precision, recall), (precision, recall)))
    for tie, verdict in judged(ties):
        if verdict.severity:
            claim, (precision, recall) = tie.claim, tie.others
            implied = claim.printed.printing_of(tie.pooled("printed"))
            given = f"{quote(precision, claim)} and {quote(recall, claim)}"
            message = f"{given} make {claim.heading.text} {implied}, not {claim.printed.text}{assumed(verdict)}"
            yield finding(claim, "precision-recall", implied, verdict, message)


def dice_between(claims: Claims) -> Iterator[Finding]:
    """Of every image and class, Dice lies between P + R - 1 and (P + R) / 2, and so do means over the same of them.

    Whether they are over the same is not printed, so more than (P + R) / 2 is left open. Less than P + R - 1 says nothing, as
    precision and recall may count the background and Dice leave it out.
    """
    for dice, precision_of, recall_of in (
        *((each, "precision", "class_accuracy") for each in ("dice", "f1")),
        *((each, "mean_precision", "mean_class_accuracy") for each in ("mdice", "mf1")),
    ):
        for claim, precision in pairs(claims, dice, precision_of):
            recall = claims.partner(claim, recall_of)
            if recall is None or (claim.exact and precision.exact and recall.exact):
                continue
            averaged = _harmonic(precision, recall)[1]

            def below(reading: Reading, averaged: Implied = averaged) -> Interval:
                return Fraction(0), averaged(reading)[1]

            verdict = judge(claim.printed, below)
            if verdict.severity:
                verdict = Verdict("undecided") if verdict.severity == "contradiction" else verdict
                most = claim.printed.printing(below("printed")[1])
                message = (
                    f"{quote(precision, claim)} and {quote(recall, claim)} make {claim.heading.text} {most} at most, not "
                    f"{claim.printed.text}, if all three are means over the same images and classes; this cannot be decided by "
                    "arithmetic otherwise"
                )
                yield finding(claim, "precision-recall", f"at most {most}", verdict, message)


def _harmonic(precision: Claim, recall: Claim) -> tuple[Implied, Implied]:
    """Dice over all pixels, and what it may be as a mean over images."""

    def ends(reading: Reading) -> list[tuple[Fraction, Fraction]]:
        return list(zip(precision.printed.score(reading), recall.printed.score(reading), strict=True))

    def pooled(reading: Reading) -> Interval:
        low, high = (2 * p * r / (p + r) if p + r else Fraction(0) for p, r in ends(reading))
        return low, high

    def averaged(reading: Reading) -> Interval:
        low, high = ends(reading)
        return low[0] + low[1] - 1, (high[0] + high[1]) / 2

    return pooled, averaged


def classes_fix_means(claims: Claims) -> Iterator[Finding]:
    """Over all pixels, a class's IoU is Dice / (2 - Dice), so classes of either measure fix the mean of the other.

    Means over images leave the mean IoU anything from that to the mean Dice, the mean Dice from the mean IoU to that.
    """
    ties = []
    for mean, other, function, name in (("miou", "dice", iou_of, "IoU"), ("mdice", "iou", dice_of, "Dice")):
        for claim in claims.scores:
            if claim.measure != mean or claim.subject.cls or not claim.pooled:
                continue
            own = claims.classes_of(claim, "iou" if other == "dice" else "dice")
            listed = claims.classes_of(claim, other)
            number = claim.num_classes or (len(listed) if claim.summary else 0)
            classes = tuple(each for each in listed.values() if each.usable and each.pooled and each.alike(claim))
            if len(classes) == number and len(own) < number and classes:
                ties.append(Tie(claim, *_mean_by(function, classes), classes, name))
    for tie, verdict in judged(ties):
        if verdict.severity:
            claim = tie.claim
            implied = claim.printed.printing_of(tie.pooled("printed"))
            heading = tie.others[0].measure.replace("iou", "IoU").replace("dice", "Dice")
            message = (
                f"the {heading} of its {len(tie.others)} classes fixes their {tie.name} and so makes "
                f"{claim.heading.text} {implied}, not {claim.printed.text}{assumed(verdict)}"
            )
            yield finding(claim, "classes", implied, verdict, message)


def _mean_by(function: Callable[[Fraction], Fraction], classes: Sequence[Claim]) -> tuple[Implied, Implied]:
    """The mean of a function of classes' scores, and what it may be where scores are means over images."""

    def ends(reading: Reading, by: Callable[[Fraction], Fraction]) -> Interval:
        scores = [each.printed.score(reading) for each in classes]
        low, high = (sum(map(by, end), Fraction(0)) / len(classes) for end in zip(*scores, strict=True))
        return low, high

    def averaged(reading: Reading) -> Interval:
        one, other = ends(reading, function), ends(reading, lambda score: score)
        return min(one[0], other[0]), max(one[1], other[1])

    return lambda reading: ends(reading, function), averaged


def means_of_classes(claims: Claims) -> Iterator[Finding]:
    """A mean is that of its classes; classes that are not printed, or have no score, may have had any from 0 to 1."""
    for claim in claims.scores:
        if claim.measure not in CLASS_OF or claim.subject.cls:
            continue
        listed = claims.classes_of(claim, CLASS_OF[claim.measure])
        number = claim.num_classes or (len(listed) if claim.summary else 0)
        classes = [other for other in listed.values() if other.usable and other.alike(claim)]
        if not classes or len(listed) > number:
            continue

        def mean(reading: Reading, classes: list[Claim] = classes, number: int = number) -> Interval:
            ends = [other.printed.score(reading) for other in classes]
            low, high = (sum(end, Fraction(0)) for end in zip(*ends, strict=True))
            return low / number, (high + number - len(classes)) / number

        verdict = _of_classes(claims, claim, mean)
        if verdict.severity:
            implied = claim.printed.printing_of(mean("printed"))
            which = "its" if len(classes) == number else f"the {len(classes)} printed of its"
            things = "columns" if claim.heading.closes else "classes"
            message = f"{which} {number} {things} make {claim.heading.text} {implied}, not {claim.printed.text}"
            if verdict.severity == "undecided":
                message += "; this cannot be decided, as it may be made of other means: of precision and recall"
            yield finding(claim, "mean", implied, verdict, message)


def _of_classes(claims: Claims, claim: Claim, mean: Implied) -> Verdict:
    """Hold a mean against its classes; a mean F1 may also be the harmonic mean of mean precision and mean recall."""
    verdict = judge(claim.printed, mean)
    if claim.measure != "mf1" or claim.heading.closes or verdict.severity != "contradiction":
        return verdict
    precision, recall = claims.partner(claim, "mean_precision"), claims.partner(claim, "mean_class_accuracy")
    if not (precision and recall):
        return Verdict("undecided")
    other = judge(claim.printed, _harmonic(precision, recall)[0])
    return verdict if other.severity == "contradiction" else other


# A class's IoU is at most its recall, and pixel accuracy is the mean recall by the classes' shares of the true pixels.
BOUNDS = (
    ("iou", "class_accuracy"),
    ("iou", "precision"),
    ("miou", "mean_class_accuracy"),
    ("fwiou", "pixel_accuracy"),
)


def accuracy_bounds(claims: Claims) -> Iterator[Finding]:
    """IoU exceeds neither recall nor precision of the class, nor mIoU mean class accuracy: it has more to divide by.

    Nor does IoU weighted by frequency exceed pixel accuracy. For mIoU, pixel accuracy is no such bound; with three classes or
    more, mIoU may be far above it.
    """
    for iou, bound in BOUNDS:
        for claim, other in pairs(claims, iou, bound):
            if iou == "iou" and not claim.subject.cls:
                continue  # perhaps IoU of all classes next to precision of the foreground

            def below(reading: Reading, other: Claim = other) -> Interval:
                return Fraction(0), other.printed.score(reading)[1]

            verdict = judge(claim.printed, below)
            if verdict.severity:
                implied = claim.printed.printing_of(below("printed"))
                message = f"{claim.heading.text} {claim.printed.text} exceeds {quote(other, claim)}"
                yield finding(claim, "accuracy", implied, verdict, message)


def accuracy_is_weighted(claims: Claims) -> Iterator[Finding]:
    """Over all pixels, pixel accuracy is the mean of all classes' recalls, weighted by their pixels: it lies among them.

    Means over images need not.
    """
    ties = []
    for claim in claims.scores:
        if claim.measure != "pixel_accuracy" or claim.subject.cls or not claim.pooled:
            continue
        listed = claims.classes_of(claim, "class_accuracy")
        recalls = tuple(each for each in listed.values() if each.usable and each.pooled and each.alike(claim))
        if recalls and len(recalls) == (claim.num_classes or (len(listed) if claim.summary else 0)):
            ties.append(Tie(claim, _among(recalls), lambda _: (Fraction(0), Fraction(1)), recalls))
    for tie, verdict in judged(ties):
        if verdict.severity:
            claim = tie.claim
            implied = claim.printed.printing_of(tie.pooled("printed"))
            message = (
                f"the recalls of its {len(tie.others)} classes leave {claim.heading.text} {implied}, not "
                f"{claim.printed.text}{assumed(verdict)}"
            )
            yield finding(claim, "weighted", implied, verdict, message)


def _among(scores: Sequence[Claim]) -> Implied:
    """The bounds of a weighted mean of scores."""

    def among(reading: Reading) -> Interval:
        ends = [each.printed.score(reading) for each in scores]
        return min(low for low, _ in ends), max(high for _, high in ends)

    return among


def two_classes(claims: Claims) -> Iterator[Finding]:
    """With two classes, over all pixels, mIoU m and pixel accuracy p leave Dice no freedom.

    Each wrong pixel is missing in one class and spurious in the other. So p/2 <= m <= p/(2 - p), and
    mDice = (4m - p(1 + m)) / (1 + 3m - p(1 + m)). Of means over images only p/2 <= m <= p is left.
    """
    ties = []
    for claim in claims.scores:
        accuracy = claims.partner(claim, "pixel_accuracy")
        if claim.num_classes != 2 or claim.subject.cls or not claim.pooled or accuracy is None or not accuracy.pooled:
            continue
        if claim.measure == "miou":
            ties.append(Tie(claim, _between(accuracy, pooled=True), _between(accuracy, pooled=False), (accuracy,)))
            continue
        iou = claims.partner(claim, "miou") if claim.measure == "mdice" else None
        if iou and iou.pooled and judge(iou.printed, _between(accuracy, pooled=True)).severity != "contradiction":
            ties.append(Tie(claim, _tied(iou, accuracy), _from_iou_to_dice(iou), (iou, accuracy)))
    for tie, verdict in judged(ties):
        if verdict.severity:
            claim = tie.claim
            shown = claim.printed.printing_of(tie.pooled("printed"))
            given = " and ".join(quote(other, claim) for other in tie.others)
            made = f"{given} make {claim.heading.text} {shown}, not {claim.printed.text}"
            message = f"with two classes, {made}{assumed(verdict)}"
            yield finding(claim, "two-classes", shown, verdict, message)


def _between(accuracy: Claim, pooled: bool) -> Implied:
    """The bounds of the mean IoU of two classes, from the pixel accuracy."""

    def between(reading: Reading) -> Interval:
        low, high = accuracy.printed.score(reading)
        return low / 2, high / (2 - high) if pooled else high

    return between


def _tied(iou: Claim, accuracy: Claim) -> Implied:
    """The mean Dice of two classes, from their mean IoU and the pixel accuracy."""

    def tied(reading: Reading) -> Interval:
        ious, accuracies = iou.printed.score(reading), accuracy.printed.score(reading)
        return _two_class_dice(ious[0], accuracies[1]), _two_class_dice(ious[1], accuracies[0])

    return tied


def _two_class_dice(miou: Fraction, accuracy: Fraction) -> Fraction:
    """Mean Dice of two classes, from their mean IoU and the pixel accuracy; 0 where the two cannot be.

    >>> str(_two_class_dice(Fraction(7, 12), Fraction(3, 4)))  # 2 of 3 and 1 of 1 pixels found: IoU 2/3, 1/2
    '11/15'
    """
    top = 4 * miou - accuracy * (1 + miou)
    bottom = 1 + 3 * miou - accuracy * (1 + miou)
    return max(top, Fraction(0)) / bottom if bottom > 0 else Fraction(0)
