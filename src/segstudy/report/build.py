"""Write a study's whole report: every number in long form, tables, figures, the page."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from segstudy.errors import SegstudyError
from segstudy.files import read_sealed, write_sealed, write_text
from segstudy.plan import Plan
from segstudy.report.figure import Drawing
from segstudy.report.frames import ReportData
from segstudy.report.gallery import clear_old as clear_pictures
from segstudy.report.page import Part, render_page
from segstudy.report.print import write_latex, write_pdf
from segstudy.report.section import Item, Widget
from segstudy.report.sections import all_sections
from segstudy.report.table import Table, csv_text, latex_text, letters_of, markdown_text, numbered
from segstudy.results import read_results
from segstudy.store import Store

WRITTEN = "written.json"  # the tables and figures of a report, by folder and name
KINDS = {"tables": ("csv", "md", "tex"), "figures": ("svg", "png")}


def build_report(
    store: Store, plan: Plan, data_root: Path | None = None, single_file: int | None = None, pdf: bool = False
) -> Path:
    """Write the report of what the store holds for ``plan`` and return the page's path.

    Missing, partial and failed runs are gaps that name their state. The pictures of images are next to the page;
    ``single_file`` puts those of so many images of each browser into it. ``data_root`` is where datasets lie, which gives
    pictures at full resolution; without them the cached images are shown. ``pdf`` adds ``report.pdf``.

    Raises
    ------
    SegstudyError
        When no run has a result yet.

    """
    with store.writing_report():
        return _build_report(ReportData(read_results(store, plan), data_root), single_file, pdf)


def _build_report(data: ReportData, single_file: int | None, pdf: bool) -> Path:
    store = data.results.store
    if not data.sets:
        raise SegstudyError(_nothing(store, data))
    parts = every_part(data)
    clear_old(store, {item.name for part in parts for item in part.items if isinstance(item, Table | Drawing)})
    write_text(store.results, data.form.text())
    for item in (item for part in parts for item in part.items):
        if isinstance(item, Table):
            for suffix, text in (("csv", csv_text(item)), ("md", markdown_text(item)), ("tex", latex_text(item))):
                write_text(store.report / "tables" / f"{item.name}.{suffix}", text)
        elif isinstance(item, Drawing):
            item.write(store.report / "figures")
        elif isinstance(item, Widget):
            item.write(store.report)
    clear_pictures(store.report, {str(item.data["folder"]) for item in _widgets(parts) if "folder" in item.data})
    inline = (
        {item.name: item.inline(store.report, single_file) for item in _widgets(parts)}
        if single_file is not None
        else None
    )
    write_latex(data, parts)
    store.pdf.unlink(missing_ok=True)  # a former one would hold other numbers
    if pdf:
        write_pdf(data, parts)
    write_text(store.page, render_page(data, parts, metadata.version("segstudy"), inline))
    return store.page


def _widgets(parts: Iterable[Part]) -> list[Widget]:
    return [item for part in parts for item in part.items if isinstance(item, Widget)]


def every_part(data: ReportData) -> list[Part]:
    """Every section that has something to show; its tables have their numbers, and no two titles the same one."""
    found = [(section, list(section.content(data))) for section in all_sections()]
    items = _named_apart([item for _, items in found for item in items])
    tables = [item for item in items if isinstance(item, Table)]
    drawings = [item for item in items if isinstance(item, Drawing)]
    letters = letters_of([drawing.number if drawing.number is not None else drawing.slug for drawing in drawings])
    lettered = iter([replace(one, letter=letter) for one, letter in zip(drawings, letters, strict=True)])
    numbers = {table.slug: table for table in numbered(tables)}
    done = iter(
        numbers[item.slug] if isinstance(item, Table) else next(lettered) if isinstance(item, Drawing) else item
        for item in items
    )
    parts = [Part(section, [next(done) for _ in own]) for section, own in found]
    return [part for part in parts if part.items]


def _named_apart(items: Sequence[Item]) -> list[Item]:
    """The items with names that files and links can have, and no two of a kind with one name, however they are spelled.

    A name may hold that of a dataset or experiment, so that two of them can come to the same.
    """
    seen: Counter[tuple[str, str]] = Counter()
    found: list[Item] = []
    for item in items:
        if isinstance(item, str):
            found.append(item)
            continue
        slug = item.name if isinstance(item, Widget) else re.sub(r"[^\w.-]+", "-", item.slug)
        name = slug
        while seen[type(item).__name__, name.lower()]:
            seen[type(item).__name__, slug.lower()] += 1
            name = f"{slug}-{seen[type(item).__name__, slug.lower()]}"
        seen[type(item).__name__, name.lower()] += 1
        found.append(replace(item, name=name) if isinstance(item, Widget) else replace(item, slug=name))
    return found


def clear_old(store: Store, kept: set[str]) -> None:
    """Remove the tables and figures that only a former report has, so that none with other numbers stays here.

    A report lists its files; one of an earlier version does not, and its files are recognised by their names.
    """
    listed = read_sealed(store.report / WRITTEN).get("files")
    for folder, suffixes in KINDS.items():
        own = re.compile(rf"(\d+|figure\d+)-.*\.({'|'.join(suffixes)})")
        for path in (store.report / folder).glob("*"):
            former = bool(own.fullmatch(path.name)) if listed is None else f"{folder}/{path.name}" in listed.split("\n")
            if former and path.stem not in kept:
                path.unlink(missing_ok=True)
    names = [f"{folder}/{name}.{suffix}" for folder, ends in KINDS.items() for suffix in ends for name in sorted(kept)]
    write_sealed(store.report / WRITTEN, {"files": "\n".join(names)})


def _nothing(store: Store, data: ReportData) -> str:
    study = data.plan.study
    states = ", ".join(f"{n} {state}" for state, n in Counter(data.runs["state"]).items())
    name = study.source if study.folder else study.name
    return (
        f"{store.root}: no run of the study '{study.name}' has a result yet ({states}); "
        f"run them with: segstudy run {name} --out {store.root}"
    )
