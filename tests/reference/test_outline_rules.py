"""Every rule for outlines against the library whose rule it is."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
import surface_distance
import torch
from medpy.metric import binary
from PIL import Image

from segstudy.conventions.outlines import outline_scores
from segstudy.errors import SpecError
from segstudy.scorecard import as_record
from segstudy.scoring import score_masks


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
    from monai import metrics  # slow to import

    truth, prediction = blobs(seed)
    hot = [torch.from_numpy(np.stack([mask == 0, mask == 1])[None].astype(np.float32)) for mask in (prediction, truth)]
    ours = outline_scores(truth, prediction, 1, "monai")
    hausdorff = metrics.compute_hausdorff_distance(*hot, percentile=95).item()
    average = metrics.compute_average_surface_distance(*hot, symmetric=True).item()
    assert [ours["hd95"], ours["assd"]] == pytest.approx([hausdorff, average], rel=1e-5)
    dice = metrics.compute_surface_dice(*hot, class_thresholds=[2.0]).item()
    assert ours["nsd"] == pytest.approx(dice, rel=1e-5)


@pytest.mark.parametrize("seed", range(8))
def test_medpy(seed):
    truth, prediction = blobs(seed)
    ours = outline_scores(truth, prediction, 1, "medpy")
    expected = binary.hd95(prediction, truth), binary.assd(prediction, truth)
    assert [ours["hd95"], ours["assd"]] == pytest.approx(expected, rel=1e-9)
    assert np.isnan(ours["nsd"])


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
@pytest.mark.parametrize("seed", range(8))
def test_surface_distance(seed):
    truth, prediction = blobs(seed)
    found = surface_distance.compute_surface_distances(truth == 1, prediction == 1, spacing_mm=(1, 1))
    ours = outline_scores(truth, prediction, 1, "surface-distance")
    expected = [
        surface_distance.compute_robust_hausdorff(found, 95),
        np.mean(surface_distance.compute_average_surface_distance(found)),
        surface_distance.compute_surface_dice_at_tolerance(found, 2),
    ]
    assert [ours[key] for key in ("hd95", "assd", "nsd")] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("rule", ["monai", "medpy", "surface-distance"])
def test_a_mask_that_is_empty_has_no_distance(rule):
    truth, _ = blobs(0)
    found = outline_scores(truth, np.zeros_like(truth), 1, rule)
    assert np.isnan(found["hd95"])
    assert np.isnan(found["assd"])


def test_scored_folders_give_the_libraries_means(tmp_path):
    """Through the front door: means over the images of each class, then over classes; ignored pixels are of no class."""
    pairs = []
    for seed in range(3):
        truth, prediction = blobs(seed)
        truth[0, :5] = 255
        for folder, mask in (("truth", truth), ("predictions", prediction)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(mask.astype(np.uint8)).save(tmp_path / folder / f"{seed}.png")
        pairs.append((truth, np.where(truth == 255, 255, prediction)))
    scored = score_masks(tmp_path / "predictions", tmp_path / "truth", num_classes=3, outlines=["medpy"])
    [row] = as_record(scored, ["medpy"])["as"]["outlines"]
    expected = [[binary.hd95(p == k, t == k) for t, p in pairs] for k in (0, 1)]
    assert row["scores"]["HD95"] == pytest.approx(np.mean(expected), abs=1e-5)
    assert [each["images"] for each in row["classes"]] == [3, 3, 0]
    assert row["classes"][1]["HD95"] == pytest.approx(np.mean(expected[1]), abs=1e-5)
    assert row["classes"][2]["HD95"] is None
    assert "outlines_medpy" not in score_masks(tmp_path / "predictions", tmp_path / "truth", num_classes=3).counts


def test_the_documented_table_is_what_the_bench_prints():
    root = Path(__file__).parents[2]
    bench = runpy.run_path(str(root / "bench" / "outlines.py"))
    assert bench["table"]() in (root / "docs" / "reference" / "measures.md").read_text(encoding="utf-8")


def test_an_unknown_rule_is_named_with_the_nearest():
    with pytest.raises(SpecError, match="did you mean 'medpy'"):
        outline_scores(np.eye(3, dtype=int), np.eye(3, dtype=int), 1, "medpi")
