"""caption-match: what is shown, which facts are asked for, and how they are compared."""

import attrs
import pytest

from mmcore.interfaces import ImagePart, ImageRef, Sample, Shard, TextPart
from mmcore_tasks.caption_match import CaptionMatchTask

PICTURE = ImagePart(ImageRef(data=b"png"))
PATTERNS = {"reading": r'"([^"]+)"', "colour": r"(red|blue) writing"}


@attrs.frozen
class Captions:
    captions: list

    def shards(self):
        return [Shard("a", "a")]

    def length(self, shard):
        return len(self.captions)

    def rows(self, shard, start, stop):
        return iter([{"caption": one} for one in self.captions[start:stop]])

    def parse(self, row, key):
        return Sample(key, (PICTURE, TextPart(row["caption"])))


def task(captions, samples=10):
    return CaptionMatchTask(Captions(captions), name="c", samples=samples, patterns=PATTERNS)


def test_a_caption_is_asked_about_for_every_fact_that_it_has():
    asked = task(['red writing "BOA"', '"NOT"', "nothing"]).questions()
    assert [(one.kind, one.key.row) for one in asked] == [
        ("reading", 0),
        ("colour", 0),
        ("reading", 1),
    ]
    assert all(one.parts == (PICTURE,) for one in asked)


def test_facts_are_compared_and_other_words_are_not():
    made = task(['red writing "BOA" "NOT"'])
    reading, colour = made.questions()
    assert made.score(reading, 'a card: "BOA", "NOT"') == 1
    assert made.score(reading, 'red writing "NOT" "BOA"') == 0
    assert made.score(reading, 'red writing "BOA"') == 0
    assert made.score(colour, "red writing") == 1
    assert made.score(colour, 'blue writing "BOA" "NOT"') == 0


def test_no_more_than_asked_for():
    assert len(task(['red writing "A"'] * 9, samples=5).questions()) == 5


def test_a_source_without_any_fact_is_refused():
    with pytest.raises(ValueError, match="matches any pattern"):
        task(["nothing"]).questions()
