"""Names of the classes of well-known benchmarks, so that headings which are classes need no note.

Sources: cityscapesScripts ``labels.py`` (19 classes that are evaluated); Pascal VOC 2012 development kit (20 objects and
background); CamVid as SegNet's authors use it (11 classes); ADE20K ``objectInfo150`` (the first name of each class).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from segstudy.auditing.headings import fold

CITYSCAPES = (
    "road, sidewalk, building, wall, fence, pole, traffic light, traffic sign, vegetation, terrain, sky, person, rider, "
    "car, truck, bus, train, motorcycle, bicycle"
)
VOC = (
    "background, aeroplane, bicycle, bird, boat, bottle, bus, car, cat, chair, cow, dining table, dog, horse, motorbike, "
    "person, potted plant, sheep, sofa, train, tv monitor"
)
CAMVID = "sky, building, pole, road, sidewalk, tree, sign, fence, car, pedestrian, bicyclist"
ADE20K = (
    "wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, "
    "door, table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, "
    "field, armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, "
    "signboard, chest of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, "
    "stairs, runway, case, pool table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, "
    "toilet, flower, book, hill, bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, "
    "arcade machine, hovel, bus, towel, light, truck, tower, chandelier, awning, streetlight, booth, television "
    "receiver, airplane, dirt track, apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, "
    "stage, van, ship, fountain, conveyer belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, "
    "waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank, trade name, microwave, pot, animal, "
    "bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, "
    "pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock, flag"
)
# Spellings of tables, folded -> name.
ALIASES = {
    "Cityscapes": {
        **{"sidewlk": "sidewalk", "swalk": "sidewalk", "sidew": "sidewalk", "build": "building", "bldg": "building"},
        **{
            "tlight": "traffic light",
            "light": "traffic light",
            "trafficl": "traffic light",
            "trlight": "traffic light",
        },
        **{"tsign": "traffic sign", "sign": "traffic sign", "traffics": "traffic sign", "trsign": "traffic sign"},
        **{"veg": "vegetation", "veget": "vegetation", "vege": "vegetation", "terr": "terrain", "pers": "person"},
        **{"pedestrian": "person", "mbike": "motorcycle", "motor": "motorcycle", "motorbike": "motorcycle"},
        **{"mcycle": "motorcycle", "motocycle": "motorcycle", "bike": "bicycle", "cycle": "bicycle"},
    },
    "Pascal VOC": {
        **{"bkg": "background", "bg": "background", "aero": "aeroplane", "plane": "aeroplane", "airplane": "aeroplane"},
        **{
            "bike": "bicycle",
            "table": "dining table",
            "mbike": "motorbike",
            "motor": "motorbike",
            "plant": "potted plant",
        },
        **{"motorcycle": "motorbike", "tv": "tv monitor", "couch": "sofa"},
    },
    "CamVid": {
        **{
            "signsymbol": "sign",
            "columnpole": "pole",
            "pavement": "sidewalk",
            "sidewlk": "sidewalk",
            "person": "pedestrian",
        },
        **{"bicycle": "bicyclist", "cyclist": "bicyclist", "bike": "bicyclist"},
    },
    "ADE20K": {},
}
LISTS = {"Cityscapes": CITYSCAPES, "CamVid": CAMVID, "Pascal VOC": VOC, "ADE20K": ADE20K}
NUM_CLASSES = {"Cityscapes": 19, "CamVid": 11, "Pascal VOC": 21, "ADE20K": 150}
ENOUGH = 4  # headings of one list before they are taken for its classes: "train" or "bus" alone is not a list


def benchmark_of(headings: Iterable[str]) -> tuple[str, Mapping[str, str]]:
    """The benchmark whose classes head most columns, and its spellings (folded -> name); ``("", {})`` if none does.

    >>> benchmark_of(["Method", "road", "sidewalk", "car", "train", "mIoU"])[0]
    'Cityscapes'
    >>> benchmark_of(["Model", "train", "test", "mIoU"])[0]
    ''
    """
    folded = {fold(text) for text in headings}
    spellings = {
        name: {fold(each): each.strip() for each in text.split(",")} | dict(ALIASES[name])
        for name, text in LISTS.items()
    }
    best = max(spellings, key=lambda name: len(folded & set(spellings[name])))
    return (best, spellings[best]) if len(folded & set(spellings[best])) >= ENOUGH else ("", {})
