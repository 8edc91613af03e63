"""Images of the synthetic benchmark: a bird of coloured parts on a cluttered background.

A bird has its own coordinate frame: x towards the beak, y down, half the length of the body as the
unit. A pose maps the frame to the image. All random numbers come from one generator per image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Points = NDArray[np.float64]

SIDE = 112  # width and height of an image, pixels
OVERSAMPLING = 3  # images are drawn so many times larger and averaged, for smooth edges
PALETTE: dict[str, Colour] = {
    "red": (200, 45, 40),
    "yellow": (236, 200, 50),
    "blue": (45, 85, 190),
    "white": (240, 240, 234),
    "black": (38, 36, 40),
}
PATTERNS = ("plain", "barred", "spotted")
# Part -> centre and radius in the bird's frame.
PARTS = {
    "crown": ((0.92, -1.04), 0.22),
    "beak": ((1.44, -0.68), 0.13),
    "wing": ((-0.18, -0.12), 0.42),
    "belly": ((0.28, 0.34), 0.28),
    "tail": ((-1.42, -0.10), 0.30),
}
_GREYS = ((120, 108, 96), (148, 138, 124), (104, 104, 108), (132, 118, 92))
_LEAVES = ((72, 112, 62), (96, 132, 70), (124, 104, 66), (88, 96, 84), (140, 138, 96))


@dataclass(frozen=True)
class Landmark:
    """Location of a part in an image.

    Attributes:
        part: Name of the part.
        x: Centre, pixels to the right of the left edge.
        y: Centre, pixels below the upper edge.
        radius: Radius, pixels.
    """

    part: str
    x: float
    y: float
    radius: float


@dataclass(frozen=True)
class Pose:
    """Position, size and orientation of a bird in an image.

    Attributes:
        x: Centre of the body, pixels.
        y: Centre of the body, pixels.
        scale: Half the length of the body, pixels.
        angle: Angle between body and horizontal, radians; positive lowers the beak.
        facing: 1 for a bird that looks to the right, -1 for the left.
    """

    x: float
    y: float
    scale: float
    angle: float
    facing: int

    def to_image(self, points_N2: Points) -> Points:
        """Maps points from the bird's frame to the image, pixels, (N, 2)."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        rotated_N2 = points_N2 @ np.array([[cos, sin], [-sin, cos]])
        scaled_N2 = rotated_N2 * self.scale * np.array([self.facing, 1])
        pixels_N2: Points = scaled_N2 + np.array([self.x, self.y])
        return pixels_N2


def draw_bird(
    colours: Mapping[str, str], pattern: str, generator: np.random.Generator
) -> tuple[Image.Image, list[Landmark]]:
    """Draws one bird.

    Args:
        colours: Part -> name of its colour in the palette.
        pattern: Pattern of the wing, one of `PATTERNS`.
        generator: Random generator for pose, background, light and noise.

    Returns:
        The image, and the location of each part.
    """
    image = Image.new("RGB", (SIDE * OVERSAMPLING, SIDE * OVERSAMPLING))
    pose = _random_pose(generator)
    _draw_background(image, pose, generator)
    canvas = _Canvas(ImageDraw.Draw(image), pose)
    shades = {part: _shade(PALETTE[name], generator) for part, name in colours.items()}
    _draw_body(canvas, shades, _GREYS[generator.integers(len(_GREYS))])
    _draw_wing(canvas, shades["wing"], pattern)
    _draw_head(canvas, shades)
    return _expose(image.reduce(OVERSAMPLING), generator), _landmarks(pose)


def _landmarks(pose: Pose) -> list[Landmark]:
    centres = pose.to_image(np.array([centre for centre, _ in PARTS.values()])).tolist()
    return [
        Landmark(part, x, y, radius * pose.scale)
        for (part, (_, radius)), (x, y) in zip(PARTS.items(), centres, strict=True)
    ]


class _Canvas:
    """Draws shapes that are given in the bird's frame."""

    def __init__(self, draw: ImageDraw.ImageDraw, pose: Pose) -> None:
        self.draw = draw
        self.pose = pose

    def polygon(self, points: Sequence[tuple[float, float]] | Points, colour: Colour) -> None:
        pixels_N2 = self.pose.to_image(np.asarray(points, dtype=np.float64)) * OVERSAMPLING
        self.draw.polygon([(float(x), float(y)) for x, y in pixels_N2], fill=colour)

    def oval(
        self,
        centre: tuple[float, float],
        radii: tuple[float, float],
        colour: Colour,
        tilt: float = 0.0,
    ) -> None:
        self.polygon(_oval(centre, radii, tilt), colour)


def _oval(
    centre: tuple[float, float],
    radii: tuple[float, float],
    tilt: float = 0.0,
    start: float = 0.0,
    end: float = 1.0,
) -> Points:
    """Returns the outline of an oval, or the arc between two fractions of a turn, (N, 2)."""
    turns = 2 * np.pi * np.linspace(start, end, 33)
    x, y = radii[0] * np.cos(turns), radii[1] * np.sin(turns)
    cos, sin = np.cos(tilt), np.sin(tilt)
    return np.stack([centre[0] + cos * x - sin * y, centre[1] + sin * x + cos * y], axis=1)


def _random_pose(generator: np.random.Generator) -> Pose:
    x, y = SIDE / 2 + generator.uniform(-9, 9, size=2)
    scale, angle = generator.uniform(21, 29), generator.uniform(-0.35, 0.3)
    return Pose(x, y, scale, angle, facing=int(generator.choice([-1, 1])))


def _draw_background(image: Image.Image, pose: Pose, generator: np.random.Generator) -> None:
    """Draws a sky or meadow, blurred leaves, berries in the parts' colours, and a branch."""
    top_3, bottom_3 = generator.uniform(110, 200, size=(2, 3)) * np.array([0.9, 1.0, 0.95])
    ramp_H1 = np.linspace(0, 1, image.height)[:, None]
    rows_H3 = (top_3 * (1 - ramp_H1) + bottom_3 * ramp_H1).astype(np.uint8)
    image.paste(Image.fromarray(np.repeat(rows_H3[:, None], image.width, axis=1)))
    canvas = _Canvas(ImageDraw.Draw(image), Pose(0, 0, SIDE, 0, 1))
    for _ in range(generator.integers(8, 16)):
        leaf = _shade(_LEAVES[generator.integers(len(_LEAVES))], generator)
        canvas.oval(
            _anywhere(generator),
            (generator.uniform(0.04, 0.14), 0.035),
            leaf,
            generator.uniform(0, np.pi),
        )
    for _ in range(generator.integers(3, 8)):
        berry = _shade(PALETTE[str(generator.choice(list(PALETTE)))], generator)
        canvas.oval(_anywhere(generator), (0.032, 0.032), berry)
    perch = pose.to_image(np.array([[0.1, 0.98]]))[0, 1] / SIDE
    canvas.polygon(
        [(0, perch - 0.02), (1, perch - 0.01), (1, perch + 0.02), (0, perch + 0.03)], (92, 72, 54)
    )


def _anywhere(generator: np.random.Generator) -> tuple[float, float]:
    x, y = generator.uniform(0, 1, size=2)
    return float(x), float(y)


def _draw_body(canvas: _Canvas, shades: Mapping[str, Colour], grey: Colour) -> None:
    """Draws legs, tail, body and head in plumage grey, belly."""
    for x in (0.0, 0.22):
        canvas.polygon([(x, 0.5), (x + 0.07, 0.5), (x + 0.1, 1.0), (x + 0.04, 1.0)], (70, 58, 50))
    canvas.polygon(
        [(-0.7, -0.2), (-1.85, -0.36), (-1.95, -0.05), (-1.75, 0.16), (-0.7, 0.22)], shades["tail"]
    )
    canvas.oval((0, 0), (1.02, 0.6), grey, -0.25)
    canvas.oval((0.9, -0.7), (0.46, 0.43), grey)
    canvas.polygon([(0.2, -0.55), (0.62, -0.95), (1.3, -0.5), (0.9, 0.1)], grey)
    canvas.oval((0.3, 0.28), (0.62, 0.3), shades["belly"], -0.25)


def _draw_wing(canvas: _Canvas, colour: Colour, pattern: str) -> None:
    """Draws a wing; bars or spots leave its centre free and contrast with the plumage."""
    centre, tilt = PARTS["wing"][0], 0.2
    canvas.oval(centre, (0.72, 0.36), colour, tilt)
    mark: Colour = (36, 34, 38) if sum(colour) > 300 else (232, 228, 218)
    if pattern == "barred":
        for along in (-0.44, -0.2, 0.2, 0.44):
            height = 0.36 * np.sqrt(1 - (along / 0.72) ** 2) - 0.02
            canvas.oval((centre[0] + along, centre[1] + tilt * along), (0.06, height), mark, tilt)
    if pattern == "spotted":
        for x, y in (
            (-0.45, -0.08),
            (-0.36, 0.1),
            (-0.2, -0.18),
            (0.0, 0.2),
            (0.2, -0.12),
            (0.25, 0.14),
            (0.46, 0.05),
        ):
            canvas.oval((centre[0] + x, centre[1] + y), (0.075, 0.075), mark)


def _draw_head(canvas: _Canvas, shades: Mapping[str, Colour]) -> None:
    """Draws beak, crown and eye."""
    canvas.polygon([(1.26, -0.88), (1.86, -0.66), (1.26, -0.48)], shades["beak"])
    canvas.polygon(_oval((0.9, -0.78), (0.48, 0.46), 0.0, 0.5, 1.0), shades["crown"])
    canvas.polygon([(0.5, -0.9), (0.42, -1.3), (0.95, -1.15)], shades["crown"])
    canvas.oval((1.1, -0.66), (0.09, 0.09), (250, 250, 250))
    canvas.oval((1.11, -0.66), (0.06, 0.06), (10, 10, 10))


def _shade(colour: Colour, generator: np.random.Generator) -> Colour:
    """Returns a random shade of a colour."""
    red, green, blue = (
        np.clip(np.array(colour) + generator.normal(0, 9, size=3), 0, 255).astype(int).tolist()
    )
    return red, green, blue


def _expose(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """Applies light of random strength and tint, and sensor noise."""
    light_3 = generator.uniform(0.8, 1.1) * generator.uniform(0.95, 1.05, size=3)
    noise_HW3 = generator.normal(0, 5, size=(*image.size, 3))
    return Image.fromarray(
        np.clip(np.asarray(image) * light_3 + noise_HW3, 0, 255).astype(np.uint8)
    )
