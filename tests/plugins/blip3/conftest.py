"""Captions written by hand in the format of BLIP3-OCR-200M."""

import json

import pytest


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
