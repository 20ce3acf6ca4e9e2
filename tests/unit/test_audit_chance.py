"""Whether a printed order is a fluke: by hand, by simulation, and on the command line."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from segstudy import cli
from segstudy.auditing.chance import Noise, Sampling, fluke_probability, not_best_probability
from segstudy.errors import SpecError

NOISE = Noise(0.2, 0.5, 0.01)
IMAGES, SEEDS = 60, 2
SAMPLING = Sampling(IMAGES, SEEDS, NOISE.sd, NOISE.seed_sd, NOISE.correlation)


def printed(rng: np.random.Generator, truth: np.ndarray) -> np.ndarray:
    """Scores of several networks as a paper prints them: means over images and seeds, drawn image by image."""
    shared = rng.normal(0, NOISE.sd * math.sqrt(NOISE.correlation), IMAGES)
    own = rng.normal(0, NOISE.sd * math.sqrt(1 - NOISE.correlation), (len(truth), IMAGES))
    trained = rng.normal(0, NOISE.seed_sd, (len(truth), SEEDS)).mean(axis=1)
    return truth + (shared + own).mean(axis=1) + trained


@pytest.mark.parametrize("number", [2, 5])
def test_probabilities_are_calibrated(number):
    """Among orders called a fluke with probability p, a share of p is one, where any true order is as likely as another."""
    rng = np.random.default_rng(number)
    error = SAMPLING.standard_errors("miou")[1]
    expected, wrong = [], []
    for _ in range(4000):
        truth = rng.uniform(0.5, 0.5 + 6 * error, number)
        scores = printed(rng, truth)
        first, second = np.argsort(-scores)[:2]
        expected.append(not_best_probability(scores.tolist(), error))
        wrong.append(truth.argmax() != first)
        if number == 2:
            assert expected[-1] == pytest.approx(fluke_probability(scores[first] - scores[second], error), abs=1e-6)
    expected, wrong = np.array(expected), np.array(wrong)
    for low, high in ((0, 0.15), (0.15, 0.35), (0.35, 0.8)):
        bin_ = (expected >= low) & (expected < high)
        share, sure = expected[bin_].mean(), 3 * math.sqrt(0.25 / bin_.sum())
        assert bin_.sum() > 200
        assert abs(wrong[bin_].mean() - share) < sure + 0.02, (low, high)


def test_by_hand():
    # 2 x 0.04 x 0.5 / 100 + 2 x 0.0001 / 2 = 0.0005
    assert Sampling(100, 2, 0.2, 0.01, 0.5).standard_errors("dice") == pytest.approx([math.sqrt(0.0005)] * 3)
    # noisy: 2 x 0.09 x 0.7 / 100 + 2 x 0.0004; a deviation that is given holds in all three
    quiet, typical, noisy = Sampling(100, 1, seed_sd=0.02).standard_errors("miou")
    assert noisy == pytest.approx(math.sqrt(0.00126 + 0.0008)) and typical == pytest.approx(math.sqrt(0.0004 + 0.0008))
    assert quiet == pytest.approx(math.sqrt(2 * 0.01 * 0.1 / 100 + 0.0008))
    assert fluke_probability(0.0, 0.01) == 0.5
    assert fluke_probability(0.0196, 0.01) == pytest.approx(0.025, abs=1e-4)
    assert not_best_probability([0.5] * 4, 0.01) == pytest.approx(0.75, abs=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "--images 0 --seeds 1: must be 1 or more"),
        ((10, 1, 0.7), "--sd 0.7: must be 0 to 0.5"),
        ((10, 1, None, -0.1), "--seed-sd -0.1: must be 0 to 0.5"),
        ((10, 1, None, None, 1.0), "--correlation 1: must be -1 to 0.999"),
        ((10, 1, 0.0, 0.0), "without any deviation"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(SpecError, match=message.replace("-", r"\-")):
        Sampling(*arguments)


@pytest.fixture
def segstudy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.md").write_text(
        "| Model | mIoU | Δ |\n|---|---|---|\n| A | 0.80 | - |\n| B | 0.81 | +0.01 |\n| C | 0.79 | -0.01 |\n"
    )

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr("sys.argv", ["segstudy", "audit", *arguments])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, *capsys.readouterr()

    return call


def test_the_command(segstudy):
    code, out, _ = segstudy("t.md", "--images", "100", "--sd", "0.2", "--seed-sd", "0", "--correlation", "0.5")
    assert not code
    assert "deviation of an image's score 0.2 (given), correlation 0.5 (given), deviation over seeds 0 (given)" in out
    assert "0.309  mIoU: B over A by 0.0100 (standard error 0.0200)" in out  # Phi(-0.5)
    assert "mIoU: B is not the best of the 3 rows" in out
    code, out, _ = segstudy("t.md", "--images", "100", "--json")
    record = json.loads(out)
    assert record["findings"] == []
    assert [(each["better"], each["worse"], each["rows"]) for each in record["rankings"]] == [
        ("B", "A", 3),
        ("A", "C", 3),
    ]
    first = record["rankings"][0]
    assert "assumed, 0.1 to 0.3" in first["assumptions"] and "one dataset, Kvasir-SEG" in first["assumptions"]
    # Phi(-0.01 / 0.00529) and Phi(-0.01 / 0.04539)
    assert first["fluke_range"] == pytest.approx([0.0294, 0.4128], abs=1e-4)
    assert "0.319 (0.029 to 0.413)  mIoU: B over A" in segstudy("t.md", "--images", "100")[1]
    assert isinstance(json.loads(segstudy("t.md", "--json")[1]), list)


@pytest.mark.parametrize("option", ["--sd", "--seed-sd", "--correlation"])
def test_deviations_need_the_number_of_images(segstudy, option):
    code, _, error = segstudy("t.md", option, "0.1")
    assert code == 2
    assert "with --images" in error
