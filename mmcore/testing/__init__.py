"""The conformance kit: one reusable contract test per kind of component.

A plugin's own test is one line::

    from mmcore.testing import check_encoder
    def test_contract(): check_encoder(MySpec())
"""

from mmcore.testing.encoder import check_encoder
from mmcore.testing.llm import check_llm
from mmcore.testing.sampler import check_token_sampler
from mmcore.testing.source import check_source
from mmcore.testing.spec import check_spec
from mmcore.testing.text import check_text_format
from mmcore.testing.tiler import check_tiler

__all__ = [
    "check_encoder",
    "check_llm",
    "check_source",
    "check_spec",
    "check_text_format",
    "check_tiler",
    "check_token_sampler",
]
