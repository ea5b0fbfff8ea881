"""What a plan says to programs and to people, and what it advises."""

import json

import pytest
from click.testing import CliRunner
from rich.console import Console

from mmcore.cli.main import main
from mmcore.planning.costs import share
from mmcore.planning.gpus import Gpu, gpu_named
from mmcore.planning.planner import plan
from mmcore.planning.table import lines

SMALL = Gpu("small", memory=30e6, bf16=1e12, fp32=1e12)
STAGES = ("pretrain-base", "pretrain-anyres", "sft-single", "sft-multi")
SHARED = (
    "engine.use=deepspeed",
    "engine.precision=bf16",
    "engine.overrides.zero_optimization.reduce_bucket_size=100000",
    "data.lanes=4",
    *(f"stages.{stage}.batch.packs_per_step=4" for stage in STAGES),
)


@pytest.fixture
def shown():
    """The text of a plan on a terminal of 80 columns."""

    def shown(found):
        console = Console(width=80)
        with console.capture() as capture:
            for line in lines(found):
                console.print(line, highlight=False)
        return capture.get()

    return shown


@pytest.fixture
def told(request):
    """Run ``mmcore plan`` on the tiny recipe."""
    path = request.config.rootpath / "recipes" / "blip3_tiny.toml"
    return lambda *words: CliRunner().invoke(main, ["plan", str(path), *words])


def test_json_is_the_plan_in_plain_values(told, tiny):
    done = told("--json", "--gpu", "a10")
    assert done.exit_code == 0, done.output
    table = json.loads(done.stdout)
    assert table == json.loads(json.dumps(plan(tiny(), gpu="a10").to_dict()))
    assert list(table) == [
        "recipe",
        "gpus",
        "gpu",
        "peak_flops_per_second",
        "mfu",
        "stages",
        "memory_bytes",
        "flops",
        "seconds",
        "gpu_hours",
        "fits",
    ]
    stage = table["stages"][0]
    assert list(stage) == [
        "name",
        "parts",
        "tokens",
        "memory",
        "packs_per_step",
        "packs_per_gpu",
        "flops_per_step",
        "steps",
        "seconds",
        "fits",
        "changes",
        "notes",
    ]
    memory = stage["memory"]
    assert memory["step_bytes"] == sum(item["bytes"] for item in memory["items"])
    flops = stage["flops_per_step"]
    assert flops["total"] == flops["forward"] + flops["backward"] + flops["recompute"]
    assert stage["steps"] == 1675  # 0.75e6 / 448, rounded up


def test_every_key_of_json_is_in_the_manual(request, tiny):
    page = (request.config.rootpath / "docs" / "performance.md").read_text()

    def keys(value):
        if isinstance(value, dict):
            yield from value
        for inner in value.values() if isinstance(value, dict) else value:
            if isinstance(inner, dict | list):
                yield from keys(inner)

    found = plan(tiny(), gpu=SMALL).to_dict()
    assert found["stages"][2]["changes"]
    assert [key for key in keys(found) if f"`{key}`" not in page] == []


def test_hours_are_work_over_the_rate_that_is_reached(tiny):
    found = plan(tiny(), gpu="a10", mfu=0.5)
    stage = found.stages[0]
    assert found.peak == 31.2e12  # the recipe computes in float32
    assert stage.seconds == pytest.approx(1675 * stage.flops.total / (0.5 * 31.2e12))
    assert found.seconds == pytest.approx(sum(one.seconds for one in found.stages))


def test_without_a_gpu_there_are_no_hours(tiny, shown):
    found = plan(tiny())
    assert (found.seconds, found.fits, found.peak) == (None, None, None)
    assert "hours" not in shown(found)


def test_epochs_have_no_known_length(tiny, shown):
    found = plan(tiny("stages.sft-multi.epochs=2"), gpu="a10")
    assert (found.stages[-1].steps, found.seconds, found.flops) == (None, None, None)
    assert "it lasts 2 epochs" in found.stages[-1].notes[0]
    assert "steps unknown, fits" in shown(found)


def test_text_is_for_a_terminal(tiny, shown):
    text = shown(plan(tiny(), gpu="a10"))
    assert max(map(len, text.splitlines())) <= 80
    assert text.startswith("blip3-tiny on 1 a10-24g GPU, at 40% of the peak\n")
    assert "a picture: 4 tokens a view, at most 4 in 1 view\n" in text
    assert "weights             5.65" in text  # megabytes
    assert "most memory: 50.2 MB a GPU, fits" in text


def test_what_would_make_it_fit_is_what_a_plan_with_it_says(tiny, shown):
    found = plan(tiny(*SHARED), gpus=2, gpu=SMALL)
    worst = max(found.stages, key=lambda stage: stage.memory.most)
    assert found.fits is False
    assert [stage.name for stage in found.stages if stage.changes] == [worst.name]
    for change in worst.changes:
        words = change.change.split()
        gpus = int(words[1]) if words[0] == "--gpus" else 2
        keys = [word for word in words if "=" in word]
        again = plan(tiny(*SHARED, *keys), gpus=gpus, gpu=SMALL)
        [same] = [stage for stage in again.stages if stage.name == worst.name]
        assert (change.bytes, change.fits) == (same.memory.most, same.memory.fits(SMALL))
        assert change.bytes < worst.memory.most
    names = [change.change for change in worst.changes]
    assert "--set model.llm.recompute=true" in names
    assert "--set engine.zero=3" not in names  # what it gathers is more than what it shares out
    assert names[-1] == "--gpus 4"
    assert max(map(len, shown(found).splitlines())) <= 80


def test_a_model_too_large_at_the_start_is_said(tiny):
    """5.6 MB of float32 weights; no key of this recipe makes them fewer."""
    found = plan(tiny(), gpu=Gpu("smaller", memory=5e6, bf16=1e12, fp32=1e12))
    [noted] = [stage for stage in found.stages if stage.notes]
    assert "are more than a GPU has room for before the first pack" in noted.notes[0]
    assert not any(change.fits for change in noted.changes)


def test_what_fits_gets_no_advice(tiny):
    assert all(not stage.changes for stage in plan(tiny(), gpu="a10").stages)


@pytest.mark.parametrize(
    ("lanes", "packs", "gpus", "most", "note"),
    [
        (64, 512, 64, 8, None),
        (64, 512, 16, 32, None),
        (64, 512, 3, 176, "3% of the time is spent waiting"),  # 22 lanes, 21, 21: 1 - 64 / 66
        (4, 8, 6, 2, "2 of 6 GPUs have nothing to do"),
    ],
)
def test_packs_of_a_step_fall_to_gpus_by_lanes(lanes, packs, gpus, most, note):
    found = share(lanes, packs, gpus)
    assert found.packs == most
    assert len(found.notes) == (note is not None)
    assert note is None or note in found.notes[0]


def test_gpus_by_name():
    assert gpu_named("L40S").name == "l40s-48g"
    with pytest.raises(ValueError, match="any of a100-40g, a100-80g"):
        gpu_named("a100")
    with pytest.raises(ValueError, match=r"'abacus' is not known.*known are a10-24g"):
        gpu_named("abacus")


def test_an_unknown_gpu_is_one_line_for_a_person(told):
    done = told("--gpu", "h100-80gb")
    assert done.exit_code != 0
    assert "did you mean 'h100-80g'" in str(done.exception) + done.output


def test_many_gpus_want_an_engine_for_many(tiny):
    with pytest.raises(ValueError, match=r"engine\.use=deepspeed"):
        plan(tiny(), gpus=2)


def test_what_is_offloaded_is_told_beside_the_memory_of_the_gpu(tiny, shown):
    keys = ("engine.use=deepspeed", "engine.precision=bf16")
    text = shown(plan(tiny(*keys, "engine.offload=optimizer")))
    assert "on the host: moments" in text
    assert "on the host" not in shown(plan(tiny(*keys)))


def test_deepspeeds_configuration_is_printed_for_every_stage(request):
    recipe = str(request.config.rootpath / "recipes" / "blip3_tiny.toml")
    words = ["plan", recipe, "--deepspeed", "--set"]
    refused = CliRunner().invoke(main, words[:-1])
    assert refused.exit_code != 0
    assert "engine 'torch' makes no configuration" in refused.output
    keys = ["engine.use=deepspeed", "--set", "stages.sft-multi.optimizer.clip_norm=0.25"]
    more = ["--set", "engine.overrides.zero_optimization.reduce_bucket_size=7"]
    told = json.loads(CliRunner().invoke(main, [*words, *keys, *more]).output)
    assert tuple(told) == STAGES
    assert told["sft-multi"]["gradient_clipping"] == 0.25
    assert told["pretrain-base"]["gradient_clipping"] == 1.0
    assert all(one["zero_optimization"]["reduce_bucket_size"] == 7 for one in told.values())
