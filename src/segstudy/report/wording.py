"""How the report names a factor, a change and a network in words, the same wherever people read and do not look up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from segstudy.plan import Plan, Run

ARCHITECTURES = {
    "unet": "U-Net",
    "unetplusplus": "U-Net++",
    "manet": "MA-Net",
    "linknet": "LinkNet",
    "fpn": "FPN",
    "pspnet": "PSPNet",
    "pan": "PAN",
    "deeplabv3": "DeepLabV3",
    "deeplabv3plus": "DeepLabV3+",
    "upernet": "UPerNet",
    "segformer": "SegFormer",
    "dpt": "DPT",
}

# How a change is said, {0} after and {1} before; any other setting by the last part of its key.
PHRASES = {
    "model.arch": "{0} instead of {1}",
    "model.encoder": "{0} instead of {1} as encoder",
    "model.weights": "{0} instead of {1} weights",
    "model.output_stride": "output stride {0} instead of {1}",
    "recipe.input_size": "{0} instead of {1} pixels of input",
    "recipe.batch_size": "batches of {0} instead of {1}",
    "recipe.epochs": "{0} instead of {1} epochs",
    "recipe.loss": "{0} instead of {1} as loss",
    "recipe.schedule": "{0} instead of {1} as schedule",
    "recipe.augment": "{0} instead of {1} as augmentation",
}
LABELS = {
    "model.arch": "{}",
    "model.encoder": "{}",
    "model.weights": "{} weights",
    "model.output_stride": "OS {}",
    "recipe.input_size": "{} px",
    "recipe.batch_size": "batches of {}",
    "recipe.epochs": "{} epochs",
    "recipe.loss": "loss {}",
}
WEIGHTS = {"none": "random", "imagenet": "ImageNet", "packaged": "ImageNet"}
SIZES = ("recipe.input_size", "recipe.crop_px")


def value_words(key: str, value: Any) -> str:
    """A setting's value as people write it.

    >>> value_words("model.encoder", "resnet101"), value_words("model.weights", "none")
    ('ResNet-101', 'random')
    """
    text = "x".join(map(str, value)) if key in SIZES and isinstance(value, list) else str(value)
    if key == "model.weights":
        return WEIGHTS.get(text, text.rsplit("/", 1)[-1])
    if key == "model.arch":
        return ARCHITECTURES.get(text.lower(), text)
    if key == "model.encoder":
        name = re.sub(r"^(tu-|timm-)?(tf_)?", "", text)
        name = re.sub(r"^resnet(\d+)$", r"ResNet-\1", name)
        return re.sub(r"^efficientnet[-_](lite)?(\w+)$", lambda m: f"EfficientNet-{'Lite' if m[1] else ''}{m[2]}", name)
    return text


def change_words(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """The changes of a variant, by names of factors: key -> (before, after).

    >>> change_words({"model.weights": ("imagenet", "none")})
    'random instead of ImageNet weights'
    """
    said = []
    for key, (before, after) in changes.items():
        last = key.rsplit(".", 1)[-1].replace("_", " ")
        phrase = PHRASES.get(key)
        words = value_words(key, after), value_words(key, before)
        said.append(phrase.format(*words) if phrase else f"{last} {words[0]} instead of {words[1]}")
    return " and ".join(said)


def short_words(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """The same as a label: the new values alone."""
    return ", ".join(
        LABELS.get(key, key.rsplit(".", 1)[-1].replace("_", " ") + " {}").format(value_words(key, after))
        for key, (_, after) in changes.items()
    )


def called(plan: Plan) -> dict[str, str]:
    """Every experiment in words that no other one of its dataset has; its own name where words do not tell it apart.

    A baseline is its architecture, with as much of encoder and weights as tells the baselines of its dataset apart; a variant
    is its base with what it changes.
    """
    first = {name: plan.first(name) for name in plan.experiments}
    words = _baselines_called(first)
    for name in first:
        _variant_called(name, first, words)
    times = Counter((first[name].config.dataset, said) for name, said in words.items())
    return {name: said if times[first[name].config.dataset, said] == 1 else name for name, said in words.items()}


def _baselines_called(first: Mapping[str, Run]) -> dict[str, str]:
    left = {name: run for name, run in first.items() if run.variation is None}
    words: dict[str, str] = {}
    for most in (1, 2, 3):
        said = {name: (run.config.dataset, _network(run, most)) for name, run in left.items()}
        times = Counter(said.values())
        words |= {name: text for name, (dataset, text) in said.items() if times[dataset, text] == 1}
        left = {name: run for name, run in left.items() if name not in words}
    return words | {name: name for name in left}


def _network(run: Run, most: int) -> str:
    """The first so many of architecture, encoder and weights."""
    model = run.config.model
    head = value_words("model.arch", model.arch)
    if not model.has_encoder:
        return head
    rest = value_words("model.encoder", model.encoder), f"{value_words('model.weights', model.weights)} weights"
    return with_words(head, *rest[: most - 1])


def _variant_called(name: str, first: Mapping[str, Run], words: dict[str, str]) -> str:
    """The words of an experiment, after those of its bases are in ``words``."""
    if name in words:
        return words[name]
    variation = first[name].variation if name in first else None
    if variation is None:
        return name
    base, changes = _variant_called(variation.base, first, words), dict(variation.changes)
    if (arch := changes.pop("model.arch", None)) and base == value_words("model.arch", arch[0]):
        base = value_words("model.arch", arch[1])
    elif arch:
        changes["model.arch"] = arch
    words[name] = with_words(base, short_words(changes))
    return words[name]


def with_words(head: str, *rest: str) -> str:
    """The description of a network, after its name.

    >>> with_words("U-Net", "ResNet-50"), with_words("U-Net with ResNet-50", "OS 16"), with_words("U-Net", "")
    ('U-Net with ResNet-50', 'U-Net with ResNet-50, OS 16', 'U-Net')
    """
    said = ", ".join(part for part in rest if part)
    return f"{head}{', ' if ' with ' in head else ' with '}{said}" if said else head
