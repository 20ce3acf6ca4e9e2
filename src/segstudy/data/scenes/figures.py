HEAD


@dataclass(frozen=True)
class Pose:
    """Joint angles in radians from straight down, positive to the right; ``turn`` under 1 turns the stride away."""

    lean: float
    thighs: Point
    knees: Point
    arms: Point
    elbows: Point
    turn: float = 1.0


def standing(rng: Rng, raising: float) -> Pose:
    """Stand or walk; each arm is raised with that probability."""
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
    return Pose(
        lean=-0.45 * facing,
        thighs=(1.0 * facing, 0.45 * facing),
        knees=(-0.9 * facing, -0.75 * facing),
        arms=(0.95 * facing, 0.85 * facing),
        elbows=(0.3 * facing, 0.3 * facing),
        turn=turn,
    )


def draw_figure(canvas: Canvas, rng: Rng, hip: Point, height: float, label: int, pose: Pose) -> None:
    """Draw a clothed person of ``height`` pixels with the hip at a point."""
    skin = lit(_SKIN[rng.integers(len(_SKIN))], rng.uniform(0.85, 1.05))
    top, trousers = any_colour(rng, value=(0.1, 0.95)), any_colour(rng, (0.0, 0.5), (0.08, 0.6))
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
        canvas.ellipse(bag, (0.07 * girth, 0.08 * girth), any_colour(rng), label)
    _head(canvas, rng, neck, girth, skin, label, pose.lean)


def _legs(
    canvas: Canvas,
    rng: Rng,
    hip: Point,
    girth: float,
    label: int,
    pose: Pose,
    clothes: tuple[Colour, int, Colour],
) -> None:
    trousers, cloth, skin = clothes
    bare = rng.random() < 0.25
    shoe = any_colour(rng, (0, 0.5), (0.05, 0.9))
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


def _torso(canvas: Canvas, hip: Point, neck: Point, spans: Point, colour: Colour, label: int, material: int) -> None:
    across, girth = spans
    (hx, hy), (nx, ny) = hip, neck
    for scale, shift, tone, mark in ((1.0, 0.0, lit(colour, 0.88), label), (0.6, -0.03, colour, None)):
        shape = [(-0.035, nx, ny - 0.005 * girth), (-0.11, nx, ny + 0.025 * girth), (-0.125, nx, ny + 0.06 * girth)]
        shape += [(-0.085, hx, hy - 0.08 * girth), (-0.1, hx, hy + 0.03 * girth)]
        left = [(x + (dx * scale + shift) * across, y) for dx, x, y in shape]
        right = [(x + (-dx * scale + shift) * across, y) for dx, x, y in reversed(shape)]
        canvas.polygon(left + right, tone, mark, material)


def _head(canvas: Canvas, rng: Rng, neck: Point, girth: float, skin: Colour, label: int, lean: float) -> None:
    x, y = neck[0] - math.sin(lean) * 0.1 * girth, neck[1] - 0.095 * girth
    hair, style = _HAIR[rng.integers(len(_HAIR))], rng.random()
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
    if girth < 90:
        return
    for side in (-1, 1):
        canvas.ellipse((x + side * 0.4 * rx, y), (0.13 * rx, 0.09 * ry), (40, 30, 28))
        canvas.line(
            [(x + side * 0.2 * rx, y - 0.2 * ry), (x + side * 0.6 * rx, y - 0.22 * ry)], 0.004 * girth, lit(hair, 0.8)
        )
    canvas.line([(x, y + 0.1 * ry), (x - 0.1 * rx, y + 0.35 * ry)], 0.005 * girth, lit(skin, 0.75))
    canvas.ellipse((x, y + 0.58 * ry), (0.32 * rx, 0.07 * ry), mix(skin, (150, 40, 50), 0.55))
