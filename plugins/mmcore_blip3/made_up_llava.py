"""Made-up conversations about drawn pictures, or about none, in LLaVA's JSON format."""

from __future__ import annotations

import json
from pathlib import Path

from mmcore.interfaces import SyntheticContent
from mmcore.kit.made_up import row_generator, shard_ranges, write_whole
from mmcore.kit.made_up_talk import Talks, llava_turns

NAME = "llava-json"


def make_up_llava(
    folder: Path, content: SyntheticContent, *, pictures: int = 1, turns: int = 4
) -> None:
    """Write a few ``.json`` files and, where rows have pictures, a folder of PNG files.

    Held-out rows ask a single question and say its ``kind``, the kinds as even as can be.

    Args:
        pictures: how many pictures a row has; rows without have no key ``image``.
        turns: most questions of a row.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    talks = Talks(content, pictures=pictures, turns=turns)

    def write(scratch: Path) -> None:
        if pictures:
            (scratch / "pictures").mkdir()
        for number, rows in enumerate(shard_ranges(content.rows)):
            entries = [_entry(scratch, row, content, talks) for row in rows]
            path = scratch / f"part-{number:03}.json"
            path.write_text(json.dumps(entries, ensure_ascii=False, indent=1), encoding="utf-8")

    write_whole(folder, NAME, content, {"pictures": pictures, "turns": turns}, write)


def _entry(scratch: Path, row: int, content: SyntheticContent, talks: Talks) -> dict[str, object]:
    drawn, asked = talks.next(row_generator(NAME, content, row))
    names = []
    for number, picture in enumerate(drawn):
        names.append(f"pictures/{row:06}-{number}.png")
        picture.image.save(scratch / names[-1])
    entry: dict[str, object] = {"id": f"{row:06}"}
    if names:
        entry["image"] = names[0] if len(names) == 1 else names
    entry["conversations"] = llava_turns(asked, len(drawn))
    if content.held_out:
        entry["kind"] = asked[0].kind
    return entry
