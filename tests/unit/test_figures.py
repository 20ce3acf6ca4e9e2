"""What is drawn, read from matplotlib's objects and compared with hand counts and the frames."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axis import Tick, XTick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from report_stores import add_counts, add_run, fill, plan_of
from segstudy.plan import Plan, make_plan
from segstudy.report.answer import draw_front
from segstudy.report.build import every_part
from segstudy.report.figure import GRID, MUTED, Drawing, shortened
from segstudy.report.frames import ReportData
from segstudy.report.sections.changes import draw_effects
from segstudy.report.sections.classes import draw_classes, draw_differences, sorted_differences
from segstudy.report.sections.confusion import draw_confusion, own_sides
from segstudy.report.sections.cost import draw_cost, pareto_front
from segstudy.report.sections.errors import draw_lost, draw_reliability, error_tables
from segstudy.report.sections.images import draw_images, image_frame
from segstudy.report.sections.training import draw_training, over_epochs
from segstudy.results import read_results
from segstudy.spec import parse_study
from segstudy.store import Store


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    store, plan = Store(tmp_path_factory.mktemp("store")), plan_of()
    fill(store, plan)
    return ReportData(read_results(store, plan))


def x_ends(line: Line2D) -> list[float]:
    return [float(value) for value in np.asarray(line.get_xdata())]


def test_figure_6_draws_intervals_values_and_what_could_not_be_seen(data: ReportData) -> None:
    known = data.effects.dropna(subset=["value"]).reset_index(drop=True)
    effects = pd.DataFrame(
        {
            "value": [0.10, -0.20],
            "low": [0.05, -0.30],
            "high": [0.20, -0.05],
            "detectable": [0.08, np.nan],
            "verdict": ["better", "not distinguishable"],
        }
    )
    frame = known.assign(**effects.to_dict("list"))
    given = ReportData(data.results)
    given.__dict__["effects"] = frame
    (axes,) = draw_effects(given).figure.axes
    intervals, values = axes.lines[0:4:2], axes.lines[1:4:2]
    assert [x_ends(line) for line in intervals] == [[0.05, 0.20], [-0.30, -0.05]]
    assert [x_ends(line) for line in values] == [[0.10], [-0.20]]
    assert [int(np.asarray(line.get_ydata())[0]) for line in intervals] == [0, 1]
    (bar,) = axes.patches  # 0.08 to either side, none where nothing is known
    assert (bar.get_x(), bar.get_width()) == (pytest.approx(-0.08), pytest.approx(0.16))
    assert bar.get_facecolor()[:3] == pytest.approx([int(GRID[k : k + 2], 16) / 255 for k in (1, 3, 5)])
    assert intervals[0].get_color() != MUTED and intervals[1].get_color() == MUTED
    assert [text.get_text() for text in axes.texts] == ["better", "not distinguishable"]


def test_figure_1_draws_each_class_as_long_as_its_score(data: ReportData) -> None:
    names = ["deep-city", "flat-city"]
    classes = data.class_scores[data.class_scores["experiment"].isin(names)]
    iou, dice = draw_classes(data, "city", names, classes).figure.axes
    deep, flat = iou.containers[0], iou.containers[1]
    # IoU 8/12, 4/8, 1, absent; 6/12, 4/10, 1, absent
    assert [bar.get_width() for bar in deep] == pytest.approx([2 / 3, 1 / 2, 1, 0])
    assert [bar.get_width() for bar in flat] == pytest.approx([1 / 2, 2 / 5, 1, 0])
    assert [bar.get_width() for bar in dice.containers[0]] == pytest.approx([4 / 5, 2 / 3, 1, 0])
    assert all(bar.get_x() == 0 for bar in (*deep, *flat))
    assert [round(bar.get_y() + bar.get_height() / 2) for bar in deep] == [0, 1, 2, 3]
    assert "absent" in [text.get_text() for text in iou.texts]
    bounds = classes[(classes["experiment"] == "deep-city") & (classes["measure"] == "iou")]
    drawn = [x_ends(line) for line in iou.lines[:4]]
    np.testing.assert_array_equal(drawn, bounds.sort_values("index")[["low", "high"]].to_numpy(float))


def test_figure_4_draws_dots_median_and_both_quartiles(data: ReportData) -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.9]  # quartiles 0.2 and 0.4, median 0.3
    frame = image_frame(data.reported)
    images = pd.DataFrame([frame.iloc[0].to_dict() | {"id": str(k), "value": v} for k, v in enumerate(values)])
    (axes,) = draw_images(data, images, "city", "city", "val").figure.axes
    dots, *lines = axes.collections
    assert sorted(np.asarray(dots.get_offsets())[:, 0]) == pytest.approx(values)
    ends = [
        [float(path.vertices[0, 0]) for path in one.get_paths()] for one in lines if isinstance(one, LineCollection)
    ]
    assert ends == [pytest.approx([0.2, 0.4]), pytest.approx([0.3])]


def test_headline_is_miou_and_no_other_measure(data: ReportData) -> None:
    points = data.experiments[data.experiments["experiment"].isin(["deep-city", "deep-spot"])].assign(gflops=[1.0, 2.0])
    city, spot = draw_cost(data, points).figure.axes
    dots = [line for axes in (city, spot) for line in axes.lines if line.get_marker() == "o"]
    assert [float(np.asarray(line.get_ydata())[0]) for line in dots] == pytest.approx([13 / 18, 5 / 8])
    assert [x_ends(line) for line in dots] == [[1.0], [2.0]]
    front = draw_front(data)
    assert front is not None
    dots = [line for line in front.figure.axes[0].lines if line.get_marker() == "o"]
    four = [13 / 18, (10 / 13 + 1.5) / 3, (10 / 13 + 1.5) / 3, 19 / 30]  # deep, wide, both, flat
    assert [float(np.asarray(line.get_ydata())[0]) for line in dots] == pytest.approx(four)
    assert [float(text) for text in re.findall(r"(\d\.\d{3}) at", front.alt)] == pytest.approx([*four, 5 / 8], abs=6e-4)


def test_the_front_holds_what_nothing_beats_at_no_more_cost() -> None:
    points = pd.DataFrame({"gflops": [1, 1, 2, 3, 4.0], "miou": [0.5, 0.6, 0.6, 0.8, 0.7]})
    assert pareto_front(points)[["gflops", "miou"]].to_numpy().tolist() == [[1, 0.6], [3, 0.8]]


def test_figure_3_draws_the_mean_over_seeds_in_the_band_of_all(data: ReportData) -> None:
    rows = [
        ("deep-city", seed, epoch, value, epoch == 2)
        for seed, values in ((1, (3, 1)), (2, (5, 2)))
        for epoch, value in enumerate(values, 1)
    ]
    curves = pd.DataFrame(rows, columns=["experiment", "seed", "epoch", "loss", "chosen"])
    curves["select_miou"], curves["fold"] = curves["loss"] / 10, 0
    assert over_epochs(curves, "loss")[["mean", "lowest", "highest"]].to_numpy().tolist() == [[4, 3, 5], [1.5, 1, 2]]
    loss, _ = draw_training(data, "city", curves).figure.axes
    assert np.asarray(loss.lines[0].get_ydata()).tolist() == [4, 1.5]
    band = loss.collections[0].get_paths()[0].vertices
    assert (band[:, 1].min(), band[:, 1].max()) == (1, 5)
    assert sorted(np.asarray(loss.lines[1].get_ydata())) == [1, 2]  # the chosen epoch of each seed


def test_figure_7_stacks_the_parts_of_lost_iou(data: ReportData) -> None:
    lost = pd.DataFrame(
        [
            {
                "experiment": "deep-city",
                "train_data": "city",
                "test_data": "city",
                "missed": 0.1,
                "spurious": 0.2,
                "boundary": 0.3,
            }
        ]
    )
    (axes,) = draw_lost(data, lost).figure.axes
    assert [(bar.get_x(), bar.get_width()) for bar in axes.patches] == [
        (0, pytest.approx(0.1)), (pytest.approx(0.1), pytest.approx(0.2)), (pytest.approx(0.3), pytest.approx(0.3)),
    ]  # fmt: skip


def test_figure_9_draws_the_largest_difference_first(data: ReportData) -> None:
    frame = sorted_differences(data, "deep-wide", "deep-city")
    # road 10/13 - 2/3, the others are the same
    assert frame["class"].tolist()[0] == "road" and frame["value"].tolist() == pytest.approx([10 / 13 - 2 / 3, 0, 0])
    (axes,) = draw_differences(data, "deep-city", ["deep-wide"]).figure.axes
    assert axes.get_yticklabels()[0].get_text() == "road"
    dots = [float(np.asarray(line.get_xdata())[0]) for line in axes.lines if line.get_marker() == "o"]
    assert dots == pytest.approx(frame["value"].tolist())


def test_figure_10_draws_shares_of_the_true_class(data: ReportData) -> None:
    sides = {side.name: side for side in own_sides(data)["city"]}
    figure = draw_confusion(data, "city", [sides["deep-city"], sides["flat-city"]]).figure
    first, second, difference = (axes.collections[0].get_array().reshape(4, 4) for axes in figure.axes)
    # true roads: 8 of 10 found by one, 6 of 10 by the other; void is in no image
    assert (first[0, 0], second[0, 0], difference[0, 0]) == (pytest.approx(0.8), pytest.approx(0.6), pytest.approx(0.2))
    assert np.ma.getmaskarray(first)[3].all()
    assert [text.get_text() for text in figure.axes[0].texts][:2] == ["80", "20"]


def test_every_kind_of_wrong_object_has_a_column(data: ReportData) -> None:
    kinds = ("missed", "spurious", "merged", "split")
    keys = [f"mean_{kind}_objects" for kind in kinds]
    rows = data.long[(data.long["level"] == "dataset") & (data.long["measure"] == "miou")]
    given = ReportData(data.results)
    given.__dict__["reported"] = pd.concat(
        [rows.assign(measure=key, value=0.1 * place) for place, key in enumerate(keys, 1)], ignore_index=True
    )
    (table,) = [table for table in error_tables(given) if table.slug == "errors"]
    printed = dict(zip([column.key for column in table.formats], table.rows()[0], strict=True))
    assert [printed[key].text for key in keys] == ["0.1000", "0.2000", "0.3000", "0.4000"]


def drawings(data: ReportData) -> list[Drawing]:
    return [item for part in every_part(data) for item in part.items if isinstance(item, Drawing)]


def _within(tick: Tick) -> bool:
    low, high = sorted(
        tick.axes.xaxis.get_view_interval() if isinstance(tick, XTick) else tick.axes.yaxis.get_view_interval()
    )
    return bool(low <= tick.get_loc() <= high)


def outside(figure: Figure) -> list[str]:
    """Texts that reach over the figure's edge."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # places legends
    width, height = figure.bbox.width, figure.bbox.height
    texts = [
        text for text in figure.findobj(lambda one: hasattr(one, "get_text")) if text.get_visible() and text.get_text()
    ]
    hidden = [tick for axes in figure.axes for axis in (axes.xaxis, axes.yaxis) for tick in axis.get_major_ticks()]
    beyond = {id(t.label1) for t in hidden if not _within(t)}  # matplotlib does not draw them
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    boxes = [box for text, box in zip(texts, boxes, strict=True) if id(text) not in beyond]
    return [text for text, box in boxes if box.x0 < -2 or box.y0 < -2 or box.x1 > width + 2 or box.y1 > height + 2]


def test_no_word_is_cut_off_at_a_figures_edge(data: ReportData) -> None:
    for drawing in drawings(data):
        assert outside(drawing.laid_out) == [], drawing.name


def test_long_names_leave_room_for_what_is_drawn(tmp_path: Path) -> None:
    """Twelve experiments and thirty classes, each with a name of 60 characters."""
    classes = [f"class {k:02d}".ljust(60, "x") for k in range(30)]
    names = [f"experiment-{k:02d}-".ljust(60, "y") for k in range(12)]
    experiments = [f"  {names[0]}: {{data: city, model: {{arch: unet}}}}"]
    experiments += [f"  {n}: {{base: {names[0]}, change: {{recipe.epochs: {k + 4}}}}}" for k, n in enumerate(names[1:])]
    data = f"data: {{city: {{reader: folder, root: city, classes: {json.dumps(classes)}}}}}"
    text = "\n".join(["name: long", data, "recipe: {epochs: 3, input_size: 32}", "experiments:", *experiments])
    store, plan = Store(tmp_path), make_plan(parse_study(text))
    right = np.eye(30, dtype=int)
    counts = np.random.default_rng(0).integers(1, 9, (3, 30, 30)) + 90 * right
    for place, run in enumerate(plan.runs):
        add_run(store, run)
        add_counts(store, run, "city", classes, counts - place * (right - np.roll(right, 1, axis=1)))  # the same truth
    found = drawings(ReportData(read_results(store, plan)))
    assert {drawing.name.split("-")[0] for drawing in found} >= {f"figure{k}" for k in (1, 3, 4, 5, 6, 9, 10)}
    for drawing in found:
        assert outside(drawing.laid_out) == [], drawing.name
        widths = [axes.get_window_extent().width / drawing.figure.dpi for axes in drawing.laid_out.axes]
        assert min(widths) > 1.2, drawing.name  # inches
        assert drawing.figure.get_size_inches()[0] == 10


@pytest.mark.parametrize("most", [9, 12, 20])
def test_shortened_names_stay_apart(most: int) -> None:
    names = [f"{'a' * 30}{k}{'b' * 30}" for k in range(25)] + ["short"]
    short = shortened(names, most)
    assert len(set(short.values())) == len(names)
    assert short["short"] == "short" and max(map(len, short.values())) <= most + 2


def test_names_with_markup_and_terminal_codes_are_drawn_as_text(tmp_path: Path) -> None:
    from xml.etree import ElementTree

    from report_stores import STUDY

    text = STUDY.replace("PROTOCOL", "paper").replace("SEEDS", "42").replace("<sky>", '"$sky$ \\x1b[31m<b>&"')
    store, plan = Store(tmp_path), make_plan(parse_study(text))
    _fill_with(store, plan)
    for drawing in drawings(ReportData(read_results(store, plan))):
        ElementTree.fromstring(drawing.svg)
        assert "\x1b" not in drawing.svg


def _fill_with(store: Store, plan: Plan) -> None:
    import report_stores

    classes = [*report_stores.CITY]
    classes[2] = "$sky$ \x1b[31m<b>&"
    for name, counts in (("deep-city", report_stores.DEEP), ("flat-city", report_stores.FLAT)):
        report_stores.add_run(store, report_stores.run_of(plan, name))
        report_stores.add_counts(store, report_stores.run_of(plan, name), "city", classes, counts)


AXES = {  # of each panel: title, what is along it, what is up it
    "figure6-effects": [("", "Difference in mIoU", "")],
    "figure1-per-class-city": [("IoU", "", ""), ("Dice", "", "")],
    "figure9-classes-deep-city": [("deep-wide", "Difference in IoU", ""), ("deep-both", "Difference in IoU", "")],
    "figure10-confusion-spot": [("deep-spot", "Predicted class", "True class")],
    "figure4-per-image-city": [("", "mIoU of one image", "")],
    "figure3-training-spot": [
        ("Training loss", "Epoch", ""),
        ("mIoU on the split that chooses the epoch", "Epoch", ""),
    ],
    "figure5-cost": [("city", "GFLOPs for one image", "mIoU"), ("spot", "GFLOPs for one image", "mIoU")],
    "figure0-front": [("city", "", ""), ("spot", "GFLOPs for one image", "")],
}
ROWS = {  # names along the left side
    "figure6-effects": [
        "deep-wide\nencoder=resnet101 against deep-city",
        "deep-both\nencoder=res…ut_stride=16 against deep-city",
    ],
    "figure1-per-class-city": ["0 road (2)", "1 car_50% (2)", "2 <sky> (2)", "3 void (0)"],
    "figure4-per-image-city": ["deep-city", "deep-wide", "deep-both", "flat-city"],
}
SHARES = ("figure1-per-class-city", "figure4-per-image-city")  # their axes are those of a share, from 0 to 1


@pytest.fixture(scope="module")
def drawn(data: ReportData) -> dict[str, Drawing]:
    front = draw_front(data)
    assert front is not None
    return {drawing.name: drawing for drawing in [*drawings(data), front]}


@pytest.mark.parametrize("name", AXES)
def test_axes_say_what_they_show_and_hold_all_of_it(drawn: dict[str, Drawing], name: str) -> None:
    panels = drawn[name].figure.axes
    said = [(axes.get_title("left") or axes.get_title(), axes.get_xlabel(), axes.get_ylabel()) for axes in panels]
    assert said == AXES[name]
    if name in ROWS:
        assert [label.get_text() for label in panels[0].get_yticklabels()] == ROWS[name]
    for axes in panels:
        (left, right), (low, high) = axes.get_xlim(), sorted(axes.get_ylim())
        assert name not in SHARES or (left, right) == (0, 1)
        lines = [line for line in axes.lines if line.get_transform() == axes.transData]
        xs = [x for line in lines for x in x_ends(line)] + [bar.get_x() + bar.get_width() for bar in axes.patches]
        ys = [float(y) for line in lines for y in np.asarray(line.get_ydata())]
        assert all(left <= x <= right for x in xs if x == x) and all(low <= y <= high for y in ys if y == y)
        assert all(low < bar.get_y() and bar.get_y() + bar.get_height() < high for bar in axes.patches)


def test_the_front_page_figure_names_each_point_at_its_place(drawn: dict[str, Drawing]) -> None:
    for name, city in (("figure0-front", "DeepLabV3"), ("figure5-cost", "deep-city")):
        panels = drawn[name].figure.axes
        for axes in panels:
            dots = {
                (x_ends(line)[0], float(np.asarray(line.get_ydata())[0]))
                for line in axes.lines
                if line.get_marker() == "o"
            }
            named = {text.get_text(): tuple(map(float, text.xy)) for text in axes.texts}
            assert set(named.values()) <= dots and named
        assert {text.get_text(): text.xy for text in panels[0].texts}[city] == (0.5, pytest.approx(13 / 18))
    label = drawn["figure0-front"].figure._supylabel
    assert label is not None and label.get_text() == "mIoU"
    assert re.findall(r"at (\S+) GFLOPs", drawn["figure0-front"].alt) == ["0.50"] * 5


def test_texts_of_figures_give_the_drawn_numbers(drawn: dict[str, Drawing]) -> None:
    """mIoU 13/18 of deep, (10/13 + 3/2)/3 of wide; of single images (DEEP, WIDE, FLAT in report_stores)."""
    wide = (10 / 13 + 1.5) / 3 - 13 / 18
    effects = drawn["figure6-effects"]
    assert effects.alt.startswith("Differences in mIoU with intervals. ") and "with 95 % interval" in effects.caption
    assert re.findall(r"([+-]\d\.\d+),", effects.alt) == [f"{wide:+.3f}"] * 2
    images = drawn["figure4-per-image-city"]
    medians = re.findall(r"median (\d\.\d+)", images.alt)
    assert [text.get_text() for text in images.figure.axes[0].texts] == [f"median {one}" for one in medians]
    # first image: IoU 6/9, 3/6, 1; second: 2/3, 1/2, 1; so both 13/18
    assert medians[0] == f"{13 / 18:.3f}"
    classes = drawn["figure9-classes-deep-city"]
    assert re.findall(r"road ([+-]\d\.\d+)", classes.alt) == [f"{10 / 13 - 2 / 3:+.3f}"] * 2
    assert re.findall(r"(\S+) (\d\.\d{3}) at (\d\.\d\d)", drawn["figure5-cost"].alt)[0] == (
        "deep-city",
        "0.722",
        "0.50",
    )


def test_figure_1_has_a_colour_for_each_experiment(drawn: dict[str, Drawing]) -> None:
    iou = drawn["figure1-per-class-city"].figure.axes[0]
    colours = [bars.patches[0].get_facecolor() for bars in iou.containers]
    assert len(set(colours)) == 2 and [bars.get_label() for bars in iou.containers] == ["deep-city", "flat-city"]


def test_figure_7_names_what_it_stacks(data: ReportData) -> None:
    lost = pd.DataFrame([{"experiment": "deep-city", "train_data": "city", "test_data": "city"}])
    drawing = draw_lost(data, lost.assign(missed=0.1, spurious=0.2, boundary=0.3))
    (axes,) = drawing.figure.axes
    assert axes.get_xlabel() == "Lost IoU (1 − IoU, mean over classes)"
    assert [text.get_text() for text in axes.texts] == ["0.100", "0.200", "0.300"]
    assert axes.get_legend_handles_labels()[1] == ["missed", "spurious", "boundary"]
    assert drawing.alt == "Lost IoU missed, spurious, boundary. deep-city: 0.100, 0.200, 0.300."


def test_figure_8_draws_accuracy_and_pixels_over_confidence(data: ReportData) -> None:
    rows = [("deep-city", "city", 0, 0.2, 0.3, 0.25), ("deep-city", "city", 1, 0.6, 0.9, 0.75)]
    bins = pd.DataFrame(rows, columns=["experiment", "test_data", "bin", "accuracy", "confidence", "share"])
    accuracy, share = draw_reliability(data, "city", bins).figure.axes
    for axes, ys in ((accuracy, [0.2, 0.6]), (share, [0.25, 0.75])):
        line = next(line for line in axes.lines if line.get_marker() == "o")
        assert (x_ends(line), np.asarray(line.get_ydata()).tolist()) == ([0.3, 0.9], ys)
        assert axes.get_xlabel() == "Confidence" and axes.get_xlim() == (0, 1.02)
    titles = [axes.get_title("left") or axes.get_title() for axes in (accuracy, share)]
    assert titles == ["Share of pixels that are right", "Share of all pixels"]
    assert share.yaxis.get_major_formatter()(0.05, 0) == "5 %" and share.get_yscale() == "log"
