"""The card of an exported network: what it is, how well it segments and how that was measured, how to use it, and for what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from segstudy.comparison import Side
from segstudy.counts.countset import CountSet
from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.core import load_pair
from segstudy.data.download.catalogue import KNOWN
from segstudy.data.quality.sheets import overlay
from segstudy.errors import listing
from segstudy.exporting.proof import Proven
from segstudy.files import write_text
from segstudy.measures import OVERALL, mean_iou
from segstudy.networks.build import NETWORKS
from segstudy.results import RunResult
from segstudy.schema import Data
from segstudy.scorecard import as_record, contract_words
from segstudy.sizes import Size, height_width
from segstudy.study import Study

HERE = Path(__file__).parent
TAGS = ["image-segmentation", "semantic-segmentation", "segstudy"]
PICTURE_PX = 256  # height
FORBIDS = "no redistribution"  # in the terms of a dataset whose images no card may show
DRAWN = "synthetic scenes drawn by segstudy, Apache-2.0"
UNKNOWN = "terms unknown to segstudy; ask the owner of the images"

# How the file of each kind gives logits (1, c, h, w) for the array ``images``.
USES = {
    "onnx": 'import onnxruntime\n\nlogits = onnxruntime.InferenceSession("model.onnx").run(None, {"images": images})[0]\n',
    "torch-export": (
        'import torch\n\nnetwork = torch.export.load("model.pt2").module()\n'
        "logits = network(torch.from_numpy(images)).detach().numpy()\n"
    ),
    "openvino": (
        'import openvino\n\nnetwork = openvino.compile_model("model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})\n'
        "logits = network(images)[0]\n"
    ),
    "safetensors": (
        "from pathlib import Path\n\nimport torch\nfrom segstudy.networks.export import read_weights\n\n"
        'network = read_weights(Path("model.safetensors")).eval()  # height and width: multiples of 32\n'
        "with torch.inference_mode():\n    logits = network(torch.from_numpy(images)).numpy()\n"
    ),
    "hub-folder": (
        "import segmentation_models_pytorch as smp\nimport torch\n\n"
        'network = smp.from_pretrained(".").eval()  # this folder, or its name on the hub; height and width: multiples of 32\n'
        "with torch.inference_mode():\n    logits = network(torch.from_numpy(images)).numpy()\n"
    ),
}


def write_card(
    folder: Path,
    kind: str,
    metadata: Mapping[str, str],
    proven: Proven,
    study: Study,
    result: RunResult,
    side: Side,
    data: CachedSplit,
    licence: str | None,
    num_pictures: int,
) -> None:
    """Write ``README.md``, and for a hub folder ``pictures/``.

    Parameters
    ----------
    folder
        Where the network was written.
    kind, metadata, proven
        What was written, and how it was proven.
    study, result, side
        The run, and all seeds of its experiment.
    data
        The reported split.
    licence
        Of the network; None if none was declared.
    num_pictures
        How many images are shown.

    """
    terms = _terms(result.run.config.data)
    wanted = num_pictures if kind == "hub-folder" and FORBIDS not in terms else 0
    config, classes = result.run.config, list(result.sets[0].classes)
    model = config.model
    context = {
        "front": _front(result, licence).to_yaml().strip(),
        "metadata": metadata,
        "title": study.title or f"One network of the study '{study.name}'.",
        "question": study.question,
        "arch": model.arch if NETWORKS.knows(model.arch) else f"{model.arch} with {model.encoder}",
        "train_data": config.dataset,
        "classes": classes,
        "seeds": _seeds(side),
        "others": [_elsewhere(each) for each in result.sets[1:]],
        "pictures": _write_pictures(folder / "pictures", result, data, wanted),
        "takes": proven.sizes,
        "native": config.resolution == "native",
        "passes": _passes(kind, config.inference.words),
        "decision": _decision_words(metadata, classes),
        "use": _prepared(metadata, config.recipe.resized_px) + USES[kind] + _labels(metadata, classes),
        "again": _again(kind, result, classes),
        "terms": terms,
        "no_pictures": kind == "hub-folder" and FORBIDS in terms,
        "licence": f"{licence}." if licence else "None was declared. Ask its maker before you use it.",
        "origin": _origin(metadata, result),
        **_scores(result.sets[0]),
        **_proof(kind, proven),
    }
    templates = Environment(
        loader=FileSystemLoader(HERE), undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True
    )
    write_text(folder / "README.md", templates.get_template("card.md.j2").render(context))


def _front(result: RunResult, licence: str | None) -> ModelCardData:
    """The metadata by which the hub shows and finds a network."""
    scored, found = result.sets[0], as_record(result.sets[0])
    names = {"miou": "mean_iou", "mdice": "dice", "pixel_accuracy": "accuracy"}
    labels = {measure.key: measure.label for measure in OVERALL}
    values = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=str(scored.about.test_data),
            dataset_name=str(scored.about.test_data),
            dataset_split=scored.about.split,
            metric_type=name,
            metric_name=labels[key],
            metric_value=round(found[key], 4),
        )
        for key, name in names.items()
        if found[key] is not None
    ]
    return ModelCardData(
        license=licence,
        pipeline_tag="image-segmentation",
        tags=TAGS,
        model_name=f"{result.run.experiment}-seed{result.run.seed}",
        eval_results=values or None,
    )


def _scores(scored: CountSet) -> dict[str, Any]:
    record = as_record(scored)
    rows = [
        {"name": one.label, "value": _number(record[one.key]), "interval": _interval(record["intervals"][one.key])}
        for one in OVERALL
    ]
    classes = [
        {
            "name": each["class"],
            "pixels": f"{each['pixels']:,}",
            **{key: _number(each[key]) for key in ("iou", "dice")},
            **{f"{key}_interval": _interval(each["intervals"][key]) for key in ("iou", "dice")},
        }
        for each in record["classes"]
    ]
    words = contract_words(record)
    return {"measures": rows, "class_rows": classes, "contract": words[0].upper() + words[1:]}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _interval(found: Mapping[str, Any]) -> str:
    return "–" if found["low"] is None else f"{found['low']:.4f} to {found['high']:.4f}"


def _seeds(side: Side) -> str:
    """The recipe's score over seeds; empty for a single one."""
    if len(side.seeds) < 2:
        return ""
    found = side.estimates(OVERALL[0])[0]
    interval = (
        "" if found.low != found.low else f" (95 % interval over images and seeds {found.low:.4f} to {found.high:.4f})"
    )
    return f"Over the seeds {listing(side.seeds, 20)}, the same recipe has a mean mIoU of {found.value:.4f}{interval}."


def _elsewhere(scored: CountSet) -> str:
    found = as_record(scored)
    return (
        f"On {scored.about.test_data} ({scored.about.split}, {len(scored.ids)} images), which it was not trained on, its mIoU is "
        f"{_number(found['miou'])} ({_interval(found['intervals']['miou'])})."
    )


def _write_pictures(folder: Path, result: RunResult, data: CachedSplit, wanted: int) -> list[dict[str, str]]:
    """Draw images from the highest to the lowest mIoU: each with its true and its predicted mask."""
    scored = result.sets[0]
    values = np.array([float(mean_iou(one)) for one in scored.confusion])
    order = [int(index) for index in np.argsort(-values) if not np.isnan(values[index])]
    num = min(wanted, len(order))
    places = sorted({round(place) for place in np.linspace(0, len(order) - 1, num).tolist()})
    masks = result.folder.predictions(str(scored.about.test_data), str(scored.about.split))
    shown = []
    for number, index in enumerate(order[place] for place in places):
        sample = data.samples[index]
        image, truth = load_pair(data.dataset, sample)
        with Image.open(masks / f"{sample.id}.png") as mask:
            predicted = np.asarray(mask.resize(image.size, Image.Resampling.NEAREST))
        width = max(1, round(image.width * PICTURE_PX / image.height))
        row = Image.new("RGB", (3 * width + 8, PICTURE_PX), "white")
        for place, part in enumerate(
            (image, *(overlay(image, each, data.dataset.palette) for each in (truth, predicted)))
        ):
            row.paste(part.resize((width, PICTURE_PX), Image.Resampling.LANCZOS), (place * (width + 4), 0))
        folder.mkdir(exist_ok=True)
        row.save(folder / f"{number}.jpg", quality=90)
        shown.append({"id": sample.id, "miou": f"{values[index]:.4f}", "file": f"pictures/{number}.jpg"})
    return shown


def _passes(kind: str, words: str) -> str:
    if not words:
        return ""
    if kind in ("hub-folder", "safetensors"):
        return (
            f"The scores above are {words}. This file holds the network alone; its user must do the same to get them."
        )
    return f"The file's output is {words}, as the scores above are."


def _prepared(metadata: Mapping[str, str], resized_px: Size | None) -> str:
    height, width = height_width(resized_px or 0)
    sized = f"image = image.resize(({width}, {height}), Image.Resampling.BILINEAR)\n" if resized_px else ""
    return (
        'import numpy as np\nfrom PIL import Image\n\nimage = Image.open("image.png").convert("RGB")\n'
        f"{sized}mean, std = {metadata['mean']}, {metadata['std']}\n"
        "images = ((np.asarray(image) / 255 - mean) / std).astype(np.float32).transpose(2, 0, 1)[None]\n\n"
    )


def _decision_words(metadata: Mapping[str, str], classes: list[str]) -> str:
    """How logits become classes."""
    if metadata["threshold"] == "null":
        return "the largest is the class"
    probability = f"its probability (softmax of logits / {metadata['temperature']})"
    return f"`{classes[1]}` where {probability} is at least {metadata['threshold']}"


def _labels(metadata: Mapping[str, str], classes: list[str]) -> str:
    names = ", ".join(f"{index} {name}" for index, name in enumerate(classes))
    if metadata["threshold"] == "null":
        return f"labels = logits.argmax(axis=1)[0]  # (h, w): {names}\n"
    return (
        f"probability = 1 / (1 + np.exp((logits[0, 0] - logits[0, 1]) / {metadata['temperature']}))  # of {classes[1]}\n"
        f"labels = (probability >= {metadata['threshold']}).astype(np.uint8)  # (h, w): {names}\n"
    )


def _again(kind: str, result: RunResult, classes: list[str]) -> str:
    """How a study scores the file; empty if it cannot."""
    config = result.run.config
    if kind in ("safetensors", "hub-folder"):
        return f"segstudy import model.safetensors --study STUDY --experiment {config.experiment}"
    file = {"onnx": "model.onnx", "torch-export": "model.pt2", "openvino": "model.xml"}[kind]
    px = config.recipe.resized_px
    size = f", input_size: {list(px) if isinstance(px, tuple) else px}" if px else ""
    threshold = config.inference.threshold
    keys = f"classes: {json.dumps(classes)}, normalise: imagenet, output: logits{size}"
    keys += f", threshold: {threshold}" if isinstance(threshold, float) else ""
    return f"experiments:\n  exported:\n    data: {config.dataset}\n    evaluate: {{{kind.replace('-', '_')}: {file}, {keys}}}"


def _proof(kind: str, proven: Proven) -> dict[str, Any]:
    rows = [
        {
            "to": "the network in PyTorch, float32",
            "size": each.size,
            "images": each.images,
            "pixels": f"{each.pixels:,}",
            "differing": f"{each.differing:,}",
        }
        for each in proven.passes
    ]
    stored = proven.stored
    rows.append(
        {
            "to": "the masks that were scored",
            "size": "as scored",
            "images": stored.images,
            "pixels": f"{stored.pixels:,}",
            "differing": f"{stored.differing:,}",
        }
    )
    findings = [f"mIoU {stored.miou:.6f} with this file, {stored.stored_miou:.6f} in the study; {stored.words}."]
    findings += [f"Logits differ by at most {max(each.logits for each in proven.passes):.1e} of the largest."]
    if stored.differing and stored.reasons:
        findings.append(f"What besides the export may make masks differ: {'; '.join(stored.reasons)}.")
    findings += [f"A more general file was not possible. {note}." for note in proven.notes]
    return {"proof": rows, "findings": findings}


def _terms(data: Data) -> str:
    """The terms of the images: of a known dataset, recognised by its layout or by the name of its folder."""
    if data.synthetic is not None:
        return DRAWN
    for each in KNOWN.values():
        folders = {PurePath(place).name for place in (each.entry["root"], *each.also)}
        own_layout = data.reader in ("cityscapes", "kvasir")
        if each.entry["reader"] == data.reader and (own_layout or PurePath(data.root).name in folders):
            return f"{each.title}: {each.terms} ({each.page})"
    return UNKNOWN


def _origin(metadata: Mapping[str, str], result: RunResult) -> list[tuple[str, str]]:
    record = result.record
    assert record is not None
    packages = record.environment.packages if record.environment else {}
    rows = [
        ("run", metadata["run"]),
        ("identity", metadata["identity"]),
        ("weights, SHA-256", metadata["weights_sha256"]),
    ]
    rows += [
        ("initial weights", str(record.values.get("model.weights", "unknown"))),
        ("precision", record.precision or "unknown"),
    ]
    rows += [(f"data, {role}", digest) for role, digest in (record.data_fingerprints or {}).items()]
    versions = ", ".join(f"{name} {version}" for name, version in packages.items())
    return [*rows, ("versions", versions or "unknown")]
