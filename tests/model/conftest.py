"""A tiny vision-language model, and packs for it made without the data room."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import attrs
import pytest
import torch

from mmcore.interfaces import PackedBatch, SampleKey, Segment
from mmcore.model.vlm import VisionLanguageModel
from mmcore_phi3.spec import Phi3Spec
from mmcore_samplers.spec import PerceiverSpec
from mmcore_siglip.spec import SiglipSpec

IMAGE_ID = 704


@attrs.frozen(eq=False)
class Case:
    """One sample: ids with pictures in place, which of them are learned, views and their masks."""

    ids: torch.Tensor
    learned: torch.Tensor
    pixels_NCHW: torch.Tensor
    patch_mask_NP: torch.Tensor


@pytest.fixture
def model() -> VisionLanguageModel:
    torch.manual_seed(0)
    encoder, sampler, llm = SiglipSpec().tiny(), PerceiverSpec().tiny(), Phi3Spec().tiny()
    built = VisionLanguageModel(
        encoder.build(attention="sdpa"),
        sampler.build(dim_in=32, dim_out=64, attention="sdpa"),
        attrs.evolve(llm, window=30).build(attention="sdpa"),
    )
    for parameter in built.parameters():
        torch.nn.init.normal_(parameter, std=0.15)
    return built


@pytest.fixture
def cases() -> list[Case]:
    """Samples with 0, 1 and 2 pictures of one or two views each, longer than the LLM's window."""
    rng = torch.Generator().manual_seed(5)

    def text(n: int) -> list[int]:
        return torch.randint(3, 700, (n,), generator=rng).tolist()

    def case(*blocks: list[int] | int) -> Case:
        runs = [one if isinstance(one, list) else [IMAGE_ID] * 8 * one for one in blocks]
        ids = [i for run in runs for i in run]
        views = sum(one for one in blocks if isinstance(one, int))
        learned = [i != IMAGE_ID and n % 3 > 0 for n, i in enumerate(ids)]
        return Case(
            torch.tensor(ids),
            torch.tensor(learned),
            torch.randint(0, 256, (views, 3, 56, 56), generator=rng, dtype=torch.uint8),
            torch.rand(views, 16, generator=rng) < 0.8,
        )

    return [
        case(text(9)),
        case(text(3), 2, text(20)),
        case(1, text(5), 3, text(4)),
        case(text(2)),
    ]


@pytest.fixture
def pack() -> Callable[[Sequence[Case]], PackedBatch]:
    def make(samples: Sequence[Case]) -> PackedBatch:
        lengths = [len(one.ids) for one in samples]
        starts = [0, *itertools.accumulate(lengths)]
        ids = torch.cat([one.ids for one in samples])
        targets = [
            (start + i, number)
            for number, (start, one) in enumerate(zip(starts, samples, strict=False))
            for i in range(len(one.ids) - 1)
            if one.learned[i + 1]
        ]
        index = torch.tensor([i for i, _ in targets] or [0])
        pixels = torch.cat([one.pixels_NCHW for one in samples])
        mask = torch.cat([one.patch_mask_NP for one in samples])
        blank = len(pixels) == 0
        return PackedBatch(
            input_ids_T=ids,
            position_ids_T=torch.cat([torch.arange(n) for n in lengths]),
            cu_seqlens=torch.tensor(starts, dtype=torch.int32),
            lengths=tuple(lengths),
            label_index_L=index,
            targets_L=ids[index + 1],
            label_weight_L=torch.full((len(index),), float(bool(targets))),
            pixels_NCHW=torch.zeros(1, 3, 56, 56, dtype=torch.uint8) if blank else pixels,
            patch_mask_NP=torch.zeros(1, 16, dtype=torch.bool) if blank else mask,
            image_token_index_K=(ids == IMAGE_ID).nonzero()[:, 0],
            label_segment_L=torch.tensor([n for _, n in targets] or [0], dtype=torch.int32),
            segments=tuple(
                Segment(
                    key=SampleKey("made-up", "0", number),
                    source="made-up",
                    start=starts[number],
                    stop=starts[number + 1],
                    views=len(one.pixels_NCHW),
                    labels=sum(owner == number for _, owner in targets),
                )
                for number, one in enumerate(samples)
            ),
        )

    return make
