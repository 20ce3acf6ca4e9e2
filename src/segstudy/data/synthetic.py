"""Procedural scenes, written as real files in the exact layouts of three real datasets.

Street scenes go into the layout of Cityscapes, endoscopies into that of Kvasir-SEG, people into that of Supervisely
Person. They need nothing but NumPy and Pillow, so that a demonstration or a test runs without a download. They are
made to be hard in the ways that real pictures are: colours, light and textures are shared between classes, the rare
classes are small, outlines are thin, and there is much that merely resembles the thing sought.

Image ``i`` of a set depends on the seed, the set and ``i`` alone, so a larger set starts with the same images.

Legend: ``x, y, z`` are metres to the right, up and ahead of the camera; points are ``(column, row)`` in final pixels.
"""

from __future__ import annotations

import colorsys
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from segstudy.errors import DataError

__all__ = [
    "SCENES",
    "person_scene",
    "polyp_scene",
    "street_scene",
    "write_cityscapes",
    "write_kvasir",
    "write_supervisely",
]

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Point = tuple[float, float]
Colour = tuple[int, int, int]
Rng = np.random.Generator

MARKER = "synthetic.json"
VERSION = 1  # raise it whenever a scene changes, so that sets of an older make are not taken for this one's

# First word of each image's seed; the splits of one dataset must not share images.
_STREET_TRAIN, _STREET_VAL, _POLYP, _PERSON = 1, 2, 3, 4

TRAIN_CITIES = ("rasterstadt", "synthburg", "voxelheim")
VAL_CITIES = ("noisefurt", "pixelhafen")

# Cityscapes labelIds.
EGO, BORDER, OUT_OF_ROI, STATIC, DYNAMIC, GROUND = 1, 2, 3, 4, 5, 6
ROAD, SIDEWALK, PARKING, RAIL_TRACK, BUILDING, WALL, FENCE = 7, 8, 9, 10, 11, 12, 13
POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY = 17, 19, 20, 21, 22, 23
PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = 24, 25, 26, 27, 28, 31, 32, 33

_SKIN: tuple[Colour, ...] = (
    (244, 208, 177),
    (229, 180, 143),
    (198, 134, 96),
    (150, 98, 66),
    (104, 66, 46),
    (72, 48, 36),
)
_HAIR: tuple[Colour, ...] = ((30, 24, 22), (62, 42, 30), (110, 76, 44), (190, 150, 92), (150, 146, 142), (120, 50, 30))

# Materials: a part's number chooses the texture laid over it once everything is drawn.
_PLAIN, _CLOUDS, _LEAVES, _GRAIN, _ROWS, _COLUMNS, _CHECK, _STREAKS = range(8)
_NUM_MATERIALS = 8


# --- Colour and noise -------------------------------------------------------------------------------------------------


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    """Blend two colours; ``share`` of the second."""
    keep = 1 - share
    return round(a[0] * keep + b[0] * share), round(a[1] * keep + b[1] * share), round(a[2] * keep + b[2] * share)


def _lit(colour: Colour, gain: float) -> Colour:
    red, green, blue = (min(255, max(0, round(c * gain))) for c in colour)
    return red, green, blue


def _colour(rng: Rng, saturation: Point = (0.0, 0.7), value: Point = (0.2, 0.9)) -> Colour:
    """Draw a colour of any hue."""
    red, green, blue = colorsys.hsv_to_rgb(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
    return round(255 * red), round(255 * green), round(255 * blue)


def _green(rng: Rng) -> Colour:
    """Draw a colour of leaves or grass, at times an autumnal or withered one."""
    hue = rng.uniform(0.18, 0.38) if rng.random() < 0.75 else rng.uniform(0.05, 0.17)
    red, green, blue = colorsys.hsv_to_rgb(hue, rng.uniform(0.2, 0.65), rng.uniform(0.2, 0.6))
    return round(255 * red), round(255 * green), round(255 * blue)


def _noise(rng: Rng, size: tuple[int, int], *cells: float | tuple[float, float]) -> Floats:
    """Sum octaves of smooth noise, each with cells of that many pixels; about -1 to 1, float32 HxW."""
    width, height = size
    total = np.zeros((height, width), np.float32)
    for octave, cell in enumerate(cells):
        across, down = cell if isinstance(cell, tuple) else (cell, cell)
        shape = (max(2, math.ceil(height / down)), max(2, math.ceil(width / across)))
        grid = rng.random(shape, dtype=np.float32) * 2 - 1
        smooth = Image.Resampling.BICUBIC if min(across, down) > 4 else Image.Resampling.BILINEAR
        total += np.asarray(Image.fromarray(grid * np.float32(0.7**octave)).resize(size, smooth))
    return total


def _materials(rng: Rng, size: tuple[int, int], strength: float) -> npt.NDArray[np.float32]:
    """Draw the textures of one scene, float32 (material, H, W), in grey levels."""
    width, height = size
    rows, columns = np.arange(height, dtype=np.float32)[:, None], np.arange(width, dtype=np.float32)[None, :]
    fields = np.zeros((_NUM_MATERIALS, height, width), np.float32)
    wobble = _noise(rng, size, 30)
    fields[_CLOUDS] = wobble * 0.7 + _noise(rng, size, 9) * 0.5
    fields[_LEAVES] = _noise(rng, size, 6, 2.5) * 1.3
    fields[_GRAIN] = _noise(rng, size, 2)
    fields[_ROWS] = np.sin(rows * (2 * np.pi / rng.uniform(3, 10)) + wobble)
    fields[_COLUMNS] = np.sin(columns * (2 * np.pi / rng.uniform(3, 10)) + wobble)
    fields[_CHECK] = np.sign(np.sin(rows * rng.uniform(0.3, 0.8)) * np.sin(columns * rng.uniform(0.2, 0.7)))
    fields[_STREAKS] = _noise(rng, size, (25, 2) if rng.random() < 0.5 else (2, 25))
    gains = strength * rng.uniform(0.4, 1.3, _NUM_MATERIALS).astype(np.float32)
    gains[_LEAVES] = strength * 1.6
    fields *= gains[:, None, None]
    return fields


def _develop(rng: Rng, image: Floats, *, blur: float, noise: float) -> Bytes:
    """Turn radiance into a photograph: uneven light, white balance, contrast, focus, sensor noise."""
    height, width = image.shape[:2]
    image *= (1 + 0.13 * _noise(rng, (width, height), width / 3))[..., None]
    gain = rng.uniform(0.72, 1.12) * rng.uniform(0.93, 1.07, 3).astype(np.float32)
    tones = np.clip(np.arange(256, dtype=np.float32)[:, None] * gain / 255, 0, 1) ** rng.uniform(0.75, 1.35)
    table = (255 * (tones * rng.uniform(0.82, 1.0) + rng.uniform(0, 0.08))).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(image.clip(0, 255).astype(np.uint8)).point(table.T.ravel().tolist())
    if blur > 0.3:
        picture = picture.filter(ImageFilter.BoxBlur(blur))
    grain = np.frombuffer(rng.bytes(image.size), np.int8).reshape(image.shape) * np.float32(noise / 74)
    grain += np.asarray(picture)
    return grain.clip(0, 255).astype(np.uint8)


class _Canvas:
    """A picture and its label map, drawn together at twice the final size.

    The picture is averaged down, hence smooth; of the label map every second pixel is taken, hence exact. A shape with
    no label is decoration: it colours what lies there and leaves the labels alone.
    """

    def __init__(self, size: tuple[int, int], backdrop: Image.Image, label: int, material: int = _PLAIN) -> None:
        self.size = size
        double = (2 * size[0], 2 * size[1])
        self._picture = backdrop.resize(double, Image.Resampling.BILINEAR)
        # One integer holds label and material, so that one call draws both.
        self._parts = Image.new("I", double, label | material << 8)
        self._paint = ImageDraw.Draw(self._picture)
        self._glaze = ImageDraw.Draw(self._picture, "RGBA")  # ten times as slow, hence only for the translucent
        self._mark = ImageDraw.Draw(self._parts)

    def polygon(
        self, points: Iterable[Point], colour: Colour, label: int | None = None, material: int = 0, alpha: float = 1.0
    ) -> None:
        doubled = [(2 * x, 2 * y) for x, y in points]
        if alpha < 1:
            self._glaze.polygon(doubled, fill=(*colour, round(255 * alpha)))
        else:
            self._paint.polygon(doubled, fill=colour)
        if label is not None:
            self._mark.polygon(doubled, fill=label | material << 8)

    def ellipse(
        self,
        centre: Point,
        radii: Point,
        colour: Colour,
        label: int | None = None,
        material: int = 0,
        alpha: float = 1.0,
    ) -> None:
        (x, y), (rx, ry) = centre, radii
        box = (2 * (x - rx), 2 * (y - ry), 2 * (x + rx), 2 * (y + ry))
        if alpha < 1:
            self._glaze.ellipse(box, fill=(*colour, round(255 * alpha)))
        else:
            self._paint.ellipse(box, fill=colour)
        if label is not None:
            self._mark.ellipse(box, fill=label | material << 8)

    def line(self, points: Sequence[Point], width: float, colour: Colour, label: int | None = None) -> None:
        doubled = [(2 * x, 2 * y) for x, y in points]
        width_px = max(2, round(2 * width))  # under two, a line could fall between the pixels that are kept
        self._paint.line(doubled, fill=colour, width=width_px)
        if label is not None:
            self._mark.line(doubled, fill=label, width=width_px)

    def rectangle(
        self, corner: Point, opposite: Point, colour: Colour, label: int | None = None, material: int = 0
    ) -> None:
        (x0, y0), (x1, y1) = corner, opposite
        self.polygon([(x0, y0), (x1, y0), (x1, y1), (x0, y1)], colour, label, material)

    def limb(
        self, start: Point, end: Point, radii: Point, colour: Colour, label: int | None, material: int = 0
    ) -> None:
        """Draw a tapering, rounded limb, lighter along its left upper side."""
        (x0, y0), (x1, y1), (r0, r1) = start, end, radii
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        nx, ny = (y1 - y0) / length, -(x1 - x0) / length
        if nx > 0:  # towards the light
            nx, ny = -nx, -ny
        tones = ((1.0, _lit(colour, 0.82), label), (0.62, colour, None), (0.25, _lit(colour, 1.12), None))
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

    def finish(self, rng: Rng, *, strength: float, blur: float, noise: float) -> tuple[Bytes, Bytes]:
        """Lay the textures on and develop; the image uint8 HxWx3 and the labels uint8 HxW."""
        parts = np.asarray(self._parts)[::2, ::2]
        texture = np.take_along_axis(_materials(rng, self.size, strength), (parts >> 8)[None], axis=0)[0]
        image = np.asarray(self._picture.reduce(2), np.float32) + texture[..., None]
        return _develop(rng, image, blur=blur, noise=noise), (parts & 255).astype(np.uint8)


# --- Figures, shared by streets and portraits -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Pose:
    """Joint angles in radians from straight down, positive to the right; ``turn`` under 1 turns the stride away."""

    lean: float
    thighs: Point
    knees: Point
    arms: Point
    elbows: Point
    turn: float = 1.0


def _standing(rng: Rng, raising: float) -> _Pose:
    """Stand or walk; each arm is raised with that probability."""
    stride, swing = rng.normal(0, 0.28), rng.normal(0, 0.3)
    raised = np.where(rng.random(2) < raising, rng.uniform(0.6, 2.4, 2), 0)
    return _Pose(
        lean=rng.normal(0, 0.07),
        thighs=(stride - 0.06, -stride + 0.06),
        knees=(-abs(rng.normal(0, 0.25)), abs(rng.normal(0, 0.12))),
        arms=(-0.2 - swing - raised[0], 0.2 + swing + raised[1]),
        elbows=(rng.normal(0.1, 0.7), rng.normal(-0.1, 0.7)),
    )


def _riding(facing: int, turn: float) -> _Pose:
    return _Pose(
        lean=-0.45 * facing,
        thighs=(1.0 * facing, 0.45 * facing),
        knees=(-0.9 * facing, -0.75 * facing),
        arms=(0.95 * facing, 0.85 * facing),
        elbows=(0.3 * facing, 0.3 * facing),
        turn=turn,
    )


def _figure(canvas: _Canvas, rng: Rng, hip: Point, height: float, label: int, pose: _Pose) -> None:
    """Draw a clothed person of ``height`` pixels with the hip at a point."""
    skin = _lit(_SKIN[rng.integers(len(_SKIN))], rng.uniform(0.85, 1.05))
    top, trousers = _colour(rng, value=(0.1, 0.95)), _colour(rng, (0.0, 0.5), (0.08, 0.6))
    fabric, cloth = (int(m) for m in rng.integers(_NUM_MATERIALS, size=2))
    bulk, girth = rng.uniform(0.85, 1.25), height * rng.uniform(0.9, 1.1)

    def step(start: Point, angle: float, length: float) -> Point:
        return start[0] + math.sin(angle) * length * girth * pose.turn, start[1] + math.cos(angle) * length * girth

    across = (0.35 + 0.65 * pose.turn) * bulk * girth
    neck = step(hip, math.pi + pose.lean, 0.31)
    _legs(canvas, rng, hip, girth, label, pose, (trousers, cloth, skin))
    shoulders = [(neck[0] + side * 0.098 * across, neck[1] + 0.042 * girth) for side in (-1, 1)]
    sleeve = top if rng.random() < 0.65 else skin
    for index in (0, 1):
        elbow = step(shoulders[index], pose.arms[index], 0.165)
        hand = step(elbow, pose.arms[index] + pose.elbows[index], 0.15)
        canvas.limb(elbow, hand, (0.03 * girth, 0.022 * girth), sleeve, label, fabric if sleeve == top else 0)
        canvas.ellipse(hand, (0.026 * girth, 0.026 * girth), skin, label)
        canvas.limb(shoulders[index], elbow, (0.036 * girth, 0.031 * girth), top, label, fabric)
        if index == 0:  # the torso lies over one arm and under the other
            _torso(canvas, hip, neck, (across, girth), top, label, fabric)
    if rng.random() < 0.25:
        bag = (hip[0] + rng.choice([-1, 1]) * 0.13 * across, hip[1] - 0.05 * girth)
        canvas.line([shoulders[0], bag], 0.015 * girth, (40, 34, 30), label)
        canvas.ellipse(bag, (0.07 * girth, 0.08 * girth), _colour(rng), label)
    _head(canvas, rng, neck, girth, skin, label, pose.lean)


def _legs(
    canvas: _Canvas,
    rng: Rng,
    hip: Point,
    girth: float,
    label: int,
    pose: _Pose,
    clothes: tuple[Colour, int, Colour],
) -> None:
    trousers, cloth, skin = clothes
    bare = rng.random() < 0.25
    shoe = _colour(rng, (0, 0.5), (0.05, 0.9))
    for index, side in ((0, -1), (1, 1)):
        joint = (hip[0] + side * 0.045 * girth, hip[1])
        knee = (
            joint[0] + math.sin(pose.thighs[index]) * 0.24 * girth * pose.turn,
            joint[1] + math.cos(pose.thighs[index]) * 0.24 * girth,
        )
        bend = pose.thighs[index] + pose.knees[index]
        foot = (knee[0] + math.sin(bend) * 0.24 * girth * pose.turn, knee[1] + math.cos(bend) * 0.24 * girth)
        shin = skin if bare else trousers
        canvas.limb(foot, (foot[0] + side * 0.04 * girth, foot[1]), (0.03 * girth, 0.022 * girth), shoe, label)
        canvas.limb(knee, foot, (0.045 * girth, 0.03 * girth), shin, label, 0 if bare else cloth)
        canvas.limb(joint, knee, (0.07 * girth, 0.05 * girth), trousers, label, cloth)
    if rng.random() < 0.2:  # a skirt or a long coat
        x, y = hip
        hem = rng.uniform(0.12, 0.3) * girth
        skirt = [(x - 0.09 * girth, y - 0.06 * girth), (x + 0.09 * girth, y - 0.06 * girth)]
        canvas.polygon([*skirt, (x + 0.13 * girth, y + hem), (x - 0.13 * girth, y + hem)], trousers, label, cloth)


def _torso(canvas: _Canvas, hip: Point, neck: Point, spans: Point, colour: Colour, label: int, material: int) -> None:
    across, girth = spans
    (hx, hy), (nx, ny) = hip, neck
    for scale, shift, tone, mark in ((1.0, 0.0, _lit(colour, 0.88), label), (0.6, -0.03, colour, None)):
        shape = [(-0.035, nx, ny - 0.005 * girth), (-0.11, nx, ny + 0.025 * girth), (-0.125, nx, ny + 0.06 * girth)]
        shape += [(-0.085, hx, hy - 0.08 * girth), (-0.1, hx, hy + 0.03 * girth)]
        left = [(x + (dx * scale + shift) * across, y) for dx, x, y in shape]
        right = [(x + (-dx * scale + shift) * across, y) for dx, x, y in reversed(shape)]
        canvas.polygon(left + right, tone, mark, material)


def _head(canvas: _Canvas, rng: Rng, neck: Point, girth: float, skin: Colour, label: int, lean: float) -> None:
    x, y = neck[0] - math.sin(lean) * 0.1 * girth, neck[1] - 0.095 * girth
    hair, style = _HAIR[rng.integers(len(_HAIR))], rng.random()
    rx, ry = 0.058 * girth, 0.076 * girth
    if style < 0.4:  # long hair hangs behind the neck
        canvas.limb((x, y), (x, y + 0.1 * girth), (rx * 1.15, rx * 1.1), hair, label)
    canvas.limb((x, y + 0.04 * girth), (neck[0], neck[1] + 0.015 * girth), (0.033 * girth, 0.04 * girth), skin, label)
    canvas.ellipse((x, y - 0.012 * girth), (rx * 1.1, ry * 1.02), hair if style < 0.85 else skin, label)
    canvas.ellipse((x, y + 0.01 * girth), (rx * 0.95, ry * 0.92), _lit(skin, 0.88), label)
    canvas.ellipse((x - 0.1 * rx, y + 0.008 * girth), (rx * 0.75, ry * 0.78), skin)
    if style > 0.72:  # a hat or a helmet
        hat = _colour(rng)
        canvas.ellipse((x, y - 0.05 * girth), (rx * 1.2, ry * 0.55), hat, label)
        canvas.ellipse((x, y - 0.03 * girth), (rx * 1.5, ry * 0.16), _lit(hat, 0.7), label)
    if girth < 90:
        return
    for side in (-1, 1):
        canvas.ellipse((x + side * 0.4 * rx, y), (0.13 * rx, 0.09 * ry), (40, 30, 28))
        canvas.line(
            [(x + side * 0.2 * rx, y - 0.2 * ry), (x + side * 0.6 * rx, y - 0.22 * ry)], 0.004 * girth, _lit(hair, 0.8)
        )
    canvas.line([(x, y + 0.1 * ry), (x - 0.1 * rx, y + 0.35 * ry)], 0.005 * girth, _lit(skin, 0.75))
    canvas.ellipse((x, y + 0.58 * ry), (0.32 * rx, 0.07 * ry), _mix(skin, (150, 40, 50), 0.55))


# --- Streets ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Street:
    """A straight street before a pinhole camera: where its edges lie, and how far things fade into the haze."""

    canvas: _Canvas
    rng: Rng
    vanishing: Point
    focal_px: float
    edges: Point  # metres from the camera to the left (negative) and right kerb
    pavements: Point  # widths of the pavements, metres
    haze: Colour
    haze_m: float

    def at(self, x: float, y: float, z: float) -> Point:
        """Project a point of the world; the camera stands 1.3 m above the ground."""
        u, v = self.vanishing
        return u + self.focal_px * x / z, v - self.focal_px * (y - 1.3) / z

    def tone(self, colour: Colour, z: float) -> Colour:
        """Fade a colour with distance."""
        return _mix(colour, self.haze, 1 - math.exp(-z / self.haze_m))

    def upright(
        self, x: float, span: Point, z: Point, colour: Colour, label: int | None = None, material: int = 0
    ) -> None:
        """Draw a rectangle along the street: at ``x``, between two heights and two distances."""
        (low, high), (near, far) = span, z
        corners = [(low, near), (low, far), (high, far), (high, near)]
        self.canvas.polygon([self.at(x, y, d) for y, d in corners], colour, label, material)

    def flat(
        self, x: Point, z: Point, colour: Colour, label: int | None = None, material: int = 0, alpha: float = 1.0
    ) -> None:
        """Draw a rectangle that lies on the ground."""
        corners = [(x[0], z[0]), (x[1], z[0]), (x[1], z[1]), (x[0], z[1])]
        self.canvas.polygon([self.at(a, 0, d) for a, d in corners], colour, label, material, alpha)

    def frontal(
        self, x: Point, y: Point, z: float, colour: Colour, label: int | None = None, material: int = 0
    ) -> None:
        """Draw a rectangle that faces the camera."""
        self.canvas.rectangle(self.at(x[0], y[0], z), self.at(x[1], y[1], z), colour, label, material)


def street_scene(rng: Rng, size: tuple[int, int] = (512, 256)) -> tuple[Bytes, Bytes]:
    """Draw a street as a car's front camera sees it.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything; advanced by the call.
    size : (int, int)
        Width and height in pixels.

    Returns
    -------
    image : uint8, HxWx3
    label_ids : uint8, HxW, Cityscapes labelIds 0 to 33
    """
    width, height = size
    zenith = _mix(_colour(rng, (0.0, 0.3), (0.4, 0.95)), (120, 165, 215), 0.7)
    haze = _mix(zenith, (225, 222, 215), 0.7)
    ramp = np.linspace(0, 2, 48).clip(max=1)[:, None, None] ** 0.7
    sky = np.asarray(zenith) * (1 - ramp) + np.asarray(haze) * ramp
    street = _Street(
        canvas=_Canvas(size, Image.fromarray(sky.astype(np.uint8)), SKY, _CLOUDS),
        rng=rng,
        vanishing=(width * rng.uniform(0.38, 0.62), height * rng.uniform(0.38, 0.46)),
        focal_px=width * rng.uniform(0.85, 1.1),
        edges=(-rng.uniform(3.5, 7.5), rng.uniform(3, 6.5)),
        pavements=(rng.uniform(3, 8), rng.uniform(3, 8)),
        haze=haze,
        haze_m=rng.uniform(90, 400),
    )
    _horizon(street)
    _ground(street)
    for side in (0, 1):
        _frontage(street, side)
    for _, draw in sorted(_traffic(street), key=lambda item: -item[0]):
        draw()
    _bonnet(street)
    image, label_ids = street.canvas.finish(
        rng, strength=rng.uniform(9, 20), blur=rng.uniform(0, 0.7), noise=rng.uniform(1, 6)
    )
    _void_margins(rng, label_ids)
    return image, label_ids


def _horizon(street: _Street) -> None:
    """Close the street with distant houses and trees."""
    rng, x = street.rng, -75.0
    while x < 75:
        width, z = rng.uniform(5, 22), rng.uniform(95, 120)
        if rng.random() < 0.6:
            colour = street.tone(_colour(rng, (0, 0.4), (0.3, 0.85)), z * 0.7)
            street.frontal((x, x + width), (0, rng.uniform(6, 22)), z, colour, BUILDING, int(rng.integers(8)))
        else:
            for _ in range(6):
                _foliage(street, (x + rng.uniform(0, width), rng.uniform(2, 8), z), rng.uniform(2, 5), 5, _green(rng))
        x += width * 0.9


def _ground(street: _Street) -> None:
    rng, (left, right) = street.rng, street.edges
    asphalt = _colour(rng, (0.0, 0.15), (0.28, 0.6))
    stone = _mix(asphalt, _colour(rng, (0.0, 0.3), (0.4, 0.75)), rng.uniform(0.3, 1.0))
    verge = _green(rng) if rng.random() < 0.65 else None
    street.flat((-90, 90), (1.5, 110), _mix(stone, street.haze, 0.2), GROUND, _CLOUDS)
    for side, edge in ((0, left), (1, right)):
        sign = 2 * side - 1
        outer = edge + sign * street.pavements[side]
        street.flat(
            (edge, outer + sign * 3), (1.5, 110), stone, SIDEWALK, int(rng.choice([_PLAIN, _GRAIN, _CHECK, _CLOUDS]))
        )
        if verge and rng.random() < 0.7:
            inner = edge + sign * rng.uniform(0.3, 0.8) * street.pavements[side]
            street.flat((inner, outer + sign * 30), (1.5, 100), verge, TERRAIN, _LEAVES)
    street.flat((left, right), (1.5, 110), asphalt, ROAD, int(rng.choice([_GRAIN, _CLOUDS, _STREAKS])))
    street.flat((left, right), (30, 110), _mix(asphalt, street.haze, 0.35), alpha=0.4)
    for edge in street.edges:
        street.flat((edge - 0.12, edge + 0.12), (1.5, 100), _lit(stone, rng.choice([0.7, 1.25])))
    _road_marks(street, asphalt)


def _road_marks(street: _Street, asphalt: Colour) -> None:
    """Draw lanes, crossings, patches, puddles and the shadows of houses: none of them a class."""
    rng, (left, right) = street.rng, street.edges
    for _ in range(rng.integers(0, 6)):
        x, z = rng.uniform(left, right), rng.uniform(4, 30)
        patch = street.haze if rng.random() < 0.3 else _lit(asphalt, rng.uniform(0.6, 1.3))
        centre, reach = street.at(x, 0, z), street.focal_px * rng.uniform(0.3, 1.6) / z
        street.canvas.ellipse(centre, (reach, reach * 1.3 / z + 0.5), patch, alpha=rng.uniform(0.2, 0.7))
    white = _mix((235, 232, 220), asphalt, rng.uniform(0, 0.5))
    for lane in range(int((right - left) // 3.2)):
        x = left + 3.2 * (lane + 1) + rng.normal(0, 0.1)
        pitch = rng.choice([5.0, 9.0, 100.0])
        for z in np.arange(rng.uniform(2, 5), 70, pitch):
            street.flat((x - 0.08, x + 0.08), (z, z + pitch * 0.55), white)
    if rng.random() < 0.25:
        z = rng.uniform(8, 25)
        for x in np.arange(left, right, 1.0):
            street.flat((x, x + 0.5), (z, z + 3), white)
    if rng.random() < 0.5:
        z, reach = rng.uniform(4, 14), rng.uniform(left, right)
        edge = left * 2 if rng.random() < 0.5 else right * 2
        while z < 70:
            length = rng.uniform(4, 18)
            street.flat((edge, reach + rng.normal(0, 0.6)), (z, z + length), (15, 18, 35), alpha=0.38)
            z += length + rng.choice([0.0, 2.0, 6.0])


def _frontage(street: _Street, side: int) -> None:
    """Line one side of the street, from far to near, with houses, hedges, walls, fences and gaps."""
    rng, sign = street.rng, 2 * side - 1
    line = street.edges[side] + sign * street.pavements[side]
    built = rng.uniform(0.3, 0.95)
    far = 100.0
    while far > 6:
        near = max(3.0, far - rng.uniform(7, 22))
        kind = rng.random()
        if kind < built:
            _house(street, line + sign * rng.uniform(0, 0.8), (near, far))
        else:
            _garden(street, line, sign, (near, far))
        far = near


def _house(street: _Street, x: float, z: Point) -> None:
    rng, (near, far) = street.rng, z
    height = rng.uniform(5, 19)
    middle = (near + far) / 2
    paint = street.tone(_colour(rng, (0.0, 0.42), (0.25, 0.95)), middle)
    material = int(rng.integers(_NUM_MATERIALS))
    if near > 12:  # the wall that faces the camera, where the next house stands lower or further back
        depth = (x, x + math.copysign(12, x))
        street.frontal(depth, (0, height), near, _lit(paint, 0.8), BUILDING, material)
    street.upright(x, (0, height), z, paint, BUILDING, material)
    if not 0 < street.at(x, 0, far)[0] < street.canvas.size[0]:
        return  # out of sight
    near = max(near, street.focal_px * abs(x) / (0.7 * street.canvas.size[0]))  # as are the nearest windows
    glass = street.tone(_mix(_colour(rng, (0.1, 0.4), (0.1, 0.45)), street.haze, rng.uniform(0, 0.5)), middle)
    frame = _lit(paint, rng.choice([0.75, 1.25]))
    storey, bay = rng.uniform(2.7, 3.6), rng.uniform(1.6, 3.4) * (1 if near < 35 else 2)
    for y in np.arange(storey * 1.15, height - 1.6, storey):
        for d in np.arange(near + 0.6, far - bay * 0.6, bay):
            street.upright(x, (y - 0.1, y + 1.7), (d - 0.1, d + bay * 0.5 + 0.1), frame)
            street.upright(x, (y, y + 1.6), (d, d + bay * 0.5), _lit(glass, rng.uniform(0.8, 1.25)))
    if rng.random() < 0.6:  # shops, doors and posters
        for d in np.arange(near + 0.5, far - 2, rng.uniform(2.5, 5)):
            street.upright(x, (0.1, 2.5), (d, d + 1.8), street.tone(_colour(rng, (0.0, 0.9), (0.1, 0.9)), middle))
    if rng.random() < 0.5:  # cornice or roof
        street.upright(x, (height, height + rng.uniform(0.3, 2)), z, _mix(paint, (110, 60, 50), 0.6), BUILDING, _ROWS)


def _garden(street: _Street, line: float, sign: int, z: Point) -> None:
    """Fill a gap between houses: trees behind, and before them a wall, a fence, a hedge or nothing."""
    rng, (near, far) = street.rng, z
    middle = (near + far) / 2
    for _ in range(rng.integers(2, 5)):
        place = (line + sign * rng.uniform(2, 6), rng.uniform(2.5, 6), rng.uniform(near + 2, far + 2))
        _foliage(street, place, rng.uniform(1.6, 3.6), 22, street.tone(_green(rng), middle))
    kind = rng.random()
    colour = street.tone(_colour(rng, (0.0, 0.4), (0.25, 0.85)), middle)
    if kind < 0.3:
        street.upright(line, (0, rng.uniform(1.0, 3)), z, colour, WALL, int(rng.integers(_NUM_MATERIALS)))
    elif kind < 0.7:
        height = rng.uniform(0.9, 2.2)
        street.upright(line, (0, height), z, _mix(street.tone(_green(rng), middle), colour, 0.35), FENCE, _STREAKS)
        for y in (0.15, height):
            street.canvas.line([street.at(line, y, near), street.at(line, y, far)], 1, colour)
        for d in np.arange(near, far, 0.5 if near < 30 else 1.5):
            street.canvas.line([street.at(line, 0, d), street.at(line, height, d)], 25 / d, colour)
    elif kind < 0.9:
        street.upright(line, (0, rng.uniform(0.8, 2)), z, street.tone(_green(rng), middle), VEGETATION, _LEAVES)


def _foliage(street: _Street, place: tuple[float, float, float], radius: float, num_blobs: int, colour: Colour) -> None:
    """Draw a crown of leaves: many blobs, lighter towards the sky."""
    rng, (x, y, z) = street.rng, place
    scale = street.focal_px / z
    u, v = street.at(x, y, z)
    if not -2 * radius * scale < u < street.canvas.size[0] + 2 * radius * scale:
        return
    num_blobs = min(num_blobs, 5 + round(radius * scale))
    offsets = rng.normal(0, (0.46, 0.42), (num_blobs, 2))
    offsets = offsets[np.argsort(-offsets[:, 1])]
    sizes = rng.uniform(0.16, 0.5, num_blobs) * radius * scale
    lights = rng.normal(0, 0.09, num_blobs)
    for (dx, dy), size, light in zip(offsets.tolist(), sizes.tolist(), lights.tolist(), strict=True):
        tone = _lit(colour, 1.0 - 0.45 * max(-1.0, min(1.0, dy)) + light)
        centre = (u + dx * radius * scale, v + dy * radius * scale)
        street.canvas.ellipse(centre, (size, size * 0.8), tone, VEGETATION, _LEAVES)


def _tree(street: _Street, x: float, z: float) -> None:
    rng, height = street.rng, street.rng.uniform(3.2, 6.5)
    bark = street.tone(_mix((85, 68, 52), _colour(rng, (0, 0.2)), 0.3), z)
    sway = rng.normal(0, 0.3)
    trunk = [street.at(x, 0, z), street.at(x + sway, height, z)]
    thick = street.focal_px * rng.uniform(0.12, 0.3) / z
    _cast(street, x, z, 1.5)
    street.canvas.line(trunk, thick, bark, VEGETATION)
    _foliage(street, (x + sway, height, z), rng.uniform(1.2, 3), 34, street.tone(_green(rng), z))


def _cast(street: _Street, x: float, z: float, width: float) -> None:
    """Darken the ground beneath a thing."""
    radius = street.focal_px * width / z / 2
    street.canvas.ellipse(street.at(x, 0, z), (radius, radius * 0.8 / z + 0.6), (10, 12, 22), alpha=0.4)


# Silhouettes: sides as (share of the length from the back, share of the height), backs as (share of half the width,
# share of the height).
_SALOON = ((0, 0.2), (0, 0.55), (0.04, 0.62), (0.17, 0.66), (0.3, 1), (0.62, 1), (0.78, 0.64), (0.98, 0.52), (1, 0.2))
_HATCH = ((0, 0.2), (0, 0.6), (0.06, 0.93), (0.14, 1), (0.58, 1), (0.75, 0.64), (0.98, 0.52), (1, 0.2))
_VAN = ((0, 0.15), (0, 0.96), (0.03, 1), (0.72, 1), (0.86, 0.58), (0.99, 0.45), (1, 0.15))
_COACH = ((0, 0.1), (0, 0.97), (0.01, 1), (0.98, 1), (1, 0.9), (1, 0.1))
_LORRY = ((0, 0.2), (0, 1), (0.72, 1), (0.73, 0.3), (0.77, 0.3), (0.78, 0.78), (0.95, 0.76), (1, 0.45), (1, 0.15))
_ROUND_BACK = ((-1, 0.2), (-1, 0.58), (-0.76, 0.97), (-0.65, 1), (0.65, 1), (0.76, 0.97), (1, 0.58), (1, 0.2))
_SQUARE_BACK = ((-1, 0.12), (-1, 0.95), (-0.92, 1), (0.92, 1), (1, 0.95), (1, 0.12))


@dataclass(frozen=True)
class _Vehicle:
    label: int
    side: tuple[Point, ...]
    back: tuple[Point, ...]
    width_m: float
    height_m: float
    length_m: float
    windows: tuple[tuple[float, float], ...]  # along the side, as shares of the length
    sill: float  # where windows begin, as a share of the height


_CARS = (
    _Vehicle(CAR, _SALOON, _ROUND_BACK, 1.8, 1.45, 4.6, ((0.24, 0.45), (0.47, 0.7)), 0.66),
    _Vehicle(CAR, _HATCH, _ROUND_BACK, 1.75, 1.5, 4.0, ((0.1, 0.35), (0.38, 0.66)), 0.64),
    _Vehicle(CAR, _VAN, _SQUARE_BACK, 1.9, 1.95, 4.9, ((0.06, 0.3), (0.34, 0.54), (0.57, 0.78)), 0.6),
)
_TRUCK = _Vehicle(TRUCK, _LORRY, _SQUARE_BACK, 2.45, 3.3, 8.5, ((0.82, 0.94),), 0.5)
_BUS = _Vehicle(BUS, _COACH, _SQUARE_BACK, 2.5, 3.1, 11.5, tuple((s / 8 + 0.01, s / 8 + 0.11) for s in range(8)), 0.48)
_TRAM = _Vehicle(
    TRAIN, _COACH, _ROUND_BACK, 2.5, 3.5, 26, tuple((s / 10 + 0.01, s / 10 + 0.085) for s in range(10)), 0.45
)


def _vehicle(street: _Street, kind: _Vehicle, x: float, z: float, oncoming: bool) -> None:
    """Draw a vehicle that stands along the street, its nearer end at ``z``."""
    rng, canvas, half = street.rng, street.canvas, kind.width_m / 2
    height = kind.height_m * rng.uniform(0.94, 1.08)
    body = street.tone(_colour(rng, (0.0, 0.85), (0.08, 0.95)), z)
    glass = street.tone(_mix((35, 42, 50), street.haze, rng.uniform(0.05, 0.45)), z)
    inner = x - math.copysign(half, x)  # the side that faces the camera

    def along(share: float) -> float:
        return z + (1 - share if oncoming else share) * kind.length_m

    street.flat((x - half - 0.2, x + half + 0.2), (z - 0.3, z + kind.length_m), (8, 9, 15), alpha=0.5)
    side = [street.at(inner, up * height, along(share)) for share, up in kind.side]
    canvas.polygon(side, _lit(body, 0.78), kind.label)
    for start, end in kind.windows:
        street.upright(inner, (kind.sill * height, 0.92 * height), (along(start), along(end)), glass)
    for share in (0.17, 0.8):
        turns = np.arange(10) * (math.pi / 5)
        rim = [street.at(inner, 0.33 + 0.33 * math.sin(t), along(share) + 0.33 * math.cos(t)) for t in turns]
        canvas.polygon(rim, (24, 24, 26), kind.label)
    for wheel in (x - half * 0.8, x + half * 0.8):
        street.frontal((wheel - 0.12, wheel + 0.12), (0, 0.5), z, (18, 18, 20), kind.label)
    back = [street.at(x + across * half, up * height, z) for across, up in kind.back]
    canvas.polygon(back, body, kind.label, int(rng.choice([_PLAIN, _CLOUDS])))
    if kind.label != TRUCK or oncoming:
        street.frontal((x - half * 0.72, x + half * 0.72), (kind.sill * height, 0.93 * height), z, glass)
    street.frontal((x - half * 0.98, x + half * 0.98), (0.2 * height, 0.3 * height), z, _lit(body, 0.6))
    lamp = (250, 245, 225) if oncoming else (175, 25, 30)
    for across in (-0.82, 0.82):
        centre = x + across * half
        street.frontal((centre - 0.13, centre + 0.13), (0.38 * height, 0.5 * height), z, lamp)
    street.frontal((x - 0.26, x + 0.26), (0.32 * height, 0.39 * height), z, (215, 215, 210))


def _crossing(street: _Street, kind: _Vehicle, x: float, z: float) -> None:
    """Draw a vehicle that crosses the street, seen from its side."""
    rng, facing = street.rng, int(street.rng.choice([-1, 1]))
    body = street.tone(_colour(rng, (0.0, 0.85), (0.08, 0.95)), z)
    street.flat((x - kind.length_m / 2, x + kind.length_m / 2), (z - 0.3, z + 1.8), (8, 9, 15), alpha=0.5)

    def along(share: float) -> float:
        return x + facing * (share - 0.5) * kind.length_m

    side = [street.at(along(share), up * kind.height_m, z) for share, up in kind.side]
    street.canvas.polygon(side, body, kind.label, int(rng.choice([_PLAIN, _CLOUDS])))
    low, high = sorted((along(0), along(1)))
    street.frontal((low, high), (0.2 * kind.height_m, 0.34 * kind.height_m), z, _lit(body, 0.75))
    for start, end in kind.windows:
        left, right = sorted((along(start), along(end)))
        street.frontal((left, right), (kind.sill * kind.height_m, 0.9 * kind.height_m), z, street.tone((45, 52, 62), z))
    radius = street.focal_px * 0.34 / z
    for share in (0.17, 0.8):
        street.canvas.ellipse(street.at(along(share), 0.34, z), (radius, radius), (22, 22, 24), kind.label)
        street.canvas.ellipse(street.at(along(share), 0.34, z), (radius * 0.5, radius * 0.5), (120, 122, 126))


def _pedestrian(street: _Street, x: float, z: float) -> None:
    height = street.focal_px * street.rng.uniform(1.5, 1.9) / z
    u, v = street.at(x, 0, z)
    _cast(street, x, z, 0.8)
    _figure(street.canvas, street.rng, (u, v - 0.49 * height), height, PERSON, _standing(street.rng, 0.1))


def _two_wheeler(street: _Street, x: float, z: float, label: int, ridden: bool) -> None:
    """Draw a bicycle or motorcycle, seen from the side or nearly along the street."""
    rng, canvas, scale = street.rng, street.canvas, street.focal_px / z
    turn, facing = rng.uniform(0.25, 1.0), int(rng.choice([-1, 1]))
    paint, motor = street.tone(_colour(rng, (0.2, 0.95), (0.1, 0.9)), z), label == MOTORCYCLE

    def at(along: float, up: float) -> Point:
        u, v = street.at(x, up, z)
        return u + facing * along * turn * scale, v

    _cast(street, x, z, 1.6 * turn)
    tyre, grip = (0.3, 0.08) if motor else (0.34, 0.035)
    for hub in (-0.55, 0.55):
        for share, tone in ((1.0, (22, 22, 24)), (1 - 3 * grip, street.tone((120, 120, 118), z))):
            radii = (max(tyre * turn, 0.06) * scale * share, tyre * scale * share)
            canvas.ellipse(at(hub, tyre), radii, tone, label)
    if motor:
        hull = [(-0.85, 0.75), (-0.3, 0.72), (-0.05, 0.95), (0.35, 0.98), (0.5, 0.6), (0.2, 0.25), (-0.35, 0.25)]
        canvas.polygon([at(*p) for p in hull], paint, label)
    tubes = [(-0.55, tyre), (-0.15, 0.3), (0.4, 0.85), (-0.2, 0.8), (-0.15, 0.3)]
    for path in (tubes, [(-0.55, tyre), (-0.2, 0.95)], [(0.55, tyre), (0.38, 1.05), (0.55, 1.08)]):
        canvas.line([at(*p) for p in path], (0.09 if motor else 0.05) * scale, paint, label)
    if ridden:
        _figure(canvas, rng, at(-0.22, 0.98), scale * 1.75, RIDER, _riding(facing, 0.3 + 0.7 * turn))


def _pole(street: _Street, x: float, z: float, carries: str) -> None:
    rng, canvas, scale = street.rng, street.canvas, street.focal_px / z
    height = {"lamp": rng.uniform(5, 8), "light": rng.uniform(2.8, 4)}.get(carries, rng.uniform(2, 3))
    grey = street.tone(_colour(rng, (0.0, 0.3), (0.15, 0.75)), z)
    canvas.line([street.at(x, 0, z), street.at(x, height, z)], rng.uniform(0.12, 0.28) * scale, grey, POLE)
    if carries == "lamp":
        arm = street.at(x - math.copysign(1.6, x), height + 0.2, z)
        canvas.line([street.at(x, height, z), arm], 0.1 * scale, grey, POLE)
        canvas.ellipse(arm, (0.35 * scale, 0.12 * scale), (235, 230, 205), POLE)
    elif carries == "light":
        case = (street.at(x - 0.22, height + 0.6, z), street.at(x + 0.22, height - 0.5, z))
        canvas.rectangle(*case, _colour(rng, (0, 0.4), (0.05, 0.25)), TRAFFIC_LIGHT)
        lit = int(rng.integers(3))
        for lamp, colour in enumerate(((240, 40, 30), (250, 180, 30), (50, 220, 110))):
            spot = street.at(x, height + 0.38 - 0.36 * lamp, z)
            canvas.ellipse(spot, (0.13 * scale, 0.13 * scale), colour if lamp == lit else _lit(colour, 0.25))
    elif carries == "sign":
        _sign(street, x, height, z)


def _sign(street: _Street, x: float, height: float, z: float) -> None:
    rng, canvas = street.rng, street.canvas
    radius = street.focal_px * rng.uniform(0.32, 0.7) / z
    u, v = street.at(x, height, z)
    rim, face = ((200, 25, 30), (238, 238, 235)) if rng.random() < 0.5 else ((30, 75, 175), (60, 110, 205))
    if rng.random() < 0.2:
        rim, face = _colour(rng, (0.4, 1)), _colour(rng)
    shape = rng.random()
    for share, colour, label in ((1.0, rim, TRAFFIC_SIGN), (0.7, face, None)):
        r = radius * share
        if shape < 0.45:
            canvas.ellipse((u, v), (r, r), street.tone(colour, z), label)
        elif shape < 0.7:
            canvas.polygon([(u, v - r), (u + r, v + r * 0.8), (u - r, v + r * 0.8)], street.tone(colour, z), label)
        else:
            canvas.rectangle((u - r, v - r), (u + r, v + r * 0.9), street.tone(colour, z), label)
    canvas.line([(u - radius * 0.3, v), (u + radius * 0.3, v)], radius * 0.25, street.tone((30, 30, 34), z))


def _clutter(street: _Street, x: float, z: float) -> None:
    """Draw a bin, box or bench (void: static), or a pushchair or bundle (void: dynamic)."""
    rng, label = street.rng, STATIC if street.rng.random() < 0.7 else DYNAMIC
    width, height = rng.uniform(0.25, 0.8), rng.uniform(0.5, 1.4)
    _cast(street, x, z, width * 2)
    street.frontal((x - width, x + width), (0.1, height), z, street.tone(_colour(rng), z), label, int(rng.integers(8)))
    street.frontal((x - width, x + width), (height * 0.8, height), z, street.tone(_colour(rng), z))


Drawing = tuple[float, Callable[[], None]]


def _traffic(street: _Street) -> list[Drawing]:
    """Place everything that stands or moves on the street, with its distance."""
    rng, (left, right) = street.rng, street.edges
    items: list[Drawing] = []

    def add(z: float, draw: Callable[..., None], *args: Any) -> None:
        items.append((z, partial(draw, street, *args)))

    for side, edge in ((0, left), (1, right)):
        sign, width = 2 * side - 1, street.pavements[side]

        def beside(low: float = 0.1, high: float = 0.9, edge: float = edge, reach: float = sign * width) -> float:
            return edge + reach * float(rng.uniform(low, high))

        for z in np.arange(rng.uniform(9, 20), 75, rng.uniform(9, 28)):
            kind = rng.choice(["tree", "lamp", "sign", "light", "bare"], p=[0.36, 0.24, 0.2, 0.1, 0.1])
            x = beside(0.05, 0.3)
            add(z, _tree, x, z) if kind == "tree" else add(z, _pole, x, z, str(kind))
        if rng.random() < 0.55:
            for z in np.arange(rng.uniform(7, 20), rng.uniform(30, 75), rng.uniform(5.5, 9)):
                add(z, _vehicle, _CARS[rng.integers(3)], edge - sign * 1.0, z, bool(rng.random() < 0.5))
        for _ in range(rng.poisson(3.2)):
            z = rng.uniform(9, 45)
            add(z, _pedestrian, beside(), z)
        for _ in range(rng.poisson(0.7)):
            z = rng.uniform(9, 35)
            add(z, _clutter, beside(0.5, 1.0), z)
        if rng.random() < 0.45:
            z = rng.uniform(8, 25)
            add(z, _two_wheeler, beside(0.1, 0.5), z, BICYCLE if rng.random() < 0.75 else MOTORCYCLE, False)
    _place_moving(street, add)
    return items


def _place_moving(street: _Street, add: Callable[..., None]) -> None:
    rng, (left, right) = street.rng, street.edges
    for _ in range(rng.poisson(1.5)):
        x, z = rng.uniform(left + 1.2, right - 1.2), rng.uniform(10, 60)
        add(z, _vehicle, _CARS[rng.integers(3)], x, z, x < 0)
    for kind, chance in ((_TRUCK, 0.1), (_BUS, 0.12), (_TRAM, 0.08)):
        if rng.random() < chance:
            x, z = (left + 1.6 if rng.random() < 0.5 else right - 1.6), rng.uniform(15, 45)
            add(z, _vehicle, kind, x, z, x < 0)
    if rng.random() < 0.2:
        z = rng.uniform(14, 40)
        kind = _CARS[rng.integers(3)] if rng.random() < 0.7 else (_TRUCK, _BUS, _TRAM)[rng.integers(3)]
        add(z, _crossing, kind, rng.uniform(left, right), z)
    for label, chance in ((BICYCLE, 0.35), (MOTORCYCLE, 0.2)):
        if rng.random() < chance:
            z = rng.uniform(9, 28)
            add(z, _two_wheeler, rng.uniform(left, right), z, label, True)
    for _ in range(rng.poisson(0.5)):
        z = rng.uniform(9, 30)
        add(z, _pedestrian, rng.uniform(left, right), z)


def _bonnet(street: _Street) -> None:
    """Draw the camera's own car at the lower edge."""
    rng, (width, height) = street.rng, street.canvas.size
    rise, middle = height * rng.uniform(0.05, 0.1), width * rng.uniform(0.45, 0.55)
    share = np.linspace(-1.1, 1.1, 24)
    crest = [(middle + 0.62 * width * s, height - rise * (1 - 0.75 * s * s)) for s in share]
    paint = _colour(rng, (0, 0.2), (0.05, 0.3))
    street.canvas.polygon([*crest, (width + 5, height + 5), (-5, height + 5)], paint, EGO)
    gleam = [(u, v + rise * 0.15) for u, v in crest[5:19]]
    street.canvas.line(gleam, 1.2, _mix(paint, street.haze, 0.5))


def _void_margins(rng: Rng, label_ids: Bytes) -> None:
    """Mark the rim that Cityscapes leaves out, in place."""
    rim = max(1, label_ids.shape[0] // 200)
    label_ids[:rim] = label_ids[:, :rim] = label_ids[:, -rim:] = OUT_OF_ROI
    if rng.random() < 0.3:
        label_ids[:, : 2 * rim] = BORDER
    label_ids[-rim:] = OUT_OF_ROI


# --- Endoscopy --------------------------------------------------------------------------------------------------------


def polyp_scene(rng: Rng, size: tuple[int, int] = (320, 288)) -> tuple[Bytes, Bytes]:
    """Draw a colonoscopy with one to three polyps.

    Folds and polyps are one height field under one lamp, so a polyp shows by its shape before its colour.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything; advanced by the call.
    size : (int, int)
        Width and height in pixels.

    Returns
    -------
    image : uint8, HxWx3
    mask : uint8, HxW, 0 or 1 (polyp)
    """
    width, height = size
    short = min(size)
    rows, columns = np.indices((height, width), dtype=np.float32)
    warps = [_noise(rng, size, short / 4, short / 9) * np.float32(0.07 * short) for _ in range(2)]
    across, down = columns + warps[0], rows + warps[1]
    lumen = (width * rng.uniform(-0.1, 1.1), height * rng.uniform(-0.1, 1.1))
    depth = _distance(across - np.float32(lumen[0]), down - np.float32(lumen[1])) / np.float32(short)
    relief = _folds(rng, depth, short) + _noise(rng, size, short / 5, short / 14) * np.float32(0.016 * short)
    mask = np.zeros((height, width), np.float32)
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
        rho = _blob(rng, across, down, size, short * rng.uniform(0.11, 0.31))
        dome = np.sqrt(np.clip(1 - rho * rho, 0, None))
        relief += dome * np.sqrt(dome) * np.float32(short * rng.uniform(0.05, 0.14))
        mask[rho < 1] = 1
    for _ in range(rng.integers(0, 3)):  # swellings that are no polyps: low, without a rim
        rho = _blob(rng, across, down, size, short * rng.uniform(0.1, 0.3))
        relief += np.exp(-2 * rho * rho) * np.float32(short * rng.uniform(0.02, 0.08))
    image = _mucosa(rng, size, depth, mask)
    shade, gloss = _lamp(rng, relief, columns, rows)
    image *= shade[..., None]
    image += (gloss * rng.uniform(60, 230))[..., None]
    view = _endoscope_view(rng, size)
    image = _debris(rng, image) * view[..., None]
    result = _develop(rng, image, blur=rng.uniform(0.3, 1.2), noise=rng.uniform(0.8, 4))
    return result, ((mask > 0) & (view > 0.5)).astype(np.uint8)


def _distance(across: npt.NDArray[Any], down: npt.NDArray[Any]) -> Floats:
    return np.asarray(np.sqrt(across * across + down * down), np.float32)  # np.hypot takes five times as long


def _blob(rng: Rng, across: Floats, down: Floats, size: tuple[int, int], radius: float) -> Floats:
    """Measure the distance from an irregular rounded outline's middle; 1 on the outline."""
    x, y = size[0] * rng.uniform(0.2, 0.8), size[1] * rng.uniform(0.2, 0.8)
    angle, flat = rng.uniform(0, math.pi), rng.uniform(0.6, 1.0)
    dx, dy = (across - np.float32(x)) / np.float32(radius), (down - np.float32(y)) / np.float32(radius)
    along = dx * np.float32(math.cos(angle)) + dy * np.float32(math.sin(angle))
    aside = (dy * np.float32(math.cos(angle)) - dx * np.float32(math.sin(angle))) / np.float32(flat)
    return _distance(along, aside)


def _folds(rng: Rng, depth: Floats, short: int) -> Floats:
    """Draw the rings of the bowel wall around its hollow, as heights in pixels."""
    phase = depth * np.float32(rng.uniform(6, 16)) + np.float32(rng.uniform(0, 6))
    ridges = (1 - np.abs(np.sin(phase))) ** 2 * np.float32(short * rng.uniform(0.0, 0.06))
    return np.asarray(ridges, np.float32)


def _mucosa(rng: Rng, size: tuple[int, int], depth: Floats, mask: Floats) -> Floats:
    """Colour the wall and, more or less alike, the polyps."""
    short = min(size)
    base = (rng.uniform(165, 240) * np.array([1, rng.uniform(0.38, 0.6), rng.uniform(0.3, 0.5)])).astype(np.float32)
    hue = rng.normal(0, 1, 3) * (14, 9, 10) * rng.choice([0.3, 0.8, 1.2])
    soft = np.asarray(Image.fromarray((255 * mask).astype(np.uint8)).filter(ImageFilter.BoxBlur(short / 100)))
    inside = (soft.astype(np.float32) / 255)[..., None]
    image = base + inside * hue.astype(np.float32)
    mottle = _noise(rng, size, short / 6, short / 20)
    pits = _noise(rng, size, rng.uniform(2.5, 6)) * (3 + inside[..., 0] * np.float32(rng.uniform(0, 11)))
    vessels = _vessels(rng, size) * (1 - np.float32(0.8) * inside[..., 0])
    for channel, (mottled, dark) in enumerate(((9, 14), (14, 42), (13, 34))):
        image[..., channel] += mottled * mottle + pits - dark * vessels
    hollow = np.clip(depth / np.float32(rng.uniform(0.1, 0.35)), 0.12, 1)
    return np.asarray(image * np.maximum(hollow, soft / np.float32(255))[..., None], np.float32)


def _vessels(rng: Rng, size: tuple[int, int]) -> Floats:
    """Draw branching vessels; 0 to 1."""
    layer = Image.new("L", size)
    draw = ImageDraw.Draw(layer)
    for _ in range(rng.integers(0, 9)):
        x, y, angle = rng.uniform(0, size[0]), rng.uniform(0, size[1]), rng.uniform(0, 6.3)
        branches = [(x, y, angle, 3.0)]
        while branches:
            x, y, angle, thick = branches.pop()
            turns = np.cumsum(rng.normal(0, 0.35, 9)) + angle
            xs, ys = x + np.cumsum(7 * np.cos(turns)), y + np.cumsum(7 * np.sin(turns))
            draw.line(
                [(x, y), *zip(xs.tolist(), ys.tolist(), strict=True)], fill=int(70 + 50 * thick), width=round(thick)
            )
            if thick > 1:
                branches += [(xs[k], ys[k], turns[k] + s * 0.7, thick - 1) for k, s in ((4, 1), (8, -1))]
    return np.asarray(layer.filter(ImageFilter.BoxBlur(0.8)), np.float32) / np.float32(255)


def _lamp(rng: Rng, relief: Floats, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Light a height field from beside the lens: the shade as a factor, and the wet gloss 0 to 1."""
    height, width = relief.shape
    slope_y, slope_x = np.gradient(relief)
    toward = rng.uniform(0, 2 * math.pi)
    facing = slope_x * np.float32(math.cos(toward)) + slope_y * np.float32(math.sin(toward))
    steep = slope_x * slope_x + slope_y * slope_y
    x, y = width * rng.uniform(0.3, 0.7), height * rng.uniform(0.3, 0.7)
    fall = _distance((columns - np.float32(x)) / width, (rows - np.float32(y)) / height)
    shade = (1.12 - np.float32(rng.uniform(0.3, 1.0)) * fall) * (1 + 0.55 * np.tanh(facing)) / np.sqrt(1 + 0.5 * steep)
    # Gloss needs a slope of just the right tilt, broken up by the wall's wetness.
    wet = _noise(rng, (width, height), 14, 5) - 14 * (facing - np.float32(rng.uniform(0.25, 0.5))) ** 2
    gloss = np.clip((wet - np.float32(rng.uniform(0.35, 0.8))) * 3, 0, 1) * (fall < 0.55)
    return shade, gloss


def _debris(rng: Rng, image: Floats) -> Floats:
    """Add bubbles, residue and at times a tool: none of them a polyp."""
    height, width = image.shape[:2]
    picture = Image.fromarray(image.clip(0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(picture, "RGBA")
    x, y = rng.uniform(0, width), rng.uniform(0, height)
    for _ in range(rng.integers(0, 14)):
        u, v, r = rng.normal(x, width / 7), rng.normal(y, height / 7), rng.uniform(1.5, 8)
        draw.ellipse((u - r, v - r, u + r, v + r), fill=(255, 225, 205, 35), outline=(255, 240, 230, 120))
        draw.ellipse((u - r * 0.5, v - r * 0.6, u - r * 0.1, v - r * 0.2), fill=(255, 255, 255, 200))
    for _ in range(rng.choice([0, 0, 2, 7])):
        u, v, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(2, 9)
        draw.ellipse((u - r, v - r * 0.7, u + r, v + r * 0.7), fill=(150, 115, 35, 130))
    if rng.random() < 0.05:
        draw.line([(width * rng.random(), height), (x, y)], fill=(70, 75, 85, 255), width=round(width / 16))
        draw.line([(width * rng.random(), height), (x, y)], fill=(175, 180, 188, 255), width=round(width / 50))
    return np.asarray(picture, np.float32)


def _endoscope_view(rng: Rng, size: tuple[int, int]) -> Floats:
    """Draw the black surround with its cut corners, and at times the box of the position display; 0 to 1."""
    width, height = size
    layer = Image.new("L", size)
    draw = ImageDraw.Draw(layer)
    left, top, cut = width * rng.uniform(0, 0.05), height * rng.uniform(0, 0.04), min(size) * rng.uniform(0.04, 0.2)
    right, bottom = width - left * rng.uniform(0.3, 1), height - top
    corners = [(left + cut, top), (right - cut, top), (right, top + cut), (right, bottom - cut)]
    corners += [(right - cut, bottom), (left + cut, bottom), (left, bottom - cut), (left, top + cut)]
    draw.polygon(corners, fill=255)
    if rng.random() < 0.3:
        draw.rectangle((0, height * rng.uniform(0.66, 0.8), width * rng.uniform(0.2, 0.32), height), fill=10)
    return np.asarray(layer.filter(ImageFilter.BoxBlur(1.2)), np.float32) / np.float32(255)


# --- People -----------------------------------------------------------------------------------------------------------


def person_scene(rng: Rng, size: tuple[int, int] = (240, 320)) -> tuple[Bytes, Bytes]:
    """Draw one to three people before a room, foliage, a wall or blurred lights.

    Parameters
    ----------
    rng : numpy.random.Generator
        Decides everything; advanced by the call.
    size : (int, int)
        Width and height in pixels.

    Returns
    -------
    image : uint8, HxWx3
    mask : uint8, HxW, 0 or 1 (person)
    """
    width, height = size
    first, second = _colour(rng, (0, 0.5), (0.15, 0.95)), _colour(rng, (0, 0.5), (0.1, 0.9))
    ramp = Image.fromarray(np.array([[first, _mix(first, second, 0.3)], [_mix(first, second, 0.6), second]], np.uint8))
    canvas = _Canvas(size, ramp, 0, int(rng.integers(_NUM_MATERIALS)))
    (_room, _thicket, _lights, _panels)[rng.integers(4)](canvas, rng)
    num_people = int(rng.choice([1, 2, 3], p=[0.62, 0.28, 0.1]))
    slots = rng.permutation(num_people)
    for slot in slots:
        tall = height * rng.uniform(0.72, 1.5) * (1.0 if num_people == 1 else 0.75)
        x = width * ((slot + 0.5) / num_people + rng.normal(0, 0.05))
        head_y = height * rng.uniform(0.05, 0.2) if num_people == 1 else height * rng.uniform(0.1, 0.35)
        shadow = (x + 0.06 * tall, head_y + 0.45 * tall)
        canvas.ellipse(shadow, (0.12 * tall, 0.45 * tall), (10, 10, 20), alpha=rng.uniform(0, 0.25))
        _figure(canvas, rng, (x, head_y + 0.49 * tall), tall, 1, _standing(rng, 0.3))
    return canvas.finish(rng, strength=rng.uniform(9, 26), blur=rng.uniform(0, 0.8), noise=rng.uniform(1, 6))


def _room(canvas: _Canvas, rng: Rng) -> None:
    """Draw a floor, frames, lamps and furniture, some of it with limbs of its own."""
    width, height = canvas.size
    skirting = height * rng.uniform(0.6, 0.85)
    canvas.rectangle((0, skirting), (width, height), _colour(rng, (0, 0.6), (0.15, 0.7)), 0, int(rng.integers(8)))
    canvas.line([(0, skirting), (width, skirting)], 2, _colour(rng, (0, 0.2), (0.5, 0.95)))
    for _ in range(rng.integers(1, 5)):
        x, y, w, h = rng.uniform((0, 0, 0.1, 0.1), (0.9, 0.5, 0.3, 0.3)) * (width, height, width, height)
        canvas.rectangle((x - 3, y - 3), (x + w + 3, y + h + 3), _colour(rng, (0, 0.4), (0.1, 0.9)), 0)
        canvas.rectangle((x, y), (x + w, y + h), _colour(rng), 0, int(rng.integers(_NUM_MATERIALS)))
    for _ in range(rng.integers(1, 4)):
        _furniture(canvas, rng, rng.uniform(0, width), skirting + rng.uniform(0, 0.15) * height)


def _furniture(canvas: _Canvas, rng: Rng, x: float, foot: float) -> None:
    width, height = canvas.size
    colour, material = _colour(rng, value=(0.1, 0.9)), int(rng.integers(_NUM_MATERIALS))
    half, tall, thin = (
        width * rng.uniform(0.08, 0.2),
        height * rng.uniform(0.15, 0.5),
        width * rng.uniform(0.012, 0.035),
    )
    if rng.random() < 0.5:  # a chair, table or shelf on legs
        for side in (-1, 1):
            top = (x + side * half * 0.8, foot - tall)
            canvas.limb(top, (x + side * half, foot), (thin, thin), colour, 0, material)
        canvas.rectangle((x - half, foot - tall), (x + half, foot - tall * 0.6), colour, 0, material)
    else:  # a floor lamp or a vase, rounded and upright like a figure
        canvas.limb((x, foot - tall), (x, foot), (thin, thin), colour, 0, material)
        canvas.ellipse((x, foot - tall), (half * 0.6, half * 0.7), _colour(rng, value=(0.3, 0.95)), 0, material)
        canvas.limb((x, foot - tall * 0.45), (x, foot), (half * 0.5, half * 0.4), colour, 0, material)


def _thicket(canvas: _Canvas, rng: Rng) -> None:
    """Fill the view with leaves, stems and a little sky."""
    width, height = canvas.size
    colour = _green(rng)
    for _ in range(rng.integers(2, 6)):
        x = rng.uniform(0, width)
        canvas.limb(
            (x, 0),
            (x + rng.normal(0, 20), height),
            (rng.uniform(2, 9), rng.uniform(4, 12)),
            _lit(colour, 0.6),
            0,
            _CLOUDS,
        )
    for x, y, r in rng.uniform((0, 0, 5), (width, height, 26), (70, 3)):
        canvas.ellipse((x, y), (r, r * 0.7), _lit(colour, rng.uniform(0.6, 1.4)), 0, _LEAVES)
    if rng.random() < 0.5:
        canvas.rectangle((0, height * rng.uniform(0.7, 0.9)), (width, height), _green(rng), 0, _LEAVES)


def _lights(canvas: _Canvas, rng: Rng) -> None:
    """Draw out-of-focus lights, as behind an evening portrait."""
    width, height = canvas.size
    for x, y, r in rng.uniform((0, 0, 4), (width, height, 30), (26, 3)):
        canvas.ellipse((x, y), (r, r), _colour(rng, (0.1, 0.8), (0.4, 1)), alpha=rng.uniform(0.15, 0.7))


def _panels(canvas: _Canvas, rng: Rng) -> None:
    """Draw a wall of slabs, boards or stripes."""
    width, height = canvas.size
    upright, x = rng.random() < 0.6, 0.0
    palette = [_colour(rng, (0, 0.6), (0.15, 0.9)) for _ in range(3)]
    while x < max(width, height):
        step = rng.uniform(8, 60)
        box = ((x, 0.0), (x + step, float(height))) if upright else ((0.0, x), (float(width), x + step))
        canvas.rectangle(*box, _lit(palette[rng.integers(3)], rng.uniform(0.85, 1.15)), 0, int(rng.integers(8)))
        x += step


# --- Files ------------------------------------------------------------------------------------------------------------


def _make_once(root: Path, settings: dict[str, Any], fill: Callable[[Path], None]) -> None:
    """Build a dataset beside its final place and rename it there, unless it is there already."""
    wanted = json.dumps(settings | {"version": VERSION}, indent=2) + "\n"
    marker = root / MARKER
    if root.exists():
        found = marker.read_text(encoding="utf-8") if marker.is_file() else None
        if found == wanted:
            return
        what = "was not made by segstudy" if found is None else f"holds another set, {' '.join(found.split())}"
        raise DataError(
            f"cannot write synthetic {settings['family']} scenes to {root}: it exists and {what}; "
            f"wanted {' '.join(wanted.split())}. Choose another folder, or move this one away."
        )
    draft = root.with_name(f".{root.name}.{os.getpid()}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        fill(draft)
        (draft / MARKER).write_text(wanted, encoding="utf-8")
        try:
            draft.rename(root)
        except OSError:  # another process was first; that is well if it made the same set
            if not marker.is_file() or marker.read_text(encoding="utf-8") != wanted:
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _check(counts: dict[str, int], size: tuple[int, int], seed: int) -> None:
    if seed < 0:
        raise DataError(f"seed is {seed}; a seed is a whole number from 0 up.")
    for name, count in counts.items():
        if count < 1:
            raise DataError(f"{name} is {count}; a synthetic set needs at least 1 image in each split.")
    if min(size) < 32:
        raise DataError(f"size is {size[0]}x{size[1]} pixels; synthetic scenes need at least 32x32.")


def write_cityscapes(
    root: Path, *, num_train: int, num_val: int, size: tuple[int, int] = (512, 256), seed: int = 0
) -> None:
    """Write street scenes in the layout of the official Cityscapes release (``leftImg8bit``, ``gtFine``, labelIds).

    Cities of the two splits are disjoint. Returns at once where the same set lies already.

    Parameters
    ----------
    root : Path
        The dataset's folder; must not exist, or hold this very set.
    num_train, num_val : int
        Images per split.
    size : (int, int)
        Width and height in pixels.
    seed : int
        Decides every image.

    Raises
    ------
    DataError
        Where ``root`` holds anything else, or a count, size or seed is too small.
    """
    _check({"num_train": num_train, "num_val": num_val}, size, seed)

    def fill(folder: Path) -> None:
        splits = (("train", TRAIN_CITIES, num_train, _STREET_TRAIN), ("val", VAL_CITIES, num_val, _STREET_VAL))
        for split, cities, count, code in splits:
            for index in range(count):
                image, label_ids = street_scene(np.random.default_rng([seed, code, index]), size)
                city = cities[index % len(cities)]
                stem = f"{split}/{city}/{city}_{index // len(cities):06d}_000019"
                _save(folder / "leftImg8bit" / f"{stem}_leftImg8bit.png", image)
                _save(folder / "gtFine" / f"{stem}_gtFine_labelIds.png", label_ids)

    settings = {"family": "cityscapes", "num_train": num_train, "num_val": num_val, "size": list(size), "seed": seed}
    _make_once(Path(root), settings, fill)


def write_kvasir(root: Path, *, num_images: int, size: tuple[int, int] = (320, 288), seed: int = 0) -> None:
    """Write endoscopies in the layout of Kvasir-SEG; sizes vary a little, masks are RGB JPEG, so not exactly 0 and 255.

    Parameters
    ----------
    root : Path
        The dataset's folder; must not exist, or hold this very set.
    num_images : int
        Images in all; their names sort in the order they were made.
    size : (int, int)
        Typical width and height in pixels.
    seed : int
        Decides every image.

    Raises
    ------
    DataError
        Where ``root`` holds anything else, or a count, size or seed is too small.
    """
    _check({"num_images": num_images}, size, seed)

    def fill(folder: Path) -> None:
        for index in range(num_images):
            rng = np.random.default_rng([seed, _POLYP, index])
            name = f"{_kvasir_name(rng, index)}.jpg"
            width, height = (max(32, round(side * rng.uniform(0.88, 1.12))) for side in size)
            image, mask = polyp_scene(rng, (width, height))
            _save(folder / "images" / name, image)
            _save(folder / "masks" / name, np.repeat(mask[..., None] * np.uint8(255), 3, axis=2))

    _make_once(Path(root), {"family": "kvasir", "num_images": num_images, "size": list(size), "seed": seed}, fill)


def _kvasir_name(rng: Rng, index: int) -> str:
    """Make up a name like those of Kvasir-SEG, which are time stamps in base 36 with a random tail."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    number = (index * 500_000 + int(rng.integers(500_000))) % 36**6
    stamp = "".join(digits[number // 36**place % 36] for place in range(5, -1, -1))
    tail = "".join(digits[d] for d in rng.integers(36, size=12))
    return f"cju{stamp}{tail[:4]}{rng.choice(['0799', '0801', '0817', '0855', '0988'])}{tail[4:]}"


def write_supervisely(root: Path, *, num_images: int, size: tuple[int, int] = (240, 320), seed: int = 0) -> None:
    """Write people in the layout of Supervisely Person; ``df.csv`` names collages that do not exist, as there.

    Parameters
    ----------
    root : Path
        The dataset's folder; must not exist, or hold this very set.
    num_images : int
        Images in all.
    size : (int, int)
        Width and height in pixels.
    seed : int
        Decides every image.

    Raises
    ------
    DataError
        Where ``root`` holds anything else, or a count, size or seed is too small.
    """
    _check({"num_images": num_images}, size, seed)

    def fill(folder: Path) -> None:
        inner = folder / "supervisely_person_clean_2667_img" / "supervisely_person_clean_2667_img"
        lines = [",images,masks,collages"]
        for index in range(num_images):
            image, mask = person_scene(np.random.default_rng([seed, _PERSON, index]), size)
            name = f"{index + 1:04d}"
            _save(inner / "images" / f"{name}.png", image)
            _save(inner / "masks" / f"{name}.png", mask * np.uint8(255))
            lines.append(f"{index},images/{name}.png,masks/{name}.png,collages/{name}.jpg")
        (folder / "df.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")

    _make_once(Path(root), {"family": "supervisely", "num_images": num_images, "size": list(size), "seed": seed}, fill)


def _save(path: Path, array: Bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".jpg":
        Image.fromarray(array).save(path, quality=90)
    else:
        Image.fromarray(array).save(path, compress_level=2)


SCENES: dict[str, Callable[..., None]] = {
    "cityscapes": write_cityscapes,
    "kvasir": write_kvasir,
    "supervisely": write_supervisely,
}
