"""The parts of a study file: datasets, networks, the recipe, scoring rules; immutable, typed and checked."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    Discriminator,
    Field,
    PositiveFloat,
    PositiveInt,
    SerializeAsAny,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from segstudy.folds import ALL_FOLDS, read_fold
from segstudy.named import Frozen, Tabled, fault_of_part
from segstudy.sizes import InputSize, Size


def _named_or_spelled(value: Any) -> str:
    """Which of two forms was given; pydantic adds these tags to its paths, and error messages remove them."""
    return "<spelled>" if isinstance(value, dict | BaseModel) else "<named>"


def _read_named(part: type[Tabled], value: Any, info: ValidationInfo) -> Any:
    """A name, or a mapping of ``name`` and options; a mapping with only default options becomes the name."""
    if isinstance(value, str):
        try:
            part.read({"name": value}, info)
        except ValidationError as error:
            details = error.errors()
            if details[0]["type"] != "entry":
                raise
            raise fault_of_part(part, (), details[0]["msg"], value) from None
        return value
    if not isinstance(value, dict | part):
        raise fault_of_part(part, (), f"must be a name, or a mapping of name and options (given: {value!r:.60})", value)
    found = part.read(value, info)
    named_alone = isinstance(found, LossPart | SchedulePart | AugmentPart | AdaptationPart) and not found.own_options()
    return found.name if named_alone else found


def _read_loss(value: Any, info: ValidationInfo) -> Any:
    """A loss, or a weighted sum ``{cross_entropy: 1, dice: {weight: 0.5, smooth: 1}}``."""
    if not isinstance(value, dict) or not _is_sum(value):
        return _read_named(LossPart, value, info)
    terms: dict[str, Any] = {}
    for name, given in value.items():
        weight, options = (given.get("weight", 1), dict(given)) if isinstance(given, dict) else (given, {})
        options.pop("weight", None)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
            words = f"must be the weight of the term, a positive number (given: {weight!r})"
            raise fault_of_part(LossPart, (name,), words, value)
        try:
            found = _read_named(LossPart, {**options, "name": name}, info)
        except ValidationError as error:
            raise _of_term(name, error) from None
        own = {} if isinstance(found, str) else found.own_options()
        terms[name] = {"weight": float(weight), **own} if own else float(weight)
        if len(value) == 1 and weight == 1:
            return found
    return terms


def _is_sum(value: dict[Any, Any]) -> bool:
    """Whether a mapping without ``name`` names losses; one of options alone is a loss whose name was forgotten."""
    table = LossPart.table().table
    named = [key for key in value if isinstance(key, str) and (key in table or ":" in key)]
    return "name" not in value and bool(named or len(value) > 1)


def _of_term(name: str, error: ValidationError) -> ValidationError:
    """The first problem of a term of a sum, at its place in the sum."""
    detail = error.errors()[0]
    words = detail["msg"].removeprefix("Value error, ").replace("Input should", "should")
    if detail["type"] == "extra_forbidden":
        words = f"unknown key; known here: {', '.join(['weight', *LossPart.table().find(name).options.model_fields])}"
    at = tuple(str(part) for part in detail["loc"] if part != "name")
    return fault_of_part(LossPart, (name, *at), words, detail["input"])


def loss_terms(loss: Loss) -> list[tuple[str, float, dict[str, Any]]]:
    """Name, weight and options of each term of a loss; a single loss is one term of weight 1."""
    if isinstance(loss, str):
        return [(loss, 1.0, {})]
    if isinstance(loss, LossPart):
        return [(loss.name, 1.0, loss.own_options())]
    spelled = {name: given if isinstance(given, dict) else {"weight": given} for name, given in loss.items()}
    return [(name, each["weight"], {k: v for k, v in each.items() if k != "weight"}) for name, each in spelled.items()]


def _sum_text(terms: dict[str, Any]) -> str:
    """A weighted sum as one text, the same in whatever order its terms are given."""
    words = []
    for name, weight, options in sorted(loss_terms(terms), key=lambda term: term[0]):
        number = int(weight) if weight.is_integer() else weight
        words.append(", ".join([f"{number} {name}", *(f"{key} {each}" for key, each in options.items())]))
    return " + ".join(words)


def _text(value: str | BaseModel | dict[str, Any]) -> str:
    """A name, or a written-out mapping, as one text."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return _sum_text(value)
    changed = value.model_dump(exclude_defaults=True)
    name = changed.pop("name", "")
    return ", ".join([*([name] if name else []), *(f"{key} {each}" for key, each in changed.items())]) or "none"


class Synthetic(Frozen):
    """Synthetic scenes to draw if segstudy creates the dataset itself."""

    num_images: PositiveInt | None = None
    num_train: PositiveInt | None = None
    num_val: PositiveInt | None = None
    size: list[PositiveInt] = Field(min_length=2, max_length=2)
    seed: int = Field(0, ge=0)


class Groups(Frozen):
    """A CSV file of groups (patient, video, place): its path and two column names."""

    file: str = Field(min_length=1)
    image: str = "image"
    group: str = "group"


NamedGroups = Annotated[
    Annotated[str, Tag("<named>")] | Annotated[Groups, Tag("<spelled>")], Discriminator(_named_or_spelled)
]


class ReaderOptions(Frozen):
    """Base of a reader's options, with the options of every reader: how to divide images without splits."""

    test_fraction: float = Field(0.2, gt=0, lt=1)
    split_seed: int = Field(42, ge=0, lt=2**32)


# Options of every reader of earlier versions stay part of a run's identity. Others enter it unless they are the default.
FORMER_OPTIONS: dict[str, Any] = {"num_classes": None, "classes": None, "ignore_values": []}


class Data(ReaderOptions, Tabled):
    """Where a dataset is, how it is read and how it is split.

    ``groups`` keeps images together: a pattern whose first bracket matches the group in an image's id, or a CSV file. With
    ``stratify``, parts have equal shares of each class. ``folds`` divides all images; part ``fold`` is the test set, or with
    ``all`` each is, of one network. ``segstudy check --write-split`` writes a ``split_file``. Other keys are the reader's.
    """

    door: ClassVar[str] = "segstudy.data.readers:READERS"
    by: ClassVar[str] = "reader"

    reader: str
    root: str = Field(min_length=1)
    holdout_fraction: float = Field(0.1, gt=0, lt=1)
    groups: NamedGroups | None = None
    stratify: bool = False
    folds: int | None = Field(None, ge=2, le=100)
    fold: Annotated[int | str, BeforeValidator(read_fold)] = 0
    split_file: str | None = None
    report: str | None = None
    synthetic: Synthetic | None = None

    def of_fold(self, fold: int | None) -> Data:
        """The entry of one fold; None is the first fold of an entry with ``fold: all``, and else the entry itself."""
        if fold is None:
            return self.model_copy(update={"fold": 0}) if self.fold == ALL_FOLDS else self
        return self.model_copy(update={"fold": fold})

    def determining(self) -> dict[str, Any]:
        """Everything that determines a result: every key except the location, and the reader's options that are not defaults."""
        shared = self.model_dump(exclude={"root", *self.option_names})
        return {**FORMER_OPTIONS, **shared, **self.own_options()}


Entry = Annotated[SerializeAsAny[Data], BeforeValidator(Data.read)]


def data_entry(keys: Mapping[str, Any], folder: str = "") -> Data:
    """A ``data`` entry from plain data; ``folder`` contains the study file."""
    return Data.with_options(str(keys["reader"]), folder).model_validate(dict(keys))


class Model(Frozen):
    """Any network that segmentation-models-pytorch builds.

    ``weights`` of the encoder: ``imagenet`` (downloaded on first use), ``packaged`` (ImageNet weights from an
    installed package), ``none`` (random), or a ``.pth`` or ``.safetensors`` file. ``options`` are further arguments of the
    architecture. A network that is not of segmentation-models-pytorch has no ``encoder``; its ``weights`` are random or a file.
    """

    arch: str
    encoder: str = "resnet50"
    weights: str = "imagenet"
    output_stride: Literal[8, 16] | None = None
    options: dict[str, Any] = Field({})

    @property
    def has_encoder(self) -> bool:
        """Whether ``encoder`` means something: not for networks of other libraries, and of the user's own."""
        return ":" not in self.arch and not self.arch.startswith(("torchvision-", "huggingface-", "monai-"))


class Optimizer(Tabled):
    """Optimiser and its constants; ``momentum`` is for SGD. All other keys are options of the optimiser."""

    door: ClassVar[str] = "segstudy.train.optimizers:OPTIMIZERS"
    by: ClassVar[str] = "name"

    name: str = "adam"
    lr: PositiveFloat = 1e-4
    weight_decay: float = Field(1e-4, ge=0)
    momentum: float = Field(0.9, ge=0, lt=1)


class LossPart(Tabled):
    """A loss with options, ``{name: focal, gamma: 3}``."""

    door: ClassVar[str] = "segstudy.train.losses:LOSSES"
    by: ClassVar[str] = "name"

    name: str


class SchedulePart(Tabled):
    """A schedule with options, ``{name: poly, power: 1}``."""

    door: ClassVar[str] = "segstudy.train.schedules:SCHEDULES"
    by: ClassVar[str] = "name"

    name: str


class AugmentPart(Tabled):
    """An augmentation by name with options, ``{name: mine:jitter, strength: 0.1}``."""

    door: ClassVar[str] = "segstudy.data.augmentations:AUGMENTATIONS"
    by: ClassVar[str] = "name"

    name: str


class TargetPart(Tabled):
    """Training that also sees images of another dataset, never their masks, ``{name: fourier, data: person}``."""

    door: ClassVar[str] = "segstudy.train.methods:METHODS"
    by: ClassVar[str] = "name"

    name: str
    data: str
    split: str = "train"


class AdaptationPart(Tabled):
    """A test-time adaptation with options, ``{name: tent, lr: 1.0e-4}``."""

    door: ClassVar[str] = "segstudy.networks.adaptation:ADAPTATIONS"
    by: ClassVar[str] = "name"

    name: str


Range = Annotated[list[float], Field(min_length=2, max_length=2)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Augment(Frozen):
    """Random changes of the training images, drawn for each image; the defaults change nothing.

    ``flip_horizontal``, ``flip_vertical``, ``blur``, ``noise`` and ``cutout`` are probabilities. ``scale`` is a range of
    zoom factors and ``rotation_degrees`` the largest angle. ``brightness``, ``contrast`` and ``saturation`` are the largest
    relative change, ``hue`` is the largest fraction of the colour circle.
    """

    flip_horizontal: Fraction = 0.0
    flip_vertical: Fraction = 0.0
    scale: Range = Field([1.0, 1.0])
    rotation_degrees: float = Field(0.0, ge=0, le=180)
    brightness: float = Field(0.0, ge=0, lt=1)
    contrast: float = Field(0.0, ge=0, lt=1)
    saturation: float = Field(0.0, ge=0, le=1)
    hue: float = Field(0.0, ge=0, le=0.5)
    blur: Fraction = 0.0
    noise: Fraction = 0.0
    cutout: Fraction = 0.0

    @model_validator(mode="after")
    def _scale_is_a_range(self) -> Augment:
        if not 0.1 <= self.scale[0] <= self.scale[1] <= 10:
            raise ValueError(f"scale {self.scale} must be [least, most] with 0.1 <= least <= most <= 10")
        return self


def _read_augment(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, str) or (isinstance(value, dict) and "name" in value):
        return _read_named(AugmentPart, value, info)
    return value if isinstance(value, AugmentPart) else Augment.model_validate(value)


Loss = Annotated[str | SerializeAsAny[LossPart] | dict[str, Any], BeforeValidator(_read_loss)]
Schedule = Annotated[str | SerializeAsAny[SchedulePart], BeforeValidator(functools.partial(_read_named, SchedulePart))]
Augmentation = Annotated[str | SerializeAsAny[AugmentPart] | Augment, BeforeValidator(_read_augment)]
Adaptation = Annotated[
    str | SerializeAsAny[AdaptationPart], BeforeValidator(functools.partial(_read_named, AdaptationPart))
]


class Recipe(Frozen):
    """Everything about training that experiments share; the defaults are the review's.

    Sizes are the side of a square or (height, width). With ``crop_px``, a network is trained on random crops of that size
    from full-size images, and predicts whole images; ``input_size`` has no effect. With ``iterations``, training ends after so
    many steps, and ``epochs`` has no effect. A batch is worked on in ``accumulate`` parts, one after the other.
    """

    epochs: PositiveInt = 50
    iterations: PositiveInt | None = None
    batch_size: PositiveInt = 16
    accumulate: PositiveInt = 1
    input_size: InputSize = 256
    crop_px: InputSize | None = None
    optimizer: Annotated[SerializeAsAny[Optimizer], BeforeValidator(Optimizer.read)] = Optimizer()
    schedule: Schedule = "cosine"
    schedule_by: Literal["epoch", "step"] = "epoch"
    warmup_epochs: float = Field(0.0, ge=0)
    encoder_rate: PositiveFloat = 1.0
    clip_norm: PositiveFloat | None = None
    ema: float | None = Field(None, gt=0, lt=1)
    frozen_encoder: bool = False
    frozen_statistics: bool = False
    sync_batch_norm: bool = False
    sampling: Literal["uniform", "class_balanced"] = "uniform"
    patience: PositiveInt | None = None
    loss: Loss = "cross_entropy"
    augment: Augmentation = "none"
    adaptation: Annotated[SerializeAsAny[TargetPart], BeforeValidator(TargetPart.read)] | None = None
    precision: Literal["auto", "bf16", "float32"] = "auto"
    deterministic: bool = False

    @model_validator(mode="after")
    def _parts_have_images(self) -> Recipe:
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate {self.accumulate} must not be larger than batch_size {self.batch_size}")
        return self

    @property
    def resized_px(self) -> Size | None:
        """Size to which images are resized; None if a network takes them at their own size."""
        return None if self.crop_px else self.input_size

    @property
    def trained_px(self) -> Size:
        """Size of the network's training input."""
        return self.crop_px or self.input_size

    @property
    def augmentation(self) -> str:
        """The augmentation's name, or its policy as one text: an experiment can change all of it as one thing."""
        return _text(self.augment)

    @property
    def callables(self) -> list[str]:
        """Every name of the recipe that may be a callable of the user."""
        parts = (self.schedule, self.augment)
        named = [part if isinstance(part, str) else getattr(part, "name", "") for part in parts]
        named += [self.adaptation.name] if self.adaptation else []
        return [self.optimizer.name, *named, *(name for name, _, _ in loss_terms(self.loss))]

    def values(self) -> dict[str, Any]:
        """Everything that determines a result; schedule, loss and augmentation as one text each, without default options."""
        texts = {"schedule": _text(self.schedule), "loss": _text(self.loss), "augment": self.augmentation}
        optimizer = self.optimizer.model_dump(exclude=set(self.optimizer.option_names)) | self.optimizer.own_options()
        adaptation = _text(self.adaptation) if self.adaptation else None
        pairs = {key: list(size) for key in ("input_size", "crop_px") if isinstance(size := getattr(self, key), tuple)}
        return {**self.model_dump(), **texts, **pairs, "optimizer": optimizer, "adaptation": adaptation}


class Inference(Frozen):
    """How a trained network predicts an image; by default in one pass over the whole image.

    Probabilities of several passes are averaged. ``flip`` adds the mirrored image, ``scales`` are sizes relative to the
    network's input, ``window_px`` is the side of square windows that overlap by the share ``window_overlap`` and are blended
    with Gaussian weights. ``adaptation`` adapts the network to the images that it is scored on, without their masks.
    ``temperature`` divides logits, and of two classes the second counts from ``threshold``; both are numbers, or ``fitted``
    or ``selected`` on the split that chooses the epoch.
    """

    flip: bool = False
    scales: list[Annotated[float, Field(ge=0.1, le=10)]] = Field([1.0], min_length=1, max_length=16)
    window_px: int | None = Field(None, ge=32, le=4096)
    window_overlap: float = Field(0.25, ge=0, lt=1)
    adaptation: Adaptation = "none"
    temperature: Annotated[float, Field(ge=0.01, le=100)] | Literal["fitted"] = 1.0
    threshold: Annotated[float, Field(gt=0, lt=1)] | Literal["selected"] | None = None

    def values(self) -> dict[str, Any]:
        """Everything that determines a prediction; the adaptation as one text, without default options."""
        return {**self.model_dump(), "adaptation": _text(self.adaptation)}

    @property
    def adapts_by(self) -> tuple[str, dict[str, Any]]:
        """The adaptation's name and its options."""
        given = self.adaptation
        return (given, {}) if isinstance(given, str) else (given.name, given.own_options())

    @property
    def is_fitted(self) -> bool:
        """Whether anything is chosen on the split that selects."""
        return self.temperature == "fitted" or self.threshold == "selected"

    @property
    def words(self) -> str:
        """Differences from one pass over the whole image, for a contract; empty if there are none."""
        passes = [
            *(["mirrored images"] if self.flip else []),
            *([f"scales {', '.join(f'{scale:g}' for scale in self.scales)}"] if self.scales != [1.0] else []),
        ]
        words = [f"averaged over {' and '.join(passes)}"] if passes else []
        if self.window_px is not None:
            words.append(f"in windows of {self.window_px} px that overlap by {self.window_overlap:.0%}")
        if self.adaptation != "none":
            words.append(f"adapted ({_text(self.adaptation)}) to the scored images without their masks")
        own = "{} on the split that chooses the epoch"
        if self.temperature != 1:
            words.append(f"temperature {own.format('fitted') if self.temperature == 'fitted' else self.temperature}")
        if self.threshold is not None:
            words.append(f"threshold {own.format('selected') if self.threshold == 'selected' else self.threshold}")
        return ", ".join(words)


class ScoringRules(Frozen):
    """The counts apart from the confusion matrix, and their tolerances; part of every number's contract.

    Shares are relative to the image's diagonal. ``boundary_iou_share`` is the width of the band (Cheng et al. 2021).
    ``tolerances_px`` and ``tolerance_shares`` apply to boundary F-score and normalised surface distance.
    ``min_object_px`` is the area below which objects and holes are ignored. ``object_sizes_px`` are the areas at which
    medium and large objects begin (COCO's). ``calibration_bins`` is the number of confidence bins of equal width.
    """

    boundary_iou_share: float = Field(0.02, gt=0, le=0.5)
    tolerances_px: list[Annotated[int, Field(ge=0, le=1000)]] = Field([2], max_length=8)
    tolerance_shares: list[Annotated[float, Field(gt=0, le=0.5)]] = Field([0.0075], max_length=8)
    min_object_px: int = Field(16, ge=0)
    object_sizes_px: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] = Field([1024, 9216])
    calibration_bins: int = Field(15, ge=1, le=1000)

    @model_validator(mode="after")
    def _sizes_rise(self) -> ScoringRules:
        if self.object_sizes_px[0] >= self.object_sizes_px[1]:
            raise ValueError(f"object_sizes_px {self.object_sizes_px} must be in rising order")
        return self
