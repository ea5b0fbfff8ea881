"""BLIP-2's Q-Former: queries that gather what the patches show, in a BERT that can read a text too.

Letters: N views, P patches of a view, D encoder width, Q queries, F width of the layers, E LLM
width, B pairs of a picture and a text, W tokens of a text, X width in which both are compared,
S = Q + W what attends, I queries and J keys of an attention, H heads, M width of a head,
V vocabulary.
"""

from __future__ import annotations

import functools
from typing import Final

import torch
from torch import nn
from torch.nn.functional import normalize, pad
from transformers import AttentionInterface, Blip2QFormerConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2QFormerModel, Blip2TextEmbeddings

from mmcore.interfaces import CAPTION, CONTRAST, MATCH, Attention
from mmcore.kit.attention import scaled_attention
from mmcore_samplers.qformer_heads import CaptionHead, Temperature, WordEmbeddings

POSITIONS: Final = 512
"""Places of a text that BERT knows."""


class QFormer(nn.Module):
    """Learned queries in a BERT, every few layers of which attend to the patches.

    The layers are transformers' own. With a text tower the same layers also read texts: queries and
    words have feed-forward layers of their own, and share the self-attention. Queries are read out
    by ``language_projection`` (for the LLM), ``vision_projection`` and ``itm_head``; words by
    ``text_projection`` and ``caption``.

    Where every key is seen, attention is the recipe's kernel; where a mask hides some, as those of
    patches and texts do, torch's kernel serves both (see ``scaled_attention``).

    A picture of which every patch is hidden is looked at as if all were shown: a softmax over
    nothing has no value.

    Source: BLIP-2 (arXiv:2301.12597) section 3; there is no dropout here, BLIP-2 has 0.1.

    Args:
        dim_in: D.
        dim_out: E.
        queries: Q.
        width: F.
        layers: how many there are.
        heads: H.
        mlp_width: inner width of the feed-forward layers.
        cross_attention_frequency: every so many layers, from the first on, attend to the patches.
        vocabulary: V, the last row of which begins a caption; None: no text tower.
        compare_width: X.
        attention: which kernel is used.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        queries: int,
        width: int,
        layers: int,
        heads: int,
        mlp_width: int,
        cross_attention_frequency: int,
        vocabulary: int | None,
        compare_width: int,
        attention: Attention,
    ) -> None:
        super().__init__()
        config = Blip2QFormerConfig(
            vocab_size=vocabulary or 1,
            hidden_size=width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            intermediate_size=mlp_width,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            max_position_embeddings=POSITIONS,
            pad_token_id=None,  # a padding row of the embedding would get no gradient
            cross_attention_frequency=cross_attention_frequency,
            encoder_hidden_size=dim_in,
            use_qformer_text_input=vocabulary is not None,
        )
        config._attn_implementation = _registered(attention)
        self.query_tokens = Queries(queries, width, config.initializer_range)
        self.qformer = Blip2QFormerModel(config)
        self.language_projection = nn.Linear(width, dim_out)
        self.begin_id = (vocabulary or 0) - 1
        if vocabulary is not None:
            self.embeddings = Blip2TextEmbeddings(config)  # type: ignore[no-untyped-call]
            self.embeddings.word_embeddings = WordEmbeddings(vocabulary, width)
            for table in (self.embeddings.word_embeddings, self.embeddings.position_embeddings):
                nn.init.normal_(table.weight, std=config.initializer_range)
            self.vision_projection = nn.Linear(width, compare_width)
            self.text_projection = nn.Linear(width, compare_width)
            self.temperature = Temperature()
            self.itm_head = nn.Linear(width, 2)
            self.caption = CaptionHead(width, vocabulary, config.layer_norm_eps)

    def forward(self, features_NPD: torch.Tensor, patch_mask_NP: torch.Tensor) -> torch.Tensor:
        """``features_NPD, patch_mask_NP -> tokens_NQE``."""
        tokens_NQE: torch.Tensor = self.language_projection(self._seen(features_NPD, patch_mask_NP))
        return tokens_NQE

    def provide(
        self,
        wanted: str,
        features_NPD: torch.Tensor,
        patch_mask_NP: torch.Tensor,
        view_B: torch.Tensor,
        ids_BW: torch.Tensor,
        mask_BW: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """What is ``wanted`` of B pairs; see ``mmcore.interfaces.PairedSampler``."""
        ways = {CONTRAST: self._contrast, MATCH: self._match, CAPTION: self._caption}
        if self.begin_id < 0 or wanted not in ways:
            raise ValueError(f"{wanted!r} is wanted of a Q-Former; it provides {self._provides()}")
        return ways[wanted](features_NPD[view_B], patch_mask_NP[view_B], ids_BW, mask_BW)

    def _provides(self) -> str:
        return ", ".join((CONTRAST, MATCH, CAPTION)) if self.begin_id >= 0 else "tokens alone"

    def _contrast(
        self,
        features_BPD: torch.Tensor,
        patch_mask_BP: torch.Tensor,
        ids_BW: torch.Tensor,
        mask_BW: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """The queries without the text, and the text's first word without the queries."""
        seen_BQF = self._seen(features_BPD, patch_mask_BP)
        read_BWF = self.qformer(
            query_embeds=self.embeddings(input_ids=ids_BW),
            query_length=0,
            attention_mask=_first_at_least(mask_BW)[:, None, None],
        ).last_hidden_state
        picture_BQX = normalize(self.vision_projection(seen_BQF).float(), dim=-1)
        text_BX = normalize(self.text_projection(read_BWF[:, 0]).float(), dim=-1)
        return picture_BQX, self.temperature(text_BX)

    def _match(
        self,
        features_BPD: torch.Tensor,
        patch_mask_BP: torch.Tensor,
        ids_BW: torch.Tensor,
        mask_BW: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Queries and words see all of each other; every query has a vote."""
        queries = self.query_tokens.count
        visible_BS = torch.cat([mask_BW.new_ones(len(mask_BW), queries), mask_BW], dim=1)
        both_BSF = self._together(features_BPD, patch_mask_BP, ids_BW, visible_BS[:, None])
        logits_B2: torch.Tensor = self.itm_head(both_BSF[:, :queries]).float().mean(dim=1)
        return (logits_B2,)

    def _caption(
        self,
        features_BPD: torch.Tensor,
        patch_mask_BP: torch.Tensor,
        ids_BW: torch.Tensor,
        mask_BW: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        """Every word sees the queries and the words up to itself, and says the next one; the first
        word is one that only begins captions."""
        queries = self.query_tokens.count
        begun_BW = torch.cat([torch.full_like(ids_BW[:, :1], self.begin_id), ids_BW[:, 1:]], dim=1)
        both_BSF = self._together(
            features_BPD, patch_mask_BP, begun_BW, caption_mask(mask_BW, queries)
        )
        told_BF = both_BSF[:, queries:-1].flatten(0, 1)
        said = self.caption(told_BF, self.embeddings.word_embeddings, ids_BW[:, 1:].flatten())
        return tuple(pad(one.view(len(ids_BW), -1), (1, 0)) * mask_BW for one in said)

    def _seen(self, features_NPD: torch.Tensor, patch_mask_NP: torch.Tensor) -> torch.Tensor:
        """``seen_NQF``: the queries, after they looked at views and read nothing."""
        seen_NQF: torch.Tensor = self.qformer(
            query_embeds=self.query_tokens(len(features_NPD)),
            encoder_hidden_states=features_NPD,
            encoder_attention_mask=_all_if_none(patch_mask_NP)[:, None, None],
        ).last_hidden_state
        return seen_NQF

    def _together(
        self,
        features_BPD: torch.Tensor,
        patch_mask_BP: torch.Tensor,
        ids_BW: torch.Tensor,
        visible_BIJ: torch.Tensor,
    ) -> torch.Tensor:
        """``both_BSF``: queries and words after all layers; I is S, or 1 for all alike."""
        queries_BQF = self.query_tokens(len(features_BPD))
        both_BSF: torch.Tensor = self.qformer(
            query_embeds=self.embeddings(input_ids=ids_BW, query_embeds=queries_BQF),
            query_length=queries_BQF.shape[1],
            attention_mask=visible_BIJ[:, None],
            encoder_hidden_states=features_BPD,
            encoder_attention_mask=_all_if_none(patch_mask_BP)[:, None, None],
        ).last_hidden_state
        return both_BSF


class Queries(nn.Module):
    """The learned queries. A module of its own, so that whoever gathers weights as modules are
    entered finds them, whichever way the Q-Former is used.

    Args:
        count: Q.
        width: F.
        std: standard deviation of their initial values.
    """

    def __init__(self, count: int, width: int, std: float) -> None:
        super().__init__()
        self.count = count
        self.weight = nn.Parameter(torch.randn(1, count, width) * std)

    def forward(self, entries: int) -> torch.Tensor:
        """So many times the same: ``queries_NQF``."""
        return self.weight.expand(entries, -1, -1)


def caption_mask(mask_BW: torch.Tensor, queries: int) -> torch.Tensor:
    """Who sees whom while a picture is told, ``visible_BSS``: queries see queries; a word sees the
    queries, and itself and the words before it that are there."""
    words = mask_BW.shape[1]
    places_S = torch.arange(queries + words, device=mask_BW.device)
    before_SS = places_S <= places_S[:, None]
    before_SS[:queries] = places_S < queries
    there_BS = torch.cat([mask_BW.new_ones(len(mask_BW), queries), mask_BW], dim=1)
    return before_SS & there_BS[:, None]


def _first_at_least(mask_BW: torch.Tensor) -> torch.Tensor:
    """With the first word shown, also of a text of which nothing is there."""
    return mask_BW | (torch.arange(mask_BW.shape[1], device=mask_BW.device) == 0)


def _all_if_none(mask_NP: torch.Tensor) -> torch.Tensor:
    """With everything shown where nothing was."""
    return mask_NP | ~mask_NP.any(dim=1, keepdim=True)


def _registered(kernel: Attention) -> str:
    """Make a kernel known to transformers; its name there.

    There is no mask function under this name: the masks that the Q-Former is given are passed on as
    they are.
    """
    name = f"mmcore-qformer-{kernel}"
    AttentionInterface.register(name, functools.partial(_attend, kernel=kernel))
    return name


def _attend(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    kernel: Attention,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """What transformers calls: ``query`` BHIM, ``key`` and ``value`` BHJM, mask (B, 1, 1 or I, J)
    -> BIHM. The scale is that of BERT, which is the kernel's own."""
    visible_BIJ = None if attention_mask is None else attention_mask[:, 0]
    out_BHIM = scaled_attention(query, key, value, visible_BIJ=visible_BIJ, kernel=kernel)
    return out_BHIM.transpose(1, 2), None
