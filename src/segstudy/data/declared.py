"""Declarations of masks that are not class indices, and their labels: followed exactly, or refused.

Array letters: ``h`` height, ``w`` width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Labels
from segstudy.data import proposals
from segstudy.data.core import IGNORE
from segstudy.data.stored import CHANNELS, StoredMask
from segstudy.errors import DataError, SpecError, listing

MAX_CLASSES = 255
MIDDLE = 127
# Pixels in flat areas, and share of all, that may be far from everything that is named.
MIN_FAR, MIN_FAR_SHARE = 16, 0.001
IGNORE_NAME = "ignore"  # in ``values`` and ``colours``: pixels that are left out


@dataclass(frozen=True)
class Declared:
    """The declaration of a set's masks; class indices need none.

    Attributes
    ----------
    classes, num_classes
        Names of the classes in the order of their indices, or their number.
    ignore_values
        Values that are left out, besides 255.
    values
        Class name of each stored value; several values may be one class, and the class ``ignore`` is left out.
    nearest
        Whether what lies between the ``values`` or ``colours`` is read as the nearest of them, as JPEG needs it.
    colours
        Class name of each colour, as ``#rrggbb``.
    threshold
        Foreground is what is brighter.
    channel
        Which of :data:`~segstudy.data.stored.CHANNELS` holds the mask.
    page
        Which page of a file that has several, from 0 on.
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
    page: int | None = None
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


def declared_by_flags(
    values: str | None,
    nearest: bool,
    colours: str | None,
    threshold: float | None,
    channel: str | None,
    page: int | None = None,
) -> Declared:
    """The declaration that flags of the command line make: ``0=background,128=disc`` for values, ``#ff0000=car`` for colours.

    Raises
    ------
    SpecError
        For what cannot be read, and for two flags that both say what values mean.

    """
    if channel is not None and channel not in CHANNELS:
        raise SpecError(f"--channel {channel}: must be {listing(CHANNELS)}")
    if nearest and values is None and colours is None:
        raise SpecError("--nearest goes with --values or --colours; give one of them too")
    if sum(flag is not None for flag in (values, colours, threshold)) > 1:
        raise SpecError("--values, --colours and --threshold each say what mask values mean; give one of them")
    by_value: dict[float, str] = {}
    for key, name in _entries(values, "--values").items():
        try:
            by_value[float(key)] = name
        except ValueError:
            raise SpecError(
                f"--values: '{key}' is not a number; write value=class pairs, separated by commas"
            ) from None
    by_colour = _entries(colours, "--colours")
    return Declared(
        values=by_value or None,
        nearest=nearest,
        colours=by_colour or None,
        threshold=threshold,
        channel=channel,
        page=page,
        flags=True,
    )


def _entries(text: str | None, flag: str) -> dict[str, str]:
    """The pairs of ``key=name,key=name``."""
    found: dict[str, str] = {}
    for part in [] if text is None else text.split(","):
        key, sign, name = (each.strip() for each in part.partition("="))
        if not (key and sign and name):
            raise SpecError(f"{flag}: '{part.strip()}' is not a pair; write value=class pairs, separated by commas")
        if key in found:
            raise SpecError(f"{flag}: {key} is given twice; keep one")
        found[key] = name
    return found


def table_of(declared: Declared) -> tuple[tuple[str, ...], dict[float, int]]:
    """Names of the classes, and the label of each value or colour that ``values`` or ``colours`` names."""
    given = declared.values if declared.means == "values" else declared.colours
    assert given is not None
    named = [name for name in dict.fromkeys(given.values()) if name != IGNORE_NAME]
    names = declared.classes or tuple(named)
    if unknown := [name for name in named if name not in names]:
        text = f"{declared.means} names {listing(unknown)}, which classes does not ({listing(names)})"
        raise DataError(text, "encoding")
    if not 2 <= len(names) <= MAX_CLASSES or declared.num_classes not in (None, len(names)):
        wanted = declared.num_classes or f"2 to {MAX_CLASSES}"
        raise DataError(f"{declared.means} names {len(names)} classes ({listing(names)}); must be {wanted}", "encoding")
    label = {name: k for k, name in enumerate(names)} | {IGNORE_NAME: IGNORE}
    number = float if declared.means == "values" else _packed_hex
    return names, {float(number(key)): label[name] for key, name in given.items()}


def _packed_hex(code: object) -> int:
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", str(code)):
        raise DataError(
            f"colours: '{code}' is not a colour; write it as '#rrggbb', such as '#ff0000' for red", "encoding"
        )
    return int(str(code)[1:], 16)


def above(values: NDArray[np.generic], threshold: float, path: Path, advice: str = "correct the threshold") -> Labels:
    """Foreground where a mask is above a threshold; one that is not black and yet nowhere above it is an error."""
    if values.size and 0 < values.max() <= threshold:
        raise DataError(
            f"{path}: no pixel is above {threshold:g} although values reach {values.max():g}; {advice}",
            "outside-classes",
        )
    labels: Labels = np.greater(values, threshold).astype(np.uint8)
    return labels


def labels_by_value(stored: StoredMask, declared: Declared, table: Mapping[float, int]) -> Labels:
    """Labels of a mask of which ``values`` names every value, or with ``nearest`` the nearest ones."""
    values = stored.values
    keys = np.array(sorted(table), np.float64)
    results = np.array([table[key] for key in keys], np.uint8)
    if declared.nearest:
        near = np.searchsorted((keys[1:] + keys[:-1]) / 2, values)
        if stored.kind != "deep":
            _refuse_far(stored, np.abs(values - keys[near]) > proposals.REACH, "values")
        return np.asarray(results[near])
    if wrong := sorted(value for value in stored.counts if value not in table):
        raise DataError(
            f"{stored.path}: values {listing(f'{v:g}' for v in wrong)} occur in the mask but not under 'values' "
            f"({listing(f'{k:g}' for k in keys)}); name them there, '{IGNORE_NAME}' for pixels to leave out, or add "
            f"{proposals.option('nearest', True, declared.flags)} if they are traces of JPEG",
            "outside-classes",
        )
    return np.asarray(results[np.searchsorted(keys, values)])


def labels_by_colour(stored: StoredMask, declared: Declared, table: Mapping[float, int]) -> Labels:
    """Labels of a mask of which ``colours`` names every colour, or with ``nearest`` the nearest ones."""
    if declared.nearest:
        return _labels_by_nearest(stored, table)
    labels = np.full(stored.values.shape, IGNORE, np.uint8)
    named = np.zeros(stored.values.shape, bool)
    for code, label in table.items():
        here = stored.where(_unpacked(code))
        labels[here] = label
        named |= here
    if not named.all():
        codes = map(proposals.hexadecimal, stored.colours())
        wrong = [code for code in codes if float(_packed_hex(code)) not in table]
        raise DataError(
            f"{stored.path}: {listing(wrong, 5)} occur in the mask but not under 'colours'; name them there, "
            f"'{IGNORE_NAME}' for pixels to leave out, or add {proposals.option('nearest', True, declared.flags)} if they are "
            "traces of JPEG or soft edges",
            "outside-classes",
        )
    return labels


def _labels_by_nearest(stored: StoredMask, table: Mapping[float, int]) -> Labels:
    """Labels of the nearest of the named colours, by the distance in red, green and blue; of two equally near, the first."""
    rgb = stored.as_rgb().astype(np.int32)
    nearest = np.full(rgb.shape[:2], np.iinfo(np.int32).max, np.int32)
    labels = np.full(rgb.shape[:2], IGNORE, np.uint8)
    for code, label in table.items():
        distance = np.square(rgb - np.array(_unpacked(code), np.int32)).sum(axis=2, dtype=np.int32)
        labels[distance < nearest] = label
        np.minimum(nearest, distance, out=nearest)
    _refuse_far(stored, nearest > proposals.COLOUR_REACH**2, "colours")
    return labels


def _refuse_far(stored: StoredMask, far: NDArray[np.bool_], key: str) -> None:
    """Refuse areas that are far from everything named, as they are not traces but a class that was forgotten."""
    if not far.any() or (areas := far & stored.flat).sum() < max(MIN_FAR, MIN_FAR_SHARE * far.size):
        return
    if key == "colours":
        row, column = np.argwhere(areas)[0].tolist()
        shown = proposals.hexadecimal(tuple(stored.as_rgb()[row, column].tolist()))
    else:
        shown = f"{int(np.median(stored.values[areas]))}"
    text = f"areas of {int(areas.sum()):,} pixels in all, such as {shown}, are far from everything under '{key}'"
    raise DataError(
        f"{stored.path}: {text}; name them there, '{IGNORE_NAME}' for pixels to leave out", "outside-classes"
    )


def _unpacked(code: float) -> tuple[int, int, int]:
    packed = int(code)
    return packed >> 16, packed >> 8 & 255, packed & 255
