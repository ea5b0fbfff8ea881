"""The task ``puzzle``: the first question of held-out puzzles, each with its chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from mmcore.interfaces import Question, SampleKey
from mmcore_puzzles.source import NAME, NUMBER, PuzzleSource, shown


class PuzzleTask:
    """Asks the first rows of a source, which have all kinds and levels evenly.

    Args:
        source: held-out puzzles.
        samples: how many questions are asked; fewer where the source has fewer rows.
    """

    def __init__(self, source: PuzzleSource, *, samples: int) -> None:
        self._source = source
        self._samples = samples
        self._questions: tuple[Question, ...] | None = None

    def questions(self) -> Sequence[Question]:
        """The first rows, in order."""
        if self._questions is None:
            self._questions = tuple(islice(self._all(), self._samples))
        return self._questions

    def score(self, question: Question, output: str) -> float:
        """1 where the output is the answer but for case, spaces and a final period, else 0."""
        return float(normalised(output) == normalised(question.answer))

    def _all(self) -> Iterator[Question]:
        for shard in self._source.shards():
            rows = self._source.rows(shard, 0, self._source.length(shard))
            for number, row in enumerate(rows):
                in_all = row[NUMBER]
                assert isinstance(in_all, int)
                puzzle = self._source.puzzle(in_all)
                yield Question(
                    key=SampleKey(NAME, shard.name, number),
                    kind=puzzle.level.kind,
                    parts=shown(puzzle),
                    answer=puzzle.asked[0].answer,
                    level=puzzle.level.label,
                    chance=1 / len(puzzle.asked[0].options),
                )


def normalised(text: str) -> str:
    """Lower case, single spaces, no period at the end."""
    return " ".join(text.casefold().split()).removesuffix(".").rstrip()
