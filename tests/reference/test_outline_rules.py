"""Every rule for outlines against the library whose rule it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)

from segstudy.conventions.outlines import outline_scores
from segstudy.errors import SpecError


def blobs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two masks of ragged shapes, some of which touch the image's end."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:40, :50]
    masks = []
    for _ in range(2):
        y, x, radius = rng.uniform(8, 32), rng.uniform(8, 42), rng.uniform(4, 14)
        masks.append(((rows - y) ** 2 + (columns - x) ** 2 < radius**2) ^ (rng.random(rows.shape) < 0.02))
    return masks[0].astype(int), masks[1].astype(int)


@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")
@pytest.mark.parametrize("seed", range(8))
def test_monai(seed):
    truth, prediction = blobs(seed)
    hot = [torch.from_numpy(np.stack([mask == 0, mask == 1])[None].astype(np.float32)) for mask in (prediction, truth)]
    ours = outline_scores(truth, prediction, 1, "monai")
    expected = compute_hausdorff_distance(*hot, percentile=95), compute_average_surface_distance(*hot, symmetric=True)
    assert [ours["hd95"], ours["assd"]] == pytest.approx([each.item() for each in expected], rel=1e-5)
    dice = compute_surface_dice(*hot, class_thresholds=[2.0]).item()
    assert ours["nsd"] == pytest.approx(dice, rel=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_medpy(seed):
    medpy = pytest.importorskip("medpy.metric.binary")
    truth, prediction = blobs(seed)
    ours = outline_scores(truth, prediction, 1, "medpy")
    expected = medpy.hd95(prediction, truth), medpy.assd(prediction, truth)
    assert [ours["hd95"], ours["assd"]] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(ours["nsd"])


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
@pytest.mark.parametrize("seed", range(8))
def test_surface_distance(seed):
    library = pytest.importorskip("surface_distance")
    truth, prediction = blobs(seed)
    found = library.compute_surface_distances(truth == 1, prediction == 1, spacing_mm=(1, 1))
    ours = outline_scores(truth, prediction, 1, "surface-distance")
    expected = [
        library.compute_robust_hausdorff(found, 95),
        np.mean(library.compute_average_surface_distance(found)),
        library.compute_surface_dice_at_tolerance(found, 2),
    ]
    assert [ours[key] for key in ("hd95", "assd", "nsd")] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rule", ["monai", "medpy", "surface-distance"])
def test_a_mask_that_is_empty_has_no_distance(rule):
    truth, _ = blobs(0)
    found = outline_scores(truth, np.zeros_like(truth), 1, rule)
    assert np.isnan(found["hd95"])
    assert np.isnan(found["assd"])


def test_an_unknown_rule_is_named_with_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'medpy'"):
        outline_scores(np.eye(3, dtype=int), np.eye(3, dtype=int), 1, "medpi")
