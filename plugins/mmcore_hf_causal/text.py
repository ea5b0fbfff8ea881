"""A tokenizer and its chat template as a text format: parts in, ids and loss mask out.

Words are tokenised together with the template's own text around them, up to the nearest control
tokens, as transformers would; but apart from these, so nothing that a dataset spells becomes one.
"""

from __future__ import annotations

import bisect
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
from tokenizers import Tokenizer

from mmcore.interfaces import ImageSlot, Part, Role, TextPart, TextRun, WeightsError
from mmcore.kit.rendering import is_document, is_learned, merged, numbered
from mmcore_hf_causal.template import ChatTemplate

IMAGE = "<image>"
ENDS = ("<|endoftext|>", "<|end_of_text|>", "<eos>", "</s>")
"""How the families' tokenizers end a document; instruction-tuned models name another token, that
of a turn, as their end."""

_TAG = re.compile(r"<\|.*\|>|<unused\d+>|<(start|end)_of_turn>")
_RESERVED = re.compile(r"<\|reserved_special_token_\d+\|>|<unused\d+>|<\|image_pad\|>")


@attrs.frozen(eq=False)
class TokenizerFiles:
    """What a tokenizer's files say.

    Attributes:
        tokenizer: the text of ``tokenizer.json``.
        template: the text of the chat template, or empty.
        names: ``bos_token`` and ``eos_token``, where ``tokenizer_config.json`` has them.
        origin: where they lie, for messages.
    """

    tokenizer: str
    template: str
    names: dict[str, str]
    origin: str


@attrs.frozen
class Control:
    """A token that no text becomes.

    Attributes:
        id: its id.
        swallows_before, swallows_after: whether white space beside it vanishes.
    """

    id: int
    swallows_before: bool
    swallows_after: bool


@attrs.frozen
class _Mark:
    """A control token at its place."""

    control: Control
    learned: bool


@attrs.frozen
class _Words:
    """Text at its place, whether the template's or a turn's."""

    text: str
    learned: bool


_Item = _Mark | _Words | ImageSlot


class ChatTextFormat:
    """Renders parts as a tokenizer's chat template does; learned are an assistant's words and the
    token that ends its turn.

    Args:
        files: the tokenizer.
        rows: rows of the model's embedding.
        system_prompt: said in a conversation without a system turn; empty leaves it to the
            template.

    Raises:
        WeightsError: the files are no tokenizer, or one that cannot be rendered exactly, or the
            embedding is too small for it.
    """

    def __init__(self, files: TokenizerFiles, *, rows: int, system_prompt: str) -> None:
        self._files, self._rows, self._system_prompt = files, rows, system_prompt
        self.tokenizer, self.controls = _read(files)
        self.tokenizer.encode_special_tokens = True  # text that spells one stays text
        spelled = sorted(self.controls, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, spelled)) or r"(?!)")
        self._begin = tuple(self.tokenizer.encode("", add_special_tokens=True).ids)
        self._ids = 1 + max(self.tokenizer.get_vocab(with_added_tokens=True).values())
        self.end_id = self._end_id()
        self.image_id = self._image_id()
        if max(self._ids, self.image_id + 1) > rows:
            raise WeightsError(
                f"{files.origin} has {self._ids} ids and wants one more for pictures, but the "
                f"model's vocabulary has {rows} rows; a larger `vocabulary` appends some"
            )
        self._names = {one.id: name for name, one in self.controls.items()} | {self.image_id: IMAGE}
        self._template = ChatTemplate(files.template, files.names) if files.template else None
        self.turn_end_id = self._turn_end_id()

    def __reduce__(self) -> tuple[object, ...]:
        return _make, (self._files, self._rows, self._system_prompt)

    @property
    def stop_ids(self) -> frozenset[int]:
        return frozenset((self.end_id, self.turn_end_id))

    @property
    def vocabulary_size(self) -> int:
        return max(self._ids, self.image_id + 1)

    def render(self, parts: Sequence[Part]) -> list[TextRun | ImageSlot]:
        """A whole sample; see ``mmcore.interfaces.TextFormat``.

        Raises:
            Rejection: ``mixed-roles``, or ``chat-template`` where the template refuses the order
                of roles.
            WeightsError: a conversation, but the tokenizer has no chat template.
        """
        if is_document(parts):
            end = TextRun((self.end_id,), learned=True)
            return merged([*self._document(parts), end])
        return merged(self._encoded(self._conversation(parts, opening=False)))

    def prompt(self, parts: Sequence[Part]) -> list[TextRun | ImageSlot]:
        """Up to where the assistant begins, or goes on if it spoke last; nothing is learned."""
        if is_document(parts):
            pieces = self._document(parts)
        else:
            pieces = self._encoded(self._conversation(parts, opening=True))
        return merged(
            attrs.evolve(piece, learned=False) if isinstance(piece, TextRun) else piece
            for piece in pieces
        )

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        text: str = self.tokenizer.decode(list(ids))
        return text

    def special(self, token: int) -> str:
        """What a special token is called; empty for every other id."""
        return self._names.get(token, "")

    def _document(self, parts: Sequence[Part]) -> Iterator[TextRun | ImageSlot]:
        if self._begin:
            yield TextRun(self._begin, learned=False)
        yield from self._encoded(
            _Words(one.text, is_learned(one)) if isinstance(one, TextPart) else one
            for one in numbered(parts)
        )

    def _conversation(self, parts: Sequence[Part], *, opening: bool) -> Iterator[_Item]:
        """Turn after turn. With ``opening`` the assistant is left to speak, or to speak on."""
        template = self._template_or_fail()
        turns = self._turns(parts)
        roles = tuple(role for role, _ in turns)
        skeleton = template.skeleton(roles, opening)
        for number, (role, words) in enumerate(turns):
            closes = number and _is_learned_turn(turns[number - 1])
            yield from self._literal(skeleton.literals[number], closes=bool(closes))
            yield from _stripped(words, *skeleton.stripped[number])
            if number == len(turns) - 1 and not (opening and role == "assistant"):
                closes = _is_learned_turn(turns[number])
                yield from self._literal(skeleton.literals[-1], closes=bool(closes))

    def _turns(self, parts: Sequence[Part]) -> list[tuple[Role, list[TextPart | ImageSlot]]]:
        roles = (part.role for part in parts)
        spoken = itertools.groupby(zip(roles, numbered(parts), strict=True), key=lambda one: one[0])
        turns = [(role, [word for _, word in words]) for role, words in spoken]
        if self._system_prompt and all(role != "system" for role, _ in turns):
            turns.insert(0, ("system", [TextPart(self._system_prompt, "system", loss=False)]))
        leads = len(turns) > 1 and turns[0][0] == "system" and turns[1][0] == "user"
        if leads and not self._template_or_fail().takes_system:
            # As Gemma 3's own template does for the lack of a system turn.
            (_, system), (role, user) = turns[:2]
            turns[:2] = [(role, [*system, TextPart("\n\n", role, loss=False), *user])]
        return turns

    def _literal(self, text: str, *, closes: bool) -> Iterator[_Item]:
        """The template's own text; with ``closes`` it begins with the end of a learned turn."""
        place = 0
        for match in self._control.finditer(text):
            if match.start() > place:
                yield _Words(text[place : match.start()], learned=closes)
            yield _Mark(self.controls[match[0]], learned=closes)
            closes, place = False, match.end()
        if place < len(text):
            yield _Words(text[place:], learned=False)

    def _encoded(self, items: Iterable[_Item]) -> Iterator[TextRun | ImageSlot]:
        """Words between control tokens and pictures are tokenised as one."""
        groups = [
            (kind, list(group))
            for kind, group in itertools.groupby(items, key=lambda one: type(one))
        ]
        for number, (kind, group) in enumerate(groups):
            if kind is _Words:
                before = groups[number - 1][1][-1] if number else None
                after = groups[number + 1][1][0] if number + 1 < len(groups) else None
                yield from self._encode(
                    [one for one in group if isinstance(one, _Words)],
                    left=isinstance(before, _Mark) and before.control.swallows_after,
                    right=isinstance(after, _Mark) and after.control.swallows_before,
                )
            for one in group:
                if isinstance(one, _Mark):
                    yield TextRun((one.control.id,), one.learned)
                elif isinstance(one, ImageSlot):
                    yield one

    def _encode(self, words: Sequence[_Words], *, left: bool, right: bool) -> Iterator[TextRun]:
        """Joint ids of adjacent words; a token is learned if the words that it ends in are."""
        text = "".join(one.text for one in words)
        start = len(text) - len(text.lstrip()) if left else 0
        stop = max(start, len(text.rstrip())) if right else len(text)
        encoding = self.tokenizer.encode(text[start:stop], add_special_tokens=False)
        ends = list(itertools.accumulate(len(one.text) for one in words))
        learned = [
            words[bisect.bisect_left(ends, start + max(last, 1))].learned
            for _, last in encoding.offsets
        ]
        for flag, run in itertools.groupby(zip(encoding.ids, learned, strict=True), lambda x: x[1]):
            yield TextRun(tuple(token for token, _ in run), flag)

    def _template_or_fail(self) -> ChatTemplate:
        if self._template is None:
            raise WeightsError(
                f"{self._files.origin} has no chat template, so it renders documents only; give "
                "the path of one in `chat_template`"
            )
        return self._template

    def _end_id(self) -> int:
        for name in (*ENDS, self._files.names.get("eos_token")):
            if name in self.controls:
                return self.controls[name].id
        raise WeightsError(
            f"{self._files.origin} has no token that ends a document: neither {list(ENDS)} nor the "
            "eos_token of its tokenizer_config.json"
        )

    def _image_id(self) -> int:
        """The tokenizer's own; a row without a token; or a token that is reserved and unused."""
        if IMAGE in self.controls:
            return self.controls[IMAGE].id
        if self._ids < self._rows:
            return self._ids
        spare = [one.id for name, one in self.controls.items() if _RESERVED.fullmatch(name)]
        return max(spare, default=self._ids)

    def _turn_end_id(self) -> int:
        if self._template is None:
            return self.end_id
        closing = self._template.skeleton(("user", "assistant"), False).closing
        match = self._control.search(closing)
        if match is None:
            raise WeightsError(
                f"the chat template of {self._files.origin} ends an assistant's turn with "
                f"{closing!r}, in which there is no special token at which an answer could stop"
            )
        return self.controls[match[0]].id


def read_files(read: Mapping[str, str], origin: str, template: str = "") -> TokenizerFiles:
    """Sort out the texts of a tokenizer's files, by their names.

    Args:
        read: texts of ``tokenizer.json`` and, where they are, of ``tokenizer_config.json`` and
            ``chat_template.jinja``.
        origin: where they lie, for messages.
        template: text of a chat template that goes before theirs.

    Raises:
        WeightsError: a file is no JSON.
    """
    try:
        config: dict[str, Any] = json.loads(read.get("tokenizer_config.json") or "{}")
    except ValueError as error:
        raise WeightsError(f"tokenizer_config.json of {origin} is no JSON: {error}") from None
    names = {}
    for key in ("bos_token", "eos_token"):
        value = config.get(key)
        value = value.get("content") if isinstance(value, dict) else value
        if isinstance(value, str):
            names[key] = value
    inside = config.get("chat_template") or ""
    if isinstance(inside, list):  # several by name, as some tokenizers have
        inside = {one["name"]: one["template"] for one in inside}.get("default", "")
    template = template or read.get("chat_template.jinja") or inside
    return TokenizerFiles(read["tokenizer.json"], template, names, origin)


def _make(files: TokenizerFiles, rows: int, system_prompt: str) -> ChatTextFormat:
    return ChatTextFormat(files, rows=rows, system_prompt=system_prompt)


def _read(files: TokenizerFiles) -> tuple[Tokenizer, dict[str, Control]]:
    """The tokenizer, and its control tokens by what they spell.

    Some tokenizers add tokens for runs of white space and the like, which text does become; what
    is marked special, or written by the chat template, or looks like a tag, it does not.
    """
    try:
        content = json.loads(files.tokenizer)
        added = content["added_tokens"]
        for token in added:
            spelled = token["content"]
            is_tag = _TAG.fullmatch(spelled) or (spelled.strip() and spelled in files.template)
            token["special"] = bool(token["special"] or is_tag)
        tokenizer = Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # the library raises bare exceptions
        raise WeightsError(f"{files.origin} is no tokenizer: {error}") from error
    steps = content.get("pre_tokenizer") or {}
    for step in (steps, *steps.get("pretokenizers", ())):
        if step.get("type") == "Metaspace" and step.get("prepend_scheme") == "first":
            raise WeightsError(
                f"{files.origin} treats the first words of a text unlike all later ones "
                "(Metaspace, prepend_scheme 'first'), so turns cannot be tokenised one by one"
            )
    controls = {
        token["content"]: Control(token["id"], token["lstrip"], token["rstrip"])
        for token in added
        if token["special"]
    }
    return tokenizer, controls


def _is_learned_turn(turn: tuple[Role, Sequence[TextPart | ImageSlot]]) -> bool:
    """Whether the end of a turn is learned: as its last words are."""
    texts = [word for word in turn[1] if isinstance(word, TextPart)]
    return turn[0] == "assistant" and bool(texts) and is_learned(texts[-1])


def _stripped(
    words: Sequence[TextPart | ImageSlot], left: str | None, right: str | None
) -> Iterator[_Words | ImageSlot]:
    """A turn's words without what the template would strip from the whole of them."""
    texts: list[_Words | ImageSlot] = [
        _Words(word.text, is_learned(word)) if isinstance(word, TextPart) else word
        for word in words
    ]
    for order, side in ((range(len(texts)), left), (range(len(texts) - 1, -1, -1), right)):
        for number in order:
            word = texts[number]
            if side == "" or isinstance(word, ImageSlot):
                break
            rest = word.text.lstrip(side) if order.step == 1 else word.text.rstrip(side)
            texts[number] = attrs.evolve(word, text=rest)
            if rest:
                break
    yield from (word for word in texts if isinstance(word, ImageSlot) or word.text)
