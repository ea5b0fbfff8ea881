"""Preference pairs from a source's files to log likelihoods, with our components and an objective
that is written here, as a stranger would write it."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import attrs
import pytest
import torch

import mmcore
from mmcore.data.collate import blank_batch, collate
from mmcore.data.prepare import Preparer
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import (
    Forward,
    Objective,
    ObjectiveSpec,
    PackedBatch,
    SampleKey,
    SyntheticContent,
)
from mmcore.model.vlm import VisionLanguageModel
from mmcore_blip3.preferences_spec import VlFeedbackSpec
from mmcore_objectives.spec import AutoregressiveSpec


class Margin:
    """How much likelier the preferred answers are, squashed."""

    def count(self, batch: PackedBatch) -> float:
        return float(len(batch.pairs))

    def loss(self, forward: Forward, batch: PackedBatch) -> torch.Tensor:
        h_TE = forward.hidden(batch)
        nll_L = forward.nll(h_TE[batch.label_index_L], batch.targets_L)
        nll_S = nll_L.new_zeros(max(1, len(batch.segments)))
        nll_S = nll_S.index_add(0, batch.label_segment_L, nll_L)
        pairs = torch.tensor(batch.pairs, dtype=torch.long, device=nll_S.device).reshape(-1, 2)
        preferred, dispreferred = nll_S[pairs].unbind(1)
        return torch.nn.functional.softplus(preferred - dispreferred).sum()


@attrs.frozen(kw_only=True)
class MarginSpec(ObjectiveSpec):
    """Makes preferred answers likelier than the others."""

    name: ClassVar[str] = "margin"
    reads_pairs: ClassVar[bool] = True

    def build(self) -> Objective:
        return Margin()


@pytest.fixture(scope="module")
def model() -> VisionLanguageModel:
    torch.manual_seed(0)
    encoder, llm = mmcore.spec("encoder", "siglip").tiny(), mmcore.spec("llm", "phi3").tiny()
    sampler = mmcore.spec("token_sampler", "perceiver").tiny()
    return VisionLanguageModel(
        encoder.build(attention="sdpa"),
        sampler.build(dim_in=encoder.feature_width, dim_out=llm.embedding_width, attention="sdpa"),
        llm.build(attention="sdpa"),
    )


@pytest.fixture(scope="module")
def preparer() -> Preparer:
    encoder = mmcore.spec("encoder", "siglip").tiny()
    sampler = mmcore.spec("token_sampler", "perceiver").tiny()
    return Preparer(
        text=mmcore.spec("llm", "phi3").tiny().text(),
        tiler=mmcore.spec("tiler", "anyres"),
        view=encoder.view,
        tokens_per_view=sampler.tokens_per_view(encoder.view.grid),
        max_tokens=400,
        max_views=20,
    )


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory, preparer: Preparer) -> list[TokenizedSample]:
    spec = VlFeedbackSpec(path="x")
    folder: Path = tmp_path_factory.mktemp("made") / "up"
    spec.synthesize(folder, SyntheticContent(rows=3))
    source = spec.relocated(folder).open()
    samples = [
        source.parse(row, SampleKey("a", shard.name, number))
        for shard in source.shards()
        for number, row in enumerate(source.rows(shard, 0, source.length(shard)))
    ]
    return [one for sample in samples for one in preparer.tokenize(sample, "split")]


def pack(samples: Sequence[TokenizedSample], preparer: Preparer) -> PackedBatch:
    tiles = [preparer.realise(one) for one in samples]
    tokens_per_view = preparer.tokens_per_view
    return collate(samples, tiles, view=preparer.view, tokens_per_view=tokens_per_view, lane=0)


def likelihood(model: VisionLanguageModel, batch: PackedBatch) -> torch.Tensor:
    h_TE = model.hidden(batch)
    return -model.nll(h_TE[batch.label_index_L], batch.targets_L).sum()


def test_answers_are_as_likely_in_a_pair_as_each_alone(model, preparer, pairs) -> None:
    """And what is learned of a pair does not depend on how pairs are packed."""
    objective = MarginSpec().build()
    together = pack(pairs, preparer)
    assert objective.count(together) == 3
    wanted = torch.zeros(())
    for pair in pairs:
        good, bad = (likelihood(model, pack([one], preparer)) for one in pair.sequences)
        wanted = wanted + torch.nn.functional.softplus(bad - good)
    loss = objective.loss(model, together)
    torch.testing.assert_close(loss, wanted, rtol=1e-4, atol=1e-4)
    loss.backward()
    learning = [p for p in model.encoder.parameters() if p.requires_grad]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in learning)


def test_ordinary_fine_tuning_beside_it_learns_the_preferred_answers_alone(
    model, preparer, pairs
) -> None:
    objective = AutoregressiveSpec().build()
    preferred = pack([pair.sequences[0] for pair in pairs], preparer)
    both = pack(pairs, preparer)
    assert len(both.lengths) == 2 * len(preferred.lengths)
    assert objective.count(both) == objective.count(preferred) > 0
    found, wanted = (objective.loss(model, one) for one in (both, preferred))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)


def test_a_blank_pack_has_no_pairs_and_still_a_graph(model, preparer) -> None:
    objective, blank = MarginSpec().build(), blank_batch(preparer.view, preparer.text)
    assert objective.count(blank) == 0
    loss = objective.loss(model, blank)
    assert loss.item() == 0
    model.zero_grad()
    loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
