"""Let a model answer: questions in, texts out, many at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
import torch

from mmcore.data.collate import collate
from mmcore.data.prepare import Preparer
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import PackedBatch, Part, Rejection, SampleKey
from mmcore.model.vlm import VisionLanguageModel

Asked = tuple[SampleKey, tuple[Part, ...]]
"""Where a question comes from, and what the model is shown."""


class UnanswerableError(ValueError):
    """A question cannot be shown to the model; the message says which and why."""


@attrs.frozen(eq=False)
class Answerer:
    """A model with everything that it needs to be asked.

    Attributes:
        model: on ``device``.
        preparer: as in training: text format, tiler, and what a pack holds.
        device: of the model.
        precision: number format of the matrix products.
    """

    model: VisionLanguageModel
    preparer: Preparer
    device: torch.device
    precision: str = "fp32"

    def answer(
        self,
        asked: Sequence[Asked],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        on_answers: Callable[[int], None] = lambda _: None,
    ) -> list[str]:
        """One text for every question, in order.

        Args:
            asked: the questions.
            max_new_tokens: longest answer.
            temperature: 0 takes the likeliest token; above, the next token is drawn.
            top_p: where one is drawn, the share of probability from which.
            on_answers: told how many more have been answered.

        Raises:
            UnanswerableError: a picture cannot be read, or a question does not fit a pack.
        """
        outputs: list[str] = []
        for batch in self._batches(asked):
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                answers = self.model.generate(
                    batch.to(self.device),
                    max_new_tokens=max_new_tokens,
                    stop_ids=self.preparer.text.stop_ids,
                    temperature=temperature,
                    top_p=top_p,
                )
            outputs += [self.preparer.text.decode(ids).strip() for ids in answers]
            on_answers(len(answers))
        return outputs

    def _batches(self, asked: Sequence[Asked]) -> Iterator[PackedBatch]:
        """Prompts in order, as many at once as a pack holds."""
        waiting: list[TokenizedSample] = []
        tokens = views = 0
        for key, parts in asked:
            prompt = self._prompt(key, parts)
            full = (
                tokens + prompt.tokens > self.preparer.max_tokens
                or views + prompt.views > self.preparer.max_views
            )
            if waiting and full:
                yield self._collate(waiting)
                waiting, tokens, views = [], 0, 0
            waiting.append(prompt)
            tokens, views = tokens + prompt.tokens, views + prompt.views
        if waiting:
            yield self._collate(waiting)

    def _prompt(self, key: SampleKey, parts: Sequence[Part]) -> TokenizedSample:
        try:
            return self.preparer.prompt(key, parts)
        except Rejection as rejection:
            raise UnanswerableError(_told(key, rejection)) from rejection

    def _collate(self, prompts: Sequence[TokenizedSample]) -> PackedBatch:
        tiles = []
        for prompt in prompts:
            try:
                tiles.append(self.preparer.realise(prompt))
            except Rejection as rejection:
                raise UnanswerableError(_told(prompt.key, rejection)) from rejection
        return collate(
            prompts,
            tiles,
            view=self.preparer.view,
            tokens_per_view=self.preparer.tokens_per_view,
            lane=-1,
        )


def _told(key: SampleKey, rejection: Rejection) -> str:
    """A question of a person has no shard that it could be found in."""
    if key.shard:
        return f"{key}: {rejection}"
    return f"this question cannot be shown to the model: {rejection.detail} ({rejection.reason})"
