"""A toy model, its packs, and a loader of them that can be resumed.

Letters: T packed tokens, E width, L labelled positions.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
import pytest
import torch
from torch import nn

from mmcore.interfaces import PackedBatch, ParameterGroup, SampleKey, Segment, World
from mmcore.training.progress import Budget
from mmcore.training.stage import StageRun
from mmcore.training.step_module import TrainingStep
from mmcore_engines.spec import TorchSpec
from mmcore_optim.spec import AdamWSpec

VOCABULARY, WIDTH = 11, 6


class Toy(nn.Module):
    """An embedding, a frozen layer, dropout, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.frozen = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

    def hidden(self, batch: PackedBatch) -> torch.Tensor:
        x_TE = self.embedding(batch.input_ids_T)
        return x_TE + self.dropout(torch.tanh(self.frozen(x_TE)))

    def nll(self, h_LE: torch.Tensor, targets_L: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(self.head(h_LE).float(), targets_L, reduction="none")


class NextToken:
    """The summed loss of the labelled positions."""

    def count(self, batch: PackedBatch) -> float:
        return float(batch.labels)

    def loss(self, forward: Toy, batch: PackedBatch) -> torch.Tensor:
        h_TE = forward.hidden(batch)
        nll_L = forward.nll(h_TE[batch.label_index_L], batch.targets_L)
        return (nll_L * batch.label_weight_L).sum()


def make_pack(number: int, labelled: bool = True) -> PackedBatch:
    draw = torch.Generator().manual_seed(number)
    length = int(torch.randint(3, 10, (), generator=draw))
    ids = (torch.randint(0, VOCABULARY, (), generator=draw) + torch.arange(length)) % VOCABULARY
    labels = length - 1 if labelled else 1
    key = SampleKey("toy", "shard-0", number)
    return PackedBatch(
        input_ids_T=ids,
        position_ids_T=torch.arange(length),
        cu_seqlens=torch.tensor([0, length], dtype=torch.int32),
        lengths=(length,),
        label_index_L=torch.arange(labels),
        targets_L=ids[1 : labels + 1],
        label_weight_L=torch.full((labels,), float(labelled)),
        pixels_NCHW=torch.zeros(1, 3, 2, 2, dtype=torch.uint8),
        patch_mask_NP=torch.zeros(1, 1, dtype=torch.bool),
        image_token_index_K=torch.zeros(0, dtype=torch.int64),
        label_segment_L=torch.zeros(labels, dtype=torch.int32),
        segments=(Segment(key, "toy", 0, length, 0, labels if labelled else 0),),
        lane=0,
    )


@attrs.frozen
class Rejected:
    key: SampleKey
    reason: str
    detail: str


@attrs.frozen
class Data:
    batches: Sequence[PackedBatch]
    rejected: Sequence[Rejected]
    counts: Mapping[str, float]
    wait_seconds: float


class ToyLoader:
    """Two packs a step, numbered on from ``position``."""

    def __init__(self, position: int = 0, *, bad_rows: int = 0, labelled: bool = True) -> None:
        self.position = position
        self.bad_rows = bad_rows
        self.labelled = labelled

    def next_step(self) -> Data:
        packs = [make_pack(self.position + index, self.labelled) for index in range(2)]
        self.position += 2
        rejected = [
            Rejected(SampleKey("toy", "shard-0", 1000 + row), "image-missing", "no file")
            for row in range(self.bad_rows)
        ]
        counts = {"samples": 2.0, "drawn/toy": 2.0 + self.bad_rows}
        counts |= {"rejected/image-missing": float(self.bad_rows)} if rejected else {}
        return Data(packs, rejected, counts, 0.001)


@pytest.fixture
def toy() -> Toy:
    torch.manual_seed(5)
    return Toy()


@pytest.fixture
def next_token() -> NextToken:
    return NextToken()


@pytest.fixture
def pack() -> Callable[..., PackedBatch]:
    return make_pack


@pytest.fixture
def stage_run() -> Callable[..., StageRun]:
    """A stage of six steps around a fresh toy, reading from ``position`` on."""

    def make(position: int = 0, steps: int = 6, **changes: object) -> StageRun:
        torch.manual_seed(5)
        model, objective = Toy(), NextToken()
        optimizer = AdamWSpec(lr=0.05, warmup_steps=2)
        learning = {name: one for name, one in model.named_parameters() if one.requires_grad}
        group = ParameterGroup("llm", tuple(learning), tuple(learning.values()), 0.05, 0.0)
        engine = TorchSpec(precision="fp32").build(
            module=TrainingStep(model, [objective], [1.0]),
            groups=[group],
            optimizer=optimizer,
            world=World(),
        )
        return attrs.evolve(
            StageRun(
                name="toy",
                engine=engine,
                objectives=[objective],
                objective_names=["next-token"],
                weights=[1.0],
                loader=ToyLoader(position),
                optimizer=optimizer,
                budget=Budget(steps=steps),
                seed=9,
            ),
            **changes,
        )

    return make


@pytest.fixture
def toy_loader() -> type[ToyLoader]:
    return ToyLoader


@pytest.fixture(scope="session")
def on_two_ranks() -> Callable[..., None]:
    """Runs a program with its arguments as two ranks of one run, and waits for both."""

    def run(program: Path, *arguments: object) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        running = [
            subprocess.Popen(
                [sys.executable, str(program), *map(str, arguments)],
                env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        errors = [process.communicate(timeout=120)[1] for process in running]
        assert [process.returncode for process in running] == [0, 0], "\n".join(errors)

    return run
