"""Whole lines of a file are read and kept, whatever tore the others."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcore.kit.json_lines import entries, keep

ENTRIES = [{"step": 1, "key": "über\u2028lang\x85"}, {"step": 2, "key": "é"}, {"step": 3}]
LINES = [json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in ENTRIES]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "some.jsonl"


def test_nothing_is_read_of_no_file_and_none_is_made(path) -> None:
    assert list(entries(path)) == []
    keep(path)
    assert not path.exists()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.integers(0, sum(map(len, LINES))))
def test_cut_anywhere_the_lines_before_the_cut_are_there(path, length) -> None:
    content = b"".join(LINES)[:length]
    path.write_bytes(content)
    whole = content.count(b"\n")
    assert list(entries(path)) == ENTRIES[:whole]
    keep(path)
    assert path.read_bytes() == b"".join(LINES[:whole])


@pytest.mark.parametrize("torn", [b"\0\0\0\n", b'{"key": "\xc3{"step": 9}\n', b"7\n", b"\n"])
def test_a_torn_line_among_others_hides_none_of_them(path, torn) -> None:
    path.write_bytes(LINES[0] + torn + LINES[1])
    assert list(entries(path)) == ENTRIES[:2]
    keep(path)
    assert path.read_bytes() == LINES[0] + LINES[1]


def test_only_lines_up_to_a_step_stay_and_nothing_is_left_beside_them(path) -> None:
    path.write_bytes(b"".join(LINES))
    keep(path, until=2)
    assert path.read_bytes() == LINES[0] + LINES[1]
    assert list(path.parent.iterdir()) == [path]
