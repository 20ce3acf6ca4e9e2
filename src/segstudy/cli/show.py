"""Commands that look at runs in the terminal: one run's numbers and curve, and a study while it runs."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segstudy.cli.options import Json, Out, Set, app, plan_of

if TYPE_CHECKING:
    from segstudy.plan import Plan
    from segstudy.results import RunResult
    from segstudy.store import Store

EVERY_SECONDS = 2.0
ENDED = ("done", "failed", "stale")


@app.command()
def show(
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="STUDY:EXPERIMENT, or STUDY:EXPERIMENT/seedN.")],
    out: Out = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Show one run: its state, scores with intervals, classes, cost and learning curve."""
    from segstudy.plan import run_of
    from segstudy.results import read_results

    study, experiment, seed = run_of(run_name)
    whole, store = plan_of(study, out, set_)
    chosen = whole.select([experiment], seed)
    records = [_record(result) for result in read_results(store, chosen).runs]
    if as_json:
        print(json.dumps(records[0] if seed is not None else records, indent=2))
        return
    print("\n\n".join("\n".join(_lines(record)) for record in records))


def _record(result: RunResult) -> dict[str, Any]:
    """Everything about a run, as plain data; undefined numbers are None."""
    from segstudy.comparison import Side
    from segstudy.measures import OVERALL, PER_CLASS

    scored = []
    for one in result.sets:
        side = Side(result.run.name, [one])
        scores = {measure.key: side.estimates(measure)[0] for measure in OVERALL}
        iou = side.mean(PER_CLASS[0])
        scored.append(
            {
                "data": one.about.test_data,
                "split": one.about.split,
                "images": len(one.ids),
                "selected_on": one.about.selected_on,
                "scores": {
                    key: {"value": _number(e.value), "low": _number(e.low), "high": _number(e.high)}
                    for key, e in scores.items()
                },
                "iou": {name: _number(float(value)) for name, value in zip(one.classes, iou, strict=True)},
            }
        )
    return {
        "run": result.run.name,
        "state": result.state,
        "identity": result.run.identity,
        "failure": result.failure or None,
        "epochs": result.run.config.epochs,
        "curve": [
            {"epoch": e.epoch, "loss": _number(e.loss), "select_miou": _number(e.select_miou)} for e in result.epochs
        ],
        "evaluations": scored,
        "cost": result.cost.model_dump() if result.cost else None,
    }


def _number(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _lines(record: dict[str, Any]) -> list[str]:
    """One run for people."""
    from segstudy.measures import OVERALL
    from segstudy.overview import epochs_text
    from segstudy.records import NOT_TRAINED
    from segstudy.terminal import chart_lines, table_lines

    curve = record["curve"]
    trained = NOT_TRAINED if record["epochs"] == 0 else f"{epochs_text(len(curve), record['epochs'])} epochs"
    lines = [f"{record['run']}: {record['state']}, {trained}, identity {record['identity']}"]
    if record["failure"]:
        lines.append(f"failed: {record['failure']}")
    for one in record["evaluations"]:
        chosen = "" if one["selected_on"] == NOT_TRAINED else f", epoch chosen on {one['selected_on']}"
        lines += ["", f"{one['data']} {one['split']}, {one['images']} images{chosen}"]
        rows = [["measure", "value", "95 % interval, images"]]
        for measure in OVERALL:
            score = one["scores"][measure.key]
            interval = "–" if score["low"] is None else f"[{score['low']:.4f}, {score['high']:.4f}]"
            rows.append([measure.label, _digits(score["value"]), interval])
        lines += [*table_lines(rows), ""]
        lines += table_lines([["class", "IoU"], *([name, _digits(value)] for name, value in one["iou"].items())])
    for key, title in (("select_miou", "mIoU on the split that chooses the epoch"), ("loss", "training loss")):
        values = [math.nan if each[key] is None else each[key] for each in curve]
        if chart := chart_lines(values):
            lines += ["", f"{title}, by epoch", *chart]
    if record["cost"]:
        known = {key: value for key, value in record["cost"].items() if value is not None}
        lines += ["", "cost", *table_lines([[key.replace("_", " "), _short(value)] for key, value in known.items()])]
    return lines


def _digits(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def views(plan: Plan, store: Store) -> Iterator[list[str]]:
    """The state of all runs, as lines, each time it is requested; ends after the view in which every run has ended."""
    from segstudy.overview import epochs_text, live_lines, progress_line, standings
    from segstudy.results import stand
    from segstudy.terminal import table_lines

    finished, verdicts = -1, list[str]()
    while True:
        runs = standings(stand(store, plan))
        shares = [epochs_text(r.epochs_done, r.epochs) for r in runs]
        rows = [[r.run, r.state, share, _digits(_number(r.best))] for r, share in zip(runs, shares, strict=True)]
        if (done := sum(run.state == "done" for run in runs)) != finished:
            finished, verdicts = done, live_lines(plan, store)[1:]
        table = table_lines([["run", "state", "epochs", "best mIoU"], *rows], left=2)
        yield [*table, progress_line(runs), *verdicts]
        if all(run.state in ENDED for run in runs):
            return


def watch(plan: Plan, store: Store) -> None:
    """Show a study until every run has ended; where there is no terminal, print each change."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        _print_changes(plan, store)
        return
    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        for lines in views(plan, store):
            live.update(Text("\n".join(lines)), refresh=True)
            time.sleep(EVERY_SECONDS)


def _print_changes(plan: Plan, store: Store) -> None:
    former: list[str] = []
    for lines in views(plan, store):
        if lines != former:
            print("\n".join(line for line in lines if line not in former), flush=True)
        else:
            time.sleep(EVERY_SECONDS)
        former = lines
