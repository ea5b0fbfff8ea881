"""The perceiver resampler of BLIP-3: learned queries gather what the patches show.

Letters: N views, P patches of a view, D encoder width, Q queries, I tokens of an instruction,
S = Q + I what attends, J = P + S keys, E LLM width, H heads, M width of a head.
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

    With ``instruction``, the text that a view is looked at for goes with the queries through all
    layers, as further queries, and is left behind at the end: BLIP-3's ablation of an
    instruction-aware sampler, after InstructBLIP (arXiv:2305.06500). A view without an instruction
    becomes what it would become without all this.

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
        instruction: whether it reads the instruction of a view; one more projection, from E to D.
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
        instruction: bool = False,
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
        self.text_projection = nn.Linear(dim_out, dim_in, bias=False) if instruction else None

    def forward(
        self,
        features_NPD: torch.Tensor,
        patch_mask_NP: torch.Tensor,
        instruction_NIE: torch.Tensor | None = None,
        instruction_mask_NI: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """``features_NPD, patch_mask_NP -> tokens_NQE``; hidden patches change nothing, and neither
        does what ``instruction_mask_NI`` hides."""
        views, queries = features_NPD.shape[0], self.latents.shape[0]
        latents_NSD = self.latents.expand(views, -1, -1)
        visible_NJ = torch.cat([patch_mask_NP, patch_mask_NP.new_ones(views, queries)], dim=1)
        if self.text_projection is not None:
            if instruction_NIE is None or instruction_mask_NI is None:
                instruction_NIE = features_NPD.new_zeros(views, 1, self.projection.out_features)
                instruction_mask_NI = patch_mask_NP.new_zeros(views, 1)
            words_NID = self.text_projection(instruction_NIE)
            latents_NSD = torch.cat([latents_NSD, words_NID.to(latents_NSD.dtype)], dim=1)
            visible_NJ = torch.cat([visible_NJ, instruction_mask_NI], dim=1)
        latents_NSD = self._through_layers(features_NPD, latents_NSD, visible_NJ)
        tokens_NQE: torch.Tensor = self.projection(self.norm(latents_NSD[:, :queries]))
        return tokens_NQE

    def _through_layers(
        self, features_NPD: torch.Tensor, latents_NSD: torch.Tensor, visible_NJ: torch.Tensor
    ) -> torch.Tensor:
        again = self.recompute and torch.is_grad_enabled()
        for layer in self.layers:
            inputs = (layer, features_NPD, latents_NSD, visible_NJ)
            if again:  # no dropout inside: there is no random state to keep
                latents_NSD = checkpoint(
                    _through, *inputs, use_reentrant=False, preserve_rng_state=False
                )
            else:
                latents_NSD = _through(*inputs)
        return latents_NSD


def _through(
    layer: nn.Module,
    features_NPD: torch.Tensor,
    latents_NSD: torch.Tensor,
    visible_NJ: torch.Tensor,
) -> torch.Tensor:
    """A layer: the queries gather, and think."""
    assert isinstance(layer, nn.ModuleList)
    gather, think = layer
    latents_NSD = latents_NSD + gather(features_NPD, latents_NSD, visible_NJ)
    return latents_NSD + think(latents_NSD)  # type: ignore[no-any-return]  # an untyped call


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
        self, media_NPD: torch.Tensor, latents_NSD: torch.Tensor, visible_NJ: torch.Tensor
    ) -> torch.Tensor:
        """``media_NPD, latents_NSD, visible_NJ`` (patches, then queries) -> the update of NSD."""
        latents_NSD = self.norm_latents(latents_NSD)
        context_NJD = torch.cat([self.norm_media(media_NPD), latents_NSD], dim=1)
        k_NJX, v_NJX = self.to_kv(context_NJD).chunk(2, dim=-1)
        out_NHSM = scaled_attention(
            self._heads(self.to_q(latents_NSD)),
            self._heads(k_NJX),
            self._heads(v_NJX),
            visible_BJ=visible_NJ,
            kernel=self.attention,
        )
        update_NSD: torch.Tensor = self.to_out(out_NHSM.transpose(1, 2).flatten(2))
        return update_NSD

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
