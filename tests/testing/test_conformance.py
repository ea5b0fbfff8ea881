"""Every announced component of ours passes the conformance kit."""

import attrs
import pytest
import torch

from mmcore.interfaces import SyntheticContent, ViewFormat
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
from mmcore_samplers.perceiver import Perceiver
from mmcore_samplers.spec import PerceiverSpec
from mmcore_tiling.spec import AnyResTilerSpec


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
    # Puzzles have no files: what there is, the table of made-up rows says.
    puzzles = {"synthetic": SyntheticContent(rows=1)}
    keys = puzzles if component.name == "puzzles" else {"path": str(tmp_path)}
    check_source(component.spec(**keys), tmp_path / "made")


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


@attrs.frozen(kw_only=True)
class Wrong(PerceiverSpec):
    """A perceiver with a module of the test's own, and perhaps another thin form."""

    module: type = attrs.field(default=Perceiver, metadata={"doc": "what is built"})
    thin_queries: int = attrs.field(default=128, metadata={"doc": "of the thin form"})

    def build(self, **sizes):
        built = super().build(**sizes)
        built.__class__ = self.module
        return built

    def thin(self):
        return attrs.evolve(super().thin(), queries=self.thin_queries)


class Deaf(Perceiver):
    def forward(self, features_NPD, patch_mask_NP, *_):
        return super().forward(features_NPD, patch_mask_NP)


class Overhearing(Perceiver):
    def forward(self, features_NPD, patch_mask_NP, asked_NIE=None, mask_NI=None):
        everything = None if mask_NI is None else torch.ones_like(mask_NI)
        return super().forward(features_NPD, patch_mask_NP, asked_NIE, everything)


class Restless(Perceiver):
    def forward(self, features_NPD, patch_mask_NP, *asked):
        projection = self.text_projection
        if not asked:
            self.text_projection = None
        tokens_NQE = super().forward(features_NPD, patch_mask_NP, *asked)
        self.text_projection = projection
        return tokens_NQE


@pytest.mark.parametrize(
    ("module", "fault"),
    [
        (Perceiver, None),
        (Deaf, "instructions change nothing"),
        (Overhearing, "Tensor-likes are not close"),
        (Restless, "parameters without a gradient: .*text_projection.weight"),
    ],
)
def test_a_sampler_that_mishears_instructions_is_caught(module, fault):
    spec = Wrong(instruction=True, module=module)
    if fault is None:
        check_token_sampler(spec)
        return
    with pytest.raises(AssertionError, match=fault):
        check_token_sampler(spec)


def test_a_sampler_whose_thin_form_makes_other_tokens_is_caught():
    with pytest.raises(AssertionError, match="makes 127 tokens of 24 x 24 patches, the spec 128"):
        check_token_sampler(Wrong(thin_queries=127))


def test_a_tiler_that_hides_its_bands_is_caught():
    @attrs.frozen(kw_only=True)
    class Hiding(AnyResTilerSpec):
        """Says that every group is a view."""

        @property
        def regroups(self):
            return False

    with pytest.raises(AssertionError, match="regroups is False, but groups are not the views"):
        check_tiler(Hiding(merge="raster-bands"), ViewFormat(32, 4, 4, 8))
