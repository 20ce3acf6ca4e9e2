"""Exports of real architectures: minutes, and therefore not part of the default suite."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from segstudy.errors import SegstudyError
from segstudy.exporting.proof import Watched
from segstudy.networks.build import import_smp
from segstudy.networks.export import FORMATS, Sizes, save_file, whole_network
from segstudy.schema import Inference


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    ("arch", "encoder"),
    [("unet", "resnet18"), ("pspnet", "resnet18"), ("upernet", "resnet18"), ("segformer", "mit_b0")],
)
def test_a_file_is_right_at_every_size_or_refused(kind: str, arch: str, encoder: str, tmp_path: Path) -> None:
    """A file for any size gives PyTorch's outputs at sizes that it was not traced with, or stops; one for one size is right."""
    for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
        pytest.importorskip(package, reason="pip install segstudy[onnx,openvino]")
    torch.manual_seed(0)
    network = whole_network(import_smp().create_model(arch, encoder, encoder_weights=None, classes=3), Inference())
    path = tmp_path / FORMATS[kind].file
    try:
        check(save_file(kind, network, path, Sizes(), 64, {}), network, [(64, 64), (96, 160), (33, 75)])
    except SegstudyError:  # stopped, or found out: the next file is for one size
        check(save_file(kind, network, path, Sizes(64), 64, {}), network, [(64, 64)])


def check(exported: nn.Module, network: nn.Module, sides: list[tuple[int, int]]) -> None:
    watched = Watched(exported, network)
    for height, width in sides:
        watched(torch.randn(3, 3, height, width))
    watched.seen.check()
