"""Made-up questions about drawn pictures with right and wrong answers, as rated or paired."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path

import attrs
import pyarrow as pa
import pyarrow.parquet as pq

from mmcore.interfaces import SyntheticContent
from mmcore.kit.conversation import TAG
from mmcore.kit.drawing import Picture
from mmcore.kit.made_up import draw_row, row_generator, shard_ranges, write_whole
from mmcore.kit.made_up_files import encoded
from mmcore.kit.quiz import questions

MODELS = ("made-up-7b", "made-up-13b", "made-up-70b", "made-up-v")
"""Whose answers the made-up judge has rated."""


@attrs.frozen
class Disputed:
    """A question about a picture.

    Attributes:
        picture: what is asked about.
        question: in plain words.
        right: the answer that the picture gives.
        wrong: the answer to the same question about another picture.
    """

    picture: Picture
    question: str
    right: str
    wrong: str


def make_up_vlfeedback(
    folder: Path,
    content: SyntheticContent,
    *,
    prompt_column: str,
    completions_column: str,
    image_column: str,
    aspects: Sequence[str],
) -> None:
    """Write a few parquet files; of every row's four answers one is right and rated highest.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """
    judged = pa.struct({"Rating": pa.string(), "Rationale": pa.string()})
    # `datasets` stores a sequence of records as a record of lists.
    answers = pa.struct(
        {
            "annotations": pa.list_(pa.struct(dict.fromkeys(aspects, judged))),
            "model": pa.list_(pa.string()),
            "response": pa.list_(pa.string()),
        }
    )
    schema = pa.schema(
        {
            "id": pa.string(),
            image_column: pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            prompt_column: pa.string(),
            "models": pa.list_(pa.string()),
            completions_column: answers,
        }
    )

    def columns(row: int) -> dict[str, object]:
        rng = row_generator("vlfeedback", content, row)
        one = disputed(content, rng)
        rated = [(one.right, 5), (one.wrong, 1), (f"{one.wrong}, I think", 2), ("It is red.", 3)]
        rng.shuffle(rated)
        return {
            "id": f"made-up-{row:06}",
            image_column: {"bytes": encoded(one.picture.image, "png"), "path": f"{row:06}.png"},
            prompt_column: one.question,
            "models": list(MODELS),
            completions_column: {
                "annotations": [_judged(aspects, rating) for _, rating in rated],
                "model": list(MODELS),
                "response": [text for text, _ in rated],
            },
        }

    def write(scratch: Path) -> None:
        for number, rows in enumerate(shard_ranges(content.rows)):
            table = pa.Table.from_pylist([columns(row) for row in rows], schema=schema)
            pq.write_table(table, scratch / f"train-{number:05}.parquet")

    keys = {
        "columns": [prompt_column, completions_column, image_column],
        "aspects": list(aspects),
    }
    write_whole(folder, "vlfeedback", content, keys, write)


def make_up_pairs(
    folder: Path,
    content: SyntheticContent,
    *,
    prompt_column: str,
    chosen_column: str,
    rejected_column: str,
    packed_column: str,
    image_column: str,
) -> None:
    """Write a few ``.jsonl`` files and a folder of PNG pictures.

    Raises:
        ValueError: ``folder`` holds anything else, or a topic is not known.
    """

    def line(scratch: Path, row: int) -> str:
        one = disputed(content, row_generator("preference-pairs", content, row))
        name = f"pictures/{row:06}.png"
        one.picture.image.save(scratch / name)
        texts = {
            prompt_column: f"{TAG}\n{one.question}",
            chosen_column: one.right,
            rejected_column: one.wrong,
        }
        packed = {packed_column: json.dumps(texts)} if packed_column else texts
        return json.dumps({image_column: [name], **packed}, ensure_ascii=False) + "\n"

    def write(scratch: Path) -> None:
        (scratch / "pictures").mkdir()
        for number, rows in enumerate(shard_ranges(content.rows)):
            lines = "".join(line(scratch, row) for row in rows)
            (scratch / f"part-{number:03}.jsonl").write_text(lines, encoding="utf-8")

    columns = [prompt_column, chosen_column, rejected_column, packed_column, image_column]
    write_whole(folder, "preference-pairs", content, {"columns": columns}, write)


def disputed(content: SyntheticContent, rng: random.Random) -> Disputed:
    """A question about a drawn picture, and what another picture would have answered."""
    while True:
        mine, other = draw_row(content, 2, rng)
        elsewhere = questions([other], rng)
        for asked in questions([mine], rng):
            for one in elsewhere:
                if one.kind == asked.kind and one.answer != asked.answer:
                    return Disputed(mine, asked.question, asked.answer, one.answer)


def _judged(aspects: Sequence[str], rating: int) -> dict[str, dict[str, str]]:
    reason = "The picture says so." if rating == 5 else "The picture says otherwise."
    return {aspect: {"Rating": str(rating), "Rationale": reason} for aspect in aspects}
