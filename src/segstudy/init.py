"""Inspect a folder of images and masks and write a commented study file for it."""

from __future__ import annotations

from pathlib import Path

from segstudy.data.core import Dataset
from segstudy.data.quality.faults import grouped, refuse
from segstudy.data.readers import READERS
from segstudy.errors import DataError, SegstudyError, StoreError, listing
from segstudy.files import write_text

MAX_FAULTY = 0.25  # faults of single files for each sound pair, beyond which a folder is not understood
TEMPLATE = """\
# A segstudy study: which of these choices makes the segmentation better, by how much?
# Found in {root}: {found}
{doubts}# segstudy check {file}     list every problem with the file and the data
# segstudy run {file}       train what is missing and write the report; repeat it after any interruption
name: {name}
# held-out: the epoch is chosen on a split that is never reported, and scores are taken at each image's own size.
protocol: held-out
data:
{hint}  {name}: {{reader: {reader}, root: {root}{options}}}
# Training settings that all experiments share. These values are those of a published review.
recipe:
  epochs: 50
  batch_size: 16
  input_size: 256
  optimizer: {{name: adam, lr: 1.0e-4, weight_decay: 1.0e-4}}
# Baselines, and variants that each change one thing; a second change in a variant is an error.
# weights: imagenet is downloaded on first use; packaged needs no download (encoder tu-tf_efficientnet_lite0); none is random.
experiments:
  unet:            {{data: {name}, model: {{arch: unet, encoder: resnet50, weights: imagenet}}}}
  unet-noimagenet: {{base: unet, change: {{model.weights: none}}}}
  deeplabv3:       {{data: {name}, model: {{arch: deeplabv3, encoder: resnet50, weights: imagenet, output_stride: 8}}}}
  deeplabv3-os16:  {{base: deeplabv3, change: {{model.output_stride: 16}}}}
# One seed cannot show how much of a difference is chance; start with three: [1, 2, 3].
seeds: [42]
"""
FOLDER_HINT = """\
  # ignore_values: [11] ignores mask values that are no class; classes: [background, ...] names the classes.
"""


def write_study_file(root: Path, file: Path) -> None:
    """Write a study file for the images and masks in ``root``.

    Raises
    ------
    SegstudyError
        If no reader understands the folder (with each reader's reason), or ``file`` exists.

    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    reader, dataset = _recognise(root)
    if file.exists():
        raise StoreError(f"{file}: already exists; choose another name with --file, or move it away")
    name = _study_name(root.resolve().name)
    splits = ", ".join(f"{len(samples)} {split}" for split, samples in dataset.splits.items())
    found = f"{splits}; {len(dataset.classes)} classes ({listing(dataset.classes)})"
    options = f", num_classes: {len(dataset.classes)}" if reader == "folder" else ""
    hint = FOLDER_HINT if reader == "folder" else ""
    doubts = [*dataset.notes, *grouped(dataset.faults, root)]
    said = "".join(f"# {line}\n" for doubt in doubts for line in doubt.splitlines())
    text = TEMPLATE.format(
        root=_quoted(root), found=found, doubts=said, file=file, name=name, reader=reader, options=options, hint=hint
    )
    write_text(file, text)


def _study_name(folder: str) -> str:
    """The folder's name as a valid study name: letters, digits and dashes, and not a word that YAML reads as a value."""
    kept = "".join(c if c.isascii() and c.isalnum() else "-" for c in folder.lower()).strip("-")[:60]
    return kept if kept[:1].isalpha() and kept not in ("true", "false", "null") else f"data-{kept}".rstrip("-")


def _recognise(root: Path) -> tuple[str, Dataset]:
    reasons = []
    names = READERS.names()
    likely = [name for name in names if name != "folder" and READERS.find(name).recognise(root)]
    for reader in [*likely, *(name for name in names if name not in likely and name != "kvasir")]:
        one = READERS.find(reader)
        try:
            dataset = one.read("data", root, one.options())
            errors = [fault for fault in dataset.faults if fault.severity == "error"]
            if len(errors) > MAX_FAULTY * len(dataset.samples("all")):
                refuse(str(root), errors)
            return reader, dataset
        except SegstudyError as error:
            reasons.append(f"as {reader}: {error}")
    raise DataError(f"{root}: no reader understands this folder\n" + "\n".join(reasons))


def _quoted(path: Path) -> str:
    text = str(path.resolve())
    return text if all(c.isalnum() or c in "/._-" for c in text) else "'" + text.replace("'", "''") + "'"
