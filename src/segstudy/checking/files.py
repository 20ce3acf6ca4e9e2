"""The files that a check writes on request: dataset cards, a split, sheets of augmented images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from segstudy.checking import Checked, Inspected
from segstudy.checking.sheet import contact_sheet
from segstudy.checking.text import card_markdown, findings_text
from segstudy.data.quality.card import choose_for_sheet, ground_of
from segstudy.data.quality.faults import refuse
from segstudy.data.quality.sheets import augment_sheet
from segstudy.data.splitting.splits import write_split
from segstudy.errors import SpecError, listing
from segstudy.files import write_bytes, write_json, write_text
from segstudy.plan import Run
from segstudy.sizes import Size

NUM_AUGMENTED = 4  # images on a sheet


def write_cards(checked: Checked, folder: Path) -> list[Path]:
    """Write ``card.md``, ``card.json`` and ``contact-sheet.jpg``; of several datasets, into a folder of its name each.

    A dataset without a sound image has no contact sheet.

    Raises
    ------
    StoreError
        If a file cannot be written.

    """
    written = []
    for each in checked.inspected:
        place = folder / each.dataset.name if len(checked.inspected) > 1 else folder
        own = Checked(tuple(f for f in checked.findings if f.dataset == each.dataset.name), (each,))
        sheet = contact_sheet(each)
        write_json(place / "card.json", each.card | {"findings": [finding.record() for finding in own.findings]})
        write_text(place / "card.md", card_markdown(each, findings_text(own), with_sheet=sheet is not None))
        written += [place / "card.md", place / "card.json"]
        if sheet is not None:
            written.append(_write_jpeg(place / "contact-sheet.jpg", sheet))
    return written


def write_split_of(checked: Checked, path: Path) -> Inspected:
    """Write which images stand in which split, of the one dataset that was checked, and return that.

    Raises
    ------
    SpecError
        If there are several, as a file holds one split.
    DataError
        If files had to be left out: the split would be another once they are fixed.

    """
    if len(checked.inspected) != 1:
        names = listing(each.dataset.name for each in checked.inspected) or "none that can be listed"
        raise SpecError(f"--write-split takes one dataset, and there are {names}; name one with --dataset")
    (inspected,) = checked.inspected
    refuse(f"--write-split: dataset '{inspected.dataset.name}' is not whole", inspected.dataset.faults)
    write_split(path, inspected.dataset)
    return inspected


def write_augment_sheets(checked: Checked, runs: Sequence[Run], folder: Path) -> list[Path]:
    """Draw what training makes of a few images, once for each way in which a dataset's images are changed.

    Files are named after the first experiment that does so.

    Raises
    ------
    SpecError
        If no dataset has a sound image to show.

    """
    first: dict[tuple[str, str, Size], Run] = {}
    for run in runs:
        recipe = run.config.recipe
        first.setdefault((run.config.dataset, recipe.augmentation, recipe.trained_px), run)
    written = []
    for (name, _, _), run in first.items():
        for each in checked.inspected:
            trained = [seen for seen in each.seen if seen.split == each.roles.train]
            if each.dataset.name == name and trained:
                chosen = choose_for_sheet(trained, ground_of(each.dataset, trained), NUM_AUGMENTED)
                sheet = augment_sheet(
                    each.dataset, [seen.sample for seen in chosen], run.config.recipe, study_folder=run.config.folder
                )
                written.append(_write_jpeg(folder / f"augment-{run.experiment}.jpg", sheet))
    if not written:
        raise SpecError("--show-augment: no dataset that was checked has a sound image in its training split")
    return written


def _write_jpeg(path: Path, image: Image.Image) -> Path:
    stream = io.BytesIO()
    image.save(stream, format="JPEG", quality=88)
    write_bytes(path, stream.getvalue())
    return path
