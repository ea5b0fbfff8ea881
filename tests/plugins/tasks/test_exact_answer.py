"""exact-answer: which questions are asked, what is shown, and how answers are scored."""

from pathlib import Path

import attrs
import pytest

from mmcore.interfaces import ImagePart, ImageRef, Rejection, Sample, Shard, SourceSpec, TextPart
from mmcore_tasks.exact_answer import ExactAnswerTask, normalised
from mmcore_tasks.spec import ExactAnswerSpec

PICTURE = ImagePart(ImageRef(data=b"png"), "user")


@attrs.frozen
class ListSource:
    """Rows given as (kind, parts) in two shards; a kind of None is a row that is rejected."""

    samples: list

    def shards(self):
        return [Shard("a", "0"), Shard("b", "1")]

    def length(self, shard):
        return len(self._part(shard))

    def rows(self, shard, start, stop):
        return iter([{"sample": one} for one in self._part(shard)[start:stop]])

    def parse(self, row, key):
        kind, parts = row["sample"]
        if kind is None:
            raise Rejection("broken", "by hand")
        return Sample(key=key, parts=parts, group=kind)

    def _part(self, shard):
        half = len(self.samples) // 2
        return self.samples[:half] if shard.name == "a" else self.samples[half:]


@attrs.frozen(kw_only=True)
class ListSpec(SourceSpec):
    """A source of rows in memory."""

    name = "list"
    samples: list

    def open(self):
        return ListSource(self.samples)

    def synthesize(self, folder, content):
        raise NotImplementedError

    def relocated(self, folder):
        return self

    @property
    def folder(self):
        return Path()


def turn(question, answer):
    return (TextPart(question, "user", loss=False), TextPart(answer, "assistant"))


def task(samples, wanted=100):
    return ExactAnswerSpec(samples=wanted, data=ListSpec(path="", samples=samples)).build()


def test_last_answer_is_asked_for():
    parts = (PICTURE, *turn("What?", "A cat."), *turn("Big?", "No."))
    (question,) = task([("size", parts)]).questions()
    assert question.parts == parts[:-1]
    assert question.answer == "No."
    assert question.kind == "size"
    assert str(question.key) == "list:b:0"


def test_kinds_take_turns_in_the_order_of_the_source():
    rows = [(kind, turn(kind, str(n))) for n, kind in enumerate("aaaaabbbc")]
    asked = task(rows, 6).questions()
    assert [(one.kind, one.answer) for one in asked] == [
        ("a", "0"),
        ("b", "5"),
        ("c", "8"),
        ("a", "1"),
        ("b", "6"),
        ("a", "2"),
    ]
    assert len(task(rows, 100).questions()) == 9


def test_questions_are_the_same_every_time():
    rows = [("k", turn("?", str(n))) for n in range(9)]
    one = task(rows, 4)
    assert one.questions() == one.questions() == task(rows, 4).questions()


def test_rejected_row_is_an_error_with_its_key():
    rows = [("k", turn("?", "1")), (None, ())]
    with pytest.raises(ValueError, match=r"list:b:0 cannot be used \(broken: by hand\)"):
        task(rows).questions()


def test_rows_that_ask_nothing_are_an_error():
    with pytest.raises(ValueError, match="has no rows"):
        task([]).questions()
    with pytest.raises(ValueError, match="list:b:0 does not end with words"):
        task([("k", (TextPart("a document"),))]).questions()


@pytest.mark.parametrize(
    ("output", "score"),
    [
        ("Red fox", 1.0),
        (" red  FOX.\n", 1.0),
        ("red fox .", 1.0),
        ("red foxes", 0.0),
        ("the red fox", 0.0),
        ("", 0.0),
        ("red fox..", 0.0),
    ],
)
def test_score(output, score):
    one = ExactAnswerTask(ListSource([("k", turn("?", "Red fox."))]), name="list", samples=1)
    assert one.score(one.questions()[0], output) == score


def test_normalised_keeps_points_inside_numbers():
    assert normalised("3.50") == "3.50"
    assert normalised("STRASSE") == normalised("straße")


def test_data_must_be_a_source():
    with pytest.raises(TypeError, match="data"):
        ExactAnswerSpec(data="llava-json")
