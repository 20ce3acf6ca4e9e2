"""Readers: each reads one family of folder layouts. A new reader is a module and a line in ``READERS``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segstudy.doors import Door
from segstudy.errors import SpecError
from segstudy.named import options_of
from segstudy.schema import ReaderOptions

if TYPE_CHECKING:
    from segstudy.data.core import Dataset


@dataclass(frozen=True)
class Reader:
    """A reader: its options, and functions that read a folder and recognise its layout.

    Attributes
    ----------
    options
        The keys of a ``data`` entry that are this reader's own; a subclass of :class:`segstudy.schema.ReaderOptions`.
    read
        From the dataset's name, its folder and the options to the dataset. Raises ``DataError`` for a folder that it
        cannot read.
    recognise
        Whether a folder looks like this reader's layout: a reason such as ``"it holds df.csv"``, or an empty text.
    propose
        Options that a folder needs which cannot be read without any, as far as names tell; for ``segstudy init``.

    """

    options: type[ReaderOptions]
    read: Callable[[str, Path, Any], Dataset]
    recognise: Callable[[Path], str] = lambda root: ""
    propose: Callable[[Path], dict[str, Any]] = lambda root: {}


def as_reader(name: str, found: Any) -> Reader:
    """Accept a reader from outside: a :class:`Reader`, or a function ``read(name, root, **options)``."""
    if isinstance(found, Reader):
        return found
    if not callable(found) or isinstance(found, type):
        raise SpecError(
            f"'{name}': is {found!r:.60}; a reader is a function read(name, root) that returns a Dataset, or a "
            "segstudy.data.readers.Reader"
        )
    options = options_of(found, 2, ReaderOptions)
    own = [key for key in options.model_fields if key in inspect.signature(found).parameters]
    return Reader(options, lambda name, root, given: found(name, root, **{key: getattr(given, key) for key in own}))


# What ``reader:`` may name. A module is imported when a study names its reader.
READERS = Door(
    "reader",
    {
        "cityscapes": "segstudy.data.readers.cityscapes:READER",
        "kvasir": "segstudy.data.readers.kvasir:READER",
        "supervisely": "segstudy.data.readers.supervisely:READER",
        "voc": "segstudy.data.readers.voc:READER",
        "ade20k": "segstudy.data.readers.ade20k:READER",
        "coco": "segstudy.data.readers.coco:READER",
        "labelme": "segstudy.data.readers.labelme:READER",
        "cvat": "segstudy.data.readers.cvat:READER",
        "label-studio": "segstudy.data.readers.label_studio:READER",
        "rle-csv": "segstudy.data.readers.rle_csv:READER",
        "arrays": "segstudy.data.readers.arrays:READER",
        "nifti": "segstudy.data.readers.nifti:READER",
        "geotiff": "segstudy.data.readers.geotiff:READER",
        "huggingface": "segstudy.data.readers.huggingface:READER",
        "folder": "segstudy.data.readers.folder:READER",
    },
    as_reader,
)
