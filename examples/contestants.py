"""Networks from elsewhere for ``person-contestants.yaml``: a callable, and files that this script writes.

``python examples/contestants.py elsewhere`` writes ``centre.onnx`` (a person stands in the middle) and ``segformer/`` (a
Hugging Face folder with random weights). It needs the packages onnx and transformers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

SIDE = 96


def grabcut(images: Tensor) -> Tensor:
    """Labels (n, h, w) by GrabCut (Rother et al. 2004), which learns the colours of each image from a box in its middle."""
    return torch.stack([torch.from_numpy(_cut(image)) for image in images.permute(0, 2, 3, 1).byte().numpy()])


def _cut(rgb: np.ndarray) -> np.ndarray:
    height, width, _ = rgb.shape
    box = (width // 4, height // 20, width // 2, height * 18 // 20)
    mask, background, foreground = np.zeros((height, width), np.uint8), np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(np.ascontiguousarray(rgb), mask, box, background, foreground, 5, cv2.GC_INIT_WITH_RECT)
    return (mask % 2).astype(np.int64)


def write_centre(path: Path) -> None:
    """An ONNX network that ignores its image: one logit, positive within an ellipse in the middle."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rows, columns = np.meshgrid(*[np.linspace(-1, 1, SIDE, dtype=np.float32)] * 2, indexing="ij")
    logit = (1 - (columns / 0.35) ** 2 - (rows / 0.95) ** 2)[None, None]
    nodes = [
        helper.make_node("Mul", ["image", "zero"], ["nothing"]),
        helper.make_node("ReduceSum", ["nothing", "channel"], ["empty"], keepdims=1),
        helper.make_node("Add", ["empty", "logit"], ["person"]),
    ]
    values = {"zero": np.float32(0), "channel": np.array([1]), "logit": logit}
    graph = helper.make_graph(
        nodes,
        "centre",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, SIDE, SIDE])],
        [helper.make_tensor_value_info("person", TensorProto.FLOAT, ["n", 1, SIDE, SIDE])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def write_segformer(folder: Path) -> None:
    """A small SegFormer with random weights, as Hugging Face's libraries save it."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(0)
    config = SegformerConfig(
        hidden_sizes=[16, 32, 64, 128],
        depths=[1, 1, 1, 1],
        decoder_hidden_size=32,
        id2label={0: "background", 1: "person"},
        label2id={"background": 0, "person": 1},
    )
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(size={"height": SIDE, "width": SIDE}).save_pretrained(folder)


if __name__ == "__main__":
    from segstudy.networks.build import prepare_torchvision

    prepare_torchvision()  # transformers imports torchvision, whose PyPI build needs a CUDA build of torch
    target = Path(sys.argv[1] if len(sys.argv) > 1 else "elsewhere")
    target.mkdir(parents=True, exist_ok=True)
    write_centre(target / "centre.onnx")
    write_segformer(target / "segformer")
