"""A training step that is recorded once and replayed: one launch instead of hundreds (CUDA graphs).

At small batches, a GPU waits for Python to launch its kernels. A recorded step holds forward pass, loss, backward pass and
optimiser; only batches are copied in. Batches of another shape, such as an epoch's last one, take the plain step.

Array letters: ``n`` image, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from segstudy.progress import Progress
from segstudy.schema import Recipe, loss_terms
from segstudy.train.losses import LOSSES
from segstudy.train.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from lightning_fabric import Fabric

WARM_UP = 3  # plain steps before the recording: libraries choose their kernels, the optimiser makes its state
# Packages whose networks do the same in every step; one of the user's own may do something in Python each time.
KNOWN_NETWORKS = ("segmentation_models_pytorch", "torchvision", "transformers", "monai", "timm")

# A step takes images (n, 3, h, w) and labels (n, h, w); it gives the loss before it, without a gradient, and how many images
# that is the mean of.
Outcome = tuple[Tensor, int]
Step = Callable[[Tensor, Tensor], Outcome]


class Recorder(Protocol):
    """How work on a device is recorded."""

    def aside(self) -> contextlib.AbstractContextManager[object]:
        """Where steps run before the recording."""
        ...

    def record(self, work: Callable[[], Outcome]) -> Callable[[], Outcome]:
        """Record ``work`` without doing it; what is returned does it, and gives its loss in the same tensor each time.

        Raises
        ------
        RuntimeError
            When the work cannot be recorded.

        """
        ...


class CudaGraph:
    """Records the work of one CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """On a stream of its own, after what was started before and before what comes after."""
        outer = torch.cuda.current_stream(self._stream.device)
        self._stream.wait_stream(outer)
        with torch.cuda.stream(self._stream):
            yield
        outer.wait_stream(self._stream)

    def record(self, work: Callable[[], Outcome]) -> Callable[[], Outcome]:
        """Record ``work`` while another thread may prepare the next batch."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(self._stream.device)
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            result = work()

        def replay() -> Outcome:
            graph.replay()
            return result

        return replay


class ReplayedStep:
    """A training step, replayed from its fourth time on where the batch has the shape of the first.

    The learning rate becomes a tensor on the device, so that the schedule reaches a recorded step. If recording fails, that
    is said once and every step is the plain one.
    """

    def __init__(
        self,
        plain: Step,
        optimizer: torch.optim.Optimizer,
        recorder: Recorder,
        device: torch.device,
        progress: Progress,
    ) -> None:
        self._plain, self._optimizer, self._progress = plain, optimizer, progress
        self._recorder: Recorder | None = recorder
        self._replay: Callable[[], Outcome] | None = None
        self._shape: torch.Size | None = None
        self._done = 0
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(float(group["lr"]), device=device)

    def __call__(self, images: Tensor, labels: Tensor) -> Outcome:
        """One step; the loss of a replayed one lies where the next overwrites it."""
        self._shape = images.shape if self._shape is None else self._shape
        if self._recorder is None or images.shape != self._shape:
            return self._plain(images, labels)
        if self._replay is not None:
            self._images.copy_(images)
            self._labels.copy_(labels)
            return self._replay()
        self._done += 1
        if self._done <= WARM_UP:
            with self._recorder.aside():
                return self._plain(images, labels)
        return self._record(self._recorder, images, labels)

    def _record(self, recorder: Recorder, images: Tensor, labels: Tensor) -> Outcome:
        self._images, self._labels = images.clone(), labels.clone()
        groups = self._optimizer.param_groups
        before = [group.get("capturable", False) for group in groups]
        for group in groups:
            group["capturable"] = True
        try:
            self._replay = recorder.record(lambda: self._plain(self._images, self._labels))
        except RuntimeError as error:
            self._recorder = None
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            self._progress.say(f"  note: the step cannot be recorded as a CUDA graph ({reason}); plain steps are used")
        finally:
            for group, value in zip(groups, before, strict=True):
                group["capturable"] = value
        return self._plain(images, labels) if self._replay is None else self._replay()


def recorder_for(recipe: Recipe, network: nn.Module, fabric: Fabric, progress: Progress) -> Recorder | None:
    """The recorder of a training's steps; None, with a line that says why, if they cannot be recorded."""
    if reason := why_not(recipe, network, fabric):
        progress.say(f"  note: --graphs: {reason}; plain steps are used")
        return None
    return CudaGraph(fabric.device)


def why_not(recipe: Recipe, network: nn.Module, fabric: Fabric) -> str:
    """Why a training's steps cannot be recorded; empty if they can.

    >>> from lightning_fabric import Fabric
    >>> why_not(Recipe(), nn.Conv2d(3, 2, 1), Fabric(accelerator="cpu"))
    'there is no CUDA device'
    """
    package = type(network).__module__.split(".")[0]
    foreign = [f"recipe.loss '{name}'" for name, _, _ in loss_terms(recipe.loss) if name not in LOSSES.table]
    foreign += [f"recipe.optimizer '{name}'" for name in [recipe.optimizer.name] if name not in OPTIMIZERS.table]
    foreign += [f"a network of {package}"] if package not in KNOWN_NETWORKS else []
    reasons = {
        "there is no CUDA device": fabric.device.type != "cuda",
        "several devices train together": fabric.world_size > 1,
        "recipe.accumulate divides the batch": recipe.accumulate > 1,
        "recipe.adaptation changes the loss from step to step": recipe.adaptation is not None,
        f"{', '.join(foreign)} may do something in Python in every step": bool(foreign),
    }
    return next((reason for reason, holds in reasons.items() if holds), "")
