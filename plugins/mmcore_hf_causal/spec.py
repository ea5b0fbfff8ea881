"""A causal language model of a tested family before it exists: its numbers, from config.json."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import attrs

from mmcore.interfaces import Attention, LLMSpec, LoadReport, TextFormat, Wanted, WeightsError
from mmcore.kit.weights import (
    CONFIG_FILE,
    RANDOM,
    TOKENIZER_FILES,
    WEIGHT_FILES,
    locate,
    locate_file,
    wanted,
)
from mmcore_hf_causal.config import SMALL, Numbers, Rope, numbers_of
from mmcore_hf_causal.families import FAMILIES
from mmcore_registry import Problem, doc, one_of

if TYPE_CHECKING:
    from torch import nn

TOKENIZER_FILE = "tokenizer.json"
BESIDE = ("tokenizer_config.json", "chat_template.jinja")
ge, gt = attrs.validators.ge, attrs.validators.gt


def _family(spec: HfCausalSpec) -> str:
    try:
        found = spec.configured()
    except WeightsError:
        found = None  # `problems` says it
    return found.family if found else "llama"


@attrs.frozen
class FromConfig:
    """Reads a key's default from config.json, or from the family's small model without one."""

    key: str

    def __call__(self, spec: HfCausalSpec) -> Any:
        try:
            found = spec.configured()
        except WeightsError:
            found = None
        small = SMALL.get(spec.family)  # unknown: the validator of `family` says so
        return getattr(found or small or Numbers(), self.key)


def _number(key: str, validator: Callable[..., None] | None, text: str, *, unit: str = "") -> Any:
    return attrs.field(
        default=attrs.Factory(FromConfig(key), takes_self=True),
        validator=validator,
        metadata=doc(text + "; from config.json", unit=unit),
    )


@attrs.frozen(kw_only=True)
class HfCausalSpec(LLMSpec):
    """A causal LLM as transformers has it (Llama, Qwen 2 and 3, Gemma 1 to 3, Phi-3 and 4)."""

    name: ClassVar[str] = "hf-causal"

    weights: str = attrs.field(
        default=RANDOM,
        metadata=doc("a folder, hf://owner/name (from the local cache), or random"),
    )
    config: str = attrs.field(
        default="",
        metadata=doc(
            "folder or hf:// id with config.json; empty means the one beside the weights, or, for "
            "random weights, the family's small model"
        ),
    )
    tokenizer: str = attrs.field(
        default="",
        metadata=doc(
            "folder or hf:// id with tokenizer.json and its chat template; empty means the one "
            "beside the weights or the config, or else a small one of the family's"
        ),
    )
    chat_template: str = attrs.field(
        default="",
        metadata=doc("file of a chat template (jinja) to use instead of the tokenizer's"),
    )
    system_prompt: str = attrs.field(
        default="",
        metadata=doc("what the system says in a conversation that has no system turn of its own"),
    )
    family: str = attrs.field(
        default=attrs.Factory(_family, takes_self=True),
        validator=one_of(FAMILIES),
        metadata=doc("model_type of config.json; with it, what is special to the family"),
    )
    width: int = _number("width", gt(0), "E: width of the embeddings")
    layers: int = _number("layers", gt(0), "number of blocks")
    heads: int = _number("heads", gt(0), "attention heads of the queries")
    kv_heads: int = _number("kv_heads", gt(0), "heads of keys and values; divides `heads`")
    head_width: int = _number("head_width", gt(0), "width of a head")
    mlp_width: int = _number("mlp_width", gt(0), "inner width of a block's MLP")
    vocabulary: int = _number(
        "vocabulary", gt(0), "V: rows of embedding and output layer; more than the weights append"
    )
    context: int = _number("context", gt(0), "longest sequence that it was made for", unit="tokens")
    window: int = _number(
        "window", ge(0), "how many positions a token of a window layer sees", unit="tokens"
    )
    window_layers: tuple[int, ...] = _number(
        "window_layers", None, "layers, counted from 0, that see the window only"
    )
    rope_theta: float = _number("rope_theta", gt(0), "base of the rotary positions")
    local_rope_theta: float = _number(
        "local_rope_theta", gt(0), "the same in the window layers of Gemma 3"
    )
    rope_share: float = _number("rope_share", gt(0), "share of a head that is rotated (Phi-4)")
    rope: Rope = attrs.field(
        default=attrs.Factory(FromConfig("rope"), takes_self=True),
        hash=False,
        metadata=doc("how positions are stretched, as transformers spells it; from config.json"),
    )
    query_scale: int = _number(
        "query_scale", ge(0), "scores are divided by its square root (Gemma 2, 3); 0: head width"
    )
    attention_cap: float = _number("attention_cap", ge(0), "cap of the scores (Gemma 2); 0: none")
    logit_cap: float = _number("logit_cap", ge(0), "cap of the logits (Gemma 2); 0: none")
    attention_bias: bool = _number("attention_bias", None, "whether the projections have a bias")
    mlp_bias: bool = _number("mlp_bias", None, "whether the MLPs have a bias (Llama)")
    tied: bool = _number("tied", None, "whether the output layer is the embedding")
    norm_eps: float = _number("norm_eps", gt(0), "epsilon of the RMS norms")
    init_std: float = _number("init_std", gt(0), "standard deviation of random weights")
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

    def configured(self) -> Numbers | None:
        """What config.json says; None where there is none to read.

        Raises:
            WeightsError: see ``numbers_of``.
        """
        if self.config or self.weights != RANDOM:
            return numbers_of(self.config or self.weights)
        return None

    def problems(self) -> Iterator[Problem]:
        yield from self._contradictions()
        where = "config" if self.config else "weights"
        try:
            self.configured()
        except WeightsError as error:
            lies_here = self._lies_here(self.config or self.weights, "config.json")
            yield Problem(where, str(error), machine=not lies_here)
        folder = self._tokenizer_folder()
        try:
            if folder:
                locate_file(folder, TOKENIZER_FILE)
        except WeightsError as error:
            yield Problem("tokenizer" if self.tokenizer else where, str(error), machine=True)
        if self.chat_template and not Path(self.chat_template).expanduser().is_file():
            message = f"there is no file {self.chat_template!r}"
            yield Problem("chat_template", message, machine=True)

    def text(self) -> TextFormat:
        from mmcore_hf_causal.text import ChatTextFormat

        return ChatTextFormat(
            self._tokenizer_files(), rows=self.vocabulary, system_prompt=self.system_prompt
        )

    def tokenizer_files(self) -> Mapping[str, bytes]:
        from mmcore_hf_causal.decoder import transformers_config

        files = self._tokenizer_files()
        texts = {
            "config.json": transformers_config(self._numbers()).to_json_string(use_diff=False),
            TOKENIZER_FILE: files.tokenizer,
            "tokenizer_config.json": json.dumps(files.names, indent=2),
            "chat_template.jinja": files.template,
        }
        return {name: text.encode() for name, text in texts.items()}

    def build(self, *, attention: Attention) -> nn.Module:
        from mmcore_hf_causal.decoder import build_decoder

        return build_decoder(
            self._numbers(),
            attention=attention,
            head_rows=self.head_rows,
            recompute=self.recompute,
        )

    def load(self, module: nn.Module) -> LoadReport | None:
        if self.weights == RANDOM:
            return None
        from mmcore_hf_causal.weights import load_decoder

        return load_decoder(module, self.weights, vocabulary=self.vocabulary)

    def tiny(self) -> Self:
        """Small widths, and of every quirk what there was: both kinds of layers, caps, ties."""
        small = SMALL[self.family]
        sizes = ("width", "heads", "kv_heads", "head_width", "mlp_width", "vocabulary")
        changed: dict[str, Any] = {key: getattr(small, key) for key in sizes}
        rotated = int(small.head_width * self.rope_share) // 2
        rope: Rope = {
            key: (1.0,) * rotated if isinstance(value, tuple) else value
            for key, value in self.rope.items()
        }
        if self.query_scale:
            changed["query_scale"] = small.query_scale
        return attrs.evolve(self._bare(), rope=rope, **changed, **self._few_layers(2))

    def thin(self) -> Self:
        """Full widths, and one layer, or one of either kind."""
        return attrs.evolve(self._bare(), **self._few_layers(1))

    def _bare(self) -> Self:
        return attrs.evolve(self, weights=RANDOM, config="", tokenizer="", chat_template="")

    def _few_layers(self, least: int) -> dict[str, Any]:
        windowed = len({layer for layer in self.window_layers if layer < self.layers})
        if windowed == 0:
            return {"layers": least, "window_layers": ()}
        if windowed == self.layers:
            return {"layers": least, "window_layers": tuple(range(least))}
        return {"layers": 2, "window_layers": (0,)}

    def _numbers(self) -> Numbers:
        keys = (field.name for field in attrs.fields(Numbers))
        return Numbers(**{key: getattr(self, key) for key in keys})

    def _contradictions(self) -> Iterator[Problem]:
        if self.heads % self.kv_heads:
            yield Problem("kv_heads", f"is {self.kv_heads}, which does not divide {self.heads}")
        if self.width % self.heads:
            yield Problem("heads", f"is {self.heads}, which does not divide width {self.width}")
        if self.family in ("qwen2", "phi3") and self.head_width * self.heads != self.width:
            wanted = self.width // self.heads
            yield Problem(
                "head_width", f"is {self.head_width}, wanted width / heads, which is {wanted}"
            )
        if self.window_layers and not self.window:
            yield Problem("window", f"is 0, but the layers {list(self.window_layers)} have one")
        every = set(range(self.layers))
        if self.family == "phi3" and self.window_layers and set(self.window_layers) != every:
            yield Problem("window_layers", "are some of the layers, in this family all or none")
        if self.family in ("llama", "gemma") and self.window_layers:
            yield Problem("window_layers", f"are given, the family {self.family} has none")

    def wants(self) -> Iterator[Wanted]:
        beside = () if self.tokenizer else TOKENIZER_FILES
        yield from wanted("weights", self.weights, *WEIGHT_FILES, *beside)
        yield from wanted("config", self.config, CONFIG_FILE, *beside)
        yield from wanted("tokenizer", self.tokenizer, *TOKENIZER_FILES)

    @staticmethod
    def _lies_here(folder: str, name: str) -> bool:
        """Whether the file is there, so that its contents are at fault and not this machine."""
        try:
            return (locate(folder) / name).is_file()
        except WeightsError:
            return False

    def _tokenizer_folder(self) -> str:
        if self.tokenizer:
            return self.tokenizer
        if self.weights != RANDOM:
            return self.weights
        return self.config if self._lies_here(self.config, TOKENIZER_FILE) else ""

    def _tokenizer_files(self) -> Any:
        from mmcore_hf_causal.small import CHATS, small_tokenizer
        from mmcore_hf_causal.text import read_files

        template = ""
        if self.chat_template:
            template = Path(self.chat_template).expanduser().read_text(encoding="utf-8")
        folder = self._tokenizer_folder()
        if not folder:
            files = small_tokenizer(CHATS[self.family])
            return attrs.evolve(files, template=template or files.template)
        path = locate_file(folder, TOKENIZER_FILE)
        read = {
            name: (path.parent / name).read_text(encoding="utf-8")
            for name in (TOKENIZER_FILE, *BESIDE)
            if (path.parent / name).is_file()
        }
        return read_files(read, repr(folder), template)
