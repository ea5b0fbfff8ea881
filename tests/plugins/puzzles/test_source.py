"""Rows come from their numbers alone: from any start, in any number, the same on every visit."""

import io
from collections import Counter

from PIL import Image

from mmcore.interfaces import ImagePart, SampleKey, TextPart
from mmcore.kit.picture_bytes import picture_bytes
from mmcore.testing import check_source
from mmcore_puzzles.levels import KINDS
from mmcore_puzzles.source import SHARD_ROWS


def read(spec, count=None):
    source = spec.open()
    samples = []
    for shard in source.shards():
        stop = source.length(shard) if count is None else count
        for number, row in enumerate(source.rows(shard, 0, stop)):
            samples.append(source.parse(row, SampleKey(spec.name, shard.name, number)))
    return samples


def test_contract(small, tmp_path):
    check_source(small(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_shards_are_cut_from_one_sequence(small):
    source = small(rows=2 * SHARD_ROWS + 3, seed=7).open()
    shards = source.shards()
    assert [shard.name for shard in shards] == [
        "training-7-00000",
        "training-7-00001",
        "training-7-00002",
    ]
    assert [source.length(shard) for shard in shards] == [SHARD_ROWS, SHARD_ROWS, 3]
    numbers = [row["number"] for row in source.rows(shards[1], 10, 13)]
    assert numbers == [SHARD_ROWS + 10, SHARD_ROWS + 11, SHARD_ROWS + 12]


def test_a_row_does_not_depend_on_how_many_there_are(small):
    few, many = read(small(rows=10)), read(small(rows=1000), 10)
    assert few == many


def test_seeds_and_sides_give_other_rows(small):
    rows = [read(small(seed=1)), read(small(seed=2)), read(small(seed=1, held_out=True))]
    assert all(
        mine.parts != others.parts
        for one in range(3)
        for other in range(one)
        for mine, others in zip(rows[one], rows[other], strict=True)
    )


def test_kinds_and_levels_take_turns(small):
    source = small().open()
    levels = [source.puzzle(number).level for number in range(48)]
    assert [level.kind for level in levels] == list(KINDS) * 8
    labels = Counter((level.kind, level.label) for level in levels)
    assert labels == {
        ("colour", ""): 8,
        **{("reading", f"{grid} {px}px"): 2 for grid in ("1x1", "2x2") for px in (9, 12)},
        **{(kind, f"{n} others"): 4 for kind in ("place", "count", "compare") for n in (0, 3)},
        **{("retrieve", f"{n} pictures"): 4 for n in (2, 4)},
    }


def test_a_kind_named_twice_has_two_turns(small):
    source = small(kinds=("reading", "count", "reading")).open()
    kinds = Counter(source.puzzle(number).level.kind for number in range(30))
    assert kinds == {"reading": 20, "count": 10}


def test_training_rows_have_turns_and_held_out_rows_one_question(small):
    (page,) = read(small(kinds=("reading",), grid=(2,), turns=3, rows=1))
    assert [part.role for part in page.parts] == ["user"] + ["user", "assistant"] * 3
    (page,) = read(small(kinds=("reading",), grid=(2,), turns=3, rows=1, held_out=True))
    assert [part.role for part in page.parts] == ["user", "user", "assistant"]
    learned = [part.role for part in page.parts if isinstance(part, TextPart) and part.loss]
    assert learned == ["assistant"]


def test_several_pictures_stand_between_their_numbers(small):
    (row,) = read(small(kinds=("retrieve",), pictures=(3,), rows=1, held_out=True))
    told = ["<image>" if isinstance(part, ImagePart) else part.text for part in row.parts]
    text = "".join(told[:-1])
    assert text.startswith("Picture 1: <image>\nPicture 2: <image>\nPicture 3: <image>\nWhich")
    assert told[-1] in ("1", "2", "3")


def test_pictures_have_the_side_that_was_asked_for(small):
    for sample in read(small(side=81, rows=5)):
        for part in sample.parts:
            if isinstance(part, ImagePart):
                image = Image.open(io.BytesIO(picture_bytes(part.ref)))
                assert (image.size, image.mode) == ((81, 81), "RGB")
