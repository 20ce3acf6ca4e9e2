"""What cannot be right in a dataset although every file can be read: classes without a pixel, masks that many images share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from segstudy.data.blocks import are_jpeg_blocks
from segstudy.data.core import IGNORE, IMAGE_SUFFIXES, Dataset
from segstudy.data.quality.card import Seen
from segstudy.data.quality.faults import Fault
from segstudy.data.quality.polarity import opposite_polarity
from segstudy.data.quality.shifted import shifted_masks
from segstudy.errors import listing

NEVER_SEEN = ("unused",)  # names of classes that no pixel is meant to have
FEW_CLASSES, MAX_ABSENT = 10, 2 / 3
IMAGES_PER_CLASS = 50  # from which a class without a pixel is not just rare
MAX_IGNORED = 0.5  # share of all pixels
MIN_SHARED = 6  # images that share their mask with one other, where half of all do
SPECK_PX, MIN_SPECKLED = 4, 3  # largest part of a class that is not an object, and images that show nothing else of it
MIN_PX = 1000  # pixels of an image in which objects are larger than specks
MAX_ALIKE = 2  # images whose masks may be alike by chance or because the images are


def doubts_of_dataset(dataset: Dataset, trained: str, seen: Sequence[Seen], reported: str = "") -> list[Fault]:
    """Faults that only all samples together show; of a dataset without a training split, ``trained`` is empty."""
    if not seen:
        return []
    outlines = [(each.sample.id, each.outlines) for each in seen if each.outlines is not None]
    return [
        *_absent_classes(dataset, trained, reported, seen),
        *_ignored(seen),
        *_specks(dataset, seen),
        *_blocks(seen),
        *_shared_masks(dataset, seen),
        *shifted_masks(outlines),
        *opposite_polarity(dataset, seen),
    ]


def _absent_classes(dataset: Dataset, trained: str, reported: str, seen: Sequence[Seen]) -> list[Fault]:
    """Classes with no pixel in the training split, in the one that is scored, or anywhere."""
    labels: dict[str, set[int]] = {each.split: set() for each in seen}
    for each in seen:
        labels[each.split].update(each.pixels)
    everywhere = set().union(*labels.values())
    index = {name: label for label, name in enumerate(dataset.classes) if name not in NEVER_SEEN}
    nowhere = [name for name, label in index.items() if label not in everywhere]
    untrained = [name for name, label in index.items() if label in everywhere - labels.get(trained, set())]
    unscored = [name for name, label in index.items() if label in everywhere - labels.get(reported, everywhere)]
    faults = []
    few = len(dataset.classes) <= FEW_CLASSES and len(seen) >= len(dataset.classes)
    many = len(seen) >= IMAGES_PER_CLASS * len(dataset.classes)
    if nowhere and (few or many or len(nowhere) > MAX_ABSENT * len(dataset.classes)):  # of many classes, some are rare
        text = f"{len(nowhere)} of {len(dataset.classes)} classes have no pixel in any mask: {listing(nowhere)}"
        text += "; see that the number of classes and what mask values mean are right"
        faults.append(Fault("class-absent", text, severity="warning"))
    if untrained and trained:
        splits = listing(split for split, own in labels.items() if any(index[name] in own for name in untrained))
        text = f"no pixel in {trained}, only in {splits}, of: {listing(untrained)}, which therefore cannot be learnt"
        text += "; divide again (stratify), or leave the class out"
        faults.append(Fault("class-absent", text, split=trained, severity="warning"))
    if unscored:
        text = f"no pixel in {reported} of: {listing(unscored)}, which therefore cannot be scored and count in no mean"
        text += "; divide again (stratify), or leave the class out"
        faults.append(Fault("class-absent", text, split=reported, severity="warning"))
    return faults


def _ignored(seen: Sequence[Seen]) -> list[Fault]:
    pixels: Counter[int] = Counter()
    for each in seen:
        pixels.update(each.pixels)
    share = pixels[IGNORE] / pixels.total()
    if share <= MAX_IGNORED:
        return []
    text = f"{share:.0%} of all mask pixels are ignored and count for nothing; see what the mask values mean"
    return [Fault("mostly-ignored", text, severity="warning")]


def _specks(dataset: Dataset, seen: Sequence[Seen]) -> list[Fault]:
    """A warning of classes that occur in specks alone, as the traces of compression do."""
    faults = []
    for label, name in enumerate(dataset.classes[1:], 1):
        shown = [each for each in seen if label in each.largest and sum(each.pixels.values()) >= MIN_PX]
        if len(shown) < MIN_SPECKLED or any(each.largest[label] > SPECK_PX for each in shown):
            continue
        number = sum(each.pixels[label] for each in shown)
        text = f"{name} occurs only in parts of {SPECK_PX} pixels or less, {number:,} pixels in {len(shown)} images"
        text += ", as where indices were saved with loss; see what the mask values mean"
        faults.append(Fault("specks", text, severity="warning"))
    return faults


def _blocks(seen: Sequence[Seen]) -> list[Fault]:
    """A warning of masks whose outlines follow the blocks of JPEG."""
    if not are_jpeg_blocks(each.corners for each in seen if each.corners is not None):
        return []
    text = "outlines lie mostly at the borders of blocks of 8x8 pixels, as where class indices were once saved as JPEG"
    return [Fault("blocks", f"{text}, which alters them; make the masks again from their source", severity="warning")]


def _shared_masks(dataset: Dataset, seen: Sequence[Seen]) -> list[Fault]:
    """One mask file for several images, and masks of the same content beyond what chance or copies explain."""
    faults = []
    pairs = {(sample.image, sample.mask) for sample in dataset.samples("all")}  # of tiles and pages there are several
    for mask, number in sorted(Counter(mask for _, mask in pairs).items()):
        if number > 1 and mask.suffix.lower() in IMAGE_SUFFIXES:  # a table or an archive holds the masks of many
            text = f"is the mask of {number} images; give each image its own"
            faults.append(Fault("shared-mask", text, mask))
    shown = sorted((each for each in seen if len(each.pixels) > 1), key=lambda each: each.digest)
    shared = 0
    for _, group in groupby(shown, key=lambda each: each.digest):
        alike = list(group)
        files = {each.sample.mask for each in alike}
        shared += len(alike) if len(files) > 1 else 0
        if len(files) > MAX_ALIKE:
            text = f"{len(alike)} images have one and the same mask: {listing((each.sample.id for each in alike), 3)}"
            text += "; see that each image has its own"
            faults.append(Fault("shared-mask", text, alike[0].sample.mask, severity="warning"))
    if not faults and shared >= max(MIN_SHARED, len(shown) / 2):
        text = f"{shared} of {len(shown)} images have the same mask as another image; see that each image has its own"
        faults.append(Fault("shared-mask", text, severity="warning"))
    return faults
