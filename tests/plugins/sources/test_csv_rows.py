"""Any run of rows of a CSV file is what the standard library reads there."""

import csv

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmcore_sources.csv_rows import CsvTable, csv_table

# Whatever a caption may hold.
VALUES = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from('",\n\r'), max_size=8)
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, ends=st.sampled_from(["\n", "\r\n"]), data=st.data())
def test_rows_are_those_of_the_standard_library(rows, ends, data, tmp_path):
    path = tmp_path / "metadata.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        # Values with a lone carriage return are quoted; the writer does so only when told.
        writer = csv.writer(file, lineterminator=ends, quoting=csv.QUOTE_ALL)
        writer.writerows([("a", "b"), *rows])
    with path.open(encoding="utf-8", newline="") as file:
        wanted = list(csv.DictReader(file))
    table = CsvTable(str(path))
    assert len(table) == len(wanted) == len(rows)
    start = data.draw(st.integers(0, len(rows)))
    stop = data.draw(st.integers(start, len(rows)))
    assert list(table.rows(start, stop)) == wanted[start:stop]


def test_changed_file_is_read_anew(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text("a\n1\n")
    assert len(csv_table(str(path))) == 1
    assert csv_table(str(path)) is csv_table(str(path))
    path.write_text("a\n1\n2\n")
    assert len(csv_table(str(path))) == 2


def test_malformed_file_is_named(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_bytes(b"a,b\n1,2\rx\n")
    with pytest.raises(ValueError, match=r"metadata\.csv, line 2: new-line"):
        CsvTable(str(path))


@pytest.mark.parametrize(
    "text",
    [b"\nfile_name,text\na.png,one\n", b'\xef\xbb\xbf"file_name","text"\r\n"a.png","one"\r\n'],
)
def test_a_blank_first_line_and_a_mark_before_quotes_are_passed_over(tmp_path, text):
    (tmp_path / "x.csv").write_bytes(text)
    table = csv_table(str(tmp_path / "x.csv"))
    assert table.columns == ["file_name", "text"]
    assert list(table.rows(0, len(table))) == [{"file_name": "a.png", "text": "one"}]
