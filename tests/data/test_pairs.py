"""A preference pair is two sequences of one question, in one pack, and only one of them learned."""

import pickle
from typing import Any

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.data import images
from mmcore.data import prepare as prepare_module
from mmcore.data.audit import audit, faults
from mmcore.data.collate import collate
from mmcore.data.fitting import Bounds, Words
from mmcore.data.lane_state import LaneSettings
from mmcore.data.lanes import Lane
from mmcore.data.loader import PackLoader
from mmcore.data.pairs import truncate_both
from mmcore.data.reader import SourceReader
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import ImagePart, ImageRef, PackedBatch, Part, Rejection, Sample, SampleKey
from mmcore.interfaces import TextPart as Text

KEY = SampleKey("a", "s0", 3)


def pair(*question: Part, good: str, bad: str) -> Sample:
    return Sample(KEY, (*question, Text(good, "assistant")), dispreferred=(Text(bad, "assistant"),))


def ask(words: int) -> Text:
    return Text("q" * words, "user", loss=False)


@pytest.fixture(scope="session")
def picture(encoded: Any) -> ImagePart:
    """A picture whose natural grid is 2 x 2 tiles and a thumbnail: 5 views."""
    return ImagePart(ImageRef(data=encoded(16, 16, 0)), "user")


def learned(sequence: TokenizedSample) -> list[int]:
    return [int(one) for one in sequence.input_ids_T[sequence.learned_T]]


def asked(sequence: TokenizedSample) -> list[int]:
    return [int(one) for one in sequence.input_ids_T[: int(sequence.learned_T.argmax())]]


def test_both_sequences_by_hand(preparer: Any, encoded: Any) -> None:
    small = ImagePart(ImageRef(data=encoded(5, 5, 1)), "user")
    [one] = preparer().tokenize(pair(ask(1), small, good="b", bad="cd"), "split")
    question = [260, 113, 258, 258, 258, 257, 261]
    preferred, dispreferred = one.sequences
    assert preferred.input_ids_T.tolist() == [*question, 98, 257]
    assert dispreferred.input_ids_T.tolist() == [*question, 99, 100, 257]
    assert (learned(preferred), learned(dispreferred)) == ([98, 257], [99, 100, 257])
    assert (one.tokens, one.views, one.labels) == (9 + 10, 1, 2)
    assert [(p.start, p.plan.views) for s in one.sequences for p in s.pictures] == [(2, 1)] * 2
    assert {(s.key, s.ends, s.truncated, s.shrunk) for s in one.sequences} == {
        (KEY, 1, False, False)
    }


def test_earlier_answers_of_a_pair_are_not_learned(preparer: Any) -> None:
    earlier = (ask(1), Text("loud", "assistant"), ask(1))
    [one] = preparer().tokenize(pair(*earlier, good="b", bad="c"), "split")
    assert [learned(s) for s in one.sequences] == [[98, 257], [99, 257]]
    assert faults(one, preparer()) == []


def test_a_pair_says_how_it_is_made() -> None:
    answer = (Text("b", "assistant"),)
    for parts, worse in (
        ((ask(1),), answer),  # no preferred answer
        (answer, answer),  # no question
        ((ask(1), *answer), (ask(1),)),
        ((ask(1), ImagePart(ImageRef(), "assistant")), answer),
    ):
        with pytest.raises(AssertionError):
            Sample(KEY, parts, dispreferred=worse)


def test_pictures_shrink_alike_until_both_sequences_fit(preparer: Any, picture: Any) -> None:
    def views(count: int, **changes: Any) -> list[list[int]]:
        asks = [picture] * count
        [one] = preparer(**changes).tokenize(pair(*asks, ask(1), good="b", bad="c"), "split")
        shown = [[p.plan.views for p in s.pictures] for s in one.sequences]
        assert one.views == sum(shown[0]), "both show the same views"
        assert one.shrunk == (shown[0] != [5] * count)
        return shown

    assert views(1, max_views=5) == [[5], [5]]
    assert views(1, max_views=4) == [[3], [3]]
    assert views(3) == [[3, 3, 1]] * 2
    assert views(3, max_tokens=42) == [[3, 1, 1]] * 2  # 2 x 15 of pictures, 2 x 6 of text
    assert views(3, max_tokens=41) == [[1, 1, 1]] * 2
    with pytest.raises(Rejection, match="too-long: 66 tokens and 9 views, a pack holds 96 and 8"):
        views(9)
    with pytest.raises(Rejection, match="too-long: 36 tokens and 4 views, a pack holds 24 and 8"):
        views(4, max_tokens=24)
    with pytest.raises(Rejection, match="too-many-views: 10 views, a pack holds 8"):
        views(2, fit="reject")


def test_a_picture_is_read_and_decoded_once(preparer: Any, picture: Any, monkeypatch: Any) -> None:
    calls: list[str] = []
    read = images.picture_bytes
    monkeypatch.setattr(images, "picture_bytes", lambda ref: (calls.append("read"), read(ref))[1])
    prepare = preparer()
    [one] = prepare.tokenize(pair(picture, ask(1), good="b", bad="c"), "split")
    assert calls == ["read"], "one header for both sequences"
    decode = prepare_module.decode
    monkeypatch.setattr(
        prepare_module, "decode", lambda *a, **k: (calls.append("decode"), decode(*a, **k))[1]
    )
    tiles = prepare.realise(one)
    assert calls == ["read", "read", "decode"]
    assert len(tiles) == 1


def test_the_question_stays_and_answers_end_alike(preparer: Any) -> None:
    def cut(question: int, good: int, bad: int) -> tuple[int, int]:
        sample = pair(ask(question), good="g" * good, bad="b" * bad)
        [one] = preparer().tokenize(sample, "split")
        assert one.truncated
        assert one.tokens <= 96
        first, second = one.sequences
        assert asked(first) == asked(second) == [260, *[113] * question, 257, 261]
        return len(learned(first)), len(learned(second))

    assert cut(27, 99, 99) == (18, 18)  # 96 - 2 x 30 = 36
    assert cut(27, 5, 99) == (6, 30)  # the shorter one and its turn end are whole
    assert cut(27, 99, 5) == (30, 6)
    assert cut(44, 9, 9) == (1, 1)
    for question in (45, 46, 90):
        with pytest.raises(Rejection, match="too-long"):
            cut(question, 9, 9)


def test_only_the_answer_that_was_cut_may_lack_its_end(preparer: Any) -> None:
    [one] = preparer().tokenize(pair(ask(27), good="g" * 5, bad="b" * 99), "truncate")
    preferred, dispreferred = one.sequences
    assert (preferred.ends, dispreferred.ends) == (1, None)
    assert faults(one, preparer()) == []
    [one] = preparer().tokenize(pair(ask(27), good="", bad="b" * 99), "truncate")
    assert [sequence.ends for sequence in one.sequences] == [1, None], "an empty one is whole"


def test_pairs_that_teach_nothing_are_rejected(preparer: Any) -> None:
    def reason(sample: Sample, overflow: str = "split") -> str:
        with pytest.raises(Rejection) as caught:
            preparer().tokenize(sample, overflow)
        return caught.value.reason

    assert reason(pair(ask(1), good="b", bad="b")) == "equal-answers"
    alike = pair(ask(27), good="g" * 50 + "1", bad="g" * 50 + "2")
    assert reason(alike) == "equal-answers", "once they are truncated"
    assert reason(alike, "reject") == "too-long"
    silent = (Text("c", "assistant", loss=False),)
    assert reason(Sample(KEY, (ask(1), Text("b", "assistant")), dispreferred=silent)) == (
        "nothing-to-learn"
    )


def test_truncation_where_an_answer_ends_in_words_that_are_not_learned() -> None:
    question, newline = Words((1, 2), learned=False), Words((9,), learned=False)
    long, short = ([question, Words((3,) * n, learned=True), newline] for n in (9, 2))
    cut = truncate_both(long, short, Bounds(tokens=4 + 3 + 6, views=0))
    assert cut == [[question, Words((3,) * 6, learned=True)], short]
    assert truncate_both(long, short, Bounds(tokens=5, views=0)) == []
    assert truncate_both(long, short, Bounds(tokens=6, views=0)) != []


turns = st.lists(st.integers(0, 40), min_size=1, max_size=3)


@settings(deadline=None, max_examples=80)
@given(
    sizes=st.lists(st.tuples(st.integers(4, 30), st.integers(4, 30)), max_size=4),
    questions=turns,
    good=st.integers(0, 80),
    bad=st.integers(0, 80),
    views=st.integers(1, 12),
    tokens=st.integers(16, 300),
)
def test_whatever_is_asked_and_answered(
    preparer: Any,
    encoded: Any,
    sizes: list[tuple[int, int]],
    questions: list[int],
    good: int,
    bad: int,
    views: int,
    tokens: int,
) -> None:
    """Labels are the answers or their beginnings, and nothing else differs."""
    parts: list[Part] = [ImagePart(ImageRef(data=encoded(*size, 1)), "user") for size in sizes]
    for number, words in enumerate(questions):
        if number:
            parts.append(Text("before", "assistant"))
        parts.append(ask(words))
    prepare = preparer(max_views=views, max_tokens=tokens)
    sample = pair(*parts, good="g" * good, bad="b" * bad)
    # A question has a role and an end, an earlier answer six letters besides, the last a role.
    spoken = sum(questions) + 2 * len(questions) + 8 * (len(questions) - 1) + 1
    thumbnails = 3 * len(sizes)
    if good == bad == 0 or 2 * (thumbnails + spoken + 1) > tokens or len(sizes) > views:
        with pytest.raises(Rejection, match=r"too-long|equal-answers"):
            prepare.tokenize(sample, "split")
        return
    [one] = prepare.tokenize(sample, "split")
    first, second = one.sequences
    assert one.tokens == len(first.input_ids_T) + len(second.input_ids_T) <= tokens
    assert one.views == first.views == second.views <= views
    assert asked(first) == asked(second)
    assert asked(first).count(113) == sum(questions), "no word of the question is lost"
    assert first.pictures == second.pictures
    assert len(first.pictures) == len(sizes)
    answers = [*b"g" * good, 257], [*b"b" * bad, 257]
    given = learned(first), learned(second)
    assert all(got == whole[: len(got)] for got, whole in zip(given, answers, strict=True))
    assert one.truncated == (given != answers)
    if one.truncated:
        most = max(map(len, given))
        assert [len(got) for got in given] == [min(len(whole), most) for whole in answers]
        longer = sum(len(got) < len(whole) for got, whole in zip(given, answers, strict=True))
        assert one.tokens + longer > tokens, "no longer than need be"
    assert faults(one, prepare) == []


@pytest.fixture
def packed(preparer: Any, picture: Any) -> tuple[list[TokenizedSample], PackedBatch]:
    """A conversation, a pair, and another conversation."""
    prepare = preparer()
    talk = Sample(attrs.evolve(KEY, row=8), (picture, ask(1), Text("ab", "assistant")))
    samples = [
        *prepare.tokenize(talk, "split"),
        *prepare.tokenize(pair(picture, ask(1), good="b", bad="cd"), "split"),
        *prepare.tokenize(attrs.evolve(talk, parts=talk.parts[1:]), "split"),
    ]
    tiles = [prepare.realise(one) for one in samples]
    return samples, collate(samples, tiles, view=prepare.view, tokens_per_view=3, lane=0)


def test_a_pair_is_two_segments_of_a_pack(packed: Any) -> None:
    samples, batch = packed
    sequences = [samples[0], *samples[1].sequences, samples[2]]
    lengths = [len(one.input_ids_T) for one in sequences]
    assert batch.lengths == tuple(lengths)
    assert batch.cu_seqlens.tolist() == [sum(lengths[:n]) for n in range(5)]
    assert batch.position_ids_T.tolist() == [n for length in lengths for n in range(length)]
    assert batch.input_ids_T.tolist() == [n for one in sequences for n in one.input_ids_T.tolist()]
    assert batch.pairs == ((1, 2),)
    assert [one.preference for one in batch.segments] == [None, "preferred", "dispreferred", None]
    assert [one.key.row for one in batch.segments] == [8, 3, 3, 8]
    assert [one.labels for one in batch.segments] == [3, 2, 3, 3]


def test_both_sequences_of_a_pack_see_the_same_views(packed: Any) -> None:
    _, batch = packed
    assert batch.views == len(batch.pixels_NCHW) == 10
    assert [one.views for one in batch.segments] == [5, 5, 0, 0]
    places = torch.nonzero(batch.input_ids_T == 258).flatten()
    assert torch.equal(batch.image_token_index_K, places)
    source_K = batch.image_token_source_K.tolist()
    assert source_K == [*range(15), *range(15, 30), *range(15, 30)]


def test_packs_without_pictures_in_pairs_need_no_second_place(preparer: Any, picture: Any) -> None:
    prepare = preparer()
    talk = Sample(KEY, (picture, ask(1), Text("ab", "assistant")))
    samples = [
        *prepare.tokenize(talk, "split"),
        *prepare.tokenize(pair(ask(1), good="b", bad="cd"), "split"),
    ]
    tiles = [prepare.realise(one) for one in samples]
    batch = collate(samples, tiles, view=prepare.view, tokens_per_view=3, lane=0)
    assert batch.image_token_source_K is None
    assert batch.pairs == ((1, 2),)


def test_pictures_sampled_as_a_whole_are_shown_twice_too(preparer: Any, picture: Any) -> None:
    tiler = preparer().tiler

    class Whole(type(tiler)):
        """All views of a picture as one group of patches."""

        def plan(self, *args: Any, **keys: Any) -> Any:
            return attrs.evolve(super().plan(*args, **keys), groups=1)

        def cut(self, image: Any, plan: Any, view: Any) -> Any:
            tiles = super().cut(image, plan, view)
            mask = tiles.patch_mask_NP.reshape(1, -1)
            order = torch.arange(mask.size).numpy()[None]
            return attrs.evolve(tiles, patch_mask_NP=mask, patch_order_NP=order)

    prepare = preparer(tiler=Whole())
    [one] = prepare.tokenize(pair(picture, ask(1), good="b", bad="c"), "split")
    batch = collate([one], [prepare.realise(one)], view=prepare.view, tokens_per_view=3, lane=0)
    assert (one.views, batch.views, len(batch.pixels_NCHW)) == (5, 5, 5)
    assert batch.image_token_source_K is not None
    assert batch.image_token_source_K.tolist() == [0, 1, 2, 0, 1, 2]


def test_dispreferred_answers_have_targets_but_weigh_nothing(packed: Any) -> None:
    _, batch = packed
    segment_L = batch.label_segment_L.tolist()
    assert segment_L == [0] * 3 + [1] * 2 + [2] * 3 + [3] * 3
    assert batch.targets_L[batch.label_segment_L == 1].tolist() == [98, 257]
    assert batch.targets_L[batch.label_segment_L == 2].tolist() == [99, 100, 257]
    assert batch.label_weight_L.tolist() == [float(segment != 2) for segment in segment_L]
    assert batch.labels == 8 == batch.label_weight_L.sum(), "what count and loss agree on"


def test_pairs_survive_a_move(packed: Any) -> None:
    _, batch = packed
    moved = batch.to("meta")
    assert moved.pairs == ((1, 2),)
    assert moved.image_token_source_K.device.type == "meta"
    assert pickle.loads(pickle.dumps(batch)).pairs == ((1, 2),)


def test_pairs_survive_workers(memory: Any, preparer: Any) -> None:
    def pairs(workers: int) -> list[Any]:
        loader = PackLoader(
            sources=[("a", rivals(memory))],
            preparer=preparer(),
            seed=1,
            lanes=1,
            packs_per_step=1,
            look_ahead=4,
            block_rows=4,
            workers=workers,
        )
        batches = [loader.next_step().batches[0] for _ in range(3)]
        loader.close()
        return [(one.pairs, one.segments) for one in batches]

    assert pairs(1) == pairs(0)


def rivals(memory: Any, **changes: Any) -> Any:
    return memory(rivals=True, roles=("user", "assistant"), **changes)


def lane(memory: Any, prepare: Any, seed: int, state: Any = None) -> Lane:
    sources = [
        ("pages", memory(seed=seed, words=2.5)),
        ("rivals", rivals(memory, seed=seed, share=3.0, bad=0.1, broken=0.1)),
    ]
    readers = [SourceReader(label, spec) for label, spec in sources]
    settings = LaneSettings(prepare, seed=seed, lanes=2, look_ahead=6, block_rows=4)
    return Lane(1, readers, settings, state)


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 999),
    tokens=st.integers(40, 200),
    views=st.integers(2, 12),
    stop=st.integers(1, 10),
)
def test_a_pair_is_never_split_over_packs(
    memory: Any, preparer: Any, seed: int, tokens: int, views: int, stop: int
) -> None:
    """Also among other samples, and after a lane went on from its state."""
    prepare = preparer(max_tokens=tokens, max_views=views)
    whole = lane(memory, prepare, seed)
    packs = [whole.next() for _ in range(12)]
    onward = lane(memory, prepare, seed, packs[stop - 1].state)
    again = [onward.next().batch for _ in range(stop, 12)]
    assert [one.segments for one in again] == [one.batch.segments for one in packs[stop:]]
    seen = 0
    for one in packs:
        batch = one.batch
        pairs = dict(batch.pairs)
        assert batch.tokens <= tokens
        assert batch.views <= views
        for number, segment in enumerate(batch.segments):
            if segment.key.source != "rivals":
                assert segment.preference is None
                assert number not in pairs
            elif segment.preference == "preferred":
                rival = batch.segments[pairs[number]]
                assert (rival.preference, rival.key) == ("dispreferred", segment.key)
                assert rival.views == 0
                seen += 1
            else:
                assert number in pairs.values()
    assert seen


def test_the_audit_counts_turn_ends_of_either_sequence(memory: Any, preparer: Any) -> None:
    sources = [("rivals", rivals(memory)), ("pages", memory())]
    settings = LaneSettings(preparer(), seed=1, lanes=2, look_ahead=4, block_rows=4)
    found = audit(sources, settings, samples=40)
    assert found.violations() == []
    assert found.pairs == found.sources["rivals"] > 0
    assert f"preference pairs: {found.pairs}" in found.lines()


def test_the_audit_says_which_answer_is_wrong(preparer: Any) -> None:
    prepare = preparer()
    [good] = prepare.tokenize(pair(ask(1), good="b", bad="cd"), "split")
    assert good.dispreferred is not None

    def change(place: int, value: int) -> TokenizedSample:
        assert good.dispreferred is not None
        ids_T = good.dispreferred.input_ids_T.copy()
        ids_T[place] = value
        return attrs.evolve(good, dispreferred=attrs.evolve(good.dispreferred, input_ids_T=ids_T))

    assert faults(change(-1, 7), prepare) == [
        "a:s0:3, dispreferred answer: 0 learned turn ends (id 257), wanted 1"
    ]
    assert faults(change(1, 7), prepare) == [
        "a:s0:3, the answers of the pair have different questions"
    ]
