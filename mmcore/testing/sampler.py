"""What a token sampler promises.

Letters: N views, P patches of a view, D encoder width, Q tokens of a view, I tokens of an
instruction, E LLM width, B pairs of a picture and a text, W tokens of a text, X width in which both
are compared.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from mmcore.interfaces import (
    CAPTION,
    CONTRAST,
    MATCH,
    TOKENS,
    PairedSampler,
    PatchGrid,
    TokenSamplerSpec,
)
from mmcore.testing.spec import check_spec

N, D, E = 3, 24, 40
GRIDS = (PatchGrid(4, 4), PatchGrid(3, 5))
"""Of the views that the tiny form is shown; it may refuse the second, but no square one."""

LARGE = (PatchGrid(24, 24), PatchGrid(27, 27), PatchGrid(16, 24))
"""Where the form at full widths must make as many tokens as the component itself."""


def check_token_sampler(spec: TokenSamplerSpec) -> None:
    """The tiny form gives the promised number of tokens, view by view, also where all is hidden.

    Raises:
        AssertionError: what is broken, with the shapes or values.
    """
    tiny, thin = spec.tiny(), spec.thin()
    assert type(tiny) is type(spec), f"tiny() changed the class to {type(tiny).__qualname__}"
    check_spec(tiny)
    check_spec(thin)
    for grid in LARGE:
        made, wanted = promised(thin, grid), promised(spec, grid)
        assert made == wanted, f"thin() makes {made} tokens of {grid} patches, the spec {wanted}"
    assert promised(tiny, GRIDS[0]), f"tiny() refuses views of {GRIDS[0]} patches"
    for grid in GRIDS:
        if promised(tiny, grid):
            _check_tokens(tiny, grid)
    _check_initial_values(tiny)
    if tiny.max_instruction:
        assert spec.max_instruction, "the tiny form reads instructions, the component does not"
        _check_instructions(tiny)
    if tiny.provides:
        assert spec.provides >= tiny.provides, "the tiny form provides what the component does not"
        _check_pairs(tiny)


def promised(spec: TokenSamplerSpec, grid: PatchGrid) -> int | None:
    """The tokens of a view; None where such views are refused, as the interface allows."""
    try:
        return spec.tokens_per_view(grid)
    except ValueError:
        return None


def _check_tokens(tiny: TokenSamplerSpec, grid: PatchGrid) -> None:
    sampler = _built(tiny, grid)
    assert tiny.load(sampler) is None, "the tiny form must have random weights"
    patches = grid.patches
    features_NPD = torch.randn(N, patches, D, requires_grad=True)
    mask_NP = torch.ones(N, patches, dtype=torch.bool)
    mask_NP[1, patches // 2 :] = False
    mask_NP[2] = False

    tokens_NQE = sampler(features_NPD, mask_NP)
    wanted = (N, tiny.tokens_per_view(grid), E)
    assert tuple(tokens_NQE.shape) == wanted, (
        f"tokens have shape {tuple(tokens_NQE.shape)}, the spec promises {wanted}"
    )
    assert tokens_NQE.isfinite().all(), "tokens are not finite; view 2 is wholly masked"

    alone_1QE = sampler(features_NPD[1:2], mask_NP[1:2])
    torch.testing.assert_close(alone_1QE[0], tokens_NQE[1], rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        rough_NQE = sampler(features_NPD, mask_NP)
    assert rough_NQE.isfinite().all(), "tokens are not finite in bfloat16"

    tokens_NQE.square().sum().backward()
    silent = _silent(sampler) - tiny.unused(_names(sampler), frozenset({TOKENS}))
    assert not silent, f"parameters without a gradient: {sorted(silent)}"
    assert features_NPD.grad is not None, "no gradient reaches the encoder"
    assert features_NPD.grad[0].abs().sum() > 0, "no gradient reaches the encoder"


def _check_instructions(tiny: TokenSamplerSpec) -> None:
    """Views with a whole instruction, a short one, and none."""
    sampler, grid = _built(tiny, GRIDS[0]), GRIDS[0]
    features_NPD, shown_NP = torch.randn(N, grid.patches, D), torch.ones(N, grid.patches) > 0
    asked_NIE = torch.randn(N, 5, E, requires_grad=True)
    mask_NI = torch.arange(5) < torch.tensor([[5], [2], [0]])

    tokens_NQE = sampler(features_NPD, shown_NP, asked_NIE, mask_NI)
    alone_NQE = sampler(features_NPD, shown_NP)
    assert tokens_NQE.shape == alone_NQE.shape, (
        f"instructions change the tokens' shape from {tuple(alone_NQE.shape)} to "
        f"{tuple(tokens_NQE.shape)}"
    )
    torch.testing.assert_close(tokens_NQE[2], alone_NQE[2], rtol=1e-4, atol=1e-5)
    moved = (tokens_NQE - alone_NQE).abs().amax((1, 2))
    assert (moved[:2] > 1e-6).all(), f"instructions change nothing: {moved.tolist()}"
    other_NIE = asked_NIE.masked_fill(~mask_NI[..., None], 3.0)
    other_NQE = sampler(features_NPD, shown_NP, other_NIE, mask_NI)
    torch.testing.assert_close(other_NQE, tokens_NQE, rtol=1e-4, atol=1e-5)

    with torch.autocast("cpu", torch.bfloat16):
        rough_NQE = sampler(features_NPD, shown_NP, asked_NIE, mask_NI)
    assert rough_NQE.isfinite().all(), "tokens are not finite in bfloat16"

    tokens_NQE.square().sum().backward()
    assert asked_NIE.grad is not None, "no gradient reaches the instructions"
    learns_NI = asked_NIE.grad.abs().sum(2) > 0
    assert torch.equal(learns_NI, mask_NI), f"gradients reach {learns_NI}, wanted {mask_NI}"


def _check_pairs(tiny: TokenSamplerSpec) -> None:
    """Three pairs of two views, with texts of unlike lengths."""
    speak = tiny.pair_text()
    assert speak is not None, f"it provides {sorted(tiny.provides)}, and tokenises no text"
    texts = [list(speak(words)) for words in ("a cat", "of", "two dogs, 3 cats")]
    longest = max(map(len, texts))
    ids_BW = torch.tensor([ids + [0] * (longest - len(ids)) for ids in texts])
    mask_BW = torch.tensor([[place < len(ids) for place in range(longest)] for ids in texts])
    for wanted in sorted(tiny.provides):
        sampler, patches = _built(tiny, GRIDS[0]), GRIDS[0].patches
        features_NPD, shown_NP = torch.randn(N, patches, D), torch.ones(N, patches) > 0
        shown_NP[1] = False
        views = features_NPD, shown_NP, torch.tensor([2, 0, 1])
        provided = _paired(sampler).provide(wanted, *views, ids_BW, mask_BW)
        _check_provided(wanted, provided, ids_BW, mask_BW)
        other_BW = ids_BW.masked_fill(~mask_BW, 5)
        again = _paired(sampler).provide(wanted, *views, other_BW, mask_BW)
        for one, same in zip(provided, again, strict=True):
            torch.testing.assert_close(one, same, rtol=1e-4, atol=1e-5)
        weighed = [(one * torch.randn_like(one)).sum() for one in provided]
        torch.autograd.backward(weighed)
        unused = tiny.unused(_names(sampler), frozenset({wanted}))
        silent = _silent(sampler) - unused
        assert not silent, f"parameters without a gradient for {wanted!r}: {sorted(silent)}"
        taught = {name for name, one in sampler.named_parameters() if one.grad is not None}
        assert not taught & unused, f"called unused for {wanted!r}: {sorted(taught & unused)}"


def _check_provided(
    wanted: str, provided: tuple[torch.Tensor, ...], ids_BW: torch.Tensor, mask_BW: torch.Tensor
) -> None:
    assert all(one.isfinite().all() for one in provided), f"{wanted!r} is not finite"
    pairs = len(ids_BW)
    if wanted == CONTRAST:
        picture_BQX, text_BX = provided
        shapes = f"{wanted!r}: shapes {list(picture_BQX.shape)} and {list(text_BX.shape)}"
        assert picture_BQX.dim() == 3, shapes
        assert picture_BQX.shape[::2] == text_BX.shape == (pairs, text_BX.shape[1]), shapes
        length_BQ = picture_BQX.norm(dim=-1)
        torch.testing.assert_close(length_BQ, torch.ones_like(length_BQ))
        length_B = text_BX.norm(dim=-1)
        torch.testing.assert_close(length_B, length_B[:1].expand(pairs))
    elif wanted == MATCH:
        [logits_B2] = provided
        assert logits_B2.shape == (pairs, 2), f"{wanted!r}: shape {list(logits_B2.shape)}"
    elif wanted == CAPTION:
        told_BW = mask_BW.clone()
        told_BW[:, 0] = False
        nll_BW, spread_BW = provided
        for one_BW in (nll_BW, spread_BW):
            assert one_BW.shape == ids_BW.shape, f"{wanted!r}: shape {list(one_BW.shape)}"
            assert ((one_BW > 0) == told_BW).all(), f"{wanted!r}: said elsewhere than {told_BW}"


def _names(sampler: nn.Module) -> list[str]:
    return [name for name, _ in sampler.named_parameters()]


def _silent(sampler: nn.Module) -> frozenset[str]:
    parameters = sampler.named_parameters()
    return frozenset(name for name, one in parameters if one.requires_grad and one.grad is None)


def _paired(sampler: nn.Module) -> PairedSampler:
    return cast(PairedSampler, sampler)  # torch does not know which module it is


def _check_initial_values(tiny: TokenSamplerSpec) -> None:
    one, other = (dict(_built(tiny, GRIDS[0]).named_parameters()) for _ in range(2))
    changed = [name for name, value in one.items() if not torch.equal(value, other[name])]
    assert not changed, f"initial values do not follow from torch's seed: {changed}"


def _built(tiny: TokenSamplerSpec, grid: PatchGrid) -> nn.Module:
    torch.manual_seed(0)
    return tiny.build(dim_in=D, dim_out=E, grid=grid, attention="sdpa")
