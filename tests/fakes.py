"""Tiny datasets in the true folder shapes: random pixels, right names. ``size`` is (width, height)."""

from __future__ import annotations

import base64
import csv
import io
import json
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

Size = tuple[int, int]
LABEL_IDS = [0, 1, 3, 7, 8, 11, 17, 21, 23, 24, 26, 33]  # void ones among them
INNER = "supervisely_person_clean_2667_img"


def save(path: Path, array: np.ndarray, **options: object) -> Path:
    """Write ``array`` as an image, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def random_image(rng: np.random.Generator, size: Size) -> np.ndarray:
    return rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)


def random_blob(rng: np.random.Generator, size: Size) -> np.ndarray:
    """A filled rectangle, True inside, never empty and never the whole."""
    width, height = size
    left, top = int(rng.integers(1, width // 2)), int(rng.integers(1, height // 2))
    mask = np.zeros((height, width), bool)
    mask[top : top + height // 3, left : left + width // 3] = True
    return mask


def random_indices(rng: np.random.Generator, size: Size, values: list[int]) -> np.ndarray:
    """Blocks of 8 x 8 pixels, each of one of ``values``."""
    blocks = rng.choice(np.array(values, np.uint8), ((size[1] + 7) // 8, (size[0] + 7) // 8))
    return blocks.repeat(8, axis=0).repeat(8, axis=1)[: size[1], : size[0]]


def random_masks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction, a few pixels wide: boxes and rings of classes 1 and 2, some of them displaced, filled, missed.

    Class 3 is in no truth, and predicted where there is noise. With an odd ``seed`` 255 marks ignored pixels.
    """
    rng = np.random.default_rng(seed)
    height, width = rng.integers(9, 15, 2)
    truth, prediction = np.zeros((2, height, width), np.uint8)
    for _ in range(7):
        high, wide = rng.integers(2, 6, 2)
        top, left = rng.integers(0, height - high), rng.integers(0, width - wide)
        for mask in (truth, prediction):
            if rng.random() < 0.85:
                shift = rng.integers(-1, 2)
                box = mask[max(0, top + shift) : top + shift + high, left : left + wide]
                inside = box[1:-1, 1:-1].copy()
                box[:] = 1 + (high + wide) % 2
                box[1:-1, 1:-1] = inside if rng.random() < 0.5 else box[:1, :1]
    noisy = rng.random(truth.shape) < rng.choice([0.0, 0.05, 0.3])
    prediction[noisy] = rng.integers(0, 4, int(noisy.sum()), dtype=np.uint8)
    if seed % 2:
        truth[rng.random(truth.shape) < 0.1] = 255
        truth[:2, -3:] = 255
    return truth, prediction


def train_ids_of(label_ids: np.ndarray) -> np.ndarray:
    """Train ids, from the published list of the evaluated label ids."""
    evaluated = [7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33]
    out = np.full(label_ids.shape, 255, np.uint8)
    for train_id, label_id in enumerate(evaluated):
        out[label_ids == label_id] = train_id
    return out


def fake_cityscapes(
    root: Path,
    *,
    num_images: int = 4,
    size: Size = (48, 32),
    seed: int = 0,
    mirror: bool = False,
    kinds: tuple[str, ...] = ("labelIds",),
    splits: tuple[str, ...] = ("train", "val"),
) -> Path:
    """``num_images`` a split; ``mirror`` says ``images/`` for ``leftImg8bit/``; ``kinds`` of masks to write."""
    rng = np.random.default_rng(seed)
    cities = {"train": ("aachen", "bremen"), "val": ("frankfurt",), "test": ("berlin",)}
    for split in splits:
        for k in range(num_images):
            city = cities[split][k % len(cities[split])]
            stem = f"{city}_{k:06d}_000019"
            folder = root / ("images" if mirror else "leftImg8bit") / split / city
            save(folder / f"{stem}_leftImg8bit.png", random_image(rng, size))
            ids = random_indices(rng, size, [0, 3] if split == "test" else LABEL_IDS)
            for kind in kinds:
                mask = ids if kind == "labelIds" else train_ids_of(ids)
                save(root / "gtFine" / split / city / f"{stem}_gtFine_{kind}.png", mask)
    return root


def fake_kvasir(root: Path, *, num_images: int = 5, size: Size = (48, 32), seed: int = 0) -> Path:
    """JPEG images and masks; the masks' white is 254 or so, as JPEG may leave it."""
    rng = np.random.default_rng(seed)
    for k in range(num_images):
        save(root / "images" / f"cju{k:03d}.jpg", random_image(rng, size))
        mask = np.where(random_blob(rng, size), 254, 0).astype(np.uint8)
        save(root / "masks" / f"cju{k:03d}.jpg", mask[..., None].repeat(3, axis=2), quality=85)
    return root


def fake_supervisely_csv(root: Path, *, num_images: int = 5, size: Size = (48, 32), seed: int = 0) -> Path:
    """``df.csv`` and the doubled folder, without the collages that the table names."""
    rng = np.random.default_rng(seed)
    base = root / INNER / INNER
    rows = []
    for k in reversed(range(num_images)):  # the order of the rows is not that of the names
        name = f"ds{k % 3}_photo-{k:02d}"
        save(base / "images" / f"{name}.png", random_image(rng, size))
        mask = np.where(random_blob(rng, size), 255, 0).astype(np.uint8)
        save(base / "masks" / f"{name}.png", mask if k % 2 else mask[..., None].repeat(3, axis=2))
        rows.append([len(rows), f"images/{name}.png", f"masks/{name}.png", f"collages/{name}.jpg"])
    with (root / "df.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["", "images", "masks", "collages"], *rows])
    return root


def encoded_bitmap(mask: np.ndarray) -> str:
    """A boolean mask as Supervisely writes it: palette PNG with index 0 transparent, zlib, base64."""
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    stream = io.BytesIO()
    image.save(stream, format="PNG", transparency=0)
    return base64.b64encode(zlib.compress(stream.getvalue())).decode()


def bitmap_object(mask: np.ndarray, origin: tuple[int, int] = (0, 0), title: str = "person_bmp") -> dict[str, object]:
    bitmap = {"data": encoded_bitmap(mask), "origin": list(origin)}
    return {"classTitle": title, "geometryType": "bitmap", "bitmap": bitmap}


def polygon_object(exterior: list, interior: list | None = None, title: str = "person_poly") -> dict[str, object]:
    points = {"exterior": exterior, "interior": interior or []}
    return {"classTitle": title, "geometryType": "polygon", "points": points}


def write_annotation(path: Path, size: Size, objects: list) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"size": {"width": size[0], "height": size[1]}, "tags": [], "objects": objects}))
    return path


def fake_supervisely_project(root: Path, *, num_images: int = 5, size: Size = (48, 32), seed: int = 0) -> Path:
    """``meta.json`` and the datasets ds1 and ds2, each image with a bitmap and a polygon."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    classes = [
        {"title": "person_bmp", "shape": "bitmap", "color": "#D0021B"},
        {"title": "person_poly", "shape": "polygon", "color": "#0000FF"},
        {"title": "neutral", "shape": "bitmap", "color": "#808080"},
    ]
    (root / "meta.json").write_text(json.dumps({"classes": classes, "tags": []}))
    for k in range(num_images):
        folder = root / f"ds{1 + k % 2}"
        save(folder / "img" / f"photo{k}.png", random_image(rng, size))
        objects = [bitmap_object(random_blob(rng, size)), polygon_object([[1, 1], [6, 1], [6, 6], [1, 6]])]
        write_annotation(folder / "ann" / f"photo{k}.png.json", size, objects)
    return root


def fake_folder(root: Path, *, num_images: int = 5, size: Size = (48, 32), seed: int = 0, num_classes: int = 2) -> Path:
    """``images/`` and ``masks/``; masks of 0 and 255 for two classes, else of indices, each of them in every mask."""
    rng = np.random.default_rng(seed)
    for k in range(num_images):
        save(root / "images" / f"scene{k:02d}.jpg", random_image(rng, size))
        save(root / "masks" / f"scene{k:02d}.png", _folder_mask(rng, size, num_classes))
    return root


def _folder_mask(rng: np.random.Generator, size: Size, num_classes: int) -> np.ndarray:
    if num_classes == 2:
        return np.where(random_blob(rng, size), 255, 0).astype(np.uint8)
    mask = random_indices(rng, size, list(range(num_classes)))
    mask[0, :num_classes] = np.arange(num_classes)
    return mask


def fake_camvid(root: Path, *, num_images: int = 4, size: Size = (48, 32), seed: int = 0) -> Path:
    """``train/`` and ``trainannot/`` and so on; ids 0-10 and 11 for void, all in every mask."""
    rng = np.random.default_rng(seed)
    for split in ("train", "val", "test"):
        for k in range(num_images):
            save(root / split / f"{split}_{k:03d}.png", random_image(rng, size))
            save(root / f"{split}annot" / f"{split}_{k:03d}.png", _folder_mask(rng, size, 12))
    return root
