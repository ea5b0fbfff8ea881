"""Write the token sampler's tokens over the placeholders of a pack.

Letters: T packed tokens, N views, Q tokens of a view, E LLM width, K image tokens.
"""

from __future__ import annotations

import torch


def splice(
    x_TE: torch.Tensor,
    tokens_NQE: torch.Tensor,
    image_token_index_K: torch.Tensor,
    image_token_source_K: torch.Tensor | None = None,
) -> torch.Tensor:
    """``x_TE`` with the views' tokens at ``image_token_index_K``, in order, or those that
    ``image_token_source_K`` says.

    A pack without pictures carries one blank view and no index: its tokens are added with weight
    zero, so that the modules that made them take part in the backward pass as on every other rank.

    Raises:
        ValueError: there are not as many tokens as places for them.
    """
    views, tokens, width = tokens_NQE.shape
    places = image_token_index_K.shape[0]
    if places == 0:
        return x_TE + (tokens_NQE * 0.0).sum().to(x_TE.dtype)
    given_KE = tokens_NQE.flatten(0, 1)
    if image_token_source_K is not None:
        given_KE = given_KE[image_token_source_K]
    if places != given_KE.shape[0]:
        shown = "" if image_token_source_K is None else f", shown {given_KE.shape[0]} times"
        raise ValueError(
            f"the pack has {places} places for image tokens, but {views} views of {tokens} tokens "
            f"are {views * tokens}{shown}; the token sampler's spec promises how many a view "
            "becomes"
        )
    if width != x_TE.shape[1]:
        raise ValueError(
            f"the token sampler makes tokens of width {width}, the LLM wants {x_TE.shape[1]}"
        )
    return x_TE.index_copy(0, image_token_index_K, given_KE.to(x_TE.dtype))
