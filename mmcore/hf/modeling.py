"""mmcore's model with transformers' ``forward`` and ``generate``.

Letters: B prompts, T tokens of a padded prompt, J those with the ones in the cache, N views, P
patches of a view, C/H/W channels, height, width, Q tokens of a view, I tokens of an instruction,
K image tokens, E LLM width, V vocabulary.
"""

from __future__ import annotations

from typing import Any, Self, cast

import attrs
import torch
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from mmcore import assemble
from mmcore.hf.configuration import MMCoreConfig
from mmcore.interfaces import LLM, ExtendingLLM, WeightsError

VIEWS = ("pixel_values", "patch_mask", "patch_order", "instruction_ids", "instruction_mask")
VISION = (*VIEWS, "image_embeds")
"""The inputs that belong to the prompt, and not to the tokens that follow it."""


# transformers annotates these for its own models, whose methods no subclass could replace.
Pretrained: Any = PreTrainedModel
Generating: Any = GenerationMixin


class MMCoreForConditionalGeneration(Pretrained, Generating):  # type: ignore[misc]
    """Encoder, token sampler and LLM of an exported model; ``model`` is mmcore's own module.

    Args:
        config: of the model. Weights are random until they are loaded.
    """

    config_class = MMCoreConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ("image", "text")
    _supports_sdpa = True  # the kernel is ours; this only says yes to transformers' default

    def __init__(self, config: MMCoreConfig) -> None:
        super().__init__(config)
        self._table = attrs.evolve(config.file().model, attention="sdpa")
        self.model = assemble.empty_model(self._table, 0, torch.get_default_device())
        shared = _shared(self)
        self._tied_weights_keys, config.tie_word_embeddings = shared, bool(shared)
        self.post_init()

    @classmethod
    def from_pretrained(
        cls, *args: Any, output_loading_info: bool = False, **keywords: Any
    ) -> Self | tuple[Self, dict[str, Any]]:
        """As transformers', but what does not fit is an error.

        Raises:
            WeightsError: tensors are missing, misshapen or without a place; names them all.
        """
        model, info = super().from_pretrained(*args, output_loading_info=True, **keywords)
        known = {*model._tied_weights_keys, *(name for name, _ in model.named_buffers())}
        lines = [f"  missing: {name}" for name in sorted(set(info["missing_keys"]) - known)]
        lines += [f"  no place for: {name}" for name in sorted(info["unexpected_keys"])]
        lines += [f"  of another shape: {one}" for one in sorted(map(str, info["mismatched_keys"]))]
        if lines:
            raise WeightsError("\n".join([f"weights: {model.name_or_path} does not fit", *lines]))
        model._fill_buffers()
        return (model, info) if output_loading_info else model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        patch_mask: torch.Tensor | None = None,
        patch_order: torch.Tensor | None = None,
        instruction_ids: torch.Tensor | None = None,
        instruction_mask: torch.Tensor | None = None,
        image_embeds: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: torch.Tensor | None = None,
        logits_to_keep: int = 0,
        use_cache: bool | None = None,
        **keywords: Any,
    ) -> CausalLMOutputWithPast:
        """Logits of the tokens; the processor makes the arguments.

        Args:
            input_ids: BT, padded on the left; ``image_token_id`` where a picture's tokens go.
            attention_mask: BJ, 1 where there is a token.
            pixel_values: NCHW uint8, the views of all prompts in order.
            patch_mask, patch_order: NP, of the views; see ``mmcore.interfaces.Tiles``.
            instruction_ids, instruction_mask: NI, where the token sampler reads them; see
                ``mmcore.interfaces.PackedBatch``.
            image_embeds: KE, the tokens of all pictures, instead of the five above.
            past_key_values: what was read before.
            labels: BT, -100 where nothing is learned.
            logits_to_keep: of the last so many tokens; 0 means all.
            use_cache: whether to give a cache back where none was given.

        Raises:
            ValueError: the pictures have another number of tokens than the prompts have places.
        """
        x_BTE = cast(LLM, self.model.llm).embed(input_ids)
        if pixel_values is not None:
            image_embeds = self._image_embeds(
                pixel_values, patch_mask, patch_order, instruction_ids, instruction_mask
            )
        if image_embeds is not None:
            x_BTE = self._placed(x_BTE, input_ids, image_embeds)
        cache = DynamicCache() if past_key_values is None else past_key_values
        if attention_mask is None:
            past = cache.get_seq_length()
            attention_mask = input_ids.new_ones(len(input_ids), past + input_ids.shape[1])
        h_BTE = cast(ExtendingLLM, self.model.llm).extend(x_BTE, attention_mask, cache)
        logits_BTV = cast(LLM, self.model.llm).head(h_BTE[:, -logits_to_keep:])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits_BTV, labels, vocab_size=logits_BTV.shape[-1])
        kept = past_key_values is not None or use_cache
        return CausalLMOutputWithPast(
            loss=loss, logits=logits_BTV, past_key_values=cache if kept else None
        )

    def _image_embeds(
        self,
        pixels_NCHW: torch.Tensor,
        patch_mask_NP: torch.Tensor | None,
        patch_order_NP: torch.Tensor | None,
        instruction_ids_NI: torch.Tensor | None,
        instruction_mask_NI: torch.Tensor | None,
    ) -> torch.Tensor:
        if patch_mask_NP is None:
            raise ValueError("pixel_values came without patch_mask; the processor makes both")
        asked = None
        if instruction_ids_NI is not None:
            asked = cast(LLM, self.model.llm).embed(instruction_ids_NI)
        tokens_NQE: torch.Tensor = self.model.vision_tokens(
            pixels_NCHW, patch_mask_NP, patch_order_NP, asked, instruction_mask_NI
        )
        return tokens_NQE.flatten(0, 1)

    def _placed(
        self, x_BTE: torch.Tensor, ids_BT: torch.Tensor, image_KE: torch.Tensor
    ) -> torch.Tensor:
        """The embeddings with the pictures' tokens, in order, at their places."""
        at_BT = ids_BT == self.config.image_token_id
        if (places := int(at_BT.sum())) != len(image_KE):
            raise ValueError(
                f"the pictures have {len(image_KE)} tokens, the prompts have {places} places"
            )
        return x_BTE.masked_scatter(at_BT[..., None], image_KE.to(x_BTE.dtype))

    def prepare_inputs_for_generation(
        self, *args: Any, is_first_iteration: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """What ``forward`` is given for the next token; pictures are looked at once.

        By the name of ``kwargs`` transformers knows that ``forward`` takes all inputs.
        """
        inputs: dict[str, Any] = super().prepare_inputs_for_generation(
            *args, is_first_iteration=is_first_iteration, **kwargs
        )
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in VISION:
                inputs.pop(name, None)
        return inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: torch.Tensor | None = None,
        **keywords: Any,
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Several answers to a prompt (beams) see its pictures, which are encoded once."""
        if expand_size > 1 and keywords.get("pixel_values") is not None:
            assert input_ids is not None
            parts = [keywords.pop(name, None) for name in VIEWS]
            counts = (input_ids == self.config.image_token_id).sum(1).tolist()
            rows = torch.split(self._image_embeds(*parts), counts)
            image_embeds = torch.cat([row for row in rows for _ in range(expand_size)])
            ids, expanded = super()._expand_inputs_for_generation(
                expand_size, is_encoder_decoder, input_ids, **keywords
            )
            return ids, {**expanded, "image_embeds": image_embeds}
        return cast(
            "tuple[torch.Tensor, dict[str, Any]]",
            super()._expand_inputs_for_generation(
                expand_size, is_encoder_decoder, input_ids, **keywords
            ),
        )

    def _prepare_cache_for_generation(
        self, generation_config: Any, model_kwargs: dict[str, Any], *args: Any
    ) -> None:
        """A cache that keeps everything: the LLM's own mask makes its window."""
        if generation_config.use_cache is not False:
            model_kwargs.setdefault("past_key_values", DynamicCache())
        super()._prepare_cache_for_generation(generation_config, model_kwargs, *args)

    def _fill_buffers(self) -> None:
        """Compute what is no weight: transformers builds models without numbers, and loads
        weights only."""
        initial = assemble.initial_model(self._table, 0, torch.device("cpu"), loaded=False)
        initial.place_others(torch.device("cpu"))
        for name, buffer in initial.model.named_buffers():
            owner, _, own = name.rpartition(".")
            module = self.model.get_submodule(owner)
            module._buffers[own] = buffer.to(module.get_buffer(own).device)


def _shared(module: torch.nn.Module) -> dict[str, str]:
    """The second names of parameters that two modules share, and their first ones."""
    first: dict[int, str] = {}
    named = module.named_parameters(remove_duplicate=False)
    pairs = [(name, first.setdefault(id(parameter), name)) for name, parameter in named]
    return {name: original for name, original in pairs if name != original}
