"""The first screen, the image browser's data and files, and numbers followed from the page to the counts."""

from __future__ import annotations

import csv
import html
import itertools
import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from report_stores import CITY, DEEP, STUDY, WIDE, add_counts, add_pictures, add_run, fill, plan_of, run_of
from segstudy.counts.countset import read_counts
from segstudy.plan import make_plan
from segstudy.report.answer import answer_frame, best_frame, sentences, warnings
from segstudy.report.build import build_report
from segstudy.report.figure import ERROR_COLOURS
from segstudy.report.frames import ReportData
from segstudy.report.gallery import collect_galleries, influences
from segstudy.report.sections.experiments import changes_frame
from segstudy.report.sections.pictures import error_map, errors_of
from segstudy.report.sections.provenance import missing
from segstudy.report.table import escape_markdown, visible
from segstudy.report.wording import called, change_words
from segstudy.results import read_results
from segstudy.spec import parse_study
from segstudy.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "out")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Everything done, with pictures, and the report in a single file for one image."""
    plan, store = plan_of(), Store(tmp_path_factory.mktemp("whole"))
    fill(store, plan)
    add_pictures(store, run_of(plan, "deep-city"), "city", 2)
    build_report(store, plan, single_file=1)
    return store


def data_of(store: Store) -> ReportData:
    return ReportData(read_results(store, plan_of()))


def test_changes_are_said_by_their_factors() -> None:
    assert change_words({"recipe.input_size": (256, 512)}) == "512 instead of 256 pixels of input"
    assert (
        change_words({"model.encoder": ("resnet50", "tu-tf_efficientnet_lite0")})
        == "EfficientNet-Lite0 instead of ResNet-50 as encoder"
    )
    assert change_words({"recipe.optimizer.lr": (0.1, 0.2), "model.output_stride": (8, 16)}) == (
        "lr 0.2 instead of 0.1 and output stride 16 instead of 8"
    )


NETWORKS = """
name: called
data:
  city: {reader: folder, root: city, classes: [road, car]}
  spot: {reader: folder, root: spot, classes: [background, polyp]}
experiments:
  small: {data: city, model: {arch: unet, encoder: resnet50}}
  bare: {data: city, model: {arch: unet, encoder: resnet50, weights: none}}
  large: {data: city, model: {arch: unet, encoder: resnet101}}
  deep: {data: city, model: {arch: deeplabv3, encoder: resnet50}}
  small-512: {base: small, change: {recipe.input_size: 512}}
  small-512-bare: {base: small-512, change: {model.weights: none}}
  deep-u: {base: deep, change: {model.arch: fpn}}
  twin-a: {data: spot, model: {arch: deeplabv3, output_stride: 8}}
  twin-b: {data: spot, model: {arch: deeplabv3, output_stride: 16}}
  other: {data: spot, model: {arch: fpn}}
"""


def test_networks_are_called_by_what_tells_them_apart() -> None:
    assert called(make_plan(parse_study(NETWORKS))) == {
        "small": "U-Net with ResNet-50, ImageNet weights",
        "bare": "U-Net with ResNet-50, random weights",
        "large": "U-Net with ResNet-101",
        "deep": "DeepLabV3",
        "small-512": "U-Net with ResNet-50, ImageNet weights, 512 px",
        "small-512-bare": "U-Net with ResNet-50, ImageNet weights, 512 px, random weights",
        "deep-u": "FPN",
        "twin-a": "twin-a",  # alike in architecture, encoder and weights
        "twin-b": "twin-b",
        "other": "FPN",
    }


def test_every_change_is_drawn_at_its_place(store: Store) -> None:
    fill(store, plan_of())
    data = data_of(store)
    data.__dict__["effects"] = data.effects.assign(
        value=[0.1, -0.2], low=[0.05, -0.4], high=[0.2, -0.1], verdict=["better", "worse"], p_holm=0.01
    )
    frame = answer_frame(data)
    # one scale: -0.4 is 48 of 100 to the left of the middle
    assert frame[["x_low", "x_value", "x_high"]].to_numpy() == pytest.approx(np.array([[56, 62, 74], [2, 26, 38]]))
    assert frame["cost"].tolist() == [1, 1] and frame["against"].tolist() == ["DeepLabV3 on city"] * 2
    assert frame["base_score"].tolist() == pytest.approx([13 / 18] * 2)
    said = sentences(data)
    assert said[0] == (
        "Largest effect of one change: ResNet-101 instead of ResNet-50 as encoder and output stride 16 instead of 8 "
        "costs DeepLabV3 on city "
        "0.200 mIoU [0.100,\xa00.400] with the same operations, but more than one thing changes."
    ).replace(
        "ResNet-50",
        change_words({"model.encoder": ("", data.plan.first("deep-city").config.model.encoder)}).split(" instead")[0],
    )
    assert "gains DeepLabV3 on city 0.100 mIoU [0.050,\xa00.200]" in said[1]


def test_the_highest_score_is_named_with_what_makes_it_so(store: Store) -> None:
    fill(store, plan_of())
    best = best_frame(data_of(store)).set_index("dataset")
    assert (best.loc["city", "experiment"], best.loc["city", "next"]) == ("deep-wide", "deep-both")
    assert best.loc["city", "score"] == pytest.approx((10 / 13 + 1.5) / 3)
    (text,) = [text for text in sentences(data_of(store)) if text.startswith("Highest mIoU on city, 0.756")]
    assert text.startswith("Highest mIoU on city, 0.756: DeepLabV3 with ResNet-101 (")
    assert " over DeepLabV3 with ResNet-101, OS 16: " in text


def test_the_score_on_other_data_is_miou_and_no_other_measure(store: Store) -> None:
    fill(store, plan_of())
    # IoU 6/8 and 2/4 on spot; 3/7 and 1/5 on folk; 4/8 and 0 if all is background.
    (text,) = [text for text in sentences(data_of(store)) if " goes from " in text]
    assert text.endswith(" goes from 0.625 on spot to 0.314 on folk (one class everywhere: 0.250).")


def test_warnings_name_what_changes_the_reading(store: Store) -> None:
    plan = plan_of()
    add_run(store, run_of(plan, "deep-city"))
    add_counts(store, run_of(plan, "deep-city"), "city", ["road", "car_50%", "<sky>", "void"], DEEP)
    text = " ".join(warnings(data_of(store)))
    assert "Protocol “paper”" in text and "One seed" in text and "4 of 5 runs are not done (4 missing)" in text
    assert any("Runs that are missing: deep-wide/seed42" in line for line in missing(data_of(store)))


def test_what_is_not_ranked_or_not_clean_is_said_by_its_change_and_with_the_reason(store: Store) -> None:
    text = STUDY.replace("PROTOCOL", "held-out").replace("SEEDS", "1, 2")
    plan = make_plan(parse_study(text))
    fill(store, plan, 1)
    add_counts(store, run_of(plan, "deep-wide", 1), "city", CITY, 2 * WIDE)  # twice the true pixels: other masks
    data = ReportData(read_results(store, plan))
    (best,) = [line for line in sentences(data) if line.startswith("Highest mIoU on city")]
    assert "; not ranked: DeepLabV3 with ResNet-101, scored against different true masks" in best
    (line,) = [line for line in warnings(data) if line.startswith("Not a clean comparison")]
    assert line == (
        "Not a clean comparison (seeds that are not done): ResNet-101 instead of ResNet-50 as encoder and output stride 16 "
        "instead of 8 (DeepLabV3 on city)."
    )
    page = build_report(store, plan).read_text()
    assert "not comparable: scored against different true masks" in re.sub(r"\s+", " ", page)
    assert "among networks scored alike" in page


def test_wrong_pixels_are_missed_false_or_of_a_wrong_class() -> None:
    truth = np.array([[0, 0, 1, 1, 1, 2, 255]], np.uint8)
    said = np.array([[0, 1, 0, 1, 2, 0, 1]], np.uint8)
    kinds = {kind: np.flatnonzero(where).tolist() for kind, where in errors_of(truth, said, 0).items()}
    assert kinds == {"missed": [2, 5], "false": [1], "wrong class": [4]}
    assert np.flatnonzero(errors_of(truth, said, None)["wrong class"]).tolist() == [1, 2, 4, 5]
    grey = np.full((1, 7, 3), 100, np.uint8)
    drawn = error_map(grey, truth, said, 0)[0].tolist()
    assert drawn[0] == [162] * 3  # right: 255 - 0.6 (255 - 100), pale
    assert [tuple(drawn[k]) for k in (2, 1, 4)] == [ERROR_COLOURS[kind] for kind in ("missed", "false", "wrong class")]


# Linear RGB as seen without one kind of cones (Machado, Oliveira and Fernandes 2009, severity 1).
BLIND = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.072175], [0.0193339, 0.119192, 0.9503041]])


def lab_of(colour: tuple[int, int, int], seen: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of an sRGB colour as it is seen."""
    share = np.array(colour) / 255
    linear = np.clip(seen @ np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4), 0, 1)
    x, y, z = XYZ @ linear / [0.95047, 1, 1.08883]
    f = [v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in (x, y, z)]
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("blind", BLIND)
def test_colours_of_errors_are_told_apart_by_everybody(blind: str) -> None:
    grounds = {"dark": (110, 110, 110), "light": (225, 225, 225)}  # the pale image below
    seen = {name: lab_of(colour, np.array(BLIND[blind])) for name, colour in (ERROR_COLOURS | grounds).items()}
    pairs = [pair for pair in itertools.combinations(seen, 2) if pair != ("dark", "light")]
    assert min(np.linalg.norm(seen[a] - seen[b]) for a, b in pairs) > 25  # 2 can just be seen


def test_empty_and_lost_predictions_are_named(store: Store) -> None:
    plan = plan_of()
    fill(store, plan)
    spot = run_of(plan, "deep-spot")
    add_counts(
        store, spot, "spot", ["background", "polyp"], np.array([[[8, 0], [2, 0]], [[6, 2], [0, 2]], [[7, 0], [0, 3]]])
    )
    add_pictures(store, spot, "spot", 2)
    gallery = next(g for g in collect_galleries(data_of(store)) if g.test == "spot")
    (found,) = gallery.plain()["networks"]
    gallery.write(store.report)
    assert gallery.written(store.report) == {
        "lost": [0, 1, 2]
    }  # the cache holds two images, not the three that were scored
    assert (found["nothing"], found["absent"], found["label"]) == ([0], [2], "DeepLabV3")
    city = next(g for g in collect_galleries(data_of(store)) if g.test == "city").plain()
    assert city["background"] is None and all(one["nothing"] == [] for one in city["networks"])


def test_settings_are_shown_as_differences_to_the_base(store: Store) -> None:
    fill(store, plan_of())
    rows = changes_frame(data_of(store))[["experiment", "setting", "after"]].to_numpy().tolist()
    assert rows == [
        ["deep-wide", "model.encoder", "resnet101"],
        ["deep-both", "model.encoder", "resnet101"],
        ["deep-both", "model.output_stride", "16"],
    ]


def test_influence_is_the_difference_with_and_without_an_image(store: Store) -> None:
    fill(store, plan_of())
    gallery = next(g for g in collect_galleries(data_of(store)) if g.test == "city")
    found = dict(influences(gallery))["deep-wide", "deep-city"]

    def miou(counts: np.ndarray) -> float:
        iou = [counts[k, k] / (counts[k].sum() + counts[:, k].sum() - counts[k, k]) for k in range(3)]
        return float(np.mean(iou))

    whole = miou(WIDE.sum(0)) - miou(DEEP.sum(0))
    without = [miou(WIDE[1]) - miou(DEEP[1]), miou(WIDE[0]) - miou(DEEP[0])]
    assert found == pytest.approx([whole - one for one in without])
    assert gallery.plain()["scores"][0][0] == round(float(np.mean([6 / 9, 3 / 6, 1])), 4)


def test_pictures_are_written_once_and_hold_class_indices(store: Store) -> None:
    plan = plan_of()
    fill(store, plan)
    add_pictures(store, run_of(plan, "deep-city"), "city", 2)
    build_report(store, plan)
    (folder,) = (store.report / "images").glob("city-*")
    gallery = next(g for g in collect_galleries(data_of(store)) if g.test == "city")
    cached = np.load(store.cache / "city-val-32-0123456789ab" / "labels.npy")
    for k, name in enumerate(gallery.files):
        with Image.open(folder / f"{name}.png") as truth, Image.open(folder / f"{name}.webp") as image:
            assert (np.asarray(truth) == cached[k]).all() and image.size == (32, 32)
        with Image.open(folder / "deep-city-seed42" / f"{name}.png") as mask:
            assert mask.mode == "L" and mask.size == (64, 64) and not np.asarray(mask).any()
    written = {path: path.stat().st_mtime_ns for path in folder.rglob("*.*")}
    figures = {path: path.stat().st_mtime_ns for path in (store.report / "figures").iterdir()}
    (store.report / "images" / "former-01234567").mkdir()
    source = store.run("deep-city", 42).predictions("city", "val") / "city" / "0.png"
    Image.fromarray(np.ones((64, 64), np.uint8)).save(source)
    build_report(store, plan)
    changed = [path for path, stamp in written.items() if path.stat().st_mtime_ns != stamp]
    assert [path.name for path in changed] == [f"{gallery.files[0]}.png"] and changed[
        0
    ].parent.name == "deep-city-seed42"
    drawn = {path.name for path, stamp in figures.items() if path.stat().st_mtime_ns != stamp}
    assert drawn == {"figure2-pictures-city.svg", "figure2-pictures-city.png"}
    with Image.open(changed[0]) as mask:
        assert (np.asarray(mask) == 1).all()
    assert not (store.report / "images" / "former-01234567").exists()


def test_a_single_file_holds_so_many_images(whole: Store) -> None:
    page = whole.page.read_text()
    data = [
        json.loads(text)
        for text in re.findall(r'data-script="browser"><script type="application/json">(.*?)</script>', page)
    ]
    city = next(one for one in data if one["classes"][0] == "road")
    assert sorted(path.rsplit(".", 1)[1] for path in city["inline"]) == ["png", "png", "webp"]
    assert all(value.startswith("data:image/") for value in city["inline"].values())


def test_twenty_numbers_lead_to_their_line_and_their_counts(whole: Store) -> None:
    page = whole.page.read_text()
    rows = list(csv.reader(whole.results.read_text().splitlines()))
    value = rows[0].index("value")
    counts = json.loads(re.search(r'id="counts">(.*?)</script>', page)[1])
    cells = re.findall(r'<td class="n"[^>]*title="([^"(]*)\(([^"]*)\)" data-lines="(\d+)"', page)  # of one evaluation
    assert len(cells) > 60
    for exact, _, line in random.Random(0).sample(cells, 20):
        shown = float(re.match(r"[-\d.e]+", exact)[0])
        row = rows[int(line) - 1]
        assert float(row[value]) == shown
        file = [name for first, name, *_ in counts if first <= int(line)][-1]
        found = read_counts(whole.report / file)
        assert (found.about.test_data, found.about.split) == (row[4], row[5])
        assert f"/{row[1].removesuffix(' (constant)')}/seed{row[2]}/" in file


def test_differences_lead_to_both_sides(whole: Store) -> None:
    page = whole.page.read_text()
    rows = list(csv.reader(whole.results.read_text().splitlines()))
    table = re.search(r'id="table-9-comparisons">.*?</table>', page, re.DOTALL)[0]
    lines = [int(line) for line in re.search(r'data-lines="([\d ]+)"', table)[1].split()]
    found = {rows[line - 1][1]: float(rows[line - 1][rows[0].index("value")]) for line in lines}
    assert found == {"deep-city": pytest.approx(13 / 18), "deep-wide": pytest.approx((10 / 13 + 1.5) / 3)}


def test_words_of_others_show_as_text(store: Store) -> None:
    evil = "</script><img src=x onerror=alert(1)> $x_1$ \x1b[31m"
    text = STUDY.replace("PROTOCOL", "paper").replace("SEEDS", "42")
    plan = make_plan(
        parse_study(text.replace('title: "Roads', 'question: "</h1><script>alert(1)</script>"\ntitle: "Roads'))
    )
    fill(store, plan)
    add_run(store, run_of(plan, "flat-city"), epochs=1, best=False, failure=evil)
    add_counts(store, run_of(plan, "deep-city"), "city", ["road", evil, "sky", "void"], DEEP)
    page = build_report(store, plan).read_text()
    assert "<img src=x" not in page and "<script>alert" not in page and "\x1b" not in page
    assert html.escape("</h1><script>alert(1)</script>", quote=False) in page
    for file in (store.report / "tables").glob("*.md"):
        assert "\x1b" not in file.read_text()
        assert not re.search(r"(?<!\\)<(script|img)", file.read_text())
    for file in (store.report / "tables").glob("*.tex"):
        assert "\x1b" not in file.read_text() and "$x_1$" not in file.read_text()


def test_control_characters_are_shown() -> None:
    assert visible("a\x1b[2J\x07\nb") == "a␛[2J␇ b"
    assert escape_markdown("[a](b) *c*") == r"[a\](b) \*c\*"
