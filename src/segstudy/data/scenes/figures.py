"""Clothed people in any pose, drawn on a canvas: pedestrians and riders in streets, sitters in portraits.

Conventions: a point is ``(column, row)`` and a length a number of final pixels, both as on ``Canvas``; angles are
radians from straight down, positive to the right. The canvas holds image and labels; nothing here creates an array.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from segstudy.data.scenes.canvas import PLAIN, Canvas, Colour, Point, Rng, any_colour, any_material, lit, mix, pick

_SKINS: tuple[Colour, ...] = (
    (244, 208, 177),
    (229, 180, 143),
    (198, 134, 96),
    (150, 98, 66),
    (104, 66, 46),
    (72, 48, 36),
)
_HAIR: tuple[Colour, ...] = ((30, 24, 22), (62, 42, 30), (110, 76, 44), (190, 150, 92), (150, 146, 142), (120, 50, 30))


@dataclass(frozen=True)
class Pose:
    """Joint angles, left then right, each relative to the joint above; ``turn`` below 1 turns the stride away from the viewer."""

    lean: float
    thighs: Point
    knees: Point
    arms: Point
    elbows: Point
    turn: float = 1.0


def standing(rng: Rng, raising: float) -> Pose:
    """Stand or walk; each arm is raised with the given probability."""
    stride, swing = rng.normal(0, 0.28), rng.normal(0, 0.3)
    raised = np.where(rng.random(2) < raising, rng.uniform(0.6, 2.4, 2), 0)
    return Pose(
        lean=rng.normal(0, 0.07),
        thighs=(stride - 0.06, -stride + 0.06),
        knees=(-abs(rng.normal(0, 0.25)), abs(rng.normal(0, 0.12))),
        arms=(-0.2 - swing - raised[0], 0.2 + swing + raised[1]),
        elbows=(rng.normal(0.1, 0.7), rng.normal(-0.1, 0.7)),
    )


def riding(facing: int, turn: float) -> Pose:
    """Sit on a bicycle that goes left (-1) or right (1)."""
    return Pose(
        lean=-0.45 * facing,
        thighs=(1.0 * facing, 0.45 * facing),
        knees=(-0.9 * facing, -0.75 * facing),
        arms=(0.95 * facing, 0.85 * facing),
        elbows=(0.3 * facing, 0.3 * facing),
        turn=turn,
    )


@dataclass(frozen=True)
class _Body:
    """What the parts of one figure share; ``girth`` scales all lengths, ``across`` all widths."""

    canvas: Canvas
    rng: Rng
    label: int
    pose: Pose
    skin: Colour
    girth: float
    across: float

    def step(self, start: Point, angle: float, length: float) -> Point:
        """Go from one joint to the next; ``length`` is relative to the girth."""
        across, down = math.sin(angle) * length * self.girth, math.cos(angle) * length * self.girth
        return start[0] + across * self.pose.turn, start[1] + down


def draw_figure(canvas: Canvas, rng: Rng, hip: Point, height: float, label: int, pose: Pose) -> None:
    """Draw a clothed person of ``height`` pixels with the hip at a point."""
    skin = lit(pick(rng, _SKINS), rng.uniform(0.85, 1.05))
    top, trousers = any_colour(rng, value=(0.1, 0.95)), any_colour(rng, (0.0, 0.5), (0.08, 0.6))
    fabric, cloth = any_material(rng), any_material(rng)
    bulk, girth = rng.uniform(0.85, 1.25), height * rng.uniform(0.9, 1.1)
    across = (0.35 + 0.65 * pose.turn) * bulk * girth
    body = _Body(canvas, rng, label, pose, skin, girth, across)

    _legs(body, hip, trousers, cloth)
    neck = body.step(hip, math.pi + pose.lean, 0.31)
    left, right = ((neck[0] + side * 0.098 * across, neck[1] + 0.042 * girth) for side in (-1, 1))
    sleeve = top if rng.random() < 0.65 else skin
    _arm(body, 0, left, top, fabric, sleeve)
    _torso(body, hip, neck, top, fabric)  # over one arm and under the other
    _arm(body, 1, right, top, fabric, sleeve)
    if rng.random() < 0.25:
        bag = (hip[0] + rng.choice([-1, 1]) * 0.13 * across, hip[1] - 0.05 * girth)
        canvas.line([left, bag], 0.015 * girth, (40, 34, 30), label)
        canvas.ellipse(bag, (0.07 * girth, 0.08 * girth), any_colour(rng), label)
    _head(body, neck)


def _arm(body: _Body, index: int, shoulder: Point, top: Colour, fabric: int, sleeve: Colour) -> None:
    canvas, girth, label, pose = body.canvas, body.girth, body.label, body.pose
    elbow = body.step(shoulder, pose.arms[index], 0.165)
    hand = body.step(elbow, pose.arms[index] + pose.elbows[index], 0.15)
    weave = fabric if sleeve == top else PLAIN
    canvas.limb(elbow, hand, (0.03 * girth, 0.022 * girth), sleeve, label, weave)
    canvas.ellipse(hand, (0.026 * girth, 0.026 * girth), body.skin, label)
    canvas.limb(shoulder, elbow, (0.036 * girth, 0.031 * girth), top, label, fabric)


def _legs(body: _Body, hip: Point, trousers: Colour, cloth: int) -> None:
    canvas, rng, girth, label, pose = body.canvas, body.rng, body.girth, body.label, body.pose
    x, y = hip
    shin, weave = (body.skin, PLAIN) if rng.random() < 0.25 else (trousers, cloth)
    shoe = any_colour(rng, (0, 0.5), (0.05, 0.9))
    for index, side in ((0, -1), (1, 1)):
        joint = (x + side * 0.045 * girth, y)
        knee = body.step(joint, pose.thighs[index], 0.24)
        foot = body.step(knee, pose.thighs[index] + pose.knees[index], 0.24)
        canvas.limb(foot, (foot[0] + side * 0.04 * girth, foot[1]), (0.03 * girth, 0.022 * girth), shoe, label)
        canvas.limb(knee, foot, (0.045 * girth, 0.03 * girth), shin, label, weave)
        canvas.limb(joint, knee, (0.07 * girth, 0.05 * girth), trousers, label, cloth)
    if rng.random() < 0.2:  # a skirt or a long coat
        hem = rng.uniform(0.12, 0.3) * girth
        skirt = [(x - 0.09 * girth, y - 0.06 * girth), (x + 0.09 * girth, y - 0.06 * girth)]
        canvas.polygon([*skirt, (x + 0.13 * girth, y + hem), (x - 0.13 * girth, y + hem)], trousers, label, cloth)


def _torso(body: _Body, hip: Point, neck: Point, colour: Colour, material: int) -> None:
    across, girth = body.across, body.girth
    (hx, hy), (nx, ny) = hip, neck
    shape = [(-0.035, nx, ny - 0.005 * girth), (-0.11, nx, ny + 0.025 * girth), (-0.125, nx, ny + 0.06 * girth)]
    shape += [(-0.085, hx, hy - 0.08 * girth), (-0.1, hx, hy + 0.03 * girth)]
    for scale, shift, tone, mark in ((1.0, 0.0, lit(colour, 0.88), body.label), (0.6, -0.03, colour, None)):
        left = [(x + (dx * scale + shift) * across, y) for dx, x, y in shape]
        right = [(x + (-dx * scale + shift) * across, y) for dx, x, y in reversed(shape)]
        body.canvas.polygon(left + right, tone, mark, material)


def _head(body: _Body, neck: Point) -> None:
    canvas, rng, girth, label, skin = body.canvas, body.rng, body.girth, body.label, body.skin
    x, y = neck[0] - math.sin(body.pose.lean) * 0.1 * girth, neck[1] - 0.095 * girth
    hair, style = pick(rng, _HAIR), rng.random()
    rx, ry = 0.058 * girth, 0.076 * girth
    if style < 0.4:  # long hair hangs behind the neck
        canvas.limb((x, y), (x, y + 0.1 * girth), (rx * 1.15, rx * 1.1), hair, label)
    canvas.limb((x, y + 0.04 * girth), (neck[0], neck[1] + 0.015 * girth), (0.033 * girth, 0.04 * girth), skin, label)
    canvas.ellipse((x, y - 0.012 * girth), (rx * 1.1, ry * 1.02), hair if style < 0.85 else skin, label)
    canvas.ellipse((x, y + 0.01 * girth), (rx * 0.95, ry * 0.92), lit(skin, 0.88), label)
    canvas.ellipse((x - 0.1 * rx, y + 0.008 * girth), (rx * 0.75, ry * 0.78), skin)
    if style > 0.72:  # a hat or a helmet
        hat = any_colour(rng)
        canvas.ellipse((x, y - 0.05 * girth), (rx * 1.2, ry * 0.55), hat, label)
        canvas.ellipse((x, y - 0.03 * girth), (rx * 1.5, ry * 0.16), lit(hat, 0.7), label)
    if girth >= 90:  # large enough to show features
        _face(body, (x, y), (rx, ry), hair)


def _face(body: _Body, centre: Point, radii: Point, hair: Colour) -> None:
    canvas, girth, skin = body.canvas, body.girth, body.skin
    (x, y), (rx, ry) = centre, radii
    for side in (-1, 1):
        canvas.ellipse((x + side * 0.4 * rx, y), (0.13 * rx, 0.09 * ry), (40, 30, 28))
        brow = [(x + side * 0.2 * rx, y - 0.2 * ry), (x + side * 0.6 * rx, y - 0.22 * ry)]
        canvas.line(brow, 0.004 * girth, lit(hair, 0.8))
    canvas.line([(x, y + 0.1 * ry), (x - 0.1 * rx, y + 0.35 * ry)], 0.005 * girth, lit(skin, 0.75))
    canvas.ellipse((x, y + 0.58 * ry), (0.32 * rx, 0.07 * ry), mix(skin, (150, 40, 50), 0.55))
