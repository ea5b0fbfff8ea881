"""Packed attention against a dense reference, and xformers' path against its own mask."""

from __future__ import annotations

import itertools

import pytest
import torch
import xformers.ops
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.interfaces import PackedLayout
from mmcore.kit.attention import attend, choose_attention, scaled_attention, xformers_mask

HEADS, KEY_HEADS, WIDTH = 4, 2, 8


def layout_of(lengths: list[int]) -> PackedLayout:
    return PackedLayout(
        position_ids_T=torch.cat([torch.arange(n) for n in lengths]),
        cu_seqlens=torch.tensor([0, *itertools.accumulate(lengths)], dtype=torch.int32),
        lengths=tuple(lengths),
    )


def visible(lengths: list[int], window: int | None) -> torch.Tensor:
    """Position by position: the same sequence, not later, not too long ago."""
    owner = [(n, i) for n, length in enumerate(lengths) for i in range(length)]
    rows = [
        [a == b and j <= i and (window is None or i - j < window) for b, j in owner]
        for a, i in owner
    ]
    return torch.tensor(rows)


def reference(q_THM, k_TGM, v_TGM, mask_TT, scale=None):
    k_THM, v_THM = (x.repeat_interleave(HEADS // KEY_HEADS, dim=1) for x in (k_TGM, v_TGM))
    scores_HTT = torch.einsum("thm,jhm->htj", q_THM, k_THM) * (scale or WIDTH**-0.5)
    shares_HTT = scores_HTT.masked_fill(~mask_TT, -torch.inf).softmax(-1)
    return torch.einsum("htj,jhm->thm", shares_HTT, v_THM)


def inputs(tokens: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(tokens)
    return [
        torch.randn(tokens, heads, WIDTH, generator=generator, requires_grad=True)
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    ]


@pytest.fixture
def xformers_on_cpu(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Let xformers' kernel be computed from the mask that it was given; records its shapes."""
    seen: list[tuple[int, ...]] = []

    def kernel(query, key, value, attn_bias=None, scale=None):
        seen.append(tuple(query.shape))
        assert query.shape == key.shape == value.shape, "BMHK with equally many heads"
        scores = torch.einsum("bihm,bjhm->bhij", query, key) * (scale or query.shape[-1] ** -0.5)
        if attn_bias is not None:
            scores = scores + attn_bias.materialize(tuple(scores.shape), dtype=scores.dtype)
        return torch.einsum("bhij,bjhm->bihm", scores.softmax(-1), value)

    monkeypatch.setattr(xformers.ops, "memory_efficient_attention", kernel)
    return seen


@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    window=st.none() | st.integers(1, 10),
    scale=st.none() | st.floats(0.1, 1.0),
)
def test_sdpa_is_the_dense_reference_forward_and_backward(lengths, window, scale):
    q, k, v = inputs(sum(lengths))
    got = attend(q, k, v, layout_of(lengths), window=window, scale=scale, kernel="sdpa")
    want = reference(q, k, v, visible(lengths, window), scale)
    torch.testing.assert_close(got, want, atol=1e-5, rtol=1e-5)
    upstream = torch.randn(got.shape, generator=torch.Generator().manual_seed(1))
    for mine, theirs in zip(
        torch.autograd.grad(got, (q, k, v), upstream),
        torch.autograd.grad(want, (q, k, v), upstream),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("window", [None, 1, 3, 7])
def test_mask_given_to_xformers_is_the_reference_mask(window):
    lengths = [3, 1, 7]
    mask = xformers_mask(layout_of(lengths), window, torch.device("cpu"))
    assert torch.equal(mask.materialize((11, 11)) == 0, visible(lengths, window))


@pytest.mark.parametrize("window", [None, 2, 5, 100])
def test_xformers_path_agrees_with_sdpa(window, xformers_on_cpu):
    lengths = [4, 9, 1]
    q, k, v = inputs(14)
    outs = [
        attend(q, k, v, layout_of(lengths), window=window, scale=0.3, kernel=kernel)
        for kernel in ("sdpa", "xformers")
    ]
    torch.testing.assert_close(outs[0], outs[1], atol=1e-5, rtol=1e-5)
    assert xformers_on_cpu == [(1, 14, HEADS, WIDTH)]


def test_mask_is_made_once_per_pack():
    layout = layout_of([2, 3])
    cpu = torch.device("cpu")
    assert xformers_mask(layout, None, cpu) is xformers_mask(layout, None, cpu)
    assert xformers_mask(layout, 2, cpu) is not xformers_mask(layout, None, cpu)
    assert xformers_mask(layout_of([2, 3]), None, cpu) is not xformers_mask(layout, None, cpu)


def test_layout_of_another_pack_is_refused():
    with pytest.raises(ValueError, match="5 tokens together, the queries 6"):
        attend(*inputs(6), layout_of([2, 3]), kernel="sdpa")


def test_queries_are_brought_to_the_dtype_of_the_values():
    q, k, v = inputs(5)
    out = attend(q, k, v.bfloat16(), layout_of([5]), kernel="sdpa")
    assert out.dtype == torch.bfloat16


def test_hidden_keys_change_nothing(xformers_on_cpu):
    q, k, v = (torch.randn(2, HEADS, n, WIDTH) for n in (3, 6, 6))
    visible_BJ = torch.tensor([[True] * 4 + [False] * 2, [True] * 6])
    for kernel in ("sdpa", "xformers"):
        out = scaled_attention(q, k, v, visible_BJ=visible_BJ, kernel=kernel)
        short = scaled_attention(q[:1], k[:1, :, :4], v[:1, :, :4], kernel="sdpa")
        torch.testing.assert_close(out[:1], short, atol=1e-5, rtol=1e-5)
    assert xformers_on_cpu == []


def test_unmasked_batches_go_to_xformers_as_it_wants_them(xformers_on_cpu):
    q, k, v = (torch.randn(2, HEADS, 6, WIDTH) for _ in range(3))
    outs = [scaled_attention(q, k, v, kernel=kernel) for kernel in ("sdpa", "xformers")]
    torch.testing.assert_close(outs[0], outs[1], atol=1e-5, rtol=1e-5)
    assert xformers_on_cpu == [(2, 6, HEADS, WIDTH)]


def test_choice_of_the_kernel():
    assert choose_attention("auto", "cpu") == "sdpa"
    assert choose_attention("auto", "cuda:0") == "xformers"
    assert choose_attention("xformers", "cuda") == "xformers"
    assert choose_attention("sdpa", "cuda") == "sdpa"
    with pytest.raises(ValueError, match=r"'xformers', but the device is 'cpu'.*no kernels"):
        choose_attention("xformers", "cpu")


def test_without_xformers_the_choice_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_attention("auto", "cuda") == "sdpa"
    with pytest.raises(ValueError, match="xformers is not installed"):
        choose_attention("xformers", "cuda")
