"""One training by several processes, each with a device: DistributedDataParallel through Fabric.

The recipe's batch is divided among the processes. The loss is that of the whole batch, whatever it is made of, so the weights
move as on one device. Process 0 leads: it alone writes files, and requests to it are carried out by all after the same step.

Array letters: ``n`` image, ``c`` class or channel, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from segstudy.errors import SegstudyError, SpecError
from segstudy.schema import Recipe
from segstudy.stopping import Stop, Stopped
from segstudy.store import HeldError
from segstudy.train.processes import ALONE, Team

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.strategies.ddp import DDPStrategy

Precision = Literal["bf16-mixed", "32-true"]
PATIENCE = timedelta(days=2)  # followers wait for the leader while it scores, or waits for runs that others hold


class TeamLost(SegstudyError):
    """A process of a team failed alone: the others wait for it in vain, so all of them end."""


class Diverged(SegstudyError):
    """The loss is no longer a number; every process of a training sees it after the same epoch."""


@contextlib.contextmanager
def ordered(fabric: Fabric, stop: Stop, *order: Any) -> Iterator[None]:
    """Let the other processes of a team do the same as the block, as ``order`` says; nothing where there are none.

    Raises
    ------
    TeamLost
        When the block fails in a way that the others do not know of.

    """
    if fabric.world_size == 1:
        yield
        return
    try:
        fabric.broadcast(order)
        with stop.steps():
            yield
    except (Stopped, HeldError, Diverged):  # all processes know
        raise
    except Exception as error:
        raise TeamLost(
            f"{order[1]}: a process of the {fabric.world_size} that train together failed, so all ended "
            f"({type(error).__name__}: {next(iter(str(error).splitlines()), '')}); correct the cause, then "
            "run the same command again"
        ) from error
    stop.check()


def count_devices() -> int:
    """Devices of this machine that a process each can train on: its GPUs, else its processors."""
    affinity = getattr(os, "sched_getaffinity", None)
    return torch.cuda.device_count() or (len(affinity(0)) if affinity else os.cpu_count() or 1)


def team_here(devices: int | None, nodes: int = 1) -> Team | None:
    """The team that torchrun, srun or segstudy started this process in; None if it was started by itself.

    Raises
    ------
    SpecError
        When ``--devices`` and ``--nodes`` do not agree with what was started.

    """
    if "TORCHELASTIC_RUN_ID" in os.environ:
        starter, rank, size = "torchrun", int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        devices = int(os.environ["LOCAL_WORLD_SIZE"]) if devices is None else devices
        nodes = size // devices if nodes == 1 else nodes
    elif devices is not None and int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        starter, rank, size = "srun", int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_STEP_NUM_TASKS"])
    else:
        return None
    if devices * nodes != size:
        raise SpecError(f"--devices {devices} on {nodes} nodes: {starter} started {size} processes; make them agree")
    return Team(rank, devices, nodes)


def choose_precision(precision: str, device: torch.device) -> Precision:
    """``auto`` takes bf16 where the processor or GPU multiplies matrices in it, float32 elsewhere.

    A processor does so with AMX. AVX-512's instructions for bf16 alone make a step take half as long again as float32's
    (``bench/train.py --precisions``).
    """
    if precision == "auto":
        on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        on_cpu = device.type == "cpu" and torch.cpu._is_amx_tile_supported()
        return "bf16-mixed" if on_gpu or on_cpu else "32-true"
    return "bf16-mixed" if precision == "bf16" else "32-true"


def make_fabric(recipe: Recipe, accelerator: str = "auto", team: Team = ALONE) -> Fabric:
    """One device, a GPU if there is one, at the recipe's precision; of a team, the one of this process."""
    from lightning_fabric import Fabric  # takes seconds, which commands that train nothing need not wait for

    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it before its first use
    for name in ("lightning_fabric", "lightning_fabric.utilities.distributed"):
        logging.getLogger(name).setLevel(logging.WARNING)  # it announces the precision of every run
    device = Fabric(accelerator=accelerator, devices=1).device
    precision = choose_precision(recipe.precision, device)
    if team.size == 1:
        return Fabric(accelerator=accelerator, devices=1, precision=precision)
    fabric = Fabric(
        accelerator=accelerator,
        devices=team.devices,
        num_nodes=team.nodes,
        precision=precision,
        strategy=_strategy(device),
    )
    fabric.launch()
    return fabric


def _strategy(device: torch.device) -> DDPStrategy:
    """How the processes of a team find each other and exchange gradients."""
    from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
    from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
    from lightning_fabric.strategies.ddp import DDPStrategy

    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ
    return DDPStrategy(
        cluster_environment=TorchElasticEnvironment() if by_torchrun else SLURMEnvironment(auto_requeue=False),
        process_group_backend="cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
        timeout=PATIENCE,
    )


def same_statistics(network: nn.Module, fabric: Fabric) -> None:
    """Give every process the leader's buffers: without synchronisation each has the statistics of its own images."""
    if fabric.world_size > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, 0)


def gathered(value: Any, fabric: Fabric) -> list[Any]:
    """A small value of every process, in the order of ranks."""
    if fabric.world_size == 1:
        return [value]
    values = [None] * fabric.world_size
    dist.all_gather_object(values, value)
    return values


def whole_loss_inputs(logits_nchw: Tensor, labels_nhw: Tensor, fabric: Fabric) -> tuple[Tensor, Tensor]:
    """Logits and labels of the whole batch; gradients flow into this process's own images.

    Every process computes the loss of the whole batch: a mean of each one's loss would be another number where their
    images or counted pixels differ in number, or where a loss is not a mean over images. Only the own part has a graph, so the
    gradients of all processes add up to the whole batch's.
    """
    if fabric.world_size == 1:
        return logits_nchw, labels_nhw
    sizes = [torch.zeros((), dtype=torch.int64) for _ in range(fabric.world_size)]
    dist.all_gather(sizes, torch.tensor(len(labels_nhw)))  # on the processor: no device is waited for
    numbers = [int(size) for size in sizes]
    logits = _whole(logits_nchw.detach(), numbers)
    labels = _whole(labels_nhw.to(torch.uint8), numbers)
    logits[fabric.global_rank] = logits_nchw
    return torch.cat(logits), torch.cat(labels).to(labels_nhw.dtype)


def _whole(own: Tensor, numbers: list[int]) -> list[Tensor]:
    """Tensors of every process, which differ in their first dimension only."""
    padded = own.new_zeros((max(numbers), *own.shape[1:]))
    padded[: len(own)] = own
    everybody = [torch.empty_like(padded) for _ in numbers]
    dist.all_gather(everybody, padded)
    return [theirs[:number] for theirs, number in zip(everybody, numbers, strict=True)]


def pause_due(stop: Stop, save: bool, fabric: Fabric) -> bool:
    """Whether to save or to stop after this step: all processes follow the leader's request or finding."""
    due = stop.due
    if fabric.world_size == 1:
        return due or stop.claim_lost or save
    code = stop.requested[1] if stop.requested else 0
    word = torch.tensor([code, int(stop.claim_lost), int(save)])
    dist.broadcast(word, 0)
    code, lost, saves = word.tolist()
    stop.claim_lost = bool(lost)
    if code and stop.requested is None:
        stop.requested = ("the leading process was requested to stop", code)
    return bool(code or lost or saves)


def agree(stop: Stop, fabric: Fabric) -> Stop:
    """Let all processes of a team stop here if the leader was requested to; returns ``stop``."""
    if fabric.world_size > 1:
        pause_due(stop, False, fabric)
    return stop


class _Summed(torch.autograd.Function):
    """The sum of a tensor over all processes; its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total


def _summed(own: Tensor) -> Tensor:
    total: Tensor = _Summed.apply(own)  # type: ignore[no-untyped-call]
    return total


class TogetherNorm(_BatchNorm):
    """Batch normalisation over the images of all processes, on any device; torch's own is for GPUs only."""

    def _check_input_dim(self, input: Tensor) -> None:
        pass  # of any number of dimensions

    def forward(self, images: Tensor) -> Tensor:
        """Normalised values (n, c, ...), and what else timm's layers do after normalising."""
        normal: Tensor = self._together(images) if self.training else super().forward(images)
        for child in self.children():  # drop and act of timm's BatchNormAct2d
            normal = child(normal)
        return normal

    def _together(self, images: Tensor) -> Tensor:
        values = images.float()
        over, shape = [0, *range(2, images.ndim)], (-1, *[1] * (images.ndim - 2))
        count = _summed(torch.tensor(images.numel() / images.shape[1], device=images.device))
        mean = _summed(values.sum(over)) / count
        centred = values - mean.view(shape)
        variance = _summed(centred.square().sum(over)) / count
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            pull = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), pull)
            self.running_var.lerp_((variance * count / (count - 1).clamp(min=1)).detach(), pull)
        normal = centred * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        return normal.to(images.dtype)


def synchronised(network: nn.Module, recipe: Recipe, fabric: Fabric) -> nn.Module:
    """The network with batch statistics over all processes if the recipe wants them; names of weights stay what they are."""
    if not recipe.sync_batch_norm or fabric.world_size == 1:
        return network
    if fabric.device.type == "cuda":
        from timm.layers.norm_act import convert_sync_batchnorm  # knows timm's own layers, torch's does not

        converted: nn.Module = convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
        return converted
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = TogetherNorm
    return network
