"""The rules of other libraries and papers, each as it stands in the source named: the only place where they are listed."""

from __future__ import annotations

from segstudy.conventions.rules import NAN, Convention, dice, fscore, iou, recall

_SMP = {"iou_score": iou, "f1_score": dice}
_TORCHMETRICS = {"JaccardIndex": iou, "F1Score": dice}
_MONAI = {"MeanIoU": iou, "DiceMetric": dice}
_SKLEARN = {"jaccard_score": iou, "f1_score": dice}

CONVENTIONS = (
    Convention(
        name="segstudy",
        library="segstudy",
        call="score",
        ratios={"mIoU": iou, "mDice": dice, "mAcc": recall},
        absent=NAN,
        why="The rule of this program: the counts of all images are added, and classes without a true pixel are left out.",
    ),
    Convention(
        name="mmseg",
        library="mmsegmentation",
        call="IoUMetric(iou_metrics=['mIoU', 'mDice', 'mFscore'])",
        ratios={"mIoU": iou, "mDice": dice, "mFscore": fscore, "mAcc": recall},
        absent=None,
        why="A class that is predicted but absent counts 0 in mIoU and mDice, where segstudy leaves it out; mFscore "
        "leaves out every class without one right pixel, which counts 0 in mDice.",
    ),
    Convention(
        name="mmseg",
        library="mmsegmentation",
        call="IoUMetric(), aAcc",
        ratios={"aAcc": recall},
        average="pooled",
        why="This is pixel accuracy under another name.",
    ),
    Convention(
        name="smp",
        library="segmentation-models-pytorch",
        call="reduction='macro'",
        ratios=_SMP,
        nowhere=1.0,
        why="A class that is nowhere counts 1 (zero_division=1.0) and one that is predicted but absent counts 0; segstudy "
        "leaves both out.",
    ),
    Convention(
        name="smp",
        library="segmentation-models-pytorch",
        call="reduction='macro', zero_division=0",
        ratios=_SMP,
        nowhere=0.0,
        why="Every class without a true pixel counts 0, whether it is predicted or not; segstudy leaves them out.",
    ),
    Convention(
        name="smp",
        library="segmentation-models-pytorch",
        call="reduction='micro'",
        ratios=_SMP,
        average="pooled",
        why="The pixels of all classes are added before dividing, so that frequent classes decide: f1_score is then pixel "
        "accuracy a, and iou_score a / (2 - a).",
    ),
    Convention(
        name="smp",
        library="segmentation-models-pytorch",
        call="reduction='weighted', class_weights=true pixels",
        ratios=_SMP,
        average="weighted",
        nowhere=0.0,
        why="Classes count by the weights given, here by their true pixels, so that frequent classes decide.",
    ),
    Convention(
        name="smp",
        library="segmentation-models-pytorch",
        call="reduction='macro-imagewise'",
        ratios=_SMP,
        level="image",
        nowhere=1.0,
        why="Every image is averaged over all classes: one that the image lacks counts 1 if it is not predicted there "
        "and 0 if it is.",
    ),
    Convention(
        name="smp",
        library="segmentation-models-pytorch",
        call="reduction='micro-imagewise'",
        ratios=_SMP,
        level="image",
        average="pooled",
        nowhere=1.0,
        why="The pixels of all classes are added in each image before dividing, and the images' scores are averaged; an "
        "image in which no pixel counts is worth 1.",
    ),
    Convention(
        name="smp",
        library="segmentation-models-pytorch",
        call="mode='binary', reduction='micro'",
        ratios=_SMP,
        first_class=1,
        two_classes=True,
        why="The foreground alone, over all images together; segstudy averages it with the background.",
    ),
    Convention(
        name="smp",
        library="segmentation-models-pytorch",
        call="mode='binary', reduction='micro-imagewise'",
        ratios=_SMP,
        level="image",
        nowhere=1.0,
        first_class=1,
        two_classes=True,
        why="The foreground alone, averaged over images; an image without any counts 1 if none is predicted there and 0 if "
        "one pixel is.",
    ),
    Convention(
        name="torchmetrics",
        library="torchmetrics",
        call="JaccardIndex, F1Score, Accuracy(task='multiclass', average='macro')",
        ratios=_TORCHMETRICS | {"Accuracy": recall},
        why="A class that is predicted but absent counts 0, where segstudy leaves it out; classes that are nowhere are "
        "left out by both.",
    ),
    Convention(
        name="torchmetrics",
        library="torchmetrics",
        call="JaccardIndex, F1Score(task='binary')",
        ratios=_TORCHMETRICS,
        nowhere=0.0,
        first_class=1,
        two_classes=True,
        why="The foreground alone, over all images together, and 0 where there is none; segstudy averages it with the "
        "background.",
    ),
    Convention(
        name="torchmetrics",
        library="torchmetrics",
        call="segmentation.MeanIoU()",
        ratios={"MeanIoU": iou},
        level="image",
        average="pairs",
        why="All pairs of an image and a class that it holds or is predicted to hold are averaged; a class that is "
        "predicted in an image without it counts 0 there.",
    ),
    Convention(
        name="torchmetrics",
        library="torchmetrics",
        call="segmentation.MeanIoU(include_background=False)",
        ratios={"MeanIoU": iou},
        level="image",
        average="pairs",
        first_class=1,
        why="As MeanIoU(), without the first class; segstudy counts background as a class.",
    ),
    Convention(
        name="torchmetrics",
        library="torchmetrics",
        call="segmentation.DiceScore()",
        ratios={"DiceScore": dice},
        level="image",
        why="Every image is averaged over the classes that it holds or is predicted to hold, then the images; a class that "
        "is predicted in an image without it counts 0 there.",
    ),
    Convention(
        name="torchmetrics",
        library="torchmetrics",
        call="segmentation.DiceScore(average='micro')",
        ratios={"DiceScore": dice},
        level="image",
        average="pooled",
        why="The default before version 1.9: the pixels of all classes are added in each image, which makes it the mean of "
        "the images' pixel accuracies.",
    ),
    Convention(
        name="monai",
        library="MONAI",
        call="MeanIoU(), DiceMetric()",
        ratios=_MONAI,
        level="image",
        absent=NAN,
        nothing=0.0,
        why="Every image is averaged over the classes that it holds, then the images, where segstudy adds the counts of all "
        "images first.",
    ),
    Convention(
        name="monai",
        library="MONAI",
        call="MeanIoU(include_background=False), DiceMetric(include_background=False)",
        ratios=_MONAI,
        level="image",
        absent=NAN,
        first_class=1,
        nothing=0.0,
        why="As above, without the first class; images that hold no other are left out.",
    ),
    Convention(
        name="monai",
        library="MONAI",
        call="MeanIoU(ignore_empty=False), DiceMetric(ignore_empty=False)",
        ratios=_MONAI,
        level="image",
        nowhere=1.0,
        why="Every image is averaged over all classes: one that the image lacks counts 1 if it is not predicted there "
        "and 0 if it is.",
    ),
    Convention(
        name="sklearn",
        library="scikit-learn",
        call="average='macro'",
        ratios=_SKLEARN,
        why="A class that is predicted but absent counts 0, where segstudy leaves it out.",
    ),
    Convention(
        name="sklearn",
        library="scikit-learn",
        call="average='macro', labels=all classes",
        ratios=_SKLEARN,
        nowhere=0.0,
        why="Every class without a true pixel counts 0 (zero_division), whether it is predicted or not; segstudy leaves them "
        "out.",
    ),
    Convention(
        name="sklearn",
        library="scikit-learn",
        call="average='micro'",
        ratios=_SKLEARN,
        average="pooled",
        why="The pixels of all classes are added before dividing: f1_score is then pixel accuracy a, and jaccard_score "
        "a / (2 - a).",
    ),
    Convention(
        name="sklearn",
        library="scikit-learn",
        call="average='weighted'",
        ratios=_SKLEARN,
        average="weighted",
        nowhere=0.0,
        why="Classes count by their true pixels, so that frequent classes decide.",
    ),
    Convention(
        name="sklearn",
        library="scikit-learn",
        call="average='binary'",
        ratios=_SKLEARN,
        nowhere=0.0,
        first_class=1,
        two_classes=True,
        why="The default: the second class alone, and 0 where there is none; segstudy averages it with the first.",
    ),
    Convention(
        name="cityscapes",
        library="cityscapesScripts",
        call="evalPixelLevelSemanticLabeling",
        ratios={"averageScoreClasses": iou},
        why="A class that is predicted but absent counts 0, where segstudy leaves it out; on the benchmark's own validation "
        "set every class is present.",
    ),
    Convention(
        name="voc",
        library="Pascal VOC development kit",
        call="VOCevalseg",
        ratios={"avacc": iou},
        skips_undefined=False,
        why="A class that is predicted but absent counts 0, and one that is nowhere makes the mean undefined; on the "
        "benchmark's own sets every class is present.",
    ),
    Convention(
        name="ade20k",
        library="ADE20K scene parsing benchmark",
        call="evaluation code of sceneparsing: Mean IoU",
        ratios={"mIoU": iou},
        nowhere=0.0,
        why="Every class without a true pixel counts 0, whether it is predicted or not; segstudy leaves them out. Pixels of no "
        "class, 0 in the benchmark's files, are not scored: ignore that value.",
    ),
    Convention(
        name="ade20k",
        library="ADE20K scene parsing benchmark",
        call="evaluation code of sceneparsing: Pixel Accuracy",
        ratios={"aAcc": recall},
        average="pooled",
        why="This is pixel accuracy; the benchmark's score is the mean of it and of the mean IoU.",
    ),
    Convention(
        name="notebook",
        library="the review's notebook",
        call="one confusion matrix",
        ratios={"mIoU": iou, "mDice": dice},
        absent=NAN,
        why="The same rule as segstudy's, but on masks that were shrunk to the network's input size; the masks scored here "
        "are as they are.",
    ),
    Convention(
        name="notebook",
        library="the review's notebook",
        call="pixel accuracy",
        ratios={"mPA": recall},
        average="pooled",
        why="It is called mean pixel accuracy, but is the share of all pixels that are right, not a mean over classes.",
    ),
)
