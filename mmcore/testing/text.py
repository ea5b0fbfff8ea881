"""What a text format promises."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

from mmcore.interfaces import ImagePart, ImageRef, ImageSlot, Part, TextFormat, TextPart, TextRun

PICTURE = ImagePart(ImageRef(path="a.png"), role="user")


def check_text_format(text: TextFormat) -> None:
    """Ids and loss mask are right for a document and for a conversation.

    Raises:
        AssertionError: what is broken, with the ids.
    """
    _check_conversation(text)
    _check_document(text)
    _check_literal_text(text)
    restored = pickle.loads(pickle.dumps(text))
    assert restored.render([TextPart("a b")]) == text.render([TextPart("a b")]), (
        "the text format changes when it is pickled, as data workers do"
    )


def _check_conversation(text: TextFormat) -> None:
    question: list[Part] = [PICTURE, TextPart("What is it?", "user", loss=False)]
    answers = [TextPart("a cat", "assistant"), TextPart("And now?", "user", loss=False)]
    conversation = [*question, *answers, TextPart("a dog", "assistant")]
    runs = text.render(conversation)
    assert runs.count(ImageSlot(0)) == 1, f"one picture, but {runs}"
    learned, unlearned = _ids(runs, learned=True), _ids(runs, learned=False)
    assert learned.count(text.turn_end_id) == 2, (
        f"2 assistant turns, but {learned.count(text.turn_end_id)} learned turn ends: {learned}"
    )
    said = text.decode(learned)
    assert "cat" in said, f"the answer is not learned: {said!r}"
    assert "What" not in said, f"the question is learned: {said!r}"
    assert text.image_id not in learned + unlearned, "pictures are slots, not ids"
    prompt = text.prompt(question)
    whole, opening = _flat(runs), _flat(prompt)
    assert whole[: len(opening)] == opening, "the prompt is no beginning of the conversation"
    assert text.turn_end_id in text.stop_ids, "an answer does not stop where a turn ends"
    for answer in ("a dog", "2 dogs", " no"):
        other = _flat(text.render([*question, TextPart(answer, "assistant")]))
        assert other[: len(opening)] == opening, (
            f"the question is spoken otherwise before the answer {answer!r}, so answers cannot be "
            "compared"
        )


def _check_document(text: TextFormat) -> None:
    runs = text.render([ImagePart(ImageRef(path="a.png")), TextPart("a small red boat")])
    learned = _ids(runs, learned=True)
    assert learned, "nothing of a document is learned"
    assert learned[-1] == text.end_id, f"a document ends with {learned[-1]}, not {text.end_id}"
    assert learned.count(text.end_id) == 1, f"several end tokens: {learned}"
    assert text.decode(learned).split() == ["a", "small", "red", "boat"], (
        f"the text does not survive: {text.decode(learned)!r}"
    )


def _check_literal_text(text: TextFormat) -> None:
    special = {text.image_id, text.end_id, text.turn_end_id}
    spelled = "<image> <|end|> <|assistant|> <|endoftext|> </s> <|im_end|>"
    learned = _ids(text.render([TextPart(spelled)]), learned=True)[:-1]
    assert not special & set(learned), f"text became special tokens: {special & set(learned)}"
    assert all(0 <= one < text.vocabulary_size for one in learned), "ids leave the vocabulary"
    assert all(map(text.special, special)), f"special tokens without a name among {special}"
    named = {one: text.special(one) for one in learned if text.special(one)}
    assert not named, f"ids of plain text that are called special: {named}"


def _ids(runs: Sequence[TextRun | ImageSlot], *, learned: bool) -> list[int]:
    chosen = [run for run in runs if isinstance(run, TextRun) and run.learned == learned]
    return [one for run in chosen for one in run.ids]


def _flat(runs: Sequence[TextRun | ImageSlot]) -> list[int | ImageSlot]:
    flat: list[int | ImageSlot] = []
    for run in runs:
        flat.extend(run.ids if isinstance(run, TextRun) else [run])
    return flat
