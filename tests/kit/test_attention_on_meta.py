"""Attention without values: its work and its kept tensors, against pairs counted one by one.

Letters: B batch entries, H query heads, G key heads, I queries, J keys, M width, T packed tokens.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention

from mmcore.interfaces import PackedLayout
from mmcore.kit.attention import attend
from mmcore.kit.attention_on_meta import FusedAttention, causal_pairs
from mmcore.planning.recorder import Recorder


def meta(*shape):
    return torch.empty(*shape, device="meta", requires_grad=True)


def layout_of(lengths):
    ends = torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)
    return PackedLayout(torch.cat([torch.arange(n) for n in lengths]), ends, tuple(lengths))


@given(st.integers(1, 12), st.none() | st.integers(1, 14))
def test_causal_pairs_are_those_of_a_mask(length, window):
    places = torch.arange(length)
    back = places[:, None] - places
    seen = (back >= 0) & (back < (window or length))
    assert causal_pairs(length, window) == int(seen.sum())


@pytest.mark.parametrize(
    ("window", "pairs"),
    [
        (None, 5 * 6 // 2 + 3 * 4 // 2),
        # 1 + 2 + 2 + 2 + 2 of the longer sequence, 1 + 2 + 2 of the shorter.
        (2, 9 + 5),
    ],
)
@pytest.mark.parametrize("kernel", ["sdpa", "xformers"])
def test_work_of_packed_sequences(window, pairs, kernel):
    heads, width = 4, 8
    q_THM, k_TGM, v_TGM = meta(8, heads, width), meta(8, 2, width), meta(8, 2, width)
    with Recorder([q_THM, k_TGM, v_TGM]) as recorder:
        out_THM = attend(q_THM, k_TGM, v_TGM, layout_of([5, 3]), window=window, kernel=kernel)
        assert out_THM.shape == q_THM.shape
        recorder.in_backward = True
        torch.autograd.backward(out_THM.sum())
    scores = 2 * heads * width * pairs
    assert recorder.flops["forward"] == 2 * scores
    assert recorder.flops["backward"] == 5 * scores
    assert q_THM.grad.shape == q_THM.shape
    assert k_TGM.grad.shape == k_TGM.shape


def test_torchs_kernel_fills_up_sequences_of_like_length():
    """Seven and five go side by side, as two of seven."""
    q_THM = meta(12, 1, 8)
    with Recorder([q_THM]) as recorder:
        attend(q_THM, q_THM, q_THM, layout_of([7, 5]), kernel="sdpa")
    assert recorder.flops["forward"] == 2 * 2 * 8 * 2 * 28


def test_a_fused_kernel_keeps_no_scores():
    """Queries, keys, values, output, and one number a query."""
    q_BHIM, k_BHJM, v_BHJM = meta(2, 3, 7, 8), meta(2, 3, 11, 8), meta(2, 3, 11, 8)
    kept = []
    with FusedAttention(), torch.autograd.graph.saved_tensors_hooks(kept.append, lambda one: one):
        out_BHIM = scaled_dot_product_attention(q_BHIM, k_BHJM, v_BHJM)
    assert out_BHIM.shape == (2, 3, 7, 8)
    shapes = [tuple(one.shape) for one in kept]
    assert sorted(shapes) == [(2, 3, 7), *[(2, 3, 7, 8)] * 2, *[(2, 3, 11, 8)] * 2]


@pytest.mark.parametrize("causal", [False, True])
def test_torchs_own_function_counts_all_entries(causal):
    q, k, v = meta(2, 3, 5, 8), meta(2, 3, 5, 8), meta(2, 3, 5, 8)
    with Recorder([q, k, v]) as recorder, FusedAttention():
        scaled_dot_product_attention(q, k, v, is_causal=causal)
    pairs = 2 * (15 if causal else 25)
    assert recorder.flops["forward"] == 2 * 2 * 3 * 8 * pairs


@pytest.mark.parametrize("shape", [(5, 8), (3, 5, 8), (2, 2, 3, 5, 8)])
def test_leading_dimensions_are_given_back(shape):
    with FusedAttention():
        out = scaled_dot_product_attention(meta(*shape), meta(*shape), meta(*shape))
    assert out.shape == shape


def test_a_window_costs_what_it_shows():
    assert causal_pairs(1000, 10) == 10 * 1000 - 45
