"""The vision-language model: encoder, token sampler and LLM, and what passes between them.

A pack's views (pixels_NCHW) become features_NPD in the encoder and tokens_NQE in the token
sampler; these are written over the placeholders' embeddings x_TE, which the LLM turns into hidden
states h_TE; its head makes log likelihoods of the L labelled positions.

Letters: T packed tokens, N views, C/H/W channels, height, width, P patches of a view, D encoder
width, Q tokens of a view, I tokens of an instruction, E LLM width, K image tokens, L labelled
positions, B prompts, or pairs of a picture and a text, W tokens of a text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from typing import cast

import torch
from torch import nn

from mmcore.interfaces import LLM, Lora, PackedBatch, PairedSampler, Teacher
from mmcore.model.lora import LoraError, adapt, adaptable, adapters_off, chosen
from mmcore.model.splice import splice


class VisionLanguageModel(nn.Module):
    """Three modules in a row; each knows nothing of the others.

    Args:
        encoder: an ``mmcore.interfaces.Encoder``.
        token_sampler: an ``mmcore.interfaces.TokenSampler``.
        llm: an ``mmcore.interfaces.LLM``.
    """

    def __init__(self, encoder: nn.Module, token_sampler: nn.Module, llm: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.token_sampler = token_sampler
        self.llm = llm
        # What its maker froze (a part of a pretrained module that nothing uses) never learns.
        self.frozen_for_good = frozenset(
            name for name, parameter in self.named_parameters() if not parameter.requires_grad
        )
        self.loras: dict[str, Lora] = {}

    def adapt(self, loras: Mapping[str, Lora], seed: int) -> None:
        """Give parts fresh adapters; a part that has the same ones keeps them as they are.

        Raises:
            LoraError: a part cannot have them, or has others.
        """
        for part, lora in loras.items():
            if self.loras.get(part) == lora:
                continue
            if part in self.loras:
                raise LoraError(f"{part} has adapters already: {self.loras[part]}")
            adapt(self.get_submodule(part), lora, self.layers_for(part, lora), seed=seed)
            self.loras[part] = lora

    def layers_for(self, part: str, lora: Lora) -> list[str]:
        """Names, within the part, of the layers that would get these adapters.

        Raises:
            LoraError: a target names no layer, or there is none that could have one.
        """
        unused = [name.removeprefix(f"{part}.") for name in self.frozen_for_good]
        try:
            return chosen(lora, adaptable(self.get_submodule(part), unused))
        except LoraError as error:
            raise LoraError(f"lora of {part}: {error}") from None

    def without_adapters(self) -> AbstractContextManager[None]:
        """Within, the model computes what it would without its adapters."""
        return adapters_off(self)

    def features(self, batch: PackedBatch) -> torch.Tensor:
        """``features_NPD`` of a pack's views, regrouped as its tiler wants it; for whoever
        asks more than one of the two below."""
        return self._ordered(batch.pixels_NCHW, batch.patch_order_NP, batch.features_NPD)

    def hidden(self, batch: PackedBatch, features_NPD: torch.Tensor | None = None) -> torch.Tensor:
        """``h_TE``: encode (unless the features are given), sample, splice, decode."""
        h_TE: torch.Tensor = self.llm(self._spliced(batch, features_NPD), batch.layout)
        return h_TE

    def provided(
        self,
        wanted: str,
        batch: PackedBatch,
        view_B: torch.Tensor,
        ids_BW: torch.Tensor,
        mask_BW: torch.Tensor,
        features_NPD: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, ...]:
        """What the token sampler, a ``PairedSampler``, provides of these pairs; the LLM is not
        entered."""
        if features_NPD is None:
            features_NPD = self.features(batch)
        sampler = cast(PairedSampler, self.token_sampler)
        return sampler.provide(wanted, features_NPD, batch.patch_mask_NP, view_B, ids_BW, mask_BW)

    def nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        """``nll_L``: negative log likelihood of the targets, float32."""
        return self._llm.head(h_LE, targets_L)

    def divergence(self, h_LE: torch.Tensor, teacher: Teacher) -> torch.Tensor:
        """``kl_L``: KL(teacher || model) over the vocabulary, float32."""
        return self._llm.head(h_LE, teacher=teacher)

    @torch.no_grad()
    def generate(
        self,
        prompts: PackedBatch,
        *,
        max_new_tokens: int,
        stop_ids: Collection[int],
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> list[list[int]]:
        """Continue every sequence of a pack: the new ids, without the stop id.

        Args:
            prompts: B prompts packed as one batch; its labels are not looked at.
            max_new_tokens: longest continuation.
            stop_ids: ids that end one.
            temperature: 0 takes the likeliest token; above, the next token is drawn.
            top_p: where one is drawn, the share of probability from which.
        """
        training = self.training
        self.eval()
        try:
            x_BTE, mask_BT = pad_left(self._spliced(prompts), prompts.lengths)
            answers = self._llm.generate(
                x_BTE,
                mask_BT,
                max_new_tokens=max_new_tokens,
                stop_ids=stop_ids,
                temperature=temperature,
                top_p=top_p,
            )
        finally:
            self.train(training)
        return [list(ids) for ids in answers]

    @property
    def _llm(self) -> LLM:
        return cast(LLM, self.llm)  # torch does not know which module it is

    def vision_tokens(
        self,
        pixels_NCHW: torch.Tensor,
        patch_mask_NP: torch.Tensor,
        patch_order_NP: torch.Tensor | None,
        instruction_NIE: torch.Tensor | None = None,
        instruction_mask_NI: torch.Tensor | None = None,
        features_NPD: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """``tokens_NQE`` of views; see ``PackedBatch`` for what they are made of.

        Args:
            pixels_NCHW, patch_mask_NP, patch_order_NP: the views.
            instruction_NIE: embeddings of their instructions, where the token sampler reads them.
            instruction_mask_NI: which of these are there.
            features_NPD: what the encoder makes of the views, where that is known: then it is not
                entered, and pixels are not looked at.
        """
        features_NPD = self._ordered(pixels_NCHW, patch_order_NP, features_NPD)
        return self._sampled(features_NPD, patch_mask_NP, instruction_NIE, instruction_mask_NI)

    def _ordered(
        self,
        pixels_NCHW: torch.Tensor,
        patch_order_NP: torch.Tensor | None,
        known_NPD: torch.Tensor | None,
    ) -> torch.Tensor:
        """``features_NPD`` in groups of patches, of what is known or else from the encoder."""
        if known_NPD is None:
            features_NPD = self._encoded(pixels_NCHW)
        else:  # they may have been kept in fewer bits
            features_NPD = known_NPD.to(next(self.encoder.parameters()).dtype)
        if patch_order_NP is not None:
            features_NPD = features_NPD.flatten(0, 1)[patch_order_NP]
        return features_NPD

    def _sampled(
        self,
        features_NPD: torch.Tensor,
        patch_mask_NP: torch.Tensor,
        instruction_NIE: torch.Tensor | None,
        instruction_mask_NI: torch.Tensor | None,
    ) -> torch.Tensor:
        asked = () if instruction_NIE is None else (instruction_NIE, instruction_mask_NI)
        tokens_NQE: torch.Tensor = self.token_sampler(features_NPD, patch_mask_NP, *asked)
        return tokens_NQE

    def _encoded(self, pixels_NCHW: torch.Tensor) -> torch.Tensor:
        """``features_NPD`` of the views; without a graph where the encoder is frozen."""
        learns = any(parameter.requires_grad for parameter in self.encoder.parameters())
        with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
            features_NPD: torch.Tensor = self.encoder(pixels_NCHW)
        return features_NPD

    def _spliced(
        self, batch: PackedBatch, features_NPD: torch.Tensor | None = None
    ) -> torch.Tensor:
        x_TE, instruction_NIE = self._embedded(batch)
        if features_NPD is None:
            features_NPD = self.features(batch)
        mask_NP, asked_NI = batch.patch_mask_NP, batch.instruction_mask_NI
        tokens_NQE = self._sampled(features_NPD, mask_NP, instruction_NIE, asked_NI)
        return splice(x_TE, tokens_NQE, batch.image_token_index_K, batch.image_token_source_K)

    def _embedded(self, batch: PackedBatch) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The pack's ids and the views' instructions, in one call: the embedding is entered once,
        on every rank, whether its pack has instructions or not."""
        asked_NI = batch.instruction_ids_NI
        if asked_NI is None:
            return self._llm.embed(batch.input_ids_T), None
        ids = torch.cat([batch.input_ids_T, asked_NI.flatten()])
        sizes = [batch.input_ids_T.shape[0], asked_NI.numel()]
        x_TE, asked = torch.split(self._llm.embed(ids), sizes)
        return x_TE, asked.reshape(*asked_NI.shape, -1)


def pad_left(x_TE: torch.Tensor, lengths: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Packed sequences side by side, ends aligned: ``x_BTE`` (zeros before) and ``mask_BT``."""
    longest = max(lengths)
    x_BTE = x_TE.new_zeros(len(lengths), longest, x_TE.shape[1])
    mask_BT = torch.zeros(len(lengths), longest, dtype=torch.bool, device=x_TE.device)
    for row, x_LE in enumerate(torch.split(x_TE, list(lengths))):
        x_BTE[row, longest - x_LE.shape[0] :] = x_LE
        mask_BT[row, longest - x_LE.shape[0] :] = True
    return x_BTE, mask_BT
