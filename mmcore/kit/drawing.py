"""Pictures with written text whose contents are known, for the made-up rows of data sources.

A topic says how hard the pictures are: how large, how many texts, which texts, how far they are
moved and turned. Numbers and words are divided once and for all into those that training may
show and those that are kept for evaluation; a held-out text never appears in a training picture.
There are only ten single digits: of these, pairs of digit and colour are held out.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

import attrs
from PIL import Image, ImageDraw, ImageFont

from mmcore.kit.writing import HELD_OUT, TRAINING, TextKind

Layout = Literal["single", "row", "column", "corners"]

INKS: Final[Mapping[str, tuple[int, int, int]]] = MappingProxyType(
    {
        "black": (0, 0, 0),
        "blue": (20, 40, 220),
        "green": (0, 120, 20),
        "purple": (140, 0, 170),
        "red": (220, 10, 10),
        "brown": (120, 60, 0),
    }
)
"""Colours of texts: dark, so that they stand out from every paper."""

PAPERS: Final[Mapping[str, tuple[int, int, int]]] = MappingProxyType(
    {
        "white": (255, 255, 255),
        "yellow": (255, 245, 120),
        "pink": (255, 200, 220),
        "grey": (200, 200, 200),
    }
)
"""Colours of backgrounds: light."""

PLACES: Final[Mapping[Layout, tuple[tuple[str, int, int], ...]]] = MappingProxyType(
    {
        "single": (("", 0, 0),),
        "row": (("left", 0, 0), ("right", 1, 0)),
        "column": (("top", 0, 0), ("bottom", 0, 1)),
        "corners": (
            ("top left", 0, 0),
            ("top right", 1, 0),
            ("bottom left", 0, 1),
            ("bottom right", 1, 1),
        ),
    }
)
"""The cells of every layout in reading order: name, column, row."""


@attrs.frozen
class Written:
    """One text on a picture.

    Attributes:
        text: what is written.
        colour: name of its colour.
        place: where it stands among the others, such as "top left"; empty where it is alone.
        box: x0, y0, x1, y1 of its ink, as shares of the picture's width and height.
    """

    text: str
    colour: str
    place: str
    box: tuple[float, float, float, float]


@attrs.frozen(eq=False)
class Picture:
    """A drawn picture and everything that can be asked about it.

    Attributes:
        image: RGB.
        written: its texts in reading order.
        background: name of its background colour.
    """

    image: Image.Image
    written: tuple[Written, ...]
    background: str


@attrs.frozen(kw_only=True)
class Topic:
    """How pictures of one topic look.

    Attributes:
        layouts: where texts stand; one layout is chosen per picture. Of four corners, at least
            two are filled.
        kinds: which texts are written; one kind is chosen per text.
        letter: smallest and largest font size, as shares of the cell.
        cell: side of the square cell around each text, in pixels.
        drift: texts stand off the middle of their cell by up to this much either way, in pixels.
        rotation: texts are turned by up to this angle either way, in degrees.
    """

    layouts: tuple[Layout, ...]
    kinds: tuple[TextKind, ...]
    letter: tuple[float, float]
    cell: int = 32
    drift: int = 2
    rotation: float = 0.0


_ONE: Final[tuple[Layout, ...]] = ("single",)
_MANY: Final[tuple[Layout, ...]] = ("row", "column", "corners")

TOPICS: Final[Mapping[str, Topic]] = MappingProxyType(
    {
        "digits": Topic(layouts=_ONE, kinds=("digit",), letter=(0.7, 0.9)),
        "numbers": Topic(layouts=_ONE, kinds=("number",), letter=(0.7, 0.8)),
        "words": Topic(layouts=_ONE, kinds=("word",), letter=(0.4, 0.5)),
        "tilted": Topic(layouts=_ONE, kinds=("number",), letter=(0.5, 0.65), rotation=15),
        "number pages": Topic(layouts=_MANY, kinds=("number",), letter=(0.7, 0.8)),
        "word pages": Topic(layouts=_MANY, kinds=("word",), letter=(0.4, 0.5)),
        "pages": Topic(layouts=_MANY, kinds=("number", "word"), letter=(0.4, 0.5)),
    }
)
"""The topics by name, from easy to hard."""


def draw_picture(topic: str, rng: random.Random, *, held_out: bool) -> Picture:
    """Draw a picture of a topic; the same state of ``rng`` gives the same picture.

    Args:
        topic: a key of ``TOPICS``.
        rng: makes all choices.
        held_out: write texts that are kept for evaluation, instead of those of training.

    Raises:
        ValueError: there is no such topic.
    """
    if topic not in TOPICS:
        raise ValueError(f"topic is {topic!r}, wanted one of {', '.join(map(repr, TOPICS))}")
    plan = TOPICS[topic]
    cells = PLACES[rng.choice(plan.layouts)]
    columns = 1 + max(column for _, column, _ in cells)
    rows = 1 + max(row for _, _, row in cells)
    background = rng.choice(list(PAPERS))
    image = Image.new("RGB", (columns * plan.cell, rows * plan.cell), PAPERS[background])
    filled = sorted(rng.sample(range(len(cells)), rng.randint(min(2, len(cells)), len(cells))))
    written = []
    for text, index in zip(_texts(plan, len(filled), held_out, rng), filled, strict=True):
        place, column, row = cells[index]
        colour = rng.choice(inks_for(text, held_out=held_out))
        stamp = _stamp(text, plan, rng)
        x = column * plan.cell + _offset(plan.cell - stamp.width, plan.drift, rng)
        y = row * plan.cell + _offset(plan.cell - stamp.height, plan.drift, rng)
        image.paste(INKS[colour], (x, y), stamp)
        box = (
            x / image.width,
            y / image.height,
            (x + stamp.width) / image.width,
            (y + stamp.height) / image.height,
        )
        written.append(Written(text, colour, place, box))
    return Picture(image, tuple(written), background)


def describe(picture: Picture) -> str:
    """All that is to be seen, in one sentence."""
    texts = [
        f"{one.text} in {one.colour}{f' at the {one.place}' if one.place else ''}"
        for one in picture.written
    ]
    return f"{' and '.join(texts)}, on a {picture.background} background."


def inks_for(text: str, *, held_out: bool) -> list[str]:
    """Colours in which a text may be written: all of them, but for single digits."""
    if text in HELD_OUT["digit"]:
        return [
            ink for number, ink in enumerate(INKS) if ((int(text) + number) % 5 == 0) is held_out
        ]
    return list(INKS)


def _texts(plan: Topic, count: int, held_out: bool, rng: random.Random) -> list[str]:
    """Different texts of the topic's kinds."""
    pool = HELD_OUT if held_out else TRAINING
    texts: list[str] = []
    while len(texts) < count:
        text = rng.choice(pool[rng.choice(plan.kinds)])
        if text not in texts:
            texts.append(text)
    return texts


def _offset(room: int, drift: int, rng: random.Random) -> int:
    """Where a stamp begins that leaves ``room`` pixels free: near the middle, never outside."""
    return min(max(room // 2 + rng.randint(-drift, drift), 0), room)


def _stamp(text: str, plan: Topic, rng: random.Random) -> Image.Image:
    """The text as a mask cut to its ink; drawn smaller where it would not fit the cell."""
    size = plan.cell * rng.uniform(*plan.letter)
    angle = rng.uniform(-plan.rotation, plan.rotation)
    while True:
        font = _font(round(size))
        left, top, right, bottom = font.getbbox(text)
        mask = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
        ImageDraw.Draw(mask).text((1 - left, 1 - top), text, fill=255, font=font)
        if angle:
            mask = mask.rotate(angle, Image.Resampling.BICUBIC, expand=True)
        mask = mask.crop(mask.getbbox())
        if max(mask.size) <= plan.cell:
            return mask
        size *= 0.9


@functools.lru_cache(maxsize=64)
def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("drawing needs Pillow with FreeType, and this one was built without it")
    return font
