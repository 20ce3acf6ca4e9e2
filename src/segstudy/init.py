"""Inspect a folder of images and masks and write a study file that a newcomer can read and run."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from segstudy.checking import Inspected
from segstudy.checking.sheet import contact_sheet
from segstudy.data.core import IGNORE, IMAGE_SUFFIXES, Dataset, Roles, check_names, same_shape
from segstudy.data.download.catalogue import KNOWN
from segstudy.data.quality.card import Seen, Tally
from segstudy.data.quality.faults import Fault, grouped, refuse
from segstudy.data.quality.inspect import SampleReport, inspect_sample
from segstudy.data.quality.polarity import opposite_polarity
from segstudy.data.quality.shifted import shifted_masks
from segstudy.data.readers import READERS, Reader
from segstudy.data.readers.colour_tables import colours_beside
from segstudy.data.readers.values import ValueOptions
from segstudy.data.threads import in_threads
from segstudy.errors import DataError, SegstudyError, StoreError, listing
from segstudy.files import write_bytes, write_text

MAX_FAULTY = 0.25  # faults of single files for each sound pair, beyond which a folder is not understood
FEW_GROUPS = 10  # a tenth of fewer groups is less than one
NUM_LOOKED_AT = 50  # pairs that are decoded
VALUE_KINDS = ("encoding", "coloured-mask", "outside-classes", "pages", "16-bit")
PROPOSED = re.compile(r"`(\w+: [^`]+)`")  # options in messages about what mask values mean
CAMVID = ("train", "trainannot", "val", "valannot", "test", "testannot")
TEMPLATE = """\
# A segstudy study: which of these choices improves the segmentation, and by how much?
# Found in {root}: {found}
{doubts}# segstudy check {file}     lists every problem of the file and the data
# segstudy run {file}       trains what is missing and writes the report; safe to repeat after any interruption
name: {name}
# held-out: the epoch is chosen on a split that is never reported, and scores are taken at each image's own size.
protocol: held-out
data:
  {name}:
    reader: {reader}{why}
    root: {root}
{options}# Everything about training that all experiments share. These values are those of a published review.
recipe:
  epochs: 50
  batch_size: 16
  input_size: 256
  optimizer: {{name: adam, lr: 1.0e-4, weight_decay: 1.0e-4}}
# Baselines, and variants that change one thing each; a second change in one variant is an error.
# weights: imagenet downloads on first use; packaged needs no download (encoder tu-tf_efficientnet_lite0); none is random.
experiments:
  unet:            {{data: {name}, model: {{arch: unet, encoder: resnet50, weights: imagenet}}}}
  unet-noimagenet: {{base: unet, change: {{model.weights: none}}}}
  deeplabv3:       {{data: {name}, model: {{arch: deeplabv3, encoder: resnet50, weights: imagenet, output_stride: 8}}}}
  deeplabv3-os16:  {{base: deeplabv3, change: {{model.output_stride: 16}}}}
# One seed cannot show how much of a difference is due to chance; use three or more.
seeds: [42]
"""


@dataclass(frozen=True)
class Written:
    """The result: the contact sheet, if one could be drawn, and the obstacles, as lines for people."""

    sheet: Path | None
    obstacles: tuple[str, ...]


@dataclass(frozen=True)
class _Understood:
    """A folder that a reader understands: why it was tried, the options that it needs, and what it gives.

    Where only one more line is missing, ``dataset`` is None and ``refusal`` is the error that proposes it. ``passed_over`` says
    why readers of which the folder has the layout do not read it.
    """

    reader: str
    why: str
    options: dict[str, Any]
    dataset: Dataset | None
    refusal: DataError | None = None
    passed_over: tuple[str, ...] = ()


def write_study_file(root: Path, file: Path) -> Written:
    """Write a study file for the images and masks in ``root``, and a contact sheet next to it.

    Raises
    ------
    SegstudyError
        When no reader understands the folder (with the reasons of those that may), or ``file`` exists. Where only a line is
        missing that says what masks mean, the file is written with the lines to choose from, and the error says so.

    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    root, understood = _understood_below(root)
    found = _known(root, understood)
    if file.exists():
        raise StoreError(f"{file}: already exists; choose another name with --file, or move it away")
    if found.refusal is not None or found.dataset is None:
        raise _written_with_choices(root, file, found)
    dataset = found.dataset
    check_names(dataset)
    looks = _look(dataset)
    faults = [*dataset.faults, *(fault for look in looks for fault in look.faults if fault.severity == "error")]
    faults += _doubts(dataset, looks)
    obstacles = (*found.passed_over, *grouped(_once(faults), root))
    splits = ", ".join(f"{len(samples):,} {split}" for split, samples in dataset.splits.items())
    said = [*dataset.notes, *obstacles, f"looked at: {len(looks)} of {len(dataset.samples('all')):,} pairs"]
    what = f"{splits}; {len(dataset.classes)} classes ({listing(dataset.classes)})"
    _write(root, file, found, what, said, _option_lines(root, found, dataset, looks))
    return Written(_draw_sheet(dataset, looks, file), obstacles)


def _write(root: Path, file: Path, found: _Understood, what: str, said: Sequence[str], options: Sequence[str]) -> None:
    text = TEMPLATE.format(
        root=_quoted(root),
        found=what,
        doubts="".join(f"# {line}\n" for each in said for line in each.splitlines()),
        file=file,
        name=_study_name(root.resolve().name),
        reader=found.reader,
        why=f"  # {found.why}" if found.why else "",
        options="".join(f"    {line}\n" for line in options),
    )
    write_text(file, text.encode("utf-8", "backslashreplace").decode())  # names of files that are not UTF-8


def _written_with_choices(root: Path, file: Path, found: _Understood) -> DataError:
    """Write a study file in which the lines that an error proposes are comments, and return the error with what to do."""
    assert found.refusal is not None
    message = str(found.refusal)
    of_masks = found.refusal.kind in VALUE_KINDS
    lines = [
        *_given_lines(root, found),
        f"# {'What mask values mean' if of_masks else 'What to do'} is not certain. Take the # away from the lines that are right:",
    ]
    lines += [f"# {line}" for line in PROPOSED.findall(message)]
    said = [*found.passed_over, message]
    what = "masks whose values are not plainly class indices" if of_masks else "a folder that needs a decision"
    _write(root, file, found, what, said, lines)
    advice = f"{file} holds these lines as comments: take the # away from those that are right, then run segstudy check {file}"
    return DataError("\n".join([*said, f"wrote {file}", advice]), found.refusal.kind)


def _given_lines(root: Path, found: _Understood) -> list[str]:
    """Options that the reader proposed, and which of them rest on a single file."""
    why = dict.fromkeys(("scale", "bands", "page"), "  # a guess from the first image")
    if isinstance(found.options.get("masks"), dict):
        why["masks"] = (
            "  # a guess from names; later classes cover earlier ones, and a class without a file has no pixel"
        )
    if "colours" in found.options:
        why["colours"] = f"  # from {colours_beside(root)[1]}"
    return [f"{key}: {_flow(value)}{why.get(key, '')}" for key, value in found.options.items()]


def _option_lines(root: Path, found: _Understood, dataset: Dataset, looks: Sequence[SampleReport]) -> list[str]:
    """Lines of the entry, each with what was measured and what is a guess."""
    lines = _given_lines(root, found)
    guess = next((note for note in dataset.notes if ", guessed from " in note), "")
    if guess:
        guess = guess.replace(" classes, guessed", " classes: guessed")
        lines.append(f"num_classes: {len(dataset.classes)}  # {guess}; classes: [background, ...] names them")
        lines.append(
            "# ignore_values: [11]  # would leave out a mask value that is not a class; 255 is, unless masks hold it and 0 alone"
        )
    if "train" not in dataset.splits or len(dataset.splits) < 2:
        text = f"there is only {listing(dataset.splits)}, so all images are divided again and part 0 is the test set"
        lines.append(f"folds: {min(5, len(dataset.samples('all')))}  # {text}")
    if guess and dataset.classes[0] == "class_0" and looks and not any(0 in (look.pixels or {0: 1}) for look in looks):
        found_values = sorted({value for look in looks for value in look.pixels or {}} - {IGNORE})
        table = ", ".join(f"{value}: class_{value}" for value in found_values)
        lines.append(
            f"# values: {{{table}}}  # the value 0 occurs nowhere; instead of num_classes, with the right names"
        )
    groups = {sample.group for sample in dataset.splits.get("train", ())}
    if 1 < len(groups) < FEW_GROUPS and "val" not in dataset.splits:
        text = f"one of {len(groups)} groups that train, as no group is divided"
        lines.append(f"holdout_fraction: {int(100 / len(groups)) / 100}  # {text}")
    if issubclass(READERS.find(found.reader).options, ValueOptions) and (number := _resizable(looks)):
        text = f"masks have another size than their images in {number} of {len(looks)} pairs, and the same shape"
        lines.append(f"# resize_masks: nearest  # {text}; remove the first # if both show the same picture")
    return lines


def _resizable(looks: Sequence[SampleReport]) -> int:
    """Pairs of which only the sizes differ."""
    return sum(look.sizes is not None and same_shape(*look.sizes) for look in looks)


def _known(root: Path, found: _Understood) -> _Understood:
    """The entry of a catalogued set, where the folder has its layout."""
    is_camvid = found.reader == "folder" and all((root / name).is_dir() for name in CAMVID)
    if not is_camvid or found.dataset is None or len(found.dataset.classes) != 12:
        return found
    options = {key: value for key, value in KNOWN["camvid"].entry.items() if key not in ("reader", "root")}
    reader = READERS.find("folder")
    dataset = reader.read("data", root, reader.options(**options))
    why = "a guess: the folders and the 12 values are CamVid's, of which 11 is void; see segstudy data"
    return _Understood("folder", why, options, dataset)


def _look(dataset: Dataset) -> list[SampleReport]:
    """Decode some pairs, taken evenly from all splits."""
    pairs = [(split, sample) for split, part in dataset.splits.items() for sample in part]
    step = max(len(pairs) / NUM_LOOKED_AT, 1)
    chosen = [pairs[int(k * step)] for k in range(min(len(pairs), NUM_LOOKED_AT))]
    return in_threads(lambda pair: inspect_sample(dataset, *pair), chosen)


def _doubts(dataset: Dataset, looks: Sequence[SampleReport]) -> list[Fault]:
    """Faults that a few pairs show together: masks that are inverted, turned or of other images."""
    seen = [each for look in looks if (each := Seen.of(look)) is not None]
    outlines = [(each.sample.id, each.outlines) for each in seen if each.outlines is not None]
    return [*opposite_polarity(dataset, seen), *shifted_masks(outlines)]


def _once(faults: Sequence[Fault]) -> list[Fault]:
    """Faults without those of a file and kind that stand there already."""
    return list({(fault.kind, fault.file, fault.message): fault for fault in faults}.values())


def _draw_sheet(dataset: Dataset, looks: Sequence[SampleReport], file: Path) -> Path | None:
    sound = [look for look in looks if look.pixels is not None]
    if not sound:
        return None
    splits = {split: tuple(look.sample for look in sound if look.split == split) for split in dataset.splits}
    few = replace(dataset, name=file.stem, splits=splits)
    roles = Roles("train", "train", "test")
    tally = Tally(few, roles)
    for look in sound:
        tally.add(look)
    sheet = contact_sheet(Inspected(few, roles, tally.card([], 0), tally.seen))
    if sheet is None:
        return None
    content = io.BytesIO()
    sheet.save(content, "JPEG", quality=90)
    path = file.with_name(f"{file.stem}-images.jpg")
    write_bytes(path, content.getvalue())
    return path


def _study_name(folder: str) -> str:
    """The folder's name as a study may have it: letters, digits and dashes, never a word that YAML reads as a value."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in folder.lower()).strip("-")[:60]
    return kept if kept[:1].isalpha() and kept not in ("true", "false", "null") else f"data-{kept}".rstrip("-")


def _understood_below(root: Path) -> tuple[Path, _Understood]:
    """The folder that is understood: this one, or the only one in it, as archives are often unpacked."""
    try:
        return root, _understand(root)
    except DataError:
        inside = [path for path in root.iterdir() if not path.name.startswith((".", "__MACOSX"))]
        folders = [path for path in inside if path.is_dir()]
        if len(folders) != 1 or any(path.suffix.lower() in IMAGE_SUFFIXES for path in inside):
            raise
        with contextlib.suppress(DataError):
            return _understood_below(folders[0])
        raise


def _understand(root: Path) -> _Understood:
    """The first reader that understands the folder: those that recognise it, then the one for any folders."""
    names = READERS.names()
    why = {name: READERS.find(name).recognise(root) for name in names}
    likely = [name for name in names if name != "folder" and why[name]]
    reasons: list[str] = []
    unsure: _Understood | None = None
    for name in [*likely, "folder"]:
        one = READERS.find(name)
        try:
            options = one.propose(root)
            dataset = one.read("data", root, one.options(**options))
            errors = [fault for fault in dataset.faults if fault.severity == "error"]
            if len(errors) > MAX_FAULTY * len(dataset.samples("all")):
                _refuse_lone(root, one, dataset, errors)
                refuse(str(root), errors)
            return _Understood(name, why[name], options, dataset, passed_over=tuple(reasons))
        except SegstudyError as error:
            reasons.append(f"as {name}: {error}")
            if isinstance(error, DataError) and error.kind == "size-mismatch":
                break  # another reader may not see that masks lie elsewhere than their images
            if unsure is None and isinstance(error, DataError) and PROPOSED.search(str(error)):
                unsure = _Understood(name, why[name], options, None, error, tuple(reasons[:-1]))
    if unsure is not None:
        return unsure
    raise DataError(
        f"{root}: no reader understands this folder\n" + "\n".join(reasons) + f"\nreaders: {listing(names, 30)}"
    )


def _refuse_lone(root: Path, reader: Reader, dataset: Dataset, errors: Sequence[Fault]) -> None:
    """Refuse a folder in which many images lack a mask, or annotations their image, with the option that leaves them out."""
    options = {"image-without-mask": ("unmasked", "have no mask"), "missing": ("missing", "are missing")}
    kind = errors[0].kind
    option, what = options.get(kind, ("", ""))
    if option not in reader.options.model_fields or {fault.kind for fault in errors} != {kind}:
        return
    number = len(errors) + len(dataset.samples("all"))
    text = f"{root}: {len(errors):,} of {number:,} images {what}; write `{option}: left-out` if they are to be left out"
    raise DataError("\n".join([f"{text}, or add the files:", *grouped(errors, root)]), kind)


def _flow(value: Any) -> str:
    """A value as YAML has it in one line."""
    plain = isinstance(value, list) and all(isinstance(each, str) and each.isidentifier() for each in value)
    return f"[{', '.join(value)}]" if plain else json.dumps(value)


def _quoted(path: Path) -> str:
    text = str(path.resolve())
    return text if all(c.isalnum() or c in "/._-" for c in text) else "'" + text.replace("'", "''") + "'"
