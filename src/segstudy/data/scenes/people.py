"""Portraits: one to three people in front of a room, foliage, a wall of panels or blurred lights.

Conventions: images are ``uint8`` HxWx3 and masks ``uint8`` HxW, 0 or 1 (person); points are ``(column, row)`` in final
pixels. Everything else is drawn with the label 0, so that it has its own texture.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from segstudy.data.scenes.canvas import (
    CLOUDS,
    LEAVES,
    Bytes,
    Canvas,
    Rng,
    Size,
    any_colour,
    any_green,
    any_material,
    lit,
    mix,
    pick,
)
from segstudy.data.scenes.figures import draw_figure, standing

BACKGROUND, PERSON = 0, 1


def person_scene(rng: Rng, size: Size = (240, 320)) -> tuple[Bytes, Bytes]:
    """Draw one to three people in front of a room, foliage, a wall or blurred lights.

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
    first, second = any_colour(rng, (0, 0.5), (0.15, 0.95)), any_colour(rng, (0, 0.5), (0.1, 0.9))
    ramp = Image.fromarray(np.array([[first, mix(first, second, 0.3)], [mix(first, second, 0.6), second]], np.uint8))
    canvas = Canvas(size, ramp, BACKGROUND, any_material(rng))
    pick(rng, (_room, _thicket, _lights, _panels))(canvas, rng)
    num_people = int(rng.choice([1, 2, 3], p=[0.62, 0.28, 0.1]))
    scale, top = (1.0, (0.05, 0.2)) if num_people == 1 else (0.75, (0.1, 0.35))
    for slot in rng.permutation(num_people):
        tall = height * rng.uniform(0.72, 1.5) * scale
        x = width * ((slot + 0.5) / num_people + rng.normal(0, 0.05))
        head_y = height * rng.uniform(*top)
        shadow = (x + 0.06 * tall, head_y + 0.45 * tall)
        canvas.ellipse(shadow, (0.12 * tall, 0.45 * tall), (10, 10, 20), alpha=rng.uniform(0, 0.25))
        draw_figure(canvas, rng, (x, head_y + 0.49 * tall), tall, PERSON, standing(rng, 0.3))
    return canvas.finish(rng, strength=rng.uniform(9, 26), blur=rng.uniform(0, 0.8), grain=rng.uniform(1, 6))


def _room(canvas: Canvas, rng: Rng) -> None:
    """Draw a floor, frames, lamps and furniture, some of it with limb-like parts."""
    width, height = canvas.size
    skirting = height * rng.uniform(0.6, 0.85)
    floor = any_colour(rng, (0, 0.6), (0.15, 0.7))
    canvas.rectangle((0, skirting), (width, height), floor, BACKGROUND, any_material(rng))
    canvas.line([(0, skirting), (width, skirting)], 2, any_colour(rng, (0, 0.2), (0.5, 0.95)))
    for _ in range(rng.integers(1, 5)):
        x, y, w, h = rng.uniform((0, 0, 0.1, 0.1), (0.9, 0.5, 0.3, 0.3)) * (width, height, width, height)
        canvas.rectangle((x - 3, y - 3), (x + w + 3, y + h + 3), any_colour(rng, (0, 0.4), (0.1, 0.9)), BACKGROUND)
        canvas.rectangle((x, y), (x + w, y + h), any_colour(rng), BACKGROUND, any_material(rng))
    for _ in range(rng.integers(1, 4)):
        _furniture(canvas, rng, rng.uniform(0, width), skirting + rng.uniform(0, 0.15) * height)


def _furniture(canvas: Canvas, rng: Rng, x: float, foot: float) -> None:
    """Draw a piece of furniture on the floor at ``x``, with limbs or curves like those of a person."""
    width, height = canvas.size
    colour, material = any_colour(rng, value=(0.1, 0.9)), any_material(rng)
    half, tall = width * rng.uniform(0.08, 0.2), height * rng.uniform(0.15, 0.5)
    thin = width * rng.uniform(0.012, 0.035)
    if rng.random() < 0.5:  # a chair, table or shelf on legs
        for side in (-1, 1):
            top = (x + side * half * 0.8, foot - tall)
            canvas.limb(top, (x + side * half, foot), (thin, thin), colour, BACKGROUND, material)
        canvas.rectangle((x - half, foot - tall), (x + half, foot - tall * 0.6), colour, BACKGROUND, material)
    else:  # a floor lamp or a vase, rounded and upright like a figure
        canvas.limb((x, foot - tall), (x, foot), (thin, thin), colour, BACKGROUND, material)
        shade = any_colour(rng, value=(0.3, 0.95))
        canvas.ellipse((x, foot - tall), (half * 0.6, half * 0.7), shade, BACKGROUND, material)
        canvas.limb((x, foot - tall * 0.45), (x, foot), (half * 0.5, half * 0.4), colour, BACKGROUND, material)


def _thicket(canvas: Canvas, rng: Rng) -> None:
    """Fill the view with leaves, stems and a little sky."""
    width, height = canvas.size
    colour = any_green(rng)
    for _ in range(rng.integers(2, 6)):
        x = rng.uniform(0, width)
        foot, radii = (x + rng.normal(0, 20), height), (rng.uniform(2, 9), rng.uniform(4, 12))
        canvas.limb((x, 0), foot, radii, lit(colour, 0.6), BACKGROUND, CLOUDS)
    for x, y, r in rng.uniform((0, 0, 5), (width, height, 26), (70, 3)):
        canvas.ellipse((x, y), (r, r * 0.7), lit(colour, rng.uniform(0.6, 1.4)), BACKGROUND, LEAVES)
    if rng.random() < 0.5:
        canvas.rectangle((0, height * rng.uniform(0.7, 0.9)), (width, height), any_green(rng), BACKGROUND, LEAVES)


def _lights(canvas: Canvas, rng: Rng) -> None:
    """Draw out-of-focus lights, as in an evening portrait."""
    width, height = canvas.size
    for x, y, r in rng.uniform((0, 0, 4), (width, height, 30), (26, 3)):
        canvas.ellipse((x, y), (r, r), any_colour(rng, (0.1, 0.8), (0.4, 1)), alpha=rng.uniform(0.15, 0.7))


def _panels(canvas: Canvas, rng: Rng) -> None:
    """Draw a wall of slabs, boards or stripes."""
    width, height = canvas.size
    upright, x = rng.random() < 0.6, 0.0
    palette = [any_colour(rng, (0, 0.6), (0.15, 0.9)) for _ in range(3)]
    while x < max(width, height):
        step = rng.uniform(8, 60)
        box = ((x, 0.0), (x + step, float(height))) if upright else ((0.0, x), (float(width), x + step))
        canvas.rectangle(*box, lit(pick(rng, palette), rng.uniform(0.85, 1.15)), BACKGROUND, any_material(rng))
        x += step
