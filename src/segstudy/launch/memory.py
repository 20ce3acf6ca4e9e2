"""In how many parts a batch fits into memory, found before anything is trained (``--fit-memory``).

A GPU is tried: two steps on random images. On a processor nothing is tried, as a system that runs out of memory ends processes:
what a step keeps is counted on two images and multiplied.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch
from torch import Tensor, nn

from segstudy.data.cache.batches import resident_budget
from segstudy.errors import SegstudyError, SpecError
from segstudy.files import claim_on, write_json
from segstudy.launch.pending import check_batch
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import build_network, place, predict_logits
from segstudy.plan import ACCUMULATED, Plan, Run, make_plan, with_accumulate
from segstudy.schema import Recipe
from segstudy.sizes import height_width
from segstudy.study import Config
from segstudy.train.losses import make_loss
from segstudy.train.parts import find_gradient, num_parts
from segstudy.train.regime import Regime, budget_of, optimizer_of
from segstudy.train.state import TrainingState
from segstudy.train.team import make_fabric

if TYPE_CHECKING:
    from lightning_fabric import Fabric

USABLE = 0.8  # of what is available, as other programs need memory too and what is freed is not all given back
COUNTED = 2  # images


def fit(workshop: Workshop, plan: Plan) -> Plan:
    """The plan with the smallest ``recipe.accumulate`` with which every run that is still to be trained fits into memory.

    It is the same for the whole study, and written into the store. Later calls, and other processes, use what is there.

    Raises
    ------
    SegstudyError
        When a network does not fit even with the smallest parts that it can be trained on.

    """
    store, progress = workshop.store, workshop.progress
    if "accumulate" in workshop.study.recipe.model_fields_set:
        progress.say(f"memory: recipe.accumulate is {workshop.study.recipe.accumulate}, from the study or the store")
        return plan
    store.prepare(workshop.study.model_dump(mode="json", exclude_unset=True))
    with claim_on(store.root / ".memory.lock"):
        if not (store.root / ACCUMULATED).is_file():
            runs = {run.experiment: run for run in plan.runs if not store.run(run.experiment, run.seed).trained}
            write_json(store.root / ACCUMULATED, max((_least(workshop, run) for run in runs.values()), default=1))
        study = with_accumulate(workshop.study, store)
    progress.say(f"memory: recipe.accumulate is {study.recipe.accumulate}; {ACCUMULATED} in {store.root} keeps it")
    return make_plan(study, workshop.data_root, store)


def _least(workshop: Workshop, run: Run) -> int:
    workshop.progress.task(f"fitting {run.experiment} into memory", 1)
    config, num_classes = run.config, len(workshop.dataset(run.config.dataset)[0].classes)
    bare = config.model.model_copy(update={"weights": "none"})
    network = build_network(bare, num_classes, 0, None, config.folder)
    fabric = make_fabric(config.recipe)
    trial = Trial(config, network, num_classes, fabric)
    if fabric.device.type == "cuda":
        return smallest(config, network, trial.runs)
    room, needs = USABLE * available_bytes(), trial.needs()
    return smallest(config, network, lambda recipe: needs(recipe) <= room)


def smallest(config: Config, network: nn.Module, fits: Callable[[Recipe], bool]) -> int:
    """The smallest ``recipe.accumulate`` that ``fits``, of those whose parts ``network`` can be trained on.

    Raises
    ------
    SegstudyError
        When none does.

    """
    batch_size, probe, former = config.recipe.batch_size, copy.deepcopy(network).to("meta"), 0
    for accumulate in range(config.recipe.accumulate, batch_size + 1):
        recipe = config.recipe.model_copy(update={"accumulate": accumulate})
        largest = -(-batch_size // accumulate)
        if largest == former:
            continue
        try:
            check_batch(probe, dataclasses.replace(config, recipe=recipe), batch_size)
        except SpecError:
            break
        former = largest
        if fits(recipe):
            return accumulate
    key = "crop_px" if config.recipe.crop_px else "input_size"
    raise SegstudyError(
        f"experiments.{config.experiment}: does not fit into memory, even with {former} image{'s' if former > 1 else ''} at "
        f"a time (recipe.accumulate); lower recipe.{key}, or take a smaller network"
    )


@dataclass(frozen=True)
class Trial:
    """A network and a recipe, to find the memory of a step."""

    config: Config
    network: nn.Module
    num_classes: int
    fabric: Fabric

    def runs(self, recipe: Recipe) -> bool:
        """Whether two steps on a whole batch fit into the GPU's memory, next to the images that training keeps there."""
        device = self.fabric.device
        network = place(copy.deepcopy(self.network), device)
        kept = torch.empty(resident_budget(device), dtype=torch.uint8, device=device)
        try:
            images, labels = self.batch(recipe.batch_size)
            optimizer = optimizer_of(network, recipe, self.config.folder)
            model, stepper = self.fabric.setup(network, optimizer)
            budget, loss_of = budget_of(recipe, recipe.batch_size), make_loss(recipe.loss, self.config.folder)
            regime = Regime(recipe, budget, network, optimizer, TrainingState(), self.config.folder)
            regime.begin(device)
            regime.begin_epoch()
            parts = num_parts(len(images), recipe)
            for step in range(2):  # the second has what the optimiser keeps between steps
                find_gradient(model, network, stepper, images, labels, loss_of, self.fabric, parts)
                stepper.step()
                regime.end_step(0, step)
        except torch.OutOfMemoryError:
            return False
        else:
            return True
        finally:
            del kept
            gc.collect()
            torch.cuda.empty_cache()

    def needs(self) -> Callable[[Recipe], float]:
        """Bytes that a step needs on a processor, by the recipe's number of parts."""
        recipe, network = self.config.recipe, place(copy.deepcopy(self.network), self.fabric.device).train()
        images, labels = self.batch(COUNTED)
        model = self.fabric.setup(network)
        logits, of_network = _kept(lambda: predict_logits(model, images), network)
        _, of_loss = _kept(lambda: make_loss(recipe.loss, self.config.folder)(logits, labels), network)
        weights: int = sum(tensor.nbytes for tensor in network.state_dict().values())
        fixed = weights * (4 if recipe.ema is None else 6)  # gradients, two moments; the average and a copy of it
        of_batch: float = (2 * (images.nbytes + labels.nbytes) + of_loss + 2 * logits.nbytes) / COUNTED

        def bytes_of(recipe: Recipe) -> float:
            at_once = -(-recipe.batch_size // num_parts(recipe.batch_size, recipe))
            return fixed + of_network / COUNTED * at_once + of_batch * recipe.batch_size

        return bytes_of

    def batch(self, num_images: int) -> tuple[Tensor, Tensor]:
        """Random images and labels as a step takes them."""
        size, device = height_width(self.config.recipe.trained_px), self.fabric.device
        generator = torch.Generator().manual_seed(0)
        images = torch.randn(num_images, 3, *size, generator=generator)
        labels = torch.randint(0, self.num_classes, (num_images, *size), generator=generator)
        return images.to(device, memory_format=torch.channels_last), labels.to(device)


def _kept(compute: Callable[[], Tensor], network: nn.Module) -> tuple[Tensor, int]:
    """A result, and bytes of the tensors that its gradient needs, the network's own left out and each counted once."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*network.parameters(), *network.buffers())}
    found: dict[int, Tensor] = {}

    def note(tensor: Tensor) -> Tensor:
        if (place := tensor.untyped_storage().data_ptr()) not in own:
            found[place] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        result = compute()
    return result, sum(tensor.untyped_storage().nbytes() for tensor in found.values())


def available_bytes() -> float:
    """Memory that this process may still take: of the system, and of the container that it runs in."""
    room = float(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no container, or none with a limit
        limit, used = (int(Path(f"/sys/fs/cgroup/memory.{name}").read_text()) for name in ("max", "current"))
        room = min(room, max(limit - used, 0))
    return room
