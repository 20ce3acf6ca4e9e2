"""Losses: what a network is trained to make small. A new loss is a function and a line in ``LOSSES``.

This module loads no torch, as study files are checked against it. Array letters: ``n`` image, ``c`` class, ``h`` height,
``w`` width; ``k`` counted pixel.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from segstudy.doors import Door, calling
from segstudy.errors import SpecError
from segstudy.named import as_choice
from segstudy.schema import Loss, loss_terms
from segstudy.train.balance import read_class_weights

if TYPE_CHECKING:
    from torch import Tensor

IGNORE = 255  # labels that do not count

NotNegative = Annotated[float, Field(ge=0)]
ClassWeights = Annotated[Any, BeforeValidator(read_class_weights)]


def cross_entropy(
    logits_nchw: Tensor,
    labels_nhw: Tensor,
    *,
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    class_weights: ClassWeights = "none",
    beta: Annotated[float, Field(gt=0, lt=1)] = 1 - 1e-6,
    hardest_share: Annotated[float, Field(gt=0, le=1)] = 1.0,
) -> Tensor:
    """Mean cross-entropy over the pixels that count, each weighted by the weight of its true class.

    ``class_weights`` is a list with one weight per class, or the name of a rule of :mod:`segstudy.train.balance`, which
    :func:`make_loss` replaces with the weights that it gives; ``beta`` belongs to ``effective_number``. With
    ``hardest_share``, only that share of the counted pixels of a batch, those with the largest loss, enters the mean.

    Source: label smoothing: Szegedy et al., "Rethinking the Inception Architecture", CVPR 2016. Hardest pixels: Wu et al.,
    "Bridging Category-level and Instance-level Semantic Image Segmentation", 2016, after Shrivastava et al., CVPR 2016.
    """
    torch = importlib.import_module("torch")
    weights = None if isinstance(class_weights, str) else torch.as_tensor(class_weights).to(logits_nchw)
    if weights is not None and len(weights) != logits_nchw.shape[1]:
        raise SpecError(
            f"recipe.loss.class_weights: {len(weights)} weights for {logits_nchw.shape[1]} classes; give one per class"
        )
    options = {"ignore_index": IGNORE, "label_smoothing": label_smoothing, "weight": weights}
    function = torch.nn.functional.cross_entropy
    if hardest_share < 1:
        logits_kc, labels_k = _counted(logits_nchw, labels_nhw)
        losses_k = function(logits_kc, labels_k, **options, reduction="none")
        hardest = losses_k.topk(int(np.ceil(hardest_share * len(losses_k)))).indices
        share: Tensor = losses_k[hardest].sum()
        return share / (len(hardest) if weights is None else weights[labels_k[hardest]].sum())
    if torch.are_deterministic_algorithms_enabled():
        # The two-dimensional kernel has no deterministic form on CUDA; over a flat list of pixels it has, with the same result.
        logits_nchw = logits_nchw.movedim(1, -1).reshape(-1, logits_nchw.shape[1])
        labels_nhw = labels_nhw.reshape(-1)
    loss: Tensor = function(logits_nchw, labels_nhw, **options)
    return loss


def dice(logits_nchw: Tensor, labels_nhw: Tensor, *, smooth: NotNegative = 0.0, log_loss: bool = False) -> Tensor:
    """One minus the soft Dice coefficient of each class in the batch, averaged over all classes; absent ones lose 0.

    ``smooth`` is added to the overlap and to half the sum of both areas.

    Source: Milletari et al., "V-Net", 3DV 2016.
    """
    loss: Tensor = _smp_loss("DiceLoss", smooth=smooth, log_loss=log_loss)(logits_nchw, labels_nhw)
    return loss


def tversky(
    logits_nchw: Tensor,
    labels_nhw: Tensor,
    *,
    alpha: NotNegative = 0.3,
    beta: NotNegative = 0.7,
    gamma: Annotated[float, Field(gt=0)] = 1.0,
    smooth: NotNegative = 0.0,
) -> Tensor:
    """Dice with false positives weighted by ``alpha`` and false negatives by ``beta``; the mean to the power of ``gamma``.

    Classes are averaged as in :func:`dice`, which is the same with both weights 0.5.

    Source: Salehi et al., "Tversky Loss Function for Image Segmentation", MLMI 2017.
    """
    options = {"alpha": alpha, "beta": beta, "gamma": gamma, "smooth": smooth}
    loss: Tensor = _smp_loss("TverskyLoss", **options)(logits_nchw, labels_nhw)
    return loss


def focal(logits_nchw: Tensor, labels_nhw: Tensor, *, gamma: NotNegative = 2.0) -> Tensor:
    """Binary cross-entropy of each class against the others, in which well-classified pixels weigh ``(1 - p) ** gamma``.

    The sigmoid of each class's logit is its probability; the mean is over pixels and classes.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """
    loss: Tensor = _smp_loss("FocalLoss", gamma=gamma)(logits_nchw, labels_nhw)
    return loss


def lovasz_softmax(logits_nchw: Tensor, labels_nhw: Tensor) -> Tensor:
    """Lovasz extension of one minus IoU of each class over all counted pixels of the batch, averaged over the classes there.

    Source: Berman et al., "The Lovasz-Softmax Loss", CVPR 2018, algorithm 1.
    """
    torch = importlib.import_module("torch")
    logits_kc, labels_k = _counted(logits_nchw, labels_nhw)
    probabilities_kc = logits_kc.softmax(1)
    losses = []
    for label in torch.unique(labels_k).tolist():
        true_k = (labels_k == label).to(probabilities_kc)
        errors_k, order = (true_k - probabilities_kc[:, label]).abs().sort(descending=True, stable=True)
        true_k = true_k[order]
        jaccard_k = 1 - (true_k.sum() - true_k.cumsum(0)) / (true_k.sum() + (1 - true_k).cumsum(0))
        losses.append(errors_k @ jaccard_k.diff(prepend=jaccard_k.new_zeros(1)))
    loss: Tensor = torch.stack(losses).mean() if losses else probabilities_kc.sum()
    return loss


def boundary(logits_nchw: Tensor, labels_nhw: Tensor) -> Tensor:
    """Mean over pixels and classes of each probability times the signed distance to the class's true outline, in pixels.

    The distance is negative inside; the loss may therefore be negative. A class that is absent from an image, or fills it,
    has no outline and loses 0 there. Meant as a term of a sum, ``{dice: 1, boundary: 0.01}``.

    Source: Kervadec et al., "Boundary loss for highly unbalanced segmentation", MIDL 2019, equation 5.
    """
    torch = importlib.import_module("torch")
    distances = signed_distances(labels_nhw.cpu().numpy(), logits_nchw.shape[1])
    distances_nchw = torch.from_numpy(distances).to(logits_nchw)
    counted = (labels_nhw != IGNORE).sum().clamp(min=1)
    loss: Tensor = (logits_nchw.softmax(1) * distances_nchw).sum() / (counted * logits_nchw.shape[1])
    return loss


def signed_distances(labels_nhw: np.ndarray[Any, Any], num_classes: int) -> np.ndarray[Any, Any]:
    """Distance of every pixel from each class's outline (n, c, h, w), float32: at least 1 outside, at most 0 inside.

    Ignored pixels are 0 and make no outline.
    """
    distance = importlib.import_module("scipy.ndimage").distance_transform_edt
    found = np.zeros((len(labels_nhw), num_classes, *labels_nhw.shape[1:]), np.float32)
    for labels_hw, found_chw in zip(labels_nhw, found, strict=True):
        counted = labels_hw != IGNORE
        for label in np.unique(labels_hw[counted]):
            inside, outside = labels_hw == label, counted & (labels_hw != label)
            if outside.any():
                found_chw[label][outside] = distance(~inside)[outside]
                found_chw[label][inside] = 1 - distance(~outside)[inside]
    return found


def cl_dice(
    logits_nchw: Tensor,
    labels_nhw: Tensor,
    *,
    iterations: Annotated[int, Field(ge=1, le=100)] = 3,
    smooth: Annotated[float, Field(gt=0)] = 1.0,
) -> Tensor:
    """One minus the soft centre-line Dice of each class in the batch but the first (background), averaged over those there.

    ``iterations`` is the largest half width of a structure, in pixels. Ignored pixels are 0 in prediction and truth. Meant
    as a term of a sum, ``{dice: 0.5, cl_dice: 0.5}``.

    Source: Shit et al., "clDice - a Novel Topology-Preserving Loss Function", CVPR 2021, algorithms 1 and 2.
    """
    torch = importlib.import_module("torch")
    counted = (labels_nhw != IGNORE)[:, None]
    soft = logits_nchw.softmax(1) * counted
    losses = []
    for label in range(1, logits_nchw.shape[1]):
        true, guess = (labels_nhw == label)[:, None].to(soft), soft[:, label : label + 1]
        true_line, guess_line = _soft_skeleton(true, iterations), _soft_skeleton(guess, iterations)
        precision = ((guess_line * true).sum() + smooth) / (guess_line.sum() + smooth)
        sensitivity = ((true_line * guess).sum() + smooth) / (true_line.sum() + smooth)
        score = 2 * precision * sensitivity / (precision + sensitivity)
        losses.append(torch.where(true.any(), 1 - score, torch.zeros_like(score)))
    present = sum(((labels_nhw == label).any() for label in range(1, logits_nchw.shape[1])), soft.new_zeros(()))
    loss: Tensor = torch.stack([*losses, 0 * soft.sum()]).sum() / present.clamp(min=1)
    return loss


def _soft_skeleton(image_nchw: Tensor, iterations: int) -> Tensor:
    pool = importlib.import_module("torch").nn.functional.max_pool2d

    def eroded(image: Tensor) -> Tensor:
        smallest: Tensor = (-pool(-image, (3, 1), 1, (1, 0))).minimum(-pool(-image, (1, 3), 1, (0, 1)))
        return smallest

    def fine(image: Tensor) -> Tensor:
        lines: Tensor = (image - pool(eroded(image), 3, 1, 1)).relu()
        return lines

    skeleton = fine(image_nchw)
    for _ in range(iterations):
        image_nchw = eroded(image_nchw)
        added = fine(image_nchw)
        skeleton = skeleton + (added - skeleton * added).relu()
    return skeleton


def _counted(logits_nchw: Tensor, labels_nhw: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (k, c) and labels (k,) of the pixels that count."""
    counted = labels_nhw != IGNORE
    return logits_nchw.movedim(1, -1)[counted], labels_nhw[counted]


@functools.cache
def _smp_loss(kind: str, **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
    losses = importlib.import_module("segstudy.networks.build").import_smp().losses
    loss: Callable[[Tensor, Tensor], Tensor] = getattr(losses, kind)(mode="multiclass", ignore_index=IGNORE, **options)
    return loss


# What ``recipe.loss`` may name: functions of logits (n, c, h, w) and labels (n, h, w) in which pixels of 255 do not count,
# to one number. Parameters after these two are the loss's options.
LOSSES = Door(
    "loss",
    {
        "cross_entropy": cross_entropy,
        "dice": dice,
        "focal": focal,
        "tversky": tversky,
        "lovasz_softmax": lovasz_softmax,
        "boundary": boundary,
        "cl_dice": cl_dice,
    },
    as_choice("loss", 2),
)


def make_loss(
    loss: Loss, folder: str = "", weights_by: Callable[[str, str, float], list[float]] | None = None
) -> Callable[[Tensor, Tensor], Tensor]:
    """The recipe's loss as a function of logits and labels; ``folder`` is where the study file lies.

    ``weights_by`` gives the weight of each class for a loss, a rule and its ``beta``; without it, rules give equal weights.
    Where no pixel counts the loss is 0, as are its gradients; a mean over nothing would be NaN.

    Raises
    ------
    SegstudyError
        When called: if a loss of the user's own stops, changes what it is given, or gives something else than one number.

    """
    torch = importlib.import_module("torch")
    terms = []
    for name, weight, options in loss_terms(loss):
        if isinstance(rule := options.get("class_weights"), str):
            default = LOSSES.find(name, folder).options.model_fields.get("beta")
            beta = options.get("beta", default.default if default else 0.0)
            options["class_weights"] = weights_by(name, rule, beta) if weights_by and rule != "none" else "none"
        terms.append((name, weight, options, LOSSES.find(name, folder).function))

    def of_counted(logits: Tensor, labels: Tensor) -> Tensor:
        total = None
        for name, weight, options, function in terms:
            own = name not in LOSSES.table
            value = _called(name, function, logits, labels, options) if own else function(logits, labels, **options)
            value = value if weight == 1 else weight * value
            total = value if total is None else total + value
        counted: Tensor = torch.where((labels != IGNORE).any(), total, torch.zeros_like(total))
        return counted

    return of_counted


def _called(name: str, function: Callable[..., Any], logits: Tensor, labels: Tensor, options: dict[str, Any]) -> Tensor:
    """Call a loss of the user's own."""
    torch = importlib.import_module("torch")
    given = {"logits": (logits, logits._version), "labels": (labels, labels._version)}
    with calling(f"recipe.loss '{name}'", f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}"):
        value = function(logits, labels, **options)
    for what, (tensor, version) in given.items():
        if tensor._version != version:
            raise SpecError(f"recipe.loss '{name}': changed the {what} in place; change {what}.clone() instead")
    if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        grad = " without a gradient" if isinstance(value, torch.Tensor) and not value.requires_grad else ""
        raise SpecError(
            f"recipe.loss '{name}': returned {what}{grad}; it must return one number computed from the logits"
        )
    if not value.is_floating_point():
        raise SpecError(f"recipe.loss '{name}': returned a number of type {value.dtype}; it must be a float")
    number: Tensor = value.reshape(())
    return number
