"""Phi-3 before it exists: its sizes, its weights, its tokenizer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from mmcore.interfaces import Attention, LLMSpec, LoadReport, TextFormat, Wanted, WeightsError
from mmcore.kit.weights import RANDOM, TOKENIZER_FILES, WEIGHT_FILES, locate_file, wanted
from mmcore_phi3.config import longrope_factors
from mmcore_registry import Problem, doc, from_variant, one_of

if TYPE_CHECKING:
    from torch import nn

TOKENIZER_FILE = "tokenizer.json"
OWN_TOKENIZER = Path(__file__).parent / "tokenizer" / TOKENIZER_FILE
OWN_VOCABULARY = 768
"""Rows of a model over ``OWN_TOKENIZER``: its ids and the picture's, rounded up to a multiple
of 64."""

ge, gt = attrs.validators.ge, attrs.validators.gt


@attrs.frozen(kw_only=True)
class Sizes:
    """What a variant presets (the models' published configurations)."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    mlp_width: int
    vocabulary: int = 32064
    context: int = 4096
    window: int = 2047
    original_context: int = 4096


_MINI = Sizes(width=3072, layers=32, heads=32, kv_heads=32, mlp_width=8192)
_MEDIUM = Sizes(width=5120, layers=40, heads=40, kv_heads=10, mlp_width=17920)
VARIANTS = {
    "mini-4k-instruct": _MINI,
    "medium-4k-instruct": _MEDIUM,
    "mini-128k-instruct": attrs.evolve(_MINI, context=131072, window=262144),
    "medium-128k-instruct": attrs.evolve(_MEDIUM, context=131072, window=131072),
}


def _original_context(spec: Phi3Spec) -> int:
    """Only a variant that was stretched has one of its own, and only beyond it."""
    preset = VARIANTS.get(spec.variant)
    if preset is None or preset.context == preset.original_context:
        return spec.context
    return min(spec.context, preset.original_context)


def _factors(key: str) -> Any:
    """Default of a list of LongRoPE factors: from the weights' config.json.

    The published lists belong to the weights and are not repeated here. Without weights (or where
    they are missing, which ``problems`` says) all factors are 1: the frequencies stay as they are.
    """

    def read(spec: Phi3Spec) -> tuple[float, ...]:
        if not spec.stretched:
            return ()
        if spec.weights != RANDOM:
            try:
                return longrope_factors(spec.weights, key)
            except WeightsError:
                pass  # `problems` says it
        return (1.0,) * spec.rotated

    return attrs.Factory(read, takes_self=True)


def _vocabulary(spec: Phi3Spec) -> int:
    own = spec.weights == RANDOM and not spec.tokenizer
    known = spec.variant in VARIANTS  # if not, the validator of `variant` says so
    return OWN_VOCABULARY if own or not known else VARIANTS[spec.variant].vocabulary


@attrs.frozen(kw_only=True)
class Phi3Spec(LLMSpec):
    """Phi-3 (mini or medium), a decoder with a sliding window, and its chat format."""

    name: ClassVar[str] = "phi3"

    variant: str = attrs.field(
        default="mini-4k-instruct",
        validator=one_of(VARIANTS),
        metadata=doc("which model presets the sizes below"),
    )
    weights: str = attrs.field(
        default=RANDOM,
        metadata=doc("a folder, hf://owner/name (from the local cache), or random"),
    )
    tokenizer: str = attrs.field(
        default="",
        metadata=doc(
            "folder or hf:// id with tokenizer.json; empty means the one beside the weights, or, "
            "for random weights, the small one of this plugin"
        ),
    )
    system_prompt: str = attrs.field(
        default="",
        metadata=doc("what the system says in a conversation that has no system turn of its own"),
    )
    width: int = attrs.field(
        default=from_variant(VARIANTS, "width"),
        validator=gt(0),
        metadata=doc("E: width of the embeddings"),
    )
    layers: int = attrs.field(
        default=from_variant(VARIANTS, "layers"), validator=gt(0), metadata=doc("number of blocks")
    )
    heads: int = attrs.field(
        default=from_variant(VARIANTS, "heads"),
        validator=gt(0),
        metadata=doc("attention heads of the queries"),
    )
    kv_heads: int = attrs.field(
        default=from_variant(VARIANTS, "kv_heads"),
        validator=gt(0),
        metadata=doc("attention heads of keys and values; divides `heads`"),
    )
    mlp_width: int = attrs.field(
        default=from_variant(VARIANTS, "mlp_width"),
        validator=gt(0),
        metadata=doc("inner width of a block's MLP"),
    )
    vocabulary: int = attrs.field(
        default=attrs.Factory(_vocabulary, takes_self=True),
        validator=gt(0),
        metadata=doc("V: rows of the embedding and of the output layer, spare ones included"),
    )
    context: int = attrs.field(
        default=from_variant(VARIANTS, "context"),
        validator=gt(0),
        metadata=doc("longest sequence that it was made for", unit="tokens"),
    )
    window: int = attrs.field(
        default=from_variant(VARIANTS, "window"),
        validator=gt(0),
        metadata=doc("how many positions a token sees, itself included", unit="tokens"),
    )
    original_context: int = attrs.field(
        default=attrs.Factory(_original_context, takes_self=True),
        validator=gt(0),
        metadata=doc(
            "context before it was stretched (LongRoPE); a longer sequence turns by `long_factors`",
            unit="tokens",
        ),
    )
    short_factors: tuple[float, ...] = attrs.field(
        default=_factors("short_factor"),
        metadata=doc(
            "of a stretched model: divisors of the rotary frequencies, up to `original_context`; "
            "from the weights' config.json, or all 1 for random weights"
        ),
    )
    long_factors: tuple[float, ...] = attrs.field(
        default=_factors("long_factor"),
        metadata=doc("the same for sequences longer than `original_context`"),
    )
    rope_theta: float = attrs.field(
        default=10_000.0, validator=gt(0), metadata=doc("base of the rotary positions")
    )
    norm_eps: float = attrs.field(
        default=1e-5, validator=gt(0), metadata=doc("epsilon of the RMS norms")
    )
    init_std: float = attrs.field(
        default=0.02, validator=gt(0), metadata=doc("standard deviation of random weights")
    )
    head_bias: bool = attrs.field(
        default=False,
        metadata=doc("give the output layer a bias, as the released xGen-MM weights have"),
    )
    head_rows: int = attrs.field(
        default=1024,
        validator=ge(1),
        metadata=doc("labelled positions whose logits are made at once", unit="tokens"),
    )
    recompute: bool = attrs.field(
        default=False,
        metadata=doc("compute the blocks again in the backward pass, to save memory"),
    )

    @property
    def embedding_width(self) -> int:
        return self.width

    @property
    def stretched(self) -> bool:
        """Whether the context is longer than the one it was first trained with."""
        return self.context > self.original_context

    @property
    def rotated(self) -> int:
        """Rotary frequencies of a head."""
        return self.width // self.heads // 2

    def problems(self) -> Iterator[Problem]:
        if self.width % self.heads:
            yield Problem("heads", f"is {self.heads}, which does not divide width {self.width}")
        if self.heads % self.kv_heads:
            yield Problem("kv_heads", f"is {self.kv_heads}, which does not divide {self.heads}")
        yield from self._factor_problems()
        key = "tokenizer" if self.tokenizer else "weights"
        try:
            self.text()
        except WeightsError as error:
            yield Problem(key, str(error), machine=True)

    def wants(self) -> Iterator[Wanted]:
        beside = () if self.tokenizer else TOKENIZER_FILES
        yield from wanted("weights", self.weights, *WEIGHT_FILES, *beside)
        yield from wanted("tokenizer", self.tokenizer, *TOKENIZER_FILES)

    def text(self) -> TextFormat:
        from mmcore_phi3.text import PhiTextFormat

        return PhiTextFormat.from_file(
            self._tokenizer_file(), rows=self.vocabulary, system_prompt=self.system_prompt
        )

    def tokenizer_files(self) -> Mapping[str, bytes]:
        return {TOKENIZER_FILE: self._tokenizer_file().read_bytes()}

    def build(self, *, attention: Attention) -> nn.Module:
        from transformers import Phi3Config

        from mmcore.kit.attention_in_transformers import transformers_attention
        from mmcore_phi3.decoder import Phi3

        config = Phi3Config(
            hidden_size=self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            intermediate_size=self.mlp_width,
            vocab_size=self.vocabulary,
            max_position_embeddings=self.context,
            original_max_position_embeddings=self.original_context,
            sliding_window=self.window,
            rope_parameters=self._rope(),
            rms_norm_eps=self.norm_eps,
            initializer_range=self.init_std,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,  # a padding row of the embedding would get no gradient
        )
        config._attn_implementation = transformers_attention(attention)
        return Phi3(
            config,
            head_rows=self.head_rows,
            head_bias=self.head_bias,
            recompute=self.recompute,
        )

    def load(self, module: nn.Module) -> LoadReport | None:
        if self.weights == RANDOM:
            return None
        from mmcore_phi3.weights import load_phi3

        return load_phi3(module, self.weights)

    def tiny(self) -> Self:
        return attrs.evolve(
            self,
            weights=RANDOM,
            tokenizer="",
            width=64,
            layers=2,
            heads=4,
            kv_heads=2,
            mlp_width=128,
            vocabulary=OWN_VOCABULARY,
            short_factors=(1.0,) * 8 if self.stretched else (),
            long_factors=(1.0,) * 8 if self.stretched else (),
        )

    def thin(self) -> Self:
        # The rows of the vocabulary are no width of the blocks, and at 14B half of such a model.
        return attrs.evolve(self, weights=RANDOM, tokenizer="", layers=1, vocabulary=OWN_VOCABULARY)

    def _rope(self) -> dict[str, object]:
        if not self.stretched:
            return {"rope_type": "default", "rope_theta": self.rope_theta}
        return {
            "rope_type": "longrope",
            "rope_theta": self.rope_theta,
            "short_factor": list(self.short_factors),
            "long_factor": list(self.long_factors),
            "original_max_position_embeddings": self.original_context,
        }

    def _factor_problems(self) -> Iterator[Problem]:
        for key in ("short_factors", "long_factors") if self.stretched else ():
            count = len(getattr(self, key))
            if count != self.rotated:
                message = f"are {count}, wanted half a head's width, which is {self.rotated}"
                yield Problem(key, message)
        if self.stretched and self.weights != RANDOM:
            try:
                longrope_factors(self.weights, "long_factor")
            except WeightsError as error:
                yield Problem("weights", str(error), machine=True)

    def _tokenizer_file(self) -> Path:
        if self.tokenizer:
            return locate_file(self.tokenizer, TOKENIZER_FILE)
        if self.weights == RANDOM:
            return OWN_TOKENIZER
        return locate_file(self.weights, TOKENIZER_FILE)
