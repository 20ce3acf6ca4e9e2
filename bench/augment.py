"""Augmentation by segstudy, kornia and torchvision on the same batches, turn by turn, in one call.

    python bench/augment.py [--batch 16] [--size 256] [--rounds 7]

Times are processor time of one thread, so a busy machine has little effect. Each row is one kind of change, applied to
images and labels with separate parameters for each image. A library that takes one set of parameters per call is called
image by image. The table gives images per second (median over the rounds), then what each library does to labels, how
long it takes to import in addition to what training loads anyway, and its size on disk. Libraries that are not installed
are left out; ``pip install kornia`` to include it.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from segstudy.data.augment import CUTOUT_SHARES, between, make_augmenter
from segstudy.data.augmentations import AUGMENTATIONS
from segstudy.data.cache.batches import IMAGENET_MEAN
from segstudy.networks.build import import_smp
from segstudy.schema import Augment

KINDS = {
    "flip, zoom, rotation": Augment(flip_horizontal=0.5, scale=[0.8, 1.25], rotation_degrees=15),
    "colour, four ways": Augment(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.03),
    "blur of every image": Augment(blur=1),
    "noise on every image": Augment(noise=1),
    "cutout in every image": Augment(cutout=1),
    "all of these": Augment(
        **{"flip_horizontal": 0.5, "scale": [0.8, 1.25], "rotation_degrees": 15, "brightness": 0.3, "contrast": 0.3},
        **{"saturation": 0.3, "hue": 0.03, "blur": 1, "noise": 1, "cutout": 1},
    ),
}
BLUR_TAPS = 9
Batch = tuple[Tensor, Tensor]


def floats(images_nhwc: Tensor) -> Tensor:
    """Convert ``uint8`` (n, h, w, 3) to float32 (n, 3, h, w) in 0-1, the input of both libraries."""
    return images_nhwc.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def whole(images_nchw: Tensor) -> Tensor:
    """Convert back to ``uint8`` (n, h, w, 3)."""
    scaled = images_nchw.mul(255).round_().clamp_(0, 255)
    return scaled.to(torch.uint8, memory_format=torch.channels_last).permute(0, 2, 3, 1)


def by_segstudy(policy: Augment, batch: Batch, generator: torch.Generator) -> Batch:
    augmenter = make_augmenter(policy)
    assert augmenter is not None
    return augmenter(*batch, generator)


def kornia_matrices(policy: Augment, batch: Batch, generator: torch.Generator) -> Tensor:
    """Pixel matrices from image to result: zoom and rotation about the middle, then the flip."""
    from kornia.geometry.transform import get_rotation_matrix2d

    num_images, height, width = batch[1].shape
    middle = torch.tensor([[(width - 1) / 2, (height - 1) / 2]]).expand(num_images, 2)
    angle = (torch.rand(num_images, generator=generator) * 2 - 1) * policy.rotation_degrees
    least, most = policy.scale
    zoom = least * (most / least) ** torch.rand(num_images, generator=generator)
    matrix = get_rotation_matrix2d(middle, angle, zoom[:, None].expand(num_images, 2))
    flipped = torch.rand(num_images, generator=generator) < policy.flip_horizontal
    matrix[flipped, 0] *= -1
    matrix[flipped, 0, 2] += width - 1
    return matrix


def by_kornia(policy: Augment, batch: Batch, generator: torch.Generator) -> Batch:
    from kornia import enhance
    from kornia.filters import gaussian_blur2d
    from kornia.geometry.transform import warp_affine

    images, labels = floats(batch[0]), batch[1]
    num_images, height, width = labels.shape
    mean = torch.tensor(IMAGENET_MEAN)

    def about(centre: float, most: float) -> Tensor:
        return centre + (torch.rand(num_images, generator=generator) * 2 - 1) * most

    if policy.brightness:
        images = enhance.adjust_brightness(images, about(0, policy.brightness))
        images = enhance.adjust_contrast_with_mean_subtraction(images, about(1, policy.contrast))
        images = enhance.adjust_saturation(images, about(1, policy.saturation))
        images = enhance.adjust_hue(images, about(0, policy.hue * 2 * math.pi))
    if policy.blur:
        sigma = torch.rand(num_images, 1, generator=generator).expand(num_images, 2) + 0.3
        images = gaussian_blur2d(images, BLUR_TAPS, sigma)
    if policy.noise:
        images = images + 0.03 * torch.randn(images.shape, generator=generator)  # kornia's takes no generator
    if policy.rotation_degrees:
        matrix, size = kornia_matrices(policy, batch, generator), (height, width)
        fill = {"padding_mode": "fill", "align_corners": False}
        images = warp_affine(images, matrix, size, fill_value=mean, **fill)
        marks = warp_affine(
            labels[:, None].float(), matrix, size, mode="nearest", fill_value=torch.tensor([255.0]), **fill
        )
        labels = marks[:, 0].to(torch.uint8)
    if policy.cutout:  # kornia has none without its own random numbers
        images, labels = cut_one_by_one(images, labels, mean, generator)
    return whole(images), labels


def cut_one_by_one(images: Tensor, labels: Tensor, mean: Tensor, generator: torch.Generator) -> Batch:
    images, labels = images.clone(), labels.clone()
    height, width = labels.shape[1:]
    for image, label in zip(images, labels, strict=True):
        h, w = (int(between(CUTOUT_SHARES, torch.rand((), generator=generator)) * side) for side in (height, width))
        top, left = (int(torch.randint(0, side, (), generator=generator)) for side in (height - h, width - w))
        image[:, top : top + h, left : left + w] = mean[:, None, None]
        label[top : top + h, left : left + w] = 255
    return images, labels


def by_torchvision(policy: Augment, batch: Batch, generator: torch.Generator) -> Batch:
    """Torchvision's functions take one set of parameters per call and work on ``uint8``; each call rounds."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as tv

    images, labels = batch[0].permute(0, 3, 1, 2).contiguous(), batch[1]

    def number(centre: float, most: float) -> float:
        return centre + (float(torch.rand((), generator=generator)) * 2 - 1) * most

    done = []
    for image, label in zip(images, labels[:, None], strict=True):
        if policy.brightness:
            image = tv.adjust_brightness(image, number(1, policy.brightness))
            image = tv.adjust_contrast(image, number(1, policy.contrast))
            image = tv.adjust_saturation(image, number(1, policy.saturation))
            image = tv.adjust_hue(image, number(0, policy.hue))
        if policy.blur:
            image = tv.gaussian_blur(image, [BLUR_TAPS] * 2, [number(0.8, 0.5)] * 2)
        if policy.noise:  # its noise takes no generator
            noisy = image + 7.5 * torch.randn(image.shape, generator=generator)
            image = noisy.round_().clamp_(0, 255).to(torch.uint8)
        if policy.rotation_degrees:
            if number(0.5, 0.5) < policy.flip_horizontal:
                image, label = tv.horizontal_flip(image), tv.horizontal_flip(label)
            angle, zoom = number(0, policy.rotation_degrees), number(1, 0.2)
            fill = [255 * mean for mean in IMAGENET_MEAN]
            image = tv.affine(image, angle, [0, 0], zoom, [0, 0], InterpolationMode.BILINEAR, fill)
            label = tv.affine(label, angle, [0, 0], zoom, [0, 0], InterpolationMode.NEAREST, [255.0])
        done.append((image, label))
    images, labels = torch.stack([pair[0] for pair in done]), torch.stack([pair[1] for pair in done])[:, 0]
    if policy.cutout:
        images, labels = cut_one_by_one(images, labels, torch.tensor(IMAGENET_MEAN) * 255, generator)
    return images.permute(0, 2, 3, 1).contiguous(), labels


WAYS: dict[str, tuple[Callable[[Augment, Batch, torch.Generator], Batch], str]] = {
    "segstudy": (by_segstudy, "segstudy.data.augment"),
    "kornia": (by_kornia, "kornia"),
    "torchvision": (by_torchvision, "torchvision.transforms.v2"),
}


# What each way installs in addition to torch; segmentation-models-pytorch requires torchvision anyway.
PACKAGES = {"segstudy": (), "kornia": ("kornia", "kornia_rs"), "torchvision": ("torchvision",)}


def random_batch(num_images: int, size: int) -> Batch:
    """Random blocks, so that labels have edges to be exact at; labels 0 to 18 and 255."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 20, (num_images, size // 8, size // 8), generator=generator, dtype=torch.uint8)
    labels = labels.masked_fill(labels == 19, 255).repeat_interleave(8, 1).repeat_interleave(8, 2)
    return torch.randint(0, 256, (num_images, size, size, 3), generator=generator, dtype=torch.uint8), labels


def time_ways(ways: list[str], policy: Augment, batch: Batch, rounds: int) -> dict[str, float]:
    """Images per second of each way: the median over the rounds. Each round times every way in turn."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for round_ in range(rounds + 1):
        for way in ways:
            generator = torch.Generator().manual_seed(round_)
            started = time.process_time()
            WAYS[way][0](policy, batch, generator)
            seconds[way].append(time.process_time() - started)
    return {way: len(batch[1]) / statistics.median(times[1:]) for way, times in seconds.items()}


def foreign_labels(way: str, batch: Batch, tries: int = 20) -> int:
    """Pixels in ``tries`` batches whose label is neither one of the batch's nor 255."""
    allowed = torch.unique(batch[1])
    results = [
        WAYS[way][0](KINDS["flip, zoom, rotation"], batch, torch.Generator().manual_seed(k))[1] for k in range(tries)
    ]
    return sum(int((~torch.isin(labels, allowed)).sum()) for labels in results)


def untouched(way: str, batch: Batch) -> bool:
    """Whether an image without flip, zoom and rotation keeps every pixel and label."""
    still = Augment(scale=[1.0, 1.0], rotation_degrees=1e-300)  # a rotation, so that the way is gone, of no angle
    images, labels = WAYS[way][0](still, batch, torch.Generator().manual_seed(0))
    return torch.equal(images, batch[0]) and torch.equal(labels, batch[1])


def import_seconds(module: str) -> float:
    """Seconds to import ``module`` in addition to what training loads anyway; the minimum of three."""
    code = (
        "import time; from segstudy.networks.build import import_smp; import_smp(); import segstudy.data.cache.batches\n"
        f"started = time.perf_counter(); import {module}; print(time.perf_counter() - started)"
    )
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(3)]
    return min(float(run.stdout) for run in runs)


def megabytes(*packages: str) -> float:
    """Size on disk of installed packages, MB (10^6 bytes)."""
    files = [file.locate() for name in packages for file in importlib.metadata.files(name) or ()]
    return sum(Path(file).stat().st_size for file in files if Path(file).is_file()) / 1e6


def rounding(batch: Batch) -> float:
    """Root mean square of what rounding to ``uint8`` changes, in steps of 255, for a batch turned and recoloured."""
    augmenter = make_augmenter(KINDS["all of these"])
    assert augmenter is not None
    rounded, _ = augmenter(*batch, torch.Generator().manual_seed(0))
    exact, _ = augmenter.unrounded(*batch, torch.Generator().manual_seed(0))
    return float((rounded - exact.clamp(0, 255).permute(0, 2, 3, 1)).square().mean().sqrt())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    import_smp()  # lets torchvision load with a torch without CUDA
    ways = [way for way in WAYS if way == "segstudy" or importlib.util.find_spec(way)]
    batch = random_batch(arguments.batch, arguments.size)
    print(f"{arguments.batch} images of {arguments.size} px, one thread, median of {arguments.rounds} rounds, images/s")
    print(f"{'':24}" + "".join(f"{way:>14}" for way in ways))
    for kind, policy in KINDS.items():
        speeds = time_ways(ways, policy, batch, arguments.rounds)
        print(f"{kind:24}" + "".join(f"{speeds[way]:14.0f}" for way in ways))
    for name in ("light", "strong"):
        print(
            f"{'policy ' + name:24}{time_ways(['segstudy'], AUGMENTATIONS.table[name], batch, arguments.rounds)['segstudy']:14.0f}"
        )
    facts: dict[str, Callable[[str], str]] = {
        "labels not of the set": lambda way: str(foreign_labels(way, batch)),
        "still image, bit for bit": lambda way: "kept" if untouched(way, batch) else "changed",
        "import, s": lambda way: f"{import_seconds(WAYS[way][1]):.2f}",
        "on disk, MB": lambda way: f"{megabytes(*PACKAGES[way]):.0f}",
    }
    for title, fact in facts.items():
        print(f"{title:24}" + "".join(f"{fact(way):>14}" for way in ways))
    print(f"rounding to uint8 costs {rounding(batch):.3f} steps of 255 (root mean square)")


if __name__ == "__main__":
    main()
