"""A sweep as a page of the manual: Markdown, with its pictures beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mmcore.reporting.diagnosis import Diagnosis
from mmcore.reporting.sweep.document import Document
from mmcore.reporting.sweep.drawing import Picture
from mmcore.reporting.sweep.tables import Entry, Table

MARKS = r"([*_`<\[\]\\])"
"""What Markdown takes for more than a letter."""


def markdown(document: Document, pictures: str) -> str:
    """
    Args:
        pictures: where they lie, as the page names them: ``PICTURES/NAME.png``.
    """
    return "\n".join(_lines(document, pictures)).rstrip() + "\n"


def _lines(document: Document, pictures: str) -> Iterator[str]:
    yield f"# {_safe(document.title)}"
    yield ""
    yield (
        f"Every sentence and number of this page was made by `mmcore report` from the sweep "
        f"`{document.name}`."
    )
    yield ""
    yield "| | |"
    yield "|---|---|"
    for what, words in document.facts:
        yield f"| {_field(what)} | {_field(words)} |"
    yield ""
    yield "## What it shows"
    yield ""
    yield from (f"- {_safe(sentence)}" for sentence in document.reading)
    yield ""
    if document.diagnoses:
        yield "## Signatures of known failures"
        yield ""
        for one in document.diagnoses:
            yield from _diagnosis(one)
    for table in document.tables:
        yield from _table(table)
    for picture in document.pictures:
        yield from _picture(picture, pictures)
    for table in document.ends:
        yield from _table(table)
    if document.file:
        yield from _commands(document)


def _diagnosis(one: Diagnosis) -> Iterator[str]:
    yield f"**{_safe(one.title)}.** {_safe(one.evidence)} *To try:* {_safe(one.advice)}"
    yield ""


def _table(table: Table) -> Iterator[str]:
    yield f"## {_safe(table.title)}"
    yield ""
    yield f"| {' | '.join(map(_field, table.head))} |"
    sides = ("---" if place in table.words else "---:" for place in range(len(table.head)))
    yield f"|{'|'.join(sides)}|"
    for row in table.rows:
        yield f"| {' | '.join(map(_entry, row))} |"
    yield ""
    if table.note:
        yield _safe(table.note)
        yield ""


def _entry(entry: Entry) -> str:
    return f"**{_field(entry.text)}**" if entry.strong else _field(entry.text)


def _picture(picture: Picture, folder: str) -> Iterator[str]:
    yield f"## {_safe(picture.title)}"
    yield ""
    yield f"![{_safe(picture.title)}]({folder}/{picture.name}.png)"
    yield ""
    yield _safe(picture.note)
    yield ""


def _commands(document: Document) -> Iterator[str]:
    yield "## Again"
    yield ""
    yield (
        f"With the file below as `{document.name}.toml` in the folder from which its `recipe` is "
        "seen:"
    )
    yield ""
    yield "```"
    yield from (f"$ {command}" for command in document.commands)
    yield "```"
    yield ""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", document.file)), 3)
    yield f"{fence}toml"
    yield document.file.rstrip()
    yield fence
    yield ""


def _field(text: str) -> str:
    """Of a table: one line, without its borders."""
    return _safe(" ".join(text.split())).replace("|", "\\|")


def _safe(text: str) -> str:
    """Names of files and reasons of failures are words, not marks; what stands in ` is code."""
    parts = re.split(r"(`[^`]+`)", text)
    return "".join(one if at % 2 else re.sub(MARKS, r"\\\1", one) for at, one in enumerate(parts))
