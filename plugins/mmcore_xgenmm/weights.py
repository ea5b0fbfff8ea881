"""The names of xGen-MM's tensors, around those of the parts' publishers, and its split vocabulary.

The official code keeps Phi-3's table of embeddings as it is and puts the rows of the tokens that it
adds (``<image>`` and its like) into a table beside it; the same for the output layer, which it
also gives a bias. Rows of the large tables from the first added id on are never looked at. We keep
one table of exactly the ids that exist: the first ``first_added`` rows, then the added ones. So our
logits are the official ones, number for number. The rows that are never looked at are kept aside.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch

from mmcore.interfaces import Renaming

PREFIXES = {
    "encoder": "vision_encoder.",
    "token_sampler": "vision_tokenizer.",
    "llm": "lang_model.",
}
"""Where the training code keeps each part; the Hugging Face folders put ``vlm.`` before."""

HUB_PREFIX = "vlm."
EMBEDDING = "model.embed_tokens.weight"
HEAD, HEAD_BIAS = "lm_head.weight", "lm_head.bias"
ADDED = {
    EMBEDDING: "model.embed_tokens.additional_embedding.weight",
    HEAD: "lm_head.additional_fc.weight",
    HEAD_BIAS: "lm_head.additional_fc.bias",
}
"""The large tables, and where the rows of the added tokens lie."""

COMPUTED = ("rotary_emb.inv_freq", "embeddings.position_ids")
"""Ends of names of buffers that old files carry along; they are computed anew."""


@attrs.frozen
class SplitVocabulary:
    """How the rows of our tables become those of the official code's two.

    Attributes:
        first_added: the first id that has its row in the small table.
        added: rows of the small table.
        large: rows of the large table.
    """

    first_added: int
    added: int
    large: int

    @property
    def ids(self) -> int:
        """Rows of a table of ours that holds exactly the ids that exist."""
        return self.first_added + self.added

    def join(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """Large and small table -> our table, and the rows that nothing looks at."""
        large, small = tensors
        return [torch.cat([large[: self.first_added], small]), large[self.first_added :]]

    def split(self, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        """Our table (and the rows kept aside) -> large and small table.

        Without kept rows the large table gets our own rows there, or zeros where we have none.
        """
        ours, small = tensors[0], tensors[0][self.first_added : self.ids]
        if len(tensors) == 2:
            rest = tensors[1]
        else:
            rest = ours[self.first_added : self.large] if len(ours) > self.ids else ours[:0]
        missing = self.large - self.first_added - len(rest)
        zeros = ours.new_zeros(missing, *ours.shape[1:])
        return [torch.cat([ours[: self.first_added], rest, zeros]), small]

    def no_bias(self, _: list[torch.Tensor]) -> list[torch.Tensor]:
        """The biases of a model that has none."""
        return [torch.zeros(self.large), torch.zeros(self.added)]


@attrs.frozen
class XGenMMNames:
    """The correspondence of one checkpoint.

    Attributes:
        vocabulary: how its tables are split.
        prefix: before every name.
        keeps: whether the rows that nothing looks at are kept aside.
    """

    vocabulary: SplitVocabulary
    prefix: str
    keeps: bool

    def renamed(self, part: str, published: Sequence[Renaming]) -> Sequence[Renaming]:
        """See ``mmcore.interfaces.Correspondence``."""
        found = [self._renamed(part, one) for one in published]
        if part == "llm" and not any(HEAD_BIAS in one.ours for one in published):
            names = (HEAD_BIAS, ADDED[HEAD_BIAS])
            found.append(
                Renaming((), self._theirs(part, names), lambda _: [], self.vocabulary.no_bias)
            )
        return found

    def _renamed(self, part: str, one: Renaming) -> Renaming:
        if part != "llm" or one.theirs[0] not in ADDED:
            return attrs.evolve(one, theirs=self._theirs(part, one.theirs))
        name = one.theirs[0]
        return Renaming(
            ours=(*one.ours, f"unread.{name}") if self.keeps else one.ours,
            theirs=self._theirs(part, (name, ADDED[name])),
            to_ours=self.vocabulary.join,
            to_theirs=self.vocabulary.split,
            aside=int(self.keeps),
        )

    def _theirs(self, part: str, names: Sequence[str]) -> tuple[str, ...]:
        return tuple(f"{self.prefix}{PREFIXES[part]}{name}" for name in names)
