"""What a token sampler promises.

Letters: N views, P patches of a view, D encoder width, Q tokens of a view, E LLM width.
"""

from __future__ import annotations

import torch

from mmcore.interfaces import TokenSamplerSpec
from mmcore.testing.spec import check_spec

N, P, D, E = 3, 16, 24, 40


def check_token_sampler(spec: TokenSamplerSpec) -> None:
    """The tiny form gives the promised number of tokens, view by view, also where all is hidden.

    Raises:
        AssertionError: what is broken, with the shapes or values.
    """
    tiny, thin = spec.tiny(), spec.thin()
    assert type(tiny) is type(spec), f"tiny() changed the class to {type(tiny).__qualname__}"
    check_spec(tiny)
    check_spec(thin)
    assert thin.tokens_per_view(P) == spec.tokens_per_view(P), (
        f"thin() changed the tokens of a view to {thin.tokens_per_view(P)}"
    )
    torch.manual_seed(0)
    sampler = tiny.build(dim_in=D, dim_out=E, attention="sdpa")
    assert tiny.load(sampler) is None, "the tiny form must have random weights"
    features_NPD = torch.randn(N, P, D, requires_grad=True)
    mask_NP = torch.ones(N, P, dtype=torch.bool)
    mask_NP[1, P // 2 :] = False
    mask_NP[2] = False

    tokens_NQE = sampler(features_NPD, mask_NP)
    wanted = (N, tiny.tokens_per_view(P), E)
    assert tuple(tokens_NQE.shape) == wanted, (
        f"tokens have shape {tuple(tokens_NQE.shape)}, the spec promises {wanted}"
    )
    assert tokens_NQE.isfinite().all(), "tokens are not finite; view 2 is wholly masked"

    alone_1QE = sampler(features_NPD[1:2], mask_NP[1:2])
    torch.testing.assert_close(alone_1QE[0], tokens_NQE[1], rtol=1e-4, atol=1e-5)

    tokens_NQE.square().sum().backward()
    silent = [name for name, p in sampler.named_parameters() if p.requires_grad and p.grad is None]
    assert not silent, f"parameters without a gradient: {silent}"
    assert features_NPD.grad is not None, "no gradient reaches the encoder"
    assert features_NPD.grad[0].abs().sum() > 0, "no gradient reaches the encoder"
