"""Sizes that are not square: one setting however they are spelled, and height before width everywhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from segstudy.data.cache.arrays import resize_pair
from segstudy.data.cache.batches import crop_window
from segstudy.plan import make_plan
from segstudy.predict import predict_labels
from segstudy.report.wording import change_words, short_words
from segstudy.schema import Recipe
from segstudy.spec import parse_study

STUDY = """
name: s
data: {{d: {{reader: folder, root: x}}}}
recipe: {{input_size: {size}}}
experiments:
  unet: {{data: d, model: {{arch: unet}}}}
  other: {{base: unet, change: {{{change}}}}}
seeds: [1]
"""


def identities(size: Any, change: str = "recipe.batch_size: 2") -> list[str]:
    return [run.identity for run in make_plan(parse_study(STUDY.format(size=size, change=change))).runs]


def test_two_equal_sides_are_a_square() -> None:
    assert identities(64) == identities("[64, 64]")
    assert len({*identities(64), *identities("[64, 128]"), *identities("[128, 64]")}) == 6
    recipe = Recipe(input_size=[64, 128], crop_px=(32, 32))
    assert (recipe.input_size, recipe.crop_px, recipe.trained_px, recipe.resized_px) == ((64, 128), 32, 32, None)
    assert Recipe(input_size=[64, 128]).trained_px == (64, 128)


@pytest.mark.parametrize("wrong", [31, [31, 64], [64], [64, 64, 64], [64, 4097], "64", [64, True], 64.5, []])
def test_what_is_no_size_is_refused(wrong: Any) -> None:
    given = wrong if wrong != [64] else [64, "a"]
    with pytest.raises(ValidationError, match=r"must be a side or \[height, width\]"):
        Recipe(input_size=given)


def test_a_change_of_size_is_said_height_first() -> None:
    plan = make_plan(parse_study(STUDY.format(size=64, change="recipe.input_size: [64, 128]")))
    variation = plan.first("other").variation
    assert variation is not None and variation.changes == {"recipe.input_size": (64, [64, 128])}
    assert change_words(variation.changes) == "64x128 instead of 64 pixels of input"
    assert short_words(variation.changes) == "64x128 px"


def test_images_are_resized_to_height_and_width() -> None:
    image = Image.fromarray(np.zeros((10, 20, 3), np.uint8))
    small, labels = resize_pair(image, np.ones((10, 20), np.uint8), (32, 48))
    assert small.shape == (32, 48, 3) and labels.shape == (32, 48)


def test_a_crop_is_as_high_and_wide_as_asked_and_that_of_a_square_is_what_it_was() -> None:
    rng = np.random.default_rng(0)
    top, left, height, width = crop_window(100, 200, (40, 150), rng)
    assert (height, width) == (40, 150) and 0 <= top <= 60 and 0 <= left <= 50
    assert crop_window(30, 200, (40, 150), rng)[2:] == (30, 150)
    same = [crop_window(100, 200, size, np.random.default_rng(5)) for size in (64, (64, 64))]
    assert same[0] == same[1]


def test_predict_gives_the_network_the_size_it_was_trained_at() -> None:
    class Network(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.seen = tuple(images.shape)
            return torch.stack([images[:, 0], -images[:, 0]], dim=1)

    network = Network()
    image = Image.fromarray(np.zeros((10, 20, 3), np.uint8))
    assert predict_labels(network, image, (32, 64), torch.device("cpu")).shape == (10, 20)
    assert network.seen == (1, 3, 32, 64)
