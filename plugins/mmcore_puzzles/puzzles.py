"""The kinds of puzzles: what is shown, what is asked, and which answers are as likely.

The first question of a puzzle is the one that evaluations ask. Its ``options`` are all answers
that the question itself allows, each of which is right equally often: so who does not see the
picture is right in one of ``len(options)`` cases, whatever he does.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from mmcore.kit.drawing import INKS, PAPERS
from mmcore_puzzles.levels import PLACES, Kind, Knobs, Level
from mmcore_puzzles.pools import Look, Pool
from mmcore_puzzles.scene import Grid, Scene, Thing, confusable

PLACE_NAMES: Final = tuple(name for row in PLACES for name in row)
CHANGES: Final = ("colour", "shape", "place", "nothing")
PLURALS: Final[Mapping[str, str]] = MappingProxyType({"cross": "crosses"})


@attrs.frozen
class Asked:
    """A question about scenes.

    Attributes:
        question: in plain words.
        answer: the right answer.
        options: the answers that are right equally often where nothing is seen.
    """

    question: str
    answer: str
    options: tuple[str, ...]


@attrs.frozen
class Puzzle:
    """Pictures and questions about them.

    Attributes:
        level: its kind and difficulty.
        scenes: the pictures, in order.
        asked: one question or several.
    """

    level: Level
    scenes: tuple[Scene, ...]
    asked: tuple[Asked, ...]


def make(level: Level, knobs: Knobs, pool: Pool, rng: random.Random) -> Puzzle:
    """A puzzle of a level; the same state of ``rng`` gives the same one.

    Args:
        level: its kind and difficulty.
        knobs: the rest of how puzzles are made.
        pool: what may be shown.
        rng: makes all choices.
    """
    return _MAKERS[level.kind](level, knobs, pool, rng)


def _colour(level: Level, knobs: Knobs, pool: Pool, rng: random.Random) -> Puzzle:
    """A shape on paper, and the paper's colour: what everything learns that sees at all."""
    grid = Grid(knobs.side, level.cells, level.px, pool)
    look = rng.choice(pool.looks)
    scene = _scene(knobs, [grid.shape(look, rng.randrange(level.cells**2), rng)], rng)
    inks = tuple(one.ink for one in pool.looks if one.shape == look.shape)
    asked = (
        Asked("What colour is the paper?", scene.paper, tuple(PAPERS)),
        Asked(f"What colour is the {look.shape}?", look.ink, inks),
    )
    return Puzzle(level, (scene,), asked)


def _reading(level: Level, knobs: Knobs, pool: Pool, rng: random.Random) -> Puzzle:
    """A page of texts, one in every cell, of which one is to be read. No text is there twice while
    the vocabulary has another, so that none is likelier than those beside it."""
    options = pool.texts(knobs.vocabulary)
    grid = Grid(knobs.side, level.cells, level.px, pool)
    texts: list[str] = []
    while (missing := level.cells**2 - len(texts)) > 0:
        texts += rng.sample(options, min(missing, len(options)))
    things = [grid.text(text, rng.choice(list(INKS)), n, rng) for n, text in enumerate(texts)]
    asked = []
    for cell in rng.sample(range(len(texts)), len(texts)):
        row, column = divmod(cell, level.cells)
        question = f"What is in row {row + 1}, column {column + 1}?"
        if level.cells == 1:
            question = "What does it say?"
        asked.append(Asked(question, texts[cell], options))
    return Puzzle(level, (_scene(knobs, things, rng),), tuple(asked))


def _place(level: Level, knobs: Knobs, pool: Pool, rng: random.Random) -> Puzzle:
    """Different shapes, of which one is to be found."""
    grid = Grid(knobs.side, level.cells, level.px, pool)
    looks = confusable(pool, 1 + level.others, rng)
    cells = rng.sample(range(level.cells**2), len(looks))
    things = [grid.shape(look, cell, rng) for look, cell in zip(looks, cells, strict=True)]
    asked = [
        Asked(f"Where is the {look}?", PLACE_NAMES[cell], PLACE_NAMES)
        for look, cell in zip(looks, cells, strict=True)
    ]
    return Puzzle(level, (_scene(knobs, things, rng),), tuple(asked))


def _count(level: Level, knobs: Knobs, pool: Pool, rng: random.Random) -> Puzzle:
    """Equal shapes among others. With others, all pictures have equally many shapes, so that
    counting them all tells nothing."""
    grid = Grid(knobs.side, level.cells, level.px, pool)
    target, *others = confusable(pool, 1 + min(level.others, len(pool.looks) - 1), rng)
    answer = rng.randint(1, knobs.most)
    looks = [target] * answer
    if others:
        # As many kinds of others as can be, beginning with those that are like the target.
        missing = knobs.most + level.others - answer
        looks += [others[n % len(others)] for n in range(missing)]
    cells = rng.sample(range(level.cells**2), len(looks))
    things = [grid.shape(look, cell, rng) for look, cell in zip(looks, cells, strict=True)]
    options = tuple(str(n) for n in range(1, knobs.most + 1))
    asked = [
        Asked(f"How many {look.ink} {_plural(look.shape)}?", str(looks.count(look)), options)
        for look in dict.fromkeys(looks)
    ]
    return Puzzle(level, (_scene(knobs, things, rng),), tuple(asked))


def _plural(shape: str) -> str:
    return PLURALS.get(shape, f"{shape}s")


def _compare(level: Level, knobs: Knobs, pool: Pool, rng: random.Random) -> Puzzle:
    """Two pictures that are the same but for one thing, or entirely."""
    grid = Grid(knobs.side, level.cells, level.px, pool)
    look, *others = confusable(pool, 1 + level.others, rng)
    cell, free, *cells = rng.sample(range(level.cells**2), 2 + level.others)
    before = grid.shape(look, cell, rng)
    kept = [grid.shape(one, place, rng) for one, place in zip(others, cells, strict=True)]
    change = rng.choice(CHANGES)
    after = _changed(before, look, change, grid, free, pool, rng)
    # Drawn in any order: things do not overlap.
    first = _scene(knobs, [before, *kept], rng)
    second = attrs.evolve(first, things=(after, *kept))
    return Puzzle(level, (first, second), (Asked("What changed?", change, CHANGES),))


def _changed(
    thing: Thing,
    look: Look,
    change: str,
    grid: Grid,
    free: int,
    pool: Pool,
    rng: random.Random,
) -> Thing:
    """The thing in the second picture; what it becomes is of the same pool."""
    match change:
        case "colour":
            inks = [one.ink for one in pool.looks if one.shape == look.shape and one != look]
            return attrs.evolve(thing, ink=rng.choice(inks))
        case "shape":
            shapes = [one.shape for one in pool.looks if one.ink == look.ink and one != look]
            return attrs.evolve(thing, name=rng.choice(shapes))
        case "place":
            return grid.shape(look, free, rng)
        case _:
            return thing


def _retrieve(level: Level, knobs: Knobs, pool: Pool, rng: random.Random) -> Puzzle:
    """Several pictures with a shape each, of which one is to be found."""
    grid = Grid(knobs.side, level.cells, level.px, pool)
    looks = confusable(pool, level.pictures, rng)
    order = rng.sample(range(level.pictures), level.pictures)
    shown = [looks[index] for index in order]
    scenes = [
        _scene(knobs, [grid.shape(look, rng.randrange(level.cells**2), rng)], rng) for look in shown
    ]
    options = tuple(str(n + 1) for n in range(level.pictures))
    asked = [
        Asked(f"Which picture shows a {look}?", options[shown.index(look)], options)
        for look in looks
    ]
    return Puzzle(level, tuple(scenes), tuple(asked))


def _scene(knobs: Knobs, things: list[Thing], rng: random.Random) -> Scene:
    return Scene(knobs.side, rng.choice(list(PAPERS)), tuple(things))


_MAKERS: Final[Mapping[Kind, Callable[[Level, Knobs, Pool, random.Random], Puzzle]]] = (
    MappingProxyType(
        {
            "colour": _colour,
            "reading": _reading,
            "place": _place,
            "count": _count,
            "compare": _compare,
            "retrieve": _retrieve,
        }
    )
)
