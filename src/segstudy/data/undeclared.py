"""Masks without a declaration: class indices. Everything else is refused, with the line to write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise

from segstudy.data import proposals
from segstudy.data.blocks import are_jpeg_blocks
from segstudy.data.core import IGNORE
from segstudy.data.declared import Declared
from segstudy.data.stored import NEARLY, Colour, MaskFacts
from segstudy.errors import DataError, listing

FEW_MASKS = 2
MIN_NUMBERED = 3  # objects in a mask, where values may be their numbers
MOST_NUMBERED, MOST_ALIKE = 3 / 4, 2 / 3  # shares of the masks that show anything
# Of objects that are numbered from file to file: files, numbers, share of these that one file has, objects in a file.
MIN_FILES, MIN_RUN, MOST_OWN, MIN_EACH = 3, 6, 0.6, 1.5
MIN_BETWEEN, MAX_INNER = 3, 0.02  # values at edges alone, and share of their pixels that have no other value round them
MAX_GUESSED = 64  # more distinct values than this are grey levels rather than classes
MOST_VOID = 4  # times as many pixels of 255 as of all values but 0 and 255, beyond which 255 may be what is drawn
NEAR = 16  # grey levels from black and from white
MANY_VALUES = 8  # in a list that is cut short
MIN_STEP = 8  # grey levels between the indices of a palette that shows them as a ramp


def refuse_unindexed(masks: Sequence[MaskFacts], declared: Declared) -> None:
    """Refuse masks that hold no single small number at each pixel: colours, 16 bits, transparency."""
    for mask in masks:
        if mask.kind == "colour":
            every: Counter[Colour] = Counter()
            flat: Counter[Colour] = Counter()
            for each in masks:
                every.update(each.colours or {})
                flat.update(each.flat_colours)
            advice = proposals.colours(every, declared.flags, flat)
            if mask.alpha_varies:
                own = proposals.option("channel", "alpha", declared.flags)
                advice = f"its alpha channel varies, so the mask may lie in it: write {own}. Else {advice}"
            raise DataError(
                f"{mask.path}: the mask is coloured ({len(mask.colours or {})} colours); {advice}",
                "coloured-mask",
            )
        if mask.kind == "deep":
            low, high = min(mask.counts), max(mask.counts)
            raise DataError(
                f"{mask.path}: mask values go from {low:g} to {high:g}; masks hold whole numbers from 0 to 255. "
                f"{proposals.deep(added([each for each in masks if each.kind == 'deep']), declared.flags)}",
                "outside-classes",
            )
        if mask.alpha_varies:
            raise DataError(
                f"{mask.path}: has an alpha channel that varies, so the mask may lie in it; write "
                f"{proposals.option('channel', 'alpha', declared.flags)}, or "
                f"{proposals.option('channel', 'grey', declared.flags)} if transparency means nothing",
                "encoding",
            )


def refuse_between(masks: Sequence[MaskFacts], declared: Declared, where: object) -> None:
    """Refuse masks in which half of the values, three or more, occur at edges alone, as where indices were resized or compressed.

    Thin classes, such as poles and wires, are few among those that cover areas.
    """
    looked_at = [mask for mask in masks if mask.inner]
    counts, inner = added(looked_at), Counter[float]()
    for mask in looked_at:
        inner.update(mask.inner)
    between = [value for value in counts if value != IGNORE and inner[value] <= MAX_INNER * counts[value]]
    solid = sorted(int(value) for value in counts if value not in between and value != IGNORE)
    few = len(between) < MIN_BETWEEN or len(between) < (len(counts) - (IGNORE in counts)) / 2
    if few or len(solid) < 2 or inner.total() < sum(counts.values()) / 2:
        return
    levels = [value for value in solid if inner[value] >= proposals.MAX_FLAT * inner.total()] or solid
    if IGNORE in counts and IGNORE - max(levels) > proposals.REACH:  # else what JPEG makes of the brightest level
        levels.append(IGNORE)  # or left out, as its name may say
    line = proposals.values_option(levels, declared.flags)
    top = int(max(value for value in counts if value != IGNORE))
    classes = f"; or {proposals.option('num_classes', top + 1, declared.flags)} if all are classes"
    raise DataError(
        f"{where}: {len(between)} of {len(counts)} values, such as {listing(sorted(int(v) for v in between), 5)}, occur at edges "
        "alone, as where masks were resized with interpolation or compressed with loss. Make the masks again by the nearest pixel, "
        f"as PNG; or write {line} and {proposals.option('nearest', True, declared.flags)}, by which an edge may get a class "
        f"between those on its sides{'' if top > MAX_GUESSED and proposals.are_traces(counts) else classes}",
        "encoding",
    )


def refuse_blocks(masks: Sequence[MaskFacts], declared: Declared, where: object) -> None:
    """Refuse class indices that were saved as JPEG and then without loss: their values are small, and many are not right."""
    if not are_jpeg_blocks(mask.corners for mask in masks if mask.corners is not None):
        return
    classes = proposals.option(
        "num_classes", max(value for mask in masks for value in mask.values - {IGNORE}) + 1, declared.flags
    )
    raise DataError(
        f"{where}: values change most at the borders of blocks of 8x8 pixels, as where class indices were once saved as JPEG, "
        f"which alters them. Make the masks again from their source, as PNG; or write {classes} if the values are right",
        "encoding",
    )


def refuse_objects(masks: Sequence[MaskFacts], declared: Declared, where: object) -> None:
    """Refuse masks that number their objects: 1 to n, each in one piece, and n differs between files; or on from file to file.

    Classes that are each in one piece, such as organs, have mostly the same n.
    """
    shown = [mask for mask in masks if mask.values - {0}]
    highest = Counter(max(mask.values) for mask in shown)
    numbers = sorted(highest)
    if len(numbers) < 2 or numbers[-1] < MIN_NUMBERED:
        return
    if _run_on([sorted(mask.values - {0, IGNORE}) for mask in shown]):
        text = f"up to {max(numbers)}, nearly each value in one mask alone and those of a mask in a row, as where objects are"
        text += " numbered from file to file"
    elif max(highest.values()) > MOST_ALIKE * len(shown) or sum(mask.numbered for mask in shown) < MOST_NUMBERED * len(
        shown
    ):
        return
    else:
        text = f"1 to {numbers[-1]} at most and 1 to {numbers[0]} at least, each value in one piece, as where objects are numbered"
    classes = proposals.option("num_classes", numbers[-1] + 1, declared.flags)
    line = proposals.option("threshold", 0, declared.flags)
    raise DataError(
        f"{where}: the masks hold {text}; write {line} if all objects are one class, or {classes} if values are classes",
        "encoding",
    )


def _run_on(values: Sequence[Sequence[int]]) -> bool:
    """Whether masks number objects from file to file: each has a row of numbers of its own, where they start again with a split.

    >>> _run_on([[1, 2, 3], [4, 5], [6, 7]]), _run_on([[1, 2, 3], [1, 3], [1, 2]]), _run_on([[1], [2], [3], [4], [5], [6]])
    (True, False, False)
    """
    found = [each for each in values if each]
    every = {value for each in found for value in each}
    several = [each for each in found if len(each) > 1]
    in_a_row = [each for each in several if NEARLY * (each[-1] - each[0] + 1) <= len(each)]
    number = sum(map(len, found))
    return (
        len(found) >= MIN_FILES
        and len(every) >= max(MIN_RUN, MOST_OWN * number)
        and number >= MIN_EACH * len(found)
        and len(in_a_row) >= MOST_NUMBERED * len(several)
    )


def refuse_mixed(masks: Sequence[MaskFacts], declared: Declared, where: object) -> None:
    """Refuse a set of which some masks hold small numbers and others grey levels, as 0, 1 and 2, and 0, 128 and 255.

    One bit a pixel is no number. Where a mask holds both, 255 is left out of it, and all mean the same.
    """
    if declared.ignore_values:
        return
    drawn = [mask for mask in masks if mask.kind != "bilevel" and not mask.jpeg and mask.values - {0}]
    small = [mask for mask in drawn if max(mask.values) < MAX_GUESSED]
    numbers = sorted({value for mask in small for value in mask.values - {0}})
    if numbers != [1]:
        # Of two classes, 255 may be drawn; of more, it is void.
        drawn = [mask for mask in drawn if mask.values != {IGNORE}]
    bright = [mask for mask in drawn if min(mask.values - {0}) >= MAX_GUESSED]
    if not small or not bright or len(small) + len(bright) < len(drawn):
        return
    levels = sorted({value for mask in bright for value in mask.values - {0}})
    if declared.number is not None and levels != [IGNORE]:
        return  # the masks that hold other values than the classes are named one by one
    names = [listing(sorted({mask.path.name for mask in each}), 3) for each in (small, bright)]
    text = f"some masks hold {_and([0, *numbers])}, others {_and([0, *levels])}, and none holds values of both"
    text += f" (the first: {names[0]}; the others: {names[1]})"
    raise DataError(f"{where}: {text}; {proposals.two_encodings(numbers, levels, declared.flags)}", "encoding")


def _and(values: Sequence[int]) -> str:
    """Values as a sentence has them, a long list cut short.

    >>> _and([0, 1]), _and([0, 128, 255])
    ('0 and 1', '0, 128 and 255')
    """
    return listing(values) if len(values) > MANY_VALUES else f"{listing(values[:-1])} and {values[-1]}"


def refuse_drawn_255(masks: Sequence[MaskFacts], declared: Declared, where: object) -> None:
    """Refuse masks in which 255 is so much more frequent than classes that it may be what is drawn, and these its traces."""
    counts = added([mask for mask in masks if not mask.jpeg and mask.kind != "bilevel"])
    if any(IGNORE - proposals.REACH <= value < IGNORE for value in counts) and proposals.are_traces(counts):
        return  # levels round black and white, which are refused as such
    others = sum(count for value, count in counts.items() if value not in (0, IGNORE))
    if not 0 < MOST_VOID * others < counts.get(IGNORE, 0):
        return
    drawn = proposals.option("threshold", 127, declared.flags)
    ignored = "`--ignore 255`" if declared.flags else "`ignore_values: [255]`"
    raise DataError(
        f"{where}: the masks hold {listing(sorted(int(value) for value in counts), 12)}, and 255 covers {counts[IGNORE]:,} pixels, "
        f"classes other than 0 just {others:,}; write {ignored} if 255 is to be left out, or {drawn} if it is what is drawn",
        "encoding",
    )


def guess_number(values: set[int], masks: Sequence[MaskFacts], declared: Declared, where: object) -> int:
    """Number of classes of masks that are class indices, and a refusal of all that are none."""
    indices = values - set(declared.ignore_values) - {IGNORE}
    if not indices or indices == {0}:
        raise DataError(
            f"{where}: the masks looked at hold only {listing(sorted(values)) or 'ignored values'}; give classes or num_classes"
        )
    refuse_levels(values, masks, None, declared, where)
    return max(indices) + 1


def refuse_levels(
    values: set[int],
    masks: Sequence[MaskFacts],
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
        what = f"the masks hold {len(indices)} different values up to {max(indices)}, too many to be taken for classes"
    elif is_sparse(indices, len(masks)) and is_sparse((known or values) - left_out, len(masks)):
        what = f"the masks hold the values {listing(sorted(values), 12)}, and most classes from 0 to {max(indices)} occur nowhere"
    elif _is_pair(values, known):
        what = f"the masks hold just the values {listing(sorted(values))}"
    else:
        return
    counts, flat, solid = added(masks), added(masks, flat=True), solid_values(masks)
    line = proposals.levels(counts, declared.flags, flat, solid)
    give = f"give {proposals.option('num_classes', max(indices, default=0) + 1, declared.flags)}"
    named = len(indices) <= proposals.MAX_LEVELS  # the line names each value, which classes have then too
    small = number is None and max(indices) < MAX_GUESSED
    if small or (number is None and not named and 2 * len(solid & indices) > len(indices)):
        raise DataError(f"{where}: {what}; if they are class indices, {give}. Else {line}", "encoding")
    if number is None and not named and not proposals.are_traces(counts, flat):
        line += f". Or {give} if they are class indices"
    raise DataError(f"{where}: {what}. {line[0].upper()}{line[1:]}", "encoding")


def solid_values(masks: Sequence[MaskFacts]) -> set[float]:
    """Values that fill areas, as far as that was looked at; those of a mask of one or two values all do."""
    solid = {value for mask in masks if len(mask.counts) <= 2 for value in mask.counts}
    counts, inner = added([mask for mask in masks if mask.inner]), Counter[float]()
    for mask in masks:
        inner.update(mask.inner)
    return solid | {value for value in counts if inner[value] > MAX_INNER * counts[value]}


def _is_pair(values: set[int], known: set[int] | None) -> bool:
    """Whether masks hold two values that are not plainly background and foreground.

    Of masks to compare with others, all of which hold ``known``, it is so if the others are two-valued and a class is nowhere.
    """
    if len(values) != 2 or values in ({0, 1}, {0, 255}):
        return False
    return known is None or (known - values <= {0, 1} and len(known) <= max(known))


def is_sparse(indices: set[int], num_masks: int) -> bool:
    """Whether most classes up to the largest index occur nowhere; of one or two masks, whether two thirds of them do.

    One picture seldom holds most classes, many together do.
    """
    share = 1 / 2 if num_masks > FEW_MASKS else 1 / 3
    return bool(indices) and len(indices) < share * (max(indices) + 1)


def added(masks: Sequence[MaskFacts], flat: bool = False) -> dict[float, int]:
    """Pixels of each value in all masks, or in their flat areas alone."""
    total: dict[float, int] = {}
    for mask in masks:
        for value, count in (mask.flat if flat else mask.counts).items():
            total[value] = total.get(value, 0) + count
    return total


def joint_palette(masks: Sequence[MaskFacts]) -> dict[int, Colour]:
    """Colour of each index that occurs."""
    return {index: colour for mask in reversed(masks) for index, colour in mask.palette.items()}


def palette_colours(masks: Sequence[MaskFacts]) -> dict[Colour, int]:
    """Pixels of each colour that the masks' palettes show."""
    found: dict[Colour, int] = {}
    for mask in masks:
        for index, colour in mask.palette.items():
            found[colour] = found.get(colour, 0) + mask.counts.get(index, 0)
    return found


def refuse_palettes(masks: Sequence[MaskFacts], declared: Declared, where: object) -> None:
    """Refuse palettes by which an index means different things, or white would be the background."""
    indices: dict[Colour, set[int]] = {}
    colours: dict[int, set[Colour]] = {}
    for mask in masks:
        for index, colour in mask.palette.items():
            indices.setdefault(colour, set()).add(index)
            colours.setdefault(index, set()).add(colour)

    def propose() -> str:
        return proposals.palette(palette_colours(masks), declared.flags)

    if wrong := sorted(index for index, several in colours.items() if len(several) > 1):
        shown = ", ".join(proposals.hexadecimal(colour) for colour in sorted(colours[wrong[0]])[:4])
        raise DataError(
            f"{where}: the masks' palettes differ: index {wrong[0]} is {shown} in different files; {propose()}",
            "encoding",
        )
    _refuse_grey_indices({index: colour for index, (colour,) in colours.items()}, masks, declared, where)
    if not colours.get(0):
        return
    first = next(iter(colours[0]))
    white_first = min(first) >= 255 - NEAR and all(max(each) <= NEAR for each in indices if each != first)
    counts = added([mask for mask in masks if mask.palette])
    counts.pop(IGNORE, None)
    black = sum(counts.get(index, 0) for index, (each,) in colours.items() if max(each) <= NEAR)
    if white_first and len(colours) > 1:
        text = "the palette is black and white and begins with white, so that index 0 would be what is drawn white"
        raise DataError(f"{where}: {text}; {propose()}", "encoding")
    if max(first) > NEAR and 2 * black > sum(counts.values()):  # programs sort palettes by brightness or frequency
        text = f"the palette begins with {proposals.hexadecimal(first)}, and most pixels are of a later index, which is black"
        raise DataError(f"{where}: {text}; {propose()}", "encoding")


def _refuse_grey_indices(
    colours: Mapping[int, Colour], masks: Sequence[MaskFacts], declared: Declared, where: object
) -> None:
    """Refuse palettes of small grey levels that are not the indices, as GIF has of class indices of which some occur nowhere.

    A ramp, of which each index is so many levels brighter than the one before, shows indices in grey.
    """
    levels = [(index, max(colour)) for index, colour in sorted(colours.items()) if min(colour) == max(colour)]
    ordered = all(one < other for (_, one), (_, other) in pairwise(levels))
    wrong = [(index, level) for index, level in levels if index != level]
    if len(levels) < max(len(colours), 2) or not ordered or not wrong or levels[-1][1] >= MAX_GUESSED:
        return
    step, rest = divmod(levels[-1][1], max(levels[-1][0], 1))
    if step >= MIN_STEP and not rest and all(level == step * index for index, level in levels):
        return
    text = "index {} of the palette is the grey level {}, and so on, as where class indices in grey were saved as GIF"
    advice = proposals.colours(palette_colours(masks), declared.flags)
    raise DataError(f"{where}: {text.format(*wrong[0])}; {advice}", "encoding")
