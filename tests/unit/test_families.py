"""Networks of other libraries, built by their names and options."""

from __future__ import annotations

import pytest
import torch

from elsewhere import NEEDED, SEGFORMER, SMALL, check_network
from segstudy.errors import SegstudyError
from segstudy.networks.build import NETWORKS, build_network
from segstudy.networks.families import LogitsOf
from segstudy.schema import Model

QUICK = ("torchvision-lraspp", "huggingface-segformer")  # all of them are in tests/slow


@pytest.mark.parametrize("name", QUICK)
def test_a_network_of_another_library_trains(name: str) -> None:
    check_network(name)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            Model(arch="unet", options={"decodr_channels": [8]}),
            r"no option 'decodr_channels' \(did you mean 'decoder_channels'\?\)",
        ),
        (
            Model(arch="torchvision-lraspp", options={"imagnet": True}),
            r"imagnet: unknown option \(did you mean 'imagenet'\?\)",
        ),
        (
            Model(arch="torchvision-fcn", options={"backbone": "vgg"}),
            r"model.options.backbone: should be 'resnet50' or 'resnet101'",
        ),
        (Model(arch="torchvision-lraspp", output_stride=8), "model.output_stride: does not apply to the network"),
    ],
)
def test_a_wrong_option_is_a_message(model: Model, message: str) -> None:
    with pytest.raises(SegstudyError, match=message):
        build_network(model, 2, 0)


def test_pretrained_tensors_are_taken_and_outputs_of_other_classes_are_not() -> None:
    pytest.importorskip("transformers")
    model = Model(arch="huggingface-segformer", weights="none", options={"config": SEGFORMER})
    theirs, ours = build_network(model, 5, 1), build_network(model, 3, 2)
    assert isinstance(theirs, LogitsOf) and isinstance(ours, LogitsOf)
    head = ours.network.state_dict()["decode_head.classifier.weight"].clone()
    ours.load_pretrained(theirs.network.state_dict(), "theirs")
    now, given = ours.network.state_dict(), theirs.network.state_dict()
    torch.testing.assert_close(now["decode_head.classifier.weight"], head)
    for name in now:
        if "classifier" not in name:
            torch.testing.assert_close(now[name], given[name])
    with pytest.raises(
        SegstudyError, match=r"theirs: does not fit the network: \d+ missing .*model.options must describe"
    ):
        ours.load_pretrained({"segformer.other": torch.zeros(1)}, "theirs")


def test_every_network_of_the_table_has_a_small_form() -> None:
    assert set(SMALL) <= set(NETWORKS.table) and {name.split("-")[0] for name in NETWORKS.table} == set(NEEDED)
