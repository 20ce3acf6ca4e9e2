"""Colonoscopies: a folded wall with polyps and many similar structures, seen through an endoscope.

Conventions: images are HxWx3, ``float32`` radiance (about 0 to 255) while drawn and ``uint8`` after development; masks are
``uint8`` HxW, 0 or 1 (polyp). All other arrays are ``float32`` HxW: ``columns`` and ``rows`` are pixel coordinates,
``across`` and ``down`` are these distorted by noise, ``relief`` holds heights in pixels, and ``depth`` is the distance
from the hollow of the bowel, relative to the shorter side.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from segstudy.data.scenes.canvas import Bytes, Floats, Rng, Size, develop, noise


def polyp_scene(rng: Rng, size: Size = (320, 288)) -> tuple[Bytes, Bytes]:
    """Draw a colonoscopy with one to three polyps.

    Folds and polyps form one height field under one lamp, so shape reveals a polyp more than colour.

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
    warps = [noise(rng, size, short / 4, short / 9) * np.float32(0.07 * short) for _ in range(2)]
    across, down = columns + warps[0], rows + warps[1]
    lumen = (width * rng.uniform(-0.1, 1.1), height * rng.uniform(-0.1, 1.1))
    depth = _distance(across - np.float32(lumen[0]), down - np.float32(lumen[1])) / np.float32(short)
    relief = _folds(rng, depth, short) + noise(rng, size, short / 5, short / 14) * np.float32(0.016 * short)
    mask = _raise_polyps(rng, relief, across, down)
    image = _mucosa(rng, size, depth, mask)
    shade, gloss = _lamp(rng, relief, columns, rows)
    image *= shade[..., None]
    image += (gloss * rng.uniform(60, 230))[..., None]
    view = _endoscope_view(rng, size)
    image = _debris(rng, image) * view[..., None]
    result = develop(rng, image, blur=rng.uniform(0.3, 1.2), grain=rng.uniform(0.8, 4))
    return result, ((mask > 0) & (view > 0.5)).astype(np.uint8)


def _raise_polyps(rng: Rng, relief: Floats, across: Floats, down: Floats) -> Floats:
    """Add polyps, and other swellings, to a height field in place; returns the polyps' mask, 0 or 1."""
    height, width = relief.shape
    size, short = (width, height), min(relief.shape)
    mask = np.zeros_like(relief)
    for _ in range(rng.choice([1, 1, 1, 1, 2, 3])):
        rho = _blob(rng, across, down, size, short * rng.uniform(0.11, 0.31))
        dome = np.sqrt(np.clip(1 - rho * rho, 0, None))
        relief += dome * np.sqrt(dome) * np.float32(short * rng.uniform(0.05, 0.14))
        mask[rho < 1] = 1
    for _ in range(rng.integers(0, 3)):  # low, without a rim
        rho = _blob(rng, across, down, size, short * rng.uniform(0.1, 0.3))
        relief += np.exp(-2 * rho * rho) * np.float32(short * rng.uniform(0.02, 0.08))
    return mask


def _distance(across: npt.NDArray[Any], down: npt.NDArray[Any]) -> Floats:
    """Measure from the origin."""
    return np.asarray(np.sqrt(across * across + down * down), np.float32)  # np.hypot takes five times as long


def _blob(rng: Rng, across: Floats, down: Floats, size: Size, radius: float) -> Floats:
    """Measure the distance from the centre of an irregular rounded outline; 1 on the outline."""
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


def _mucosa(rng: Rng, size: Size, depth: Floats, mask: Floats) -> Floats:
    """Colour the wall and, more or less similarly, the polyps."""
    short = min(size)
    base = (rng.uniform(165, 240) * np.array([1, rng.uniform(0.38, 0.6), rng.uniform(0.3, 0.5)])).astype(np.float32)
    hue = rng.normal(0, 1, 3) * (14, 9, 10) * rng.choice([0.3, 0.8, 1.2])
    soft = np.asarray(Image.fromarray((255 * mask).astype(np.uint8)).filter(ImageFilter.BoxBlur(short / 100)))
    inside = (soft.astype(np.float32) / 255)[..., None]
    image = base + inside * hue.astype(np.float32)
    mottle = noise(rng, size, short / 6, short / 20)
    pits = noise(rng, size, rng.uniform(2.5, 6)) * (3 + inside[..., 0] * np.float32(rng.uniform(0, 11)))
    vessels = _vessels(rng, size) * (1 - np.float32(0.8) * inside[..., 0])
    for channel, (mottled, dark) in enumerate(((9, 14), (14, 42), (13, 34))):
        image[..., channel] += mottled * mottle + pits - dark * vessels
    hollow = np.clip(depth / np.float32(rng.uniform(0.1, 0.35)), 0.12, 1)
    return np.asarray(image * np.maximum(hollow, soft / np.float32(255))[..., None], np.float32)


def _vessels(rng: Rng, size: Size) -> Floats:
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
            course = [(x, y), *zip(xs.tolist(), ys.tolist(), strict=True)]
            draw.line(course, fill=int(70 + 50 * thick), width=round(thick))
            if thick > 1:
                branches += [(xs[k], ys[k], turns[k] + s * 0.7, thick - 1) for k, s in ((4, 1), (8, -1))]
    return np.asarray(layer.filter(ImageFilter.BoxBlur(0.8)), np.float32) / np.float32(255)


def _lamp(rng: Rng, relief: Floats, columns: Floats, rows: Floats) -> tuple[Floats, Floats]:
    """Light a height field from next to the lens; returns the shade as a factor, and the wet gloss, 0 to 1."""
    height, width = relief.shape
    slope_y, slope_x = np.gradient(relief)
    toward = rng.uniform(0, 2 * math.pi)
    facing = slope_x * np.float32(math.cos(toward)) + slope_y * np.float32(math.sin(toward))
    steep = slope_x * slope_x + slope_y * slope_y
    x, y = width * rng.uniform(0.3, 0.7), height * rng.uniform(0.3, 0.7)
    fall = _distance((columns - np.float32(x)) / width, (rows - np.float32(y)) / height)
    shade = (1.12 - np.float32(rng.uniform(0.3, 1.0)) * fall) * (1 + 0.55 * np.tanh(facing)) / np.sqrt(1 + 0.5 * steep)
    # Gloss needs a slope of a certain tilt, broken up by the wetness of the wall.
    wet = noise(rng, (width, height), 14, 5) - 14 * (facing - np.float32(rng.uniform(0.25, 0.5))) ** 2
    gloss = np.clip((wet - np.float32(rng.uniform(0.35, 0.8))) * 3, 0, 1) * (fall < 0.55)
    return shade, gloss


def _debris(rng: Rng, image: Floats) -> Floats:
    """Add bubbles, residue and sometimes a tool, which are not polyps."""
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


def _endoscope_view(rng: Rng, size: Size) -> Floats:
    """Draw the black border with its cut corners, and sometimes the box of the position display; 0 to 1."""
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
