"""Score predicted masks from any framework against true masks: no network, no study.

Array letters: ``n`` image, ``c`` class.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from segstudy.arrays import Confusion, Counts, Labels
from segstudy.conventions.outlines import count_outlines
from segstudy.counts.counting import confusion_matrix, count_pair, stack_counts
from segstudy.counts.countset import TRUTH, CountSet, hash_labels
from segstudy.data.core import IGNORE, Sample
from segstudy.data.declared import MAX_CLASSES, Declared
from segstudy.data.encoding import LEFT_OUT, OUTSIDE, Encoding, decide_pair
from segstudy.data.quality.faults import refuse
from segstudy.data.quality.inspect import TURNS
from segstudy.data.quality.pairing import Listing, list_images
from segstudy.data.quality.predicted import FITS, RIMS, doubts_of_pairs, pair_counts
from segstudy.data.readers.files import MASK_FILES, masks_in, read_mask_file
from segstudy.data.readers.renumbered import refuse_renumbered
from segstudy.data.splitting.groups import find_groups
from segstudy.data.stored import MaskFacts, StoredMask, facts_of
from segstudy.data.threads import over_threads
from segstudy.errors import DataError, SpecError, and_more, listing, repeated
from segstudy.progress import Progress
from segstudy.records import EvaluationRecord
from segstudy.schema import ScoringRules
from segstudy.true_masks import TrueMasks, true_masks_of

Masks = Callable[[Sample], tuple[StoredMask, StoredMask]]  # the true and the predicted one, as stored
Encodings = tuple[Encoding, Encoding]  # of true and of predicted masks
Made = TypeVar("Made")
ELSEWHERE = "unknown (masks from elsewhere)"  # of which split the masks are, and what chose the epoch of their network


@dataclass(frozen=True)
class _Tally:
    """The part of one pair of masks that is kept until all pairs are read; the meaning of values is only known then.

    ``pixels`` counts pixels by the stored values that occur, those of the truth and those of the prediction. ``counts``
    were taken with the meaning that the pair's own values suggest, ``guess``; empty where nothing could be counted.
    """

    pair: Sample
    true: MaskFacts
    predicted: MaskFacts
    pixels: Confusion
    guess: Encodings | None = None
    counts: Mapping[str, Counts] = field(default_factory=dict)

    @property
    def table(self) -> Confusion:
        """Pixels (256, 256) by stored value; none where values do not fit 8 bits."""
        whole = np.zeros((256, 256), np.int64)
        if self.pixels.size:
            whole[np.ix_(sorted(self.true.values), sorted(self.predicted.values))] = self.pixels
        return whole


def score_masks(
    predictions: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    ignore_values: Sequence[int] = (),
    rules: ScoringRules | None = None,
    groups: str | None = None,
    progress: Progress | None = None,
    declared: Declared | None = None,
    outlines: Sequence[str] = (),
    data_root: Path | None = None,
) -> CountSet:
    """Count every mask in ``predictions`` against the mask of the same name in ``truth``.

    Masks are scored at their own size, each pixel's value being its class; 255 and ``ignore_values`` in the truth are
    left out. For two classes, a folder whose masks hold 0 and 255 only is read as background and foreground, and so
    are JPEG masks. But 255 in predictions is an error where the truth uses 255 for pixels to leave out. Masks of any
    other values are an error that says what to declare.

    Parameters
    ----------
    predictions, truth
        Folders; files are paired by name without suffix. ``study.yaml:NAME`` or ``study.yaml:NAME:SPLIT`` as truth are the
        masks of a study's dataset, whatever its layout.
    num_classes
        Number of classes; found from the masks' largest value when neither it nor ``classes`` is given.
    classes
        Names of the classes, in order.
    ignore_values
        Further values of the true masks that are not scored. Given 255, true masks of 0 and 255 only are read as
        class 0 with pixels to leave out.
    rules
        Tolerances, sizes of objects; the defaults when not given.
    groups
        Pattern whose first bracket names an image's group in its name, when images of a group are no independent ones.
    progress
        Moved on by an image at a time.
    declared
        What values mean where they are not class indices. If one of the two folders holds nothing but class indices, it is
        read as these.
    outlines
        Names of other libraries' rules for distances between outlines, which are counted too; masks are read once more.
    data_root
        Where datasets of a study lie.

    Raises
    ------
    SpecError
        If classes are too few, too many or not named each by a name of its own, or values to ignore cannot be.
    DataError
        Naming unpaired, unreadable or differently sized masks, values outside the classes, and names without a group, or
        with groups that are spelled in several ways.

    """
    predictions, of_study = Path(predictions), true_masks_of(os.fspath(truth), data_root)
    if of_study is not None:
        _leave_to_dataset(of_study, num_classes, classes, ignore_values, declared)
        classes, ignore_values = of_study.classes, of_study.left_out
    truth = Path(truth if of_study is None else of_study.name)
    given = _given_classes(num_classes, classes)
    if wrong := [value for value in ignore_values if not 0 <= value <= 255]:
        raise SpecError(f"values to ignore (--ignore): {listing(wrong)}: must be 0 to 255, as masks hold no others")
    rules = rules or ScoringRules()
    pairs, true_of = _pairs_of_study(predictions, of_study) if of_study else (_pairs(predictions, truth), None)
    ids = tuple(pair.id for pair in pairs)
    grouped = find_groups(ids, groups, "--groups") if groups is not None else None
    named = None if classes is None else tuple(classes)
    declared = declared or Declared(flags=True)
    declared = replace(declared, classes=named, num_classes=given, ignore_values=tuple(ignore_values))
    if progress is not None:
        progress.task("scoring", len(pairs))
    masks = partial(_masks, declared=declared, true_of=true_of)
    tallies = _for_each(lambda pair: _tally(pair, masks, declared, rules), pairs, progress)
    true, predicted = [tally.true for tally in tallies], [tally.predicted for tally in tallies]
    means = decide_pair(true, predicted, declared, (truth, predictions))
    refuse_renumbered((tally.table for tally in tallies), declared)
    _for_each(lambda tally: _check(tally, means), tallies)
    counts = stack_counts(_for_each(lambda tally: _settled(tally, means, masks, rules), tallies))
    if outlines:
        counts |= stack_counts(_for_each(lambda tally: _outlines(tally, means, masks, outlines, rules), tallies))
    hashes, seen = counts.pop(TRUTH), {name: counts.pop(name) for name in (FITS, RIMS)}
    about = _described(predictions, truth, named or (), rules, means[0])
    doubts = (*_tags(tallies), *doubts_of_pairs(ids, about.classes, counts["confusion"], seen))
    about = about.model_copy(update={"doubts": doubts or None})
    return CountSet(predictions.name, counts, ids, about, grouped, hashes)


def _described(
    predictions: Path, truth: Path, classes: tuple[str, ...], rules: ScoringRules, true: Encoding
) -> EvaluationRecord:
    """The provenance of the counts."""
    return EvaluationRecord(
        predictions=predictions.resolve().name,
        test_data=truth.resolve().name,
        split=ELSEWHERE,
        selected_on=ELSEWHERE,
        resolution="native",
        classes=classes or true.classes or tuple(f"class {k}" for k in range(true.num_classes)),
        scoring=rules.model_dump(),
        ignore=true.left_out,
    )


def _pairs(predictions: Path, truth: Path) -> tuple[Sample, ...]:
    """Masks of the same name without suffix; one that is alone, or twice, is an error that names it.

    Of a volume or a stack, the name of each mask is the file's and its number.
    """
    found, true = (_each(list_images(folder, suffixes=MASK_FILES)) for folder in (predictions, truth))
    problems = [
        f"{fault.file}: {fault.message}"
        for fault in (*found.faults, *true.faults)
        if fault.severity == "error" or fault.kind == "left-out"
    ]
    for what, other, ours, theirs in (
        ("predictions have no true mask", truth, found.images, true.images),
        ("true masks have no prediction", predictions, true.images, found.images),
    ):
        if lone := [path.name for stem, path in ours.items() if stem not in theirs]:
            problems.append(f"{len(lone)} {what} in {other}: {listing(dict.fromkeys(lone), 5)}")
    if problems:
        raise DataError("\n".join([*problems, "Add the missing files or move the lone ones away."]))
    return tuple(Sample(stem, path, true.images[stem]) for stem, path in found.images.items())


def _pairs_of_study(predictions: Path, truth: TrueMasks) -> tuple[tuple[Sample, ...], Callable[[Sample], StoredMask]]:
    """Predictions with the masks of a dataset's samples, and how the true ones are read."""
    found = _each(list_images(predictions, suffixes=MASK_FILES))
    refuse(str(predictions), [replace(fault, severity="error") for fault in found.faults if fault.kind != "case"])
    samples = truth.named(found.images)
    pairs = tuple(Sample(key, path, samples[key].mask) for key, path in found.images.items())
    return pairs, lambda pair: truth.read(samples[pair.id])


def _leave_to_dataset(
    truth: TrueMasks,
    num_classes: int | None,
    classes: Sequence[str] | None,
    ignore_values: Sequence[int],
    declared: Declared | None,
) -> None:
    """Refuse a declaration of true masks of which a study's dataset says what they mean."""
    if num_classes is not None or classes is not None or ignore_values or (declared and declared.means is not None):
        raise SpecError(
            f"the dataset '{truth.name}' of the study says which classes there are ({listing(truth.classes, 5)}) and what true "
            "masks mean; leave out --num-classes, --classes, --ignore, --values, --colours and --threshold"
        )


def _each(found: Listing) -> Listing:
    """Masks by name, of which a file may hold several."""
    return replace(found, images={key + end: path for key, path in found.images.items() for end in masks_in(path)})


def _given_classes(num_classes: int | None, classes: Sequence[str] | None) -> int | None:
    """The requested number of classes, if any."""
    allowed = f"2 to {MAX_CLASSES}"
    if num_classes is not None and not 2 <= num_classes <= MAX_CLASSES:
        raise SpecError(f"number of classes (--num-classes) {num_classes}: must be {allowed}")
    if classes is None:
        return num_classes
    given = f"names of the classes (--classes): {len(classes)} given"
    if empty := [number for number, name in enumerate(classes, 1) if not name.strip()]:
        raise SpecError(
            f"{given}, of which number {listing(empty)} is empty; write every class's name, separated by commas"
        )
    if twice := repeated(classes):
        raise SpecError(f"{given}, {listing(twice)} more than once; give each class a name of its own")
    if num_classes not in (None, len(classes)):
        raise SpecError(
            f"{given} ({listing(classes)}) for {num_classes} classes (--num-classes); name every class, or give one of the two"
        )
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise SpecError(f"{given}; must be {allowed}")
    return len(classes)


def _for_each(function: Callable[[Any], Made], items: Sequence[Any], progress: Progress | None = None) -> list[Made]:
    """Results in order; the messages of all :class:`DataError` are raised together."""

    def one(item: Any) -> Made | DataError:
        try:
            return function(item)
        except DataError as error:
            return error

    found, problems = [], []
    for made in over_threads(one, items):  # each thread holds a pair of masks and what is made of it
        if isinstance(made, DataError):
            problems.append(str(made))
        else:
            found.append(made)
        if progress is not None:
            progress.advance()
    if problems:
        raise DataError(
            "\n".join(problems[:10]) + (f"\n... {and_more(len(problems) - 10)}" if len(problems) > 10 else "")
        )
    return found


def _tally(pair: Sample, masks: Masks, declared: Declared, rules: ScoringRules) -> _Tally:
    """Read the two masks, and count what can be counted before all masks are known."""
    truth, predicted = masks(pair)
    pixels = np.empty((0, 0), np.int64)
    if "deep" not in (truth.kind, predicted.kind):
        every = confusion_matrix(truth.values, predicted.values, 256, ignore=-1)
        pixels = every[np.ix_(every.any(axis=1), every.any(axis=0))]
    objects = declared.number is None and declared.means is None
    tally = _Tally(pair, facts_of(truth, objects), facts_of(predicted, objects), pixels)
    try:
        guess = decide_pair([tally.true], [tally.predicted], declared, (pair.mask, pair.image))
        _check(tally, guess)
        return replace(tally, guess=guess, counts=_count(truth, predicted, guess, rules))
    except DataError:  # said once all masks are known, when it may turn out to be none
        return tally


def _settled(tally: _Tally, means: Encodings, masks: Masks, rules: ScoringRules) -> dict[str, Counts]:
    """Counts of a pair under what the values turned out to mean; it is read again only where the guess was wrong."""
    pairs = zip(means, (tally.true, tally.predicted), tally.guess or means, strict=True)
    if not tally.counts or not all(one.reads_alike(other, mask) for one, mask, other in pairs):
        return _count(*masks(tally.pair), means, rules)
    nothing = np.full((1, 1), IGNORE, np.uint8)
    widened = _counted(nothing, nothing, means[0].num_classes, rules)  # as many classes as there are, no pixel
    for name, counts in tally.counts.items():
        widened[name][tuple(map(slice, counts.shape))] = counts
    return widened


def _count(truth: StoredMask, predicted: StoredMask, means: Encodings, rules: ScoringRules) -> dict[str, Counts]:
    labels = means[0].lenient(truth), means[1].lenient(predicted)
    if not means[1].by_table and (number := int(np.count_nonzero((labels[0] != IGNORE) & (labels[1] == IGNORE)))):
        text = f"predicts what is left out ('ignore') on {number:,} pixels that are scored"
        raise DataError(f"{predicted.path}: {text}; predict one of the classes for every pixel")
    return _counted(*labels, means[0].num_classes, rules)


def _counted(truth: Labels, predicted: Labels, num_classes: int, rules: ScoringRules) -> dict[str, Counts]:
    """Counts of one image, and the hash of its truth."""
    return (
        count_pair(truth, predicted, num_classes, rules) | pair_counts(truth, predicted) | {TRUTH: hash_labels(truth)}
    )


def _tags(tallies: Sequence[_Tally]) -> list[str]:
    """A doubt about files whose orientation tag says to turn them, which is not done on reading."""
    found = []
    for what, files in (
        ("true masks", [(tally.pair.mask, tally.true.orientation) for tally in tallies]),
        ("predictions", [(tally.pair.image, tally.predicted.orientation) for tally in tallies]),
    ):
        if tagged := [(path, tag) for path, tag in files if tag > 1]:
            first = f"{tagged[0][0].name}: {TURNS[tagged[0][1]]}"
            text = f"{len(tagged)} of {len(files)} {what} have an orientation tag ({first}), which is not applied on reading"
            found.append(f"{text}; save them without the tag, turned as the images are that they belong to")
    return found


def _outlines(
    tally: _Tally, means: Encodings, masks: Masks, names: Sequence[str], rules: ScoringRules
) -> dict[str, Counts]:
    """The scores of one pair by other libraries' rules for outlines, which do not follow from the stored counts."""
    truth, predicted = (one.lenient(mask) for one, mask in zip(means, masks(tally.pair), strict=True))
    predicted = np.where(truth == IGNORE, IGNORE, predicted)
    return count_outlines(truth, predicted, means[0].num_classes, names, rules.tolerances_px[0])


def _masks(
    pair: Sample, declared: Declared, true_of: Callable[[Sample], StoredMask] | None
) -> tuple[StoredMask, StoredMask]:
    """True and predicted mask as stored, of one size."""
    truth = read_mask_file(pair.mask, pair.id, declared) if true_of is None else true_of(pair)
    predicted = read_mask_file(pair.image, pair.id, declared, lenient=True)
    if truth.values.shape != predicted.values.shape:
        (height, width), (true_height, true_width) = predicted.values.shape, truth.values.shape
        turned = predicted.values.shape == truth.values.shape[::-1]
        advice = (
            "one of the two is turned by a quarter, so turn it back"
            if turned
            else "save predictions at the masks' own size (nearest neighbour)"
        )
        raise DataError(f"{pair.image}: is {width}x{height} but its true mask is {true_width}x{true_height}; {advice}")
    return truth, predicted


def _check(tally: _Tally, means: Encodings) -> None:
    """Every value that is scored must be a class."""
    truth, predicted = means
    rows = truth.value_table(tally.true.kind) if truth.by_table else np.zeros(256, np.int64)
    columns = predicted.value_table(tally.predicted.kind) if predicted.by_table else np.zeros(256, np.int64)
    classes = f"0-{truth.num_classes - 1}"
    if wrong := np.flatnonzero((rows == OUTSIDE) & tally.table.any(axis=1)).tolist():
        raise DataError(
            f"{tally.pair.mask}: values {listing(wrong)} are outside the {truth.num_classes} classes {classes}; "
            f"{_more(wrong)}, or ignore these values (--ignore; 255 always is)"
        )
    scored = tally.table[rows != LEFT_OUT].any(axis=0)
    if wrong := np.flatnonzero((columns == OUTSIDE) & scored).tolist():
        raise DataError(
            f"{tally.pair.image}: predicts {listing(wrong)} on pixels that are scored; the classes are {classes}; "
            f"predict one of them for every pixel{'' if max(wrong) == IGNORE else f', or {_more(wrong)}'}"
        )


def _more(values: list[int]) -> str:
    """Advice if values outside the classes are classes after all."""
    return f"say that there are {max(values) + 1} classes or more (--num-classes or --classes)"
