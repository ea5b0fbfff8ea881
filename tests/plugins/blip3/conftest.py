"""Small data sets written by hand in the formats of LLaVA and BLIP3-OCR-200M."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmcore.interfaces import SampleKey

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
def captions():
    """The captions column of one picture: two levels, each without and with alt text."""

    def make(text):
        return json.dumps(
            [
                {
                    "text": f"{level}{alt} {text}",
                    "granularity": level,
                    "include_datacomp_raw_cap": alt,
                }
                for level in (0, 5)
                for alt in (True, False)
            ]
        )

    return make


@pytest.fixture
def write_parquet(tmp_path):
    """``write_parquet({"captions": [...]}, row_group_size=2)`` -> the file."""

    def write(columns, name="001.parquet", **options):
        pq.write_table(pa.table(columns), tmp_path / name, **options)
        return tmp_path / name

    return write
