"""Evaluations on disk: one line of JSON per task and moment, with every answer beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import attrs

from mmcore.interfaces import Evaluation, KindScore, Question
from mmcore.kit.json_lines import entries
from mmcore.run_folder.folder import write_whole

FILE = "evaluations.jsonl"
ANSWERS = "answers"


def append(
    folder: Path, evaluation: Evaluation, questions: Sequence[Question], outputs: Sequence[str]
) -> None:
    """Add the result to ``evaluations.jsonl``, and what was said to ``answers/``."""
    answers = folder / ANSWERS
    answers.mkdir(parents=True, exist_ok=True)
    moment = f"after-{evaluation.after}" if evaluation.after else "before"
    with (answers / f"{evaluation.task}.{moment}.jsonl").open("w", encoding="utf-8") as file:
        for question, output in zip(questions, outputs, strict=True):
            line = {
                "key": str(question.key),
                "kind": question.kind,
                "level": question.level,
                "answer": question.answer,
                "output": output,
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    lines = [json.dumps(attrs.asdict(one), ensure_ascii=False) for one in read(folder)]
    lines.append(json.dumps(attrs.asdict(evaluation), ensure_ascii=False))
    write_whole(folder / FILE, "\n".join(lines) + "\n")


def read(folder: Path) -> list[Evaluation]:
    """All evaluations of a run so far, oldest first."""
    evaluations = []
    for fields in entries(folder / FILE):
        scores = tuple(KindScore(**score) for score in fields.pop("scores"))
        evaluations.append(Evaluation(scores=scores, **fields))
    return evaluations


def asked_already(evaluations: Sequence[Evaluation], task: str, after: str) -> bool:
    """Whether this task was asked at this moment in an earlier life of the run."""
    return any(one.task == task and one.after == after for one in evaluations)
