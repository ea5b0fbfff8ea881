"""What an LLM promises.

Letters: T packed tokens, E LLM width, V vocabulary, L labelled positions, B prompts.
"""

from __future__ import annotations

from typing import cast

import torch

from mmcore.interfaces import LLM, LLMSpec, PackedLayout, Teacher
from mmcore.testing.spec import check_spec
from mmcore.testing.text import check_text_format


def check_llm(spec: LLMSpec) -> None:
    """The tiny form embeds, attends within each packed sample only, predicts, and generates.

    Raises:
        AssertionError: what is broken, with the shapes or values.
    """
    tiny, thin = spec.tiny(), spec.thin()
    assert type(tiny) is type(spec), f"tiny() changed the class to {type(tiny).__qualname__}"
    check_spec(tiny)
    check_spec(thin)
    assert thin.embedding_width == spec.embedding_width, (
        f"thin() changed the width of the embeddings to {thin.embedding_width}"
    )
    text = tiny.text()
    check_text_format(text)
    torch.manual_seed(0)
    module = tiny.build(attention="sdpa")
    assert tiny.load(module) is None, "the tiny form must have random weights"
    llm = cast(LLM, module)

    lengths = (7, 1, 12)
    ids_T = torch.randint(0, text.vocabulary_size, (sum(lengths),))
    x_TE = llm.embed(ids_T)
    assert tuple(x_TE.shape) == (sum(lengths), tiny.embedding_width), (
        f"embeddings have shape {tuple(x_TE.shape)}, width {tiny.embedding_width} is promised"
    )
    h_TE = llm(x_TE, packed(lengths))
    assert h_TE.shape == x_TE.shape, f"hidden states have shape {tuple(h_TE.shape)}"

    alone_TE = llm(x_TE[8:], packed((12,)))
    torch.testing.assert_close(alone_TE, h_TE[8:], rtol=1e-4, atol=1e-5)
    shorter_TE = llm(x_TE[8:14], packed((6,)))
    torch.testing.assert_close(shorter_TE, h_TE[8:14], rtol=1e-4, atol=1e-5)

    logits_LV = llm.head(h_TE).float()
    reference_L = -logits_LV.log_softmax(-1).gather(1, ids_T[:, None])[:, 0]
    torch.testing.assert_close(llm.head(h_TE, ids_T), reference_L, rtol=1e-4, atol=1e-5)
    _check_teaching(llm, h_TE, logits_LV)

    _check_generation(llm, x_TE)


def _check_teaching(llm: LLM, h_LE: torch.Tensor, logits_LV: torch.Tensor) -> None:
    """The head's divergence from a teacher is that of the whole logits."""
    own_LV = (logits_LV / 2).log_softmax(-1)
    taught_LV = own_LV.flip(0)
    wanted_L = (taught_LV.exp() * (taught_LV - own_LV)).sum(-1)
    for logits in (None, llm.head):
        kl_L = llm.head(h_LE, teacher=Teacher(h_LE.flip(0), logits, temperature=2.0))
        torch.testing.assert_close(kl_L, wanted_L, rtol=1e-3, atol=1e-5)


def packed(lengths: tuple[int, ...]) -> PackedLayout:
    """The layout of sequences of these lengths, end to end."""
    positions_T = torch.cat([torch.arange(length) for length in lengths])
    borders = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    return PackedLayout(positions_T, borders, lengths)


def _check_generation(llm: LLM, x_TE: torch.Tensor) -> None:
    """Two prompts at once, one left-padded, give what each gives alone, greedily."""
    long_TE, short_TE = x_TE[8:14], x_TE[8:11]
    x_BTE = torch.stack([long_TE, torch.cat([torch.zeros_like(short_TE), short_TE])])
    mask_BT = torch.tensor([[True] * 6, [False] * 3 + [True] * 3])
    with torch.no_grad():
        both = llm.generate(x_BTE, mask_BT, max_new_tokens=4, stop_ids=())
        alone = llm.generate(short_TE[None], mask_BT[1:, 3:], max_new_tokens=4, stop_ids=())
        first = int(llm.head(llm(long_TE, packed((6,))))[-1].argmax())
    assert [len(ids) for ids in both] == [4, 4], f"4 new tokens were asked for, got {both}"
    assert int(both[0][0]) == first, "the first generated token is not the most likely one"
    assert list(both[1]) == list(alone[0]), "padding on the left changes what is generated"
