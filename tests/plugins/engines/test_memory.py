"""What the engines hold, against sums by hand: 1000 numbers learn, 200 are frozen, two moments."""

import attrs
import pytest

from mmcore_engines.spec import DeepSpeedSpec, TorchSpec

SIZES = {"trainable": 1000, "frozen": 200, "moments": 2}


def held(spec, ranks):
    memory = spec.memory(**SIZES, ranks=ranks)
    return (
        memory.weights,
        {item.name: item.bytes for item in memory.items},
        {item.name: item.bytes for item in memory.backward},
    )


def sharing(zero, precision):
    buckets = {"reduce_bucket_size": 100, "stage3_max_live_parameters": 500}
    return DeepSpeedSpec(zero=zero, precision=precision, overrides={"zero_optimization": buckets})


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_torch_shares_nothing_and_keeps_float32(precision):
    weights, items, backward = held(TorchSpec(precision=precision), ranks=1)
    assert weights == "fp32"
    assert items == {"weights": 4800, "gradients": 4000, "moments": 8000}
    assert backward == {}


@pytest.mark.parametrize(
    ("zero", "items", "backward"),
    [
        # Float32 weights under autocast, and nothing shared.
        (0, {"weights": 4800, "gradients": 4000, "moments": 8000}, {}),
        # 1200 bfloat16 copies; 4 ranks have 250 master weights and 500 moments each.
        (
            1,
            {
                "weights": 2400,
                "gradients": 4000,
                "gradients of a pack": 2000,
                "master weights": 1000,
                "moments": 2000,
            },
            {},
        ),
        # Two buffers of 100 bfloat16 numbers; 100 float32 numbers are sent.
        (
            2,
            {"weights": 2400, "gradients": 1000, "master weights": 1000, "moments": 2000},
            {"reduction buffers": 400, "gradients on their way": 400},
        ),
        # 300 copies of its own, 500 gathered ones, one float32 buffer.
        (
            3,
            {
                "weights": 600,
                "gathered weights": 1000,
                "gradients": 1000,
                "master weights": 1000,
                "moments": 2000,
                "reduction buffer": 400,
            },
            {"gradients on their way": 400},
        ),
    ],
)
def test_zero_in_bfloat16_on_four_ranks(zero, items, backward):
    expected = ("fp32" if zero == 0 else "bf16", items, backward)
    assert held(sharing(zero, "bf16"), ranks=4) == expected


@pytest.mark.parametrize(
    ("zero", "items", "backward"),
    [
        (0, {"weights": 4800, "gradients": 4000, "moments": 8000}, {}),
        (
            1,
            {
                "weights": 4800,
                "gradients": 4000,
                "master weights": 2000,
                "moments": 4000,
                "reduction buffer": 400,
            },
            {},
        ),
        (
            2,
            {"weights": 4800, "gradients": 2000, "master weights": 2000, "moments": 4000},
            {"reduction buffers": 800},
        ),
        (
            3,
            {
                "weights": 2400,
                "gathered weights": 2000,
                "gradients": 2000,
                "master weights": 2000,
                "moments": 4000,
                "reduction buffer": 400,
            },
            {"gradients on their way": 400},
        ),
    ],
)
def test_zero_in_float32_on_two_ranks(zero, items, backward):
    assert held(sharing(zero, "fp32"), ranks=2) == ("fp32", items, backward)


def test_a_rank_has_the_larger_part_of_what_does_not_divide():
    _, items, _ = held(sharing(2, "bf16"), ranks=3)
    assert items["moments"] == 2 * 4 * 334


@pytest.mark.parametrize(
    ("spec", "start"),
    [
        (TorchSpec(), 4800),
        (sharing(0, "fp32"), 4800 + 8000),
        (sharing(1, "bf16"), 2400 + 2000 + 4000),
        (sharing(2, "fp32"), 4800 + 2000 + 4000),
        (sharing(3, "bf16"), 1200 + 2000 + 4000),
    ],
)
def test_what_is_there_before_the_first_step(spec, start):
    assert spec.memory(**SIZES, ranks=2).start == start


def test_zero_1_and_2_copy_what_learns_where_there_are_few_moments():
    """1,000 numbers of 2 bytes are copied; a sixteenth of the moments is less."""
    assert sharing(2, "bf16").memory(**SIZES, ranks=16).start == 2400 + 4 * 63 + 2000


def test_deepspeeds_own_bucket_where_the_recipe_has_none():
    memory = DeepSpeedSpec(zero=2, precision="bf16").memory(**SIZES, ranks=8)
    assert {item.name: item.bytes for item in memory.backward} == {
        "reduction buffers": 2 * 2 * 500_000_000,
        "gradients on their way": 4000,
    }


@pytest.mark.parametrize(
    ("zero", "offload", "items", "host"),
    [
        # Bfloat16 gradients are summed in float32 where they are made: 250 numbers a rank.
        (
            2,
            "optimizer",
            {"weights": 2400, "gradients": 1000},
            {"gradients": 1000, "master weights": 1000, "moments": 2000},
        ),
        # ZeRO 3 sums them on the host, beside those that the update is made of.
        (
            3,
            "optimizer",
            {"weights": 600, "gathered weights": 1000, "reduction buffer": 400},
            {"gradients": 2000, "master weights": 1000, "moments": 2000},
        ),
        (
            3,
            "all",
            {"gathered weights": 1000, "reduction buffer": 400},
            {"weights": 600, "gradients": 2000, "master weights": 1000, "moments": 2000},
        ),
    ],
)
def test_what_is_offloaded_is_on_the_host(zero, offload, items, host):
    spec = attrs.evolve(sharing(zero, "bf16"), offload=offload)
    assert held(spec, ranks=4)[1] == items
    memory = spec.memory(**SIZES, ranks=4)
    assert {item.name: item.bytes for item in memory.host} == host


def test_sums_in_bfloat16_take_half_and_without_overlap_there_is_one_buffer():
    half = {"data_types": {"grad_accum_dtype": "bf16"}}
    for zero, gradients in ((1, 2000), (2, 500), (3, 500)):
        spec = sharing(zero, "bf16")
        items = held(attrs.evolve(spec, overrides={**spec.overrides, **half}), ranks=4)[1]
        assert items["gradients"] == gradients
        assert "gradients of a pack" not in items
    backward = held(attrs.evolve(sharing(2, "bf16"), overlap=False), ranks=4)[2]
    assert backward["reduction buffers"] == 200
