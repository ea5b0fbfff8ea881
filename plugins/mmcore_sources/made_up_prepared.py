"""Made-up preference pairs as if prepared: drawn pictures, right and wrong answers."""

from __future__ import annotations

import json
import random
from pathlib import Path

from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    PairReference,
    Sample,
    SampleKey,
    SyntheticContent,
    TextPart,
)
from mmcore.kit.drawing import Picture
from mmcore.kit.made_up import draw_row, row_generator, shard_ranges, write_whole
from mmcore.kit.pair_rows import pair_row
from mmcore.kit.quiz import questions


def make_up_prepared(folder: Path, content: SyntheticContent, source: str) -> None:
    """Write a few ``.jsonl`` files and a folder of PNG pictures. The log-probabilities are drawn,
    and of no tokens in particular, since no model was asked.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def line(scratch: Path, row: int) -> str:
        rng = row_generator(source, content, row)
        picture, question, right, wrong = _disputed(content, rng)
        name = f"pictures/{row:06}.png"
        picture.image.save(scratch / name)
        pair = Sample(
            SampleKey(source, "made-up", row),
            (
                ImagePart(ImageRef(path=name), "user"),
                TextPart(question, "user", loss=False),
                TextPart(right, "assistant"),
            ),
            dispreferred=(TextPart(wrong, "assistant"),),
        )
        reference = PairReference(-rng.uniform(1, 20), -rng.uniform(1, 20))
        made = pair_row(pair, reference, lambda ref: ref.path)
        return json.dumps(made, ensure_ascii=False) + "\n"

    def write(scratch: Path) -> None:
        (scratch / "pictures").mkdir()
        for number, rows in enumerate(shard_ranges(content.rows)):
            lines = "".join(line(scratch, row) for row in rows)
            (scratch / f"given-{number:05}.jsonl").write_text(lines, encoding="utf-8")

    write_whole(folder, source, content, {}, write)


def _disputed(content: SyntheticContent, rng: random.Random) -> tuple[Picture, str, str, str]:
    """A picture, a question, what it answers, and what another picture would have answered."""
    while True:
        mine, other = draw_row(content, 2, rng)
        elsewhere = questions([other], rng)
        for asked in questions([mine], rng):
            for one in elsewhere:
                if one.kind == asked.kind and one.answer != asked.answer:
                    return mine, asked.question, asked.answer, one.answer
