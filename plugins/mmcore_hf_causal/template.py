"""A chat template taken apart: what stands before, between and after the words of the turns.

The template never sees a dataset's words, only marks in their place. So words cannot steer it, it
is asked once for every order of roles and not for every sample, and where each turn's words begin
and end is known exactly. Three things are checked for every order of roles: each turn's words come
out once and in order, what is rendered of the first turns is the beginning of what is rendered of
more, and what opens an answer is what opens an assistant's turn.

A turn is rendered as it stands when the conversation goes on after it: some templates (Qwen3's)
write the last answer differently, and such a rendering is no beginning of a longer one.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import attrs
from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from mmcore.interfaces import Rejection, Role, WeightsError

TODAY = datetime(2024, 7, 26)
"""What templates that write a date are told: ids must not depend on the day of a run. It is the
date that Llama 3's own template falls back to."""

_MARK = re.compile("\ue000(\\d+)\ue001")
_BLANKS = (" ", "\n")


class _Raised(TemplateError):
    """The template itself refused the conversation."""


class _Generation(Extension):
    """``{% generation %}`` blocks, which mark answers for others, are rendered as they are."""

    tags = {"generation"}  # noqa: RUF012  # declared so by jinja2

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@attrs.frozen
class Skeleton:
    """A conversation without its words.

    Attributes:
        literals: for n turns, the n + 1 texts before, between and after their words.
        closing: how the last of them begins: what ends the last turn, whatever follows it.
        stripped: for every turn, the characters that the template strips from its words' left
            and right; None stands for all white space.
    """

    literals: tuple[str, ...]
    closing: str
    stripped: tuple[tuple[str | None, str | None], ...]


@attrs.define(eq=False, slots=False)
class ChatTemplate:
    """A jinja template of a tokenizer.

    Attributes:
        source: its text.
        names: what it may refer to beside the messages: ``bos_token``, ``eos_token``.
    """

    source: str
    names: dict[str, str]

    def __attrs_post_init__(self) -> None:
        self._render = _compiled(self.source)
        self._known = functools.lru_cache(maxsize=4096)(self._skeleton)

    @functools.cached_property
    def takes_system(self) -> bool:
        """Whether a conversation may begin with a system turn."""
        try:
            self._split(("system", "user"), opening=False)
        except (Rejection, WeightsError):
            return False
        return True

    def skeleton(self, roles: tuple[Role, ...], opening: bool) -> Skeleton:
        """The skeleton of turns of these roles; with ``opening`` an answer is begun after them.

        Raises:
            Rejection: ``chat-template``, the template refuses this order of roles.
            WeightsError: the template cannot be used; see the checks above.
        """
        for count in range(50, len(roles), 50):  # a long one stands on a shorter one, not too deep
            if roles[count - 1] != "system":
                self._known(roles[:count], False)
        return self._known(roles, opening)

    def _skeleton(self, roles: tuple[Role, ...], opening: bool) -> Skeleton:
        alone, stripped = self._split(roles, opening=False), self._stripped(roles)
        closing = alone[-1]
        if roles[-1] == "assistant":
            literals = (*self._split((*roles, "user"), opening=False)[: len(roles)], closing)
        else:
            literals = self._split(roles, opening=opening)
        if roles[-1] == "user" and opening:
            self._check_opening(roles, literals)
        if len(roles) > 1 and roles[-2] != "system":
            before = self._known(roles[:-1], False)
            self._check_prefix(roles, before, literals)
        return Skeleton(literals, closing, stripped)

    def _check_prefix(
        self, roles: tuple[Role, ...], before: Skeleton, now: tuple[str, ...]
    ) -> None:
        count = len(roles) - 1
        if now[:count] != before.literals[:count] or not now[count].startswith(before.closing):
            raise WeightsError(
                f"the chat template renders the first {count} turns of {list(roles)} differently "
                f"when another follows: {before.literals} is no beginning of {now}; what is "
                "learned would not be what is asked later. Give a template without this in "
                "`chat_template`"
            )

    def _check_opening(self, roles: tuple[Role, ...], literals: tuple[str, ...]) -> None:
        later = self._split((*roles, "assistant", "user"), opening=False)
        if later[len(roles)] != literals[-1]:
            raise WeightsError(
                f"the chat template opens an answer with {literals[-1]!r}, but an assistant's turn "
                f"with {later[len(roles)]!r}; what is learned would not be what is asked later. "
                "Give a template without this in `chat_template`"
            )

    def _stripped(self, roles: tuple[Role, ...]) -> tuple[tuple[str | None, str | None], ...]:
        """Found by trying: blanks on one side of the words come out, or do not."""
        # As it stands in a conversation that goes on.
        told: tuple[Role, ...] = (*roles, "user") if roles[-1] == "assistant" else roles
        plain = self._split(told, opening=False)

        def gone(number: int, side: int) -> str | None:
            found = "".join(
                blank for blank in _BLANKS if with_blanks[blank, side][number] == plain[number]
            )
            return None if found == "".join(_BLANKS) else found

        with_blanks = {
            (blank, side): self._split(
                told, opening=False, around=(blank * (1 - side), blank * side)
            )
            for blank in _BLANKS
            for side in (0, 1)
        }
        return tuple((gone(number, 0), gone(number + 1, 1)) for number in range(len(roles)))

    def _split(
        self, roles: tuple[Role, ...], *, opening: bool, around: tuple[str, str] = ("", "")
    ) -> tuple[str, ...]:
        text = self._rendered(roles, opening=opening, around=around)
        pieces = _MARK.split(text)
        if pieces[1::2] != [str(number) for number in range(len(roles))]:
            raise WeightsError(
                f"the chat template does not write the words of {list(roles)} once each and in "
                f"order: {text!r}"
            )
        return tuple(pieces[::2])

    def _rendered(self, roles: tuple[Role, ...], *, opening: bool, around: tuple[str, str]) -> str:
        messages = [
            {"role": role, "content": f"{around[0]}\ue000{number}\ue001{around[1]}"}
            for number, role in enumerate(roles)
        ]
        try:
            return self._render(
                messages=messages,
                add_generation_prompt=opening,
                tools=None,
                documents=None,
                **self.names,
            )
        except _Raised as error:
            raise Rejection("chat-template", f"{list(roles)}: {error}") from None
        except (TemplateError, TypeError, ValueError, LookupError) as error:
            raise WeightsError(f"the chat template fails on {list(roles)}: {error}") from error


@functools.lru_cache(maxsize=32)
def _compiled(source: str) -> Callable[..., str]:
    """The template in a sandbox, with what transformers gives to templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = TODAY.strftime
    try:
        return environment.from_string(source).render
    except TemplateError as error:
        raise WeightsError(f"the chat template cannot be read: {error}") from error


def _raise(message: str) -> None:
    raise _Raised(message)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """As transformers does: jinja's own escapes what HTML would read."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
