"""Pictures of data for people: labels laid over an image, and what augmentation makes of a few images.

Array letters: ``n`` image, ``h`` height, ``w`` width, ``c`` colour channel.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from segstudy.arrays import Labels
from segstudy.data.augment import epoch_generator, find_policy, make_augmenter
from segstudy.data.cache.arrays import resize_pair
from segstudy.data.cache.batches import IMAGENET_MEAN
from segstudy.data.core import IGNORE, Dataset, Sample, load_pair
from segstudy.schema import Augment, Recipe
from segstudy.sizes import Size, height_width

CELL_PX, GAP_PX, TEXT_PX = 176, 4, 15


def overlay(image: Image.Image, labels: Labels, palette: Sequence[tuple[int, int, int]]) -> Image.Image:
    """The image with its classes' colours laid over it at half strength.

    A black class leaves the image as it is; ignored pixels are striped.
    """
    colours = np.zeros((256, 3), np.uint8)
    colours[: len(palette)] = palette
    painted = colours[labels]
    strength = np.where(painted.any(axis=-1, keepdims=True), 0.5, 0.0)
    laid = (np.asarray(image) * (1 - strength) + painted * strength).astype(np.uint8)
    rows, columns = np.indices(labels.shape)
    stripes = np.where((rows + columns) // max(4, labels.shape[0] // 48) % 2, 215, 130).astype(np.uint8)
    return Image.fromarray(np.where((labels == IGNORE)[..., None], stripes[..., None], laid))


def augment_sheet(
    dataset: Dataset,
    samples: Sequence[Sample],
    recipe: Recipe,
    seed: int = 0,
    num_draws: int = 8,
    study_folder: str = "",
) -> Image.Image:
    """Draw what a recipe's augmentation makes of a few images: a double row each, the original first.

    Parameters
    ----------
    dataset, samples
        Whose labels, and which images; a handful.
    recipe
        Its ``augment`` and the size that it trains at.
    seed
        Of the draws.
    num_draws
        Augmented versions of each image.
    study_folder
        Where the study file lies, for an augmentation of the user's own.

    Returns
    -------
    Image
        RGB; in each double row the images above, the same with their labels laid over them below. The heading gives the
        policy's values.

    """
    columns = [_load(dataset, samples, recipe)]
    augmenter, generator = make_augmenter(recipe.augment, study_folder), epoch_generator(seed, 0)
    for _ in range(num_draws):
        images, labels = columns[0]
        columns.append((images, labels) if augmenter is None else augmenter(images, labels, generator))
    heading = textwrap.wrap(_heading(dataset, recipe, num_draws, study_folder), width=(1 + num_draws) * CELL_PX // 8)
    top = len(heading) * (TEXT_PX + GAP_PX) + GAP_PX
    step = CELL_PX + GAP_PX
    sheet = Image.new("RGB", (step * len(columns) + GAP_PX, top + 2 * step * len(samples)), "white")
    pen = ImageDraw.Draw(sheet)
    pen.multiline_text((GAP_PX, GAP_PX // 2), "\n".join(heading), "black", ImageFont.load_default(TEXT_PX))
    for across, (images, labels) in enumerate(columns):
        for down, (image, label) in enumerate(zip(images.numpy(), labels.numpy(), strict=True)):
            picture = Image.fromarray(image)
            for line, shown in enumerate((picture, overlay(picture, label, dataset.palette))):
                small = shown.resize((CELL_PX, CELL_PX), Image.Resampling.LANCZOS)
                sheet.paste(small, (GAP_PX + across * step, top + (2 * down + line) * step))
    return sheet


def _load(dataset: Dataset, samples: Sequence[Sample], recipe: Recipe) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, h, w, 3) and labels (n, h, w) as training has them, but that crops are from the middle."""
    pairs = []
    for sample in samples:
        image, labels = load_pair(dataset, sample)
        if recipe.crop_px is None:
            pairs.append(resize_pair(image, labels, recipe.input_size))
        else:
            pairs.append(_middle(np.asarray(image), labels, recipe.crop_px))
    images, all_labels = (np.stack(part) for part in zip(*pairs, strict=True))
    return torch.from_numpy(images), torch.from_numpy(all_labels)


def _middle(image: NDArray[np.uint8], labels: Labels, crop_px: Size) -> tuple[NDArray[np.uint8], Labels]:
    """A crop from the middle; what lies beyond a smaller image is ImageNet's mean colour, labels 255."""
    crop = height_width(crop_px)
    top, left = (max(side - cut, 0) // 2 for side, cut in zip(labels.shape, crop, strict=True))
    part, part_labels = (each[top : top + crop[0], left : left + crop[1]] for each in (image, labels))
    height, width = part_labels.shape
    whole = np.full((*crop, 3), np.round(255 * np.array(IMAGENET_MEAN)), np.uint8)
    whole_labels = np.full(crop, IGNORE, np.uint8)
    whole[:height, :width], whole_labels[:height, :width] = part, part_labels
    return whole, whole_labels


def _heading(dataset: Dataset, recipe: Recipe, num_draws: int, folder: str) -> str:
    policy = find_policy(recipe.augment, folder)
    name = "spelled out" if isinstance(recipe.augment, Augment) else recipe.augmentation
    values = policy and ", ".join(f"{key} {value}" for key, value in policy.model_dump(exclude_defaults=True).items())
    what = "" if policy is None else f" ({values or 'changes nothing'})"
    return f"{dataset.name}: the original, then {num_draws} draws of augment: {name}{what}"
