"""Made-up conversations about drawn pictures, in LLaVA's JSON format."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmcore.interfaces import SyntheticContent
from mmcore.kit.conversation import TAG
from mmcore.kit.drawing import Picture
from mmcore.kit.made_up import draw_row, row_generator, shard_ranges, write_whole
from mmcore.kit.quiz import Asked, questions

NAME = "llava-json"


def make_up_llava(
    folder: Path, content: SyntheticContent, *, pictures: int = 1, turns: int = 4
) -> None:
    """Write a few ``.json`` files and a folder of PNG pictures.

    Held-out rows ask a single question and say its ``kind``, the kinds as even as can be.

    Args:
        pictures: how many pictures a row has.
        turns: most questions of a row.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def write(scratch: Path) -> None:
        (scratch / "pictures").mkdir()
        asked_so_far: Counter[str] = Counter()
        for number, rows in enumerate(shard_ranges(content.rows)):
            entries = [_entry(scratch, row, content, pictures, turns, asked_so_far) for row in rows]
            path = scratch / f"part-{number:03}.json"
            path.write_text(json.dumps(entries, ensure_ascii=False, indent=1), encoding="utf-8")

    write_whole(folder, NAME, content, {"pictures": pictures, "turns": turns}, write)


def _entry(
    scratch: Path,
    row: int,
    content: SyntheticContent,
    pictures: int,
    turns: int,
    asked_so_far: Counter[str],
) -> dict[str, object]:
    rng = row_generator(NAME, content, row)
    drawn, asked = _draw_until_asked(content, pictures, rng)
    if content.held_out:
        asked = [min(asked, key=lambda one: asked_so_far[one.kind])]
        asked_so_far[asked[0].kind] += 1
    else:
        asked = asked[:turns]
    names = []
    for number, picture in enumerate(drawn):
        names.append(f"pictures/{row:06}-{number}.png")
        picture.image.save(scratch / names[-1])
    entry: dict[str, object] = {
        "id": f"{row:06}",
        "image": names[0] if pictures == 1 else names,
        "conversations": _conversation(asked, pictures),
    }
    if content.held_out:
        entry["kind"] = asked[0].kind
    return entry


def _draw_until_asked(
    content: SyntheticContent, pictures: int, rng: random.Random
) -> tuple[list[Picture], list[Asked]]:
    """Pictures about which something can be asked: not all that show the same texts can."""
    while True:
        drawn = draw_row(content, pictures, rng)
        if asked := questions(drawn, rng):
            return drawn, asked


def _conversation(asked: Sequence[Asked], pictures: int) -> list[dict[str, str]]:
    turns = []
    tags = f"{TAG}\n" * pictures
    for one in asked:
        turns.append({"from": "human", "value": tags + one.question})
        turns.append({"from": "gpt", "value": one.answer})
        tags = ""
    return turns
