"""Random changes of training batches, on the device of the batch; every image has its own draw.

A batch passes three stages: camera effects (colour, blur, noise), geometry (flips, zoom, rotation) and occlusion (cutout).
The second stage is one resampling, bilinear for images and nearest for labels, so quality is lost only once; an image
without a geometric change is not resampled. Pixels outside the image or under a cutout get ImageNet's mean colour, which
normalises to 0, and label 255: the network is not trained on what it cannot see.

All random numbers of a batch are drawn at once, on the CPU, whether the policy uses them or not. A GPU therefore makes the
same changes as the CPU, and two policies that differ in one value make the same draws for all other values.

``bench/augment.py`` and the table in ``docs/reference/augmentation.md`` show why this is plain torch, not kornia or
torchvision.

Array letters: ``n`` image of the batch, ``c`` colour channel, ``h`` height, ``w`` width, ``t`` tap of a filter.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from segstudy.data.augmentations import AUGMENTATIONS
from segstudy.data.cache.batches import IMAGENET_MEAN
from segstudy.data.core import IGNORE
from segstudy.doors import calling
from segstudy.errors import SpecError, listing
from segstudy.named import Frozen
from segstudy.schema import Augment, AugmentPart

# Strength of each change, uniform between the two values. A study file sets only its probability.
BLUR_SHARES = (0.001, 0.005)  # standard deviation of the blur, relative to the shorter side
NOISE_SHARES = (0.01, 0.05)  # standard deviation of the noise, relative to the brightest value
CUTOUT_SHARES = (0.1, 0.3)  # sides of the rectangle, relative to the image's

# The random numbers of one image, each uniform in [0, 1). Add new ones at the end, so that the others do not change.
DRAWN = (
    *("flip_horizontal", "flip_vertical", "zoom", "rotation", "across", "down"),
    *("brightness", "contrast", "saturation", "hue"),
    *("blur", "blur_strength", "noise", "noise_strength"),
    *("cutout", "cutout_height", "cutout_width", "cutout_top", "cutout_left"),
)

# RGB to luminance and two axes of colour (NTSC's YIQ; FCC 1953): grey has no colour, so rotating hues keeps it.
YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]], dtype=torch.float64)


@dataclass(frozen=True)
class Draws:
    """The changes of each image of one batch; all tensors are on the CPU.

    ``sight_n23``: the source of each pixel of the result, in ``grid_sample``'s coordinates (-1 to 1 over the image).
    ``colour_n33``, ``grey_n``: the colours ``x`` become ``colour_n33 @ x + grey_n * mean luminance``.
    ``blur_n`` in pixels and ``noise_n`` in steps of 255 are standard deviations, 0 for none; ``noise_seed``
    seeds the noise. ``cutout_n4``: first and past-the-last row, then column, in pixels; equal for none.
    """

    sight_n23: Tensor
    moved_n: Tensor
    colour_n33: Tensor
    grey_n: Tensor
    blur_n: Tensor
    noise_n: Tensor
    noise_seed: int
    cutout_n4: Tensor


def draw(policy: Augment, num_images: int, height: int, width: int, generator: torch.Generator) -> Draws:
    """Draw the changes of ``num_images`` images; every policy advances the generator by the same amount."""
    numbers = torch.rand((num_images, len(DRAWN)), generator=generator, dtype=torch.float64)
    seed = int(torch.randint(2**62, (), generator=generator))
    u = dict(zip(DRAWN, numbers.unbind(dim=1), strict=True))
    sight, moved = _sight(policy, u, height, width)
    colour, grey = _colour(policy, u)
    blurred, noisy, hidden = u["blur"] < policy.blur, u["noise"] < policy.noise, u["cutout"] < policy.cutout
    return Draws(
        sight_n23=sight.float(),
        moved_n=moved,
        colour_n33=colour.float(),
        grey_n=grey.float(),
        blur_n=(between(BLUR_SHARES, u["blur_strength"]) * min(height, width) * blurred).float(),
        noise_n=(between(NOISE_SHARES, u["noise_strength"]) * 255 * noisy).float(),
        noise_seed=seed,
        cutout_n4=_cutout(u, height, width) * hidden[:, None],
    )


def between(ends: tuple[float, float], u: Tensor) -> Tensor:
    """Numbers in [0, 1) scaled to the range ``ends``."""
    return ends[0] + (ends[1] - ends[0]) * u


def _around_zero(most: float, u: Tensor) -> Tensor:
    return between((-most, most), u)


def _sight(policy: Augment, u: Mapping[str, Tensor], height: int, width: int) -> tuple[Tensor, Tensor]:
    """Matrices from coordinates of the result to those of the image, and which of them change anything.

    The zoom is uniform in its logarithm, so that half and double are equally likely. When zooming in, the window is placed
    anywhere inside the image; when zooming out, the image is placed anywhere inside the result. Angles are measured in
    pixels, also for images that are not square.
    """
    least, most = policy.scale
    zoom = least * (most / least) ** u["zoom"]
    angle = _around_zero(math.radians(policy.rotation_degrees), u["rotation"])
    across = 1 - 2 * (u["flip_horizontal"] < policy.flip_horizontal).double()
    down = 1 - 2 * (u["flip_vertical"] < policy.flip_vertical).double()
    room = (1 - 1 / zoom).abs()
    cos, sin = angle.cos() / zoom, angle.sin() / zoom
    rows = [
        torch.stack([across * cos, across * -sin * height / width, _around_zero(1, u["across"]) * room], dim=1),
        torch.stack([down * sin * width / height, down * cos, _around_zero(1, u["down"]) * room], dim=1),
    ]
    return torch.stack(rows, dim=1), (across < 0) | (down < 0) | (zoom != 1) | (angle != 0)


def _colour(policy: Augment, u: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Brightness, contrast, saturation and hue as one colour matrix and one share of the mean luminance.

    Brightness multiplies, contrast stretches about the mean luminance, saturation stretches a colour's distance from its
    grey, and hue rotates about the grey axis. All four are linear, so they form one matrix without clipping in between.
    """
    brightness = 1 + _around_zero(policy.brightness, u["brightness"])
    contrast = 1 + _around_zero(policy.contrast, u["contrast"])
    saturation = 1 + _around_zero(policy.saturation, u["saturation"])
    turn = _around_zero(2 * math.pi * policy.hue, u["hue"])
    cos, sin = saturation * turn.cos(), saturation * turn.sin()
    chroma = torch.eye(3, dtype=torch.float64).repeat(len(turn), 1, 1)
    chroma[:, 1:, 1:] = torch.stack([torch.stack([cos, -sin], dim=1), torch.stack([sin, cos], dim=1)], dim=1)
    matrix = torch.linalg.inv(YIQ) @ chroma @ YIQ
    return (brightness * contrast)[:, None, None] * matrix, (1 - contrast) * brightness


def _cutout(u: Mapping[str, Tensor], height: int, width: int) -> Tensor:
    """One rectangle per image, completely inside it: (n, 4) first and past-the-last row, then column."""
    ends = []
    for side, extent, start in ((height, "cutout_height", "cutout_top"), (width, "cutout_width", "cutout_left")):
        length = (between(CUTOUT_SHARES, u[extent]) * side).round()
        first = (u[start] * (side - length + 1)).floor()
        ends += [first, first + length]
    return torch.stack(ends, dim=1).long()


@dataclass(frozen=True)
class Augmenter:
    """Changes batches according to ``policy``.

    Takes and returns images ``uint8`` RGB (n, h, w, 3) and labels ``uint8`` (n, h, w) on one device, so it fits between
    reading a batch and normalising it. Internally, images are float32. They are rounded once, at the end, which adds a root
    mean square error of 0.29 of 255 steps (0.005 after normalisation).
    """

    policy: Augment

    def __call__(self, images_nhwc: Tensor, labels_nhw: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return changed images and labels; the inputs are not modified.

        ``generator`` is on the CPU, for a batch on any device. Nothing here waits for the device.
        """
        images, labels = self.unrounded(images_nhwc, labels_nhw, generator)
        whole = images.round_().clamp_(0, 255).to(torch.uint8, memory_format=torch.channels_last)
        return whole.permute(0, 2, 3, 1), labels

    def unrounded(self, images_nhwc: Tensor, labels_nhw: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The same with images as float32 (n, 3, h, w) before rounding; values can be outside 0 to 255."""
        num_images, height, width = labels_nhw.shape
        draws = draw(self.policy, num_images, height, width, generator)
        images = images_nhwc.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        images = _photograph(images, self.policy, draws)
        images, labels = _move(images, labels_nhw, draws)
        return _cover(images, labels, draws)


Change = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor]]


def find_policy(augment: str | AugmentPart | Augment, folder: str = "") -> Augment | None:
    """The policy of a recipe's ``augment``; None for a user's function."""
    if isinstance(augment, Augment):
        return augment
    found = AUGMENTATIONS.find(augment if isinstance(augment, str) else augment.name, folder)
    policy = found.function() if found.options is Frozen else None
    return policy if isinstance(policy, Augment) else None


def make_augmenter(augment: str | AugmentPart | Augment, folder: str = "", num_classes: int = IGNORE) -> Change | None:
    """The augmenter of a recipe's ``augment``; None for a policy that changes nothing.

    ``folder`` contains the study file. Labels of a user's function must be below ``num_classes`` or 255.
    """
    policy = find_policy(augment, folder)
    if policy is not None:
        return None if policy == Augment() else Augmenter(policy)
    assert not isinstance(augment, Augment)
    name, options = (augment, {}) if isinstance(augment, str) else (augment.name, augment.own_options())
    function = functools.partial(AUGMENTATIONS.find(name, folder).function, **options)
    return functools.partial(_called, name, num_classes, function)


def _called(
    name: str,
    num_classes: int,
    function: Callable[..., Any],
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
) -> Any:
    """Call a user's augmentation and check what it returns."""
    with calling(f"recipe.augment '{name}'"):
        changed = function(images, labels, generator)
    pair = changed if isinstance(changed, tuple) and len(changed) == 2 else (None, None)
    for what, before, after in zip(("images", "labels"), (images, labels), pair, strict=True):
        if not isinstance(after, Tensor) or after.shape != before.shape or after.dtype != before.dtype:
            given = f"{after.dtype} {tuple(after.shape)}" if isinstance(after, Tensor) else type(after).__name__
            raise SpecError(
                f"recipe.augment '{name}': must return (images, labels) of the same shapes and types; its {what} are {given}, "
                f"not {before.dtype} {tuple(before.shape)}"
            )
    moved = pair[1]
    assert moved is not None
    if strange := moved[(moved >= num_classes) & (moved != IGNORE)].unique().tolist():
        raise SpecError(
            f"recipe.augment '{name}': returned the labels {listing(strange)}; must be 0 to {num_classes - 1}, or "
            f"{IGNORE} to ignore"
        )
    return pair


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The generator of one epoch's augmentation; it depends only on seed and epoch, so a resumed run continues identically."""
    state = np.random.SeedSequence([seed, epoch, 1]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)


def _photograph(images_nchw: Tensor, policy: Augment, draws: Draws) -> Tensor:
    """Apply colour, blur and noise; values can leave 0-255."""
    device = images_nchw.device
    if policy.brightness or policy.contrast or policy.saturation or policy.hue:
        luminance_n = images_nchw.mean(dim=(2, 3)) @ _there(YIQ[0].float(), device)
        offset_n = _there(draws.grey_n, device) * luminance_n
        flat = torch.baddbmm(offset_n[:, None, None], _there(draws.colour_n33, device), images_nchw.flatten(2))
        images_nchw = flat.view_as(images_nchw)
    if (blurred := _chosen(draws.blur_n > 0, device)) is not None:
        changed = gaussian_blur(images_nchw[blurred], draws.blur_n[draws.blur_n > 0])
        images_nchw = _put(images_nchw, blurred, changed)
    if (noisy := _chosen(draws.noise_n > 0, device)) is not None:
        strength_n = draws.noise_n[draws.noise_n > 0]
        generator = torch.Generator().manual_seed(draws.noise_seed)
        noise = torch.randn((len(strength_n), *images_nchw.shape[1:]), generator=generator)
        images_nchw[noisy] += _there(noise.mul_(strength_n[:, None, None, None]), device)
    return images_nchw


def gaussian_blur(images_nchw: Tensor, sigma_n: Tensor) -> Tensor:
    """Blur each image by its own standard deviation in pixels, truncated at three of the largest; edges are repeated."""
    num_images, num_channels, height, width = images_nchw.shape
    reach = math.ceil(3 * float(sigma_n.max()))
    weights_nt = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sigma_n[:, None]) ** 2)
    weights_nt = _there(weights_nt / weights_nt.sum(dim=1, keepdim=True), images_nchw.device)
    planes = num_images * num_channels  # each is filtered separately, horizontally, then vertically
    across = weights_nt.repeat_interleave(num_channels, dim=0)[:, None, None, :]
    flat = images_nchw.reshape(1, planes, height, width)
    flat = F.conv2d(F.pad(flat, (reach, reach, 0, 0), mode="replicate"), across, groups=planes)
    flat = F.conv2d(F.pad(flat, (0, 0, reach, reach), mode="replicate"), across.transpose(2, 3), groups=planes)
    return flat.view_as(images_nchw)


def _move(images_nchw: Tensor, labels_nhw: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Resample the images with a geometric change once, and their labels with the same grid."""
    device = images_nchw.device
    if (moved := _chosen(draws.moved_n, device)) is None:
        return images_nchw, labels_nhw
    mean = _mean_colour(device)
    seen = images_nchw[moved] - mean  # pixels outside are sampled as 0, so 0 must be the mean colour, and 255 in labels
    marks = labels_nhw[moved].float().sub_(IGNORE)[:, None]
    grid = F.affine_grid(_there(draws.sight_n23[draws.moved_n], device), list(seen.shape), align_corners=False)
    seen = F.grid_sample(seen, grid, mode="bilinear", align_corners=False).add_(mean)
    marks = F.grid_sample(marks, grid, mode="nearest", align_corners=False)[:, 0].add_(IGNORE)
    return _put(images_nchw, moved, seen), _put(labels_nhw.clone(), moved, marks.to(torch.uint8))


def _cover(images_nchw: Tensor, labels_nhw: Tensor, draws: Draws) -> tuple[Tensor, Tensor]:
    """Cover the images that draw a cutout with a rectangle."""
    device = images_nchw.device
    covered_n = draws.cutout_n4[:, 1] > 0
    if (covered := _chosen(covered_n, device)) is None:
        return images_nchw, labels_nhw
    height, width = images_nchw.shape[2:]
    top, bottom, left, right = _there(draws.cutout_n4[covered_n], device)[:, :, None, None].unbind(dim=1)
    row, column = torch.arange(height, device=device)[:, None], torch.arange(width, device=device)
    hidden = (row >= top) & (row < bottom) & (column >= left) & (column < right)
    images = torch.where(hidden[:, None], _mean_colour(device), images_nchw[covered])
    labels = labels_nhw[covered].masked_fill(hidden, IGNORE)
    return _put(images_nchw, covered, images), _put(labels_nhw.clone(), covered, labels)


def _chosen(chosen_n: Tensor, device: torch.device) -> slice | Tensor | None:
    """Index of the images of a batch that change: a slice (without a copy) for all, None for none."""
    if chosen_n.all():
        return slice(None)
    return _there(chosen_n.nonzero()[:, 0], device) if chosen_n.any() else None


def _put(values: Tensor, chosen: slice | Tensor, changed: Tensor) -> Tensor:
    """``values`` with the chosen images replaced: written into it, or the new values if all images are chosen."""
    return changed if isinstance(chosen, slice) else values.index_copy_(0, chosen, changed)


def _there(values: Tensor, device: torch.device) -> Tensor:
    """Copy drawn numbers to the device, without waiting for it."""
    return values.to(device, non_blocking=True)


def _mean_colour(device: torch.device) -> Tensor:
    """ImageNet's mean colour of 0-255 values, (3, 1, 1)."""
    return _there(torch.tensor(IMAGENET_MEAN)[:, None, None] * 255, device)
