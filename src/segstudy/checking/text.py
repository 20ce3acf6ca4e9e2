"""The result of a check as text: findings by kind, and the dataset card for a terminal and as Markdown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from segstudy.checking import Checked, Inspected
from segstudy.data.core import Dataset
from segstudy.data.quality.faults import Severity, grouped

Card = dict[str, Any]
HEADINGS = [
    "class",
    "pixels",
    "images",
    "parts",
    "px: 25%",
    "50%",
    "75%",
]  # connected parts and quartiles of their areas


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "error"), counted(1200, "error")
    ('1 error', '1,200 errors')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def verdict(checked: Checked) -> str:
    """One line: how much is wrong."""
    errors, warnings = checked.number("error"), checked.number("warning")
    if errors:
        return f"{counted(errors, 'error')} to fix before training, {counted(warnings, 'warning')}"
    return f"no errors, {counted(warnings, 'warning')} to look at" if warnings else "nothing wrong found"


def findings_text(checked: Checked) -> list[str]:
    """Lines for people: errors, then warnings, by dataset and kind with a few examples each."""
    lines: list[str] = []
    roots = {each.dataset.name: _root(each.dataset) for each in checked.inspected}
    severities: tuple[Severity, ...] = ("error", "warning")
    for severity in severities:
        of_it = [finding for finding in checked.findings if finding.fault.severity == severity]
        for name in dict.fromkeys(finding.dataset for finding in of_it):
            what = f"{severity}s of {name}" if name else f"{severity}s of the study"
            lines += [""] if lines else []
            lines.append(what + (f" (files in {roots[name]})" if name in roots else ""))
            faults = [finding.fault for finding in of_it if finding.dataset == name]
            lines += [f"  {line}" for block in grouped(faults, roots.get(name)) for line in block.splitlines()]
    return lines


def _root(dataset: Dataset) -> Path:
    files = [path for sample in dataset.samples("all") for path in (sample.image.parent, sample.mask.parent)]
    return Path(os.path.commonpath(files))


def card_text(inspected: Inspected) -> list[str]:
    """A dataset's card for a terminal."""
    card = inspected.card
    rows = [[row["class"], *_frequency_cells(row)] for row in card["frequencies"]]
    if card["ignored"]["pixels"]:
        rows.append(["(ignored)", *_frequency_cells({**card["ignored"], "parts": None})])
    aligned = ["left", *["right"] * (len(HEADINGS) - 1)]
    table = tabulate(rows, HEADINGS, tablefmt="plain", colalign=aligned, disable_numparse=True)
    facts = [f"  {label:8}{value}" for label, value in _facts(card)]
    return [f"{card['dataset']}: {_images(card)}", *facts, *(f"  {line}" for line in table.splitlines())]


def card_markdown(inspected: Inspected, findings: Sequence[str], with_sheet: bool = True) -> str:
    """A dataset's card as a page; ``findings`` are lines about what is wrong, ``contact-sheet.jpg`` is next to it."""
    card = inspected.card
    splits = [row["split"] for row in card["splits"]]
    rows = [
        [row["class"], *_frequency_cells(row), *(_percent(row["splits"][split]["pixel_share"]) for split in splits)]
        for row in card["frequencies"]
    ]
    headings = [*HEADINGS, *(f"pixels of {split}" for split in splits)]
    aligned = ["left", *["right"] * (len(headings) - 1)]
    wrong = ["## Findings", "", "```", *findings, "```"] if findings else ["No findings."]
    sheet = ["![A few images with their masks](contact-sheet.jpg)", ""] if with_sheet else []
    return "\n".join(
        [
            f"# {card['dataset']}",
            "",
            _images(card),
            "",
            *(f"- **{label}**: {value}" for label, value in _facts(card)),
            "",
            tabulate(rows, headings, tablefmt="github", colalign=aligned, disable_numparse=True),
            "",
            *sheet,
            *wrong,
            "",
        ]
    )


def _images(card: Card) -> str:
    images, sound = (sum(row[key] for row in card["splits"]) for key in ("images", "sound"))
    left_out = f", of which {images - sound:,} cannot be used and are not in these numbers" if sound < images else ""
    return f"{counted(images, 'image')} of {len(card['classes'])} classes{left_out}"


def _facts(card: Card) -> list[tuple[str, str]]:
    """Label and words of each fact above the table of classes."""
    parts = [f"{row['split']} {row['images']:,}{_roles(row)}" for row in card["splits"]]
    facts = [("splits", f"{', '.join(parts)}; hash {card['split_hash']}")]
    if sizes := card["sizes"]:
        least, median, most, frequent = (
            "x".join(map(str, sizes[key])) for key in ("min", "median", "max", "most_frequent")
        )
        often = (
            f"{frequent} is the most frequent of {sizes['different']:,} ({sizes['images_of_most_frequent']:,} images)"
        )
        several = f"{least} to {most}, median {median}; {often}"
        facts.append(("sizes", f"{least}, all images" if sizes["different"] == 1 else several))
        facts.append(("stored", ", ".join(f"{mode} {number:,}" for mode, number in card["modes"].items())))
    trained = next((row["split"] for row in card["splits"] if "trains" in row["roles"]), "")
    if moments := card["channels"].get(trained):
        usual = card["channels"]["imagenet"]
        for name, word in (("mean", "mean"), ("std", "std")):
            of_imagenet = f"ImageNet {_triple(usual[name])}"
            facts.append((word, f"{_triple(moments[name])} of {trained}'s red, green, blue from 0 to 1; {of_imagenet}"))
    for kind, word in (("same", "equal"), ("near", "nearly equal")):
        if found := card["repeats"][kind]["pairs"]:
            text = (
                f"{counted(found, 'pair')} of {word} images, {card['repeats'][kind]['across_splits']:,} across splits"
            )
            facts.append(("repeats", text))
    if groups := card["groups"]["num"]:
        facts.append(("groups", f"{groups:,}, {card['groups']['divided'] or 'none'} of them divided among splits"))
    return facts + [("note", note) for note in card["notes"]]


def _roles(row: Card) -> str:
    return f" ({', '.join(row['roles'])})" if row["roles"] else ""


def _triple(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


def _frequency_cells(row: Card) -> list[str]:
    parts = row["parts"]
    some = parts and parts["num"]
    areas = [f"{parts[quartile]:,.0f}" if some else "" for quartile in ("q1", "median", "q3")]
    return [_percent(row["pixel_share"]), f"{row['images']:,}", f"{parts['num']:,}" if parts else "", *areas]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"
