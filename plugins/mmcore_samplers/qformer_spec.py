"""The Q-Former before it exists."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import attrs

from mmcore.interfaces import (
    CAPTION,
    CONTRAST,
    MATCH,
    Attention,
    LoadReport,
    PairText,
    PatchGrid,
    Renaming,
    Wanted,
    WeightsError,
)
from mmcore.kit.weights import RANDOM, TOKENIZER, locate, wanted
from mmcore_registry import Problem, doc
from mmcore_samplers import qformer_names
from mmcore_samplers.folder_spec import FolderSpec
from mmcore_samplers.qformer_words import CHARACTERS, VOCABULARY, rows_of

if TYPE_CHECKING:
    from torch import nn

ge, le = attrs.validators.ge, attrs.validators.le


@attrs.frozen(kw_only=True)
class QFormerSpec(FolderSpec):
    """Queries in a BERT that look at the patches, and can be compared with texts (BLIP-2)."""

    name: ClassVar[str] = "qformer"

    weights: str = attrs.field(
        default=RANDOM,
        metadata=doc("a folder or hf:// of a BLIP-2 checkpoint, or with our names, or random"),
    )
    queries: int = attrs.field(
        default=32, validator=ge(1), metadata=doc("Q: tokens of a view", unit="tokens")
    )
    width: int = attrs.field(
        default=768, validator=ge(1), metadata=doc("width of queries and words")
    )
    layers: int = attrs.field(default=12, validator=ge(1), metadata=doc("number of layers"))
    heads: int = attrs.field(
        default=12, validator=ge(1), metadata=doc("attention heads; they share the width")
    )
    mlp_width: int = attrs.field(
        default=3072, validator=ge(1), metadata=doc("inner width of the feed-forward layers")
    )
    cross_attention_frequency: int = attrs.field(
        default=2,
        validator=ge(1),
        metadata=doc("every so many layers, from the first on, look at the patches"),
    )
    text_tower: bool = attrs.field(
        default=True,
        metadata=doc("whether it reads texts, for itc, itm and itg; else it makes tokens only"),
    )
    text_tokens: int = attrs.field(
        default=32,
        validator=[ge(3), le(512)],
        metadata=doc("what is read of a text, with what goes before and behind it", unit="tokens"),
    )
    compare_width: int = attrs.field(
        default=256,
        validator=ge(1),
        metadata=doc("width in which pictures and texts are compared"),
    )
    vocabulary: str = attrs.field(
        default=CHARACTERS,
        metadata=doc(
            "a folder or hf:// with tokenizer.json or vocab.txt of bert-base-uncased; or "
            '"characters", which needs no file'
        ),
    )
    vocabulary_size: int = attrs.field(
        default=attrs.Factory(lambda self: rows_of(self.vocabulary), takes_self=True),
        validator=ge(7),
        metadata=doc(
            "rows of the words' embeddings, the last of which begins captions; if not given, as "
            "many as bert-base-uncased and BLIP-2 have",
            unit="words",
        ),
    )

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        if self.width % self.heads:
            yield Problem("heads", f"is {self.heads}, wanted a divisor of width = {self.width}")
        if self.text_tower:
            try:
                self.pair_text()
            except WeightsError as error:
                missing = not self._vocabulary_found()
                yield Problem("vocabulary", str(error), machine=missing)

    def wants(self) -> Iterator[Wanted]:
        yield from super().wants()
        if self.text_tower:
            yield from wanted("vocabulary", self.vocabulary, TOKENIZER, VOCABULARY)

    @property
    def provides(self) -> frozenset[str]:
        return frozenset({CONTRAST, MATCH, CAPTION} if self.text_tower else ())

    @property
    def max_pair_text(self) -> int:
        return self.text_tokens if self.text_tower else 0

    def pair_text(self) -> PairText | None:
        if not self.text_tower:
            return None
        from mmcore_samplers.qformer_text import read_text

        return read_text(self.vocabulary, size=self.vocabulary_size, most=self.text_tokens)

    def unused(self, names: Sequence[str], needs: frozenset[str]) -> frozenset[str]:
        return qformer_names.unused(names, needs)

    def tokens_per_view(self, grid: PatchGrid) -> int:
        return self.queries

    def build(
        self,
        *,
        dim_in: int,
        dim_out: int,
        attention: Attention,
        grid: PatchGrid | None = None,
    ) -> nn.Module:
        """The grid may be left out: to the queries, all patches are alike."""
        from mmcore_samplers.qformer import QFormer

        return QFormer(
            dim_in,
            dim_out,
            queries=self.queries,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            mlp_width=self.mlp_width,
            cross_attention_frequency=self.cross_attention_frequency,
            vocabulary=self.vocabulary_size if self.text_tower else None,
            compare_width=self.compare_width,
            attention=attention,
        )

    def load(self, module: nn.Module) -> LoadReport | None:
        if self.weights == RANDOM:
            return None
        from mmcore_samplers.qformer_weights import load_qformer

        return load_qformer(module, self.weights)

    def published(self, names: Sequence[str]) -> Sequence[Renaming]:
        return tuple(Renaming((name,), (qformer_names.published(name),)) for name in names)

    def tiny(self) -> Self:
        return attrs.evolve(
            self,
            weights=RANDOM,
            queries=8,
            width=32,
            layers=2,
            heads=2,
            mlp_width=64,
            compare_width=16,
            vocabulary=CHARACTERS,
            vocabulary_size=rows_of(CHARACTERS),
        )

    def thin(self) -> Self:
        # The words' table keeps its rows: only what is written in a file becomes characters.
        rows = max(self.vocabulary_size, rows_of(CHARACTERS))
        return attrs.evolve(
            self, weights=RANDOM, layers=1, vocabulary=CHARACTERS, vocabulary_size=rows
        )

    def _vocabulary_found(self) -> bool:
        if self.vocabulary == CHARACTERS:
            return True
        try:
            locate(self.vocabulary)
        except WeightsError:
            return False
        return True
