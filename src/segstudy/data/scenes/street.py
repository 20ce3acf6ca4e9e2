"""Street scenes as seen by a car's front camera: view, ground, frontages, and the placement of objects.

Conventions: ``x, y, z`` are metres to the right, up and ahead of the camera; a side is 0 (left) or 1 (right) and its
sign -1 or 1; points are ``(column, row)`` in final pixels. Images are ``uint8`` HxWx3, label maps ``uint8`` HxW of
Cityscapes labelIds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from PIL import Image

from segstudy.data.scenes.canvas import (
    CHECK,
    CLOUDS,
    GRAIN,
    LEAVES,
    PLAIN,
    ROWS,
    STREAKS,
    Bytes,
    Canvas,
    Colour,
    Point,
    Rng,
    Size,
    any_colour,
    any_green,
    any_material,
    lit,
    mix,
    pick,
)
from segstudy.data.scenes.street_objects import (
    BICYCLE,
    BORDER,
    BUILDING,
    CARS,
    EGO,
    FENCE,
    GROUND,
    LARGE_VEHICLES,
    MOTORCYCLE,
    OUT_OF_ROI,
    ROAD,
    SIDEWALK,
    SKY,
    TERRAIN,
    VEGETATION,
    WALL,
    Street,
    draw_clutter,
    draw_crossing_vehicle,
    draw_foliage,
    draw_pedestrian,
    draw_pole,
    draw_tree,
    draw_two_wheeler,
    draw_vehicle,
)

Drawing = tuple[float, Callable[[], None]]  # the distance of an object, and the call that draws it


def street_scene(rng: Rng, size: Size = (512, 256)) -> tuple[Bytes, Bytes]:
    """Draw a street as seen by a car's front camera.

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
    street = _empty_street(rng, size)
    _horizon(street)
    _ground(street)
    for side in (0, 1):
        _frontage(street, side)
    things = [*_roadside(street, 0), *_roadside(street, 1), *_traffic(street)]
    for _, draw in sorted(things, key=lambda thing: -thing[0]):  # far objects before near ones
        draw()
    _bonnet(street)
    strength, blur, grain = rng.uniform(9, 20), rng.uniform(0, 0.7), rng.uniform(1, 6)
    image, label_ids = street.canvas.finish(rng, strength=strength, blur=blur, grain=grain)
    _void_margins(rng, label_ids)
    return image, label_ids


def _empty_street(rng: Rng, size: Size) -> Street:
    """Choose camera, course and weather, and draw the sky."""
    width, height = size
    zenith = mix(any_colour(rng, (0.0, 0.3), (0.4, 0.95)), (120, 165, 215), 0.7)
    haze = mix(zenith, (225, 222, 215), 0.7)
    ramp = np.linspace(0, 2, 48).clip(max=1)[:, None, None] ** 0.7
    sky = np.asarray(zenith) * (1 - ramp) + np.asarray(haze) * ramp
    return Street(
        canvas=Canvas(size, Image.fromarray(sky.astype(np.uint8)), SKY, CLOUDS),
        rng=rng,
        vanishing=(width * rng.uniform(0.38, 0.62), height * rng.uniform(0.38, 0.46)),
        focal_px=width * rng.uniform(0.85, 1.1),
        edges=(-rng.uniform(3.5, 7.5), rng.uniform(3, 6.5)),
        pavements=(rng.uniform(3, 8), rng.uniform(3, 8)),
        haze=haze,
        haze_m=rng.uniform(90, 400),
    )


def _horizon(street: Street) -> None:
    """Close the street with distant houses and trees."""
    rng, x = street.rng, -75.0
    while x < 75:
        width, z = rng.uniform(5, 22), rng.uniform(95, 120)
        if rng.random() < 0.6:
            colour = street.tone(any_colour(rng, (0, 0.4), (0.3, 0.85)), z * 0.7)
            street.frontal((x, x + width), (0, rng.uniform(6, 22)), z, colour, BUILDING, any_material(rng))
        else:
            for _ in range(6):
                place = (x + rng.uniform(0, width), rng.uniform(2, 8), z)
                draw_foliage(street, place, rng.uniform(2, 5), 5, any_green(rng))
        x += width * 0.9


def _ground(street: Street) -> None:
    """Lay the ground, pavements, verges and the roadway."""
    rng, (left, right) = street.rng, street.edges
    asphalt = any_colour(rng, (0.0, 0.15), (0.28, 0.6))
    stone = mix(asphalt, any_colour(rng, (0.0, 0.3), (0.4, 0.75)), rng.uniform(0.3, 1.0))
    verge = any_green(rng) if rng.random() < 0.65 else None
    street.flat((-90, 90), (1.5, 110), mix(stone, street.haze, 0.2), GROUND, CLOUDS)
    for side, edge in enumerate(street.edges):
        sign = 2 * side - 1
        outer = edge + sign * street.pavements[side]
        paving = pick(rng, (PLAIN, GRAIN, CHECK, CLOUDS))
        street.flat((edge, outer + sign * 3), (1.5, 110), stone, SIDEWALK, paving)
        if verge and rng.random() < 0.7:
            inner = edge + sign * rng.uniform(0.3, 0.8) * street.pavements[side]
            street.flat((inner, outer + sign * 30), (1.5, 100), verge, TERRAIN, LEAVES)
    street.flat((left, right), (1.5, 110), asphalt, ROAD, pick(rng, (GRAIN, CLOUDS, STREAKS)))
    street.flat((left, right), (30, 110), mix(asphalt, street.haze, 0.35), alpha=0.4)
    for edge in street.edges:
        street.flat((edge - 0.12, edge + 0.12), (1.5, 100), lit(stone, rng.choice([0.7, 1.25])))
    _road_marks(street, asphalt)


def _road_marks(street: Street, asphalt: Colour) -> None:
    """Draw lanes, crossings, patches, puddles and shadows of houses, which are not classes."""
    rng, (left, right) = street.rng, street.edges
    for _ in range(rng.integers(0, 6)):
        x, z = rng.uniform(left, right), rng.uniform(4, 30)
        patch = street.haze if rng.random() < 0.3 else lit(asphalt, rng.uniform(0.6, 1.3))
        centre, reach = street.at(x, 0, z), street.focal_px * rng.uniform(0.3, 1.6) / z
        street.canvas.ellipse(centre, (reach, reach * 1.3 / z + 0.5), patch, alpha=rng.uniform(0.2, 0.7))
    white = mix((235, 232, 220), asphalt, rng.uniform(0, 0.5))
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


def _frontage(street: Street, side: int) -> None:
    """Draw houses, hedges, walls, fences and gaps along one side of the street, from far to near."""
    rng, sign = street.rng, 2 * side - 1
    line = street.edges[side] + sign * street.pavements[side]
    built = rng.uniform(0.3, 0.95)
    far = 100.0
    while far > 6:
        near = max(3.0, far - rng.uniform(7, 22))
        if rng.random() < built:
            _house(street, line + sign * rng.uniform(0, 0.8), (near, far))
        else:
            _garden(street, line, sign, (near, far))
        far = near


def _house(street: Street, x: float, z: Point) -> None:
    """Draw a house with its front along the street, at ``x`` and between two distances."""
    rng, (near, far) = street.rng, z
    height = rng.uniform(5, 19)
    middle = (near + far) / 2
    paint = street.tone(any_colour(rng, (0.0, 0.42), (0.25, 0.95)), middle)
    material = any_material(rng)
    if near > 12:  # the wall that faces the camera, if the next house is lower or further back
        street.frontal((x, x + math.copysign(12, x)), (0, height), near, lit(paint, 0.8), BUILDING, material)
    street.upright(x, (0, height), z, paint, BUILDING, material)
    if not 0 < street.at(x, 0, far)[0] < street.canvas.size[0]:
        return  # out of sight
    # The nearest windows are also out of sight.
    near = max(near, street.focal_px * abs(x) / (0.7 * street.canvas.size[0]))
    glass = street.tone(mix(any_colour(rng, (0.1, 0.4), (0.1, 0.45)), street.haze, rng.uniform(0, 0.5)), middle)
    frame = lit(paint, rng.choice([0.75, 1.25]))
    storey, bay = rng.uniform(2.7, 3.6), rng.uniform(1.6, 3.4) * (1 if near < 35 else 2)
    for y in np.arange(storey * 1.15, height - 1.6, storey):
        for d in np.arange(near + 0.6, far - bay * 0.6, bay):
            street.upright(x, (y - 0.1, y + 1.7), (d - 0.1, d + bay * 0.5 + 0.1), frame)
            street.upright(x, (y, y + 1.6), (d, d + bay * 0.5), lit(glass, rng.uniform(0.8, 1.25)))
    if rng.random() < 0.6:  # shops, doors and posters
        for d in np.arange(near + 0.5, far - 2, rng.uniform(2.5, 5)):
            street.upright(x, (0.1, 2.5), (d, d + 1.8), street.tone(any_colour(rng, (0.0, 0.9), (0.1, 0.9)), middle))
    if rng.random() < 0.5:  # cornice or roof
        street.upright(x, (height, height + rng.uniform(0.3, 2)), z, mix(paint, (110, 60, 50), 0.6), BUILDING, ROWS)


def _garden(street: Street, line: float, sign: int, z: Point) -> None:
    """Fill a gap between houses: trees, and in front of them a wall, a fence, a hedge or nothing."""
    rng, (near, far) = street.rng, z
    middle = (near + far) / 2
    for _ in range(rng.integers(2, 5)):
        place = (line + sign * rng.uniform(2, 6), rng.uniform(2.5, 6), rng.uniform(near + 2, far + 2))
        draw_foliage(street, place, rng.uniform(1.6, 3.6), 22, street.tone(any_green(rng), middle))
    kind = rng.random()
    colour = street.tone(any_colour(rng, (0.0, 0.4), (0.25, 0.85)), middle)
    if kind < 0.3:
        street.upright(line, (0, rng.uniform(1.0, 3)), z, colour, WALL, any_material(rng))
    elif kind < 0.7:
        height = rng.uniform(0.9, 2.2)
        street.upright(line, (0, height), z, mix(street.tone(any_green(rng), middle), colour, 0.35), FENCE, STREAKS)
        for y in (0.15, height):
            street.canvas.line([street.at(line, y, near), street.at(line, y, far)], 1, colour)
        for d in np.arange(near, far, 0.5 if near < 30 else 1.5):
            street.canvas.line([street.at(line, 0, d), street.at(line, height, d)], 25 / d, colour)
    elif kind < 0.9:
        street.upright(line, (0, rng.uniform(0.8, 2)), z, street.tone(any_green(rng), middle), VEGETATION, LEAVES)


def _roadside(street: Street, side: int) -> Iterator[Drawing]:
    """Place standing and walking objects along one kerb."""
    rng, edge, sign = street.rng, street.edges[side], 2 * side - 1

    def beside(low: float, high: float) -> float:
        return edge + sign * street.pavements[side] * rng.uniform(low, high)

    for z in np.arange(rng.uniform(9, 20), 75, rng.uniform(9, 28)):
        kind = str(rng.choice(["tree", "lamp", "sign", "light", "bare"], p=[0.36, 0.24, 0.2, 0.1, 0.1]))
        x = beside(0.05, 0.3)
        yield z, partial(draw_tree, street, x, z) if kind == "tree" else partial(draw_pole, street, x, z, kind)
    if rng.random() < 0.55:
        for z in np.arange(rng.uniform(7, 20), rng.uniform(30, 75), rng.uniform(5.5, 9)):
            yield z, partial(draw_vehicle, street, pick(rng, CARS), edge - sign, z, rng.random() < 0.5)
    for _ in range(rng.poisson(3.2)):
        z = rng.uniform(9, 45)
        yield z, partial(draw_pedestrian, street, beside(0.1, 0.9), z)
    for _ in range(rng.poisson(0.7)):
        z = rng.uniform(9, 35)
        yield z, partial(draw_clutter, street, beside(0.5, 1.0), z)
    if rng.random() < 0.45:
        z, x = rng.uniform(8, 25), beside(0.1, 0.5)
        label = BICYCLE if rng.random() < 0.75 else MOTORCYCLE
        yield z, partial(draw_two_wheeler, street, x, z, label, False)


def _traffic(street: Street) -> Iterator[Drawing]:
    """Place moving objects on the roadway."""
    rng, (left, right) = street.rng, street.edges
    for _ in range(rng.poisson(1.5)):
        x, z = rng.uniform(left + 1.2, right - 1.2), rng.uniform(10, 60)
        yield z, partial(draw_vehicle, street, pick(rng, CARS), x, z, x < 0)
    for kind, chance in zip(LARGE_VEHICLES, (0.1, 0.12, 0.08), strict=True):
        if rng.random() < chance:
            x, z = (left + 1.6 if rng.random() < 0.5 else right - 1.6), rng.uniform(15, 45)
            yield z, partial(draw_vehicle, street, kind, x, z, x < 0)
    if rng.random() < 0.2:
        z = rng.uniform(14, 40)
        kind = pick(rng, CARS if rng.random() < 0.7 else LARGE_VEHICLES)
        yield z, partial(draw_crossing_vehicle, street, kind, rng.uniform(left, right), z)
    for label, chance in ((BICYCLE, 0.35), (MOTORCYCLE, 0.2)):
        if rng.random() < chance:
            z = rng.uniform(9, 28)
            yield z, partial(draw_two_wheeler, street, rng.uniform(left, right), z, label, True)
    for _ in range(rng.poisson(0.5)):
        z = rng.uniform(9, 30)
        yield z, partial(draw_pedestrian, street, rng.uniform(left, right), z)


def _bonnet(street: Street) -> None:
    """Draw the camera's own car at the lower edge."""
    rng, (width, height) = street.rng, street.canvas.size
    rise, middle = height * rng.uniform(0.05, 0.1), width * rng.uniform(0.45, 0.55)
    share = np.linspace(-1.1, 1.1, 24)
    crest = [(middle + 0.62 * width * s, height - rise * (1 - 0.75 * s * s)) for s in share]
    paint = any_colour(rng, (0, 0.2), (0.05, 0.3))
    street.canvas.polygon([*crest, (width + 5, height + 5), (-5, height + 5)], paint, EGO)
    gleam = [(u, v + rise * 0.15) for u, v in crest[5:19]]
    street.canvas.line(gleam, 1.2, mix(paint, street.haze, 0.5))


def _void_margins(rng: Rng, label_ids: Bytes) -> None:
    """Mark the border that Cityscapes ignores, in place."""
    rim = max(1, label_ids.shape[0] // 200)
    label_ids[:rim] = label_ids[:, :rim] = label_ids[:, -rim:] = OUT_OF_ROI
    if rng.random() < 0.3:
        label_ids[:, : 2 * rim] = BORDER
    label_ids[-rim:] = OUT_OF_ROI
