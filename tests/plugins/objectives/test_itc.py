"""Image-text contrast: against plain loops, and what is no negative.

Letters: M pairs, Q queries, X width of a comparison.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, normalize

from mmcore_objectives import likeness
from mmcore_objectives.itc import CANDIDATES, LOSS, RIGHT, TO_PICTURE, TO_TEXT
from mmcore_objectives.pair_specs import ItcSpec
from mmcore_objectives.pairs import PICTURE, TEXT, WORDS, fingerprints

Q, X = 3, 4


def seen(words: list[int], seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return {
        PICTURE: normalize(torch.randn(len(words), Q, X, generator=draw), dim=-1),
        TEXT: normalize(torch.randn(len(words), X, generator=draw), dim=-1) / 0.07,
        WORDS: torch.tensor(words),
    }


def by_loops(one: dict[str, torch.Tensor], candidates: int, smoothing: float) -> list[float]:
    """Losses of the pairs, number by number."""
    words, pairs = one[WORDS].tolist(), len(one[WORDS])
    picture, text = one[PICTURE].double().tolist(), one[TEXT].double().tolist()

    def like(p: int, t: int) -> float:
        return max(
            sum(a * b for a, b in zip(picture[p][q], text[t], strict=True)) for q in range(Q)
        )

    def loss(logits: list[float]) -> float:
        top = max(logits)
        whole = top + math.log(sum(math.exp(x - top) for x in logits))
        apart = [whole - x for x in logits]
        return (1 - smoothing) * apart[0] + smoothing * sum(apart) / len(apart)

    losses = []
    for m in range(pairs):
        after = [(m + c) % pairs for c in range(min(candidates, pairs))]
        before = [(m - c) % pairs for c in range(min(candidates, pairs))]
        texts = [t for t in after if t == m or words[t] != words[m]]
        pictures = [p for p in before if p == m or words[p] != words[m]]
        losses.append(
            (loss([like(m, t) for t in texts]) + loss([like(p, m) for p in pictures])) / 2
        )
    return losses


@given(
    words=st.lists(st.integers(0, 5), min_size=1, max_size=9),
    candidates=st.integers(2, 12),
    smoothing=st.sampled_from([0.0, 0.1]),
)
@settings(max_examples=25, deadline=None)
def test_the_losses_are_those_of_plain_loops(words, candidates, smoothing) -> None:
    objective = ItcSpec(candidates=candidates, label_smoothing=smoothing).build()
    (said,) = objective.compare([seen(words)], [0], seed=1)
    wanted = by_loops(seen(words), candidates, smoothing)
    assert said[LOSS].tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    assert set(said[CANDIDATES].tolist()) == {min(candidates, len(words))}


def test_a_block_more_of_pictures_is_no_seam() -> None:
    words = list(range(150))
    (said,) = ItcSpec(candidates=5).build().compare([seen(words)], [0], seed=1)
    assert said[LOSS].tolist() == pytest.approx(by_loops(seen(words), 5, 0.1), rel=1e-4, abs=1e-5)


def test_among_all_pairs_it_is_the_usual_cross_entropy() -> None:
    """As in BLIP-2: both directions, with smoothing, over a whole batch."""
    one = seen([*range(6)])
    like_MM = torch.stack([(one[PICTURE] @ text).amax(1) for text in one[TEXT]], dim=1)
    own_M = torch.arange(6)
    wanted = [cross_entropy(like, own_M, label_smoothing=0.1) for like in (like_MM, like_MM.T)]
    (said,) = ItcSpec().build().compare([one], [0], seed=1)
    assert said[LOSS].mean() == pytest.approx(sum(wanted).item() / 2, rel=1e-5)
    right = [(like.argmax(1) == own_M).float().mean() for like in (like_MM, like_MM.T)]
    assert said[RIGHT].mean() == pytest.approx(sum(right).item() / 2)


def test_every_pack_is_told_of_its_own_pairs() -> None:
    whole = seen([*range(5)])
    parts = [{name: one[a:b] for name, one in whole.items()} for a, b in ((0, 2), (2, 3), (3, 5))]
    objective = ItcSpec(candidates=3).build()
    (said,) = objective.compare([whole], [0], seed=1)
    first, last = objective.compare(parts, [0, 2], seed=1)
    for name in (TO_PICTURE, TO_TEXT, LOSS):
        assert torch.allclose(torch.cat([first[name], last[name]]), said[name][[0, 1, 3, 4]])


def test_the_gradient_is_passed_on_and_the_loss_is_the_comparisons(pack, table) -> None:
    one = seen([1, 2])
    objective = ItcSpec().build()
    (said,) = objective.compare([one], [0], seed=1)
    picture, text = one[PICTURE].clone().requires_grad_(), one[TEXT].clone().requires_grad_()
    model = table((picture, text))
    batch = pack([[1, 2], [3]], **said)
    loss = objective.loss(model, batch)
    loss.backward()
    assert loss.item() == said[LOSS].sum().item()
    assert torch.equal(picture.grad, said[TO_PICTURE])
    assert torch.equal(text.grad, said[TO_TEXT])
    assert objective.count(batch) == 2
    assert model.told == {"accuracy": said[RIGHT].sum().item(), "candidates": 4.0}


def test_a_pack_that_nothing_is_said_of_enters_the_model_without_weight(pack, table) -> None:
    one = seen([1])
    picture, text = one[PICTURE].requires_grad_(), one[TEXT].requires_grad_()
    objective = ItcSpec().build()
    loss = objective.loss(table((picture, text)), pack([]))
    loss.backward()
    assert objective.count(pack([])) == 0
    assert (loss.item(), picture.grad.abs().sum().item(), text.grad.abs().sum().item()) == (0, 0, 0)


def test_a_fingerprint_is_that_of_the_tokens_and_not_of_what_fills_up(pack) -> None:
    def of(*texts):
        aux = pack(texts).aux
        return fingerprints(aux["pair_ids_BW"], aux["pair_mask_BW"]).tolist()

    alone, beside = of([5, 6]), of([5, 6], [5, 6, 0], [6, 5], [5], [5, 6, 7, 8])
    assert beside[0] == alone[0]
    assert len(set(beside)) == 5
    many = of(*([a, b, c] for a in range(12) for b in range(12) for c in range(12)))
    assert len(set(many)) == 12**3


@pytest.mark.parametrize("wrong", [{"candidates": 1}, {"label_smoothing": 1.0}, {"weight": 0.0}])
def test_its_keys_are_bounded(wrong) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ItcSpec(**wrong)


@pytest.mark.parametrize("candidates", [3, 7])
def test_blocks_change_neither_loss_nor_gradient(monkeypatch, candidates) -> None:
    one = seen([1, 2, 3, 1, 4, 5, 6])
    objective = ItcSpec(candidates=candidates).build()
    (whole,) = objective.compare([one], [0], 0)
    monkeypatch.setattr(likeness, "BLOCK", 2)
    (blocks,) = objective.compare([one], [0], 0)
    for name in (LOSS, RIGHT, TO_PICTURE, TO_TEXT):
        torch.testing.assert_close(blocks[name], whole[name])
    assert whole[TO_PICTURE].any()
