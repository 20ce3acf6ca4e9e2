"""The cost of a trained network: time, memory, parameters, operations, latency; measured, never estimated."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from segstudy.networks.build import predict_logits
from segstudy.records import Cost, Epoch
from segstudy.sizes import Size, height_width

if TYPE_CHECKING:
    from lightning_fabric import Fabric

WARM_UP, REPEATS = 3, 15


def measure_cost(
    model: nn.Module, network: nn.Module, input_px: Size, epochs: Sequence[dict[str, Any]], fabric: Fabric
) -> Cost:
    """Cost of one run.

    Parameters
    ----------
    model
        The network as it runs: on its device, at its precision.
    network
        The bare network, whose parameters and operations are counted.
    input_px
        Size of what it was trained on, pixels: whole images at input size, or crops.
    epochs
        Records of ``metrics.jsonl``; empty for an imported checkpoint, whose training was not seen.
    fabric
        Names device and precision.

    Returns
    -------
    Cost
        ``seconds_per_epoch`` (median; the split that chooses the epoch not counted), ``images_per_s`` (median,
        training), ``peak_memory_mb`` (training; GPU without the images that lie there, else process), ``parameters`` (millions),
        ``gflops`` (forward, a multiply-add being two) and ``latency_ms`` (forward, median) of one input of
        ``input_px``, and how they were measured.

    """
    image = torch.zeros(1, 3, *height_width(input_px), device=fabric.device).contiguous(
        memory_format=torch.channels_last
    )
    network.eval()
    with torch.inference_mode():
        with FlopCounterMode(display=False) as counter:
            predict_logits(network, image)
        times = [_timed(model, image) for _ in range(WARM_UP + REPEATS)][WARM_UP:]
    records = [Epoch.parse(epoch) for epoch in epochs]
    data_s, all_s = sum(e.data_seconds or 0.0 for e in records), sum(e.seconds or 0.0 for e in records)
    on_gpu = fabric.device.type == "cuda"
    return Cost(
        seconds_per_epoch=_median(e.seconds for e in records),
        images_per_s=_median(e.images_per_s for e in records),
        data_share=data_s / all_s if all_s else None,
        peak_memory_mb=max((e.memory_mb for e in records if e.memory_mb is not None), default=None),
        memory_of="GPU" if on_gpu else "process",
        parameters=sum(p.numel() for p in network.parameters()) / 1e6 or None,
        input_px=input_px,
        gflops=counter.get_total_flops() / 1e9 or None,
        latency_ms=statistics.median(times) * 1e3,
        device=torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads",
        precision=fabric._precision.precision,
    )


def _timed(model: nn.Module, image: torch.Tensor) -> float:
    started = time.perf_counter()
    predict_logits(model, image)
    if image.device.type != "cpu":
        torch.accelerator.synchronize()
    return time.perf_counter() - started


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
