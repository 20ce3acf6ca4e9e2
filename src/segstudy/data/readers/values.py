"""Shared by readers of masks that hold values: options, and the step from pairs of files to a dataset.

Where the values come from (a picture, an array, a slice of a volume) is each reader's own; what they mean is decided by
:mod:`segstudy.data.encoding`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BeforeValidator, Field, model_validator

from segstudy.arrays import Labels
from segstudy.data.core import IMAGE_SUFFIXES, Dataset, Sample, open_image, same_shape
from segstudy.data.declared import Declared
from segstudy.data.encoding import Encoding, decide
from segstudy.data.quality.faults import Fault, fault_of, refuse
from segstudy.data.stored import MaskFacts, StoredMask, facts_of, read_mask
from segstudy.data.threads import in_threads
from segstudy.data.undeclared import refuse_unindexed
from segstudy.errors import DataError, listing
from segstudy.schema import ReaderOptions

MAX_LOOKED_AT = 50  # masks that are read to learn what their values mean

Splits = dict[str, tuple[Sample, ...]]
StoredOf = Callable[[Sample], StoredMask]
ImageOf = Callable[[Sample], Image.Image]


def _number(key: Any) -> Any:
    """Convert a key of ``values`` back to a number, if JSON has made it a string."""
    with contextlib.suppress(ValueError, TypeError):
        return float(key) if not float(key).is_integer() else int(float(key))
    return key


def _numbered(table: Any) -> Any:
    return {_number(key): name for key, name in table.items()} if isinstance(table, dict) else table


class ValueOptions(ReaderOptions):
    """Options that declare what the values of masks mean.

    ``classes`` names the classes in the order of their indices, ``num_classes`` says just their number; they are guessed
    from the masks where neither is given. ``ignore_values`` are mask values that count for nothing, besides 255.

    For masks that are not class indices: ``values`` names the class of each stored value (the class ``ignore`` is left out),
    ``colours`` that of each colour, as ``'#rrggbb'``, and with ``nearest`` what lies between is read as the nearest;
    ``threshold`` makes two classes, foreground being what is above it; ``channel`` says which channel holds the mask.
    ``resize_masks: nearest`` gives masks their image's size where both have one shape.
    """

    num_classes: int | None = Field(None, ge=2, le=255)
    classes: list[str] | None = Field(None, min_length=2, max_length=255)
    ignore_values: list[Annotated[int, Field(ge=0, le=255)]] = Field([])
    values: Annotated[dict[int | float, str] | None, BeforeValidator(_numbered)] = Field(None, min_length=2)
    nearest: bool = Field(False)
    colours: dict[str, str] | None = Field(None, min_length=2)
    threshold: float | None = Field(None, ge=0)
    channel: Literal["grey", "red", "green", "blue", "alpha"] | None = Field(None)
    resize_masks: Literal["nearest"] | None = Field(None)

    @model_validator(mode="after")
    def _one_meaning(self) -> ValueOptions:
        given = [key for key in ("values", "colours", "threshold") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{listing(given)} each say what mask values mean; keep one of them")
        if self.nearest and self.values is None and self.colours is None:
            raise ValueError("nearest goes with values or colours; give one of them too, or remove nearest")
        return self

    def declared(self) -> Declared:
        """What these options say of the masks' values."""
        return Declared(
            classes=tuple(self.classes) if self.classes is not None else None,
            num_classes=self.num_classes,
            ignore_values=tuple(self.ignore_values),
            values=self.values,
            nearest=self.nearest,
            colours=self.colours,
            threshold=self.threshold,
            channel=self.channel,
        )


@dataclass
class Found:
    """Contents of a folder: samples by split, notes on what was left out, and faults."""

    splits: Splits = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    by_fraction: bool = False


def stored_image(sample: Sample) -> Image.Image:
    """A sample's image, of a format that Pillow reads."""
    return open_image(sample.image)


def value_dataset(
    name: str,
    found: Found,
    options: ValueOptions,
    stored_of: StoredOf | None = None,
    image_of: ImageOf = stored_image,
    fixed: Declared | None = None,
) -> Dataset:
    """A dataset of samples whose masks hold values.

    Parameters
    ----------
    name
        What the study calls the dataset.
    found
        Its samples and what is wrong with the folder.
    options
        What is said of the values.
    stored_of, image_of
        How a sample's mask and image are read; by Pillow if not given.
    fixed
        What the layout itself says of the values, in place of the options.

    Raises
    ------
    DataError
        If what the values mean is not certain. Masks that cannot be read are the dataset's ``faults``.

    """
    samples = [sample for part in found.splits.values() for sample in part]
    if options.classes is not None:
        _check_names(name, options.classes, options.num_classes)
    declared = fixed or options.declared()
    stored = stored_of or (lambda sample: read_mask(sample.mask, declared.channel))
    encoding, looked_at, broken = _decide(samples, declared, stored)
    if declared.number is None and declared.means is None:
        found.notes.append(f"{encoding.num_classes} classes, guessed from {looked_at} of {len(samples)} masks")

    def labels_of(sample: Sample) -> Labels:
        return encoding.labels(stored(sample))

    return Dataset(
        name,
        declared.classes or encoding.classes or _default_names(encoding.num_classes),
        _palette(samples, encoding),
        found.splits,
        partial(resized_labels, labels_of=labels_of, image_of=image_of) if options.resize_masks else labels_of,
        notes=tuple(found.notes),
        by_fraction=found.by_fraction,
        faults=(*found.faults, *broken),
        image_of=image_of,
    )


def resized_labels(sample: Sample, labels_of: Callable[[Sample], Labels], image_of: ImageOf) -> Labels:
    """Labels at their image's size, by the nearest pixel; unchanged where the two shapes differ by more than a pixel."""
    labels = labels_of(sample)
    size = image_of(sample).size
    if labels.shape == size[::-1] or not same_shape(size, labels.shape[::-1]):
        return labels
    return np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))


def _decide(samples: Sequence[Sample], declared: Declared, stored_of: StoredOf) -> tuple[Encoding, int, list[Fault]]:
    """Meaning of the masks' values, number of masks examined, and faults of unusable masks."""
    where = samples[0].mask.parent
    if declared.means is not None:
        return decide([], declared, where), 0, []
    facts, faults = _look(samples, stored_of, declared.number is None)
    fit = []
    for mask in facts:
        try:
            refuse_unindexed([mask], declared)
            fit.append(mask)
        except DataError as error:
            faults.append(fault_of(error, mask.path))
    return decide(fit or facts, declared, where), min(len(samples), MAX_LOOKED_AT), faults


def _look(samples: Sequence[Sample], stored_of: StoredOf, objects: bool) -> tuple[list[MaskFacts], list[Fault]]:
    """Facts of an even sample of masks; if all of these are black, also of further masks until one is not.

    Of masks that cannot be read, the faults; if that is so of all of them, an error.
    """
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(MAX_LOOKED_AT, len(samples))).astype(int)).tolist()

    def one(index: int) -> MaskFacts | Fault:
        try:
            return facts_of(stored_of(samples[index]), objects)
        except DataError as error:
            return fault_of(error, samples[index].mask)

    found = in_threads(one, chosen)
    for index in sorted(set(range(len(samples))) - set(chosen)):
        if any(isinstance(each, MaskFacts) and set(each.counts) != {0} for each in found):
            break
        found.append(one(index))
    facts = [each for each in found if isinstance(each, MaskFacts)]
    faults = [each for each in found if isinstance(each, Fault)]
    if not facts:
        refuse(f"{samples[0].mask.parent}: no mask can be read", faults)
    return facts, faults


def default_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Colours for up to 256 classes: black, Okabe and Ito's seven, then always the colour farthest from all before.

    Farthest is judged by brightness above all, which survives every kind of colour blindness. Integers only, hence
    the same everywhere.

    Source: Okabe and Ito, "Color Universal Design", 2008.

    >>> default_palette(2)
    ((0, 0, 0), (230, 159, 0))
    """
    if not 0 <= num_classes <= 256:
        raise DataError(f"a palette has 0 to 256 colours, not {num_classes}")
    colours = [(0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178)]
    colours += [(213, 94, 0), (204, 121, 167)]
    levels = np.arange(0, 256, 17)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest = np.min([_distance(grid, colour) for colour in colours], axis=0)
    while len(colours) < num_classes:
        red, green, blue = grid[int(nearest.argmax())].tolist()
        colours.append((red, green, blue))
        nearest = np.minimum(nearest, _distance(grid, colours[-1]))
    return tuple(colours[:num_classes])


def _distance(grid: NDArray[np.int64], colour: tuple[int, int, int]) -> NDArray[np.int64]:
    red, green, blue = (grid[:, channel] - colour[channel] for channel in range(3))
    brightness = (299 * red + 587 * green + 114 * blue) // 100  # Rec. 601, in tenths
    squared: NDArray[np.int64] = red**2 + green**2 + blue**2 + brightness**2 // 25
    return squared


def _check_names(name: str, classes: Sequence[str], num_classes: int | None) -> None:
    if num_classes is not None and num_classes != len(classes):
        raise DataError(f"dataset '{name}': num_classes is {num_classes}, but {len(classes)} classes are named")


def _default_names(num_classes: int) -> tuple[str, ...]:
    if num_classes == 2:
        return ("background", "foreground")
    return tuple(f"class_{index}" for index in range(num_classes))


def _palette(samples: Sequence[Sample], encoding: Encoding) -> tuple[tuple[int, int, int], ...]:
    """The palette of the first readable mask if it has one for class indices, else the default."""
    default = default_palette(encoding.num_classes)
    if encoding.how == "colours":
        first = {label: int(code) for code, label in reversed(list(encoding.table.items()))}
        return tuple((first[k] >> 16, first[k] >> 8 & 255, first[k] & 255) for k in range(encoding.num_classes))
    flat = None
    if encoding.how == "indices":
        for sample in samples:
            if sample.mask.suffix.lower() not in IMAGE_SUFFIXES:
                break
            with contextlib.suppress(DataError):
                flat = open_image(sample.mask).getpalette("RGB")
                break
    if flat is None:
        return default
    own = tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat) - 2, 3))[: encoding.num_classes]
    return own + default[len(own) :]
