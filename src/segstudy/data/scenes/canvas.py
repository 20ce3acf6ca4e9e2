"""The canvas for scenes: colours, noise, textures and photographic development.

Array conventions: images are HxWx3 in red, green, blue, ``float32`` radiance (about 0 to 255) while drawn and ``uint8``
after development; label maps are ``uint8`` HxW; noise and textures are ``float32`` HxW. A size is ``(width, height)`` and a
point ``(column, row)``, both in final pixels; a colour is three whole numbers from 0 to 255.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Point = tuple[float, float]
Size = tuple[int, int]
Colour = tuple[int, int, int]
Rng = np.random.Generator
T = TypeVar("T")

# Materials: the number of a part selects the texture applied after drawing.
PLAIN, CLOUDS, LEAVES, GRAIN, ROWS, COLUMNS, CHECK, STREAKS = range(8)
_NUM_MATERIALS = 8


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Blend two colours; ``share`` of the second."""
    red, green, blue = (round(p * (1 - share) + q * share) for p, q in zip(a, b, strict=True))
    return red, green, blue


def lit(colour: Colour, gain: float) -> Colour:
    """Lighten or darken a colour by a factor."""
    red, green, blue = (min(255, max(0, round(c * gain))) for c in colour)
    return red, green, blue


def any_colour(rng: Rng, saturation: Point = (0.0, 0.7), value: Point = (0.2, 0.9)) -> Colour:
    """Draw a colour of any hue."""
    return _from_hsv(rng.random(), rng.uniform(*saturation), rng.uniform(*value))


def any_green(rng: Rng) -> Colour:
    """Draw a colour of leaves or grass, sometimes autumnal or withered."""
    hue = rng.uniform(0.18, 0.38) if rng.random() < 0.75 else rng.uniform(0.05, 0.17)
    return _from_hsv(hue, rng.uniform(0.2, 0.65), rng.uniform(0.2, 0.6))


def _from_hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return round(255 * red), round(255 * green), round(255 * blue)


def any_material(rng: Rng) -> int:
    """Draw the number of a material."""
    return int(rng.integers(_NUM_MATERIALS))


def pick(rng: Rng, choices: Sequence[T]) -> T:
    """Draw one of several things with equal probability."""
    return choices[int(rng.integers(len(choices)))]


def noise(rng: Rng, size: Size, *cells: float | Point) -> Floats:
    """Sum octaves of smooth noise with the given cell sizes in pixels; about -1 to 1, float32 HxW."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    for octave, cell in enumerate(cells):
        across, down = cell if isinstance(cell, tuple) else (cell, cell)
        shape = (max(2, math.ceil(height / down)), max(2, math.ceil(width / across)))
        grid = rng.random(shape, dtype=np.float32) * 2 - 1
        smooth = Image.Resampling.BICUBIC if min(across, down) > 4 else Image.Resampling.BILINEAR
        total += np.asarray(Image.fromarray(grid * np.float32(0.7**octave)).resize(size, smooth))
    return total


def _textures(rng: Rng, size: Size, strength: float) -> Floats:
    """Draw the texture of each material for one scene, float32 (material, H, W), in grey levels."""
    width, height = size
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    fields = np.zeros((_NUM_MATERIALS, height, width), np.float32)
    wobble = noise(rng, size, 30)
    fields[CLOUDS] = wobble * 0.7 + noise(rng, size, 9) * 0.5
    fields[LEAVES] = noise(rng, size, 6, 2.5) * 1.3
    fields[GRAIN] = noise(rng, size, 2)
    fields[ROWS] = np.sin(rows * (2 * np.pi / rng.uniform(3, 10)) + wobble)
    fields[COLUMNS] = np.sin(columns * (2 * np.pi / rng.uniform(3, 10)) + wobble)
    fields[CHECK] = np.sign(np.sin(rows * rng.uniform(0.3, 0.8)) * np.sin(columns * rng.uniform(0.2, 0.7)))
    fields[STREAKS] = noise(rng, size, (25, 2) if rng.random() < 0.5 else (2, 25))
    gains = strength * rng.uniform(0.4, 1.3, _NUM_MATERIALS).astype(np.float32)
    gains[LEAVES] = strength * 1.6
    fields *= gains[:, None, None]
    return fields


def develop(rng: Rng, image: Floats, *, blur: float, grain: float) -> Bytes:
    """Turn radiance into a photograph: uneven light, white balance, contrast, focus, sensor noise.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides light, balance, contrast and noise; advanced by the call.
    image : float32, HxWx3
        Radiance, about 0 to 255; changed in place.
    blur : float
        Radius in pixels.
    grain : float
        Standard deviation of the sensor noise, in grey levels.

    Returns
    -------
    uint8, HxWx3
    """
    height, width = image.shape[:2]
    image *= (1 + 0.13 * noise(rng, (width, height), width / 3))[..., None]
    gain = rng.uniform(0.72, 1.12) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    tones = np.clip(np.arange(256, dtype=np.float32)[:, None] * gain / 255, 0, 1) ** rng.uniform(0.75, 1.35)
    table = (255 * (tones * rng.uniform(0.82, 1.0) + rng.uniform(0, 0.08))).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(image.clip(0, 255).astype(np.uint8)).point(table.T.ravel().tolist())
    if blur > 0.3:
        picture = picture.filter(ImageFilter.BoxBlur(blur))
    speckle = np.frombuffer(rng.bytes(image.size), np.int8).reshape(image.shape) * np.float32(grain / 74)
    return np.asarray((speckle + np.asarray(picture)).clip(0, 255), np.uint8)


class Canvas:
    """A picture and its label map, drawn together at twice the final size.

    The picture is averaged down, so it is smooth. The label map keeps every second pixel, so it is exact. A shape without
    a label is decoration: it changes colours but not labels.
    """

    def __init__(self, size: Size, backdrop: Image.Image, label: int, material: int = PLAIN) -> None:
        """Stretch a backdrop of one label and material over the whole canvas."""
        self.size = size
        double = (2 * size[0], 2 * size[1])
        self._picture = backdrop.resize(double, Image.Resampling.BILINEAR)
        # One integer holds label and material, so that one call draws both.
        self._parts = Image.new("I", double, label | material << 8)
        self._paint = ImageDraw.Draw(self._picture)
        self._glaze = ImageDraw.Draw(self._picture, "RGBA")  # ten times as slow, so only for translucent shapes
        self._mark = ImageDraw.Draw(self._parts)

    def polygon(
        self,
        points: Iterable[Point],
        colour: Colour,
        label: int | None = None,
        material: int = PLAIN,
        alpha: float = 1.0,
    ) -> None:
        """Fill a polygon."""
        doubled = [(2 * x, 2 * y) for x, y in points]
        self._fill(ImageDraw.ImageDraw.polygon, doubled, colour, label, material, alpha)

    def ellipse(
        self,
        centre: Point,
        radii: Point,
        colour: Colour,
        label: int | None = None,
        material: int = PLAIN,
        alpha: float = 1.0,
    ) -> None:
        """Fill an upright ellipse."""
        (x, y), (rx, ry) = centre, radii
        box = (2 * (x - rx), 2 * (y - ry), 2 * (x + rx), 2 * (y + ry))
        self._fill(ImageDraw.ImageDraw.ellipse, box, colour, label, material, alpha)

    def _fill(
        self,
        shape: Callable[..., None],
        outline: Sequence[Point] | tuple[float, ...],
        colour: Colour,
        label: int | None,
        material: int,
        alpha: float,
    ) -> None:
        if alpha < 1:
            shape(self._glaze, outline, fill=(*colour, round(255 * alpha)))
        else:
            shape(self._paint, outline, fill=colour)
        if label is not None:
            shape(self._mark, outline, fill=label | material << 8)

    def line(self, points: Iterable[Point], width: float, colour: Colour, label: int | None = None) -> None:
        """Draw a line through points, ``width`` pixels wide."""
        doubled = [(2 * x, 2 * y) for x, y in points]
        width_px = max(2, round(2 * width))  # below two, a line could fall between the kept pixels
        self._paint.line(doubled, fill=colour, width=width_px)
        if label is not None:
            self._mark.line(doubled, fill=label, width=width_px)

    def rectangle(
        self, corner: Point, opposite: Point, colour: Colour, label: int | None = None, material: int = PLAIN
    ) -> None:
        """Fill an upright rectangle."""
        (x0, y0), (x1, y1) = corner, opposite
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, label, material)

    def limb(
        self, start: Point, end: Point, radii: Point, colour: Colour, label: int | None, material: int = PLAIN
    ) -> None:
        """Draw a tapering, rounded limb, lighter along its left upper side."""
        (x0, y0), (x1, y1), (r0, r1) = start, end, radii
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        nx, ny = (y1 - y0) / length, -(x1 - x0) / length
        if nx > 0:  # towards the light
            nx, ny = -nx, -ny
        tones = ((1.0, lit(colour, 0.82), label), (0.62, colour, None), (0.25, lit(colour, 1.12), None))
        for shrink, tone, mark in tones:
            a, b, shift = r0 * shrink, r1 * shrink, (1 - shrink) * 0.5
            ax, ay, bx, by = x0 + nx * r0 * shift, y0 + ny * r0 * shift, x1 + nx * r1 * shift, y1 + ny * r1 * shift
            sides = [(ax + nx * a, ay + ny * a), (bx + nx * b, by + ny * b)]
            sides += [(bx - nx * b, by - ny * b), (ax - nx * a, ay - ny * a)]
            self.polygon(sides, tone, mark, material)
            self.ellipse((ax, ay), (a, a), tone, mark, material)
            self.ellipse((bx, by), (b, b), tone, mark, material)
            if r0 < 1.5:  # too thin to show roundness
                break

    def finish(self, rng: Rng, *, strength: float, blur: float, grain: float) -> tuple[Bytes, Bytes]:
        """Apply the textures with ``strength`` grey levels, and develop.

        Returns
        -------
        image : uint8, HxWx3
        labels : uint8, HxW
        """
        parts = np.asarray(self._parts)[::2, ::2]
        texture = np.take_along_axis(_textures(rng, self.size, strength), (parts >> 8)[None], axis=0)[0]
        image = np.asarray(self._picture.reduce(2), np.float32) + texture[..., None]
        return develop(rng, image, blur=blur, grain=grain), (parts & 255).astype(np.uint8)
