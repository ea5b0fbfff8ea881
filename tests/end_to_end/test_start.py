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
from mmcore.interfaces import World
from mmcore.kit.tensor_file import Declared, shards, tensor_folder
from mmcore.recipe import Recipe

needs_deepspeed = pytest.mark.skipif(
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
        "MALLOC_MMAP_THRESHOLD_": "1000000",  # what is given back goes back, as a model's does
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
    return [written(root, part, load_recipe(MINI)) for part in ("encoder", "token_sampler")]


def written(root: Path, part: str, recipe: Recipe) -> str:
    """Drawn weights of a part in a file, a tensor at a time; the override that names them."""
    module = assemble.empty_model(recipe.model, 0, torch.device("meta")).get_submodule(part)
    sizes = {name: tuple(one.shape) for name, one in module.named_parameters()}
    declared = {name: Declared(size, torch.bfloat16) for name, size in sizes.items()}
    generator = torch.Generator().manual_seed(11)
    with tensor_folder(root / part, declared, shards(declared)) as files:
        for name, size in sizes.items():
            files.write(name, (0.1 * torch.randn(size, generator=generator)).bfloat16())
    return f"model.{part}.weights={root / part}"


PRECISIONS = ("fp32", "bf16")
WHOLE_TO_NONE = [
    "engine.overrides={zero_optimization={stage3_param_persistence_threshold=0}}",
]
"""DeepSpeed keeps parameters of less than 100,000 numbers whole at stage 3: all that are here."""
ENGINES = {
    "torch": ["engine.use=torch"],
    **{
        f"ZeRO {zero}, {precision}": [
            "engine.use=deepspeed",
            f"engine.zero={zero}",
            f"engine.precision={precision}",
            *(WHOLE_TO_NONE if zero == 3 else ()),
        ]
        for zero in (0, 1, 2, 3)
        for precision in PRECISIONS
    },
}
SHARED = [name for name in ENGINES if name != "torch"]
ORIGINS = ("drawn", "files")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory, pretrained) -> dict[tuple[str, str, int], dict[str, dict[str, str]]]:
    """Hashes of the weights, and of their copies, by engine, origin and number of processes."""
    overrides = {"drawn": [], "files": pretrained}
    root = tmp_path_factory.mktemp("started")
    found = {}
    for processes, engines in ((1, ["torch", "ZeRO 3, bf16"]), (2, SHARED)):
        keys = [(engine, origin, processes) for engine in engines for origin in ORIGINS]
        plans = [
            {"recipe": MINI, "set": [*ENGINES[engine], *overrides[origin]]}
            for engine, origin, _ in keys
        ]
        results = launched(root / str(processes), plans, processes)
        found |= dict(zip(keys, results, strict=True))
    return found


@needs_deepspeed
@pytest.mark.slow
@pytest.mark.parametrize("origin", ORIGINS)
@pytest.mark.parametrize(
    ("engine", "processes"), [("ZeRO 3, bf16", 1), *((engine, 2) for engine in SHARED)]
)
def test_every_engine_starts_from_the_same_weights(outcomes, engine, origin, processes):
    reference, outcome = outcomes["torch", origin, 1], outcomes[engine, origin, processes]
    expected, found = reference["weights"], outcome["weights"]
    assert found.keys() == expected.keys()
    differing = {name for name in expected if found[name] != expected[name]}
    # What never learns has no float32 weight: where the module's own are bfloat16, it is that.
    copies = engine.endswith("bf16") and not engine.startswith("ZeRO 0")
    assert bool(differing) == (copies and origin == "drawn")
    model = assemble.empty_model(load_recipe(MINI).model, 0, torch.device("meta"))
    assert differing <= model.frozen_for_good
    assert outcome["copies"] == reference["rounded" if copies else "weights"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_a_started_engine_has_the_weights_of_the_built_model(origin, pretrained):
    recipe = load_recipe(MINI, pretrained if origin == "files" else [])
    built, reports = assemble.build_model(recipe, CPU)
    assert [part for part, report in reports.items() if report] == (
        ["encoder", "token_sampler"] if origin == "files" else []
    )
    initial = assemble.initial_model(recipe.model, recipe.seed, CPU)
    assert all(one.is_meta for one in initial.model.parameters())
    begun = assemble.started(recipe, recipe.stages[0], initial, World(device="cpu"))
    weights = dict(built.named_parameters())
    states = list(begun.engine.parameter_states())
    assert [state.name for state in states] == list(weights)
    assert all(torch.equal(state.weight, weights[state.name]) for state in states)
    buffers = dict(built.named_buffers())
    assert buffers.keys() == dict(initial.model.named_buffers()).keys()
    assert all(torch.equal(one, buffers[name]) for name, one in initial.model.named_buffers())


def test_a_parameter_without_a_value_is_not_trained_from_zeros():
    recipe = load_recipe(MINI)
    initial = assemble.initial_model(recipe.model, recipe.seed, CPU)
    values = dict(initial.values())
    del values["llm.lm_head.weight"]
    initial.instead(values)
    with pytest.raises(AssertionError, match=r"a value: llm\.lm_head\.weight$"):
        assemble.started(recipe, recipe.stages[0], initial, World(device="cpu"))


def test_another_part_or_size_leaves_the_draws_of_the_rest():
    usual = drawn()
    swapped = drawn("model.token_sampler.depth=2", "model.llm.mlp_width=48")
    kept = [name for name in usual if name in swapped and usual[name].shape == swapped[name].shape]
    assert "token_sampler.projection.weight" in kept
    assert "llm.lm_head.weight" in kept
    assert all(torch.equal(usual[name], swapped[name]) for name in kept)
    other = drawn("seed=4")
    assert not torch.equal(usual["llm.lm_head.weight"], other["llm.lm_head.weight"])


def drawn(*overrides: str) -> dict[str, torch.Tensor]:
    recipe = load_recipe(MINI, list(overrides))
    return dict(assemble.build_model(recipe, CPU)[0].named_parameters())


def test_every_parameter_draws_its_own_numbers():
    seen = [one.flatten()[:8].tolist() for one in drawn().values() if one.std() > 0]
    assert len(seen) > 15
    assert len({tuple(numbers) for numbers in seen}) == len(seen)


LARGE = [
    "model.llm.width=1024",
    "model.llm.layers=12",
    "model.llm.heads=8",
    "model.llm.kv_heads=8",
    "model.llm.mlp_width=3072",
    "model.llm.vocabulary=768",
]
"""165 million parameters; the largest has 6 million."""


@needs_deepspeed
@pytest.mark.slow
def test_a_node_needs_little_more_than_the_shares_of_its_ranks(tmp_path):
    """Here the CPU is the device, too, and holds the shares: that is why they are counted. On a
    GPU they are in its memory, and the host has what comes on top."""
    recipe = load_recipe(MINI, LARGE)
    named = [*LARGE, written(tmp_path, "llm", recipe)]
    model = assemble.empty_model(recipe.model, 0, torch.device("meta"))
    bf16 = 2 * sum(one.numel() for one in model.parameters())
    assert bf16 > 300e6
    plan = {"recipe": MINI, "set": [*ENGINES["ZeRO 3, bf16"], *named], "hashes": False}
    # The first start of a process brings DeepSpeed's own needs, which depend on no model.
    small = {"recipe": MINI, "set": ENGINES["ZeRO 3, bf16"], "hashes": False}
    [_, outcome] = launched(tmp_path / "ranks", [small, plan], 2)
    grown = {
        phase: {kind: sum(rank[phase][kind] for rank in outcome["memory"]) for kind in kinds}
        for phase, kinds in outcome["memory"][0].items()
    }
    for phase, kinds in grown.items():
        print(phase, *(f"{kind} {size / bf16:.2f}" for kind, size in kinds.items()))
    building, shares, filling = (grown[phase]["own"] for phase in ("building", "shares", "filling"))
    assert building < 0.1 * bf16
    assert 0.9 * bf16 < shares < 1.5 * bf16
    assert bf16 + filling < 1.5 * bf16
    # What files hold is read by one rank, and the system's to drop.
    mapped = max(kinds["mapped"] for kinds in grown.values())
    assert 0.9 * bf16 < mapped
    assert max(building, filling) + mapped < 1.5 * bf16
