"""The source ``preference-pairs``: prompt, chosen and rejected, as TRL and RLAIF-V write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmcore.interfaces import Part, Rejection, Row, Sample, SampleKey, TextPart
from mmcore.kit.conversation import TAG, Turn, lay_out, read_turns
from mmcore_blip3.record_files import RecordFiles, object_of


class PreferencePairs(RecordFiles):
    """Reads a question and two answers a row, each of them text or a list of messages.

    Args:
        path, image_columns, name_columns, images: as ``RecordFiles`` takes them.
        prompt_column: the question; not needed where the answers begin with it.
        chosen_column, rejected_column: the better and the worse answer.
        packed_column: a column of JSON text that holds the three; empty where they are columns.
        pairs: whether the worse answer is given beside the better one.
    """

    def __init__(
        self,
        *,
        path: str,
        images: str,
        image_columns: Sequence[str],
        name_columns: Sequence[str],
        prompt_column: str,
        chosen_column: str,
        rejected_column: str,
        packed_column: str,
        pairs: bool,
    ) -> None:
        answers = (chosen_column, rejected_column)
        super().__init__(
            path=path,
            columns=(packed_column,) if packed_column else (prompt_column, *answers),
            needed=(packed_column,) if packed_column else answers,
            image_columns=image_columns,
            name_columns=name_columns,
            images=images,
        )
        self.prompt_column = prompt_column
        self.chosen_column = chosen_column
        self.rejected_column = rejected_column
        self.packed_column = packed_column
        self.pairs = pairs

    def parse(self, row: Row, key: SampleKey) -> Sample:
        entry = self.entry(row)
        texts = entry
        if self.packed_column:
            texts = object_of(self.packed_column, entry.get(self.packed_column))
        prompt = texts.get(self.prompt_column)
        chosen = _conversation(prompt, self.chosen_column, texts.get(self.chosen_column))
        rejected = _conversation(prompt, self.rejected_column, texts.get(self.rejected_column))
        if chosen[:-1] != rejected[:-1]:
            raise Rejection("questions-differ", "the two answers are not to the same question")
        parts = lay_out(chosen, self.pictures(entry, row))
        return pair_of(key, parts, rejected[-1].text, pairs=self.pairs)


def pair_of(key: SampleKey, parts: tuple[Part, ...], worse: str, *, pairs: bool) -> Sample:
    """A conversation with the worse answer beside its last one, or without it.

    Raises:
        Rejection: ``equal-answers``.
    """
    last = parts[-1]
    assert isinstance(last, TextPart)
    if last.text.strip() == worse.strip():
        raise Rejection("equal-answers", f"both answers are {worse!r}")
    dispreferred = (TextPart(worse, "assistant"),) if pairs else ()
    return Sample(key=key, parts=parts, dispreferred=dispreferred)


def _conversation(prompt: object, name: str, answer: object) -> list[Turn]:
    """The question and one answer; the question is the prompt, unless the answer's own messages
    begin with it."""
    messages = _messages(name, answer, "assistant")
    if len(messages) < 2:
        messages = [*_messages("prompt", prompt, "user"), *messages]
    return read_turns({"conversations": messages})


def _messages(name: str, said: object, role: str) -> list[dict[str, object]]:
    """One message of ``role`` if it is text, else the messages as they are."""
    if isinstance(said, str):
        return [{"role": role, "content": said}]
    if isinstance(said, list) and all(isinstance(one, Mapping) for one in said):
        return [{**one, "content": _content(one.get("content"))} for one in said]
    raise Rejection("malformed-row", f"{name} is {said!r}, wanted text or a list of messages")


def _content(content: object) -> object:
    """Text, in which a tag stands for every picture; what is neither is left as it is."""
    if not isinstance(content, list):
        return content
    spoken = []
    for item in content:
        kind = item.get("type") if isinstance(item, Mapping) else None
        if kind == "image":
            spoken.append(TAG)
        elif kind == "text" and isinstance(item.get("text"), str):
            spoken.append(item["text"])
        else:
            raise Rejection("malformed-row", f"a message holds {item!r}, wanted text or image")
    return "".join(spoken)
