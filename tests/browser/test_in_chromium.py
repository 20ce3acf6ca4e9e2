"""The page in headless Chromium: it opens fast, loads nothing from elsewhere, fits, and can be used by keyboard."""

from __future__ import annotations

import csv
import io
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

from report_stores import STUDY as TINY
from report_stores import add_pictures, fill, run_of, spot_record
from segstudy.counts.counting import count_pair, stack_counts
from segstudy.counts.countset import CountSet, hash_labels, write_counts
from segstudy.files import write_json, write_sums, write_text, write_yaml
from segstudy.plan import Plan, make_plan
from segstudy.report.build import build_report
from segstudy.report.figure import ERROR_COLOURS, Drawing
from segstudy.schema import ScoringRules
from segstudy.spec import parse_study
from segstudy.store import Store

playwright = pytest.importorskip("playwright.sync_api", reason="pip install segstudy[browser] for tests of the page")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this system")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

NUM_IMAGES = 500
STUDY = """
name: wide
title: "Eight networks"
question: "Do more epochs help?"
data:
  spot: {reader: folder, root: spot, classes: [background, polyp]}
recipe: {epochs: 1, input_size: 64}
experiments:
  e0: {data: spot, model: {arch: unet}}
VARIANTS
seeds: [0, 1, 2, 3, 4]
"""


def wide_store(root: Path) -> tuple[Store, Plan]:
    """8 x 5 runs scored on 500 images, with masks of the first seed and cached images."""
    variants = "\n".join(f"  e{k}: {{base: e0, change: {{recipe.epochs: {k + 1}}}}}" for k in range(1, 8))
    plan, store = make_plan(parse_study(STUDY.replace("VARIANTS", variants))), Store(root)
    rng, rules = np.random.default_rng(0), ScoringRules()
    truths, pairs = [], []
    for _ in range(NUM_IMAGES):
        truth = np.zeros((64, 64), np.uint8)
        y, x = rng.integers(0, 40, 2)
        truth[y : y + 20, x : x + 20] = 1
        truths.append(truth)
        pairs.append(count_pair(truth, np.roll(truth, tuple(rng.integers(0, 4, 2)), (0, 1)), 2, rules))
    counts, hashes = stack_counts(pairs), np.stack([hash_labels(truth) for truth in truths])
    ids = tuple(f"i{k:03d}" for k in range(NUM_IMAGES))
    cache = store.cache / "spot-test-64-0123456789ab"
    cache.mkdir(parents=True)
    np.save(cache / "images.npy", rng.integers(0, 256, (NUM_IMAGES, 64, 64, 3), dtype=np.uint8))
    np.save(cache / "labels.npy", np.stack(truths))
    write_json(cache / "samples.json", list(ids))
    for place, run in enumerate(plan.runs):
        folder = store.run(run.experiment, run.seed)
        write_yaml(
            folder.config, {"identity": run.identity, "values": run.config.values(), "roles": {"report": "test"}}
        )
        write_text(
            folder.metrics,
            '{"epoch": 1, "loss": 1.0, "select_miou": 0.5}\n{"epoch": 2, "loss": 0.5, "select_miou": 0.6}\n',
        )
        write_text(folder.best, "w")
        write_json(folder.cost, {"gflops": 1.0 + place % 5, "parameters": 3.0})
        own = {key: value.copy() for key, value in counts.items()}
        flip = rng.integers(0, 30 + 20 * (run.experiment == "e7"), NUM_IMAGES)
        own["confusion"][:, 1, 1] -= flip
        own["confusion"][:, 1, 0] += flip
        about = spot_record(run, scoring=rules.model_dump(), input_size=64, data_fingerprint="")
        if run.seed == 0:
            masks = folder.predictions("spot", "test")
            masks.mkdir(parents=True)
            for name, truth in zip(ids, truths, strict=True):
                Image.fromarray(np.roll(truth, 2, 0)).save(masks / f"{name}.png")
            if run.experiment == "e0":  # finds nothing in the first image
                Image.fromarray(np.zeros((64, 64), np.uint8)).save(masks / f"{ids[0]}.png")
                own["confusion"][0] = [[4096 - 400, 0], [400, 0]]
            if run.experiment == "e1":
                (masks / f"{ids[0]}.png").unlink()
        write_counts(folder.evaluation("spot", "test"), CountSet(run.name, own, ids, about, None, hashes))
        write_sums(folder.path)
    return store, plan


def build_page(store: Store, plan: Plan, single_file: int | None = None) -> Path:
    """The page without the files of its figures, which it does not load."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Drawing, "write", lambda self, folder: None)
        return build_report(store, plan, single_file=single_file)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_page(*wide_store(tmp_path_factory.mktemp("wide")))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study with two datasets, warnings and a cross-evaluation, as one file in a folder of its own."""
    text = TINY.replace(
        "title:", 'question: "Which of these choices make the segmentation better, and at what cost?"\ntitle:'
    )
    plan = make_plan(parse_study(text.replace("PROTOCOL", "paper").replace("SEEDS", "42")))
    store, folder = Store(tmp_path_factory.mktemp("tiny")), tmp_path_factory.mktemp("alone")
    fill(store, plan)
    for name, on in (("deep-wide", "city"), ("deep-spot", "spot")):
        add_pictures(store, run_of(plan, name), on, 2 if on == "city" else 1)
    return Path(shutil.copy(build_page(store, plan, 1), folder))


@pytest.fixture
def open_page(chromium: Any, report: Path) -> Iterator[Any]:
    """Opens the page at a size and scheme; says afterwards that nothing went wrong and nothing left the folder."""
    wrong: list[str] = []
    contexts = []

    def opened(width: int = 1280, height: int = 800, scheme: str = "light", report: Path = report) -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(f"failed {request.url}"))
        inside = report.parent.as_uri()
        page.on(
            "request", lambda one: None if one.url.startswith((inside, "data:")) else wrong.append(f"left: {one.url}")
        )
        page.goto(report.as_uri())
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


def test_it_opens_at_once(open_page: Any) -> None:
    start = time.perf_counter()
    page = open_page()
    page.wait_for_load_state("load")
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_is_whole(open_page: Any, scheme: str) -> None:
    page = open_page(scheme=scheme)
    assert page.evaluate("document.querySelector('#answer').getBoundingClientRect().bottom") <= 800
    for part in ("h1", ".question", ".answer", ".changes", "#figure0-front svg"):
        box = page.locator(part).first.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 800, part
    for box in page.locator(".changes tbody td").evaluate_all(
        "cells => cells.map(c => [c.scrollWidth, c.clientWidth])"
    ):
        assert box[0] <= box[1] + 1
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", paper)[:3])) > 384) == (scheme == "light")


def test_a_page_that_is_one_file_is_whole_without_its_folder(open_page: Any, alone: Path) -> None:
    page = open_page(scheme="dark", report=alone)  # nothing is asked for but the page itself
    assert page.evaluate("document.querySelector('#answer').getBoundingClientRect().bottom") <= 800
    assert page.locator("a[href]:visible").evaluate_all("all => all.every(one => one.getAttribute('href')[0] === '#')")
    page.locator("a[data-worst]").first.click()
    viewer = page.locator("dialog.viewer[open]")
    viewer.wait_for()
    assert "(1 of 2)" in viewer.locator("h3").inner_text()
    page.wait_for_timeout(200)
    assert viewer.locator("img").evaluate_all("all => all.length > 2 && all.every(one => one.naturalWidth > 0)")
    page.keyboard.press("ArrowRight")
    assert "not in this file" in viewer.locator(".stage.large").inner_text()


def test_paper_has_no_triangles(open_page: Any, alone: Path) -> None:
    page = open_page(report=alone)
    text = "".join(sheet.extract_text() for sheet in PdfReader(io.BytesIO(page.pdf())).pages)
    assert "Baselines" in text and "How to read this" in text  # every section is open
    page.emulate_media(media="print")
    shown = "all => all.map(one => getComputedStyle(one).display)"  # a list item has a marker, the triangle
    assert set(page.locator("details.section > summary").evaluate_all(shown)) == {"block"}


def test_the_first_screen_says_what_the_csv_and_the_counts_say(open_page: Any, report: Path) -> None:
    with (report.parent / "results.csv").open(encoding="utf-8") as file:
        wanted = {"measure": "miou", "level": "dataset", "resolution": "native"}
        rows = [row for row in csv.DictReader(file) if all(row[key] == value for key, value in wanted.items())]

    def score(experiment: str) -> float:
        values = [float(row["value"]) for row in rows if row["experiment"] == experiment]
        assert len(values) == 5
        for seed, value in enumerate(values):
            with np.load(report.parents[1] / f"runs/{experiment}/seed{seed}/evaluations/spot-test.npz") as counts:
                (a, b), (c, d) = counts["confusion"].sum(axis=0).tolist()
            assert value == pytest.approx((a / (a + b + c) + d / (b + c + d)) / 2)
        return sum(values) / 5

    page = open_page()
    shown = page.locator(".changes tr[data-experiment]").evaluate_all(
        "all => all.map(row => [row.dataset.experiment, row.querySelector('td.n').textContent])"
    )
    base = score("e0")
    found = {name: float(text.split(" ")[0].replace("−", "-")) for name, text in shown}
    assert found == {f"e{k}": pytest.approx(score(f"e{k}") - base, abs=0.00051) for k in range(1, 8)}
    assert f"mIoU {base:.3f}" in page.locator(".changes .group").inner_text()
    said = " ".join(page.locator(".answer li").all_inner_texts())
    effect, best = (
        re.search(r"instead of 1 epochs (?:gains|costs) U-Net ([\d.]+)", said),
        re.search(r"mIoU, ([\d.]+)", said),
    )
    assert effect and best
    assert effect[1] in {f"{abs(value):.3f}" for value in found.values()}
    assert best[1] == f"{max([base, *(score(name) for name in found)]):.3f}"


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_reaches_over_the_side(open_page: Any, width: int) -> None:
    page = open_page(width)
    page.evaluate("document.querySelectorAll('details.section').forEach(one => { one.open = true; })")
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    cut = """boxes => boxes.filter(box => box.scrollWidth > box.clientWidth + 1)
        .filter(box => getComputedStyle(box).overflowX !== 'auto' ||
            getComputedStyle(box.querySelector('tbody th')).position !== 'sticky')
        .map(box => box.getAttribute('aria-label'))"""
    assert page.locator(".box").evaluate_all(cut) == []
    cells = "cells => cells.filter(c => c.scrollWidth > c.clientWidth + 1).map(c => c.textContent)"
    assert page.locator(".sortable td, .sortable th").evaluate_all(cells) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Any, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install segstudy[browser]")
    page = open_page(scheme=scheme)
    page.evaluate("document.querySelectorAll('details.section').forEach(one => { one.open = true; })")
    page.wait_for_timeout(300)
    found = axe.Axe().run(page).response["violations"]
    serious = [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")]
    assert serious == []


def test_errors_have_a_colour_for_each_kind_and_a_legend(open_page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pip install segstudy[browser]")
    page = open_page(scheme="dark")
    page.locator("a[data-worst]").click()
    viewer = page.locator("dialog.viewer")
    card = viewer.locator(".cards > div", has_text="errors of").last
    card.scroll_into_view_if_needed()
    page.wait_for_timeout(200)
    picture = np.asarray(Image.open(io.BytesIO(card.locator(".stage").screenshot())).convert("RGB")).astype(int)
    legend = viewer.locator(".legend").inner_text()
    for kind in ("missed", "false"):  # the square of 20 x 20 is predicted two rows too low, in an image of 64 x 64
        share = (np.abs(picture - ERROR_COLOURS[kind]).max(-1) < 4).mean()
        assert share == pytest.approx(2 * 20 / 64**2, rel=0.25), kind
        assert f"{kind}: " in legend
    assert "wrong class" not in legend  # with one class besides the background there is none
    found = axe.Axe().run(page).response["violations"]
    assert [one["id"] for one in found if one["impact"] in ("serious", "critical")] == []


def test_an_empty_prediction_and_a_lost_one_are_said_and_the_image_is_seen(open_page: Any) -> None:
    page = open_page()
    page.goto(page.url + "#pictures")
    page.get_by_label("Network A").select_option("0")
    page.get_by_label("Sort images by").select_option("worst")
    page.locator(".strip button").first.click()
    viewer = page.locator("dialog.viewer")
    assert viewer.locator("h3").inner_text().startswith("i000 (1 of 500), U-Net 0.451")  # (3696 / 4096 + 0) / 2
    page.wait_for_timeout(200)
    empty = viewer.locator(".cards > div").nth(2)
    assert "nothing predicted" in empty.inner_text() and viewer.locator(".empty").count() == 2  # there, and on the left
    colours = np.asarray(Image.open(io.BytesIO(empty.locator(".stage").screenshot())).convert("RGB")).reshape(-1, 3)
    assert colours.std(axis=0).min() > 20  # the image, whose pixels are noise, and no black tile
    assert "U-Net with 2 epochs: no prediction kept" in viewer.locator(".cards").inner_text()


def test_tables_sort_filter_and_copy(open_page: Any) -> None:
    page = open_page()
    page.goto(page.url + "#changes")
    table = page.locator("#changes table.sortable").first
    names = lambda: table.locator("tbody tr:visible th").all_inner_texts()  # noqa: E731
    before = names()
    assert len(before) == 7
    heading = table.get_by_role("button", name="Δ mIoU")
    heading.click()
    values = [
        float(text)
        for text in table.locator("tbody td[data-n]:nth-child(4)").evaluate_all("c => c.map(x => x.dataset.n)")
    ]
    assert values == sorted(values, reverse=True)
    heading.click()
    heading.click()
    assert names() == before
    page.get_by_label("Filter rows of What each change does, and how surely").fill("e7")
    assert names() == ["e7"]
    first = "const table = document.querySelector('#changes table.sortable');"
    text = page.evaluate(f"() => {{ {first} return written.LaTeX(shownRows(table), table); }}")
    assert text.startswith("\\begin{tabular}") and "e7 & e0 & epochs=8" in text and "e6" not in text
    plain = page.evaluate("written.CSV(shownRows(document.querySelector('#changes table.sortable')))")
    assert plain.splitlines()[1].startswith("e7,e0,epochs=8,")
    page.locator("#changes .tools summary").first.click()
    page.locator("#changes .tools .menu input").first.uncheck()
    assert "Against" not in page.evaluate(
        "written.Markdown(shownRows(document.querySelector('#changes table.sortable')))"
    )


def test_a_number_opens_its_contract_and_its_counts(open_page: Any) -> None:
    page = open_page()
    page.goto(page.url + "#baselines")
    page.locator("#baselines button.num").first.press("Enter")
    dialog = page.locator("#number")
    assert "dataset level" in dialog.inner_text() and "line " in dialog.inner_text()
    assert dialog.locator("li").count() == 5  # seeds
    assert dialog.locator("a").nth(1).get_attribute("href") == "../runs/e0/seed0/evaluations/spot-test.npz"
    page.keyboard.press("Escape")
    assert not dialog.is_visible()


def test_the_worst_image_of_the_best_network_is_one_click_away(open_page: Any, report: Path) -> None:
    page = open_page()
    link = page.locator("a[data-worst]")
    best = link.get_attribute("data-worst")
    link.click()
    viewer = page.locator("dialog.viewer")
    viewer.wait_for()
    with (report.parent / "results.csv").open(encoding="utf-8") as file:
        wanted = {"experiment": best, "seed": "0", "measure": "miou", "level": "image", "resolution": "native"}
        scores = [
            (float(row["value"]), row["class"])
            for row in csv.DictReader(file)
            if all(row[key] == value for key, value in wanted.items())
        ]
    assert len(scores) == NUM_IMAGES
    called = "U-Net" if best == "e0" else f"U-Net with {int(best[1:]) + 1} epochs"
    assert link.inner_text() == called
    assert page.get_by_label("Network A").input_value() != page.get_by_label("Network B").input_value()
    assert viewer.locator("h3").inner_text() == f"{min(scores)[1]} (1 of 500), {called} {min(scores)[0]:.3f}"
    assert viewer.locator(".cards > div").nth(2).inner_text().startswith(f"{called}: ")  # after input and truth
    assert viewer.get_by_label("Left", exact=True).locator("option:checked").inner_text() == called


def test_long_choices_stay_on_a_small_screen(open_page: Any) -> None:
    page = open_page(390)
    page.goto(page.url + "#pictures")
    page.locator(".strip button").first.wait_for()
    page.evaluate(
        "document.querySelectorAll('option').forEach(one => { one.textContent += '-with-everything-turned-on'.repeat(3); })"
    )
    right = page.locator(".tools select").evaluate_all("all => all.map(one => one.getBoundingClientRect().right)")
    assert max(right) <= 390


def test_the_image_browser_by_keyboard(open_page: Any) -> None:
    page = open_page()
    page.goto(page.url + "#pictures")
    strip = page.locator(".strip button")
    strip.first.wait_for()
    assert page.locator(".scatter circle").count() == NUM_IMAGES
    assert strip.count() == 25  # 24 and the one that shows more
    loaded = page.evaluate("performance.getEntriesByType('resource').length")
    assert loaded < 60  # what is seen, not all 4,500
    strip.first.focus()
    page.keyboard.press("Enter")
    viewer = page.locator("dialog.viewer")
    first = viewer.locator("h3").inner_text()
    assert "(1 of 500)" in first
    page.keyboard.press("ArrowRight")
    assert "(2 of 500)" in viewer.locator("h3").inner_text()
    page.keyboard.press("ArrowLeft")
    assert viewer.locator("h3").inner_text() == first
    page.keyboard.press("e")
    assert viewer.locator(".stage.large .labels.errors").count() == 1
    page.keyboard.press("3")
    assert viewer.get_by_label("Left", exact=True).input_value() == "2"
    page.wait_for_timeout(200)
    assert page.locator(".stage.large img").evaluate_all("all => all.every(one => one.naturalWidth === 64)")
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    page.get_by_label("Sort images by").select_option("worst")
    scores = [float(text.rsplit(" ", 1)[1]) for text in page.locator(".strip span").all_inner_texts()]
    assert scores == sorted(scores)
