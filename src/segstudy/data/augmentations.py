"""Named augmentations. A new one is a policy, or a function, and a line in ``AUGMENTATIONS``.

This module loads no torch, as study files are checked against it; :mod:`segstudy.data.augment` carries the policies out.
"""

from __future__ import annotations

from typing import Any

from segstudy.doors import Door
from segstudy.named import Choice, Frozen, as_choice
from segstudy.schema import Augment


def as_augmentation(name: str, found: Any) -> Choice:
    """An entry of the table: a policy, or a function of images, labels and a random generator."""
    return Choice(lambda: found, Frozen) if isinstance(found, Augment) else as_choice("augmentation", 3)(name, found)


# What ``recipe.augment`` may name: a policy; or a function of images (n, h, w, 3), labels (n, h, w), both uint8, and a
# torch.Generator of the CPU, to changed images and labels; parameters after these three are its options.
# A change of a policy changes results under the same name: raise RESULT_VERSION in plan.py.
AUGMENTATIONS = Door(
    "augmentation",
    {
        "none": Augment(),
        "light": Augment(flip_horizontal=0.5, scale=[0.9, 1.25], rotation_degrees=5, brightness=0.1, contrast=0.1),
        "strong": Augment(
            flip_horizontal=0.5,
            scale=[0.75, 1.8],
            rotation_degrees=15,
            brightness=0.3,
            contrast=0.3,
            saturation=0.3,
            hue=0.03,
            blur=0.2,
            noise=0.2,
            cutout=0.2,
        ),
    },
    as_augmentation,
)
