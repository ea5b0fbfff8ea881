"""Preference pairs through real packs of a tiny model, with adapters that compute something."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import pytest
import torch
from PIL import Image

import mmcore
from mmcore.data.collate import collate
from mmcore.data.prepare import Preparer
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import (
    ImagePart,
    ImageRef,
    Lora,
    PackedBatch,
    PairReference,
    Sample,
    SampleKey,
    TextPart,
)
from mmcore.model.trainable import set_trainable
from mmcore.model.vlm import VisionLanguageModel

LORA = Lora(rank=4)


def built(seed: int) -> VisionLanguageModel:
    torch.manual_seed(seed)
    encoder, llm = mmcore.spec("encoder", "siglip").tiny(), mmcore.spec("llm", "phi3").tiny()
    sampler = mmcore.spec("token_sampler", "perceiver").tiny()
    return VisionLanguageModel(
        encoder.build(attention="sdpa"),
        sampler.build(dim_in=encoder.feature_width, dim_out=llm.embedding_width, attention="sdpa"),
        llm.build(attention="sdpa"),
    )


@pytest.fixture
def model() -> VisionLanguageModel:
    """Only the LLM's adapters learn, and they are no longer zero."""
    model = built(0)
    model.adapt({"llm": LORA}, seed=1)
    set_trainable(model, ["llm"])
    generator = torch.Generator().manual_seed(2)
    for name, parameter in model.named_parameters():
        if ".lora_B." in name:
            parameter.data.normal_(std=0.05, generator=generator)
    return model


@pytest.fixture(scope="session")
def preparer() -> Preparer:
    view = mmcore.spec("encoder", "siglip").tiny().view
    sampler = mmcore.spec("token_sampler", "perceiver").tiny()
    return Preparer(
        text=mmcore.spec("llm", "phi3").tiny().text(),
        tiler=mmcore.spec("tiler", "anyres"),
        view=view,
        tokens_per_view=sampler.tokens_per_view(view.grid),
        max_tokens=4000,
        max_views=80,
    )


def picture(seed: int) -> ImageRef:
    rng, out = random.Random(seed), io.BytesIO()
    size = rng.randint(20, 90), rng.randint(20, 90)
    image = Image.new("RGB", size, (rng.randrange(256), rng.randrange(256), 90))
    image.save(out, "png")
    return ImageRef(data=out.getvalue())


def pair(number: int, better: str, worse: str, reference: PairReference | None = None) -> Sample:
    return Sample(
        SampleKey("pairs", "shard", number),
        (
            ImagePart(picture(number), "user"),
            TextPart(f"What is in picture {number}?", "user", loss=False),
            TextPart(better, "assistant"),
        ),
        dispreferred=(TextPart(worse, "assistant"),),
        reference=reference,
    )


PAIRS = [
    pair(0, "A red square.", "A cat that sits on a mat."),
    pair(1, "Nothing at all, only paper.", "Dogs."),
    pair(2, "Two words: BEN and DOT.", "Two words: CAT and DOT."),
    pair(3, "I cannot tell.", "It is the year 1984, beyond doubt."),
]


@pytest.fixture
def samples() -> list[Sample]:
    return PAIRS


@pytest.fixture
def another() -> VisionLanguageModel:
    """Of the same parts, with other weights."""
    return built(5)


@pytest.fixture(scope="session")
def pairs(preparer) -> list[TokenizedSample]:
    return [one for sample in PAIRS for one in preparer.tokenize(sample, "reject")]


@pytest.fixture(scope="session")
def pack(preparer):
    def packed(samples: Sequence[TokenizedSample]) -> PackedBatch:
        tiles = [preparer.realise(one) for one in samples]
        tokens_per_view = preparer.tokens_per_view
        return collate(samples, tiles, view=preparer.view, tokens_per_view=tokens_per_view, lane=0)

    return packed
