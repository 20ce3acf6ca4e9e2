"""What a mask's stored values mean. This module alone decides it, for all masks of a set together.

Class indices, and 0 with 255 (or 1-bit masks) for two classes, are taken as they are. JPEG files that are black and white
but for traces are two classes. Everything else is an error that holds the line to write: ``values``, ``colours``,
``threshold``, ``channel`` or ``ignore_values``. A declaration is obeyed exactly, and a mask that does not fit it is an error.

Array letters: ``h`` height, ``w`` width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Labels
from segstudy.data import proposals
from segstudy.data.core import IGNORE, Sample
from segstudy.data.declared import MIDDLE, Declared, above, labels_by_colour, labels_by_value, table_of
from segstudy.data.stored import (
    COLOUR_TRACES,
    Colour,
    MaskFacts,
    StoredMask,
    colour_spread,
    facts_of,
    read_mask,
    read_stored,
)
from segstudy.data.undeclared import (
    added,
    guess_number,
    joint_palette,
    palette_colours,
    refuse_between,
    refuse_blocks,
    refuse_drawn_255,
    refuse_levels,
    refuse_mixed,
    refuse_objects,
    refuse_palettes,
    refuse_unindexed,
)
from segstudy.errors import DataError, listing

UNDIM = 64  # values that stay below it are numbers, not brightness
LEFT_OUT, OUTSIDE = -1, -2  # what a value means when it is not a class

Table = NDArray[np.int64]


@dataclass(frozen=True)
class Encoding:
    """What the stored values of a set's masks mean: how each becomes labels.

    ``how`` is ``indices``, ``two-valued`` (0 and 255), ``values``, ``colours`` or ``threshold``; ``classes`` are the names
    that a declaration gives, else empty. ``palette`` holds what each index looks like in the masks that were looked at.
    ``void`` says that indices of 255 are left out, as in true masks, ``by_jpeg`` that the threshold was not declared, as
    the masks are JPEG's.
    """

    how: str
    num_classes: int
    classes: tuple[str, ...] = ()
    declared: Declared = field(default_factory=Declared)
    table: Mapping[float, int] = field(default_factory=dict)
    palette: Mapping[int, Colour] = field(default_factory=dict)
    saw_255: bool = True
    void: bool = True
    by_jpeg: bool = False

    def labels_of(self, sample: Sample) -> Labels:
        """Labels of a sample's mask; a mask that does not fit is a :class:`DataError` that names it."""
        return self.labels(read_mask(sample.mask, self.declared.channel))

    def labels(self, stored: StoredMask) -> Labels:
        """Labels of a mask that is read already."""
        if self.by_table:
            self.check(facts_of(stored))
            table = self.value_table(stored.kind)
            if wrong := [int(v) for v in stored.counts if table[int(v)] == OUTSIDE]:
                raise self._outside(stored.path, wrong)
            return self._looked_up(stored)
        if self.how == "colours":
            return labels_by_colour(stored, self.declared, self.table)
        if stored.alpha_varies or stored.kind == "colour":
            refuse_unindexed([facts_of(stored)], self.declared)
        if self.how == "values":
            return labels_by_value(stored, self.declared, self.table)
        assert self.declared.threshold is not None
        if self.by_jpeg:
            _jpeg_encoding([facts_of(stored)], self.declared)
        return above(stored.brightness, self.declared.threshold, stored.path)

    @property
    def by_table(self) -> bool:
        """Whether each stored value 0-255 means one thing, which :meth:`value_table` tells."""
        return self.how in ("indices", "two-valued")

    @property
    def left_out(self) -> tuple[int, ...]:
        """Stored values that are left out."""
        if self.by_table:
            return tuple(int(value) for value in np.flatnonzero(self.value_table("grey") == LEFT_OUT))
        return tuple(int(value) for value, label in self.table.items() if label == IGNORE and self.how == "values")

    def reads_alike(self, other: Encoding, mask: MaskFacts) -> bool:
        """Whether both give a mask of these values the same labels."""
        if not (self.by_table and other.by_table):
            return self.how == other.how and self.table == other.table
        values = sorted(mask.values)
        return np.array_equal(self.value_table(mask.kind)[values], other.value_table(mask.kind)[values])

    def lenient(self, stored: StoredMask) -> Labels:
        """Labels of a mask, 255 where a value is not a class, of which the caller makes sure that it does not matter."""
        return self._looked_up(stored) if self.by_table else self.labels(stored)

    def _looked_up(self, stored: StoredMask) -> Labels:
        table = self.value_table(stored.kind)
        return np.asarray(cv2.LUT(stored.values, np.where(table < 0, IGNORE, table).astype(np.uint8)), np.uint8)

    def value_table(self, kind: str) -> Table:
        """What each value 0-255 of a mask of ``kind`` means: a class, ``LEFT_OUT`` or ``OUTSIDE``."""
        means = np.full(256, OUTSIDE, np.int64)
        if self.how == "two-valued":
            means[[0, 255]] = 0, 1
            if kind == "bilevel":
                means[1] = 1
            means[list(self.declared.ignore_values)] = LEFT_OUT
            return means
        means[: self.num_classes] = np.arange(self.num_classes)
        means[[*([IGNORE] if self.void else []), *self.declared.ignore_values]] = LEFT_OUT
        return means

    def check(self, mask: MaskFacts) -> None:
        """Refuse a mask that is stored otherwise than those from which the encoding was learnt."""
        refuse_unindexed([mask], self.declared)
        if wrong := [k for k, colour in mask.palette.items() if self.palette.get(k, colour) != colour]:
            raise DataError(
                f"{mask.path}: index {listing(wrong)} has another colour in its palette than in other masks of the set; "
                f"{proposals.colours(palette_colours([mask]), self.declared.flags)}",
                "encoding",
            )
        unasked = self.how == "indices" and self.void and not self.saw_255 and not self.declared.ignore_values
        if unasked and mask.values == {0, IGNORE}:
            small = list(range(1, self.num_classes))
            raise DataError(
                f"{mask.path}: holds 0 and 255, while other masks of the set hold {listing([0, *small], 4)} and no 255; "
                f"{proposals.two_encodings(small, [IGNORE], self.declared.flags)}",
                "encoding",
            )

    def _outside(self, path: Path, wrong: Sequence[int]) -> DataError:
        if self.how == "two-valued":
            return DataError(
                f"{path}: holds {listing(sorted(wrong))}, while other masks of the dataset hold 0 and 255 only; "
                "make them alike (0 and 255, or class indices with 255 ignored)",
                "outside-classes",
            )
        if min(wrong) >= UNDIM > 2 * self.num_classes:
            text = f"grey levels rather than the {self.num_classes} classes 0-{self.num_classes - 1} of the others"
            return DataError(f"{path}: holds {listing(sorted(wrong))}, {text}; store it as they are", "outside-classes")
        return DataError(
            f"{path}: values {listing(sorted(wrong))} lie outside the {self.num_classes} classes "
            f"0-{self.num_classes - 1}; set num_classes to {max(wrong) + 1} or more, or name them under ignore_values "
            "(255 is always ignored)",
            "outside-classes",
        )


def decide(masks: Sequence[MaskFacts], declared: Declared, where: object, two_valued: bool = True) -> Encoding:
    """Decide what the values of ``masks`` mean, which stand for a whole set.

    Parameters
    ----------
    masks
        Facts of all masks of the set, or of a sample of them.
    declared
        What was said of them.
    where
        The set's folder, for messages.
    two_valued
        Whether 0 and 255 may be background and foreground; not so where 255 is known to be left out.

    Raises
    ------
    DataError
        Where the meaning is not certain; proposes what to declare.

    """
    if declared.means is not None:
        if declared.means == "threshold":
            if declared.number not in (None, 2):
                raise DataError(f"threshold makes two classes, and {declared.number} are given", "encoding")
            return Encoding("threshold", 2, declared.classes or (), declared)
        names, table = table_of(declared)
        return Encoding(declared.means, len(names), names, declared, table)
    refuse_unindexed(masks, declared)
    refuse_palettes(masks, declared, where)
    if any(mask.jpeg for mask in masks):
        return _jpeg_encoding(masks, declared)
    values = {value for mask in masks for value in mask.values}
    grey = {value for mask in masks if mask.kind != "bilevel" for value in mask.values}
    palette = joint_palette(masks)
    drawn = declared.number in (None, 2) and not {0, 255} & {*declared.ignore_values}
    drawn &= 0 in values or declared.number is not None  # 255 alone may as well be left out
    if drawn and two_valued and 255 in grey and grey - {*declared.ignore_values} <= {0, 255}:
        if marked := [mask for mask in masks if mask.nodata]:
            text = "holds 0 and its nodata value alone, which may as well be what is drawn"
            raise DataError(f"{marked[0].path}: {text}; {proposals.nodata(declared.flags)}", "encoding")
        return Encoding("two-valued", 2, declared=declared, palette=palette)
    number = declared.number
    unsaid = number is None and not declared.ignore_values
    if unsaid:
        refuse_objects(masks, declared, where)
    if two_valued:
        refuse_mixed(masks, declared, where)
    if unsaid:
        refuse_between(masks, declared, where)
        refuse_blocks(masks, declared, where)
        refuse_drawn_255(masks, declared, where)
    if number is None:
        number = guess_number(values, masks, declared, where)
    else:
        refuse_levels(values, masks, number, declared, where)
    return Encoding("indices", number, declared=declared, palette=palette, saw_255=255 in values)


def decide_pair(
    true: Sequence[MaskFacts], predicted: Sequence[MaskFacts], declared: Declared, where: tuple[object, object]
) -> tuple[Encoding, Encoding]:
    """What the values of true and of predicted masks mean; the number of classes is found in both together.

    A declaration is about both, unless the masks of one folder hold nothing but class indices.
    """
    if declared.means is not None:
        encoding = decide(true, declared, where[0])
        plain = Declared(num_classes=encoding.num_classes, channel=declared.channel, flags=declared.flags)
        if not _fits(predicted, encoding):
            return encoding, replace(decide(predicted, plain, where[1]), void=False)
        if not _fits(true, encoding) and _are_indices(true, encoding.num_classes):
            return replace(decide(true, plain, where[0]), classes=encoding.classes), encoding
        return encoding, encoding
    for masks, place in zip((true, predicted), where, strict=True):
        refuse_unindexed(masks, declared)
        refuse_palettes(masks, declared, place)
        if unsaid := declared.number is None and not declared.ignore_values:
            refuse_objects(masks, declared, place)
        refuse_mixed(masks, declared, place)
        if unsaid:
            refuse_between(masks, declared, place)
            refuse_blocks(masks, declared, place)
            if masks is true:
                refuse_drawn_255(masks, declared, place)
    if declared.number is None:
        declared = replace(declared, num_classes=_number_of_both(true, predicted, declared, where))
    truth = decide(true, declared, where[0])
    void = truth.how == "indices" and any(IGNORE in mask.values for mask in true)
    plain = replace(declared, ignore_values=())
    return truth, replace(decide(predicted, plain, where[1], two_valued=not void), void=False)


def _number_of_both(
    true: Sequence[MaskFacts], predicted: Sequence[MaskFacts], declared: Declared, where: tuple[object, object]
) -> int:
    """Number of classes, guessed from all values of both folders that are no JPEG's."""
    guessed = [mask for mask in (*true, *predicted) if not mask.jpeg]
    values = {value for mask in guessed for value in mask.values}
    if values <= {0, 1, 255}:
        _refuse_1_and_255(true, declared, where[0])
        return 2
    left_out = {*declared.ignore_values, IGNORE}
    for masks, place in ((true, where[0]), (predicted, where[1])):
        own = {value for mask in masks if not mask.jpeg for value in mask.values}
        if own - {0, 1, 255}:
            refuse_levels(own, masks, None, declared, place, values)
    return max(2, max(values - left_out, default=0) + 1)


def _refuse_1_and_255(true: Sequence[MaskFacts], declared: Declared, where: object) -> None:
    """Refuse true masks of 1 and 255 alone, of which either may be the background."""
    values = {value for mask in true if not mask.jpeg for value in mask.values}
    if values == {1, IGNORE} and not declared.ignore_values:
        refuse_levels(values, true, None, declared, where)


def _are_indices(masks: Sequence[MaskFacts], number: int) -> bool:
    return all(mask.values <= {*range(number), IGNORE} for mask in masks if mask.kind != "colour")


def _fits(masks: Sequence[MaskFacts], encoding: Encoding) -> bool:
    """Whether masks are encoded as was declared."""
    every = {value for mask in masks for value in mask.counts}
    if encoding.how == "threshold":
        return any(value > (encoding.declared.threshold or 0) for value in every) or every <= {0}
    indices = set(range(encoding.num_classes))
    if encoding.how == "colours":
        return all(mask.kind in ("colour", "palette") or not mask.values <= indices for mask in masks)
    if every <= indices and any(encoding.table.get(value) == IGNORE for value in every):
        return False  # what is left out is no prediction
    return every <= set(encoding.table) or (encoding.declared.nearest and not every <= indices)


def index_encoding(num_classes: int, ignored: Sequence[int] = ()) -> Encoding:
    """Class indices as stored, 255 and ``ignored`` left out, where a layout says that masks hold them."""
    return Encoding("indices", num_classes, declared=Declared(ignore_values=tuple(ignored)))


def index_labels(sample: Sample, num_classes: int, ignored: Sequence[int] = ()) -> Labels:
    """Class indices as stored; ``ignored`` values and 255 become 255, any other value past the classes is an error."""
    return index_encoding(num_classes, ignored).labels_of(sample)


def read_grey(path: Path, *, indices: bool = True) -> NDArray[np.uint8]:
    """Decode a mask to one ``uint8`` channel (h, w), of a layout that says what its masks hold.

    With ``indices`` the values are as stored, a palette's indices too. Without, they are brightness, and the traces of
    colour that JPEG may leave are none. Colours and numbers that do not fit 8 bits are errors.
    """
    stored = read_stored(path)
    traces = stored.kind == "colour" and not indices and _traces_of_colour(stored) <= COLOUR_TRACES
    if stored.kind == "deep" or (stored.kind == "colour" and not traces):
        refuse_unindexed([facts_of(stored)], Declared())
    grey: NDArray[np.uint8] = stored.values if indices or traces else stored.brightness
    return grey


def threshold_labels(sample: Sample) -> Labels:
    """Foreground where a two-class mask is above 127; JPEG noise around 0 and 255 does no harm.

    A mask that is not black and yet nowhere above 127, such as one of the indices 0 and 1, is an error: it would
    pass for an image without foreground.
    """
    advice = "this reader expects 0 for background and 255 for foreground (for masks of class indices use the reader 'folder')"
    return above(read_grey(sample.mask, indices=False), MIDDLE, sample.mask, advice)


def shown_in(stored: StoredMask, threshold: float | None = None) -> NDArray[np.bool_]:
    """Where the mask of one class or one object shows it: what is not black, in a file of black and one other value.

    With ``threshold``, what is brighter. JPEG files may have traces round black and white.

    Raises
    ------
    DataError
        For files of more than two values, and of two values without black.

    """
    if threshold is not None:
        return above(stored.brightness, threshold, stored.path).astype(bool)
    if stored.alpha_varies:
        refuse_unindexed([facts_of(stored)], Declared())
    if stored.jpeg and stored.kind == "grey" and proposals.is_black_and_white(stored.counts):
        return np.asarray(stored.values > MIDDLE)
    by_colour = stored.kind in ("colour", "palette")
    colours = stored.colours() if by_colour else {}
    black = (0, 0, 0) in colours if by_colour else 0 in stored.counts
    number = len(colours) if by_colour else len(stored.counts)
    if number <= 1 + black:
        return np.asarray(stored.as_rgb().any(axis=2) if by_colour else stored.values != 0)
    held = listing(map(proposals.hexadecimal, colours), 5) if by_colour else listing(f"{v:g}" for v in stored.counts)
    top = max(stored.counts) if stored.counts and not by_colour else 255
    line = proposals.option("threshold", 0 if top < UNDIM else MIDDLE, flags=False)
    raise DataError(
        f"{stored.path}: holds {held}; the mask of one class or object holds two values, one of which is black. Write "
        f"{line} if brighter pixels are meant",
        "encoding",
    )


def _jpeg_encoding(masks: Sequence[MaskFacts], declared: Declared) -> Encoding:
    """Two classes, where JPEG files are black and white but for the traces that JPEG leaves."""
    jpegs = [mask for mask in masks if mask.jpeg]
    first = (jpegs or masks)[0]
    only = f"{first.path}: JPEG alters values, as lossy WebP does, so it can hold only black and white, for two classes"
    dim = [mask for mask in jpegs if 0 < max(mask.counts, default=0) <= MIDDLE]
    counts, flat = added(jpegs), added(jpegs, flat=True)
    levels = max(counts, default=0) >= UNDIM and len(dim) in (0, len(jpegs))
    if jpegs and levels and (dim or not proposals.is_black_and_white(counts, flat)):
        text = f"{first.path.parent}: the masks are JPEG or lossy WebP and not black and white"
        raise DataError(f"{text}; {proposals.levels(counts, declared.flags, flat)}", "encoding")
    if declared.number not in (None, 2):
        number = declared.number
        text = f"and not the indices of {number}; provide all masks of {first.path.parent} as PNG"
        raise DataError(f"{only}, {text}", "encoding")
    if any(not mask.jpeg and mask.kind != "bilevel" and mask.values - {0, 255} for mask in masks):
        raise DataError(f"{only}; provide all masks of {first.path.parent} as PNG", "encoding")
    if dim:
        peaks = proposals.main_levels(counts, flat)
        line = proposals.option("threshold", int(sum(peaks) / 2), declared.flags)
        also = f", or write {line} if they are of two levels" if len(peaks) == 2 and len(dim) == len(jpegs) else ""
        raise DataError(
            f"{dim[0].path}: JPEG alters values, as lossy WebP does, so it can hold only black and white, but nothing here is "
            f"above 127; provide masks of class indices as PNG{also}",
            "encoding",
        )
    return Encoding("threshold", 2, declared=replace(declared, threshold=MIDDLE), by_jpeg=True)


def _traces_of_colour(stored: StoredMask) -> int:
    return colour_spread(stored.as_rgb())
