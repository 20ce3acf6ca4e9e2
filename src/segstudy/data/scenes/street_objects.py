"""Objects in a street: its projection, and standing, driving and walking objects; one call draws each.

Conventions: ``x, y, z`` are metres to the right, up and ahead of the camera, and a ``place`` holds all three; points are
``(column, row)`` in final pixels, as on ``Canvas``. The canvas holds the image and
the label map of Cityscapes labelIds; nothing here creates an array.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segstudy.data.scenes.canvas import (
    CLOUDS,
    LEAVES,
    PLAIN,
    Canvas,
    Colour,
    Point,
    Rng,
    any_colour,
    any_green,
    any_material,
    lit,
    mix,
    pick,
)
from segstudy.data.scenes.figures import draw_figure, riding, standing

# Cityscapes labelIds.
EGO, BORDER, OUT_OF_ROI, STATIC, DYNAMIC, GROUND = 1, 2, 3, 4, 5, 6
ROAD, SIDEWALK, BUILDING, WALL, FENCE = 7, 8, 11, 12, 13
POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VEGETATION, TERRAIN, SKY = 17, 19, 20, 21, 22, 23
PERSON, RIDER, CAR, TRUCK, BUS, TRAIN, MOTORCYCLE, BICYCLE = 24, 25, 26, 27, 28, 31, 32, 33


@dataclass(frozen=True)
class Street:
    """A straight street in front of a pinhole camera: its edges, and how objects fade into the haze."""

    canvas: Canvas
    rng: Rng
    vanishing: Point
    focal_px: float
    edges: Point  # metres from the camera to the left (negative) and right kerb
    pavements: Point  # widths of the pavements, metres
    haze: Colour
    haze_m: float

    def at(self, x: float, y: float, z: float) -> Point:
        """Project a point of the world; the camera is 1.3 m above the ground."""
        u, v = self.vanishing
        return u + self.focal_px * x / z, v - self.focal_px * (y - 1.3) / z

    def tone(self, colour: Colour, z: float) -> Colour:
        """Fade a colour with distance."""
        return mix(colour, self.haze, 1 - math.exp(-z / self.haze_m))

    def upright(
        self, x: float, span: Point, z: Point, colour: Colour, label: int | None = None, material: int = PLAIN
    ) -> None:
        """Draw a rectangle along the street: at ``x``, between two heights and two distances."""
        (low, high), (near, far) = span, z
        corners = [(low, near), (low, far), (high, far), (high, near)]
        self.canvas.polygon([self.at(x, y, d) for y, d in corners], colour, label, material)

    def flat(
        self, x: Point, z: Point, colour: Colour, label: int | None = None, material: int = PLAIN, alpha: float = 1.0
    ) -> None:
        """Draw a rectangle that lies on the ground."""
        corners = [(x[0], z[0]), (x[1], z[0]), (x[1], z[1]), (x[0], z[1])]
        self.canvas.polygon([self.at(a, 0, d) for a, d in corners], colour, label, material, alpha)

    def frontal(
        self, x: Point, y: Point, z: float, colour: Colour, label: int | None = None, material: int = PLAIN
    ) -> None:
        """Draw a rectangle that faces the camera."""
        self.canvas.rectangle(self.at(x[0], y[0], z), self.at(x[1], y[1], z), colour, label, material)


def cast_shadow(street: Street, x: float, z: float, width: float) -> None:
    """Darken the ground below an object."""
    radius = street.focal_px * width / z / 2
    street.canvas.ellipse(street.at(x, 0, z), (radius, radius * 0.8 / z + 0.6), (10, 12, 22), alpha=0.4)


def draw_foliage(
    street: Street, place: tuple[float, float, float], radius: float, num_blobs: int, colour: Colour
) -> None:
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
        tone = lit(colour, 1.0 - 0.45 * max(-1.0, min(1.0, dy)) + light)
        centre = (u + dx * radius * scale, v + dy * radius * scale)
        street.canvas.ellipse(centre, (size, size * 0.8), tone, VEGETATION, LEAVES)


def draw_tree(street: Street, x: float, z: float) -> None:
    """Draw a tree; its trunk counts as vegetation too."""
    rng, height = street.rng, street.rng.uniform(3.2, 6.5)
    bark = street.tone(mix((85, 68, 52), any_colour(rng, (0, 0.2)), 0.3), z)
    sway = rng.normal(0, 0.3)
    trunk = [street.at(x, 0, z), street.at(x + sway, height, z)]
    thick = street.focal_px * rng.uniform(0.12, 0.3) / z
    cast_shadow(street, x, z, 1.5)
    street.canvas.line(trunk, thick, bark, VEGETATION)
    draw_foliage(street, (x + sway, height, z), rng.uniform(1.2, 3), 34, street.tone(any_green(rng), z))


# Silhouettes: sides as (fraction of the length from the back, fraction of the height), backs as (fraction of half the
# width, fraction of the height).
_SALOON = ((0, 0.2), (0, 0.55), (0.04, 0.62), (0.17, 0.66), (0.3, 1), (0.62, 1), (0.78, 0.64), (0.98, 0.52), (1, 0.2))
_HATCH = ((0, 0.2), (0, 0.6), (0.06, 0.93), (0.14, 1), (0.58, 1), (0.75, 0.64), (0.98, 0.52), (1, 0.2))
_VAN = ((0, 0.15), (0, 0.96), (0.03, 1), (0.72, 1), (0.86, 0.58), (0.99, 0.45), (1, 0.15))
_COACH = ((0, 0.1), (0, 0.97), (0.01, 1), (0.98, 1), (1, 0.9), (1, 0.1))
_LORRY = ((0, 0.2), (0, 1), (0.72, 1), (0.73, 0.3), (0.77, 0.3), (0.78, 0.78), (0.95, 0.76), (1, 0.45), (1, 0.15))
_ROUND_BACK = ((-1, 0.2), (-1, 0.58), (-0.76, 0.97), (-0.65, 1), (0.65, 1), (0.76, 0.97), (1, 0.58), (1, 0.2))
_SQUARE_BACK = ((-1, 0.12), (-1, 0.95), (-0.92, 1), (0.92, 1), (1, 0.95), (1, 0.12))


@dataclass(frozen=True)
class VehicleKind:
    """A type of vehicle: its class, its silhouettes and its dimensions in metres."""

    label: int
    side: tuple[Point, ...]
    back: tuple[Point, ...]
    width_m: float
    height_m: float
    length_m: float
    windows: tuple[Point, ...]  # along the side, from and to, as fractions of the length
    sill: float  # where windows begin, as a fraction of the height


CARS = (
    VehicleKind(CAR, _SALOON, _ROUND_BACK, 1.8, 1.45, 4.6, ((0.24, 0.45), (0.47, 0.7)), 0.66),
    VehicleKind(CAR, _HATCH, _ROUND_BACK, 1.75, 1.5, 4.0, ((0.1, 0.35), (0.38, 0.66)), 0.64),
    VehicleKind(CAR, _VAN, _SQUARE_BACK, 1.9, 1.95, 4.9, ((0.06, 0.3), (0.34, 0.54), (0.57, 0.78)), 0.6),
)
_BUS_WINDOWS = tuple((s / 8 + 0.01, s / 8 + 0.11) for s in range(8))
_TRAM_WINDOWS = tuple((s / 10 + 0.01, s / 10 + 0.085) for s in range(10))
LARGE_VEHICLES = (
    VehicleKind(TRUCK, _LORRY, _SQUARE_BACK, 2.45, 3.3, 8.5, ((0.82, 0.94),), 0.5),
    VehicleKind(BUS, _COACH, _SQUARE_BACK, 2.5, 3.1, 11.5, _BUS_WINDOWS, 0.48),
    VehicleKind(TRAIN, _COACH, _ROUND_BACK, 2.5, 3.5, 26, _TRAM_WINDOWS, 0.45),
)


def draw_vehicle(street: Street, kind: VehicleKind, x: float, z: float, oncoming: bool) -> None:
    """Draw a vehicle parallel to the street, with its nearer end at ``z``."""
    rng, canvas, half = street.rng, street.canvas, kind.width_m / 2
    height = kind.height_m * rng.uniform(0.94, 1.08)
    body = street.tone(any_colour(rng, (0.0, 0.85), (0.08, 0.95)), z)
    glass = street.tone(mix((35, 42, 50), street.haze, rng.uniform(0.05, 0.45)), z)
    inner = x - math.copysign(half, x)  # the side that faces the camera

    def along(share: float) -> float:
        return z + (1 - share if oncoming else share) * kind.length_m

    street.flat((x - half - 0.2, x + half + 0.2), (z - 0.3, z + kind.length_m), (8, 9, 15), alpha=0.5)
    side = [street.at(inner, up * height, along(share)) for share, up in kind.side]
    canvas.polygon(side, lit(body, 0.78), kind.label)
    for start, end in kind.windows:
        street.upright(inner, (kind.sill * height, 0.92 * height), (along(start), along(end)), glass)
    for share in (0.17, 0.8):
        turns = np.arange(10) * (math.pi / 5)
        rim = [street.at(inner, 0.33 + 0.33 * math.sin(t), along(share) + 0.33 * math.cos(t)) for t in turns]
        canvas.polygon(rim, (24, 24, 26), kind.label)
    for wheel in (x - half * 0.8, x + half * 0.8):
        street.frontal((wheel - 0.12, wheel + 0.12), (0, 0.5), z, (18, 18, 20), kind.label)
    back = [street.at(x + across * half, up * height, z) for across, up in kind.back]
    canvas.polygon(back, body, kind.label, pick(rng, (PLAIN, CLOUDS)))
    if kind.label != TRUCK or oncoming:
        street.frontal((x - half * 0.72, x + half * 0.72), (kind.sill * height, 0.93 * height), z, glass)
    street.frontal((x - half * 0.98, x + half * 0.98), (0.2 * height, 0.3 * height), z, lit(body, 0.6))
    lamp = (250, 245, 225) if oncoming else (175, 25, 30)
    for across in (-0.82, 0.82):
        centre = x + across * half
        street.frontal((centre - 0.13, centre + 0.13), (0.38 * height, 0.5 * height), z, lamp)
    street.frontal((x - 0.26, x + 0.26), (0.32 * height, 0.39 * height), z, (215, 215, 210))


def draw_crossing_vehicle(street: Street, kind: VehicleKind, x: float, z: float) -> None:
    """Draw a vehicle that crosses the street, seen from its side."""
    rng, facing = street.rng, int(street.rng.choice([-1, 1]))
    body = street.tone(any_colour(rng, (0.0, 0.85), (0.08, 0.95)), z)
    street.flat((x - kind.length_m / 2, x + kind.length_m / 2), (z - 0.3, z + 1.8), (8, 9, 15), alpha=0.5)

    def along(share: float) -> float:
        return x + facing * (share - 0.5) * kind.length_m

    side = [street.at(along(share), up * kind.height_m, z) for share, up in kind.side]
    street.canvas.polygon(side, body, kind.label, pick(rng, (PLAIN, CLOUDS)))
    low, high = sorted((along(0), along(1)))
    street.frontal((low, high), (0.2 * kind.height_m, 0.34 * kind.height_m), z, lit(body, 0.75))
    for start, end in kind.windows:
        left, right = sorted((along(start), along(end)))
        street.frontal((left, right), (kind.sill * kind.height_m, 0.9 * kind.height_m), z, street.tone((45, 52, 62), z))
    radius = street.focal_px * 0.34 / z
    for share in (0.17, 0.8):
        street.canvas.ellipse(street.at(along(share), 0.34, z), (radius, radius), (22, 22, 24), kind.label)
        street.canvas.ellipse(street.at(along(share), 0.34, z), (radius * 0.5, radius * 0.5), (120, 122, 126))


def draw_pedestrian(street: Street, x: float, z: float) -> None:
    """Draw a standing or walking person."""
    height = street.focal_px * street.rng.uniform(1.5, 1.9) / z
    u, v = street.at(x, 0, z)
    cast_shadow(street, x, z, 0.8)
    draw_figure(street.canvas, street.rng, (u, v - 0.49 * height), height, PERSON, standing(street.rng, 0.1))


def draw_two_wheeler(street: Street, x: float, z: float, label: int, ridden: bool) -> None:
    """Draw a bicycle or motorcycle, seen from the side or nearly along the street; its rider is a separate class."""
    rng, canvas, scale = street.rng, street.canvas, street.focal_px / z
    turn, facing = rng.uniform(0.25, 1.0), int(rng.choice([-1, 1]))
    paint, motor = street.tone(any_colour(rng, (0.2, 0.95), (0.1, 0.9)), z), label == MOTORCYCLE

    def at(along: float, up: float) -> Point:
        u, v = street.at(x, up, z)
        return u + facing * along * turn * scale, v

    cast_shadow(street, x, z, 1.6 * turn)
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
        draw_figure(canvas, rng, at(-0.22, 0.98), scale * 1.75, RIDER, riding(facing, 0.3 + 0.7 * turn))


def draw_pole(street: Street, x: float, z: float, carries: str) -> None:
    """Draw a pole with a "lamp", a traffic "light" or a "sign", or a "bare" one."""
    rng, canvas, scale = street.rng, street.canvas, street.focal_px / z
    height = {"lamp": rng.uniform(5, 8), "light": rng.uniform(2.8, 4)}.get(carries, rng.uniform(2, 3))
    grey = street.tone(any_colour(rng, (0.0, 0.3), (0.15, 0.75)), z)
    canvas.line([street.at(x, 0, z), street.at(x, height, z)], rng.uniform(0.12, 0.28) * scale, grey, POLE)
    if carries == "lamp":
        arm = street.at(x - math.copysign(1.6, x), height + 0.2, z)
        canvas.line([street.at(x, height, z), arm], 0.1 * scale, grey, POLE)
        canvas.ellipse(arm, (0.35 * scale, 0.12 * scale), (235, 230, 205), POLE)
    elif carries == "light":
        case = (street.at(x - 0.22, height + 0.6, z), street.at(x + 0.22, height - 0.5, z))
        canvas.rectangle(*case, any_colour(rng, (0, 0.4), (0.05, 0.25)), TRAFFIC_LIGHT)
        burning = int(rng.integers(3))
        for lamp, colour in enumerate(((240, 40, 30), (250, 180, 30), (50, 220, 110))):
            spot = street.at(x, height + 0.38 - 0.36 * lamp, z)
            canvas.ellipse(spot, (0.13 * scale, 0.13 * scale), colour if lamp == burning else lit(colour, 0.25))
    elif carries == "sign":
        _sign(street, x, height, z)


def _sign(street: Street, x: float, height: float, z: float) -> None:
    rng, canvas = street.rng, street.canvas
    radius = street.focal_px * rng.uniform(0.32, 0.7) / z
    u, v = street.at(x, height, z)
    rim, face = ((200, 25, 30), (238, 238, 235)) if rng.random() < 0.5 else ((30, 75, 175), (60, 110, 205))
    if rng.random() < 0.2:
        rim, face = any_colour(rng, (0.4, 1)), any_colour(rng)
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


def draw_clutter(street: Street, x: float, z: float) -> None:
    """Draw a bin, box or bench (void: static), or a pushchair or bundle (void: dynamic)."""
    rng, label = street.rng, STATIC if street.rng.random() < 0.7 else DYNAMIC
    width, height = rng.uniform(0.25, 0.8), rng.uniform(0.5, 1.4)
    cast_shadow(street, x, z, width * 2)
    street.frontal((x - width, x + width), (0.1, height), z, street.tone(any_colour(rng), z), label, any_material(rng))
    street.frontal((x - width, x + width), (height * 0.8, height), z, street.tone(any_colour(rng), z))
