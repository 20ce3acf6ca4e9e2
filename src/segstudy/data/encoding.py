"""What a mask's stored values mean. This module alone decides it, for all masks of a set together.

Class indices, and 0 with 255 (or 1-bit masks) for two classes, are taken as they are. JPEG files that are black and white
but for traces are two classes. Everything else is an error that holds the line to write: ``values``, ``colours``,
``threshold``, ``channel`` or ``ignore_values``. A declaration is obeyed exactly, and a mask that does not fit it is an error.

Array letters: ``h`` height, ``w`` width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Labels
from segstudy.data import proposals
from segstudy.data.core import IGNORE, Sample
from segstudy.data.stored import COLOUR_TRACES, Colour, StoredMask, read_stored
from segstudy.errors import DataError, listing

LEFT_OUT, OUTSIDE = -1, -2  # what a value means when it is no class
MAX_CLASSES = 255
MAX_GUESSED = 64  # more distinct values than this are grey levels rather than classes
MIDDLE = 127
IGNORE_NAME = "ignore"  # in ``values`` and ``colours``: pixels that are left out
BLACK, WHITE = (0, 0, 0), (255, 255, 255)

Table = NDArray[np.int64]


@dataclass(frozen=True)
class Declared:
    """What a person said of the masks of a set; nothing of it is needed for class indices.

    Attributes
    ----------
    classes, num_classes
        Names of the classes in the order of their indices, or their number.
    ignore_values
        Values that are left out, besides 255.
    values
        Class name of each stored value; several values may be one class, and the class ``ignore`` is left out.
    nearest
        Whether each value between those of ``values`` is read as the nearest of them, as JPEG needs it.
    colours
        Class name of each colour, as ``#rrggbb``.
    threshold
        Foreground is what is brighter.
    channel
        Which of :data:`~segstudy.data.stored.CHANNELS` holds the mask.
    flags
        Whether messages propose command-line flags rather than keys of a study file.

    """

    classes: tuple[str, ...] | None = None
    num_classes: int | None = None
    ignore_values: tuple[int, ...] = ()
    values: Mapping[float, str] | None = None
    nearest: bool = False
    colours: Mapping[str, str] | None = None
    threshold: float | None = None
    channel: str | None = None
    flags: bool = False

    @property
    def number(self) -> int | None:
        """How many classes there are, if that was said."""
        return len(self.classes) if self.classes is not None else self.num_classes

    @property
    def means(self) -> str | None:
        """Which declaration says what values mean; None where they are to be class indices."""
        given = [key for key in ("values", "colours", "threshold") if getattr(self, key) is not None]
        if len(given) > 1:
            raise DataError(f"{listing(given)} are given; each says what mask values mean, so keep one of them")
        return given[0] if given else None


@dataclass(frozen=True)
class MaskFacts:
    """What is kept of one mask to decide what the values of a set mean."""

    path: Path
    kind: str
    counts: Mapping[float, int]
    jpeg: bool = False
    palette: Mapping[int, Colour] = field(default_factory=dict)
    colours: Mapping[Colour, int] | None = None
    alpha_varies: bool = False

    @property
    def values(self) -> set[int]:
        """Values that occur, of masks that have whole numbers."""
        return {int(value) for value in self.counts}


@dataclass(frozen=True)
class Encoding:
    """What the stored values of a set's masks mean: how each becomes labels.

    ``how`` is ``indices``, ``two-valued`` (0 and 255), ``values``, ``colours`` or ``threshold``; ``classes`` are the names
    that a declaration gives, else empty. ``palette`` holds what each index looks like in the masks that were looked at.
    """

    how: str
    num_classes: int
    classes: tuple[str, ...] = ()
    declared: Declared = Declared()
    table: Mapping[float, int] = field(default_factory=dict)
    palette: Mapping[int, Colour] = field(default_factory=dict)
    saw_255: bool = True

    def labels_of(self, sample: Sample) -> Labels:
        """Labels of a sample's mask; a mask that does not fit is a :class:`DataError` that names it."""
        return self.labels(read_mask(sample.mask, self.declared.channel))

    def labels(self, stored: StoredMask) -> Labels:
        """Labels of a mask that is read already."""
        if self.how in ("indices", "two-valued"):
            self.check(facts_of(stored))
            table = self.value_table(stored.kind)
            if wrong := [int(v) for v in stored.counts if table[int(v)] == OUTSIDE]:
                raise self._outside(stored.path, wrong)
            return np.where(table < 0, IGNORE, table).astype(np.uint8)[stored.values]
        return declared_labels(stored, self)

    def value_table(self, kind: str) -> Table:
        """What each value 0-255 of a mask of ``kind`` means: a class, ``LEFT_OUT`` or ``OUTSIDE``."""
        means = np.full(256, OUTSIDE, np.int64)
        if self.how == "two-valued":
            means[[0, 255]] = 0, 1
            if kind == "bilevel":
                means[1] = 1
            return means
        means[: self.num_classes] = np.arange(self.num_classes)
        means[[IGNORE, *self.declared.ignore_values]] = LEFT_OUT
        return means

    def check(self, mask: MaskFacts) -> None:
        """Refuse a mask that is stored otherwise than those from which the encoding was learnt."""
        refuse_unindexed([mask], self.declared)
        if wrong := [k for k, colour in mask.palette.items() if self.palette.get(k, colour) != colour]:
            raise DataError(
                f"{mask.path}: index {listing(wrong)} has another colour in its palette than in other masks of the set; "
                f"{proposals.colours(_palette_colours([mask]), self.declared.flags)}",
                "encoding",
            )
        if self.how == "indices" and self.num_classes == 2 and not self.saw_255 and mask.values == {0, 255}:
            raise DataError(
                f"{mask.path}: holds 0 and 255, while other masks of the set hold 0 and 1; "
                f"{proposals.two_encodings(self.declared.flags)}",
                "encoding",
            )

    def _outside(self, path: Path, wrong: Sequence[int]) -> DataError:
        if self.how == "two-valued":
            return DataError(
                f"{path}: holds {listing(sorted(wrong))}, while other masks of the dataset hold 0 and 255 only; "
                "make them alike (0 and 255, or class indices with 255 ignored)",
                "outside-classes",
            )
        return DataError(
            f"{path}: values {listing(sorted(wrong))} lie outside the {self.num_classes} classes "
            f"0-{self.num_classes - 1}; set num_classes to {max(wrong) + 1} or more, or name them under ignore_values "
            "(255 is always ignored)",
            "outside-classes",
        )


def read_mask(path: Path, channel: str | None = None) -> StoredMask:
    """Read a mask, or the one channel of it that is declared to hold it."""
    stored = read_stored(path)
    return stored.only(channel) if channel else stored


def facts_of(stored: StoredMask) -> MaskFacts:
    """What is kept of a mask; small, whatever its size."""
    colours = stored.colours() if stored.kind == "colour" else None
    return MaskFacts(
        stored.path, stored.kind, stored.counts, stored.jpeg, stored.used_palette, colours, stored.alpha_varies
    )


def refuse_unindexed(masks: Sequence[MaskFacts], declared: Declared) -> None:
    """Refuse masks that hold no single small number at each pixel: colours, 16 bits, transparency."""
    for mask in masks:
        if mask.kind == "colour":
            raise DataError(
                f"{mask.path}: the mask is coloured ({len(mask.colours or {})} colours); "
                f"{proposals.colours(mask.colours or {}, declared.flags, jpeg=mask.jpeg)}",
                "coloured-mask",
            )
        if mask.kind == "deep":
            low, high = min(mask.counts), max(mask.counts)
            raise DataError(
                f"{mask.path}: mask values go from {low:g} to {high:g}; masks hold whole numbers from 0 to 255. "
                f"{proposals.deep(mask.counts, declared.flags)}",
                "outside-classes",
            )
        if mask.alpha_varies:
            raise DataError(
                f"{mask.path}: has an alpha channel that varies, so the mask may lie in it; write "
                f"{proposals.option('channel', 'alpha', declared.flags)}, or "
                f"{proposals.option('channel', 'grey', declared.flags)} if transparency means nothing",
                "encoding",
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
        return _declared_encoding(declared)
    refuse_unindexed(masks, declared)
    _refuse_palettes(masks, declared, where)
    if any(mask.jpeg for mask in masks):
        return _jpeg_encoding(masks, declared)
    values = {value for mask in masks for value in mask.values}
    grey = {value for mask in masks if mask.kind != "bilevel" for value in mask.values}
    palette = _joint_palette(masks)
    two = declared.number in (None, 2) and not declared.ignore_values
    if two and two_valued and 255 in grey and grey <= {0, 255}:
        return Encoding("two-valued", 2, declared=declared, palette=palette)
    if two and two_valued and is_mixed([mask.values for mask in masks]):
        text = "some masks hold 0 and 1, others 0 and 255, and none holds both 1 and 255"
        raise DataError(f"{where}: {text}; {proposals.two_encodings(declared.flags)}", "encoding")
    number = declared.number
    counts = _added(masks)
    if number is None:
        number = _guess(values, counts, declared, where)
    else:
        _refuse_levels(values, counts, number, declared, where)
    return Encoding("indices", number, declared=declared, palette=palette, saw_255=255 in values)


def is_mixed(values: Sequence[set[int]]) -> bool:
    """Whether some masks are 0 and 1 and others 0 and 255, so that 255 is foreground in half of a set.

    >>> is_mixed([{0, 1}, {0, 255}]), is_mixed([{0, 1}, {0, 1, 255}, {0, 255}])
    (True, False)
    """
    every = set().union(*values)
    both = any({1, 255} <= each for each in values)
    return every <= {0, 1, 255} and {1, 255} <= every and not both


def decide_pair(
    true: Sequence[MaskFacts], predicted: Sequence[MaskFacts], declared: Declared, where: tuple[object, object]
) -> tuple[Encoding, Encoding]:
    """What the values of true and of predicted masks mean; the number of classes is found in both together.

    A declaration is about the true masks. Predictions are read by it too, unless they hold nothing but class indices.
    """
    if declared.means is not None:
        encoding = decide(true, declared, where[0])
        if _fits(predicted, encoding):
            return encoding, encoding
        plain = Declared(num_classes=encoding.num_classes, channel=declared.channel, flags=declared.flags)
        return encoding, decide(predicted, plain, where[1])
    for masks, place in zip((true, predicted), where, strict=True):
        refuse_unindexed(masks, declared)
        _refuse_palettes(masks, declared, place)
    if declared.number is None:
        declared = replace(declared, num_classes=_number_of_both(true, predicted, declared, where))
    truth = decide(true, declared, where[0])
    void = truth.how == "indices" and any(IGNORE in mask.values for mask in true)
    plain = replace(declared, ignore_values=())
    return truth, decide(predicted, plain, where[1], two_valued=not void)


def _number_of_both(
    true: Sequence[MaskFacts], predicted: Sequence[MaskFacts], declared: Declared, where: tuple[object, object]
) -> int:
    """Number of classes, guessed from all values of both folders that are no JPEG's."""
    guessed = [mask for mask in (*true, *predicted) if not mask.jpeg]
    values = {value for mask in guessed for value in mask.values}
    if values <= {0, 1, 255}:
        return 2
    counts = _added([mask for mask in true if not mask.jpeg])
    left_out = {*declared.ignore_values, IGNORE}
    own = {int(value) for value in counts}
    if own - left_out - {0, 1} or not counts:
        _refuse_levels(own, counts, None, declared, where[0])
    for masks, place in ((true, where[0]), (predicted, where[1])):
        own = {value for mask in masks if not mask.jpeg for value in mask.values}
        both = own | (values - left_out)
        if _sparse(both - left_out) and own - {0, 1}:
            _refuse_levels(own, _added(masks), None, declared, place, both)
    return max(2, max(values - left_out, default=0) + 1)


def _fits(masks: Sequence[MaskFacts], encoding: Encoding) -> bool:
    """Whether predictions are encoded as was declared of the truth."""
    every = {value for mask in masks for value in mask.counts}
    if encoding.how == "threshold":
        return any(value > (encoding.declared.threshold or 0) for value in every) or every <= {0}
    if encoding.how == "colours":
        return all(mask.kind in ("colour", "palette") for mask in masks)
    return encoding.declared.nearest or every <= set(encoding.table)


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
    return _above(read_grey(sample.mask, indices=False), MIDDLE, sample.mask)


def _above(values: NDArray[np.generic], threshold: float, path: Path) -> Labels:
    if values.size and 0 < values.max() <= threshold:
        raise DataError(
            f"{path}: no pixel is above {threshold:g} although values reach {values.max():g}; this reader expects 0 for "
            "background and 255 for foreground (for masks of class indices use the reader 'folder')"
            if threshold == MIDDLE
            else f"{path}: no pixel is above the threshold {threshold:g} although values reach {values.max():g}; "
            "correct the threshold",
            "outside-classes",
        )
    return np.greater(values, threshold).astype(np.uint8)


# Declarations


def _declared_encoding(declared: Declared) -> Encoding:
    """The encoding that a person spelled out."""
    if declared.means == "threshold":
        if declared.number not in (None, 2):
            raise DataError(f"threshold divides masks into two classes, and {declared.number} are given", "encoding")
        return Encoding("threshold", 2, declared.classes or (), declared)
    given = declared.values if declared.means == "values" else declared.colours
    assert given is not None
    named = [name for name in dict.fromkeys(given.values()) if name != IGNORE_NAME]
    names = declared.classes or tuple(named)
    if unknown := [name for name in named if name not in names]:
        raise DataError(f"{declared.means} names {listing(unknown)}, which classes does not ({listing(names)})", "encoding")
    if not 2 <= len(names) <= MAX_CLASSES or declared.num_classes not in (None, len(names)):
        wanted = declared.num_classes or f"2 to {MAX_CLASSES}"
        raise DataError(f"{declared.means} names {len(names)} classes ({listing(names)}); must be {wanted}", "encoding")
    label = {name: k for k, name in enumerate(names)} | {IGNORE_NAME: IGNORE}
    if declared.means == "values":
        table = {float(value): label[name] for value, name in given.items()}
    else:
        table = {float(_packed_hex(str(code))): label[name] for code, name in given.items()}
    return Encoding("values" if declared.means == "values" else "colours", len(names), names, declared, table)


def _packed_hex(code: str) -> int:
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", code):
        raise DataError(f"colours: '{code}' is no colour; write it as '#rrggbb', such as '#ff0000' for red", "encoding")
    return int(code[1:], 16)


def declared_labels(stored: StoredMask, encoding: Encoding) -> Labels:
    """Labels of a mask under a declaration; a value that it does not name is an error."""
    declared = encoding.declared
    if encoding.how == "colours":
        return _colour_labels(stored, encoding)
    if stored.alpha_varies or stored.kind == "colour":
        refuse_unindexed([facts_of(stored)], declared)
    values = stored.values
    if encoding.how == "threshold":
        assert declared.threshold is not None
        return _above(stored.brightness, declared.threshold, stored.path)
    keys = np.array(sorted(encoding.table), np.float64)
    results = np.array([encoding.table[key] for key in keys], np.uint8)
    if declared.nearest:
        places = np.searchsorted((keys[1:] + keys[:-1]) / 2, values)
        return results[places]
    places = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    if (foreign := keys[places] != values).any():
        wrong = np.unique(np.asarray(values)[foreign]).tolist()
        raise DataError(
            f"{stored.path}: values {listing(f'{v:g}' for v in wrong)} stand in the mask but not under 'values' "
            f"({listing(f'{k:g}' for k in keys)}); name them there, '{IGNORE_NAME}' for pixels to leave out, or add "
            f"{proposals.option('nearest', True, declared.flags)} if they are traces of JPEG",
            "outside-classes",
        )
    return results[places]


def _colour_labels(stored: StoredMask, encoding: Encoding) -> Labels:
    labels = np.full(stored.values.shape, IGNORE, np.uint8)
    named = np.zeros(stored.values.shape, bool)
    for code, label in encoding.table.items():
        packed = int(code)
        here = stored.where((packed >> 16, packed >> 8 & 255, packed & 255))
        labels[here] = label
        named |= here
    if not named.all():
        wrong = [proposals.hexadecimal(c) for c in stored.colours() if float(c[0] << 16 | c[1] << 8 | c[2]) not in encoding.table]
        raise DataError(
            f"{stored.path}: {listing(wrong, 5)} stand in the mask but not under 'colours'; name them there, "
            f"'{IGNORE_NAME}' for pixels to leave out",
            "outside-classes",
        )
    return labels


# Without a declaration


def _guess(values: set[int], counts: Mapping[float, int], declared: Declared, where: object) -> int:
    """Number of classes of masks that are class indices, and a refusal of all that are none."""
    indices = values - set(declared.ignore_values) - {IGNORE}
    if not indices or indices == {0}:
        raise DataError(
            f"{where}: the masks looked at hold only {listing(sorted(values)) or 'ignored values'}; give classes or num_classes"
        )
    _refuse_levels(values, counts, None, declared, where)
    return max(indices) + 1


def _refuse_levels(
    values: set[int],
    counts: Mapping[float, int],
    number: int | None,
    declared: Declared,
    where: object,
    known: set[int] | None = None,
) -> None:
    """Refuse values that look like grey levels rather than class indices."""
    left_out = {*declared.ignore_values, IGNORE}
    indices = values - left_out
    if number is not None:
        outside = {value for value in indices if value >= number}
        if not outside or not proposals.looks_like_levels(values, number):
            return
        what = f"the masks hold the values {listing(sorted(values), 12)}, which are not the {number} classes 0-{number - 1}"
    elif len(indices) > MAX_GUESSED:
        what = (
            f"the masks hold {len(indices)} different values up to {max(indices)}, too many to be taken for classes; "
            "give classes or num_classes if they are"
        )
    elif _sparse((known or values) - left_out) or (known is None and _is_pair(values)):
        what = (
            f"the masks hold the values {listing(sorted(values), 12)}, and most classes from 0 to {max(indices)} occur "
            "nowhere"
            if _sparse(indices)
            else f"the masks hold just the values {listing(sorted(values))}"
        ) + f"; if they are class indices, give {proposals.option('num_classes', max(indices) + 1, declared.flags)}"
    else:
        return
    raise DataError(f"{where}: {what}. Else {proposals.levels(counts, declared.flags)}", "encoding")


def _is_pair(values: set[int]) -> bool:
    """Whether masks hold two values that are not plainly background and foreground."""
    return len(values) == 2 and values not in ({0, 1}, {0, 255})


def _sparse(indices: set[int]) -> bool:
    """Whether most classes up to the largest index occur nowhere."""
    return bool(indices) and len(indices) * 2 < max(indices) + 1


def _jpeg_encoding(masks: Sequence[MaskFacts], declared: Declared) -> Encoding:
    """Two classes, where JPEG files are black and white but for the traces that JPEG leaves."""
    first = next(mask for mask in masks if mask.jpeg)
    if declared.number not in (None, 2):
        raise DataError(
            f"{first.path}: JPEG alters values, so it cannot hold the indices of {declared.number} classes; "
            "provide the masks as PNG",
            "encoding",
        )
    for mask in masks:
        if not mask.jpeg and mask.kind != "bilevel" and mask.values - {0, 255}:
            raise DataError(
                f"{first.path}: JPEG alters values, so it can hold only black and white, for two classes; provide all "
                f"masks of {first.path.parent} as PNG",
                "encoding",
            )
        if mask.jpeg and 0 < max(mask.counts, default=0) <= MIDDLE:
            raise DataError(
                f"{mask.path}: JPEG alters values, so it can hold only black and white, but nothing here is above 127; "
                "provide masks of class indices as PNG",
                "encoding",
            )
    counts = _added([mask for mask in masks if mask.jpeg])
    if not proposals.is_black_and_white(counts):
        raise DataError(f"{first.path.parent}: the masks are JPEG and not black and white; {proposals.levels(counts, declared.flags)}", "encoding")
    return Encoding("threshold", 2, declared=replace(declared, threshold=MIDDLE))


def _added(masks: Sequence[MaskFacts]) -> dict[float, int]:
    """Pixels of each value in all masks."""
    total: dict[float, int] = {}
    for mask in masks:
        for value, count in mask.counts.items():
            total[value] = total.get(value, 0) + count
    return total


def _joint_palette(masks: Sequence[MaskFacts]) -> dict[int, Colour]:
    return {index: colour for mask in reversed(masks) for index, colour in mask.palette.items()}


def _palette_colours(masks: Sequence[MaskFacts]) -> dict[Colour, int]:
    found: dict[Colour, int] = {}
    for mask in masks:
        for index, colour in mask.palette.items():
            found[colour] = found.get(colour, 0) + mask.counts.get(index, 0)
    return found


def _refuse_palettes(masks: Sequence[MaskFacts], declared: Declared, where: object) -> None:
    """Refuse palettes by which an index means different things, or white would be the background."""
    indices: dict[Colour, set[int]] = {}
    colours: dict[int, set[Colour]] = {}
    for mask in masks:
        for index, colour in mask.palette.items():
            indices.setdefault(colour, set()).add(index)
            colours.setdefault(index, set()).add(colour)
    propose = proposals.colours(_palette_colours(masks), declared.flags)
    if wrong := sorted(index for index, several in colours.items() if len(several) > 1):
        shown = ", ".join(proposals.hexadecimal(colour) for colour in sorted(colours[wrong[0]])[:4])
        raise DataError(
            f"{where}: the masks' palettes differ: index {wrong[0]} is {shown} in different files; {propose}", "encoding"
        )
    if colours.get(0) == {WHITE} and set(indices) <= {BLACK, WHITE}:
        text = "the palette is black and white and begins with white, so that index 0 would be what is drawn white"
        raise DataError(f"{where}: {text}; {propose}", "encoding")


def _traces_of_colour(stored: StoredMask) -> int:
    rgb = stored.as_rgb()
    return int((rgb.max(axis=-1) - rgb.min(axis=-1)).max())


