"""One pass over a sample: everything that can be known of its image and mask, and everything that is wrong with them.

Array letters: ``h`` height, ``w`` width, ``c`` colour channel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from xxhash import xxh3_64_intdigest

from segstudy.arrays import Labels
from segstudy.data.blocks import Corners, block_corners
from segstudy.data.core import IGNORE, IMAGE_SUFFIXES, Dataset, Sample, as_rgb, exif_orientation, is_deep, size_advice
from segstudy.data.quality.duplicates import ImagePrint, fingerprint_image, shrunk
from segstudy.data.quality.faults import Fault, Severity, fault_of
from segstudy.data.quality.shifted import Outlines, outlines_of
from segstudy.errors import DataError

# What a picture's EXIF orientation says to do before it is shown. Source: EXIF 2.32, tag 274.
TURNS = {
    2: "mirror it",
    3: "turn it by 180 degrees",
    4: "flip it",
    5: "mirror and turn it by 90 degrees",
    6: "turn it by 90 degrees",
    7: "mirror and turn it by 270 degrees",
    8: "turn it by 270 degrees",
}
QUARTER_TURNS = (5, 6, 7, 8)
FEW_LABELS = 24  # up to which counting each takes less time than a histogram
BACKGROUNDS = ("background", "bg")  # names of a first class that stands for nothing in particular


@dataclass(frozen=True)
class SampleReport:
    """What one sample shows; a kilobyte or so, and its print, whatever the image's size.

    ``size`` is (width, height); ``mode`` the image's, as stored. ``pixels`` counts the mask's pixels by label, 255
    included; ``parts`` are the areas in pixels of each class's connected parts and how many have that area, for all classes
    but the background; ``digest`` is a hash of the labels;
    ``channels`` are the sums of all values and of their squares, ``int64`` (3, 2); ``outlines`` says where the image changes and
    where the mask does; ``corners`` says which outlines of the mask begin level with blocks of 8 x 8 pixels; ``rim`` is the share
    of the pixels at the picture's rim that are neither label 0 nor ignored. Of a sample with errors there are only these,
    ``faults`` and, where image and mask differ in size, both ``sizes``.
    """

    split: str
    sample: Sample
    faults: tuple[Fault, ...]
    size: tuple[int, int] = (0, 0)
    mode: str = ""
    pixels: dict[int, int] | None = None
    parts: dict[int, dict[int, int]] | None = None
    channels: NDArray[np.int64] | None = None
    print: ImagePrint | None = None
    digest: int = 0
    outlines: Outlines | None = None
    rim: float | None = None
    corners: Corners | None = None
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None


def has_background(dataset: Dataset) -> bool:
    """Whether class 0 stands for all that is not an object; street scenes, where it is the road, have none such."""
    return dataset.classes[0].lower() in BACKGROUNDS


def inspect_sample(dataset: Dataset, split: str, sample: Sample) -> SampleReport:
    """Decode a sample's image and mask once, and say all that is wrong with them.

    Errors are found wherever :func:`~segstudy.data.core.load_pair` raises one, so that what passes here can be trained
    on.
    """
    faults: list[Fault] = []

    def note(kind: str, file: Path, message: str, severity: Severity = "warning") -> None:
        faults.append(Fault(kind, message, file, split, sample.id, severity))

    stored = rgb = labels = head = None
    pixels: dict[int, int] = {}
    try:
        stored = dataset.image_of(sample)
        for kind, message in _colour_doubts(stored):
            note(kind, sample.image, message)
        rgb = as_rgb(sample.image, stored)
    except DataError as error:
        faults.append(fault_of(error, sample.image, split, sample.id))
    try:
        labels = dataset.labels_of(sample)
        pixels = count_labels(labels)
        head = _head(sample.mask)
        for kind, message in _label_doubts(dataset, head, set(pixels)):
            note(kind, sample.mask, message)
    except DataError as error:
        faults.append(fault_of(error, sample.mask, split, sample.id))
    if stored is not None and labels is not None:
        faults += _size_faults(split, sample, stored, labels, head)
    if stored is None or rgb is None or labels is None or any(fault.severity == "error" for fault in faults):
        return SampleReport(split, sample, tuple(faults), sizes=_sizes_that_differ(stored, labels))
    pixels_rgb = np.asarray(rgb)
    small = shrunk(pixels_rgb)
    objects = pixels.keys() - {IGNORE, *([0] if has_background(dataset) else [])}
    return SampleReport(
        split,
        sample,
        tuple(faults),
        rgb.size,
        stored.mode,
        pixels,
        {label: part_areas(labels == label) for label in sorted(objects)},
        channel_sums(pixels_rgb),
        fingerprint_image(pixels_rgb, small),
        xxh3_64_intdigest(np.ascontiguousarray(labels).data, labels.shape[1]),
        outlines_of(small, labels),
        rim_share(labels),
        block_corners(labels) if len(dataset.classes) > 2 else None,
    )


def _sizes_that_differ(
    stored: Image.Image | None, labels: Labels | None
) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Sizes of image and mask as (width, height), where both can be read and they differ."""
    if stored is None or labels is None or stored.size == labels.shape[::-1]:
        return None
    return stored.size, (labels.shape[1], labels.shape[0])


def rim_share(labels: Labels) -> float | None:
    """Share of the pixels at a picture's rim that are neither label 0 nor ignored; None where all are ignored.

    >>> rim_share(np.array([[0, 1, 0], [0, 1, 255]], np.uint8)), rim_share(np.array([[255]], np.uint8))
    (0.4, None)
    """
    rim = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    scored = rim[rim != IGNORE]
    return float((scored > 0).mean()) if scored.size else None


def count_labels(labels: Labels) -> dict[int, int]:
    """Number of pixels of each label that occurs.

    >>> count_labels(np.array([[0, 0, 255]], np.uint8))
    {0: 2, 255: 1}
    """
    found, left = {}, labels.size
    for label in (0, IGNORE, *range(1, FEW_LABELS)):
        if left and (count := int(np.count_nonzero(labels == label))):
            found[label] = count
            left -= count
    if left:
        return {label: count for label, count in enumerate(Image.fromarray(labels).histogram()) if count}
    return dict(sorted(found.items()))


def channel_sums(rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Sums of the values of each channel and of their squares (3, 2), exact.

    >>> channel_sums(np.array([[[1, 0, 255], [2, 0, 255]]], np.uint8)).tolist()
    [[3, 5], [0, 0], [510, 130050]]
    """
    sums = [(cv2.sumElems(each)[0], cv2.norm(each, cv2.NORM_L2SQR)) for each in cv2.split(rgb)]
    return np.rint(sums).astype(np.int64)  # whole numbers, but for the rounding of a square root and its square


def part_areas(mask: NDArray[np.bool_]) -> dict[int, int]:
    """Areas in pixels of the 8-connected parts of ``mask`` (h, w), and how many parts have each.

    >>> part_areas(np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0]], bool))
    {1: 2, 2: 1}
    """
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))  # most classes fill a small part of a picture
    box = mask.view(np.uint8)[top : top + height, left : left + width]
    if not box.size:
        return {}
    kind = cv2.CV_16U if box.size < 4 * 2**16 else cv2.CV_32S  # 8-connected parts are at most a quarter of all pixels
    number, parts = cv2.connectedComponentsWithAlgorithm(box, 8, kind, cv2.CCL_DEFAULT)
    if number == 2:  # the frequent case of one part
        return {cv2.countNonZero(box): 1}
    areas, numbers = np.unique(np.bincount(parts[parts > 0], minlength=number)[1:], return_counts=True)
    return dict(zip(areas.tolist(), numbers.tolist(), strict=True))


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, that a decoded picture is stored with; 1 for none."""
    return int(image.info.get("orientation", 1))


def _head(path: Path) -> Image.Image | None:
    """What a mask's file says of itself, not decoded; None for an annotation."""
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return None
    with contextlib.suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError), Image.open(path) as image:
        image.info["orientation"] = exif_orientation(image)
        return image
    return None  # a TIFF that another library reads


def _colour_doubts(stored: Image.Image) -> Iterator[tuple[str, str]]:
    """Kinds and messages about how an image's colours are stored."""
    if stored.mode == "CMYK":
        yield "cmyk", "CMYK is converted to RGB without its colour profile; convert it to sRGB in an image editor"
    elif stored.mode not in ("RGB", "RGBA") and not is_deep(stored):
        yield "mode", f"mode '{stored.mode}' is converted to RGB; nothing is lost if that is what the image shows"
    if stored.has_transparency_data:
        alpha = np.asarray(stored.convert("RGBA").getchannel("A"))
        if (share := float((alpha < 255).mean())) > 0:
            text = f"{share:.1%} of pixels are transparent, and their hidden colours are read"
            yield "alpha", f"{text}; lay the image over the ground that is meant and save it as RGB"
        else:
            yield "alpha", "the alpha channel is opaque everywhere and is left out; nothing is lost"


def _label_doubts(dataset: Dataset, head: Image.Image | None, present: set[int]) -> Iterator[tuple[str, str]]:
    """Kinds and messages about a mask that shows nothing, and about what of its file is not read."""
    if present <= {IGNORE}:
        yield "all-ignored", "every pixel is ignored, so that nothing is learnt or scored; look at the mask"
    elif present <= {0, IGNORE}:
        yield "no-foreground", f"every pixel is {dataset.classes[0]}; leave it so if the image shows nothing else"
    if head is not None and head.mode in ("LA", "PA", "RGBA"):
        yield "alpha", "the mask's alpha channel is read by `channel: alpha` alone; save the mask with one channel"


def _size_faults(
    split: str, sample: Sample, stored: Image.Image, labels: Labels, head: Image.Image | None
) -> list[Fault]:
    """Whether image and mask fit each other as they are stored, which is how they are read."""
    size, mask_size = stored.size, (labels.shape[1], labels.shape[0])
    turn = orientation(stored)
    file, tag = (sample.image, turn) if turn > 1 or head is None else (sample.mask, orientation(head))
    says = f"the EXIF tag says to {TURNS.get(tag)}"
    sizes = f"the image is {size[0]}x{size[1]} but its mask {sample.mask.name} is {mask_size[0]}x{mask_size[1]}"
    if size == mask_size:
        if tag == 1:
            return []
        text = f"{says}, which is not done on reading; see that image and mask are alike as stored, and remove the tag"
        return [Fault("exif-rotation", text, file, split, sample.id, "warning")]
    if tag in QUARTER_TURNS and size == mask_size[::-1]:
        text = f"{sizes}: they fit only once turned, and {says}"
        return [Fault("exif-rotation", f"{text}; turn the pixels and remove the tag", file, split, sample.id)]
    hint = " (one of them is turned by a quarter)" if size == mask_size[::-1] else ""
    advice = size_advice(size, mask_size, sample.mask)
    return [Fault("size-mismatch", f"{sizes}{hint}; {advice}", sample.image, split, sample.id)]
