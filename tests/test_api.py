"""The names that Python users import."""

import pytest

import mmcore


def test_a_spec_by_name_builds_a_plain_module():
    spec = mmcore.spec("token_sampler", "mlp")
    module = spec.build(dim_in=8, dim_out=12, attention="sdpa")
    assert sum(parameter.numel() for parameter in module.parameters()) > 0


def test_what_does_not_exist_is_refused_by_name():
    with pytest.raises(ValueError, match="did you mean 'perceiver'"):
        mmcore.spec("token_sampler", "percever")
    with pytest.raises(AttributeError, match="no attribute 'plann'"):
        mmcore.plann  # noqa: B018


def test_every_public_name_is_there():
    assert [name for name in mmcore.__all__ if not hasattr(mmcore, name)] == []
