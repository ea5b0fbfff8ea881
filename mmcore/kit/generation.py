"""Continue left-padded prompts token by token, greedily or by nucleus sampling.

Letters: B prompts, T tokens of the padded prompts, E LLM width, V vocabulary, I queries, J keys.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn
from transformers import Cache, DynamicCache

from mmcore.kit.longrope import PackedLongRope


@torch.no_grad()
def continue_prompts(
    model: Any,
    head: nn.Module,
    x_BTE: torch.Tensor,
    mask_BT: torch.Tensor,
    *,
    max_new_tokens: int,
    stop_ids: Collection[int],
    temperature: float,
    top_p: float,
) -> list[Sequence[int]]:
    """New ids of every prompt, up to its stop id (left out) or ``max_new_tokens``.

    Args:
        model: transformers' decoder, in evaluation mode.
        head: its output layer, ``h_BE -> logits_BV``.
        x_BTE: the prompts' embeddings, padded on the left.
        mask_BT: bool, True where there is a prompt.
        max_new_tokens: longest continuation.
        stop_ids: ids that end one.
        temperature: 0 takes the likeliest token; above, the next token is drawn.
        top_p: where one is drawn, the share of probability from which.
    """
    stops = torch.tensor(sorted(stop_ids), device=x_BTE.device, dtype=torch.long)
    cache = DynamicCache()  # without a config: keeps everything, the mask makes the window
    visible_BJ, x_BIE, x_BJE = mask_BT.bool(), x_BTE, x_BTE
    borders = _borders(model, mask_BT)
    done_B = torch.zeros(x_BTE.shape[0], dtype=torch.bool, device=x_BTE.device)
    chosen: list[torch.Tensor] = []
    for step in range(max_new_tokens):
        if step in borders:  # the keys so far were turned for a short sequence
            cache, x_BIE = DynamicCache(), x_BJE
        h_BIE = extend(model, x_BIE, visible_BJ, cache)
        ids_B = _choose(head(h_BIE[:, -1]), temperature, top_p)
        done_B = done_B | torch.isin(ids_B, stops)
        chosen.append(torch.where(done_B, -1, ids_B))
        if bool(done_B.all()):
            break
        x_BIE = model.embed_tokens(ids_B)[:, None]
        if borders:
            x_BJE = torch.cat([x_BJE, x_BIE], dim=1)
        visible_BJ = torch.cat([visible_BJ, torch.ones_like(visible_BJ[:, :1])], dim=1)
    if not chosen:
        return [[] for _ in range(x_BTE.shape[0])]
    return [[one for one in row if one >= 0] for row in torch.stack(chosen, dim=1).tolist()]


def extend(model: Any, x_BIE: torch.Tensor, visible_BJ: torch.Tensor, cache: Cache) -> torch.Tensor:
    """Hidden states ``h_BIE`` of embeddings that follow those in the cache, which grows by them.

    Args:
        model: transformers' decoder.
        x_BIE: the last I embeddings of every prompt.
        visible_BJ: bool, True where there is a prompt, of all J embeddings so far.
        cache: keys and values of the first J - I.
    """
    queries = x_BIE.shape[1]
    output = model(
        inputs_embeds=x_BIE,
        attention_mask=_masks(model.config, visible_BJ, queries),
        position_ids=(visible_BJ.cumsum(1) - 1).clamp(min=0)[:, -queries:],
        past_key_values=cache,
        use_cache=True,
    )
    h_BIE: torch.Tensor = output.last_hidden_state
    return h_BIE


def check_borders(model: Any, visible_BJ: torch.Tensor, new: int) -> None:
    """
    Raises:
        ValueError: the last ``new`` tokens take a prompt over the border behind which its rotary
            positions turn otherwise (LongRoPE), and so what was kept of it is of no use.
    """
    if not isinstance(model.rotary_emb, PackedLongRope):
        return
    border = model.rotary_emb.original
    old_B, all_B = visible_BJ[:, :-new].sum(1), visible_BJ.sum(1)
    if bool(((old_B > 0) & (old_B <= border) & (all_B > border)).any()):
        raise ValueError(
            f"a prompt grows beyond {border} tokens, where LongRoPE turns all of it anew; generate "
            "with use_cache=False, or with mmcore.load"
        )


def _borders(model: Any, mask_BT: torch.Tensor) -> frozenset[int]:
    """The steps at which a prompt outgrows the context of its rotary positions (LongRoPE)."""
    if not isinstance(model.rotary_emb, PackedLongRope):
        return frozenset()
    border = model.rotary_emb.original + 1
    return frozenset(border - length for length in mask_BT.sum(1).tolist() if border - length > 0)


def _masks(
    config: Any, visible_BJ: torch.Tensor, queries: int
) -> torch.Tensor | dict[str, torch.Tensor]:
    """What the decoder takes: one mask for all layers, or one for each type of layer."""
    window = getattr(config, "sliding_window", None)
    if getattr(config, "layer_types", None) is None:
        return _mask(visible_BJ, queries, window)
    return {
        "full_attention": _mask(visible_BJ, queries, None),
        "sliding_attention": _mask(visible_BJ, queries, window),
    }


def _mask(visible_BJ: torch.Tensor, queries: int, window: int | None) -> torch.Tensor:
    """Bool (B, 1, I, J): causal, within the window, on visible keys; padding sees itself.

    A row that saw nothing would become NaN and spread through the values of the next layer.
    """
    keys = visible_BJ.shape[1]
    ones_IJ = torch.ones(queries, keys, dtype=torch.bool, device=visible_BJ.device)
    band_IJ = ones_IJ.tril(keys - queries)
    if window is not None:
        band_IJ = band_IJ.triu(keys - queries - window + 1)
    self_IJ = ones_IJ.tril(keys - queries).triu(keys - queries)
    return ((band_IJ & visible_BJ[:, None, :]) | self_IJ)[:, None]


def _choose(logits_BV: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    if temperature == 0.0:
        return logits_BV.argmax(dim=-1)
    share_BV = torch.softmax(logits_BV.float() / temperature, dim=-1)
    sorted_BV, order_BV = share_BV.sort(dim=-1, descending=True)
    # The likeliest token always stays: only what lies before a token counts against it.
    sorted_BV = sorted_BV.masked_fill(sorted_BV.cumsum(dim=-1) - sorted_BV >= top_p, 0.0)
    drawn_B1 = torch.multinomial(sorted_BV, 1)
    return order_BV.gather(1, drawn_B1)[:, 0]
