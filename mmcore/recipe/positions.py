"""Find the line of every key and array element of a TOML text, which tomllib does not tell."""

from __future__ import annotations

import bisect
import re
import tomllib

from mmcore.recipe.tree import KeyPath

_BLANK = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]+")
_STRING = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})'  # may end in up to two quotes of its own
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


def line_numbers(text: str) -> dict[KeyPath, int]:
    """Line (from 1) of every key path of a TOML text: tables, keys, and elements of arrays.

    A table's line is where it is first named, be it by a header or by a dotted key.

    Args:
        text: valid TOML; parse it with ``tomllib`` first, which says better what is wrong.
    """
    scanner = _Scanner(text.replace("\r\n", "\n"))
    scanner.document()
    return scanner.lines


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self._newlines = [match.start() for match in re.finditer("\n", text)]
        self._array_tables: dict[KeyPath, int] = {}  # path of [[x]] -> how many so far

    def document(self) -> None:
        table: KeyPath = ()
        self._take(_BLANK)
        while self.at < len(self.text):
            if self._next_is("[["):
                table = self._header("[[", "]]", is_array=True)
            elif self._next_is("["):
                table = self._header("[", "]", is_array=False)
            else:
                self._pair(table)
            self._take(_BLANK)

    def _header(self, opening: str, closing: str, *, is_array: bool) -> KeyPath:
        start = self.at
        self._expect(opening)
        keys = self._keys()
        self._expect(closing)
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._enter((*path, key), start)
        path = (*path, keys[-1])
        if not is_array:
            return self._enter(path, start)
        self._mark(path, start)
        count = self._array_tables.get(path, 0)
        self._array_tables[path] = count + 1
        return self._enter(path, start)

    def _enter(self, path: KeyPath, start: int) -> KeyPath:
        """The table at ``path``; of an array of tables, the one that was opened last."""
        self._mark(path, start)
        count = self._array_tables.get(path)
        if count is None:
            return path
        path = (*path, count - 1)
        self._mark(path, start)
        return path

    def _pair(self, table: KeyPath) -> None:
        start = self.at
        path = table
        for key in self._keys():
            path = (*path, key)
            self._mark(path, start)
        self._expect("=")
        self._value(path)

    def _keys(self) -> list[str]:
        keys = [self._key()]
        while self._next_is("."):
            self._expect(".")
            keys.append(self._key())
        return keys

    def _key(self) -> str:
        self._take(_SPACE)
        quoted = self._next_is('"') or self._next_is("'")
        word = self._take(_STRING if quoted else _BARE_KEY)
        self._take(_SPACE)
        return str(tomllib.loads(f"key = {word}")["key"]) if quoted else word

    def _value(self, path: KeyPath) -> None:
        self._take(_SPACE)
        if self._next_is("["):
            self._array(path)
        elif self._next_is("{"):
            self._inline_table(path)
        else:
            quoted = self._next_is('"') or self._next_is("'")
            self._take(_STRING if quoted else _SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._expect("[")
        self._take(_BLANK)
        index = 0
        while not self._next_is("]"):
            self._mark((*path, index), self.at)
            self._value((*path, index))
            self._separator()
            index += 1
        self._expect("]")

    def _inline_table(self, path: KeyPath) -> None:
        self._expect("{")
        self._take(_BLANK)
        while not self._next_is("}"):
            self._pair(path)
            self._separator()
        self._expect("}")

    def _separator(self) -> None:
        self._take(_BLANK)
        if self._next_is(","):
            self._expect(",")
            self._take(_BLANK)

    def _mark(self, path: KeyPath, at: int) -> None:
        self.lines.setdefault(path, bisect.bisect_left(self._newlines, at) + 1)

    def _next_is(self, sign: str) -> bool:
        return self.text.startswith(sign, self.at)

    def _expect(self, sign: str) -> None:
        assert self._next_is(sign), f"{sign!r} expected at offset {self.at}"
        self.at += len(sign)

    def _take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match is not None, f"{pattern.pattern!r} expected at offset {self.at}"
        self.at = match.end()
        return match.group()
