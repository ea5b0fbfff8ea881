"""A program of one rank: the gradient of a global batch, as the engine of every plan has it.

A plan says which samples make which pack of which rank. The optimizer keeps the gradient that it is
given instead of using it, so what is written is what an update would have been made of.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
import torch
from PIL import Image

import mmcore
from mmcore.data.collate import blank_batch, collate
from mmcore.data.prepare import Preparer
from mmcore.data.tokenized import TokenizedSample
from mmcore.interfaces import (
    Engine,
    ImagePart,
    ImageRef,
    OptimizerSpec,
    PackedBatch,
    ParameterGroup,
    Sample,
    SampleKey,
    TextPart,
    World,
)
from mmcore.model.trainable import parameter_groups, set_trainable
from mmcore.model.vlm import VisionLanguageModel
from mmcore.training.ranks import distributed
from mmcore.training.step_module import TrainingStep
from mmcore_engines.spec import DeepSpeedSpec, TorchSpec
from mmcore_objectives.spec import AutoregressiveSpec

Plan = dict[str, Any]
PARTS = ("encoder", "token_sampler", "llm")
GRADIENT = "gradient"
AS_LARGE = {
    "zero_optimization": {"reduce_bucket_size": 100_000, "stage3_param_persistence_threshold": 0}
}
"""DeepSpeed's own buckets of a gigabyte are made anew for every pack, and at stage 3 it keeps small
parameters whole."""

HEAD_ROWS = 16
"""Fewer than most packs' labels: the head makes its logits in more or fewer chunks."""

# Words, pictures' sizes, and whether anything is learned of it; then the same in other words.
SAMPLES = (
    ("a red square", [(60, 50)], True),
    ("words alone, and more of them than elsewhere, so that they are a longer sequence", [], True),
    ("two of them", [(150, 70), (40, 40)], True),
    ("short", [], True),
    ("what nobody learns, beside a picture", [(56, 56)], False),
    ("wide", [(230, 60)], True),
    ("words that nobody learns", [], False),
    ("tall and thin, with a good deal said about it in plain words", [(40, 170)], True),
)


class Keeping(torch.optim.Optimizer):
    """Keeps every gradient as a moment, and leaves the weights alone.

    Moments are written in place, as every optimizer does: ZeRO's ranks remember where they lie.
    """

    @torch.no_grad()
    def step(self, closure: object = None) -> None:  # type: ignore[override]  # never given one
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    state = self.state[parameter]
                    state.setdefault(GRADIENT, torch.zeros_like(parameter)).copy_(parameter.grad)
                    state["step"] = 1


@attrs.frozen(kw_only=True)
class KeepingSpec(OptimizerSpec):
    """The gradient itself."""

    name: ClassVar[str] = "keeping"

    @property
    def moments(self) -> int:
        return 1

    def build(self, groups: Sequence[ParameterGroup]) -> torch.optim.Optimizer:
        return Keeping([{"params": list(group.parameters)} for group in groups], {"lr": 0.0})


class Work:
    """The samples of the global batch and what makes packs of them."""

    def __init__(self) -> None:
        self.encoder = mmcore.spec("encoder", "siglip").tiny()
        self.sampler = mmcore.spec("token_sampler", "perceiver").tiny()
        self.llm = attrs.evolve(mmcore.spec("llm", "phi3").tiny(), head_rows=HEAD_ROWS)
        self.text = self.llm.text()
        self.preparer = Preparer(
            text=self.text,
            tiler=mmcore.spec("tiler", "anyres"),
            view=self.encoder.view,
            tokens_per_view=self.sampler.tokens_per_view(self.encoder.view.grid),
            max_tokens=600,
            max_views=40,
        )

    def sample(self, number: int) -> TokenizedSample:
        words, pictures, learned = SAMPLES[number % len(SAMPLES)]
        words += str(number // len(SAMPLES) or "")
        shown = tuple(ImagePart(ImageRef(data=png(*size, number)), "user") for size in pictures)
        key = SampleKey("made", "0", number)
        question = TextPart(f"{words}?", "user", loss=False)
        if not learned:
            return self.preparer.prompt(key, (*shown, question))
        sample = Sample(key, (*shown, question, TextPart(words, "assistant")))
        [tokenized] = self.preparer.tokenize(sample, "split")
        return tokenized

    def pack(self, numbers: Sequence[int]) -> PackedBatch:
        """A pack of these samples; of none, the blank one of a rank that has no lane left."""
        view = self.preparer.view
        if not numbers:
            return blank_batch(view, self.text)
        samples = [self.sample(number) for number in numbers]
        tiles = [self.preparer.realise(one) for one in samples]
        per_view = self.preparer.tokens_per_view
        return collate(samples, tiles, view=view, tokens_per_view=per_view, lane=0)

    def model(self, plan: Plan) -> VisionLanguageModel:
        torch.manual_seed(0)
        again = {"recompute": bool(plan.get("recompute"))}
        encoder, sampler, llm = (
            attrs.evolve(spec, **again) for spec in (self.encoder, self.sampler, self.llm)
        )
        model = VisionLanguageModel(
            encoder.build(attention="sdpa"),
            sampler.build(
                dim_in=encoder.feature_width, dim_out=llm.embedding_width, attention="sdpa"
            ),
            llm.build(attention="sdpa"),
        )
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.15)
        return model.double() if plan.get("double") else model


def png(width: int, height: int, seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def engine_of(plan: Plan, model: VisionLanguageModel, world: World) -> Engine:
    train = plan.get("train", PARTS)
    set_trainable(model, train)
    keys = {"precision": plan.get("precision", "fp32")}
    if "zero" in plan:
        keys |= {key: plan[key] for key in ("zero", "offload", "overlap") if key in plan}
        keys["overrides"] = {**AS_LARGE, **plan.get("overrides", {})}
    return (DeepSpeedSpec if "zero" in plan else TorchSpec)(**keys).build(
        module=TrainingStep(model, [AutoregressiveSpec().build()], [1.0]),
        groups=parameter_groups(model, [(part, 1.0) for part in train], 0.1),
        optimizer=KeepingSpec(lr=1.0, clip_norm=float("inf")),
        world=world,
    )


def measure(plan: Plan, work: Work, world: World) -> dict[str, object]:
    """One step of the plan; rank 0 writes the gradients to the plan's file."""
    model = work.model(plan)
    engine = engine_of(plan, model, world)
    ranks = [[work.pack(numbers) for numbers in packs] for packs in plan["ranks"]]
    assert len(ranks) == world.size
    objective = AutoregressiveSpec().build()
    divisor = sum(objective.count(pack) for packs in ranks for pack in packs)
    for pack in ranks[world.rank]:
        engine.backward(pack, [divisor])
    norm = float(engine.step(1.0))
    frozen = [name for name, one in model.named_parameters() if not one.requires_grad]
    held = [name for name in frozen if model.get_parameter(name).grad is not None]
    gradients = {
        one.name: one.moments[GRADIENT] for one in engine.parameter_states() if one.moments
    }
    if world.is_main:
        torch.save(gradients, plan["file"])
    engine.close()
    return {"norm": norm, "frozen_with_gradient": held}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    work = Work()
    plans = json.loads((folder / "plans.json").read_text())
    with distributed() as world:
        outcome = [measure(plan, work, world) for plan in plans]
        if world.is_main:
            (folder / "outcome.json").write_text(json.dumps(outcome))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
