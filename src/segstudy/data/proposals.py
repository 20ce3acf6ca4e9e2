"""What to write for masks whose values are not class indices: the line is worked out from their histogram."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from itertools import pairwise

import numpy as np

REACH = 24  # grey levels around a level within which JPEG's traces and soft edges stay
CLOSE, MIN_CLOSE = 4, 0.5  # grey levels around a level within which that share of these pixels lies
MAX_LEVELS, MAX_SHOWN = 12, 24
MIN_SHARE = 0.002  # of all pixels, that a level needs at least
MAX_FLAT = 0.0005  # share of all pixels in flat areas that are neither black nor white, in a mask of these two
# Distances in red, green and blue from a colour: of its traces, and of most of these.
COLOUR_REACH, COLOUR_CLOSE = 48, 12
MIN_COVERED = 0.9  # share of the pixels in flat areas that the colours and their traces cover
Colour = tuple[int, int, int]


def option(key: str, value: object, flags: bool) -> str:
    """A key of a study file, or the flag of ``segstudy score``, with its value.

    >>> option("num_classes", 3, flags=False), option("num_classes", 3, flags=True), option("nearest", True, flags=True)
    ('`num_classes: 3`', '`--num-classes 3`', '`--nearest`')
    """
    name = key.replace("_", "-")
    if isinstance(value, Mapping):
        named = [(str(k), str(v)) for k, v in value.items()]
        if flags:
            return f"`--{name} '{','.join(f'{k}={v}' for k, v in named)}'`"
        quoted = [(f"'{k}'" if k.startswith("#") else k, v) for k, v in named]
        return f"`{key}: {{{', '.join(f'{k}: {v}' for k, v in quoted)}}}`"
    if value is True:
        return f"`--{name}`" if flags else f"`{key}: true`"
    return f"`--{name} {value}`" if flags else f"`{key}: {value}`"


def names(number: int) -> list[str]:
    """Names for classes that are not known."""
    return (
        ["background", "foreground"][:number]
        if number <= 2
        else ["background", *(f"class_{k}" for k in range(1, number))]
    )


def values_option(levels: Sequence[float], flags: bool) -> str:
    """The option ``values`` for these levels, darkest first."""
    shown = {f"{level:g}": name for level, name in zip(levels, names(len(levels)), strict=True)}
    return option("values", shown, flags)


def levels(
    counts: Mapping[float, int], flags: bool, flat: Mapping[float, int] | None = None, solid: Set[float] = frozenset()
) -> str:
    """What to write for grey levels: exact ones, levels with traces round them, or a continuum.

    ``flat`` counts the pixels in flat areas, if these are known: soft edges have levels of their own, which no area has.
    ``solid`` are the values that fill areas, as classes do and traces do not.
    """
    found = sorted(counts)
    far = all(b - a >= 2 for a, b in pairwise(found)) or len(found) <= 2
    exact = f"write {values_option(found, flags)} with the names that are right ('ignore' for pixels to leave out)"
    if len(found) <= MAX_LEVELS and (far or solid >= counts.keys()):
        return exact
    also = f". Or, if each value has a meaning of its own, {exact}" if len(found) <= MAX_LEVELS else ""
    peaks = main_levels(counts, flat)
    if len(peaks) > 2:
        nearest = option("nearest", True, flags)
        text = f"they look like {len(peaks)} levels with traces of JPEG or soft edges round them"
        return f"{text}: write {values_option(peaks, flags)} and {nearest}{also}"
    middle = int((peaks[0] + peaks[1]) / 2) if len(peaks) == 2 else 127 if found[-1] > 127 else int(found[-1] / 2)
    text = (
        "they look like two levels with traces of JPEG or soft edges round them"
        if len(peaks) == 2
        else ("they may be probabilities or brightness")
    )
    return f"{text}: write {option('threshold', middle, flags)}{also}"


def main_levels(counts: Mapping[float, int], flat: Mapping[float, int] | None = None) -> list[float]:
    """The levels that values lie round, judged by flat areas where these are known; fewer than two where there are none."""
    peaks = find_levels(flat or {}, MAX_FLAT)
    return peaks if len(peaks) > 1 else find_levels(counts)


def are_traces(counts: Mapping[float, int], flat: Mapping[float, int] | None = None) -> bool:
    """Whether nearly all pixels lie close to two levels or more that are far apart, so that values are no classes.

    >>> are_traces({0: 900, 1: 30, 2: 9, 127: 2, 253: 20, 255: 500}), are_traces(dict.fromkeys(range(151), 9))
    (True, False)
    """
    peaks = main_levels(counts, flat)
    near = sum(count for value, count in counts.items() if any(abs(value - peak) <= REACH for peak in peaks))
    return len(peaks) > 1 and near >= MIN_COVERED * sum(counts.values())


def find_levels(counts: Mapping[float, int], min_share: float = MIN_SHARE) -> list[float]:
    """Values around which most pixels lie, darkest first.

    >>> find_levels({0: 900, 1: 30, 2: 9, 127: 20, 128: 400, 254: 9, 255: 500})
    [0, 128, 255]
    """
    rest = dict(counts)
    total = sum(counts.values())
    found: list[float] = []
    while rest and len(found) < MAX_LEVELS:
        level = max(rest, key=lambda value: (rest[value], -value))
        near = [value for value in rest if abs(value - level) <= REACH]
        mass = sum(rest[value] for value in near)
        close = sum(rest[value] for value in near if abs(value - level) <= CLOSE)
        if mass >= min_share * total and close >= MIN_CLOSE * mass:
            found.append(level)
        for value in near:
            del rest[value]
    return sorted(found)


def looks_like_levels(values: set[int], num_classes: int) -> bool:
    """Whether values outside the classes are grey levels, not an index too many."""
    outside = [value for value in values if value >= num_classes and value != 255]
    inside = [value for value in values if value < num_classes]
    return len(values) > 2 * num_classes or (
        min(outside) >= 2 * num_classes and len(inside) <= max(1, num_classes // 2)
    )


def is_black_and_white(counts: Mapping[float, int], flat: Mapping[float, int] | None = None) -> bool:
    """Whether nearly all pixels lie near black or white, as in a mask that JPEG has spoilt, and no flat area between them.

    >>> is_black_and_white({0: 900, 9: 50, 60: 20, 255: 500}), is_black_and_white({0: 900, 255: 500, 60: 20}, {0: 800, 60: 9})
    (True, False)
    """
    between = sum(count for value, count in (flat or {}).items() if 32 < value < 223)
    if between > MAX_FLAT * sum(counts.values()):
        return False
    values = np.array(list(counts), np.float64)
    pixels = np.array(list(counts.values()), np.float64)
    middle = pixels[(values > 64) & (values < 191)].sum()
    return bool(middle <= 0.05 * pixels.sum())


def two_encodings(small: Sequence[int], bright: Sequence[int], flags: bool) -> str:
    """What to write for a set of which some masks hold ``small`` values next to 0 and others ``bright`` ones.

    >>> two_encodings([1, 2], [128, 255], flags=False)
    'write `values: {0: background, 1: class_1, 2: class_2, 128: class_1, 255: class_2}` with the names that are right'
    """
    own = dict(zip(small, names(len(small) + 1)[1:], strict=True))
    alike = [own[value] for value in small] if len(bright) == len(small) else ["NAME"] * len(bright)
    shown = {0: "background", **own, **dict(zip(bright, alike, strict=True))}
    line = f"write {option('values', shown, flags)} with the names that are right"
    ignored = "`--ignore 255`" if flags else "`ignore_values: [255]`"
    return f"{line}, or {ignored} if 255 is to be left out" if [*bright] == [255] else line


def nodata(flags: bool) -> str:
    """What to write where 255 is nodata, and there is nothing else next to 0."""
    drawn = option("values", {"0": "background", "255": "foreground"}, flags)
    classes = option("num_classes", 2, flags)
    return f"write {drawn} if it is, or {classes} and {'`--ignore 255`' if flags else '`ignore_values: [255]`'} if it is left out"


def colours(found: Mapping[Colour, int], flags: bool, flat: Mapping[Colour, int] | None = None) -> str:
    """What to write for coloured masks; ``flat`` counts the pixels in flat areas, of masks with traces of JPEG or soft edges."""
    wanted = "convert it to one channel of class indices, or"
    if flat or len(found) > MAX_SHOWN:
        if len(main := main_colours(flat or {})) < 2:
            return f"{wanted} save it without JPEG and soft edges, and write `colours`, each colour with its class"
        named = dict(zip(map(hexadecimal, main), names(len(main)), strict=True))
        text = f"{wanted}, as they look like {len(main)} colours with traces of JPEG or soft edges round them, write"
        nearest = option("nearest", True, flags)
        return f"{text} {option('colours', named, flags)} with the names that are right, and those that are missing, and {nearest}"
    channel = _index_channel(found)
    if channel:
        return f"{wanted} write {option('channel', channel, flags)} if that channel holds class indices"
    ordered = sorted(found, key=lambda colour: (sum(colour), colour))
    shown = dict(zip(map(hexadecimal, ordered), names(len(ordered)), strict=True))
    return f"{wanted} write {option('colours', shown, flags)} with the names that are right"


def palette(found: Mapping[Colour, int], flags: bool) -> str:
    """What to write for masks with palettes, which are read by colour; of two grey levels with traces round them, a threshold.

    >>> palette({(0, 0, 0): 900, (9, 9, 9): 8, (240, 240, 240): 9, (255, 255, 255): 300}, flags=False)
    'they look like two levels with traces of JPEG or soft edges round them: write `threshold: 127`'
    """
    greys = {float(colour[0]): count for colour, count in found.items() if min(colour) == max(colour)}
    if len(greys) < len(found) or len(found) <= 2 or not are_traces(greys):
        return colours(found, flags)
    peaks = [0.0, 255.0] if max(greys) >= 191 and is_black_and_white(greys) else main_levels(greys)
    if len(peaks) == 2:
        text = "they look like two levels with traces of JPEG or soft edges round them"
        return f"{text}: write {option('threshold', int(sum(peaks) / 2), flags)}"
    return colours(found, flags, {(int(peak), int(peak), int(peak)): int(greys[peak]) for peak in peaks})


def main_colours(found: Mapping[Colour, int]) -> list[Colour]:
    """Colours around which most pixels in flat areas lie, darkest first; none where these leave out more than a tenth.

    >>> main_colours({(0, 0, 0): 900, (2, 1, 0): 40, (200, 30, 30): 300, (199, 31, 30): 90})
    [(0, 0, 0), (200, 30, 30)]
    """
    colours = np.array(list(found), np.int64).reshape(-1, 3)
    counts = np.array(list(found.values()), np.int64)
    left, main, covered = counts.copy(), list[Colour](), 0
    while left.any() and len(main) < MAX_SHOWN:
        at = int(left.argmax())
        distance = np.sqrt(np.square(colours - colours[at]).sum(axis=1))
        near = left[distance <= COLOUR_REACH].sum()
        if near >= MAX_FLAT * counts.sum() and left[distance <= COLOUR_CLOSE].sum() >= MIN_CLOSE * near:
            main.append((int(colours[at][0]), int(colours[at][1]), int(colours[at][2])))
            covered += int(near)
        left[distance <= COLOUR_REACH] = 0
    return sorted(main, key=lambda colour: (sum(colour), colour)) if covered >= MIN_COVERED * counts.sum() else []


def _index_channel(found: Mapping[Colour, int]) -> str:
    """The channel that holds small numbers while the others hold nothing, as simulators store class indices."""
    for place, name in enumerate(("red", "green", "blue")):
        others = {value for colour in found for k, value in enumerate(colour) if k != place}
        if others <= {0} and max(colour[place] for colour in found) <= len(found) * 2:
            return name
    return ""


def hexadecimal(colour: Colour) -> str:
    """A colour as it stands in a study file.

    >>> hexadecimal((255, 0, 16))
    '#ff0010'
    """
    return "#{:02x}{:02x}{:02x}".format(*colour)


def deep(counts: Mapping[float, int], flags: bool) -> str:
    """What to write for numbers that do not fit 8 bits."""
    found = sorted(counts)
    if len(found) <= MAX_LEVELS:
        return f"Write {values_option(found, flags)} with the names that are right"
    middle = 0.5 if found[0] >= 0 and found[-1] <= 1 else round((found[0] + found[-1]) / 2)
    if found[0] == 0 and all(float(value).is_integer() for value in found):
        own = option("threshold", 0, flags)
        return f"If they are numbers of objects, write {own}; if probabilities, {option('threshold', middle, flags)}"
    return f"If they are probabilities, write {option('threshold', middle, flags)}"
