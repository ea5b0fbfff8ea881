"""Torch's attention: which way is taken where, and that both ways agree."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from mmcore.interfaces import PackedLayout
from mmcore.kit import torch_attention as under_test
from mmcore.kit.attention import attend
from mmcore.kit.torch_attention import plain_attention, torch_attention

ENTRIES, HEADS, KEY_HEADS, QUERIES, KEYS, WIDTH = 3, 4, 2, 7, 9, 16


def inputs(dtype: torch.dtype, queries: int = QUERIES, keys: int = KEYS) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = [(HEADS, queries), (KEY_HEADS, keys), (KEY_HEADS, keys)]
    return [
        torch.randn(ENTRIES, heads, length, WIDTH, generator=generator).to(dtype).requires_grad_()
        for heads, length in shapes
    ]


def masks() -> dict[str, torch.Tensor | None]:
    visible_BJ = torch.rand(ENTRIES, KEYS, generator=torch.Generator().manual_seed(2)) > 0.4
    visible_BJ[:, 0] = True
    return {
        "none": None,
        "keys": visible_BJ[:, None, None, :],
        "queries and keys": visible_BJ[:, None, None, :].expand(-1, 1, QUERIES, -1),
        "band": torch.ones(QUERIES, KEYS, dtype=torch.bool).tril(2),
    }


@pytest.mark.parametrize("mask", masks().values(), ids=masks())
@pytest.mark.parametrize("scale", [None, 0.1])
def test_plain_products_are_the_fused_kernel(mask, scale):
    q, k, v = inputs(torch.float32)
    plain = plain_attention(q, k, v, mask=mask, scale=scale)
    fused = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True)
    torch.testing.assert_close(plain, fused)
    seed = torch.randn(fused.shape, generator=torch.Generator().manual_seed(3))
    for one, other in zip(
        torch.autograd.grad(plain, (q, k, v), seed),
        torch.autograd.grad(fused, (q, k, v), seed),
        strict=True,
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("autocast", [False, True])
def test_bfloat16_stays_within_its_rounding(autocast):
    q, k, v = inputs(torch.bfloat16, queries=KEYS)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = torch_attention(q, k, v, causal=True)
    assert out.dtype == torch.bfloat16
    exact = [x.detach().double().requires_grad_() for x in (q, k, v)]
    want = scaled_dot_product_attention(*exact, is_causal=True, enable_gqa=True)
    torch.testing.assert_close(out.double(), want, atol=0.03, rtol=0.03)
    got = torch.autograd.grad(out.sum(), (q, k, v))
    for one, other in zip(got, torch.autograd.grad(want.sum(), exact), strict=True):
        torch.testing.assert_close(one.double(), other, atol=0.06, rtol=0.03)


@pytest.mark.parametrize(
    ("dtype", "most", "plain"),
    [
        (torch.bfloat16, 1 << 26, True),
        (torch.bfloat16, 100, False),
        (torch.float32, 1 << 26, False),
    ],
)
def test_which_way_is_taken(monkeypatch, dtype, most, plain):
    taken = []
    monkeypatch.setattr(under_test, "MOST_SCORES", most)
    monkeypatch.setattr(
        under_test,
        "plain_attention",
        lambda *a, **k: taken.append("plain") or plain_attention(*a, **k),
    )
    torch_attention(*inputs(dtype))
    assert bool(taken) is plain


def test_a_query_that_sees_nothing_stays_finite():
    q, k, v = inputs(torch.bfloat16)
    out = torch_attention(q, k, v, mask=torch.zeros(ENTRIES, 1, 1, KEYS, dtype=torch.bool))
    out.sum().backward()
    assert out.isfinite().all()
    assert q.grad.isfinite().all()


@pytest.mark.parametrize("window", [None, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_long_and_short_sequences_of_a_pack_keep_their_places(dtype, window):
    lengths = (5, 70, 1, 6, 90, 64)
    generator = torch.Generator().manual_seed(4)
    q, k, v = (
        torch.randn(sum(lengths), heads, WIDTH, generator=generator).to(dtype)
        for heads in (HEADS, KEY_HEADS, KEY_HEADS)
    )
    layout = PackedLayout(torch.empty(0), torch.empty(0), lengths)
    out_THM = attend(q, k, v, layout, window=window, kernel="sdpa")
    for one, *parts in zip(*(x.split(lengths) for x in (out_THM, q, k, v)), strict=True):
        q_HLM, k_GLM, v_GLM = (x.transpose(0, 1)[None].double() for x in parts)
        places = torch.arange(len(one))
        ago = places[:, None] - places
        mask = (ago >= 0) & (ago < (window or len(one)))
        want = scaled_dot_product_attention(q_HLM, k_GLM, v_GLM, attn_mask=mask, enable_gqa=True)
        tolerance = 1e-5 if dtype == torch.float32 else 0.03
        torch.testing.assert_close(
            one.double(), want[0].transpose(0, 1), atol=tolerance, rtol=tolerance
        )
