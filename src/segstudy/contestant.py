"""The key ``evaluate``: a network that exists already and is scored without training, and all that must be declared of it."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveFloat, PositiveInt, Tag, model_validator

from segstudy.named import Frozen

# What of ``evaluate`` names the network. Files are run by their own runtime; a Hugging Face folder or name by transformers.
FILES = ("onnx", "torch_export", "tflite", "openvino")
KINDS = (*FILES, "hf", "python")

Three = Annotated[list[float], Field(min_length=3, max_length=3)]
Positive3 = Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)]


class Normalise(Frozen):
    """How pixel values 0 to 255 become a network's input: ``(pixel / scale - mean) / std``, channel by channel."""

    scale: PositiveFloat = 255.0
    mean: Three = Field([0.0, 0.0, 0.0])
    std: Positive3 = Field([1.0, 1.0, 1.0])


NORMALISATIONS = {
    "imagenet": Normalise(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225]),
    "unit": Normalise(),
    "none": Normalise(scale=1.0),
}


def _one_or_many(value: Any) -> str:
    """Which of two forms was given; error messages remove these tags from their paths."""
    return "<spelled>" if isinstance(value, dict | list | Normalise) else "<named>"


Sides = Annotated[
    Annotated[PositiveInt, Tag("<named>")]
    | Annotated[list[PositiveInt], Field(min_length=2, max_length=2), Tag("<spelled>")],
    Discriminator(_one_or_many),
]
Normalisation = Annotated[
    Annotated[Literal["imagenet", "unit", "none"], Tag("<named>")] | Annotated[Normalise, Tag("<spelled>")],
    Discriminator(_one_or_many),
]


class Contestant(Frozen):
    """A network scored without training; exactly one of the first six keys names it.

    ``classes`` are the names of its outputs in their order, and ``map`` says which class of the dataset each means, where
    the names differ; ``"*"`` maps all others. One output channel for two classes is the second class's logit or probability,
    which counts from ``threshold``. ``files`` are files that a ``python`` callable reads. ``title`` is its name in the report.
    """

    onnx: str | None = Field(None, min_length=1)
    torch_export: str | None = Field(None, min_length=1)
    tflite: str | None = Field(None, min_length=1)
    openvino: str | None = Field(None, min_length=1)
    hf: str | None = Field(None, min_length=1)
    python: str | None = Field(None, min_length=1)
    files: list[str] = Field([])
    classes: list[str] | None = Field(None, min_length=2, max_length=255)
    map: dict[str, str] = Field({})
    input_size: Sides | None = None
    normalise: Normalisation | None = None
    channels: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nchw", "nhwc"] | None = None
    output: Literal["logits", "probabilities", "labels"] | None = None
    output_name: str | None = None
    threshold: float | None = Field(None, gt=0, lt=1)
    title: str = ""

    @model_validator(mode="after")
    def _is_complete(self) -> Contestant:
        named = [kind for kind in KINDS if getattr(self, kind) is not None]
        if len(named) != 1:
            raise ValueError(
                f"must name one network by one of {', '.join(KINDS)} (given: {', '.join(named) or 'none'})"
            )
        needed = () if self.kind == "hf" else ("classes", "normalise", "output")
        if missing := [key for key in needed if getattr(self, key) is None]:
            raise ValueError(
                f"needs {', '.join(missing)}: classes are the names of the network's outputs in their order, normalise is "
                f"{', '.join(NORMALISATIONS)} or {{scale, mean, std}}, output is logits, probabilities or labels"
            )
        for key, kinds in (("layout", FILES), ("output_name", FILES), ("files", ("python",))):
            if getattr(self, key) and self.kind not in kinds:
                raise ValueError(f"{key} has no effect for {self.kind}; it is for {', '.join(kinds)}")
        if self.threshold is not None and (self.output == "labels" or len(self.classes or "..") != 2):
            raise ValueError("threshold needs two classes, and logits or probabilities")
        if self.classes is not None and len(set(self.classes)) < len(self.classes):
            raise ValueError(f"classes holds a name twice: {', '.join(self.classes)}")
        return self

    @property
    def kind(self) -> str:
        """Which of the kinds names the network."""
        return next(kind for kind in KINDS if getattr(self, kind) is not None)

    @property
    def given(self) -> str:
        """The network as the study names it: a path, a hub's name, or ``package.module:name``; in a plan, a file's hash."""
        return str(getattr(self, self.kind))

    @property
    def name(self) -> str:
        """The network's name in a report."""
        return self.title or (self.given if self.kind == "python" else PurePath(self.given).name)

    @property
    def words(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"

    def determining(self) -> dict[str, Any]:
        """Everything that determines a score, without what is left at its default."""
        return {"kind": self.kind, **self.model_dump(exclude={"title"}, exclude_defaults=True)}

    def target_of(self, classes: tuple[str, ...], target: tuple[str, ...]) -> dict[str, str]:
        """``map`` with every class spelled out that ``"*"`` stands for.

        Parameters
        ----------
        classes
            Of the network.
        target
            Of the dataset.

        """
        others = self.map.get("*")
        spelled = {name: meant for name, meant in self.map.items() if name != "*"}
        if others is not None:
            spelled |= {name: others for name in classes if name not in spelled and name not in target}
        return spelled
