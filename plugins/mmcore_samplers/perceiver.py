"""The perceiver resampler of BLIP-3: learned queries gather what the patches show.

Letters: N views, P patches of a view, D encoder width, Q queries, J = P + Q keys, E LLM width,
H heads, M width of a head.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from mmcore.interfaces import Attention
from mmcore.kit.attention import scaled_attention


class Perceiver(nn.Module):
    """Queries that attend, layer by layer, to the patches and to themselves.

    No positions: the order of the patches does not matter. The names and shapes of its parameters
    are those of the released xGen-MM ``vision_tokenizer``.

    Source: BLIP-3 (arXiv:2408.08872) section 3; the resampler of Flamingo (arXiv:2204.14198).

    Args:
        dim_in: D, also the width of the queries.
        dim_out: E.
        queries: Q.
        depth: number of layers.
        heads: H.
        head_dim: M; ``H * M`` need not be D.
        ff_mult: inner width of the feed-forward layers as a multiple of D.
        latent_std: standard deviation of the initial queries.
        recompute: keep only every layer's queries for the backward pass and compute the rest again.
        attention: which kernel is used.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        queries: int,
        depth: int,
        heads: int,
        head_dim: int,
        ff_mult: int,
        latent_std: float,
        recompute: bool = False,
        attention: Attention,
    ) -> None:
        super().__init__()
        self.recompute = recompute
        self.latents = nn.Parameter(torch.randn(queries, dim_in) * latent_std)
        self.layers = nn.ModuleList(
            nn.ModuleList(
                [
                    PerceiverAttention(dim_in, heads, head_dim, attention),
                    feed_forward(dim_in, ff_mult),
                ]
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(dim_in)
        self.projection = nn.Linear(dim_in, dim_out)

    def forward(self, features_NPD: torch.Tensor, patch_mask_NP: torch.Tensor) -> torch.Tensor:
        """``features_NPD, patch_mask_NP -> tokens_NQE``; hidden patches change nothing."""
        views = features_NPD.shape[0]
        latents_NQD = self.latents.expand(views, -1, -1)
        always_NQ = patch_mask_NP.new_ones(views, self.latents.shape[0])
        visible_NJ = torch.cat([patch_mask_NP, always_NQ], dim=1)
        again = self.recompute and torch.is_grad_enabled()
        for layer in self.layers:
            inputs = (layer, features_NPD, latents_NQD, visible_NJ)
            if again:  # no dropout inside: there is no random state to keep
                latents_NQD = checkpoint(
                    _through, *inputs, use_reentrant=False, preserve_rng_state=False
                )
            else:
                latents_NQD = _through(*inputs)
        tokens_NQE: torch.Tensor = self.projection(self.norm(latents_NQD))
        return tokens_NQE


def _through(
    layer: nn.Module,
    features_NPD: torch.Tensor,
    latents_NQD: torch.Tensor,
    visible_NJ: torch.Tensor,
) -> torch.Tensor:
    """A layer: the queries gather, and think."""
    assert isinstance(layer, nn.ModuleList)
    gather, think = layer
    latents_NQD = latents_NQD + gather(features_NPD, latents_NQD, visible_NJ)
    return latents_NQD + think(latents_NQD)  # type: ignore[no-any-return]  # an untyped call


class PerceiverAttention(nn.Module):
    """Queries attend to patches and queries alike, each normed by itself.

    As queries always see one another, a view whose patches are all hidden stays finite.

    Args:
        dim: D.
        heads: H.
        head_dim: M.
        attention: which kernel is used.
    """

    def __init__(self, dim: int, heads: int, head_dim: int, attention: Attention) -> None:
        super().__init__()
        self.heads = heads
        self.attention = attention
        self.norm_media = nn.LayerNorm(dim)
        self.norm_latents = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * head_dim, bias=False)
        self.to_kv = nn.Linear(dim, 2 * heads * head_dim, bias=False)
        self.to_out = nn.Linear(heads * head_dim, dim, bias=False)

    def forward(
        self, media_NPD: torch.Tensor, latents_NQD: torch.Tensor, visible_NJ: torch.Tensor
    ) -> torch.Tensor:
        """``media_NPD, latents_NQD, visible_NJ`` (patches, then queries) -> the update of NQD."""
        latents_NQD = self.norm_latents(latents_NQD)
        context_NJD = torch.cat([self.norm_media(media_NPD), latents_NQD], dim=1)
        k_NJX, v_NJX = self.to_kv(context_NJD).chunk(2, dim=-1)
        out_NHQM = scaled_attention(
            self._heads(self.to_q(latents_NQD)),
            self._heads(k_NJX),
            self._heads(v_NJX),
            visible_BJ=visible_NJ,
            kernel=self.attention,
        )
        update_NQD: torch.Tensor = self.to_out(out_NHQM.transpose(1, 2).flatten(2))
        return update_NQD

    def _heads(self, x_NIX: torch.Tensor) -> torch.Tensor:
        views, tokens, _ = x_NIX.shape
        return x_NIX.view(views, tokens, self.heads, -1).transpose(1, 2)


def feed_forward(dim: int, mult: int) -> nn.Sequential:
    """Norm, widen by ``mult``, exact GELU, narrow; without biases (D -> D)."""
    return nn.Sequential(
        nn.LayerNorm(dim),
        nn.Linear(dim, dim * mult, bias=False),
        nn.GELU(),
        nn.Linear(dim * mult, dim, bias=False),
    )
