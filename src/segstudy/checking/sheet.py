"""The contact sheet: a few images of a dataset with their masks laid over them, chosen by a rule, and what the colours mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from segstudy.checking import Inspected
from segstudy.data.core import IGNORE, Dataset, load_pair
from segstudy.data.quality.card import Seen, choose_for_sheet, ground_of, share_of
from segstudy.data.quality.inspect import has_background
from segstudy.data.quality.sheets import overlay

NUM_IMAGES = 12
WIDTH_PX = 1280
ACROSS = (2, 3, 4, 6)  # images in a row, so that rows are full
CELL_AREA_PX = 68_000  # of an image's cell, about; its shape is that of the images
GAP_PX = 14
TITLE_PX, TEXT_PX, SMALL_PX = 20, 15, 12  # sizes of letters
INK, MUTED = (32, 32, 32), (110, 110, 110)
Entry = tuple[tuple[int, int, int], str]  # of the legend: colour and words
STRIPES = (172, 172, 172)  # what an overlay's stripes look like from afar


def contact_sheet(inspected: Inspected, num_images: int = NUM_IMAGES) -> Image.Image | None:
    """Draw the sheet as RGB; None where no image is sound.

    Images stand from little foreground to much, each with its id, its split and its share of the background.
    """
    dataset, card = inspected.dataset, inspected.card
    if not inspected.seen:
        return None
    ground = ground_of(dataset, inspected.seen)
    chosen = choose_for_sheet(inspected.seen, ground, num_images)
    across, width, height = _grid(card["sizes"]["median"])
    legend_lines = _wrap(_legend(inspected, chosen))
    top = GAP_PX + TITLE_PX + (TEXT_PX + 10) * len(legend_lines) + 2 * GAP_PX
    step = height + TEXT_PX + SMALL_PX + 10 + GAP_PX
    page = Image.new("RGB", (WIDTH_PX, top + step * math.ceil(len(chosen) / across)), "white")
    pen = ImageDraw.Draw(page)
    order = "little foreground to much" if has_background(dataset) else f"much {dataset.classes[ground]} to little"
    title = f"{dataset.name}: {len(chosen)} of {len(inspected.seen):,} images, from {order}"
    pen.text((GAP_PX, GAP_PX), _shortened(title, TITLE_PX, WIDTH_PX - 2 * GAP_PX), INK, _font(TITLE_PX))
    _draw_legend(pen, legend_lines, GAP_PX + TITLE_PX + GAP_PX)
    for index, seen in enumerate(chosen):
        left, upper = GAP_PX + index % across * (width + GAP_PX), top + index // across * step
        picture = _picture(dataset, seen, width, height)
        page.paste(picture, (left + (width - picture.width) // 2, upper + height - picture.height))
        under = upper + height + 4
        pen.text((left, under), _shortened(seen.sample.id, SMALL_PX, width), INK, _font(SMALL_PX))
        words = f"{seen.split}, {share_of(seen, ground):.1%} {dataset.classes[ground]}"
        pen.text((left, under + SMALL_PX + 4), _shortened(words, SMALL_PX, width), MUTED, _font(SMALL_PX))
    return page


def _grid(median_size: Sequence[int]) -> tuple[int, int, int]:
    """Images in a row, and a cell's width and height: of the images' shape, within 1:2 and 2:1, near to the wanted area."""
    aspect = min(max(median_size[0] / median_size[1], 0.5), 2.0)
    cells = [(across, (WIDTH_PX - GAP_PX) // across - GAP_PX) for across in ACROSS]
    across, width = min(cells, key=lambda cell: abs(math.log(cell[1] ** 2 / aspect / CELL_AREA_PX)))
    return across, width, round(width / aspect)


def _picture(dataset: Dataset, seen: Seen, width: int, height: int) -> Image.Image:
    """The image with its mask, as large as fits the cell."""
    image, labels = load_pair(dataset, seen.sample)
    scale = min(width / image.width, height / image.height)
    size = max(round(image.width * scale), 1), max(round(image.height * scale), 1)
    small = np.asarray(Image.fromarray(labels).resize(size, Image.Resampling.NEAREST))
    return overlay(image.resize(size, Image.Resampling.LANCZOS), small, dataset.palette)


def _legend(inspected: Inspected, chosen: Sequence[Seen]) -> list[Entry]:
    """Colour and words of each class that occurs in the dataset, with its share of all pixels."""
    entries = []
    for row, colour in zip(inspected.card["frequencies"], inspected.dataset.palette, strict=True):
        if row["pixels"]:
            plain = " (not coloured)" if colour == (0, 0, 0) else ""
            entries.append((colour, f"{row['class']}{plain} {_percent(row['pixel_share'])}"))
    if any(IGNORE in seen.pixels for seen in chosen):
        entries.append((STRIPES, f"ignored (striped) {_percent(inspected.card['ignored']['pixel_share'])}"))
    return entries


def _percent(share: float) -> str:
    return "< 0.1%" if share < 0.0005 else f"{share:.1%}"


def _wrap(entries: Sequence[Entry]) -> list[list[tuple[int, Entry]]]:
    """Lines of legend entries, each with the place where it begins."""
    lines: list[list[tuple[int, Entry]]] = [[]]
    at, room = 0, WIDTH_PX - 2 * GAP_PX
    for colour, words in entries:
        needed = 22 + round(_font(TEXT_PX).getlength(words))
        if at and at + needed > room:
            lines.append([])
            at = 0
        lines[-1].append((at, (colour, words)))
        at += needed + 18
    return lines


def _draw_legend(pen: ImageDraw.ImageDraw, lines: list[list[tuple[int, Entry]]], top: int) -> None:
    for number, line in enumerate(lines):
        for at, (colour, words) in line:
            left, upper = GAP_PX + at, top + number * (TEXT_PX + 10)
            pen.rectangle((left, upper + 2, left + 15, upper + 17), fill=colour, outline=MUTED)
            pen.text((left + 22, upper), words, INK, _font(TEXT_PX))


def _shortened(text: str, size: int, room: int) -> str:
    """``text`` with its middle left out where it is wider than ``room`` pixels: ids differ at their ends."""
    font = _font(size)
    if font.getlength(text) <= room:
        return text
    for kept in range(len(text) - 1, 1, -1):
        short = f"{text[: kept // 3]}…{text[len(text) - (kept - kept // 3) :]}"
        if font.getlength(short) <= room:
            return short
    return "…"


def _font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has the letters of most alphabets."""
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
