"""Pictures of people who do not exist, drawn from a number: the same number, the same picture."""

from __future__ import annotations

import random

from PIL import Image, ImageDraw, ImageFilter


def made_face(number: int, side: int = 320) -> Image.Image:
    """A drawn head and shoulders before a wall of blocks, `side` pixels square."""
    dice = random.Random(number)

    def colour(low: int = 0, high: int = 255) -> tuple[int, int, int]:
        return dice.randint(low, high), dice.randint(low, high), dice.randint(low, high)

    picture = Image.new("RGB", (side, side), colour())
    pen = ImageDraw.Draw(picture)

    def blob(x: float, y: float, width: float, height: float, fill: tuple[int, int, int]) -> None:
        box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        pen.ellipse([round(edge * side) for edge in box], fill=fill)

    for _ in range(24):
        left, top = dice.uniform(-0.2, 0.9), dice.uniform(-0.2, 0.9)
        corners = (left, top, left + dice.uniform(0.1, 0.5), top + dice.uniform(0.1, 0.5))
        pen.rectangle([round(edge * side) for edge in corners], fill=colour())
    x, y, size = dice.uniform(0.35, 0.65), dice.uniform(0.35, 0.5), dice.uniform(0.32, 0.46)
    skin, hair, shirt = colour(90, 240), colour(10, 200), colour()
    blob(x, y + size * 1.5, size * 2.2, size * 1.6, shirt)
    blob(x, y - size * 0.15, size * 1.15, size * 1.35, hair)
    blob(x, y, size * 0.9, size * 1.2, skin)
    for sign in (-1, 1):
        blob(x + sign * size * 0.2, y - size * 0.1, size * 0.18, size * 0.1, (250, 250, 250))
        blob(x + sign * size * 0.2, y - size * 0.1, size * 0.08, size * 0.08, (20, 20, 30))
    blob(x, y + size * 0.12, size * 0.1, size * 0.2, colour(80, 200))
    blob(x, y + size * 0.35, size * dice.uniform(0.2, 0.45), size * 0.09, (150, 40, 50))
    return picture.filter(ImageFilter.GaussianBlur(side / 250))
