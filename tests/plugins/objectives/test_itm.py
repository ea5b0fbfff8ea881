"""Image-text matching: what is drawn, where it is computed, and that nothing is invented.

Letters: M pairs, Q queries, X width of a comparison, R rows.
"""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from mmcore.interfaces import MATCH
from mmcore_objectives import itm
from mmcore_objectives.itm import (
    IDS,
    MASK,
    ROW_IDS,
    ROW_MASK,
    ROW_MATCH,
    ROW_VIEW,
    ROW_WEIGHT,
    VIEW,
)
from mmcore_objectives.pair_specs import ItmSpec
from mmcore_objectives.pairs import PICTURE, TEXT, WORDS, fingerprints

TEXTS = ([7], [8, 9], [10, 11, 12], [8, 9], [13, 14])


def seen(pack, texts, start: int = 0) -> dict[str, torch.Tensor]:
    """Of a pack with some of ``TEXTS``, from number ``start`` on."""
    draw = torch.Generator().manual_seed(3)
    picture = normalize(torch.randn(len(TEXTS), 2, 4, generator=draw), dim=-1)
    text = normalize(torch.randn(len(TEXTS), 4, generator=draw), dim=-1) / 0.5
    aux = pack(texts).aux
    ids, mask = aux["pair_ids_BW"], aux["pair_mask_BW"]
    return {
        PICTURE: picture[start : start + len(texts)],
        TEXT: text[start : start + len(texts)],
        WORDS: fingerprints(ids, mask),
        IDS: ids,
        MASK: mask,
        VIEW: torch.arange(len(texts)).flip(0),
    }


def two_packs(pack):
    return [seen(pack, TEXTS[:3]), seen(pack, TEXTS[3:], 3)]


def rows_of(said, pictures: list[int]) -> list[tuple[int, tuple[int, ...], int]]:
    """Picture, text and whether they belong together, of every row; views are turned back."""
    views = list(reversed(pictures))
    return [
        (views[view], tuple(ids[mask].tolist()), match)
        for view, ids, mask, match in zip(
            said[ROW_VIEW].tolist(),
            said[ROW_IDS],
            said[ROW_MASK],
            said[ROW_MATCH].tolist(),
            strict=True,
        )
    ]


@pytest.mark.parametrize("block", [2, 256])
def test_every_pair_has_three_rows_and_the_pictures_pack_computes_them(
    pack, monkeypatch, block
) -> None:
    monkeypatch.setattr(itm, "BLOCK", block)
    for seed in range(20):
        first, second = ItmSpec().build().compare(two_packs(pack), [0, 1], seed)
        rows = rows_of(first, [0, 1, 2]) + rows_of(second, [3, 4])
        own = [(picture, text) for picture, text, match in rows if match]
        assert sorted(own) == [(m, tuple(TEXTS[m])) for m in range(5)]
        wrong = [(picture, text) for picture, text, match in rows if not match]
        assert len(wrong) == 2 * 5
        assert all(text != tuple(TEXTS[picture]) for picture, text in wrong)
        for picture in range(5):  # one drawn by the picture, and as many as drew it
            assert sum(one == picture for one, _ in wrong) >= 1
        assert all(set(one[ROW_WEIGHT].tolist()) == {1.0} for one in (first, second))


def test_the_draw_is_in_proportion_to_the_softmax_of_likeness(pack) -> None:
    one = seen(pack, TEXTS)
    like = torch.stack([(one[PICTURE] @ text).amax(1) for text in one[TEXT]], dim=1)
    chance = like.softmax(1) + 1e-4
    for m in range(5):
        for other in range(5):
            if TEXTS[m] == TEXTS[other]:
                chance[m, other] = 0.0
    wanted = chance / chance.sum(1, keepdim=True)
    counts, draws = Counter[tuple[int, tuple[int, ...]]](), 600
    for seed in range(draws):
        (said,) = ItmSpec().build().compare([one], [0], seed)
        drawn = rows_of(said, [*range(5)])[5:10]
        assert [(picture, match) for picture, _, match in drawn] == [(m, 0) for m in range(5)]
        counts.update((picture, text) for picture, text, _ in drawn)
    for m in range(5):
        expected = Counter[tuple[int, ...]]()
        for other, text in enumerate(TEXTS):
            expected[tuple(text)] += wanted[m, other].item()
        for text, share in expected.items():
            deviation = (share * (1 - share) / draws) ** 0.5
            assert abs(counts[m, text] / draws - share) <= 4 * deviation + 1e-9, (m, text)


def test_the_draw_depends_on_the_seed_and_not_on_packs_or_ranks(pack) -> None:
    objective, apart = ItmSpec().build(), two_packs(pack)
    whole = rows_of(objective.compare([seen(pack, TEXTS)], [0], 11)[0], [*range(5)])
    (first,), (second,) = objective.compare(apart, [0], 11), objective.compare(apart, [1], 11)
    assert sorted(rows_of(first, [0, 1, 2]) + rows_of(second, [3, 4])) == sorted(whole)
    others = [
        rows_of(objective.compare([seen(pack, TEXTS)], [0], seed)[0], [*range(5)])
        for seed in range(5)
    ]
    assert any(sorted(one) != sorted(whole) for one in others)


def test_where_all_texts_are_the_same_nothing_is_taught(pack, table) -> None:
    objective = ItmSpec().build()
    texts = ([7, 8], [7, 8])
    (said,) = objective.compare([seen(pack, texts)], [0], 1)
    logits = torch.randn(2, 2, requires_grad=True)
    loss = objective.loss(table((logits,)), pack(texts, **said))
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


def test_the_loss_is_the_summed_cross_entropy_of_the_rows(pack, table) -> None:
    objective = ItmSpec().build()
    (said,) = objective.compare([seen(pack, TEXTS)], [0], 1)
    batch = pack(TEXTS, **said)
    logits = torch.randn(15, 2, generator=torch.Generator().manual_seed(0))
    model = table((logits,))
    loss = objective.loss(model, batch)
    assert objective.count(batch) == 15
    assert loss.item() == pytest.approx(15 * cross_entropy(logits, said[ROW_MATCH]).item())
    assert model.told["accuracy"] == (logits.argmax(1) == said[ROW_MATCH]).sum()
    ((wanted, _, view, ids, mask),) = model.asked  # once, whatever was drawn
    assert wanted == MATCH
    assert view is said[ROW_VIEW]
    assert ids is said[ROW_IDS]
    assert mask is said[ROW_MASK]


@pytest.mark.parametrize("texts", [(), TEXTS])
def test_a_pack_that_nothing_is_said_of_is_as_large_as_others_and_weighs_nothing(
    pack, table, texts
) -> None:
    rows = 3 * max(1, len(texts))
    logits = torch.randn(rows, 2, requires_grad=True)
    model = table((logits,))
    loss = ItmSpec().build().loss(model, pack(texts))
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()
    assert [len(one) for one in model.asked[0][2:]] == [rows] * 3
