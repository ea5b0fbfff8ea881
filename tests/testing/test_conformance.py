"""Every announced component of ours passes the conformance kit."""

import attrs
import pytest

from mmcore.interfaces import ViewFormat
from mmcore.testing import (
    check_encoder,
    check_llm,
    check_source,
    check_tiler,
    check_token_sampler,
)
from mmcore_blip3.preferences_spec import PreferencePairsSpec
from mmcore_blip3.spec import LlavaJsonSpec
from mmcore_registry import discover


def ours(kind):
    found = [one for one in discover().components(kind) if one.distribution == "mmcore"]
    assert found, f"no {kind} is announced"
    return pytest.mark.parametrize("component", found, ids=lambda one: one.name)


@ours("encoder")
def test_encoder(component):
    check_encoder(component.spec())


@ours("token_sampler")
def test_token_sampler(component):
    check_token_sampler(component.spec())


@ours("llm")
def test_llm(component):
    check_llm(component.spec())


@ours("tiler")
def test_tiler(component):
    check_tiler(component.spec(), ViewFormat(32, 4, 4, 8))


@ours("source")
def test_source(component, tmp_path):
    check_source(component.spec(path=str(tmp_path)), tmp_path / "made")


def test_a_source_that_hides_its_pairs_is_caught(tmp_path):
    @attrs.frozen(kw_only=True)
    class Hiding(PreferencePairsSpec):
        """Gives pairs and does not say so."""

        @property
        def gives_pairs(self):
            return False

        def open(self):
            return PreferencePairsSpec(path=self.path).open()

    with pytest.raises(AssertionError, match="gives_pairs is False, but the worse answer of the"):
        check_source(Hiding(path="x"), tmp_path / "made")


def test_a_source_that_promises_pairs_must_give_them(tmp_path):
    @attrs.frozen(kw_only=True)
    class Promising(LlavaJsonSpec):
        """Says that it gives pairs."""

        @property
        def gives_pairs(self):
            return True

    with pytest.raises(AssertionError, match="gives_pairs is True, but the worse answer of the"):
        check_source(Promising(path="x"), tmp_path / "made")
