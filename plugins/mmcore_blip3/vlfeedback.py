"""The source ``vlfeedback``: of several answers that a judge has scored, the best and the worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import attrs

from mmcore.interfaces import Rejection, Row, Sample, SampleKey
from mmcore.kit.conversation import Turn, lay_out
from mmcore.kit.row_values import check_text
from mmcore_blip3.preference_pairs import pair_of
from mmcore_blip3.record_files import RecordFiles


@attrs.frozen
class Scored:
    """An answer and the sum of its ratings."""

    text: str
    score: float


class VlFeedback(RecordFiles):
    """Reads instructions with rated answers; each becomes a pair, or its best answer alone.

    Args:
        path, image_columns, name_columns, images: as ``RecordFiles`` takes them.
        prompt_column: the instruction.
        completions_column: the answers, each with ``response`` and ``annotations``.
        aspects: the annotations whose ``Rating`` counts; all weigh the same.
        pairs: whether the worst answer is given beside the best.
    """

    def __init__(
        self,
        *,
        path: str,
        images: str,
        image_columns: Sequence[str],
        name_columns: Sequence[str],
        prompt_column: str,
        completions_column: str,
        aspects: Sequence[str],
        pairs: bool,
    ) -> None:
        columns = (prompt_column, completions_column)
        super().__init__(
            path=path,
            columns=columns,
            needed=columns,
            image_columns=image_columns,
            name_columns=name_columns,
            images=images,
        )
        self.prompt_column = prompt_column
        self.completions_column = completions_column
        self.aspects = tuple(aspects)
        self.pairs = pairs

    def parse(self, row: Row, key: SampleKey) -> Sample:
        entry = self.entry(row)
        prompt = check_text(self.prompt_column, entry.get(self.prompt_column))
        if not prompt.strip():
            raise Rejection("empty-turn", f"{self.prompt_column} is {prompt!r}")
        pictures = self.pictures(entry, row)
        if not pictures:
            columns = " or ".join((*self.image_columns, *self.name_columns))
            raise Rejection("image-missing", f"no picture in {columns}")
        best, worst = self._extremes(records_of(entry.get(self.completions_column)))
        turns = [Turn("user", prompt), Turn("assistant", best.text)]
        return pair_of(key, lay_out(turns, pictures), worst.text, pairs=self.pairs)

    def _extremes(self, completions: Sequence[Mapping[str, object]]) -> tuple[Scored, Scored]:
        """The best and the worst answer; of equal ones, the one that is listed first."""
        if len(completions) < 2:
            raise Rejection("too-few-answers", f"{len(completions)} answers, wanted 2 at least")
        answers = [self._scored(one) for one in completions]
        scored = [one for one in answers if one is not None]
        if len(scored) < 2:
            raise Rejection(
                "scores-missing",
                f"{len(scored)} of {len(completions)} answers have words and are rated in "
                f"{', '.join(self.aspects)}; wanted 2 at least",
            )
        best = max(scored, key=lambda one: one.score)
        worst = min(scored, key=lambda one: one.score)
        if best.score == worst.score:
            mean = best.score / len(self.aspects)
            raise Rejection("answers-tied", f"all {len(scored)} answers have the mean {mean:g}")
        return best, worst

    def _scored(self, completion: Mapping[str, object]) -> Scored | None:
        """None where there are no words, or a rating is missing."""
        text, annotations = completion.get("response"), completion.get("annotations")
        if text is None or not isinstance(annotations, Mapping):
            return None
        ratings = [_rating(annotations.get(aspect)) for aspect in self.aspects]
        if not check_text("response", text).strip() or None in ratings:
            return None
        return Scored(str(text), sum(one for one in ratings if one is not None))


def records_of(value: object) -> list[Mapping[str, object]]:
    """A list of records; also where it was stored as a record of lists, as ``datasets`` does.

    Raises:
        Rejection: ``malformed-row``, where it is neither.
    """
    if isinstance(value, Mapping) and value:
        columns = list(value.values())
        if all(isinstance(one, list) and len(one) == len(columns[0]) for one in columns):
            return [dict(zip(value, one, strict=True)) for one in zip(*columns, strict=True)]
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        return list(value)
    raise Rejection("malformed-row", f"the answers are {value!r}, wanted a list of records")


def _rating(annotation: object) -> float | None:
    """The number, which is stored as text; None where there is none, such as ``N/A``."""
    rating = annotation.get("Rating") if isinstance(annotation, Mapping) else None
    if not isinstance(rating, str | int | float) or isinstance(rating, bool):
        return None
    try:
        number = float(rating)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
