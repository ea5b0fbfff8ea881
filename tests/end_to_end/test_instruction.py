"""An instruction-aware sampler from conversations to image tokens: it hears the question of the
picture's own turn, and no answer."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import attrs
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import mmcore
from mmcore.data.collate import blank_batch, collate
from mmcore.data.prepare import Preparer
from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    PackedBatch,
    Part,
    Sample,
    SampleKey,
    TextPart,
)
from mmcore.model.vlm import VisionLanguageModel
from mmcore_objectives.spec import AutoregressiveSpec

ENCODER = mmcore.spec("encoder", "siglip").tiny()
SAMPLER = attrs.evolve(
    mmcore.spec("token_sampler", "perceiver").tiny(), instruction=True, instruction_tokens=24
)
LLM = mmcore.spec("llm", "phi3").tiny()


def png(colour: str, width: int = 60) -> ImageRef:
    content = BytesIO()
    Image.new("RGB", (width, 60), colour).save(content, "PNG")
    return ImageRef(data=content.getvalue())


RED, WIDE = png("red"), png("green", width=200)


def ask(text: str) -> TextPart:
    return TextPart(text, "user", loss=False)


def say(text: str) -> TextPart:
    return TextPart(text, "assistant")


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    torch.manual_seed(0)
    built = VisionLanguageModel(
        ENCODER.build(attention="sdpa"),
        SAMPLER.build(
            dim_in=ENCODER.feature_width,
            dim_out=LLM.embedding_width,
            grid=ENCODER.view.grid,
            attention="sdpa",
        ),
        LLM.build(attention="sdpa"),
    )
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return built


@pytest.fixture(scope="module")
def preparer() -> Preparer:
    return Preparer(
        text=LLM.text(),
        tiler=mmcore.spec("tiler", "anyres"),
        view=ENCODER.view,
        tokens_per_view=SAMPLER.tokens_per_view(ENCODER.view.grid),
        max_tokens=900,
        max_views=40,
        instruction_tokens=SAMPLER.max_instruction,
    )


def packed(preparer: Preparer, *samples: Sequence[Part]) -> PackedBatch:
    made = [
        one
        for number, parts in enumerate(samples)
        for one in preparer.tokenize(Sample(SampleKey("a", "b", number), tuple(parts)), "reject")
    ]
    return collate(
        made,
        [preparer.realise(one) for one in made],
        view=preparer.view,
        tokens_per_view=preparer.tokens_per_view,
        lane=0,
    )


@torch.no_grad()
def image_tokens(model: VisionLanguageModel, batch: PackedBatch) -> torch.Tensor:
    """What the sampler made when the pack went through the model."""
    seen: list[torch.Tensor] = []
    handle = model.token_sampler.register_forward_hook(lambda *call: seen.append(call[2]))
    try:
        model.hidden(batch)
    finally:
        handle.remove()
    [tokens_NQE] = seen
    return tokens_NQE


words = st.text("abc e", min_size=1, max_size=20).filter(str.strip)


@given(answers=st.lists(words, min_size=4, max_size=4), later=words)
@settings(max_examples=15, deadline=None)
def test_no_answer_and_no_later_question_changes_an_image_token(
    model, preparer, answers, later
) -> None:
    def talk(first: str, second: str, follow_up: str) -> list[Part]:
        shown = [ImagePart(RED, "user"), ask("What colour is it?"), ImagePart(WIDE, "user")]
        return [*shown, say(first), ask(follow_up), say(second)]

    one = image_tokens(model, packed(preparer, talk(*answers[:2], "And the size?")))
    other = image_tokens(model, packed(preparer, talk(*answers[2:], later)))
    assert one.shape[0] > 2
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_question_changes_them_and_only_its_own_pictures(model, preparer) -> None:
    def talk(question: str) -> list[Part]:
        first = [ImagePart(RED, "user"), ask("Which colour?"), say("red")]
        return [*first, ImagePart(RED, "user"), ask(question), say("red")]

    one = image_tokens(model, packed(preparer, talk("Which colour?")))
    other = image_tokens(model, packed(preparer, talk("How large is it?")))
    half = len(one) // 2
    assert half
    torch.testing.assert_close(one[:half], other[:half], rtol=1e-5, atol=1e-5)
    moved = (one[half:] - other[half:]).abs().amax((1, 2))
    assert (moved > 1e-3).all(), moved


def test_tokens_do_not_depend_on_what_else_is_in_the_pack(model, preparer) -> None:
    """Longer instructions beside it, or none, or pictures of documents."""
    alone = [ImagePart(RED, "user"), ask("Why?"), say("so")]
    longer = [ImagePart(WIDE, "user"), ask("Why is it not blue, or rather green?"), say("so")]
    document = [ImagePart(RED), TextPart("A red square.")]
    wanted = image_tokens(model, packed(preparer, alone))
    both = image_tokens(model, packed(preparer, alone, longer, document))
    torch.testing.assert_close(both[: len(wanted)], wanted, rtol=1e-4, atol=1e-5)
    plain = image_tokens(model, packed(preparer, document))
    torch.testing.assert_close(both[-len(plain) :], plain, rtol=1e-4, atol=1e-5)


def test_every_pack_gives_every_parameter_a_gradient(model, preparer) -> None:
    """So ranks stay in step: with instructions, without, without pictures, without samples."""
    objective = AutoregressiveSpec().build()
    packs = [
        packed(preparer, [ImagePart(RED, "user"), ask("Why?"), say("so")]),
        packed(preparer, [ImagePart(RED), TextPart("A red square.")]),
        packed(preparer, [TextPart("No picture at all.")]),
        blank_batch(preparer.view, preparer.text),
    ]
    assert [one.instruction_ids_NI is None for one in packs] == [False, True, True, True]
    for batch in packs:
        model.zero_grad()
        calls: list[int] = []
        embedding = next(m for m in model.llm.modules() if isinstance(m, torch.nn.Embedding))
        handle = embedding.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        objective.loss(model, batch).backward()
        handle.remove()
        assert len(calls) == 1, "the embedding is entered once, whatever the pack holds"
        learning = {n: p for n, p in model.named_parameters() if n not in model.frozen_for_good}
        assert [n for n, p in learning.items() if p.grad is None] == []


def test_the_loss_reaches_the_words_of_the_question(model, preparer) -> None:
    """Also by way of the image tokens, through the projection that only they go through."""
    batch = packed(preparer, [ImagePart(RED, "user"), ask("zebra"), say("so")])
    model.zero_grad()
    AutoregressiveSpec().build().loss(model, batch).backward()
    assert model.token_sampler.text_projection.weight.grad.abs().sum() > 0


def test_a_question_is_looked_at_as_in_training(model, preparer) -> None:
    parts = [ImagePart(WIDE, "user"), ask("Which colour?")]
    prompt = preparer.prompt(SampleKey("a", "b", 0), parts)
    asked = collate(
        [prompt],
        [preparer.realise(prompt)],
        view=preparer.view,
        tokens_per_view=preparer.tokens_per_view,
        lane=0,
    )
    taught = packed(preparer, [*parts, say("green")])
    torch.testing.assert_close(image_tokens(model, asked), image_tokens(model, taught))
