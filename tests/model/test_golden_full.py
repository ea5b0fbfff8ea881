"""The whole model against numbers of the official xGen-MM code: tokens, logits, loss, gradients.

The official model regroups the tiles of a picture into strips of its whole canvas before the
resampler; here the tiler's ``merge = "raster-bands"`` does it, for the grids of the three pictures.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from mmcore.benchmarks.packs import Packer
from mmcore.benchmarks.workload import read_workload
from mmcore.interfaces import PackedBatch, ViewFormat
from mmcore.model.trainable import set_trainable
from mmcore.model.vlm import VisionLanguageModel
from mmcore_phi3.spec import Phi3Spec
from mmcore_samplers.spec import PerceiverSpec
from mmcore_siglip.spec import SiglipSpec
from mmcore_siglip.weights import hf_source
from mmcore_tiling.cutting import raster_bands
from mmcore_tiling.spec import AnyResTilerSpec

GOLDEN = Path(__file__).parents[1] / "golden" / "full" / "full28_mixed"
REACHABLE = 375  # rows of the vocabulary that the official logits have
FIRST_ADDED = 372  # from here, ids have rows of their own in the official state
IMAGE_ID, PADDING, STOP = 372, 371, 367
QUERIES = 8
PICTURES = {"s0.i0": (2, 2), "s1.i0": (2, 2), "s1.i1": (3, 1)}  # grids, rows x columns
SIZES = {"s0.i0": (100, 60), "s1.i0": (100, 60), "s1.i1": (30, 80)}  # width, height
VIEW = ViewFormat(size=28, patch_rows=2, patch_cols=2, patch_size=14)


@pytest.fixture(scope="module")
def numbers() -> dict[str, torch.Tensor]:
    return load_file(GOLDEN.with_suffix(".safetensors"))


@pytest.fixture(scope="module")
def facts() -> dict:
    return json.loads(GOLDEN.with_suffix(".json").read_text())


def official(numbers, kind: str, name: str) -> torch.Tensor:
    """The tensor that the official code keeps for our parameter ``name``; kind: state or grad."""
    part, _, rest = name.partition(".")
    if part == "encoder":
        source = hf_source(rest.removeprefix("trunk."))
        return source.join([numbers[f"{kind}.vision_encoder.{one}"] for one in source.names])
    if part == "token_sampler":
        return numbers[f"{kind}.vision_tokenizer.{rest}"]
    path = f"{kind}.lang_model.{rest}"
    added = {
        "model.embed_tokens.weight": "model.embed_tokens.additional_embedding.weight",
        "lm_head.weight": "lm_head.additional_fc.weight",
        "lm_head.bias": "lm_head.additional_fc.bias",
    }
    if rest not in added:
        return numbers[path]
    return torch.cat([numbers[path][:FIRST_ADDED], numbers[f"{kind}.lang_model.{added[rest]}"]])


@pytest.fixture
def model(numbers) -> VisionLanguageModel:
    encoder = SiglipSpec(
        width=32, depth=2, heads=4, mlp_width=64, patch_size=14, image_size=28
    ).build(attention="sdpa")
    sampler = PerceiverSpec(queries=QUERIES).build(dim_in=32, dim_out=64, attention="sdpa")
    llm = Phi3Spec(
        width=64,
        layers=2,
        heads=4,
        kv_heads=2,
        mlp_width=128,
        vocabulary=REACHABLE,
        head_bias=True,
        head_rows=7,
    ).build(attention="sdpa")
    built = VisionLanguageModel(encoder, sampler, llm)
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            parameter.copy_(official(numbers, "state", name))
    set_trainable(built, ["token_sampler", "llm"])
    return built


def sequence(ids: list[int], labels: list[int], pictures: list[str]) -> Iterator[tuple[int, int]]:
    """Ids and labels with every picture's one id widened to all of its tokens."""
    found = iter(pictures)
    for one, label in zip(ids, labels, strict=True):
        if one != IMAGE_ID:
            yield one, label
            continue
        rows, columns = PICTURES[next(found)]
        yield from [(IMAGE_ID, -100)] * (QUERIES * (1 + rows * columns))


def pack(numbers, model, samples: list[tuple[list[int], list[int], list[str]]]) -> PackedBatch:
    rows = [list(sequence(*sample)) for sample in samples]
    lengths = [len(row) for row in rows]
    starts = [0, *itertools.accumulate(lengths)]
    ids = torch.tensor([one for row in rows for one, _ in row])
    labels = [label if n else -100 for row in rows for n, (_, label) in enumerate(row)]
    places = [n - 1 for n, label in enumerate(labels) if label >= 0]
    pictures = [name for _, _, names in samples for name in names]
    pixels = torch.cat([numbers[f"pixels.{name}"] for name in pictures or ["s2.i0"]])
    masks = torch.cat([numbers[f"vision_mask.{name}"] for name in pictures or ["s2.i0"]])
    return PackedBatch(
        input_ids_T=ids,
        position_ids_T=torch.cat([torch.arange(n) for n in lengths]),
        cu_seqlens=torch.tensor(starts, dtype=torch.int32),
        lengths=tuple(lengths),
        label_index_L=torch.tensor(places),
        targets_L=torch.tensor([label for label in labels if label >= 0]),
        label_weight_L=torch.ones(len(places)),
        pixels_NCHW=((pixels + 1) * 127.5).round().to(torch.uint8),
        patch_mask_NP=masks.bool(),
        patch_order_NP=order(pictures),
        image_token_index_K=(ids == IMAGE_ID).nonzero()[:, 0],
        label_segment_L=torch.zeros(len(places), dtype=torch.int32),
    )


def order(pictures: list[str]) -> torch.Tensor | None:
    """The pictures' patches in raster bands, counted through the pack."""
    if not pictures:
        return None
    bands = [raster_bands(cols, rows, VIEW) for rows, cols in map(PICTURES.get, pictures)]
    before = itertools.accumulate((one.size for one in bands), initial=0)
    return torch.cat([torch.from_numpy(one + n) for one, n in zip(bands, before, strict=False)])


@pytest.mark.parametrize("name", PICTURES)
def test_masks_of_raster_bands(numbers, name):
    tiler = AnyResTilerSpec(merge="raster-bands")
    plan = tiler.plan(*SIZES[name], VIEW)
    assert (plan.rows, plan.cols) == PICTURES[name]
    mask_NP = tiler.cut(Image.new("RGB", SIZES[name]), plan, VIEW).patch_mask_NP
    assert mask_NP.tolist() == numbers[f"vision_mask.{name}"].bool().tolist()


@pytest.fixture
def batch(numbers, facts, model) -> PackedBatch:
    pictures = [["s0.i0"], ["s1.i0", "s1.i1"], []]
    samples = []
    for row, names in enumerate(pictures):
        ids, labels = numbers["input_ids"][row], numbers["labels"][row]
        length = int((ids != PADDING).sum())
        samples.append((ids[:length].tolist(), labels[:length].tolist(), names))
    made = pack(numbers, model, samples)
    assert list(made.lengths) == facts["expanded_lengths"]
    assert len(made.targets_L) == facts["n_supervised"]
    return made


def test_vision_tokens(numbers, model, batch):
    features_XD = model.encoder(batch.pixels_NCHW).flatten(0, 1)
    tokens_NQE = model.token_sampler(features_XD[batch.patch_order_NP], batch.patch_mask_NP)
    want = numbers["vision_tokens"][: len(tokens_NQE), 0]
    torch.testing.assert_close(tokens_NQE, want, atol=2e-6, rtol=0)


def test_logits(numbers, model, batch):
    logits_TV = model.llm.head(model.hidden(batch))
    for got, want in zip(logits_TV.split(batch.lengths), numbers["logits"], strict=True):
        torch.testing.assert_close(got, want[: len(got)], atol=1e-5, rtol=0)


def mean_loss(model, batch) -> torch.Tensor:
    h_TE = model.hidden(batch)
    return model.nll(h_TE[batch.label_index_L], batch.targets_L).mean()


def test_loss_and_gradients(numbers, facts, model, batch):
    loss = mean_loss(model, batch)
    assert loss.item() == pytest.approx(facts["loss"], abs=5e-6)
    loss.backward()
    compared = 0
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            assert parameter.grad is None
            continue
        try:
            want = official(numbers, "grad", name)
        except KeyError:  # the reference leaves out the gradients of the widest matrices
            continue
        scale = want.abs().max().item()
        torch.testing.assert_close(parameter.grad, want, atol=1e-4 * scale + 1e-9, rtol=0, msg=name)
        compared += 1
    assert compared > 40


def test_five_steps_of_training(facts, model, batch):
    run = facts["trajectories"]["official_script_wd0_clip1"]
    learning = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(
        learning, lr=run["lr"], betas=run["betas"], eps=run["eps"], weight_decay=0.0
    )
    losses = []
    for _ in range(run["steps"]):
        loss = mean_loss(model, batch)
        loss.backward()
        nn.utils.clip_grad_norm_(learning, run["clip"])
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    losses.append(mean_loss(model, batch).item())
    assert losses == pytest.approx(run["losses_before_each_step_then_final"], abs=2e-4)


@pytest.mark.parametrize(
    ("packing", "bf16", "tolerance"),
    [
        ("one pack a step", False, {"abs": 2e-5}),
        pytest.param("four packs a step", False, {"abs": 2e-5}, marks=pytest.mark.slow),
        pytest.param("one pack a step", True, {"rel": 0.01}, marks=pytest.mark.slow),
    ],
)
def test_thirteen_steps_of_the_timing_workload(facts, model, packing, bf16, tolerance):
    timing = GOLDEN.parents[1] / "timing"
    official = json.loads((timing / "official.json").read_text())["tiny"]
    workload = read_workload(timing / "workload.json")
    packer = Packer(
        tiler=AnyResTilerSpec(merge="raster-bands", resize="exact"),
        view=VIEW,
        tokens_per_view=QUERIES,
        image_id=IMAGE_ID,
    )
    learning = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=1e-4, weight_decay=0.0)
    losses = []
    for number, examples in enumerate(workload.steps):
        pieces = 1 if packing.startswith("one") else 4
        batches = [packer.packs(examples[n::pieces])[0] for n in range(pieces)]
        if pieces == 1:
            assert list(batches[0].lengths) == official["expanded_lengths"][number]
        labels = sum(batch.labels for batch in batches)
        assert labels == official["supervised"][number]
        summed = 0.0
        for batch in batches:
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                part = mean_loss(model, batch) * (batch.labels / labels)
            part.backward()
            summed += part.item()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(summed)
    assert losses == pytest.approx(official["losses"], **tolerance)


def test_answers(numbers, facts, model):
    asked = {"one_image": ["s0.i0"], "two_images": ["s1.i0", "s1.i1"], "text_only": []}
    prompts = {name: facts["generation"][name] for name in asked}
    samples = [
        (prompts[name]["prompt_ids"], [-100] * len(prompts[name]["prompt_ids"]), pictures)
        for name, pictures in asked.items()
    ]
    answers = model.generate(pack(numbers, model, samples), max_new_tokens=8, stop_ids={STOP})
    for prompt, answer in zip(prompts.values(), answers, strict=True):
        ids = prompt["returned_ids"]
        ids = ids[prompt["n_prompt"] :] if prompt["returned_contains_prompt"] else ids
        assert answer == list(itertools.takewhile(lambda one: one != STOP, ids))
