"""Fit what ``segstudy audit --images`` assumes about scores to real trainings: ``python bench/noise.py``.

The intervals are those of docs/results.md, "Three seeds at 128 px": 200 test images of Kvasir-SEG, 3 seeds, a U-Net with
pretrained weights, one without, and a DeepLabV3. The half-width of an interval is assumed to be 1.96 standard errors. The
true quantile is larger, so the deviations are upper bounds. They describe the contribution of an image to the score over
all pixels, to first order, not the score of a single image.
"""

from __future__ import annotations

import math

IMAGES, SEEDS, QUANTILE = 200, 3, 1.96
NETWORKS = ("unet", "unet-noimagenet", "deeplabv3")
INTERVALS = {
    "mIoU": ((0.804, 0.844), (0.567, 0.622), (0.752, 0.792)),
    "mDice": ((0.886, 0.912), (0.683, 0.737), (0.849, 0.878)),
    "pixel accuracy": ((0.938, 0.955), (0.846, 0.882), (0.918, 0.938)),
}
SCORES = {"mIoU": (0.825, 0.594, 0.773), "mDice": (0.900, 0.711, 0.864), "pixel accuracy": (0.947, 0.865, 0.929)}
SEED_SD = (0.0015, 0.0105, 0.0028)  # of mIoU
SEED_SD_256 = (0.008, 0.024, 0.004)  # of mIoU, the same three networks with ResNet-50 at 256 px
DIFFERENCES = {"unet-noimagenet": (-0.257, -0.205), "deeplabv3": (-0.061, -0.044)}  # of mIoU, from unet


def variance(interval: tuple[float, float]) -> float:
    return ((interval[1] - interval[0]) / 2 / QUANTILE) ** 2


def slope(measure: str, other: int) -> float:
    """Change of a measure per change of mIoU, from unet to another network."""
    return (SCORES[measure][0] - SCORES[measure][other]) / (SCORES["mIoU"][0] - SCORES["mIoU"][other])


def image_sd(measure: str, network: int) -> float:
    """Standard deviation of the contribution of one image: the variance that remains without the seeds'."""
    seeds = (slope(measure, network or 2) * SEED_SD[network]) ** 2 / SEEDS
    return math.sqrt((variance(INTERVALS[measure][network]) - seeds) * IMAGES)


def correlation(other: int) -> float:
    """Correlation of the images' mIoU between unet and another network."""
    one, two = image_sd("mIoU", 0), image_sd("mIoU", other)
    seeds = (SEED_SD[0] ** 2 + SEED_SD[other] ** 2) / SEEDS
    images = (variance(DIFFERENCES[NETWORKS[other]]) - seeds) * IMAGES
    return (one**2 + two**2 - images) / (2 * one * two)


def main() -> None:
    print("| deviation of an image | " + " | ".join(NETWORKS) + " | mean |\n|---|---|---|---|---|")
    for measure in INTERVALS:
        found = [image_sd(measure, network) for network in range(3)]
        print(f"| {measure} | {' | '.join(f'{each:.3f}' for each in found)} | {sum(found) / 3:.3f} |")
    alike, unlike = correlation(2), correlation(1)
    print(
        f"\ncorrelation with unet: deeplabv3 {alike:.2f}, unet-noimagenet {unlike:.2f}, mean {(alike + unlike) / 2:.2f}"
    )
    pretrained = [SEED_SD[0], SEED_SD[2], SEED_SD_256[0], SEED_SD_256[2]]
    seed_sd = math.sqrt(sum(each**2 for each in pretrained) / len(pretrained))
    for measure in INTERVALS:
        by = (slope(measure, 1) + slope(measure, 2)) / 2
        print(f"deviation over seeds of {measure}, pretrained: {by * seed_sd:.4f}")


if __name__ == "__main__":
    main()
