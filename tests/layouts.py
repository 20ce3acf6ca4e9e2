"""Small fakes with the true folder shapes of public sets: 12 x 8 pictures, a box of class 1 in rows 2-4 and columns 3-6."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fakes import save

WIDTH, HEIGHT, NUM = 12, 8, 4
BOX = np.zeros((HEIGHT, WIDTH), np.uint8)
BOX[2:5, 3:7] = 1
CORNERS = [[3, 2], [6, 2], [6, 4], [3, 4]]  # of the box, outline included
Make = Callable[[Path], object]
SPLITS = ("train", "val", "test")


def picture(path: Path, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed + len(path.stem))
    return save(path, rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))


def tree(*pairs: tuple[str, str], value: int = 255, extra: tuple[str, ...] = ()) -> Make:
    """Pictures and masks by templates in which ``{}`` is a number, such as ``images/{:02}.jpg``."""

    def make(root: Path) -> None:
        for image, mask in pairs:
            for k in range(1, NUM + 1):
                picture(root / image.format(k), k)
                save(root / mask.format(k), BOX * np.uint8(value))
        for each in extra:
            for k in range(1, NUM + 1):
                save(root / each.format(k), np.full((HEIGHT, WIDTH), 255, np.uint8))

    return make


def coloured(*pairs: tuple[str, str], colour: tuple[int, int, int] = (255, 0, 0), extra: tuple[str, ...] = ()) -> Make:
    """The same with masks in colours, black but for the box."""

    def make(root: Path) -> None:
        tree(*pairs, extra=extra)(root)
        for _, mask in pairs:
            for k in range(1, NUM + 1):
                save(root / mask.format(k), BOX[..., None] * np.array(colour, np.uint8))

    return make


def salt(root: Path) -> None:
    """Masks of 16 bits, 0 and 65,535; test images have none."""
    tree(("train/images/{:04x}.png", "train/masks/{:04x}.png"), extra=("test/images/{:04x}.png",))(root)
    for path in (root / "train" / "masks").iterdir():
        Image.fromarray(BOX.astype(np.uint16) * 65535).save(path)


def trimaps(root: Path) -> None:
    """1 is the animal, 2 its surroundings, 3 the outline; files of macOS lie with them."""
    tree(("images/Abyssinian_{}.jpg", "annotations/trimaps/Abyssinian_{}.png"))(root)
    for path in list((root / "annotations" / "trimaps").iterdir()):
        save(path, np.where(BOX, np.uint8(1), np.where(np.arange(WIDTH) == 0, np.uint8(3), np.uint8(2))))
        path.with_name(f"._{path.name}").write_bytes(b"Mac OS X")


def cityscapes_val(root: Path) -> None:
    for k in range(NUM):
        name = f"frankfurt_000000_{k:06}"
        picture(root / "leftImg8bit" / "val" / "frankfurt" / f"{name}_leftImg8bit.png", k)
        masks = root / "gtFine" / "val" / "frankfurt"
        save(masks / f"{name}_gtFine_labelIds.png", np.where(BOX, np.uint8(8), np.uint8(7)))  # sidewalk on road
        save(masks / f"{name}_gtFine_color.png", np.zeros((HEIGHT, WIDTH, 3), np.uint8))


def aeroscapes(root: Path) -> None:
    """VOC's folders, with other names of images and lists in another place."""
    tree(("JPEGImages/{:06}_001.jpg", "SegmentationClass/{:06}_001.png"), value=1)(root)
    (root / "ImageSets").mkdir()
    (root / "ImageSets" / "trn.txt").write_text("000001_001\n000002_001\n")
    (root / "ImageSets" / "val.txt").write_text("000003_001\n000004_001\n")


def voc(root: Path) -> None:
    tree(("JPEGImages/2007_{:06}.jpg", "SegmentationClass/2007_{:06}.png"), value=1)(root)
    picture(root / "JPEGImages" / "2007_000099.jpg")  # as most images of VOC it has boxes only
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("2007_000001\n2007_000002\n")
    (lists / "val.txt").write_text("2007_000003\n2007_000004\n")


def ade20k(root: Path) -> None:
    base = root / "ADEChallengeData2016"
    for split in ("training", "validation"):
        for k in range(1, 4):
            picture(base / "images" / split / f"ADE_{split[:3]}_{k:08}.jpg", k)
            save(base / "annotations" / split / f"ADE_{split[:3]}_{k:08}.png", BOX * np.uint8(150))
    rows = "".join(f"{k}\t0.1\t10\t2\t0\tthing{k}, other name\n" for k in range(1, 151))
    (base / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n" + rows)


def coco_record(names: list[str]) -> dict[str, object]:
    """Image k has the box as a polygon, as run lengths down the columns, as compressed ones, and one has no object."""
    images = [{"id": k, "file_name": name, "width": WIDTH, "height": HEIGHT} for k, name in enumerate(names, 7)]
    counts = [26, 3, 5, 3, 5, 3, 5, 3, 43]  # 3 columns of 8 and 2 rows before, 5 between, the rest after
    shapes: list[object] = [
        [[3, 2, 7, 2, 7, 5, 3, 5]],
        {"size": [HEIGHT, WIDTH], "counts": counts},
        {"size": [HEIGHT, WIDTH], "counts": "j03500000V1"},
    ]
    annotations = [
        {"id": k, "image_id": image["id"], "category_id": 18, "segmentation": shape, "iscrowd": 0}
        for k, (image, shape) in enumerate(zip(images, shapes, strict=False))
    ]
    return {"images": images, "annotations": annotations, "categories": [{"id": 18, "name": "dog"}]}


def coco(root: Path) -> None:
    for split in ("train2017", "val2017"):
        names = [f"{k:012}.jpg" for k in range(4)]
        for k, name in enumerate(names):
            picture(root / split / name, k)
        path = root / "annotations" / f"instances_{split}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(coco_record(names)))


def roboflow(root: Path) -> None:
    for split in ("train", "valid", "test"):
        names = [f"{split}_{k}_jpg.rf.0a1b.jpg" for k in range(3)]
        for k, name in enumerate(names):
            picture(root / split / name, k)
        (root / split / "_annotations.coco.json").write_text(json.dumps(coco_record(names)))


def labelme_record(name: str, *shapes: dict[str, object]) -> dict[str, object]:
    box = {"label": "cat", "shape_type": "polygon", "points": CORNERS, "group_id": None}
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    return {"version": "5.4", "shapes": list(shapes) or [box], "imagePath": name, "imageData": None, **size}


def labelme(root: Path) -> None:
    for k in range(NUM):
        picture(root / f"shot{k}.jpg", k)
        (root / f"shot{k}.json").write_text(json.dumps(labelme_record(f"shot{k}.jpg")))


def cvat(root: Path) -> None:
    points = ";".join(f"{x:.2f},{y:.2f}" for x, y in CORNERS)
    shapes = f'<polygon label="cat" source="manual" occluded="0" points="{points}" z_order="0"></polygon>'
    images = "".join(
        f'<image id="{k}" name="frame_{k}.jpg" width="{WIDTH}" height="{HEIGHT}">{shapes}</image>' for k in range(NUM)
    )
    for k in range(NUM):
        picture(root / "images" / f"frame_{k}.jpg", k)
    labels = "<meta><task><labels><label><name>cat</name></label></labels></task></meta>"
    (root / "annotations.xml").write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{labels}{images}</annotations>'
    )


def label_studio(root: Path) -> None:
    percent = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in CORNERS]
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    value = {"points": percent, "closed": True, "polygonlabels": ["cat"]}
    result = [{"type": "polygonlabels", "value": value, **size}]
    tasks = []
    for k in range(NUM):
        picture(root / "upload" / f"photo {k}.jpg", k)
        image = f"/data/upload/1/0a1b2c3{k}-photo%20{k}.jpg"
        tasks.append({"id": k, "data": {"image": image}, "annotations": [{"result": result, "was_cancelled": False}]})
    (root / "project-1-at-2024.json").write_text(json.dumps(tasks))


def airbus(root: Path) -> None:
    """One object a row, pixels from 1 down the columns: columns 3 to 6, rows 2 to 4, and an image without ships."""
    runs = " ".join(f"{8 * column + 3} 3" for column in range(3, 7))
    rows = [f"{k:03}.jpg,{runs}" for k in range(NUM - 1)] + [f"{NUM - 1:03}.jpg,"]
    for k in range(NUM):
        picture(root / "train_v2" / f"{k:03}.jpg", k)
    (root / "train_ship_segmentations_v2.csv").write_text("ImageId,EncodedPixels\n" + "\n".join(rows) + "\n")


def clouds(root: Path) -> None:
    """A class behind the name; later rows over earlier."""
    whole, left = f"1 {WIDTH * HEIGHT}", "1 8"
    for k in range(NUM):
        picture(root / "train_images" / f"00{k}.jpg", k)
    rows = [f"00{k}.jpg_Fish,{whole}\n00{k}.jpg_Flower,{left}\n00{k}.jpg_Sugar," for k in range(NUM)]
    (root / "train.csv").write_text("Image_Label,EncodedPixels\n" + "\n".join(rows) + "\n")


def sbd(root: Path) -> None:
    import scipy.io

    (root / "cls").mkdir(parents=True)
    for k in range(NUM):
        picture(root / "img" / f"2008_{k:06}.jpg", k)
        scipy.io.savemat(root / "cls" / f"2008_{k:06}.mat", {"GTcls": {"Segmentation": BOX, "Boundaries": [1, 2]}})


def stacks(root: Path) -> None:
    root.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    np.save(root / "images.npy", rng.integers(0, 256, (NUM, HEIGHT, WIDTH, 3), dtype=np.uint8))
    np.save(root / "masks.npy", np.stack([BOX] * NUM).astype(np.int64))


def npy_files(root: Path) -> None:
    for k in range(NUM):
        for name, values in (("images", np.linspace(-5, 5, WIDTH * HEIGHT).reshape(HEIGHT, WIDTH)), ("labels", BOX)):
            (root / name).mkdir(parents=True, exist_ok=True)
            np.save(root / name / f"slice_{k}.npy", values)


def volume(path: Path, values: np.ndarray) -> None:
    import nibabel

    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), path)


def decathlon(root: Path) -> None:
    """Axes x, y, z: the box is in columns (x) 3 to 6 and rows (y) 2 to 4."""
    rng = np.random.default_rng(0)
    for k in range(NUM):
        labels = np.repeat(BOX.T[:, :, None], 3, axis=2)
        volume(root / "imagesTr" / f"spleen_{k}.nii.gz", rng.normal(0, 300, labels.shape).astype(np.int16))
        volume(root / "labelsTr" / f"spleen_{k}.nii.gz", labels)


def acdc(root: Path) -> None:
    for k in range(NUM):
        base = root / f"patient{k:03}" / f"patient{k:03}_frame01"
        values = np.arange(WIDTH * HEIGHT * 2, dtype=np.int16).reshape(WIDTH, HEIGHT, 2)
        volume(base.with_name(base.name + ".nii.gz"), values)
        volume(base.with_name(base.name + "_gt.nii.gz"), np.repeat(BOX.T[:, :, None], 2, axis=2))


def geotiff(root: Path) -> None:
    import rasterio
    from rasterio.transform import from_origin

    rng = np.random.default_rng(0)
    for k in range(NUM):
        place = {"driver": "GTiff", "width": WIDTH, "height": HEIGHT, "transform": from_origin(10 * k, 50, 0.5, 0.5)}
        for name, values in (
            ("images", rng.integers(0, 4000, (4, HEIGHT, WIDTH), dtype=np.uint16)),
            ("labels", BOX[None]),
        ):
            (root / name).mkdir(parents=True, exist_ok=True)
            with rasterio.open(
                root / name / f"tile_{k}.tif", "w", count=len(values), dtype=values.dtype, crs="EPSG:32633", **place
            ) as file:
                file.write(values)


def huggingface(root: Path) -> None:
    import datasets

    def png(values: np.ndarray) -> dict[str, object]:
        stream = io.BytesIO()
        Image.fromarray(values).save(stream, "PNG")
        return {"bytes": stream.getvalue(), "path": None}

    rng = np.random.default_rng(0)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    parts = {}
    for split in ("train", "validation"):
        rows = {"image": [png(rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)) for _ in range(NUM)]}
        parts[split] = datasets.Dataset.from_dict({**rows, "label": [png(BOX)] * NUM}, features=features)
    datasets.DatasetDict(parts).save_to_disk(root)


def supervisely_nested(root: Path) -> None:
    polygon = {"classTitle": "cat", "geometryType": "polygon", "points": {"exterior": CORNERS, "interior": []}}
    root.mkdir(parents=True, exist_ok=True)
    (root / "meta.json").write_text(json.dumps({"classes": [{"title": "cat", "color": "#FF0000"}]}))
    for place in ("ds1", "ds1/datasets/inner"):
        for k in range(3):
            picture(root / place / "img" / f"{k}.jpg", k)
            path = root / place / "ann" / f"{k}.jpg.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps({"size": {"width": WIDTH, "height": HEIGHT}, "objects": [polygon]}))


def png_text(values: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


# Sets that are pictures and masks, by the names of their files.
TREES: dict[str, Make] = {
    "CamVid of the SegNet tutorial": tree(*[(f"{s}/{s}{{}}.png", f"{s}annot/{s}{{}}.png") for s in SPLITS], value=1),
    "Massachusetts roads": tree(*[(f"{s}/{{}}.tiff", f"{s}_labels/{{}}.tif") for s in SPLITS]),
    "Kaggle: image and label": tree(("image/{:02}.jpg", "label/{:02}.png")),
    "DRIVE": tree(
        ("training/images/{:02}_training.tif", "training/1st_manual/{:02}_manual1.gif"),
        ("test/images/{:02}_test.tif", "test/1st_manual/{:02}_manual1.gif"),
        extra=("training/mask/{:02}_training_mask.gif", "test/mask/{:02}_test_mask.gif"),
    ),
    "CHASE_DB1": tree(("Image_{:02}L.jpg", "Image_{:02}L_1stHO.png")),
    "Carvana": tree(("train/0cd{}_01.jpg", "train_masks/0cd{}_01_mask.gif")),
    "ISIC 2018": tree(
        (
            "ISIC2018_Task1-2_Training_Input/ISIC_{:07}.jpg",
            "ISIC2018_Task1_Training_GroundTruth/ISIC_{:07}_segmentation.png",
        ),
    ),
    "CVC-ClinicDB": tree(("Original/{}.png", "Ground Truth/{}.png")),
    "BUSI": tree(
        ("benign/benign ({}).png", "benign/benign ({})_mask.png"),
        ("malignant/malignant ({}).png", "malignant/malignant ({})_mask.png"),
    ),
    "LGG MRI": tree(("kaggle_3m/TCGA_A/TCGA_A_{}.tif", "kaggle_3m/TCGA_A/TCGA_A_{}_mask.tif")),
    "Penn-Fudan": tree(("PNGImages/FudanPed{:05}.png", "PedMasks/FudanPed{:05}_mask.png"), value=1),
    "FloodNet": tree(
        ("train/train-org-img/{}.jpg", "train/train-label-img/{}_lab.png"),
        ("val/val-org-img/{}.jpg", "val/val-label-img/{}_lab.png"),
        value=1,
    ),
    "BDD100K": tree(
        ("images/10k/train/{:04}.jpg", "labels/sem_seg/masks/train/{:04}.png"),
        ("images/10k/val/{:04}.jpg", "labels/sem_seg/masks/val/{:04}.png"),
        value=1,
    ),
    "UAVid": tree(("train/seq1/Images/{:06}.png", "train/seq1/Labels/{:06}.png"), value=1),
    "one flat folder": tree(("{}.jpg", "{}_mask.png")),
    "DeepGlobe roads": tree(("train/{}_sat.jpg", "train/{}_mask.png")),
    "CRACK500": tree(("traindata/2016_{}.jpg", "traindata/2016_{}.png")),
    "KITTI semantics": tree(("training/image_2/{:06}_10.png", "training/semantic/{:06}_10.png"), value=1),
    "HRF": tree(("images/{:02}_dr.jpg", "manual1/{:02}_dr.tif"), extra=("mask/{:02}_dr_mask.tif",)),
    "STARE": tree(("stare-images/im{:04}.ppm", "labels-ah/im{:04}.ah.ppm")),
    "HAM10000": tree(
        (
            "HAM10000_images_part_1/ISIC_1{:06}.jpg",
            "HAM10000_segmentations_lesion_tschandl/ISIC_1{:06}_segmentation.png",
        ),
        (
            "HAM10000_images_part_2/ISIC_2{:06}.jpg",
            "HAM10000_segmentations_lesion_tschandl/ISIC_2{:06}_segmentation.png",
        ),
    ),
    "LoveDA": tree(
        *[
            (f"{split}/{place}/images_png/{{}}.png", f"{split}/{place}/masks_png/{{}}.png")
            for split in ("Train", "Val")
            for place in ("Rural", "Urban")
        ],
        value=1,
        extra=("Test/Rural/images_png/{}.png",),
    ),
    "BDD100K of 2018": tree(
        *[(f"seg/images/{s}/{{:04}}-ab.jpg", f"seg/labels/{s}/{{:04}}-ab_train_id.png") for s in SPLITS[:2]],
        value=1,
        extra=("seg/color_labels/train/{:04}-ab_train_color.png",),
    ),
    "Inria Aerial": tree(
        ("AerialImageDataset/train/images/austin{}.tif", "AerialImageDataset/train/gt/austin{}.tif"),
        extra=("AerialImageDataset/test/images/tyrol{}.tif",),
    ),
    "GlaS": tree(("train_{}.bmp", "train_{}_anno.bmp"), ("testA_{}.bmp", "testA_{}_anno.bmp")),
    "an archive unpacked into a folder of its name": tree(("Kvasir-SEG/images/{}.jpg", "Kvasir-SEG/masks/{}.png")),
    "CrackForest, below two folders": tree(("archive/data/image/{:03}.jpg", "archive/data/seg/{:03}.png")),
    "LIP": tree(
        ("train_images/{:06}.jpg", "train_segmentations/{:06}.png"),
        ("val_images/{:06}.jpg", "val_segmentations/{:06}.png"),
        value=1,
    ),
}
# All others, by the reader that reads them.
OTHERS: dict[str, tuple[str, Make]] = {
    "PASCAL VOC": ("voc", voc),
    "ADE20K": ("ade20k", ade20k),
    "COCO": ("coco", coco),
    "Roboflow": ("coco", roboflow),
    "LabelMe": ("labelme", labelme),
    "CVAT": ("cvat", cvat),
    "Label Studio": ("label-studio", label_studio),
    "Airbus ships": ("rle-csv", airbus),
    "Cloud organization": ("rle-csv", clouds),
    "SBD": ("arrays", sbd),
    "stacks": ("arrays", stacks),
    "npy files": ("arrays", npy_files),
    "Decathlon": ("nifti", decathlon),
    "ACDC": ("nifti", acdc),
    "GeoTIFF": ("geotiff", geotiff),
    "Hugging Face": ("huggingface", huggingface),
    "Supervisely nested": ("supervisely", supervisely_nested),
    "AeroScapes": ("voc", aeroscapes),
    "Cityscapes, only val": ("cityscapes", cityscapes_val),
}
# Those whose masks mean what only people can say: what init proposes, and the labels of the box and around it after that.
CHOICES: dict[str, tuple[Make, str, list[int]]] = {
    "Potsdam": (
        coloured(("2_Ortho_RGB/top_potsdam_2_{}_RGB.tif", "5_Labels_all/top_potsdam_2_{}_label.tif")),
        "colours: {'#000000': background, '#ff0000': foreground}",
        [1, 0],
    ),
    "CamVid of Kaggle": (
        coloured(*[(f"{s}/{s}R0_{{:05}}.png", f"{s}_labels/{s}R0_{{:05}}_L.png") for s in SPLITS]),
        "colours: {'#000000': background, '#ff0000': foreground}",
        [1, 0],
    ),
    "DeepGlobe land cover": (
        coloured(("train/{}_sat.jpg", "train/{}_mask.png"), extra=("valid/{}_sat.jpg",)),
        "colours: {'#000000': background, '#ff0000': foreground}",
        [1, 0],
    ),
    "iSAID": (
        coloured(
            *[
                (f"{s}/images/images/P{{:04}}.png", f"{s}/Semantic_masks/images/P{{:04}}_instance_color_RGB.png")
                for s in SPLITS[:2]
            ],
            colour=(0, 0, 63),
            extra=("train/Instance_masks/images/P{:04}_instance_id_RGB.png",),
        ),
        "colours: {'#000000': background, '#00003f': foreground}",
        [1, 0],
    ),
    "SUIM": (
        coloured(("train_val/images/d_r_{}_.jpg", "train_val/masks/d_r_{}_.bmp"), colour=(0, 255, 255)),
        "colours: {'#000000': background, '#00ffff': foreground}",
        [1, 0],
    ),
    "CARLA": (
        coloured(("CameraRGB/{}.png", "CameraSeg/{}.png"), colour=(7, 0, 0)),
        "colours: {'#000000': background, '#070000': foreground}",
        [1, 0],
    ),
    "TGS Salt, masks as pictures": (salt, "values: {0: background, 65535: foreground}", [1, 0]),
    "REFUGE": (
        tree(
            ("Training400/Glaucoma/g{:04}.jpg", "Disc_Cup_Masks/Glaucoma/g{:04}.bmp"),
            ("Training400/Non-Glaucoma/n{:04}.jpg", "Disc_Cup_Masks/Non-Glaucoma/n{:04}.bmp"),
            value=128,
        ),
        "values: {0: background, 128: foreground}",
        [1, 0],
    ),
    "INRIA persons, masks of two greys": (
        tree(("img/{}.png", "gt/{}.png"), value=200),
        "values: {0: background, 200: foreground}",
        [1, 0],
    ),
}
NEEDS = {"coco": "pycocotools", "nifti": "nibabel", "geotiff": "rasterio", "huggingface": "datasets"}
