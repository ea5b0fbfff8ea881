"""A workload: the samples of some steps by their ids and picture sizes, from a file or made up.

The file is JSON: ``batch_size``, ``warmup_steps``, and ``samples``, each with ``ids`` (-1 stands
for a picture), ``prompt_len`` (so many ids from the start are not learned) and ``image_sizes_wh``.
A step has ``batch_size`` samples, in the file's order.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

PICTURE = -1
"""Stands for a picture among the ids."""


@attrs.frozen
class Example:
    """One sample.

    Attributes:
        ids: of the text, with ``PICTURE`` where a picture is.
        prompt: how many of them, from the first on, are not learned.
        sizes: width and height of every picture, in reading order.
    """

    ids: tuple[int, ...]
    prompt: int
    sizes: tuple[tuple[int, int], ...]


@attrs.frozen
class Workload:
    """What every step is made of.

    Attributes:
        name: for the table.
        steps: the examples of each.
        warmup: how many steps, from the first on, are not timed.
    """

    name: str
    steps: tuple[tuple[Example, ...], ...]
    warmup: int


def read_workload(path: Path) -> Workload:
    """The workload of a file.

    Raises:
        ValueError: it is no such file, or a sample's placeholders and pictures differ in number.
    """
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        examples = [_example(number, one) for number, one in enumerate(table["samples"])]
        size, warmup = int(table["batch_size"]), int(table["warmup_steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{str(path)!r} is no workload ({type(error).__name__}: {error}); wanted JSON with "
            "batch_size, warmup_steps and samples of ids, prompt_len and image_sizes_wh"
        ) from error
    steps = tuple(tuple(examples[at : at + size]) for at in range(0, len(examples), size))
    if size < 1 or not 0 <= warmup < len(steps):
        raise ValueError(
            f"{str(path)!r} has {len(steps)} steps of {size} samples, {warmup} of them to warm up; "
            "wanted at least one sample a step and one step that is timed"
        )
    return Workload(path.name, steps, warmup)


def check_ids(workload: Workload, vocabulary: int) -> None:
    """Whether a model of so many ids can read the workload.

    Raises:
        ValueError: a sample has an id that is none; says which.
    """
    examples = (one for step in workload.steps for one in step)
    for number, example in enumerate(examples):
        strange = [one for one in example.ids if one != PICTURE and not 0 <= one < vocabulary]
        if strange:
            raise ValueError(
                f"{workload.name}: sample {number} has the id {strange[0]}, wanted 0 to "
                f"{vocabulary - 1}, or {PICTURE} for a picture"
            )


def _example(number: int, table: Mapping[str, Any]) -> Example:
    ids = tuple(int(one) for one in table["ids"])
    sizes = tuple((int(width), int(height)) for width, height in table["image_sizes_wh"])
    if ids.count(PICTURE) != len(sizes):
        raise ValueError(
            f"sample {number} has {ids.count(PICTURE)} places for pictures and {len(sizes)} sizes"
        )
    return Example(ids, int(table["prompt_len"]), sizes)


def made_up_examples(seed: int, *, largest_id: int, side: int, longest: int) -> Iterator[Example]:
    """Samples as instruction data has them, without end: none to three pictures, then text whose
    length is log-normal around 90 ids, of which half is the prompt.

    Args:
        seed: of all that is drawn.
        largest_id: of the text; 1 begins a sample.
        side: of a view, in pixels; pictures have a third to six times of it.
        longest: most ids of a sample.
    """
    draw = random.Random(seed)
    while True:
        count = min(max(round(draw.lognormvariate(4.5, 0.9)), 16), longest)
        sizes = tuple(
            (draw.randint(side // 3, 6 * side), draw.randint(side // 3, 6 * side))
            for _ in range(draw.randint(0, 3))
        )
        words = [draw.randint(3, largest_id) for _ in range(count - 1 - len(sizes))]
        yield Example((1, *[PICTURE] * len(sizes), *words), 1 + count // 2, sizes)
