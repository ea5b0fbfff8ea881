"""What holds for every test, and small files that tests of sources write by hand."""

import signal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.interfaces import SampleKey

# Started in the background of a script, a process ignores Ctrl-C, and so do its children. Tests
# that interrupt want what a person at a terminal has.
signal.signal(signal.SIGINT, signal.default_int_handler)

KEY = SampleKey("source", "shard", 7)


@pytest.fixture
def key():
    return KEY


@pytest.fixture
def turns():
    """``turns("Hi?", "Hello.")`` -> a conversation, the human first."""

    def make(*texts):
        speakers = ("human", "gpt")
        return [{"from": speakers[n % 2], "value": text} for n, text in enumerate(texts)]

    return make


@pytest.fixture
def write_parquet(tmp_path):
    """``write_parquet({"captions": [...]}, row_group_size=2)`` -> the file."""

    def write(columns, name="001.parquet", **options):
        pq.write_table(pa.table(columns), tmp_path / name, **options)
        return tmp_path / name

    return write
