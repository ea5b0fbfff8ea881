"""The lines of keys, against tomllib for what exists and against generated texts for where."""

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmcore.recipe.positions import line_numbers


def paths(value, path=()):
    """Every key path of a plain value, the root left out."""
    below = {}
    if isinstance(value, dict):
        below = value
    elif isinstance(value, list):
        below = dict(enumerate(value))
    found = {path} if path else set()
    return found.union(*(paths(one, (*path, key)) for key, one in below.items()))


HARD = '''\
# a comment = "no key"
title = "x = 1 # no comment" # a comment
"quoted \\u00e9.key" = 1
'literal "key"' = 2
a.b . "c" = 3
text = """
[no.table]
no_key = 1
escaped \\""" still inside
two quotes at the end"""""
raw = \'\'\'
''still = "inside"\'\'\'
list = [ # comment ] , "
  1, "two, ] # text", \'\'\'
three
\'\'\',
  [4, 5],   # nested
  { x = 1, y.z = [true, { w = "}" }] },
]
empty = []
none = {}
when = 1979-05-27 07:32:00Z
[ table . "with space" ]
k = 1
[[aot]]
[[aot]]
n = 1
[aot.inner]
m = 2
[[aot.deep]]
o = 3
[[aot.deep]]
[[aot]]
[later]
[a.more]
end = 9'''


def test_hard_text():
    lines = line_numbers(HARD)
    assert set(lines) == paths(tomllib.loads(HARD))
    numbered = HARD.split("\n")

    def where(start):
        return next(n for n, line in enumerate(numbered, 1) if line.startswith(start))

    assert lines["title",] == 2
    assert lines["quoted é.key",] == 3
    assert lines["a", "b", "c"] == 5
    assert lines["raw",] == where("raw")
    assert lines["list", 2] == where('  1, "two')
    assert lines["list", 3, 1] == where("  [4, 5]")
    assert lines["list", 4, "y", "z", 1, "w"] == where("  { x = 1")
    assert lines["table", "with space", "k"] == where("k = 1")
    assert lines["aot", 1, "inner", "m"] == where("m = 2")
    assert lines["aot", 1, "deep", 0, "o"] == where("o = 3")
    assert lines["aot", 2] == where("[later]") - 1
    assert lines["a", "more", "end"] == len(numbered)


def test_windows_line_ends():
    assert line_numbers("a = 1\r\n\r\nb = 2\r\n") == {("a",): 1, ("b",): 3}


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment"])
def test_nothing_to_find(text):
    assert line_numbers(text) == {}


WORDS = st.text("abcXYZ09_-", min_size=1, max_size=4)
KEYS = st.one_of(
    WORDS.map(lambda word: (word, word)),
    st.text("aé.# \\]=", max_size=4).map(
        lambda word: (word, '"' + word.replace("\\", "\\\\") + '"')
    ),
    st.text('a"#=[', max_size=4).map(lambda word: (word, f"'{word}'")),
)
SCALARS = st.sampled_from(
    [
        "1",
        "-2.5e3",
        "true",
        "inf",
        "1979-05-27T07:32:00Z",
        "1979-05-27 07:32:00",
        '"# ] } , \\" \\\\"',
        "'''''quoted' \\'''",
        '"""\n[x]\ny = 1\\\n  """',
        '""""two" \\""" """',
        "'''\n[[z]]\n'''",
    ]
)
GAPS = st.sampled_from(["", " ", "\n", " # ], }\n\n\t", "\n# x = 1\n"])


class Writer:
    """Writes TOML while counting lines, so that it knows where it put every key."""

    def __init__(self, draw):
        self.draw, self.text, self.lines = draw, "", {}

    def put(self, text):
        self.text += text

    def mark(self, path):
        self.lines.setdefault(path, self.text.count("\n") + 1)

    def pair(self, path, key, depth):
        name, written = key
        self.mark((*path, name))
        self.put(f"{written} = ")
        self.value((*path, name), depth)

    def value(self, path, depth):
        kind = self.draw(st.sampled_from(["scalar", "array", "table"] if depth else ["scalar"]))
        if kind == "scalar":
            self.put(self.draw(SCALARS))
        elif kind == "array":
            self.put("[" + self.draw(GAPS))
            count = self.draw(st.integers(0, 3))
            for index in range(count):
                self.mark((*path, index))
                self.value((*path, index), depth - 1)
                last = index == count - 1
                comma = "" if last and self.draw(st.booleans()) else ","
                self.put(self.draw(GAPS) + comma + self.draw(GAPS))
            self.put("]")
        else:
            self.put("{ ")
            keys = self.draw(st.lists(KEYS, max_size=3, unique_by=lambda key: key[0]))
            for index, key in enumerate(keys):
                self.pair(path, key, depth - 1)
                self.put(", " if index < len(keys) - 1 else " ")
            self.put("}")

    def pairs(self, path):
        for key in self.draw(st.lists(KEYS, max_size=3, unique_by=lambda key: key[0])):
            self.put(self.draw(st.sampled_from(["", "\n", "  ", "# [x]\n"])))
            self.pair(path, key, depth=2)
            self.put(self.draw(st.sampled_from(["\n", " # = 1\n"])))


@st.composite
def documents(draw):
    writer = Writer(draw)
    writer.pairs(())
    taken = {path[0] for path in writer.lines}
    headers = draw(st.lists(KEYS, max_size=3, unique_by=lambda key: key[0]))
    for name, written in headers:
        if name in taken:
            continue
        if draw(st.booleans()):
            writer.mark((name,))
            writer.put(f"[{written}]\n")
            writer.pairs((name,))
            continue
        for index in range(draw(st.integers(1, 3))):
            writer.mark((name,))
            writer.mark((name, index))
            writer.put(f"[[ {written} ]] # again\n")
            writer.pairs((name, index))
            if (name, index, "sub") not in writer.lines:
                writer.mark((name, index, "sub"))
                writer.mark((name, index, "sub", "deep"))
                writer.put(f"[{written}.sub.deep]\n")
                writer.pairs((name, index, "sub", "deep"))
    return writer.text, writer.lines


@settings(deadline=None, max_examples=150)
@given(documents())
def test_lines_are_where_keys_were_written(document):
    text, expected = document
    assert set(expected) == paths(tomllib.loads(text)), text  # the generator writes valid TOML
    assert line_numbers(text) == expected
