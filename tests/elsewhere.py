"""Networks of other libraries in a small form, and what holds for each of them."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from segstudy.networks.build import build_network
from segstudy.schema import Model

SEGFORMER = {
    "hidden_sizes": [8, 8, 16, 16],
    "depths": [1] * 4,
    "decoder_hidden_size": 8,
    "num_attention_heads": [1] * 4,
}
STAGES = [f"stage{k}" for k in (1, 2, 3, 4)]
SWIN = {"model_type": "swin", "embed_dim": 12, "depths": [1] * 4, "num_heads": [1, 1, 2, 2], "window_size": 4}
SMALL = {
    "huggingface-segformer": {"config": SEGFORMER},
    "huggingface-upernet": {"config": {"backbone_config": {**SWIN, "out_features": STAGES}, "hidden_size": 16}},
    "huggingface-mask2former": {
        "config": {
            "backbone_config": {**SWIN, "out_features": STAGES},
            **dict.fromkeys(("feature_size", "mask_feature_size", "hidden_dim"), 32),
            **dict.fromkeys(("encoder_feedforward_dim", "dim_feedforward"), 16),
            **{"encoder_layers": 1, "decoder_layers": 2, "num_attention_heads": 2, "num_queries": 5},
        }
    },
    "monai-unet": {"channels": [4, 8, 16]},
    "monai-segresnet": {"init_filters": 8},
    "monai-swinunetr": {"feature_size": 12},
    "torchvision-deeplabv3": {"backbone": "mobilenet_v3_large"},
}
NEEDED = {"huggingface": "transformers", "monai": "monai", "torchvision": "torchvision"}


def check_network(name: str) -> None:
    """Logits at the images' size, a gradient for every parameter, the same seed the same values."""
    needed = [NEEDED[name.split("-")[0]], *(["einops"] if name == "monai-swinunetr" else [])]
    if missing := [each for each in needed if importlib.util.find_spec(each) is None]:
        pytest.skip(f"without {', '.join(missing)}")
    model = Model(arch=name, weights="none", options=SMALL.get(name, {}))
    network, again = (build_network(model, 3, seed=1) for _ in range(2))
    for own, other in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        torch.testing.assert_close(own, other, equal_nan=True)
    logits = network.train()(torch.rand(2, 3, 64, 96))
    assert logits.shape == (2, 3, 64, 96)
    logits.square().mean().backward()
    trained = [value.grad is not None for value in network.parameters()]
    assert sum(trained) > 0.9 * len(trained)  # a backbone's last normalisation may have no use
