"""What can be wrong with a dataset's files: one record per fault, stable codes, and a summary of many in a few lines."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from segstudy.errors import DataError, and_more, listing

Severity = Literal["error", "warning"]

# Every kind of fault with its meaning. The codes are what programs rely on: never change one, only add.
KINDS = {
    "study": "the study cannot be carried out",
    "dataset": "the dataset cannot be listed or divided",
    "table": "a line of a table or list cannot be used",
    "missing": "a file that is named is not there",
    "unreadable": "not an image, or damaged",
    "truncated": "the file is cut off",
    "annotation": "the annotation is malformed",
    "image-without-mask": "an image has no mask",
    "mask-without-image": "a mask has no image",
    "left-out": "files that are not read",
    "same-name": "two files have one name but for the suffix",
    "case": "two names differ only in upper and lower case",
    "size-mismatch": "image and mask have different sizes",
    "exif-rotation": "a tag says to turn the picture, which is not done on reading",
    "16-bit": "more than 8 bits a channel",
    "cmyk": "colours for print",
    "alpha": "transparency, which is not read unless a mask lies in it",
    "mode": "an image that is not stored as RGB",
    "coloured-mask": "a mask is coloured",
    "encoding": "what the masks' values mean is not certain",
    "pages": "several pages or frames",
    "outside-classes": "a mask holds values that are not classes",
    "crossed": "image and mask of a row are named like those of different rows",
    "shifted": "masks that fit other images",
    "turned": "masks that fit their images once they are turned or mirrored",
    "polarity": "masks in which foreground and background may be exchanged",
    "shared-mask": "one mask for several images",
    "class-absent": "a class has no pixel",
    "specks": "a class occurs in specks alone",
    "blocks": "outlines follow the blocks of JPEG",
    "mostly-ignored": "most pixels are ignored",
    "no-foreground": "a mask is nothing but background",
    "all-ignored": "a mask is nothing but ignored pixels",
    "duplicate": "the same image twice in a split",
    "duplicate-across-splits": "the same image in two splits",
    "near-duplicate": "nearly the same image twice in a split",
    "near-duplicate-across-splits": "nearly the same image in two splits",
    "duplicate-across-datasets": "an image that is scored is trained on in another dataset",
    "near-duplicate-across-datasets": "nearly an image that is scored is trained on in another dataset",
    "group-across-splits": "a group is divided among splits",
    "unusable": "the file cannot be used",
}
NUM_EXAMPLES = 3  # of one kind, where people read
NO_EXAMPLES = ("study", "dataset")  # kinds of which each is another matter, so that all are shown


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    ``message`` says what, and after its last semicolon what to do; it does not repeat ``file``. An ``error`` stops
    training or makes it wrong, a ``warning`` is worth knowing. ``split`` and ``sample`` are empty where the fault belongs
    to none.
    """

    kind: str
    message: str
    file: Path | None = None
    split: str = ""
    sample: str = ""
    severity: Severity = "error"

    def __post_init__(self) -> None:
        assert self.kind in KINDS, self.kind


def fault_of(error: DataError, file: Path, split: str = "", sample: str = "") -> Fault:
    """The fault that an error about ``file`` tells of."""
    return Fault(error.kind, str(error).removeprefix(f"{file}: "), file, split, sample)


def grouped(faults: Iterable[Fault], root: Path | None = None, num_examples: int = NUM_EXAMPLES) -> list[str]:
    """Lines for people: each kind once, in the order of :data:`KINDS`, with its number, what to do, and a few examples.

    Files are shown relative to ``root``. Advice that all of a kind share is given once.
    """
    by_kind: dict[str, list[Fault]] = {kind: [] for kind in KINDS}
    for fault in faults:
        by_kind[fault.kind].append(fault)
    lines = []
    for kind, found in by_kind.items():
        advice = _common_advice(found)
        if found:
            lines.append(f"{kind} ({len(found):,}): {KINDS[kind]}" + (f"; {advice}" if advice else ""))
        shown = found if kind in NO_EXAMPLES else found[:num_examples]
        for fault in shown:
            message = fault.message.removesuffix(f"; {advice}") if advice else fault.message
            lines.append("  " + ": ".join(filter(None, [_place(fault, root), message])).replace("\n", "\n    "))
        if len(found) > len(shown):
            lines.append(f"  {and_more(len(found) - len(shown))}")
    return lines


def as_one_warning(root: Path, faults: Iterable[Fault], kind: str, what: str) -> list[Fault]:
    """Faults in which one warning stands for all of a ``kind``, whose files are to be left out."""
    every = list(faults)
    gone = [fault for fault in every if fault.kind == kind]
    if not gone:
        return every
    names = listing((_file_named(fault) if kind == "missing" else fault.sample for fault in gone), 3)
    warning = Fault(
        "left-out", f"{len(gone)} {what} and are left out, as the entry says: {names}", root, severity="warning"
    )
    return [*(fault for fault in every if fault.kind != kind), warning]


def _file_named(fault: Fault) -> str:
    """The first name in quotes in a message, such as that of a file that is not there."""
    return next(iter(re.findall(r"'(.+?)'", fault.message)), str(fault.file))


def refuse(what: str, faults: Sequence[Fault]) -> None:
    """Raise a :class:`DataError` that names the errors among ``faults``, if there are any.

    Training must not begin on data of which a part would be left out.
    """
    errors = [fault for fault in faults if fault.severity == "error"]
    if errors:
        number = f"{len(errors):,} fault{'' if len(errors) == 1 else 's'}"
        kinds = {fault.kind for fault in errors}
        kind = kinds.pop() if len(kinds) == 1 else "unusable"
        raise DataError("\n".join([f"{what}: {number}", *grouped(errors)]), kind)


def _common_advice(faults: Sequence[Fault]) -> str:
    """The text after the last semicolon, if it is the same in several messages."""
    tails = {fault.message.rpartition("; ")[2] if "; " in fault.message else "" for fault in faults}
    return tails.pop() if len(tails) == 1 and len(faults) > 1 else ""


def _place(fault: Fault, root: Path | None) -> str:
    if fault.file is None:
        return fault.sample
    return os.path.relpath(fault.file, root) if root else str(fault.file)
