"""Synthetic scenes, written as files in the exact layouts of three real datasets.

Street scenes go into the layout of Cityscapes, endoscopies into that of Kvasir-SEG, people into that of Supervisely
Person. They need only NumPy and Pillow, so that demos and tests run without a download. They are hard in the same
ways as real images: classes share colours, light and textures, rare classes are small, outlines are thin, and many
objects resemble the target class. The other modules of ``scenes`` draw them.

Image ``i`` of a set depends only on the seed, the set and ``i``, so a larger set starts with the same images. Images
are ``uint8`` HxWx3, label maps and masks ``uint8`` HxW.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segstudy.data.scenes.canvas import Bytes, Rng, Size
from segstudy.data.scenes.endoscopy import polyp_scene
from segstudy.data.scenes.people import person_scene
from segstudy.data.scenes.street import street_scene
from segstudy.errors import DataError
from segstudy.files import temporary_for

MARKER = "synthetic.json"
VERSION = 1  # raise it whenever a scene changes, so that sets of older versions are not reused

# First part of each image's seed; the splits of one dataset must not share images.
_STREET_TRAIN, _STREET_VAL, _POLYP, _PERSON = 1, 2, 3, 4

TRAIN_CITIES = ("rasterstadt", "synthburg", "voxelheim")
VAL_CITIES = ("noisefurt", "pixelhafen")


def write_cityscapes(root: Path, *, num_train: int, num_val: int, size: Size = (512, 256), seed: int = 0) -> None:
    """Write street scenes in the layout of the official Cityscapes release (``leftImg8bit``, ``gtFine``, labelIds).

    Cities of the two splits are disjoint. Returns immediately if the same set already exists.

    Parameters
    ----------
    root : Path
        The dataset's folder; must not exist, or must hold the same set.
    num_train, num_val : int
        Images per split.
    size : (int, int)
        Width and height in pixels.
    seed : int
        Decides every image.

    Raises
    ------
    DataError
        If ``root`` holds anything else, or a count, size or seed is too small.
    """

    def fill(folder: Path) -> None:
        splits = (("train", TRAIN_CITIES, num_train, _STREET_TRAIN), ("val", VAL_CITIES, num_val, _STREET_VAL))
        for split, cities, count, code in splits:
            for index in range(count):
                image, label_ids = street_scene(np.random.default_rng([seed, code, index]), size)
                city = cities[index % len(cities)]
                stem = f"{split}/{city}/{city}_{index // len(cities):06d}_000019"
                _save(folder / "leftImg8bit" / f"{stem}_leftImg8bit.png", image)
                _save(folder / "gtFine" / f"{stem}_gtFine_labelIds.png", label_ids)

    _make_once(root, "cityscapes", {"num_train": num_train, "num_val": num_val}, size, seed, fill)


def write_kvasir(root: Path, *, num_images: int, size: Size = (320, 288), seed: int = 0) -> None:
    """Write endoscopies in the layout of Kvasir-SEG; sizes vary a little, masks are RGB JPEG, so not exactly 0 and 255.

    Parameters
    ----------
    root : Path
        The dataset's folder; must not exist, or must hold the same set.
    num_images : int
        Total number of images; their names sort in the order of creation.
    size : (int, int)
        Typical width and height in pixels.
    seed : int
        Decides every image.

    Raises
    ------
    DataError
        If ``root`` holds anything else, or a count, size or seed is too small.
    """

    def fill(folder: Path) -> None:
        for index in range(num_images):
            rng = np.random.default_rng([seed, _POLYP, index])
            name = f"{_kvasir_name(rng, index)}.jpg"
            width, height = (max(32, round(side * rng.uniform(0.88, 1.12))) for side in size)
            image, mask = polyp_scene(rng, (width, height))
            _save(folder / "images" / name, image)
            _save(folder / "masks" / name, np.repeat(mask[..., None] * np.uint8(255), 3, axis=2))

    _make_once(root, "kvasir", {"num_images": num_images}, size, seed, fill)


def _kvasir_name(rng: Rng, index: int) -> str:
    """Make up a name like those of Kvasir-SEG, which are time stamps in base 36 with a random tail."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    number = (index * 500_000 + int(rng.integers(500_000))) % 36**6
    stamp = "".join(digits[number // 36**place % 36] for place in range(5, -1, -1))
    tail = "".join(digits[d] for d in rng.integers(36, size=12))
    return f"cju{stamp}{tail[:4]}{rng.choice(['0799', '0801', '0817', '0855', '0988'])}{tail[4:]}"


def write_supervisely(root: Path, *, num_images: int, size: Size = (240, 320), seed: int = 0) -> None:
    """Write people in the layout of Supervisely Person; like the original, ``df.csv`` names collages that do not exist.

    Parameters
    ----------
    root : Path
        The dataset's folder; must not exist, or must hold the same set.
    num_images : int
        Total number of images.
    size : (int, int)
        Width and height in pixels.
    seed : int
        Decides every image.

    Raises
    ------
    DataError
        If ``root`` holds anything else, or a count, size or seed is too small.
    """

    def fill(folder: Path) -> None:
        inner = folder / "supervisely_person_clean_2667_img" / "supervisely_person_clean_2667_img"
        lines = [",images,masks,collages"]
        for index in range(num_images):
            image, mask = person_scene(np.random.default_rng([seed, _PERSON, index]), size)
            name = f"{index + 1:04d}"
            _save(inner / "images" / f"{name}.png", image)
            _save(inner / "masks" / f"{name}.png", mask * np.uint8(255))
            lines.append(f"{index},images/{name}.png,masks/{name}.png,collages/{name}.jpg")
        (folder / "df.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    _make_once(root, "supervisely", {"num_images": num_images}, size, seed, fill)


def _make_once(
    root: Path, family: str, counts: dict[str, int], size: Size, seed: int, fill: Callable[[Path], None]
) -> None:
    """Build a dataset in a temporary folder and rename it to its final place, unless it already exists."""
    _check(counts, size, seed)
    settings = {"family": family, **counts, "size": list(size), "seed": seed, "version": VERSION}
    wanted = json.dumps(settings, indent=2) + "\n"
    marker = root / MARKER
    if root.exists():
        found = marker.read_text(encoding="utf-8") if marker.is_file() else None
        if found == wanted:
            return
        what = "was not made by segstudy" if found is None else f"holds another set, {' '.join(found.split())}"
        raise DataError(
            f"cannot write synthetic {family} scenes to {root}: it exists and {what}; "
            f"wanted {' '.join(wanted.split())}. Choose another folder, or move this one away."
        )
    draft = temporary_for(root)
    try:
        draft.mkdir(parents=True)
        fill(draft)
        (draft / MARKER).write_text(wanted, encoding="utf-8")
        try:
            draft.rename(root)
        except OSError:  # another process was first, which is fine if it made the same set
            if not marker.is_file() or marker.read_text(encoding="utf-8") != wanted:
                raise
    except OSError as error:
        raise DataError(
            f"{root}: synthetic scenes cannot be drawn here ({error.strerror or error}); make room or choose another --out"
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check(counts: dict[str, int], size: Size, seed: int) -> None:
    if seed < 0:
        raise DataError(f"seed is {seed}; a seed must be a whole number of at least 0.")
    for name, count in counts.items():
        if count < 1:
            raise DataError(f"{name} is {count}; a synthetic set needs at least 1 image in each split.")
    if min(size) < 32:
        raise DataError(f"size is {size[0]}x{size[1]} pixels; synthetic scenes need at least 32x32.")


def _save(path: Path, array: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"quality": 90} if path.suffix == ".jpg" else {"compress_level": 2}
    Image.fromarray(array).save(path, **options)


SCENES: dict[str, Callable[..., None]] = {
    "cityscapes": write_cityscapes,
    "kvasir": write_kvasir,
    "supervisely": write_supervisely,
}
