"""From a scene to a picture."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from mmcore.kit.drawing import INKS, PAPERS
from mmcore_puzzles.scene import Scene

FINER: Final = 8
"""Shapes are drawn so many times larger, and reduced."""


def draw(scene: Scene) -> Image.Image:
    """The picture, RGB; equal scenes give equal pictures."""
    image = Image.new("RGB", (scene.side, scene.side), PAPERS[scene.paper])
    for thing in scene.things:
        stamp = (
            text_stamp(thing.name, thing.px) if thing.is_text else shape_stamp(thing.name, thing.px)
        )
        image.paste(INKS[thing.ink], (thing.x, thing.y), stamp)
    return image


@functools.lru_cache(maxsize=1024)
def text_stamp(text: str, px: int) -> Image.Image:
    """A text whose capitals are ``px`` high, as a mask cut to its ink."""
    font = _font(px)
    left, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(mask).text((1 - left, 1 - top), text, fill=255, font=font)
    return mask.crop(mask.getbbox())


@functools.lru_cache(maxsize=256)
def shape_stamp(shape: str, px: int) -> Image.Image:
    """A shape in a square of ``px`` pixels, as a mask."""
    side = px * FINER
    mask = Image.new("L", (side, side))
    _OUTLINES[shape](ImageDraw.Draw(mask), side)
    return mask.resize((px, px), Image.Resampling.BOX)


@functools.lru_cache(maxsize=64)
def _font(px: int) -> ImageFont.FreeTypeFont:
    """The smallest font whose H is at least ``px`` high."""
    for size in range(px, 3 * px + 3):
        font = ImageFont.load_default(size)
        if not isinstance(font, ImageFont.FreeTypeFont):
            raise RuntimeError(
                "drawing needs Pillow with FreeType, and this one was built without it"
            )
        _, top, _, bottom = font.getbbox("H")
        if bottom - top >= px:
            return font
    raise AssertionError(f"no font has capitals of {px} pixels")


def _circle(to: ImageDraw.ImageDraw, side: int) -> None:
    to.ellipse((0, 0, side - 1, side - 1), fill=255)


def _square(to: ImageDraw.ImageDraw, side: int) -> None:
    # Its area is nearer the other shapes' where it does not reach the border.
    edge = side // 12
    to.rectangle((edge, edge, side - 1 - edge, side - 1 - edge), fill=255)


def _ring(to: ImageDraw.ImageDraw, side: int) -> None:
    _circle(to, side)
    edge = side // 4
    to.ellipse((edge, edge, side - 1 - edge, side - 1 - edge), fill=0)


def _cross(to: ImageDraw.ImageDraw, side: int) -> None:
    low, high = side * 3 // 8, side * 5 // 8
    to.rectangle((low, 0, high - 1, side - 1), fill=255)
    to.rectangle((0, low, side - 1, high - 1), fill=255)


def _polygon(*corners: tuple[float, float]) -> Callable[[ImageDraw.ImageDraw, int], None]:
    """The outline through corners that are given as shares of the side."""

    def outline(to: ImageDraw.ImageDraw, side: int) -> None:
        points: Sequence[tuple[float, float]] = [
            (x * (side - 1), y * (side - 1)) for x, y in corners
        ]
        to.polygon(points, fill=255)

    return outline


_OUTLINES: Final[Mapping[str, Callable[[ImageDraw.ImageDraw, int], None]]] = MappingProxyType(
    {
        "circle": _circle,
        "square": _square,
        "triangle": _polygon((0.5, 0), (1, 1), (0, 1)),
        "cross": _cross,
        "ring": _ring,
        "diamond": _polygon((0.5, 0), (1, 0.5), (0.5, 1), (0, 0.5)),
    }
)
