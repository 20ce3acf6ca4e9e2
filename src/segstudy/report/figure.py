"""The common parts of the report's figures: style, colours, labels that do not collide. Each section draws its own.

Figures are made of matplotlib's objects; no global state of pyplot is touched.

Colours are Okabe and Ito's (2008), distinguishable to most colour-blind people; an experiment keeps its colour within a
dataset. Text is drawn in ``INK`` and ``MUTED``, which the page exchanges for its own in a dark scheme.
"""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segstudy.files import write_bytes, write_text

INK, MUTED, GRID, PAPER = "#1c2126", "#646c75", "#dfe3e8", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c00", "#7f5fa8")
# Kinds of wrong pixels; distinguishable with any colour blindness, and from the grey image below them.
ERROR_COLOURS = {"missed": (0, 114, 178), "false": (213, 94, 0), "wrong class": (90, 0, 90)}
WIDTH = 10.0  # inches; 100 pixels each at the page's width
PNG_DPI = 200
CHARACTER = 0.6  # mean width of a character over its height
LONGEST = 40  # characters of a name next to a figure of the page's width
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segstudy",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": False,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


# Control characters, which steer terminals and break XML, as the signs that Unicode has to show them.
VISIBLE = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | {0x7F: 0x2421}


@contextlib.contextmanager
def _drawing() -> Iterator[None]:
    """The look of the report; names in letters that the font lacks are drawn as boxes in PNG, as text in SVG."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


@dataclass(frozen=True)
class Drawing:
    """A finished figure with its words.

    Attributes
    ----------
    slug, heading
        What it is about: in its files' names, and in its title.
    caption, alt
        The words below it, and in its place for those who cannot see it.
    figure
        As matplotlib draws it.
    number
        Its number in the report; None for a figure without one. Figures may share a number.
    letter
        Of figures that share a number, given when the report is put together: ``1a``.
    photographs
        Whether it holds pictures, which the page shows as pixels.

    """

    slug: str
    heading: str
    caption: str
    alt: str
    figure: Figure
    number: int | None = None
    letter: str = ""
    photographs: bool = False

    @property
    def name(self) -> str:
        """The name of its files, and its anchor on the page."""
        return self.slug if self.number is None else f"figure{self.number}-{self.slug}"

    @property
    def title(self) -> str:
        """Number and heading."""
        return self.heading if self.number is None else f"Figure {self.number}{self.letter}: {self.heading}"

    @cached_property
    def laid_out(self) -> Figure:
        """The figure with its layout fixed; savefig would compute the layout again for every format."""
        with _drawing():
            if (engine := self.figure.get_layout_engine()) is not None:
                engine.execute(self.figure)
            self.figure.set_layout_engine(None)
        return self.figure

    @cached_property
    def svg(self) -> str:
        """SVG with text as text; equal for equal data."""
        with _drawing():
            buffer = io.StringIO()
            self.laid_out.savefig(buffer, format="svg", dpi=200, metadata={"Date": None})
        return buffer.getvalue().translate(VISIBLE)  # XML holds no control characters

    def write(self, folder: Path) -> None:
        """Write SVG and PNG; a PNG is kept if it was drawn from the same SVG."""
        svg, png = folder / f"{self.name}.svg", folder / f"{self.name}.png"
        if png.is_file() and svg.is_file() and svg.read_bytes() == self.svg.encode():
            return
        png.unlink(missing_ok=True)  # after a crash between the two files, no PNG is next to an SVG of other data
        write_text(svg, self.svg)
        write_bytes(png, self.png())

    def png(self) -> bytes:
        """Pixels, without loss."""
        with _drawing():
            buffer = io.BytesIO()
            self.laid_out.savefig(buffer, format="png", dpi=PNG_DPI, pil_kwargs={"compress_level": 3})
        return buffer.getvalue()

    def jpeg(self, dpi: int = 150) -> bytes:
        """Pixels, small."""
        with _drawing():
            buffer = io.BytesIO()
            self.laid_out.savefig(buffer, format="jpeg", dpi=dpi, pil_kwargs={"quality": 88, "optimize": True})
        return buffer.getvalue()


def new_figure(height: float, columns: int = 1, rows: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width with rows of panels."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **options).flat)


def assign_colours(experiments: pd.DataFrame) -> dict[str, str]:
    """Experiment -> colour, from the start for each dataset, baselines first."""
    colours: dict[str, str] = {}
    for _, group in experiments.groupby("dataset", sort=False):
        ordered = [*group.loc[group["base"] == "", "experiment"], *group.loc[group["base"] != "", "experiment"]]
        colours |= {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(ordered)}
    return colours


def shortened(names: Iterable[str], most: int = LONGEST) -> dict[str, str]:
    """Each name with at most ``most`` characters: the middle of a longer one gives way to an ellipsis.

    Names that would then read alike end in their number instead.

    >>> shortened(["unet", "a-very-long-name"], 9)
    {'unet': 'unet', 'a-very-long-name': 'a-ve…name'}
    >>> shortened(["unet-at-256-pixels", "unet-of-256-pixels"], 9)
    {'unet-at-256-pixels': 'unet… (1)', 'unet-of-256-pixels': 'unet… (2)'}
    """
    head, tail = (most - 1) // 2, most - 1 - (most - 1) // 2
    short = {name: name if len(name) <= most else f"{name[:head]}…{name[-tail:]}" for name in dict.fromkeys(names)}
    seen = Counter(short.values())
    for number, (name, text) in enumerate(short.items(), 1):
        if seen[text] > 1:
            short[name] = f"{name[:head]}… ({number})"
    return short


def across(inches: float, size: float = 8.5) -> int:
    """The number of characters of ``size`` points that fit side by side."""
    return int(inches * 72 / (size * CHARACTER))


def add_legend(figure: Figure, handles: Sequence[Any], names: Sequence[str], **options: Any) -> None:
    """A legend above the panels, in as many columns as fit, for which the figure becomes taller."""
    labels = list(shortened(names).values())
    most = across(WIDTH, STYLE["font.size"]) // (max(map(len, labels)) + 5)
    columns = max(1, min(len(labels), most, 4))
    rows = -(-len(labels) // columns)
    figure.set_figheight(figure.get_figheight() + 0.2 * (rows - 1))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, handlelength=1.2, **options)


def spread(values: Sequence[float], gap: float, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """Places for labels at ``values``, moved apart until neighbours are ``gap`` away; order and centre are kept.

    Places beyond ``low`` and ``high`` are pushed back, and their neighbours with them.

    >>> spread([0.0, 0.0], 1.0)
    [-0.5, 0.5]
    >>> spread([0.0, 0.0, 5.0], 1.0, low=0.0)
    [0.0, 1.0, 5.0]
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    clusters: list[tuple[float, list[int]]] = []  # centre, members from the lowest
    for index in order:
        centre, members = values[index], [index]
        while clusters and centre - clusters[-1][0] < gap * (len(members) + len(clusters[-1][1])) / 2:
            before, others = clusters.pop()
            centre = (before * len(others) + centre * len(members)) / (len(others) + len(members))
            members = others + members
        clusters.append((centre, members))
    places = [0.0] * len(values)
    for centre, members in clusters:
        for rank, index in enumerate(members):
            places[index] = centre + gap * (rank - (len(members) - 1) / 2)
    for index in reversed(order):
        places[index] = min(places[index], high)
        high = places[index] - gap
    for index in order:
        places[index] = max(places[index], low)
        low = places[index] + gap
    return places
