"""Columns by their headings: a measure, a difference of one, or text that identifies the run of a row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["value", "difference", "relative", "key", "number", "unknown", "ignored"]

# Spellings without case, spaces and punctuation. "accuracy" is pixel accuracy or mean class accuracy, not said which.
# F1 of one class is its Dice, but a mean F1 may be made of mean precision and mean recall, which no mean Dice is.
MEASURES = {
    "iou": (
        *("iou", "jaccard", "jaccardindex", "jaccardscore", "jac", "ious", "intersectionoverunion"),
        *(
            "jsc",
            "jaccardsimilaritycoefficient",
            "iouscore",
            "ji",
            "jaccardcoefficient",
            "jaccardcoeff",
            "binaryiou",
            "binaryjaccardindex",
            "vocjaccard",
        ),
    ),
    "dice": (
        *("dice", "dsc", "dicescore", "dicecoefficient", "dicecoeff", "dicecoef", "dicesimilarity"),
        *("dicesimilaritycoefficient", "sorensendice", "sørensendice", "dicesimilaritycoeff", "dicesimilarityindex"),
    ),
    "f1": ("f1", "f1score", "fscore", "fmeasure", "binaryf1score", "fbetascore", "f1measure"),
    "class_accuracy": (
        *("classaccuracy", "recall", "sensitivity", "tpr", "recallscore", "binaryrecall", "truepositiverate", "sens"),
        *("hitrate", "sen", "sn"),
    ),
    "precision": ("precision", "ppv", "precisionscore", "binaryprecision", "positivepredictivevalue", "prec"),
    "miou": (
        *("miou", "meaniou", "ioumean", "avgiou", "averageiou", "meanjaccard", "meanintersectionoverunion"),
        *(
            "onehotmeaniou",
            "multiclassjaccardindex",
            "miouclass",
            "iouclass",
            "averagescoreclasses",
            "avacc",
            "mjaccard",
        ),
        *("meanjaccardindex", "mious", "iouavg", "classiou", "ioucla", "meaniouscore", "meanioumetric"),
    ),
    "mdice": (
        *("mdice", "meandice", "dicemean", "avgdice", "averagedice", "mdsc", "meandsc", "dscavg", "avgdsc"),
        *("averagedsc", "generalizeddicescoremean", "diceavg", "meandicescore", "dicemetric"),
    ),
    "mf1": (
        *("mf1", "meanf1", "macrof1", "meanf1score", "macrof1score", "mfscore", "multiclassf1score", "meanfscore"),
        *("avgf1", "averagef1", "avgf1score", "averagef1score", "meanfmeasure"),
        *("f1macro", "mf1score"),
    ),
    "mean_precision": ("mprecision", "meanprecision", "macroprecision", "averageprecisionoverclasses"),
    "pixel_accuracy": (
        *("pixelaccuracy", "pixelacc", "aacc", "overallaccuracy", "globalaccuracy", "pa", "pixacc", "allacc"),
        *("oa", "overallacc", "globalacc", "microaccuracy", "pixelwiseaccuracy", "pacc", "globalavg"),
    ),
    "fwiou": (
        *("fwiou", "freqweightediou", "frequencyweightediou", "frequencyweightedintersectionoverunion", "freqwacc"),
        *("fwiu", "weightediou"),
    ),
    "mean_class_accuracy": (
        *("macc", "meanclassaccuracy", "meanclassacc", "meanaccuracy", "meanacc", "mca", "mrecall", "meanrecall"),
        *("balancedaccuracy", "multiclassrecall", "classavg", "balancedaccuracyscore", "macrorecall"),
    ),
    "accuracy": (
        *("mpa", "meanpixelaccuracy", "meanpixelacc", "accuracy", "acc", "accuracyscore", "binaryaccuracy"),
        *("sparsecategoricalaccuracy", "categoricalaccuracy", "multiclassaccuracy"),
    ),
}
MEAN_OF = {
    **{
        "iou": "miou",
        "dice": "mdice",
        "class_accuracy": "mean_class_accuracy",
        "f1": "mf1",
        "precision": "mean_precision",
    },
    "score": "mean_score",  # of columns whose measure nothing says
}
CLASS_OF = {mean: measure for measure, mean in MEAN_OF.items()}
# Words next to the measure of a class that make it a mean; but "average precision" is a measure of detectors.
OVER_CLASSES = {"mean", "average", "avg", "macro"}
MEANS = {"mean", "average", "avg", "mean over classes", "overall", "all", "all classes", "macro average", "macro avg"}
SUMMARY = {"mean", "average", "avg", "overall", "all", "total", "macro"}  # one of them in a class's name: not a class

DIFFERENCES = {"delta", "diff", "difference", "drop", "gain", "improvement", "reduction"}
VAGUE = {"change", "gap"}  # differences too, but only next to a measure's name
FALLS = {"drop", "reduction"}  # a lower score is a positive number
RELATIVE = {"relative", "rel"}
NO_SCORES = {"std", "sd", "stdev", "se", "sem", "ci", "var", "variance", "loss", "rank"}  # nor these, of regions:
NO_SCORES |= {"boundary", "surface", "contour", "edge", "trimap", "object", "instance", "lesion", "detection", "box"}
SPREADS = {"std", "sd", "stdev", "stddev"}
ROW_MEANS = {"mean", "average", "avg"}
_PLURALS = {"folds", "seeds", "runs", "images", "splits", "all", "the"}
FILLERS = {"per", "class", "perclass", "of", "the", "in", "on", "vs", "versus", "from", "to", "over"}
FILLERS |= {"abs", "absolute", "mean", "value", "percentage", "points", "coef", "coeff", "coefficient"}
FILLERS |= {"score", "index"}

# What tells rows apart. "number" counts rows and says nothing about them.
KEYS = {
    "run": ("run", "experiment", "modelname", "runname", "experimentname", "name"),
    "model": ("model", "models", "method", "methods", "architecture", "network", "networks", "arch"),
    "dataset": ("dataset", "datasets", "data"),
    "train": ("train", "trainedon", "traindata", "trainingdata", "source", "trainset", "trainingset"),
    "test": ("test", "testedon", "testdata", "target", "evaluatedon", "testset"),
    "train → test": ("traintest", "sourcetarget"),
    "class": ("class", "classname", "category", "organ", "structure"),
    "variant": ("variant", "notes", "note", "setting", "configuration", "section"),
    "backbone": ("backbone", "encoder"),
    "weights": ("weights", "pretrained", "pretraining", "initialization", "initialisation"),
    "output stride": ("os", "outputstride"),
    "input": ("input", "inputsize", "resolution", "size"),
    "seed": ("seed",),
    "fold": ("fold",),
    "split": ("split", "subset"),
    "epochs": ("epoch", "epochs"),
    "label": ("label", "caption"),
    "classes": ("classes", "numclasses", "numberofclasses"),
}
INTERVAL = re.compile(
    r"[(\[]?\s*\b(?:80|90|95|99)\s*%?\s*-?\s*(?:CIs?|confidence\s+intervals?)\b\s*[)\]]?", re.IGNORECASE
)
WHOLE = {"dc": "dice", "jc": "iou"}  # headings that are too short to be looked for in others (medpy)
NUMBERS = ("panel", "no", "nr", "row", "rank")

_MEASURE = {spelling: key for key, spellings in MEASURES.items() for spelling in spellings}
_KEY = {spelling: key for key, spellings in KEYS.items() for spelling in spellings}


@dataclass(frozen=True)
class Heading:
    """One column: ``text`` as printed, ``name`` the measure's or key's, ``of`` what else the heading names (a run, a class).

    Of a difference, ``falls`` says that a lower score makes it positive, ``unsigned`` that it is printed without a sign,
    ``guessed`` that its measure is not named but that of the nearest column on its left, ``aside`` that it stands in
    brackets after the scores of a column; of a mean, ``closes`` says that it is that of the classes next to it.
    """

    text: str
    kind: Kind
    name: str = ""
    of: str = ""
    percent: bool = False
    falls: bool = False
    unsigned: bool = False
    guessed: bool = False
    aside: bool = False
    closes: bool = False


def fold(text: str) -> str:
    """Letters and digits alone, without case: what two spellings of one name share.

    >>> fold("U-Net") == fold("unet"), fold("F1-score")
    (True, 'f1score')
    """
    return re.sub(r"[\W_]+", "", text).casefold()


def parse_heading(text: str, read_as: str | None = None) -> Heading:
    """Recognise a heading, or what the caller declared in its place.

    >>> found = parse_heading("Drop mIoU (%)")
    >>> found.kind, found.name, found.percent, found.falls
    ('difference', 'miou', True, True)
    >>> parse_heading("UNet IoU").of, parse_heading("Dataset").name, parse_heading("FPS").kind
    ('UNet', 'dataset', 'unknown')
    """
    meant = text if read_as is None else read_as
    if read_as is not None and fold(read_as) == "ignore":
        return Heading(text, "ignored")
    if fold(meant) in _KEY:
        return Heading(text, "key", _KEY[fold(meant)])
    if fold(meant) in NUMBERS or meant.strip() in ("#", "№"):
        return Heading(text, "number")
    if fold(meant) in WHOLE:
        return Heading(text, "value", WHOLE[fold(meant)])
    meant = INTERVAL.sub(" ", meant)  # what stands behind the score
    percent = "%" in meant or "percent" in meant.casefold()
    bare = re.sub(r"[(\[]?\s*(?:in\s+)?(?:%|percent)\s*[)\]]?|[↑↓*]|(?:±|\+/-).*", " ", meant, flags=re.IGNORECASE)
    bare = re.sub(r"[Δδ∆]", " delta ", bare)
    # A hyphen may belong to a run's name, a full stop to an abbreviation; MMSegmentation logs IoU.road.
    for separators in (r"[\s()\[\]|‖,:]+", r"[\s()\[\]|‖,:_/-]+", r"[\s()\[\]|‖,:_/.-]+"):
        found = _measure(text, [word for word in re.split(separators, bare) if word])
        if found.kind != "unknown":
            return replace(found, percent=percent, unsigned=bool(re.search(r"[|‖]|\babs", meant, re.IGNORECASE)))
    return Heading(text, "unknown")


def _measure(text: str, words: list[str]) -> Heading:
    """A heading whose longest run of words that names a measure is taken for it; what is left says of what."""
    folded = [fold(word) for word in words]
    if NO_SCORES & set(folded):
        return Heading(text, "unknown")
    name, places = _named(folded)
    rest = [(word, key) for k, (word, key) in enumerate(zip(words, folded, strict=True)) if key and k not in places]
    if (
        name in MEAN_OF
        and (over := {key for _, key in rest} & OVER_CLASSES)
        and (name, over) != ("precision", {"average"})
    ):
        name, rest = MEAN_OF[name], [(word, key) for word, key in rest if key not in over]
    said = {key for _, key in rest}
    differs = DIFFERENCES | VAGUE if name else DIFFERENCES
    kind: Kind = "relative" if said & RELATIVE else "difference" if said & differs else "value"
    of = " ".join(word for word, key in rest if key not in differs | RELATIVE | FILLERS)
    if not name and (kind == "value" or of):
        return Heading(text, "unknown")
    return Heading(text, kind, name, of, falls=bool(said & FALLS))


def _named(folded: list[str]) -> tuple[str, set[int]]:
    """The measure that words name, "" for none, and their places, those of its other names included: ``Dice (DSC)``."""
    spans = [(a, b) for a in range(len(folded)) for b in range(a + 1, len(folded) + 1)]
    named = {span: _MEASURE[key] for span in spans if (key := "".join(folded[slice(*span)])) in _MEASURE}
    if not named:
        return "", set()
    longest = max(named, key=lambda span: span[1] - span[0])
    places, names = set(range(*longest)), {named[longest]}
    for span, name in sorted(named.items(), key=lambda item: item[0][0] - item[0][1]):
        if places.isdisjoint(range(*span)) and _of_one_class(name) == _of_one_class(named[longest]):
            places |= set(range(*span))
            names.add(name)
    plain = {CLASS_OF.get(name, name) for name in names}
    alone = plain.pop() if len(plain) == 1 else "dice"
    return MEAN_OF[alone] if names & CLASS_OF.keys() else alone, places


def _of_one_class(name: str) -> str:
    """The measure of one class that a measure is, or is the mean of; F1 of one class is its Dice."""
    plain = CLASS_OF.get(name, name)
    return "dice" if plain == "f1" else plain


def spread_of(text: str) -> str | None:
    """Of a heading that is a standard deviation, the folded heading of its score, "" where it names none; else None.

    >>> spread_of("mIoU std"), spread_of("± SD"), spread_of("mIoU")
    ('miou', '', None)
    """
    words = [word for word in re.split(r"[\s()\[\]_/,:±-]+", text) if word]
    kept = [word for word in words if fold(word) not in SPREADS]
    return None if len(kept) == len(words) else fold(" ".join(kept))


def summary_of(text: str) -> tuple[bool, bool]:
    """Whether a row's name says that it holds means, and standard deviations, of the rows above.

    >>> summary_of("Mean"), summary_of("avg. ± std"), summary_of("SD"), summary_of("fold 1")
    ((True, False), (True, True), (False, True), (False, False))
    """
    words = set(re.findall(r"[a-z]+|±|\+/-", text.casefold().replace("standard deviation", "std")))
    if not words or words - ROW_MEANS - SPREADS - {"±", "+/-", "of", "and", "over"} - _PLURALS:
        return False, False
    return bool(words & ROW_MEANS), bool(words & SPREADS)


def complete(headings: list[Heading], classes: Mapping[str, str], measure: str) -> list[Heading]:
    """Settle what one heading cannot say alone.

    A difference without a measure belongs to the nearest measure on its left. A heading that is the name of one of
    ``classes`` (folded name -> name) holds ``measure`` of that class.
    """
    done: list[Heading] = []
    for heading in headings:
        if heading.kind in ("unknown", "key") and measure and fold(heading.text) in classes:  # a train is a class, too
            heading = replace(heading, kind="value", name=measure, of=classes[fold(heading.text)])
        elif heading.kind in ("difference", "relative") and not heading.name:
            left = next((other for other in reversed(done) if other.kind == "value"), None)
            guess = replace(heading, name=left.name, of=left.of, guessed=True) if left else None
            heading = guess or replace(heading, kind="unknown")
        done.append(heading)
    return done
