"""The audit reports what the samples are, and finds what is wrong with them."""

import json
from typing import Any

import attrs
import numpy as np
import pytest

from mmcore.data.audit import Audit, audit, faults
from mmcore.data.lane_state import LaneSettings
from mmcore.data.loader import PackLoader
from mmcore.data.pair_texts import PairTexts
from mmcore.interfaces import ImagePart, ImageRef, Sample, SampleKey, TextPart


@pytest.fixture(scope="module")
def sources(memory: Any) -> list[tuple[str, Any]]:
    talk = memory(seed=1, roles=("user", "assistant"), bad=0.1, share=3.0)
    return [("pages", memory(words=3.0, pictures=1)), ("talks", talk)]


@pytest.fixture(scope="module")
def found(sources: Any, preparer: Any) -> Audit:
    settings = LaneSettings(preparer(), seed=1, lanes=8, look_ahead=8, block_rows=4)
    return audit(sources, settings, samples=80)


def test_sound_data_has_no_violations(found: Audit) -> None:
    assert found.violations() == []
    assert found.samples >= 80
    assert set(found.sources) == {"pages", "talks"}
    assert 0.05 < found.learned_share < 0.95
    assert found.tokens.most <= 96
    assert found.token_fill.most <= 1
    assert found.views.least == 0
    assert found.counts["rejected/bad-row"] > 0


def test_pictures_and_their_texts_are_counted_where_they_are_wanted(
    memory: Any, preparer: Any, found: Audit
) -> None:
    texts = PairTexts(lambda words: [1, *words.encode()[:4], 2], 6)
    settings = LaneSettings(preparer(pair_texts=texts), seed=1, lanes=2, look_ahead=8, block_rows=4)
    pages = ("pages", memory(words=3.0, pictures=1))
    some = audit([pages], settings, samples=40)
    assert 0 < (some.picture_texts or 0) <= some.samples
    assert some.violations() == []
    assert f"pairs of a picture and its text: {some.picture_texts}" in some.lines()
    none = audit([("words", memory(words=3.0, pictures=0))], settings, samples=40)
    (fault,) = none.violations()
    assert fault.startswith(f"none of {none.samples} samples shows exactly one picture")
    assert found.picture_texts is None
    assert not any("picture and its text" in line for line in found.lines())


def test_it_is_the_beginning_of_what_is_trained_on(sources: Any, preparer: Any) -> None:
    """Counted independently, from the packs that training gets."""
    settings = LaneSettings(preparer(), seed=1, lanes=2, look_ahead=8, block_rows=4)
    few = audit(sources, settings, samples=1)
    loader = PackLoader(
        sources=sources,
        preparer=preparer(),
        seed=1,
        lanes=2,
        packs_per_step=2,
        look_ahead=8,
        block_rows=4,
    )
    first = loader.next_step().batches[0]
    loader.close()
    lengths = sorted(first.lengths)
    assert few.samples == len(lengths)
    assert (few.tokens.least, few.tokens.most) == (lengths[0], lengths[-1])
    assert few.token_fill.middle == first.tokens / 96
    assert few.view_fill.middle == first.views / 8
    assert few.learned_share == first.labels / first.tokens


def test_it_is_told_in_words_and_in_json(found: Audit) -> None:
    lines = found.lines()
    assert lines[0].startswith(f"{found.samples} samples in {found.packs} packs")
    assert any("learned tokens" in line for line in lines)
    assert json.loads(found.to_json())["tokens"]["most"] == found.tokens.most
    broken = attrs.evolve(found, faults=("a:s:1: nothing to learn",))
    assert "a:s:1: nothing to learn" in broken.lines()[-1]


def test_every_kind_of_fault_is_found(preparer: Any, encoded: Any) -> None:
    prepare = preparer()
    parts = (
        TextPart("q", "user", loss=False),
        ImagePart(ImageRef(data=encoded(16, 16, 0)), "user"),
        TextPart("ab", "assistant"),
    )
    [good] = prepare.tokenize(Sample(SampleKey("a", "s", 1), parts), "split")
    assert faults(good, prepare) == []

    def change(place: int, value: int) -> Any:
        ids = good.input_ids_T.copy()
        ids[place] = value
        return attrs.evolve(good, input_ids_T=ids)

    blind = attrs.evolve(good, learned_T=np.zeros_like(good.learned_T))
    assert "a:s:1: nothing to learn" in faults(blind, prepare)
    assert faults(change(-1, 5), prepare) == ["a:s:1: 0 learned turn ends (id 257), wanted 1"]
    assert faults(change(0, 258), prepare) == ["a:s:1: 16 image positions, wanted 5 x 3"]
    for wrong in (264, -1):
        assert faults(change(0, wrong), prepare) == [
            f"a:s:1: id {wrong} is outside the vocabulary of 264"
        ]
