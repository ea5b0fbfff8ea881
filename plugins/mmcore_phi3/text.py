"""Phi-3's tokenizer and chat format: parts in, ids and loss mask out, in one pass."""

from __future__ import annotations

import bisect
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
from tokenizers import Tokenizer

from mmcore.interfaces import (
    ImageSlot,
    Part,
    Role,
    TextPart,
    TextRun,
    WeightsError,
)
from mmcore.kit.rendering import is_document, is_learned, merged, numbered

END, TURN_END = "<|endoftext|>", "<|end|>"
TAGS: dict[Role, str] = {
    "system": "<|system|>",
    "user": "<|user|>",
    "assistant": "<|assistant|>",
}
IMAGE = "<image>"


@attrs.frozen
class Tag:
    """A special token of the chat format.

    Attributes:
        id: its id.
        swallows: whether white space that follows it vanishes (``rstrip`` of the tokenizer).
    """

    id: int
    swallows: bool


@attrs.frozen(eq=False)
class PhiTextFormat:
    """Renders parts as Phi-3 reads them; a turn is ``<|user|>``, newline, words, ``<|end|>``.

    What is learned of a turn is exactly its words and its end tag. Text is tokenised apart from the
    tags around it, so nothing that a dataset spells becomes a tag.

    Attributes:
        tokenizer: for text; takes its added tokens for plain text.
        tags: the special tokens by what they spell.
        image_id: see ``mmcore.interfaces.TextFormat``. The tokenizer's ``<image>`` where it has
            one, else the first row of the model's embedding that no token uses.
        system_prompt: said in a conversation without a system turn; empty for nothing.
    """

    tokenizer: Tokenizer
    tags: dict[str, Tag]
    image_id: int
    system_prompt: str

    @classmethod
    def from_file(cls, path: Path, *, rows: int, system_prompt: str) -> PhiTextFormat:
        """Read a ``tokenizer.json`` for a model whose embedding has ``rows`` rows.

        Raises:
            WeightsError: it is no Phi-3 tokenizer, or the embedding is too small for it.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            added = content["added_tokens"]
            # Only tokens marked as special can be told apart from text that spells the same.
            tokens = [token | {"special": True} for token in added]
            tokenizer = Tokenizer.from_str(json.dumps(content | {"added_tokens": tokens}))
        except Exception as error:  # the library raises bare exceptions
            raise WeightsError(f"{str(path)!r} is no tokenizer: {error}") from error
        tags = {token["content"]: Tag(token["id"], token["rstrip"]) for token in added}
        missing = [one for one in (END, TURN_END, *TAGS.values()) if one not in tags]
        if missing:
            raise WeightsError(f"{str(path)!r} is no Phi-3 tokenizer: it lacks {missing}")
        ids = 1 + max(tokenizer.get_vocab(with_added_tokens=True).values())
        image_id = tags[IMAGE].id if IMAGE in tags else ids
        if max(ids, image_id + 1) > rows:
            raise WeightsError(
                f"{str(path)!r} has {ids} ids and wants one more for pictures, but the model's "
                f"vocabulary has {rows} rows"
            )
        return cls(tokenizer, tags, image_id, system_prompt)

    def __attrs_post_init__(self) -> None:
        self.tokenizer.encode_special_tokens = True  # as plain text

    def __reduce__(self) -> tuple[object, ...]:
        # A pickled tokenizer forgets what __attrs_post_init__ told it.
        return type(self), (self.tokenizer, self.tags, self.image_id, self.system_prompt)

    @property
    def stop_ids(self) -> frozenset[int]:
        return frozenset((self.end_id, self.turn_end_id))

    @property
    def end_id(self) -> int:
        return self.tags[END].id

    @property
    def turn_end_id(self) -> int:
        return self.tags[TURN_END].id

    @property
    def vocabulary_size(self) -> int:
        known = max(self.tokenizer.get_vocab(with_added_tokens=True).values())
        return 1 + max(known, self.image_id)

    def render(self, parts: Sequence[Part]) -> list[TextRun | ImageSlot]:
        """A whole sample; see ``mmcore.interfaces.TextFormat``."""
        if is_document(parts):
            end = TextRun((self.end_id,), learned=True)
            return merged([*self._content(numbered(parts), after=None), end])
        return merged(self._conversation(parts, open_end=False))

    def prompt(self, parts: Sequence[Part]) -> list[TextRun | ImageSlot]:
        """Up to where the assistant begins, or goes on if it spoke last; nothing is learned."""
        if is_document(parts):
            pieces = self._content(numbered(parts), after=None)
        else:
            pieces = self._conversation(parts, open_end=True)
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
        if token == self.image_id:
            return IMAGE
        return next((name for name, tag in self.tags.items() if tag.id == token), "")

    def _conversation(
        self, parts: Sequence[Part], *, open_end: bool
    ) -> Iterator[TextRun | ImageSlot]:
        """Turn after turn. With ``open_end`` the assistant is left to speak."""
        if self.system_prompt and all(part.role != "system" for part in parts):
            yield from self._turn("system", [TextPart(self.system_prompt, "system")], closed=True)
        roles = (part.role for part in parts)
        spoken = itertools.groupby(zip(roles, numbered(parts), strict=True), key=lambda one: one[0])
        turns = [(role, [word for _, word in words]) for role, words in spoken]
        if open_end and (not turns or turns[-1][0] != "assistant"):
            turns.append(("assistant", []))
        for number, (role, words) in enumerate(turns, start=1):
            yield from self._turn(role, words, closed=not open_end or number < len(turns))

    def _turn(
        self, role: Role, words: Sequence[TextPart | ImageSlot], *, closed: bool
    ) -> Iterator[TextRun | ImageSlot]:
        tag, end = self.tags[TAGS[role]], self.tags[TURN_END]
        newline = TextPart("\n", role, loss=False)
        yield TextRun((tag.id,), learned=False)
        yield from self._content([newline, *words], after=tag)
        if closed:
            texts = [word for word in words if isinstance(word, TextPart)]
            yield TextRun((end.id,), learned=bool(texts) and is_learned(texts[-1]))
            yield from self._content([newline], after=end)

    def _content(
        self, words: Sequence[TextPart | ImageSlot], *, after: Tag | None
    ) -> Iterator[TextRun | ImageSlot]:
        """Text between pictures is tokenised as one; ``after`` is the tag right before it."""
        for is_text, group in itertools.groupby(words, lambda word: isinstance(word, TextPart)):
            if is_text:
                texts = [word for word in group if isinstance(word, TextPart)]
                yield from self._encode(texts, swallowed=after is not None and after.swallows)
            else:
                yield from (word for word in group if isinstance(word, ImageSlot))
            after = None

    def _encode(self, texts: Sequence[TextPart], *, swallowed: bool) -> Iterator[TextRun]:
        """Joint ids of adjacent texts; a token is learned if the text that it ends in is."""
        text = "".join(part.text for part in texts)
        start = len(text) - len(text.lstrip()) if swallowed else 0
        encoding = self.tokenizer.encode(text[start:], add_special_tokens=False)
        ends = list(itertools.accumulate(len(part.text) for part in texts))
        learned = [
            is_learned(texts[bisect.bisect_left(ends, start + max(stop, 1))])
            for _, stop in encoding.offsets
        ]
        for flag, run in itertools.groupby(zip(encoding.ids, learned, strict=True), lambda x: x[1]):
            yield TextRun(tuple(token for token, _ in run), flag)
