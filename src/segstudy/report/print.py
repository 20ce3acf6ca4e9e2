"""The report on paper: ``report.pdf`` in two columns, set by Typst, and ``latex/main.tex`` with the same tables.

Nothing is computed here. Words, tables and figures are those of the page; intervals are looked up. Everything reaches
Typst as JSON, so no name is ever read as markup.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib

from segstudy.errors import and_more
from segstudy.files import write_bytes, write_text
from segstudy.report.answer import network_words, sentences, warnings
from segstudy.report.contract import contract
from segstudy.report.figure import Drawing
from segstudy.report.frames import ReportData, estimates_frame
from segstudy.report.page import Part, environment_pairs, progress_text
from segstudy.report.sections.provenance import command_line, missing
from segstudy.report.table import Cell, Table, escape_tex, interval_text, visible

HERE = Path(__file__).parent
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"  # DejaVu, in which figures are drawn
LAST_OF_PAPER = (6,)  # tables of a lower order are the review's Tables 1 to 7
BODY_FIGURES = (6, 1, 2)  # in this order, so that the small one fills a page of tables
LEFT_TO_APPENDIX = ("p_greater", "simultaneous", "margin_met", "about")  # columns of the table of comparisons
MOST_NAMES = 12  # variants that the setup names
LONGEST = 28  # characters of a word without a place to break
Intervals = dict[tuple[str, str, str, str], tuple[float, float]]  # experiment, test_data, split, measure


def write_pdf(data: ReportData, parts: Sequence[Part]) -> Path:
    """Write ``report/report.pdf`` from what the page shows; equal data give equal bytes."""
    import typst

    target = data.results.store.pdf
    with tempfile.TemporaryDirectory() as folder:  # Typst reads only what lies in its root
        root = Path(folder)
        shutil.copy(HERE / "paper.typ", root / "paper.typ")
        paper = paper_of(data, parts, root)
        pdf = typst.compile(
            root / "paper.typ",
            root=root,
            font_paths=[FONTS],
            ignore_system_fonts=True,
            sys_inputs={"paper": json.dumps(paper, ensure_ascii=False)},
        )
    write_bytes(target, pdf)
    return target


def paper_of(data: ReportData, parts: Sequence[Part], root: Path) -> dict[str, Any]:
    """All that the paper says, as plain data; pictures are written to ``root``."""
    study = data.plan.study
    intervals = _intervals(data)
    tables, figures = _tables_and_figures(parts)
    chosen = [figure for number in BODY_FIGURES for figure in figures if figure.number == number]
    paper = [_table(table, intervals) for table in tables if table.order < LAST_OF_PAPER]
    by_slug = {table.slug: table for table in tables}
    verdicts = [_table(_shorter(by_slug[slug]), {}) for slug in ("comparisons", "printed") if slug in by_slug]
    shown = [*paper, *verdicts, *(_figure(figure, root) for figure in chosen)]
    body = [
        _section("Summary", [_text(words) for words in [*sentences(data), *warnings(data)]]),
        _section("Setup", setup(data)),
        _section("Results", [_text(f"{'; '.join(item['title'] for item in shown)}.", "Shown"), *shown]),
    ]
    rest = [
        by_slug[slug]
        for slug in ("comparisons", "estimates", "settings", "splits", "cost", "provenance")
        if slug in by_slug
    ]
    appendix = [
        _section("Appendix: configuration, hashes and versions", [*_recipe(data), *(_table(t, {}) for t in rest)]),
    ]
    return {
        "title": _breakable(study.title or study.name),
        "question": _breakable(study.question),
        "made": f"Study {visible(study.name)}, protocol {study.protocol}, {progress_text(data.runs)}.",
        "body": [part for part in body if part["items"]],
        "appendix": appendix,
    }


def _tables_and_figures(parts: Sequence[Part]) -> tuple[list[Table], list[Drawing]]:
    """Tables by number, figures as on the page."""
    items = [item for part in parts for item in part.items]
    tables = [item for item in items if isinstance(item, Table)]
    figures = [item for item in items if isinstance(item, Drawing)]
    return sorted(tables, key=lambda table: table.order), sorted(figures, key=_number)


def _number(drawing: Drawing) -> float:
    """Its number; figures without one come last."""
    return math.inf if drawing.number is None else drawing.number


def setup(data: ReportData) -> list[dict[str, Any]]:
    """Data, recipe, protocol, seeds and hardware in words."""
    study, made = data.plan.study, data.results.environment
    known = dict(environment_pairs(made.model_dump())) if made else {}
    hardware = ", ".join(f"{key} {known[key]}" for key in ("system", "cpu", "gpu", "python") if known.get(key))
    networks = "; ".join(
        f"{row.experiment}: {row.arch}, {row.encoder}, weights {row.weights}"
        for row in data.experiments[data.experiments["base"] == ""].itertuples()
    )
    names = [str(name) for name in data.experiments.loc[data.experiments["base"] != "", "experiment"]]
    variants = "; ".join(f"{name}: {network_words(data, name)}" for name in names[:MOST_NAMES])
    variants += f" {and_more(len(names) - MOST_NAMES)}" if len(names) > MOST_NAMES else ""
    said = {
        "Data and scores": contract(data.scores),
        "Datasets": "; ".join(f"{name} ({entry.reader})" for name, entry in study.data.items()) + ".",
        "Baselines": f"{networks}.",
        "Variants": f"{variants}." if variants else "",
        "Protocol": f"“{study.protocol}”.",
        "Seeds": f"{', '.join(map(str, study.seeds))}.",
        "Recipe": f"{_pairs(study.recipe.model_dump())}.",
        "Hardware": f"{hardware}." if hardware else "",
        "Missing": " ".join(missing(data)),
    }
    return [_text(text, label) for label, text in said.items() if text]


def _recipe(data: ReportData) -> list[dict[str, Any]]:
    made = data.results.environment
    versions = "; ".join(f"{key} {value}" for key, value in environment_pairs(made.model_dump())) if made else ""
    said = {"Command": command_line(data), "Versions and hardware": versions}
    return [_text(text, label) for label, text in said.items() if text]


def _pairs(values: dict[str, Any]) -> str:
    shown = {key: f"({_pairs(value)})" if isinstance(value, dict) else value for key, value in values.items()}
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in shown.items() if value is not None)


def _section(title: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"title": title, "items": items}


def _text(text: str, label: str = "") -> dict[str, Any]:
    return {"kind": "text", "label": label, "text": _breakable(text)}


def _figure(drawing: Drawing, root: Path) -> dict[str, Any]:
    """A figure with its file: photographs as pixels, all else as lines and text."""
    path = root / f"{len(list(root.iterdir()))}.{'png' if drawing.photographs else 'svg'}"
    if drawing.photographs:
        path.write_bytes(drawing.png())
    else:
        path.write_text(drawing.svg, encoding="utf-8")
    words = {key: _breakable(getattr(drawing, key)) for key in ("title", "caption", "alt")}
    wide, high = drawing.figure.get_size_inches()
    return {"kind": "figure", "path": path.name, "tall": bool(high > 1.1 * wide), **words}


def _shorter(table: Table) -> Table:
    """The columns of a table of comparisons that fit a paper's page; the appendix has all of them."""
    formats = tuple(column for column in table.formats if column.key not in LEFT_TO_APPENDIX)
    if len(formats) == len(table.formats):
        return table
    return replace(table, formats=formats, caption=f"{table.caption} The appendix has further columns.")


def _table(table: Table, intervals: Intervals) -> dict[str, Any]:
    """A table's words; below each score its interval, where the table itself prints none."""
    frame = table.frame[table.frame["printed"]] if "printed" in table.frame else table.frame
    lines = [
        [_lines(cell, row, column.key, intervals) for cell, column in zip(cells, table.formats, strict=True)]
        for cells, row in zip(table.rows(), frame.to_dict("records"), strict=True)
    ]
    added = intervals and any(len(cell) > 1 for row in lines for cell in row)
    note = " Below a score: its 95 % interval." if added else ""
    return {
        "kind": "table",
        "title": _breakable(table.title),
        "caption": _breakable(f"{table.caption}{note}"),
        "labels": [_breakable(column.label).replace(" %", "\N{NO-BREAK SPACE}%") for column in table.formats],
        "numeric": [column.places is not None for column in table.formats],
        "rows": lines,
    }


def _lines(cell: Cell, row: dict[Any, Any], key: str, intervals: Intervals) -> list[str]:
    number, bracket, rest = cell.text.partition(" [")
    if cell.number is not None and bracket and "runs" in row:
        inside, closing, mark = rest.partition("]")
        return [f"{number}{mark}", f"[{inside}{closing}"]
    runs = row.get(f"{key}_runs", row.get("runs", ()))
    shown = {(run[0], run[2], run[3]) for run in runs} if isinstance(runs, tuple) else set()
    found = intervals.get((*next(iter(shown)), key)) if len(shown) == 1 and cell.source is not None else None
    if key == "delta_miou" and cell.source is not None:
        found = intervals.get((str(row.get("experiment")), "", "", key))
    lines = [_breakable(cell.text).replace(" [", "\N{NO-BREAK SPACE}[")]  # an interval stays with its number
    return lines if found is None or found[0] != found[0] else [*lines, interval_text(*found, 4, key == "delta_miou")]


def _intervals(data: ReportData) -> Intervals:
    """The interval of every score, and of every variant's difference to its base."""
    found: Intervals = {
        (str(row["experiment"]), str(row["test_data"]), str(row["split"]), str(row["measure"])): (
            row["low"],
            row["high"],
        )
        for row in estimates_frame(data.results).to_dict("records")
    }
    effects = data.effects.to_dict("records")
    return found | {(str(row["experiment"]), "", "", "delta_miou"): (row["low"], row["high"]) for row in effects}


def _breakable(text: str) -> str:
    """Text on one line; long words get places where they may break."""
    return re.sub(rf"[^\s-]{{{LONGEST}}}(?=[^\s-])", lambda part: part.group() + "\N{ZERO WIDTH SPACE}", visible(text))


MAIN_TEX = r"""%% Compiles with pdflatex, lualatex or xelatex from this folder.
\documentclass[10pt,a4paper]{article}
\usepackage[margin=2cm]{geometry}
\usepackage{iftex}
\ifPDFTeX
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\IfFileExists{lmodern.sty}{\usepackage{lmodern}}{}
%(declared)s\else
\usepackage{fontspec}
\fi
\usepackage{booktabs}
\usepackage{graphicx}
\extrafloats{500}
%% A table that is larger than the page is set smaller.
\newsavebox{\tablebox}
\newcommand{\fitted}{%%
  \ifdim\wd\tablebox>\linewidth\sbox{\tablebox}{\resizebox{\linewidth}{!}{\usebox{\tablebox}}}\fi
  \ifdim\dimexpr\ht\tablebox+\dp\tablebox\relax>0.75\textheight
  \resizebox*{!}{0.75\textheight}{\usebox{\tablebox}}\else\usebox{\tablebox}\fi}
\setlength{\belowcaptionskip}{4pt}
\setcounter{topnumber}{9}\setcounter{totalnumber}{9}
\renewcommand{\topfraction}{0.95}\renewcommand{\textfraction}{0.05}\renewcommand{\floatpagefraction}{0.6}
\title{%(title)s}
\author{}
\date{}
\begin{document}
\maketitle
\let\plaintabular\tabular
\let\endplaintabular\endtabular
\renewenvironment{tabular}[2][c]
  {\begin{lrbox}{\tablebox}\plaintabular[#1]{#2}}{\endplaintabular\end{lrbox}\fitted}
%(text)s
%(floats)s
\end{document}
"""


def write_latex(data: ReportData, parts: Sequence[Part]) -> None:
    """Write ``report/latex/main.tex``, which includes the tables and figures next to its folder."""
    study = data.plan.study
    tables, figures = _tables_and_figures(parts)
    said = [study.question, *sentences(data), *warnings(data), contract(data.scores)]
    text = "\n\n".join(escape_tex(_breakable(words)) for words in said if words)
    floats = [
        f"\\renewcommand{{\\thetable}}{{{t.number}{t.letter}}}\n\\input{{../tables/{t.name}.tex}}" for t in tables
    ]
    floats += [_latex_figure(figure) for figure in figures]
    title, body = escape_tex(_breakable(study.title or study.name)), _cleared(floats)
    shown = [table_words for table in tables for table_words in _words(table)]
    document = MAIN_TEX % {
        "declared": _declared([title, text, body, *shown]),
        "title": title,
        "text": text,
        "floats": body,
    }
    write_text(data.results.store.report / "latex" / "main.tex", document)


def _latex_figure(drawing: Drawing) -> str:
    """A float with the figure's own number, of which several may have one letter each."""
    caption = escape_tex(visible(f"{drawing.heading}. {drawing.caption}"))
    number = f"{drawing.number}{drawing.letter}"
    counter = f"\\renewcommand{{\\thefigure}}{{{number}}}" if drawing.number is not None else ""
    size = r"width=\linewidth,height=0.75\textheight,keepaspectratio"
    return (
        f"\\begin{{figure}}\n  \\centering\n  \\includegraphics[{size}]{{../figures/{drawing.name}.png}}\n"
        f"  {counter}\\caption{{{caption}}}\n\\end{{figure}}"
    )


def _cleared(floats: Sequence[str]) -> str:
    """Floats, all set after every few: TeX holds 18 at most."""
    return "\n".join(text + ("\n\\clearpage" if at % 6 == 0 else "") for at, text in enumerate(floats, 1))


def _words(table: Table) -> Iterable[str]:
    yield from (table.title, table.caption, *(column.label for column in table.formats))
    yield from (cell.text for row in table.rows() for cell in row)


def _declared(texts: Iterable[str]) -> str:
    """The replacement for characters that pdflatex's fonts lack: their code in a frame."""
    odd = sorted({character for text in texts for character in escape_tex(text) if ord(character) > 0x17F})
    return "".join(
        f"\\DeclareUnicodeCharacter{{{ord(c):04X}}}{{{'' if c == chr(0x200B) else f'[U+{ord(c):04X}]'}}}\n" for c in odd
    )
