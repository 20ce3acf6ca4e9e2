"""Every rule of ``segstudy.conventions`` against the library whose rule it is, on masks with all that rules differ in."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from numpy.testing import assert_allclose
from PIL import Image

from fakes import save, train_ids_of
from reference import slow_conventions
from reference import slow_measures as slow
from segstudy.conventions import CONVENTIONS, COUNTERPART, Convention, chosen
from segstudy.counts.counting import confusion_matrix
from segstudy.errors import SpecError
from segstudy.measures import OVERALL, merge
from segstudy.networks.build import import_smp
from segstudy.scoring import score_masks

smp: Any = import_smp()  # before torchmetrics, which imports torchvision

from torchmetrics import Accuracy, F1Score, JaccardIndex  # noqa: E402
from torchmetrics.segmentation import DiceScore, MeanIoU  # noqa: E402

IGNORE = 255
SINGLE = 2e-6  # relative error of libraries that compute in single precision

Masks = tuple[np.ndarray, np.ndarray, int]  # truth and prediction, (n, h, w), and the number of classes
Scores = dict[str, float]


def masks_of(num_classes: int, seed: int) -> Masks:
    """Seven images with ignored pixels: wild ones, one of background only, one of foreground only, one all ignored.

    Of six classes 2 is predicted but absent, 3 is never predicted, 5 is nowhere. Of two, the foreground is in some
    images missing from the truth, from the prediction, and from both.
    """
    rng = np.random.default_rng(seed)
    shape = (7, 6, 7)
    in_truth, in_prediction = ([0, 1], [0, 1]) if num_classes == 2 else ([0, 1, 3, 4], [0, 1, 2, 4])
    truth, prediction = rng.choice(in_truth, shape), rng.choice(in_prediction, shape)
    prediction = np.where((rng.random(shape) < 0.6) & np.isin(truth, in_prediction), truth, prediction)
    truth[2], prediction[3] = 0, 0
    truth[4] = prediction[4] = 0
    truth[5] = prediction[5] = 1
    truth[rng.random(shape) < 0.15] = IGNORE
    truth[6] = IGNORE
    return truth, prediction, num_classes


ALL_MASKS = {f"{c} classes, seed {seed}": masks_of(c, seed) for c in (2, 6) for seed in range(3)}
# One class is in every truth and none is nowhere: the plain case, in which dataset means agree.
ALL_MASKS["two foregrounds"] = (
    np.array([[[0, 1, 1, 1]], [[0, 0, 1, 0]]]),
    np.array([[[0, 1, 0, 1]], [[0, 0, 1, 1]]]),
    2,
)


def confusion_of(masks: Masks) -> np.ndarray:
    truth, prediction, num_classes = masks
    return np.stack([confusion_matrix(t, p, num_classes) for t, p in zip(truth, prediction, strict=True)])


def one_hot(masks: Masks) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and truth, bool (n, c, h, w), without the pixels that do not count."""
    truth, prediction, num_classes = masks
    return tuple(
        torch.from_numpy(np.stack([(part == k) & (truth != IGNORE) for k in range(num_classes)], axis=1))
        for part in (prediction, truth)
    )


def indices(masks: Masks) -> tuple[torch.Tensor, torch.Tensor]:
    truth, prediction, _ = masks
    return torch.from_numpy(prediction).long(), torch.from_numpy(truth).long()


def pixels(masks: Masks) -> list[tuple[int, int]]:
    truth, prediction, _ = masks
    return slow.pixels(truth.ravel().tolist(), prediction.ravel().tolist())


# The libraries themselves


def by_smp(masks: Masks, *, foreground: bool = False, weighted: bool = False, **options: Any) -> Scores:
    stats = smp.metrics.get_stats(*indices(masks), mode="multiclass", ignore_index=IGNORE, num_classes=masks[2])
    if foreground:  # its mode "binary" knows no ignored value, so the foreground's statistics are taken
        stats = [part[:, 1:] for part in stats]
    if weighted:
        options["class_weights"] = merge(confusion_of(masks)).sum(axis=1).tolist()
    return {name: float(getattr(smp.metrics, name)(*stats, **options)) for name in ("iou_score", "f1_score")}


def by_torchmetrics(masks: Masks) -> Scores:
    options = {"task": "multiclass", "num_classes": masks[2], "average": "macro", "ignore_index": IGNORE}
    return {metric.__name__: float(metric(**options)(*indices(masks))) for metric in (JaccardIndex, F1Score, Accuracy)}


def by_torchmetrics_binary(masks: Masks) -> Scores:
    return {
        metric.__name__: float(metric(task="binary", ignore_index=IGNORE)(*indices(masks)))
        for metric in (JaccardIndex, F1Score)
    }


def by_segmentation(metric: Any, **options: Any) -> Callable[[Masks], Scores]:
    def score(masks: Masks) -> Scores:
        made = metric(num_classes=masks[2], **options)
        for image in zip(*one_hot(masks), strict=True):  # batches of one, so that no mean is of a batch by chance
            made.update(*(part[None] for part in image))
        return {metric.__name__: float(made.compute())}

    return score


def by_monai(masks: Masks, **options: Any) -> Scores:
    from monai import metrics  # slow to import

    found = {}
    for metric in (metrics.MeanIoU, metrics.DiceMetric):
        made = metric(**options)
        made(*(part.float() for part in one_hot(masks)))
        found[metric.__name__] = float(made.aggregate())
    return found


def by_sklearn(masks: Masks, all_classes: bool = False, **options: Any) -> Scores:
    truth, prediction, num_classes = masks
    counted = truth != IGNORE
    labels = range(num_classes) if all_classes else None
    return {
        name: getattr(sklearn.metrics, name)(
            truth[counted], prediction[counted], labels=labels, zero_division=0, **options
        )
        for name in ("jaccard_score", "f1_score")
    }


def by_cityscapes(masks: Masks) -> Scores:
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation
    from cityscapesscripts.helpers.labels import trainId2label

    evaluation.args.evalLabels = []
    matrix = evaluation.generateMatrix(evaluation.args)
    ids = [trainId2label[k].id for k in range(masks[2])]
    matrix[np.ix_(ids, ids)] = merge(confusion_of(masks))
    scores = {k: evaluation.getIouScoreForLabel(k, matrix, evaluation.args) for k in evaluation.args.evalLabels}
    return {"averageScoreClasses": evaluation.getScoreAverage(scores, evaluation.args)}


def by_slow_measures(masks: Masks, labels: dict[str, str]) -> Scores:
    return {label: slow.OVERALL[key](pixels(masks), masks[2]) for label, key in labels.items()}


def by_mmseg(*labels: str) -> Callable[[Masks], Scores]:
    def score(masks: Masks) -> Scores:
        found = slow_conventions.mmseg(pixels(masks), masks[2])
        return {label: found[label] for label in labels}

    return score


REFERENCES: dict[tuple[str, str], Callable[[Masks], Scores]] = {
    ("segstudy", "score"): lambda m: by_slow_measures(
        m, {"mIoU": "miou", "mDice": "mdice", "mAcc": "mean_class_accuracy"}
    ),
    ("mmseg", "IoUMetric(iou_metrics=['mIoU', 'mDice', 'mFscore'])"): by_mmseg("mIoU", "mDice", "mFscore", "mAcc"),
    ("mmseg", "IoUMetric(), aAcc"): by_mmseg("aAcc"),
    ("smp", "reduction='macro'"): lambda m: by_smp(m, reduction="macro"),
    ("smp", "reduction='macro', zero_division=0"): lambda m: by_smp(m, reduction="macro", zero_division=0),
    ("smp", "reduction='micro'"): lambda m: by_smp(m, reduction="micro"),
    ("smp", "reduction='weighted', class_weights=true pixels"): lambda m: by_smp(
        m, reduction="weighted", weighted=True
    ),
    ("smp", "reduction='macro-imagewise'"): lambda m: by_smp(m, reduction="macro-imagewise"),
    ("smp", "reduction='micro-imagewise'"): lambda m: by_smp(m, reduction="micro-imagewise"),
    ("smp", "mode='binary', reduction='micro'"): lambda m: by_smp(m, foreground=True, reduction="micro"),
    ("smp", "mode='binary', reduction='micro-imagewise'"): lambda m: by_smp(
        m, foreground=True, reduction="micro-imagewise"
    ),
    (
        "torchmetrics",
        "JaccardIndex, F1Score, Accuracy(task='multiclass', average='macro')",
    ): by_torchmetrics,
    ("torchmetrics", "JaccardIndex, F1Score(task='binary')"): by_torchmetrics_binary,
    ("torchmetrics", "segmentation.MeanIoU()"): by_segmentation(MeanIoU),
    ("torchmetrics", "segmentation.MeanIoU(include_background=False)"): by_segmentation(
        MeanIoU, include_background=False
    ),
    ("torchmetrics", "segmentation.DiceScore()"): by_segmentation(DiceScore),
    ("torchmetrics", "segmentation.DiceScore(average='micro')"): by_segmentation(DiceScore, average="micro"),
    ("monai", "MeanIoU(), DiceMetric()"): by_monai,
    ("monai", "MeanIoU(include_background=False), DiceMetric(include_background=False)"): lambda m: by_monai(
        m, include_background=False
    ),
    ("monai", "MeanIoU(ignore_empty=False), DiceMetric(ignore_empty=False)"): lambda m: by_monai(m, ignore_empty=False),
    ("sklearn", "average='macro'"): lambda m: by_sklearn(m, average="macro"),
    ("sklearn", "average='macro', labels=all classes"): lambda m: by_sklearn(m, all_classes=True, average="macro"),
    ("sklearn", "average='micro'"): lambda m: by_sklearn(m, average="micro"),
    ("sklearn", "average='weighted'"): lambda m: by_sklearn(m, average="weighted"),
    ("sklearn", "average='binary'"): lambda m: by_sklearn(m, average="binary"),
    ("cityscapes", "evalPixelLevelSemanticLabeling"): by_cityscapes,
    ("voc", "VOCevalseg"): lambda m: slow_conventions.voc(pixels(m), m[2]),
    ("ade20k", "evaluation code of sceneparsing: Mean IoU"): lambda m: slow_conventions.sceneparsing(pixels(m), m[2]),
    ("ade20k", "evaluation code of sceneparsing: Pixel Accuracy"): lambda m: by_slow_measures(
        m, {"aAcc": "pixel_accuracy"}
    ),
    ("notebook", "one confusion matrix"): lambda m: by_slow_measures(m, {"mIoU": "miou", "mDice": "mdice"}),
    ("notebook", "pixel accuracy"): lambda m: by_slow_measures(m, {"mPA": "pixel_accuracy"}),
}


def test_every_rule_has_its_reference() -> None:
    assert {(row.name, row.call) for row in CONVENTIONS} == set(REFERENCES)


@pytest.mark.parametrize("masks", ALL_MASKS.values(), ids=ALL_MASKS)
@pytest.mark.parametrize("row", CONVENTIONS, ids=lambda row: f"{row.name} {row.call}")
@pytest.mark.filterwarnings("ignore:DiceScore metric currently defaults")
def test_rule_gives_the_library_s_own_numbers(row: Convention, masks: Masks) -> None:
    if row.two_classes and masks[2] != 2:
        assert row.scores(confusion_of(masks)) == {}
        return
    expected, found = REFERENCES[row.name, row.call](masks), row.scores(confusion_of(masks))
    assert found.keys() == expected.keys()
    for label, value in expected.items():
        assert_allclose(found[label], value, rtol=SINGLE, err_msg=label)


def test_the_masks_tell_the_rules_apart() -> None:
    """Rules of equal numbers on all masks would be one rule twice: only those that are so by their own words may be."""
    by_numbers: dict[tuple[float, ...], set[str]] = {}
    for row in CONVENTIONS:
        iou = [next(iter(row.scores(confusion_of(m)).values()), math.nan) for m in ALL_MASKS.values()]
        by_numbers.setdefault(tuple(np.round(np.nan_to_num(iou, nan=-1), 9)), set()).add(f"{row.name} {row.call}")
    several = sorted(sorted({name.split()[0] for name in names}) for names in by_numbers.values() if len(names) > 1)
    assert several == sorted(
        [
            ["ade20k", "mmseg", "notebook"],  # pixel accuracy under three names
            ["notebook", "segstudy"],  # one rule, other masks
            ["cityscapes", "mmseg", "sklearn", "torchmetrics"],  # absent but predicted 0, nowhere left out
            ["sklearn", "smp"],  # pooled
            ["sklearn", "smp"],  # weighted
            ["ade20k", "sklearn", "smp"],  # macro with every class without a true pixel 0
            ["sklearn", "smp", "torchmetrics"],  # the foreground alone
            ["monai", "smp"],  # by image, nowhere 1
        ]
    )


# The table's own front door


def test_unknown_rules_are_errors_with_the_nearest_name() -> None:
    with pytest.raises(
        SpecError, match=r"^--as torchmetric: no such rule \(did you mean 'torchmetrics'\?\); there are segstudy, "
    ):
        chosen(["mmseg", "torchmetric"])


def test_rules_are_chosen_by_name_in_the_table_s_order() -> None:
    assert [row.name for row in chosen(["voc", "cityscapes"])] == ["cityscapes", "voc"]
    assert chosen(["voc", "all"]) == CONVENTIONS
    assert chosen([]) == ()


def test_every_number_has_one_of_ours_beside_it() -> None:
    keys = {measure.key for measure in OVERALL}
    for row in CONVENTIONS:
        assert row.ratios.keys() <= COUNTERPART.keys()
    assert set(COUNTERPART.values()) == keys


# One pair of masks, of which libraries say 0.22 to 0.90: the table of docs/reference/measures.md


ROOT = Path(__file__).parents[2]
STREET = {
    "truth": ROOT / "examples" / "one-pair" / "truth",
    "predictions": ROOT / "examples" / "one-pair" / "predictions",
}


def documented() -> dict[tuple[str, str], str]:
    """(name, call) -> the number that the page prints."""
    page = (ROOT / "docs" / "reference" / "measures.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z0-9]+)` \| `([^|]+)` \| (\S+) \|", page, re.MULTILINE)
    return {(name, call): value for name, call, value in rows}


def test_the_documented_pair_of_masks() -> None:
    masks = {name: np.asarray(Image.open(folder / "street.png")) for name, folder in STREET.items()}
    street: Masks = masks["truth"][None].astype(np.int64), masks["predictions"][None].astype(np.int64), 19
    confusion, table = confusion_of(street), documented()
    iou = {
        (row.name, row.call): next(iter(row.scores(confusion).values()))
        for row in CONVENTIONS
        if not row.two_classes and COUNTERPART[next(iter(row.ratios))] == "miou"
    }
    assert table.keys() == iou.keys()
    for key, value in table.items():
        expected = next(iter(REFERENCES[key](street).values()))  # from the library itself
        assert value == ("-" if math.isnan(expected) else f"{expected:.2f}"), key
    assert sorted(table.values())[1] == "0.22" and sorted(table.values())[-1] == "0.90"


# cityscapesScripts' own evaluation on the same files


def test_cityscapes_evaluation_of_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation

    rng = np.random.default_rng(5)
    ids = np.array([0, 3, 7, 8, 11, 17, 21, 23, 24, 26, 33], np.uint8)  # void ones among them
    evaluated = ids[ids > 3]
    pairs = []
    for k in range(3):
        truth = rng.choice(ids, (12, 20))
        right = (rng.random(truth.shape) < 0.7) & (truth > 3)
        prediction = np.where(right, truth, rng.choice(evaluated[k:], truth.shape))
        name = f"frankfurt_{k:06d}_000019"
        pairs.append(
            (save(tmp_path / f"{name}_pred.png", prediction), save(tmp_path / f"{name}_gtFine_labelIds.png", truth))
        )
        save(tmp_path / "predictions" / f"{name}.png", train_ids_of(prediction))
        save(tmp_path / "truth" / f"{name}.png", train_ids_of(truth))
    options = evaluation.args
    for name, value in {"evalInstLevelScore": False, "JSONOutput": False, "quiet": True, "evalLabels": []}.items():
        monkeypatch.setattr(options, name, value)
    theirs = evaluation.evaluateImgLists([str(p) for p, _ in pairs], [str(t) for _, t in pairs], options)
    ours = score_masks(tmp_path / "predictions", tmp_path / "truth", num_classes=19)
    found = chosen(["cityscapes"])[0].scores(ours.confusion)["averageScoreClasses"]
    assert_allclose(found, theirs["averageScoreClasses"], rtol=1e-12)
    assert 0.3 < found < 0.8
