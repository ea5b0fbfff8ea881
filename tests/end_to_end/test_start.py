"""What a model starts from: the same weights for every engine, on one process and on two, from
files and drawn, and little of the host's memory on the way."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mmcore import assemble, load_recipe
from mmcore.kit.tensor_file import Declared, shards, tensor_folder

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="DeepSpeed is installed on Linux only"
)

HERE = Path(__file__).parent
MINI = str(HERE / "mini.toml")
CPU = torch.device("cpu")


def launched(folder: Path, plans: list[dict], processes: int) -> list[dict]:
    """What came of the plans, on so many processes."""
    folder.mkdir()
    (folder / "plans.json").write_text(json.dumps(plans))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {
        "WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }
    command = [sys.executable, str(HERE / "programs" / "start.py"), str(folder)]
    running = [
        subprocess.Popen(
            command,
            env=os.environ | common | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(processes)
    ]
    outputs = [process.communicate(timeout=280)[0] for process in running]
    assert [process.returncode for process in running] == [0] * processes, "\n".join(outputs)
    return json.loads((folder / "outcome.json").read_text())


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory) -> list[str]:
    """Overrides that fill encoder and token sampler from bfloat16 files."""
    root = tmp_path_factory.mktemp("pretrained")
    other, _ = assemble.build_model(load_recipe(MINI, ["seed=11"]), CPU)
    for part in ("encoder", "token_sampler"):
        written(root / part, other.get_submodule(part))
    return [f"model.{part}.weights={root / part}" for part in ("encoder", "token_sampler")]


def written(folder: Path, module: torch.nn.Module) -> None:
    tensors = {name: one.detach().bfloat16() for name, one in module.named_parameters()}
    declared = {name: Declared(tuple(one.shape), one.dtype) for name, one in tensors.items()}
    with tensor_folder(folder, declared, shards(declared)) as files:
        for name, tensor in tensors.items():
            files.write(name, tensor)


ENGINES = {
    "torch": ["engine.use=torch"],
    **{
        f"ZeRO {zero}, {precision}": [
            "engine.use=deepspeed",
            f"engine.zero={zero}",
            f"engine.precision={precision}",
        ]
        for zero in (0, 1, 2, 3)
        for precision in ("fp32", "bf16")
    },
}
SHARED = [name for name in ENGINES if name != "torch"]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, pretrained) -> dict[tuple[str, str, int], dict[str, str]]:
    """Hashes of the weights by engine, origin and number of processes."""
    origins = {"drawn": [], "files": pretrained}
    root = tmp_path_factory.mktemp("started")
    found = {}
    for processes, engines in ((1, ["torch", "ZeRO 3, bf16"]), (2, SHARED)):
        keys = [(engine, origin, processes) for engine in engines for origin in origins]
        plans = [
            {"recipe": MINI, "set": [*ENGINES[engine], *origins[origin]]}
            for engine, origin, _ in keys
        ]
        results = launched(root / str(processes), plans, processes)
        found |= dict(zip(keys, (one["weights"] for one in results), strict=True))
    return found


@pytest.mark.parametrize("origin", ["drawn", "files"])
@pytest.mark.parametrize(
    ("engine", "processes"), [("ZeRO 3, bf16", 1), *((engine, 2) for engine in SHARED)]
)
def test_every_engine_starts_from_the_same_weights(outcomes, engine, origin, processes) -> None:
    expected, found = outcomes["torch", origin, 1], outcomes[engine, origin, processes]
    differing = {name for name in expected if found[name] != expected[name]}
    # What is frozen has no float32 weight beside the module's own.
    recipe = load_recipe(MINI)
    model = assemble.empty_model(recipe.model, 0, torch.device("meta"))
    assert differing <= set(model.frozen_for_good)
    assert found.keys() == expected.keys()


def test_files_and_draws_differ_where_files_were_named(outcomes) -> None:
    drawn, files = outcomes["torch", "drawn", 1], outcomes["torch", "files", 1]
    same = {name.split(".")[0] for name in drawn if drawn[name] == files[name]}
    assert {name for name in drawn if name.startswith("llm.")} <= {
        name for name in drawn if drawn[name] == files[name]
    }
    assert "llm" in same
    assert (
        drawn["encoder.trunk.blocks.0.attn.qkv.weight"]
        != (files["encoder.trunk.blocks.0.attn.qkv.weight"])
    )


def test_another_part_or_size_leaves_the_draws_of_the_rest() -> None:
    def weights(*overrides: str) -> dict[str, torch.Tensor]:
        recipe = load_recipe(MINI, list(overrides))
        return dict(assemble.build_model(recipe, CPU)[0].named_parameters())

    usual = weights()
    swapped = weights("model.token_sampler.depth=2", "model.llm.mlp_width=48")
    kept = [name for name in usual if name in swapped and usual[name].shape == swapped[name].shape]
    assert "token_sampler.projection.weight" in kept
    assert "llm.lm_head.weight" in kept
    assert all(torch.equal(usual[name], swapped[name]) for name in kept)
    other = weights("seed=4")
    assert not torch.equal(usual["llm.lm_head.weight"], other["llm.lm_head.weight"])
