"""Prepared pairs come back as they were written, and what is wrong with a row is named."""

import json

import attrs
import pytest

from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    PairReference,
    Rejection,
    Sample,
    SampleKey,
    TextPart,
)
from mmcore.kit.pair_rows import pair_row
from mmcore_sources.prepared_spec import PreparedPairsSpec

KEY = SampleKey("prepared-pairs", "given-00000.jsonl", 0)

PAIR = Sample(
    KEY,
    (
        TextPart("Be brief. <image>", "system", loss=False),
        ImagePart(ImageRef(path="a.png", root="here"), "user"),
        TextPart("And <image> the ", "user", loss=False),
        ImagePart(ImageRef(path="pages.tif", root="here", frame=2), "user"),
        TextPart(" page?\n", "user", loss=False),
        TextPart("A dog.", "assistant", loss=False),
        TextPart("Sure?", "user", loss=False),
        TextPart("Yes", "assistant"),
        TextPart(", sure.", "assistant"),
    ),
    dispreferred=(TextPart("Köter \u2028 ☂", "assistant"),),
    reference=PairReference(-1.5, -0.1 - 0.2, "abc"),
)


@pytest.fixture
def read(tmp_path):
    def read(*rows):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (tmp_path / "given-00000.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        source = PreparedPairsSpec(path=str(tmp_path / "*.jsonl")).open()
        [shard] = source.shards()
        found = source.rows(shard, 0, source.length(shard))
        return [source.parse(row, attrs.evolve(KEY, row=n)) for n, row in enumerate(found)]

    return read


def row(**changes):
    made = pair_row(PAIR, PAIR.reference, lambda ref: ref.path)
    return {**made, **changes}


def test_a_pair_comes_back_exactly(read, tmp_path):
    [found] = read(row(of="elsewhere:3", kind="given"))
    moved = tuple(
        attrs.evolve(part, ref=attrs.evolve(part.ref, root=str(tmp_path)))
        if isinstance(part, ImagePart)
        else part
        for part in PAIR.parts
    )
    assert found == attrs.evolve(PAIR, parts=moved)


@pytest.mark.parametrize(
    ("changes", "reason", "detail"),
    [
        ({"rejected": None}, "missing-answer", "rejected is None"),
        ({"chosen": " "}, "missing-answer", "chosen is ' '"),
        ({"rejected": " Yes, sure."}, "equal-answers", "'Yes, sure.'"),
        ({"reference": None}, "reference-missing", "no log-probabilities"),
        ({"reference": {"chosen": -1.0}}, "malformed-row", "wanted log-probabilities"),
        ({"reference": {"chosen": 0.5, "rejected": -1.0}}, "malformed-row", "0 or below"),
        ({"reference": {"chosen": float("nan"), "rejected": -1.0}}, "malformed-row", "0 or below"),
        ({"prompt": "What?"}, "malformed-row", "prompt is 'What?'"),
        ({"prompt": [{"role": "cat", "content": []}]}, "malformed-row", "wanted role"),
        ({"prompt": [{"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}]},
         "malformed-row", "ends with the assistant"),
        ({"prompt": [{"role": "user", "content": [{"type": "sound"}]}]}, "malformed-row", "sound"),
        ({"prompt": [{"role": "user", "content": [{"type": "image"}]}]}, "malformed-row", "path"),
    ],
)  # fmt: skip
def test_a_bad_row_is_rejected_by_name(read, changes, reason, detail):
    with pytest.raises(Rejection) as caught:
        read(row(**changes))
    assert caught.value.reason == reason
    assert detail.replace("path", "None") in str(caught.value)
