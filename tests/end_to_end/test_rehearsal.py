"""`mmcore run --rehearse`: every stage small, on made-up rows, with a stop in between."""

import json
import shutil
from pathlib import Path

RECIPES = Path(__file__).parents[2] / "recipes"

REAL = (  # what a laptop has not: data, weights, the kernel of a GPU
    "model.attention=xformers",
    "model.encoder.positions=learned",
    "model.encoder.weights=hf://nobody/has-this",
    "stages.captions.data.0.path=/nowhere/*.parquet",
)


def test_a_recipe_is_rehearsed_without_weights_data_or_gpu(workplace) -> None:
    settings = [word for one in REAL for word in ("--set", one)]
    text = (workplace.folder / "mini.toml").read_text()
    lacking = text.replace("synthetic = { rows = 96, seed = 1 }\n", "")
    (workplace.folder / "mini.toml").write_text(lacking)
    refused = workplace.typed("run", "mini.toml", *settings, fails=True)
    assert "no file matches '/nowhere/*.parquet'" in refused

    output = workplace.typed("run", "mini.toml", *settings, "--rehearse")
    assert "attention: xformers -> sdpa, for there is no CUDA here" in output
    assert "stopped on purpose, within a stage; going on from its checkpoint" in output
    assert "going on after step 7" in output  # 5 of the first stage, 2 of the second's 5
    assert "rehearsed all 2 stages and every source" in output
    steps = [line["step"] for line in workplace.metrics("mini-rehearsal")]
    assert steps == list(range(1, 11))
    folder = workplace.folder / "runs" / "mini-rehearsal"
    ended = json.loads((folder / "stage-answers.json").read_text())
    assert ended["counts"]["samples/llava-json"] > 0

    again = workplace.mmcore("run", "mini.toml", *settings, "--rehearse", "--thin")
    assert "packs: at most 1024 tokens and 6 views" in again
    assert [line["step"] for line in workplace.metrics("mini-rehearsal")] == [1, 2]


def test_two_processes_rehearse_together(workplace) -> None:
    output = workplace.typed(
        "run", "mini.toml", "--set", "engine.use=deepspeed", "--procs", "2", "--rehearse"
    )
    assert "lanes: 4 -> 2; packs in a step: 4 -> 2" in output
    assert "rehearsed all 2 stages and every source" in output


def test_what_a_rehearsal_cannot_be_combined_with(workplace) -> None:
    assert "--rehearse --thin" in workplace.mmcore("run", "mini.toml", "--thin", fails=True)
    both = ("--rehearse", "--stage", "captions")
    assert "starts anew" in workplace.mmcore("run", "mini.toml", *both, fails=True)


def test_blip3_14b_is_rehearsed_with_all_its_datasets(workplace) -> None:
    """The command that the whole project is for, as it is written on the first page."""
    shutil.copytree(RECIPES, workplace.folder / "recipes")
    output = workplace.typed("run", "recipes/blip3_14b.toml", "--rehearse")
    assert "model: siglip, perceiver, phi3 in their tiny form" in output
    assert "data: 31 sources" in output
    assert "rehearsed all 4 stages and every source" in output
